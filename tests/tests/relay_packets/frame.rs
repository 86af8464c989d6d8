//! Ethernet frames with a TCP segment, as bytes.

use underpass_common::relay::segment::Header;
use underpass_common::relay::{Address, Terms};

use crate::wire::Wire;

/// Bytes of an Ethernet header.
pub(crate) const ETHERNET: usize = 14;
/// Where the checksum stands in an IPv4 header, and in a TCP header.
const IP_CHECKSUM: usize = 10;
const TCP_CHECKSUM: usize = 16;
const TCP: u8 = 6;

/// What the TCP checksum of a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checksum {
    Right,
    Wrong,
    /// Still to be made: only the sum of the pseudo-header, as in packets of this host.
    Partial,
}

/// A frame, and where its headers stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) bytes: Vec<u8>,
    pub(crate) v6: bool,
}

/// The two ends' addresses of a packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Between {
    pub(crate) source: Address,
    pub(crate) destination: Address,
}

impl Between {
    /// From the far host of an end.
    pub(crate) fn arriving(terms: &Terms) -> Self {
        Self {
            source: terms.remote,
            destination: terms.local,
        }
    }

    /// To the far host of an end.
    pub(crate) fn leaving(terms: &Terms) -> Self {
        Self {
            source: terms.local,
            destination: terms.remote,
        }
    }

    /// As they stand in a header.
    fn bytes(&self, v6: bool) -> Vec<u8> {
        let skipped = if v6 { 0 } else { 12 };
        let both = [self.source, self.destination];
        let bytes = both.iter().flat_map(|address| {
            let bytes = address.iter().flat_map(|word| word.to_ne_bytes());
            bytes.skip(skipped)
        });
        bytes.collect()
    }

    /// The sum of the pseudo-header of a segment.
    fn pseudo_sum(&self, v6: bool, length: usize) -> u64 {
        let length = u32::try_from(length).unwrap().to_be_bytes();
        sum(&self.bytes(v6)) + sum(&length) + sum(&[0, TCP])
    }
}

/// The ones' complement sum of bytes, in the order of memory, not folded.
pub(crate) fn sum(bytes: &[u8]) -> u64 {
    let pair = |pair: &[u8]| {
        let second = pair.get(1).copied().unwrap_or_default();
        u64::from(u16::from_ne_bytes([pair[0], second]))
    };
    bytes.chunks(2).map(pair).sum()
}

pub(crate) fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

/// The header's bytes, options of `length` bytes included.
fn header_bytes(header: &Header, length: usize) -> Vec<u8> {
    let words = header.base.iter().chain(&header.options);
    words
        .flat_map(|word| word.to_ne_bytes())
        .take(20 + length)
        .collect()
}

impl Frame {
    /// Packs a segment; its checksum becomes what is asked for.
    pub(crate) fn new(
        v6: bool,
        between: Between,
        wire: &mut Wire,
        payload: &[u8],
        checksum: Checksum,
    ) -> Self {
        let pseudo = between.pseudo_sum(v6, 20 + wire.options + payload.len());
        wire.rest = fold(pseudo + sum(payload));
        wire.seal();
        match checksum {
            Checksum::Right => {}
            Checksum::Wrong => wire.set_checksum(wire.checksum() ^ 0x0100),
            Checksum::Partial => wire.set_checksum(fold(pseudo)),
        }
        let mut frame = Self {
            bytes: vec![2, 0, 0, 0, 1, 2, 2, 0, 0, 0, 1, 1],
            v6,
        };
        let rest = 20 + wire.options + payload.len();
        let bytes = &mut frame.bytes;
        if v6 {
            // A traffic class with ECT, a flow label.
            bytes.extend([0x86, 0xdd, 0x60, 0x2a, 0xbc, 0xde]);
            bytes.extend(u16::try_from(rest).unwrap().to_be_bytes());
            bytes.extend([TCP, 64]);
            bytes.extend(between.bytes(true));
        } else {
            let total = u16::try_from(20 + rest).unwrap().to_be_bytes();
            bytes.extend([0x08, 0x00, 0x45, 0x02, total[0], total[1]]);
            bytes.extend([0x12, 0x34, 0x40, 0, 64, TCP, 0, 0]);
            bytes.extend(between.bytes(false));
        }
        bytes.extend(header_bytes(&wire.header, wire.options));
        bytes.extend(payload);
        frame.seal_network();
        frame
    }

