//! Version 1: a line of text.
//!
//! The line is read from left to right as far as it has come, so that a wrong byte is refused when
//! it arrives and not when the line ends.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::header::{Addresses, Command, Header, Version};
use super::read::{Progress, begins_with};
use super::refusal::{Field, Refusal};
use super::tlv::Tlvs;
use super::write::{Endpoint, as_ipv6};

const START: &[u8] = b"PROXY ";

/// The longest line, in bytes with its CR LF: UNKNOWN with two IPv6 addresses.
const LONGEST: usize = 107;
/// The shortest: `PROXY UNKNOWN`.
pub(super) const SHORTEST: usize = 15;
/// The shortest with IPv4 addresses, of 7 bytes each.
const SHORTEST_TCP4: usize = 32;
/// The shortest with IPv6 addresses, of 2 bytes each.
const SHORTEST_TCP6: usize = 22;
/// CR LF.
const END: usize = 2;

/// The longest IPv6 address as text: six groups, and the last two written as IPv4.
const LONGEST_IPV6: usize = 45;

/// Reads a line that begins with `P`.
///
/// # Errors
///
/// See [`super::read()`].
pub(super) fn read(bytes: &[u8]) -> Result<Progress, Refusal> {
    // The longest line has its CR here; without one there, nothing after it can help.
    let limit = if bytes.get(LONGEST - END) == Some(&b'\r') {
        LONGEST
    } else {
        LONGEST - 1
    };
    let window = &bytes[..bytes.len().min(limit)];
    let mut line = Line {
        bytes: window,
        at: 0,
        shortest: SHORTEST,
    };
    match line.header() {
        Ok(addresses) => Ok(Progress::Complete {
            header: Box::new(Header {
                version: Version::V1,
                command: Command::Proxy,
                addresses,
                tlvs: Tlvs::default(),
            }),
            length: line.at,
        }),
        Err(Stop::Refused(refusal)) => Err(refusal),
        Err(Stop::NeedsMore) => {
            let missing = match window.last() {
                Some(b'\r') => END - 1,
                _ => END,
            };
            let at_least = line.shortest.max(window.len() + missing);
            if at_least > LONGEST {
                return Err(Refusal::LineTooLong);
            }
            Ok(Progress::Partial { at_least })
        }
    }
}

/// Why the reading of a line stopped before its end.
enum Stop {
    NeedsMore,
    Refused(Refusal),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What has come of a line.
struct Line<'a> {
    bytes: &'a [u8],
    /// What is before is read.
    at: usize,
    /// The shortest line that begins like what is read, in bytes.
    shortest: usize,
}

impl<'a> Line<'a> {
    fn header(&mut self) -> Result<Addresses, Stop> {
        if !begins_with(self.bytes, START)? {
            return Err(Stop::NeedsMore);
        }
        self.at = START.len();
        match self.protocol()? {
            Protocol::Unknown => {
                self.ignored()?;
                self.end()?;
                Ok(Addresses::Unknown)
            }
            Protocol::Tcp4 => {
                self.shortest = SHORTEST_TCP4;
                self.addresses(Self::ipv4)
            }
            Protocol::Tcp6 => {
                self.shortest = SHORTEST_TCP6;
                self.addresses(Self::ipv6)
            }
        }
    }

    /// The word after `PROXY`; what follows a word of the others must be a space.
    fn protocol(&mut self) -> Result<Protocol, Stop> {
        const WORDS: [(&[u8], Protocol); 3] = [
            (b"TCP4", Protocol::Tcp4),
            (b"TCP6", Protocol::Tcp6),
            (b"UNKNOWN", Protocol::Unknown),
        ];
        let word = self.token(|byte| byte.is_ascii_alphanumeric());
        if !WORDS.iter().any(|(known, _)| known.starts_with(word)) {
            return Err(Refusal::Protocol.into());
        }
        self.not_empty(word, Field::Protocol)?;
        let next = self.next()?;
        let Some(&(_, protocol)) = WORDS.iter().find(|(known, _)| *known == word) else {
            return Err(Refusal::Protocol.into());
        };
        match (protocol, next) {
            // Its line may end here, and is looked at by who reads on.
            (Protocol::Unknown, b' ' | b'\r' | b'\n') => Ok(protocol),
            (Protocol::Tcp4 | Protocol::Tcp6, b' ') => {
                self.at += 1;
                Ok(protocol)
            }
            (_, b'\r' | b'\n') => Err(Refusal::Missing(Field::SourceAddress).into()),
            _ => Err(Refusal::Protocol.into()),
        }
    }

    fn addresses<A: Into<IpAddr>>(
        &mut self,
        address: fn(&mut Self, Field, Field) -> Result<A, Stop>,
    ) -> Result<Addresses, Stop> {
        let source = address(self, Field::SourceAddress, Field::DestinationAddress)?;
        let destination = address(self, Field::DestinationAddress, Field::SourcePort)?;
        let source_port = self.port(Field::SourcePort)?;
        self.space_before(Field::DestinationPort, Refusal::Port(Field::SourcePort))?;
        let destination_port = self.port(Field::DestinationPort)?;
        match self.next()? {
            b' ' => return Err(Refusal::Trailing.into()),
            b'\r' | b'\n' => self.end()?,
            _ => return Err(Refusal::Port(Field::DestinationPort).into()),
        }
        Ok(Addresses::Inet {
            source: SocketAddr::new(source.into(), source_port),
            destination: SocketAddr::new(destination.into(), destination_port),
        })
    }

