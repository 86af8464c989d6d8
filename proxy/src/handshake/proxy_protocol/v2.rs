//! Version 2: binary.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::header::{Addresses, Command, Header, Version};
use super::read::{Progress, begins_with};
use super::refusal::Refusal;
use super::tlv::{self, Tlvs, kind};
use super::write::{Endpoint, Outgoing, SslFacts, as_ipv6};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length.
const FIXED: usize = 16;
/// Where the length is.
const LENGTH: usize = 14;

/// The longest header that is accepted, in bytes after its fixed part of 16.
///
/// The length field could say 65535. HAProxy's bound is its buffer, of 16384 bytes for the whole
/// header; with the same one here, what it accepts is accepted, and no client makes a worker keep
/// more for a connection that may come to nothing.
pub const MAX_BLOCK: usize = 16384 - FIXED;

const VERSION: u8 = 0x2;
const LOCAL: u8 = 0x0;
const PROXY: u8 = 0x1;

const INET_STREAM: u8 = 0x11;
const INET6_STREAM: u8 = 0x21;

/// `sun_path` of a UNIX address, in bytes.
const UNIX_PATH: usize = 108;

/// What the byte of family and transport says about the block.
#[derive(Clone, Copy)]
enum Layout {
    /// Where its addresses end is not known, so that nothing of it is used.
    Unspecified,
    Inet(Transport),
    Inet6(Transport),
    Unix(Transport),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Stream,
    Datagram,
}

impl Layout {
    fn of(byte: u8) -> Result<Self, Refusal> {
        Ok(match byte {
            0x00 => Self::Unspecified,
            INET_STREAM => Self::Inet(Transport::Stream),
            0x12 => Self::Inet(Transport::Datagram),
            INET6_STREAM => Self::Inet6(Transport::Stream),
            0x22 => Self::Inet6(Transport::Datagram),
            0x31 => Self::Unix(Transport::Stream),
            0x32 => Self::Unix(Transport::Datagram),
            _ => return Err(Refusal::Family(byte)),
        })
    }

    /// How long the addresses are, in bytes.
    fn addresses(self) -> usize {
        match self {
            Self::Unspecified => 0,
            Self::Inet(_) => 2 * (4 + 2),
            Self::Inet6(_) => 2 * (16 + 2),
            Self::Unix(_) => 2 * UNIX_PATH,
        }
    }
}

/// Reads a header that begins with CR.
///
/// # Errors
///
/// See [`super::read()`].
pub(super) fn read(bytes: &[u8]) -> Result<Progress, Refusal> {
    let partial = |at_least| Ok(Progress::Partial { at_least });
    if !begins_with(bytes, SIGNATURE)? {
        return partial(FIXED);
    }
    let mut rest = bytes[SIGNATURE.len()..].iter().copied();
    let Some(byte) = rest.next() else {
        return partial(FIXED);
    };
    let command = command(byte)?;
    let Some(byte) = rest.next() else {
        return partial(FIXED);
    };
    let layout = match command {
        // Its family is ignored together with its block.
        Command::Local => Layout::Unspecified,
        Command::Proxy => Layout::of(byte)?,
    };
    let (Some(high), Some(low)) = (rest.next(), rest.next()) else {
        return partial(FIXED);
    };
    let announced = usize::from(u16::from_be_bytes([high, low]));
    if announced > MAX_BLOCK {
        return Err(Refusal::BlockTooLong { announced });
    }
    let needed = layout.addresses();
    if announced < needed {
        return Err(Refusal::BlockTooShort { announced, needed });
    }
    let length = FIXED + announced;
    let Some(whole) = bytes.get(..length) else {
        return partial(length);
    };
    let tlvs = match layout {
        Layout::Unspecified => Tlvs::default(),
        _ => Tlvs::of_header(whole, FIXED + needed)?,
    };
    Ok(Progress::Complete {
        header: Box::new(Header {
            version: Version::V2,
            command,
            addresses: addresses(layout, &whole[FIXED..]),
            tlvs,
        }),
        length,
    })
}

fn command(byte: u8) -> Result<Command, Refusal> {
    let (version, command) = (byte >> 4, byte & 0xf);
    if version != VERSION {
        return Err(Refusal::Version(version));
    }
    match command {
        LOCAL => Ok(Command::Local),
        PROXY => Ok(Command::Proxy),
        _ => Err(Refusal::Command(command)),
    }
}

/// The addresses at the beginning of a block that is long enough for them.
fn addresses(layout: Layout, block: &[u8]) -> Addresses {
    let mut block = Fields(block);
    match layout {
        Layout::Inet(Transport::Stream) => {
            let source = Ipv4Addr::from(block.take::<4>());
            let destination = Ipv4Addr::from(block.take::<4>());
            block.with_ports(source.into(), destination.into())
        }
        Layout::Inet6(Transport::Stream) => {
            let source = Ipv6Addr::from(block.take::<16>());
            let destination = Ipv6Addr::from(block.take::<16>());
            block.with_ports(source.into(), destination.into())
        }
        Layout::Unix(Transport::Stream) => Addresses::Unix {
            source: unix_name(&block.take::<UNIX_PATH>()),
            destination: unix_name(&block.take::<UNIX_PATH>()),
        },
        // Addresses of datagrams say nothing about a stream.
        Layout::Unspecified
        | Layout::Inet(Transport::Datagram)
        | Layout::Inet6(Transport::Datagram)
        | Layout::Unix(Transport::Datagram) => Addresses::Unknown,
    }
}