    /// A frame that has come out of a program.
    pub(crate) fn of(bytes: Vec<u8>, v6: bool) -> Self {
        Self { bytes, v6 }
    }

    pub(crate) fn tcp_at(&self) -> usize {
        ETHERNET + if self.v6 { 40 } else { 20 }
    }

    /// Where its IP header has the number of hops.
    pub(crate) fn hops_at(&self) -> usize {
        ETHERNET + if self.v6 { 7 } else { 8 }
    }

    /// Makes the checksum of its IPv4 header right.
    pub(crate) fn seal_network(&mut self) {
        if self.v6 {
            return;
        }
        let at = ETHERNET + IP_CHECKSUM;
        self.bytes[at..at + 2].fill(0);
        let checksum = !fold(sum(&self.bytes[ETHERNET..ETHERNET + 20]));
        self.bytes[at..at + 2].copy_from_slice(&checksum.to_ne_bytes());
    }

    /// Its addresses become others, with `hops` hops more, and without marks of congestion if
    /// `no_ecn`.
    pub(crate) fn readdressed(mut self, between: Between, no_ecn: bool) -> Self {
        let hops = self.hops_at();
        self.bytes[hops] -= 1;
        let addresses = between.bytes(self.v6);
        let at = ETHERNET + if self.v6 { 8 } else { 12 };
        self.bytes[at..at + addresses.len()].copy_from_slice(&addresses);
        if no_ecn {
            let (at, marks) = if self.v6 { (1, 0x30) } else { (1, 0x03) };
            self.bytes[ETHERNET + at] &= !marks;
        }
        self.seal_network();
        self
    }

    /// Its TCP header becomes that of `wire`.
    pub(crate) fn with_header(mut self, wire: &Wire) -> Self {
        let header = header_bytes(&wire.header, wire.options);
        let at = self.tcp_at();
        self.bytes[at..at + header.len()].copy_from_slice(&header);
        self
    }

    /// With no more than `keep` bytes of payload behind `options` bytes of options.
    pub(crate) fn cut(mut self, options: usize, keep: usize) -> Self {
        let segment = 20 + options + keep;
        self.bytes.truncate(self.tcp_at() + segment);
        let (at, length) = if self.v6 {
            (4, segment)
        } else {
            (2, 20 + segment)
        };
        let length = u16::try_from(length).unwrap().to_be_bytes();
        self.bytes[ETHERNET + at..ETHERNET + at + 2].copy_from_slice(&length);
        self.seal_network();
        self
    }

    /// What the sum of its segment and pseudo-header is: 0 where the TCP checksum is right.
    pub(crate) fn residue(&self) -> u64 {
        let at = ETHERNET + if self.v6 { 8 } else { 12 };
        let segment = &self.bytes[self.tcp_at()..];
        let length = u32::try_from(segment.len()).unwrap().to_be_bytes();
        let addresses = &self.bytes[at..self.tcp_at()];
        (sum(addresses) + sum(&length) + sum(&[0, TCP]) + sum(segment)) % 0xffff
    }

    /// Whether its IPv4 header adds up.
    pub(crate) fn is_network_right(&self) -> bool {
        self.v6 || sum(&self.bytes[ETHERNET..ETHERNET + 20]).is_multiple_of(0xffff)
    }

    /// With zeros for checksums, which can be written in two ways.
    pub(crate) fn blank(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let mut blank = |at: usize| bytes[at..at + 2].fill(0);
        blank(self.tcp_at() + TCP_CHECKSUM);
        if !self.v6 {
            blank(ETHERNET + IP_CHECKSUM);
        }
        bytes
    }
}