    /// An IPv4 address and the space behind it.
    fn ipv4(&mut self, field: Field, after: Field) -> Result<Ipv4Addr, Stop> {
        let token = self.token(|byte| byte.is_ascii_digit() || byte == b'.');
        octets_so_far(token, field)?;
        self.address(token, field, after)
    }

    /// An IPv6 address and the space behind it.
    fn ipv6(&mut self, field: Field, after: Field) -> Result<Ipv6Addr, Stop> {
        let token = self.token(|byte| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.');
        if token.len() > LONGEST_IPV6 {
            return Err(Refusal::Address(field).into());
        }
        self.address(token, field, after)
    }

    /// Decodes an address once the byte behind it is there.
    fn address<A: FromStr>(&mut self, token: &[u8], field: Field, after: Field) -> Result<A, Stop> {
        self.not_empty(token, field)?;
        let wrong = Refusal::Address(field);
        self.next()?;
        let address = str::from_utf8(token)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or(wrong)?;
        self.space_before(after, wrong)?;
        Ok(address)
    }

    /// A port; what is behind it is left to the caller.
    fn port(&mut self, field: Field) -> Result<u16, Stop> {
        let token = self.token(|byte| byte.is_ascii_digit());
        let mut port: u16 = 0;
        for (index, digit) in token.iter().enumerate() {
            if index > 0 && port == 0 {
                return Err(Refusal::LeadingZero(field).into());
            }
            port = port
                .checked_mul(10)
                .and_then(|port| port.checked_add(u16::from(digit - b'0')))
                .ok_or(Refusal::PortRange(field))?;
        }
        self.not_empty(token, field)?;
        // A further digit may come.
        self.next()?;
        Ok(port)
    }

    /// Refuses a field of no bytes, by what stands in its place.
    fn not_empty(&self, token: &[u8], field: Field) -> Result<(), Stop> {
        if token.is_empty() {
            match self.next()? {
                b' ' => return Err(Refusal::Spaces(field).into()),
                b'\r' | b'\n' => return Err(Refusal::Missing(field).into()),
                // Not one of its bytes; the caller's refusal says so.
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads the space between a field and the one `after` it.
    fn space_before(&mut self, after: Field, otherwise: Refusal) -> Result<(), Stop> {
        match self.next()? {
            b' ' => {
                self.at += 1;
                Ok(())
            }
            b'\r' | b'\n' => Err(Refusal::Missing(after).into()),
            _ => Err(otherwise.into()),
        }
    }

    /// Skips what may be said of an unknown protocol.
    fn ignored(&mut self) -> Result<(), Stop> {
        self.token(|byte| byte != b'\r' && byte != b'\n');
        self.next().map(|_| ())
    }

    /// Reads CR LF.
    fn end(&mut self) -> Result<(), Stop> {
        for want in *b"\r\n" {
            if self.next()? != want {
                return Err(Refusal::LineEnd.into());
            }
            self.at += 1;
        }
        Ok(())
    }

    /// Reads the bytes of a field that have come.
    fn token(&mut self, part_of_it: fn(u8) -> bool) -> &'a [u8] {
        let rest = &self.bytes[self.at..];
        let length = rest
            .iter()
            .position(|&byte| !part_of_it(byte))
            .unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// The next byte, which is not yet read.
    fn next(&self) -> Result<u8, Stop> {
        self.bytes.get(self.at).copied().ok_or(Stop::NeedsMore)
    }
}

#[derive(Clone, Copy)]
enum Protocol {
    Tcp4,
    Tcp6,
    Unknown,
}

/// Refuses what no bytes can complete to an IPv4 address.
fn octets_so_far(token: &[u8], field: Field) -> Result<(), Refusal> {
    let parts = token.iter().filter(|&&byte| byte == b'.').count();
    for (index, part) in token.split(|&byte| byte == b'.').enumerate() {
        if index > 3 || (part.is_empty() && index < parts) {
            return Err(Refusal::Address(field));
        }
        let mut value: u32 = 0;
        for (digits, digit) in part.iter().enumerate() {
            if digits > 0 && value == 0 {
                return Err(Refusal::LeadingZero(field));
            }
            value = value * 10 + u32::from(digit - b'0');
            if value > 255 {
                return Err(Refusal::OctetRange(field));
            }
        }
    }
    Ok(())
}

/// Appends a line.
pub(super) fn write(source: Endpoint, destination: Endpoint, out: &mut Vec<u8>) {
    let (Endpoint::Inet(source), Endpoint::Inet(destination)) = (source, destination) else {
        out.extend_from_slice(b"PROXY UNKNOWN\r\n");
        return;
    };
    let (word, source_ip, destination_ip) = match (source.ip(), destination.ip()) {
        (source @ IpAddr::V4(_), destination @ IpAddr::V4(_)) => ("TCP4", source, destination),
        (source, destination) => (
            "TCP6",
            IpAddr::V6(as_ipv6(source)),
            IpAddr::V6(as_ipv6(destination)),
        ),
    };
    let (source_port, destination_port) = (source.port(), destination.port());
    let line =
        format!("PROXY {word} {source_ip} {destination_ip} {source_port} {destination_port}\r\n");
    out.extend_from_slice(line.as_bytes());
}
