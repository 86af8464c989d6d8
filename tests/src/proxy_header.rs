//! PROXY protocol headers as a test's server sees them, and as a test's client writes them: a second reading of the
//! specification, independent of the daemon's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, bail, ensure};

use crate::peer::Peer;

/// The first bytes of version 2.
pub const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// TLV types.
pub mod tlv {
    /// The protocol that ALPN chose.
    pub const ALPN: u8 = 0x01;
    /// The name that the client asked for.
    pub const AUTHORITY: u8 = 0x02;
    /// A checksum of the header.
    pub const CRC32C: u8 = 0x03;
    /// An ID of the connection.
    pub const UNIQUE_ID: u8 = 0x05;
    /// Whether and how the client spoke TLS: flags, verification, and TLVs of its own.
    pub const SSL: u8 = 0x20;
    /// Within [`SSL`]: the version.
    pub const SSL_VERSION: u8 = 0x21;
    /// Within [`SSL`]: the common name of the client's certificate.
    pub const SSL_CN: u8 = 0x22;
    /// Within [`SSL`]: the cipher.
    pub const SSL_CIPHER: u8 = 0x23;
    /// Within [`SSL`]: how our certificate is signed.
    pub const SSL_SIG_ALG: u8 = 0x24;
    /// Within [`SSL`]: the algorithm of our certificate's key.
    pub const SSL_KEY_ALG: u8 = 0x25;
}

/// A header that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// 1 or 2.
    pub version: u8,
    /// Version 2's LOCAL: the sender speaks for itself.
    pub local: bool,
    /// Source and destination; `None` when unknown.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
    /// Version 2's additions: type and value, in order.
    pub tlvs: Vec<(u8, Vec<u8>)>,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// What [`tlv::SSL`] holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ssl {
    /// Bit 0: TLS; bit 1: a certificate in this connection; bit 2: a certificate in this session.
    pub client: u8,
    /// 0 when the client's certificate was verified.
    pub verify: u32,
    /// Type and value, in order.
    pub tlvs: Vec<(u8, Vec<u8>)>,
}

impl Ssl {
    /// The text of the TLV `kind`.
    #[must_use]
    pub fn text(&self, kind: u8) -> Option<String> {
        text(&self.tlvs, kind)
    }
}

fn text(tlvs: &[(u8, Vec<u8>)], kind: u8) -> Option<String> {
    let (_, value) = tlvs.iter().find(|(found, _)| *found == kind)?;
    Some(String::from_utf8_lossy(value).into_owned())
}

impl Header {
    /// Reads one header from `peer`, and not a byte more.
    ///
    /// # Errors
    /// When what comes is none, or the stream ends.
    pub fn read(peer: &Peer) -> Result<Self> {
        let mut bytes = peer.read(12).context("the start of a header")?;
        if bytes == SIGNATURE {
            bytes.extend(peer.read(4)?);
            let length = u16::from_be_bytes([bytes[14], bytes[15]]);
            bytes.extend(peer.read(length.into())?);
            Self::version_2(bytes)
        } else {
            while !bytes.ends_with(b"\r\n") && bytes.len() < 107 {
                bytes.extend(peer.read(1)?);
            }
            Self::version_1(bytes)
        }
    }

    fn version_1(bytes: Vec<u8>) -> Result<Self> {
        let line = std::str::from_utf8(&bytes)?.to_owned();
        let line = line
            .strip_suffix("\r\n")
            .with_context(|| format!("an end of the line: {line:?}"))?;
        let words: Vec<&str> = line.split(' ').collect();
        let addresses = match words[..] {
            ["PROXY", "UNKNOWN", ..] => None,
            [
                "PROXY",
                family @ ("TCP4" | "TCP6"),
                from,
                to,
                from_port,
                to_port,
            ] => {
                let parse = |ip: &str, port: &str| -> Result<SocketAddr> {
                    let ip: IpAddr = ip.parse()?;
                    ensure!(ip.is_ipv4() == (family == "TCP4"), "family: {line}");
                    Ok(SocketAddr::new(ip, port.parse()?))
                };
                Some((parse(from, from_port)?, parse(to, to_port)?))
            }
            _ => bail!("no header: {line:?}"),
        };
        Ok(Self {
            version: 1,
            local: false,
            addresses,
            tlvs: Vec::new(),
            bytes,
        })
    }

    fn version_2(bytes: Vec<u8>) -> Result<Self> {
        let local = match bytes[12] {
            0x20 => true,
            0x21 => false,
            other => bail!("version and command {other:#x}"),
        };
        let body = &bytes[16..];
        let port = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
        let (addresses, rest) = match bytes[13] {
            0x11 => {
                ensure!(body.len() >= 12, "a short block");
                let ip = |at: usize| {
                    Ipv4Addr::new(body[at], body[at + 1], body[at + 2], body[at + 3]).into()
                };
                let both = (
                    SocketAddr::new(ip(0), port(8)),
                    SocketAddr::new(ip(4), port(10)),
                );
                (Some(both), 12)
            }
            0x21 => {
                ensure!(body.len() >= 36, "a short block");
                let ip = |at: usize| {
                    let octets: [u8; 16] = body[at..at + 16].try_into().unwrap_or_default();
                    Ipv6Addr::from(octets).into()
                };
                let both = (
                    SocketAddr::new(ip(0), port(32)),
                    SocketAddr::new(ip(16), port(34)),
                );
                (Some(both), 36)
            }
            0x31 => {
                ensure!(body.len() >= 216, "a short block");
                (None, 216)
            }
            0x00 | 0x01 => (None, 0),
            other => bail!("family {other:#x}"),
        };
        let tlvs = parse_tlvs(&body[rest..])?;
        Ok(Self {
            version: 2,
            local,
            addresses,
            tlvs,
            bytes,
        })
    }

