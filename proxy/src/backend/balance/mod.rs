//! Choosing a server: one file per algorithm, each a plain state machine.

pub mod roundrobin;
