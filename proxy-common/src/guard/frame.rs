//! Finds the SYN in an Ethernet frame.

/// Bytes of a frame.
pub trait Frame {
    /// How many there are.
    fn length(&self) -> usize;
    /// The `N` bytes at `at`; `None` where the frame ends before.
    fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]>;
}

impl Frame for [u8] {
    fn length(&self) -> usize {
        self.len()
    }

    fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.get(at..)?.first_chunk().copied()
    }
}

/// Version of IP.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4 = 4,
    /// IPv6.
    V6 = 6,
}

/// A TCP segment that asks for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Syn {
    /// Version of IP.
    pub family: Family,
    /// Source address; that of IPv4 as IPv6 writes it (`::ffff:a.b.c.d`).
    pub source: [u8; 16],
    /// Destination address, likewise.
    pub destination: [u8; 16],
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Its sequence number.
    pub sequence: u32,
    /// Bytes of payload, which TCP Fast Open allows.
    pub payload: u32,
    /// Where in the frame the IP header starts.
    pub network_at: usize,
}

const ADDRESSES_AND_TYPE: usize = 14;
const VLAN_TAG: usize = 4;
/// VLAN tags that are looked through: a customer's inside a provider's.
const MOST_TAGS: usize = 2;
const TYPE_VLAN: u16 = 0x8100;
const TYPE_PROVIDER_VLAN: u16 = 0x88a8;
const TYPE_IPV4: u16 = 0x0800;
const TYPE_IPV6: u16 = 0x86dd;

const PROTOCOL_TCP: u8 = 6;
const IPV6_HOP_BY_HOP: u8 = 0;
const IPV6_ROUTING: u8 = 43;
const IPV6_FRAGMENT: u8 = 44;
const IPV6_DESTINATION: u8 = 60;
/// IPv6 extension headers that are looked through.
const MOST_EXTENSIONS: usize = 4;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// An IPv4 address as IPv6 writes it.
#[inline(always)]
#[must_use]
pub const fn mapped([a, b, c, d]: [u8; 4]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

/// The SYN in the frame.
///
/// `None` for everything that is not to be judged: other segments and protocols, fragments but the
/// first, and whatever is cut short or does not add up, which the stack drops by itself. With SYN
/// there may be neither ACK, which belongs to a connection that this host asked for, nor RST or
/// FIN, which no listener takes.
#[inline(always)]
pub fn parse<F: Frame + ?Sized>(frame: &F) -> Option<Syn> {
    let mut network_at = ADDRESSES_AND_TYPE;
    let mut kind = u16::from_be_bytes(frame.bytes(network_at - 2)?);
    for _ in 0..MOST_TAGS {
        if kind != TYPE_VLAN && kind != TYPE_PROVIDER_VLAN {
            break;
        }
        network_at += VLAN_TAG;
        kind = u16::from_be_bytes(frame.bytes(network_at - 2)?);
    }
    match kind {
        TYPE_IPV4 => parse_ipv4(frame, network_at),
        TYPE_IPV6 => parse_ipv6(frame, network_at),
        _ => None,
    }
}

#[inline(always)]
fn parse_ipv4<F: Frame + ?Sized>(frame: &F, at: usize) -> Option<Syn> {
    let header: [u8; 20] = frame.bytes(at)?;
    let header_length = usize::from(header[0] & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let fragment_offset = u16::from_be_bytes([header[6], header[7]]) & 0x1fff;
    if header[0] >> 4 != 4
        || header_length < 20
        || total < header_length
        || at + total > frame.length()
        || fragment_offset != 0
        || header[9] != PROTOCOL_TCP
    {
        return None;
    }
    let address = |from: usize| {
        mapped([
            header[from],
            header[from + 1],
            header[from + 2],
            header[from + 3],
        ])
    };
    let segment = parse_tcp(frame, at + header_length, total - header_length)?;
    Some(Syn {
        family: Family::V4,
        source: address(12),
        destination: address(16),
        network_at: at,
        ..segment
    })
}

#[inline(always)]
fn parse_ipv6<F: Frame + ?Sized>(frame: &F, at: usize) -> Option<Syn> {
    let header: [u8; 8] = frame.bytes(at)?;
    let total = usize::from(u16::from_be_bytes([header[4], header[5]]));
    if header[0] >> 4 != 6 || at + 40 + total > frame.length() {
        return None;
    }
    let mut next = header[6];
    // Bytes of extension headers.
    let mut skipped = 0;
    for _ in 0..MOST_EXTENSIONS {
        if next == PROTOCOL_TCP {
            break;
        }
        let [following, length, third, fourth] = frame.bytes(at + 40 + skipped)?;
        skipped += match next {
            IPV6_HOP_BY_HOP | IPV6_DESTINATION => 8 + usize::from(length) * 8,
            // The destination is the last one only when no segment is left.
            IPV6_ROUTING if fourth == 0 => 8 + usize::from(length) * 8,
            // Its offset fills the upper 13 bits.
            IPV6_FRAGMENT if u16::from_be_bytes([third, fourth]) >> 3 == 0 => 8,
            _ => return None,
        };
        next = following;
    }
    if next != PROTOCOL_TCP || skipped > total {
        return None;
    }
    let segment = parse_tcp(frame, at + 40 + skipped, total - skipped)?;
    Some(Syn {
        family: Family::V6,
        source: frame.bytes(at + 8)?,
        destination: frame.bytes(at + 24)?,
        network_at: at,
        ..segment
    })
}

/// The TCP header at `at`, of a segment of `length` bytes; addresses are left open.
#[inline(always)]
fn parse_tcp<F: Frame + ?Sized>(frame: &F, at: usize, length: usize) -> Option<Syn> {
    let header: [u8; 20] = frame.bytes(at)?;
    let header_length = usize::from(header[12] >> 4) * 4;
    if header[13] & (FIN | SYN | RST | ACK) != SYN || header_length < 20 || header_length > length {
        return None;
    }
    Some(Syn {
        family: Family::V4,
        source: [0; 16],
        destination: [0; 16],
        source_port: u16::from_be_bytes([header[0], header[1]]),
        destination_port: u16::from_be_bytes([header[2], header[3]]),
        sequence: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
        payload: (length - header_length) as u32,
        network_at: 0,
    })
}
