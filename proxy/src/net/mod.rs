//! Listening sockets: opening, inheriting, accepting.

pub mod accept;
pub mod listen;
