//! The packet relay: the packets of two TCP connections translated into one another.

pub mod eligible;