/// Fields of fixed sizes, one after the other.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    /// The next `N` bytes; zeroes where there are fewer, which the length was checked for.
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let Some((field, rest)) = self.0.split_first_chunk::<N>() else {
            return [0; N];
        };
        self.0 = rest;
        *field
    }

    fn with_ports(&mut self, source: IpAddr, destination: IpAddr) -> Addresses {
        let source_port = u16::from_be_bytes(self.take());
        let destination_port = u16::from_be_bytes(self.take());
        Addresses::Inet {
            source: SocketAddr::new(source, source_port),
            destination: SocketAddr::new(destination, destination_port),
        }
    }
}

/// A path ends at its first NUL; an abstract name, which begins with one, before its padding.
fn unix_name(field: &[u8; UNIX_PATH]) -> Vec<u8> {
    let end = if field[0] == 0 {
        field.iter().rposition(|&byte| byte != 0).map(|at| at + 1)
    } else {
        Some(
            field
                .iter()
                .position(|&byte| byte == 0)
                .unwrap_or(UNIX_PATH),
        )
    };
    field[..end.unwrap_or(0)].to_vec()
}

/// Appends a header.
pub(super) fn write(what: &Outgoing<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(SIGNATURE);
    match (what.command, what.source, what.destination) {
        (Command::Proxy, Endpoint::Inet(source), Endpoint::Inet(destination)) => {
            out.push(VERSION << 4 | PROXY);
            inet(source, destination, out);
        }
        // Without addresses there is nothing to say on behalf of anybody.
        _ => out.extend_from_slice(&[VERSION << 4 | LOCAL, 0, 0, 0]),
    }
    let checksum = what.crc32c.then(|| {
        tlv::append(out, kind::CRC32C, &[0; 4], 4);
        out.len() - 4
    });
    if let Some(alpn) = what.alpn {
        tlv::append(out, kind::ALPN, alpn, MAX_NAME);
    }
    if let Some(authority) = what.authority {
        tlv::append(out, kind::AUTHORITY, authority, tlv::MAX_AUTHORITY);
    }
    if let Some(unique_id) = what.unique_id {
        tlv::append(out, kind::UNIQUE_ID, unique_id, tlv::MAX_UNIQUE_ID);
    }
    if let Some(facts) = &what.ssl {
        ssl(facts, out);
    }
    let header = &mut out[start..];
    // With every value bounded by 255 bytes the sum is below 2.5 KiB.
    let length = u16::try_from(header.len() - FIXED).unwrap_or(u16::MAX);
    header[LENGTH..FIXED].copy_from_slice(&length.to_be_bytes());
    if let Some(at) = checksum {
        let at = at - start;
        let checksum = tlv::checksum_with_zeroes_at(header, at);
        header[at..at + 4].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// The longest name or protocol that is sent, in bytes: ALPN's own bound, and more than names of
/// certificates and ciphers have.
const MAX_NAME: u16 = 255;

/// Family, transport, a length to be filled in, and addresses.
fn inet(source: SocketAddr, destination: SocketAddr, out: &mut Vec<u8>) {
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            out.extend_from_slice(&[INET_STREAM, 0, 0]);
            out.extend_from_slice(&source.octets());
            out.extend_from_slice(&destination.octets());
        }
        (source, destination) => {
            out.extend_from_slice(&[INET6_STREAM, 0, 0]);
            out.extend_from_slice(&as_ipv6(source).octets());
            out.extend_from_slice(&as_ipv6(destination).octets());
        }
    }
    out.extend_from_slice(&source.port().to_be_bytes());
    out.extend_from_slice(&destination.port().to_be_bytes());
}

fn ssl(facts: &SslFacts<'_>, out: &mut Vec<u8>) {
    let mut value = Vec::with_capacity(128);
    let mut client = 0;
    if facts.version.is_some() {
        client |= tlv::CLIENT_SSL;
    }
    if facts.client_cert {
        client |= tlv::CLIENT_CERT_CONN;
    }
    if facts.client_cert_in_session {
        client |= tlv::CLIENT_CERT_SESS;
    }
    value.push(client);
    value.extend_from_slice(&facts.verify.to_be_bytes());
    let parts = [
        (kind::SSL_VERSION, facts.version),
        (kind::SSL_CN, facts.cn),
        (kind::SSL_KEY_ALG, facts.key_alg),
        (kind::SSL_SIG_ALG, facts.sig_alg),
        (kind::SSL_CIPHER, facts.cipher),
    ];
    for (kind, part) in parts {
        if let Some(part) = part {
            tlv::append(&mut value, kind, part.as_bytes(), MAX_NAME);
        }
    }
    tlv::append(out, kind::SSL, &value, u16::MAX);
}
