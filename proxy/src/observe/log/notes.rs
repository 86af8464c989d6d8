//! What only formats show of a stream, noted while its connections are at hand.

use std::net::SocketAddr;

/// What only formats show of a stream.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    /// Its number among the streams that are noted, from 0.
    pub number: u64,
    /// The `id` of the listening address.
    pub listener: u32,
    /// The address that the client connected to; `None`: it is no IP address.
    pub destination: Option<SocketAddr>,
    /// Version and cipher of the client's TLS, once agreed upon.
    pub tls: Option<(&'static str, &'static str)>,
    /// Where the connection to the server comes from.
    pub source: Option<SocketAddr>,
    /// Where it goes.
    pub server: Option<SocketAddr>,
    /// The stream's `unique-id-format`.
    pub unique_id: Option<String>,
    /// The values of the format's expressions, as text; `None`: there was none.
    pub values: Vec<Option<Box<[u8]>>>,
}
