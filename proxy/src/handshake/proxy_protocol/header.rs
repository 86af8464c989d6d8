//! What a header says.

use std::net::SocketAddr;

use super::tlv::Tlvs;

/// The two forms of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary, with room for more than addresses.
    V2,
}

/// Whom the connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// The sender itself, such as its health check. The socket's own addresses are the true ones.
    Local,
    /// Somebody else, whom the addresses name.
    Proxy,
}

/// The ends of the connection that the header speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Addresses {
    /// A TCP connection. Both are of the same family.
    Inet {
        /// Who connected.
        source: SocketAddr,
        /// Where to.
        destination: SocketAddr,
    },
    /// A connection between UNIX sockets. A path is without its closing NUL; a name that begins
    /// with NUL is an abstract one; an empty one is a socket without a name.
    Unix {
        /// Who connected.
        source: Vec<u8>,
        /// Where to.
        destination: Vec<u8>,
    },
    /// Not said, or of no use here. The socket's own addresses are to be used.
    Unknown,
}

/// A header that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Its form.
    pub version: Version,
    /// Whom the connection is for; version 1 knows only [`Command::Proxy`].
    pub command: Command,
    /// The ends of the connection; always [`Addresses::Unknown`] with [`Command::Local`].
    pub addresses: Addresses,
    /// What it says besides; always empty in version 1.
    pub tlvs: Tlvs,
}

impl Header {
    /// Source and destination, where the header names a TCP connection.
    #[must_use]
    pub fn inet(&self) -> Option<(SocketAddr, SocketAddr)> {
        match self.addresses {
            Addresses::Inet {
                source,
                destination,
            } => Some((source, destination)),
            Addresses::Unix { .. } | Addresses::Unknown => None,
        }
    }
}
