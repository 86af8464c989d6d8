//! The ctrl layer: how a connection is established.

pub mod tcp;
pub mod unix;

/// Kind of a connection's ctrl layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ctrl {
    /// TCP over IPv4 or IPv6.
    Tcp,
    /// A UNIX stream socket.
    Unix,
}
