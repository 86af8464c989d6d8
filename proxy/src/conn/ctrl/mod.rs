//! The ctrl layer: how a connection is established.

pub mod remote;
pub mod tcp;
pub mod unix;

/// Kind of a connection's ctrl layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ctrl {
    /// TCP over IPv4 or IPv6.
    Tcp,
    /// A UNIX stream socket.
    Unix,
    /// A socket of this kind to an agent, which makes the connection.
    Remote(Transport),
}

/// What the socket to an agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A TCP socket.
    Tcp,
    /// A UNIX stream socket.
    Unix,
}

impl Ctrl {
    /// Whether the connection's own socket is a TCP socket.
    #[must_use]
    pub const fn is_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::Remote(Transport::Tcp))
    }

    /// The same by way of an agent at the other end of the socket.
    #[must_use]
    pub const fn by_agent(self) -> Self {
        match self {
            Self::Tcp => Self::Remote(Transport::Tcp),
            Self::Unix => Self::Remote(Transport::Unix),
            Self::Remote(_) => self,
        }
    }
}
