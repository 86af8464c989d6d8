//! Writing: what a header is made of.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::header::{Command, Version};
use super::{v1, v2};

/// One end of the connection that a header speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// An IP address and a port.
    Inet(SocketAddr),
    /// A UNIX socket, or not known. Like HAProxy, headers do not name UNIX sockets.
    Other,
}

/// What a header is to say. Version 1 has room for the addresses only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outgoing<'a> {
    /// Whom the connection is for.
    pub command: Command,
    /// Who connected.
    pub source: Endpoint,
    /// Where to.
    pub destination: Endpoint,
    /// Whether and how the client spoke TLS; `None` leaves it unsaid.
    pub ssl: Option<SslFacts<'a>>,
    /// The protocol that TLS negotiated; not sent if longer than 255 bytes.
    pub alpn: Option<&'a [u8]>,
    /// The host name that the client asked for; not sent if longer than 255 bytes.
    pub authority: Option<&'a [u8]>,
    /// An ID of the connection; not sent if longer than 128 bytes, which receivers refuse.
    pub unique_id: Option<&'a [u8]>,
    /// Whether the header has a checksum.
    pub crc32c: bool,
}

impl Outgoing<'_> {
    /// A header on behalf of the client of a connection.
    #[must_use]
    pub fn proxied(source: Endpoint, destination: Endpoint) -> Self {
        Self {
            command: Command::Proxy,
            source,
            destination,
            ssl: None,
            alpn: None,
            authority: None,
            unique_id: None,
            crc32c: false,
        }
    }

    /// A header for a connection of our own, such as a health check: LOCAL, and in version 1, which
    /// has no such word, UNKNOWN.
    #[must_use]
    pub fn local() -> Self {
        Self {
            command: Command::Local,
            ..Self::proxied(Endpoint::Other, Endpoint::Other)
        }
    }

    /// [`Self::local`], given the two ends of the connection itself. Version 1 then names them:
    /// some servers refuse UNKNOWN.
    #[must_use]
    pub fn local_between(own: SocketAddr, server: SocketAddr) -> Self {
        Self {
            command: Command::Local,
            ..Self::proxied(Endpoint::Inet(own), Endpoint::Inet(server))
        }
    }
}

/// What is said of the client's TLS. Text of more than 255 bytes is not sent. The default is a
/// client that did not speak TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SslFacts<'a> {
    /// The client showed a certificate on this connection.
    pub client_cert: bool,
    /// It showed one at least once in the session, be it now or before the session was resumed.
    pub client_cert_in_session: bool,
    /// 0 if its certificate was found valid; else OpenSSL's number of the reason. Like HAProxy's,
    /// 0 also without a certificate.
    pub verify: u32,
    /// The version by OpenSSL's name, such as `TLSv1.3`; `None`: the client did not speak TLS.
    pub version: Option<&'a str>,
    /// The common name of its certificate.
    pub cn: Option<&'a str>,
    /// The cipher by OpenSSL's name.
    pub cipher: Option<&'a str>,
    /// The algorithm that signed our certificate, such as `RSA-SHA256`.
    pub sig_alg: Option<&'a str>,
    /// The algorithm of our certificate's key, such as `RSA2048`.
    pub key_alg: Option<&'a str>,
}

/// Appends a header to `out`.
///
/// Families that differ become IPv6, with the IPv4 address mapped. Where an end is not of IP, the
/// header says UNKNOWN in version 1 and LOCAL in version 2.
pub fn write(version: Version, what: &Outgoing<'_>, out: &mut Vec<u8>) {
    match version {
        Version::V1 => v1::write(what.source, what.destination, out),
        Version::V2 => v2::write(what, out),
    }
}

/// An address in the wider family, where the other end of the connection is.
pub(super) fn as_ipv6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}
