//! Frames, built by hand.

use std::net::IpAddr;

/// What a frame is made of.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    /// Tags in front, outermost first: type and number.
    pub(super) tags: Vec<(u16, u16)>,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) source_port: u16,
    pub(super) destination_port: u16,
    pub(super) sequence: u32,
    pub(super) flags: u8,
    /// IPv4: the fragment word; IPv6: in a fragment header if not zero.
    pub(super) fragment: u16,
    /// Bytes of IPv4 options, a multiple of four.
    pub(super) ip_options: usize,
    /// IPv6 extension headers: number and length in units of 8 bytes beyond the first.
    pub(super) extensions: Vec<(u8, u8)>,
    /// Bytes of TCP options, a multiple of four.
    pub(super) tcp_options: usize,
    pub(super) payload: Vec<u8>,
}

pub(super) const SYN: u8 = 0x02;
pub(super) const CLIENT: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(super) const SERVER: [u8; 6] = [2, 0, 0, 0, 0, 2];

impl Spec {
    /// A plain SYN from `source` to port 80 of this host, whichever it is.
    pub(super) fn syn(source: IpAddr) -> Self {
        let destination = match source {
            IpAddr::V4(_) => "127.0.0.1",
            IpAddr::V6(_) => "::1",
        };
        Self {
            tags: Vec::new(),
            source,
            destination: destination.parse().expect("an address"),
            source_port: 40_000,
            destination_port: 80,
            sequence: 0x89ab_cdef,
            flags: SYN,
            fragment: 0,
            ip_options: 0,
            extensions: Vec::new(),
            tcp_options: 20,
            payload: Vec::new(),
        }
    }

    pub(super) fn build(&self) -> Vec<u8> {
        let mut out = [SERVER, CLIENT].concat();
        for (kind, number) in &self.tags {
            out.extend(kind.to_be_bytes());
            out.extend(number.to_be_bytes());
        }
        let segment = self.segment();
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let header = 20 + self.ip_options;
                out.extend([0x08, 0x00]);
                out.extend([0x40 | (header / 4) as u8, 0]);
                out.extend(((header + segment.len()) as u16).to_be_bytes());
                out.extend([0x12, 0x34]);
                out.extend(self.fragment.to_be_bytes());
                out.extend([64, 6, 0, 0]);
                out.extend(source.octets());
                out.extend(destination.octets());
                out.extend(vec![1; self.ip_options]);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let mut chain = self.extensions.clone();
                if self.fragment != 0 {
                    chain.push((44, 0));
                }
                let numbers: Vec<u8> = chain.iter().map(|(number, _)| *number).chain([6]).collect();
                let mut headers = Vec::new();
                for (at, (number, length)) in chain.iter().enumerate() {
                    let mut header = vec![0; 8 + usize::from(*length) * 8];
                    header[0] = numbers[at + 1];
                    header[1] = *length;
                    if *number == 44 {
                        header[2..4].copy_from_slice(&self.fragment.to_be_bytes());
                    }
                    headers.extend(header);
                }
                out.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                out.extend(((headers.len() + segment.len()) as u16).to_be_bytes());
                out.extend([numbers[0], 64]);
                out.extend(source.octets());
                out.extend(destination.octets());
                out.extend(headers);
            }
            _ => panic!("both addresses are of one family"),
        }
        out.extend(segment);
        out
    }

    fn segment(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(self.source_port.to_be_bytes());
        out.extend(self.destination_port.to_be_bytes());
        out.extend(self.sequence.to_be_bytes());
        out.extend([0; 4]);
        out.extend([((20 + self.tcp_options) as u8 / 4) << 4, self.flags]);
        out.extend([0xff, 0xff, 0, 0, 0, 0]);
        out.extend(vec![1; self.tcp_options]);
        out.extend(&self.payload);
        out
    }
}

/// The Internet checksum of whole bytes; 0 over what contains a right checksum.
pub(super) fn checksum(parts: &[&[u8]]) -> u16 {
    let bytes = parts.concat();
    let mut sum: u64 = bytes
        .chunks(2)
        .map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
