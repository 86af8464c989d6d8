//! Listening sockets: opening, inheriting, accepting, and who may.

pub mod accept;
pub mod listen;
pub mod places;
pub mod valve;