    /// The source address, with an IPv4 address in IPv6's clothes taken out of them.
    #[must_use]
    pub fn source(&self) -> Option<SocketAddr> {
        let (source, _) = self.addresses?;
        Some(SocketAddr::new(source.ip().to_canonical(), source.port()))
    }

    /// The text of the TLV `kind`.
    #[must_use]
    pub fn text(&self, kind: u8) -> Option<String> {
        text(&self.tlvs, kind)
    }

    /// The TLV about TLS.
    ///
    /// # Errors
    /// When there is none, or it is malformed.
    pub fn ssl(&self) -> Result<Ssl> {
        let (_, value) = self
            .tlvs
            .iter()
            .find(|(kind, _)| *kind == tlv::SSL)
            .context("a TLV about TLS")?;
        ensure!(value.len() >= 5, "short: {value:?}");
        Ok(Ssl {
            client: value[0],
            verify: u32::from_be_bytes([value[1], value[2], value[3], value[4]]),
            tlvs: parse_tlvs(&value[5..])?,
        })
    }

    /// Whether the checksum that the header carries is right.
    ///
    /// # Errors
    /// When it carries none.
    pub fn is_checksum_right(&self) -> Result<bool> {
        let mut at = self.bytes.len();
        for (kind, value) in self.tlvs.iter().rev() {
            at -= value.len();
            if *kind == tlv::CRC32C {
                ensure!(value.len() == 4, "a checksum of {} bytes", value.len());
                let mut zeroed = self.bytes.clone();
                zeroed[at..at + 4].fill(0);
                return Ok(crc32c(&zeroed).to_be_bytes() == value[..]);
            }
            at -= 3;
        }
        bail!("no checksum")
    }
}

fn parse_tlvs(mut bytes: &[u8]) -> Result<Vec<(u8, Vec<u8>)>> {
    let mut tlvs = Vec::new();
    while let [kind, high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        ensure!(rest.len() >= length, "TLV {kind:#x} overruns");
        let (value, after) = rest.split_at(length);
        tlvs.push((*kind, value.to_vec()));
        bytes = after;
    }
    ensure!(bytes.is_empty(), "{} bytes behind the TLVs", bytes.len());
    Ok(tlvs)
}

/// CRC-32C, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc: u32, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    })
}

/// A line of version 1 for two addresses of one family.
#[must_use]
pub fn v1(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    format!(
        "PROXY {family} {} {} {} {}\r\n",
        source.ip(),
        destination.ip(),
        source.port(),
        destination.port()
    )
    .into_bytes()
}

/// A header of version 2 for two addresses of one family, with these TLVs.
///
/// # Panics
/// When the families differ, or it grows over 64 KB.
#[must_use]
pub fn v2(source: SocketAddr, destination: SocketAddr, tlvs: &[(u8, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    let family = match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            body.extend(from.octets());
            body.extend(to.octets());
            0x11
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            body.extend(from.octets());
            body.extend(to.octets());
            0x21
        }
        _ => panic!("two families"),
    };
    body.extend(source.port().to_be_bytes());
    body.extend(destination.port().to_be_bytes());
    for (kind, value) in tlvs {
        body.push(*kind);
        body.extend(length(value.len()));
        body.extend_from_slice(value);
    }
    raw_v2(0x21, family, &body)
}

/// A header of version 2 made of these parts.
///
/// # Panics
/// When the body is over 64 KB.
#[must_use]
pub fn raw_v2(version_and_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([version_and_command, family]);
    bytes.extend(length(body.len()));
    bytes.extend_from_slice(body);
    bytes
}

fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).expect("at most 64 KB").to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let v4: [SocketAddr; 2] = [
            "192.0.2.1:5".parse().unwrap(),
            "198.51.100.7:65535".parse().unwrap(),
        ];
        let v6: [SocketAddr; 2] = [
            "[2001:db8::1]:5".parse().unwrap(),
            "[::1]:6".parse().unwrap(),
        ];
        for [from, to] in [v4, v6] {
            let header = Header::version_1(v1(from, to)).unwrap();
            assert_eq!(header.addresses, Some((from, to)));
            let header = Header::version_2(v2(from, to, &[(0xe0, b"x"), (2, b"a.b")])).unwrap();
            assert_eq!(header.addresses, Some((from, to)));
            assert_eq!(header.text(tlv::AUTHORITY).as_deref(), Some("a.b"));
        }
    }

    #[test]
    fn checksums() {
        // The check value of CRC-32C.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        let [from, to] = ["192.0.2.1:5", "192.0.2.2:6"].map(|text| text.parse().unwrap());
        let mut bytes = v2(from, to, &[(tlv::CRC32C, &[0; 4]), (0xe0, b"after")]);
        let at = 16 + 12 + 3;
        let sum = crc32c(&bytes).to_be_bytes();
        bytes[at..at + 4].copy_from_slice(&sum);
        let header = Header::version_2(bytes.clone()).unwrap();
        assert!(header.is_checksum_right().unwrap());
        bytes[20] ^= 1;
        let header = Header::version_2(bytes).unwrap();
        assert!(!header.is_checksum_right().unwrap());
    }
}
