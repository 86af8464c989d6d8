//! Segments made by hand that look as if an end of a flow had sent them.

use std::net::{IpAddr, SocketAddr};

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const PSH: u8 = 8;
pub(crate) const ACK: u8 = 16;

/// One segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forged {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    /// Time stamps: its own and the one that it echoes.
    pub(crate) stamps: Option<[u32; 2]>,
    pub(crate) payload: &'static [u8],
}

impl Forged {
    /// The frame that carries it to the link address `to`, with every checksum right.
    pub(crate) fn frame(&self, to: &str) -> Vec<u8> {
        const NOBODY: [u8; 6] = [2, 0, 0, 0, 0, 0x66];
        let mut frame: Vec<u8> = to
            .split(':')
            .map(|byte| u8::from_str_radix(byte, 16).expect("a link address"))
            .chain(NOBODY)
            .collect();
        let mut segment = self.segment();
        let length = u16::try_from(segment.len()).expect("a short segment");
        let mut addresses = Vec::new();
        match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                addresses.extend([from.octets(), to.octets()].concat());
                let [high, low] = (20 + length).to_be_bytes();
                let mut header = vec![0x45, 0, high, low, 0, 0, 0x40, 0, 64, 6, 0, 0];
                header.extend(&addresses);
                let sum = checksum(&header);
                header[10..12].copy_from_slice(&sum.to_be_bytes());
                frame.extend([0x08, 0]);
                frame.extend(header);
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                addresses.extend([from.octets(), to.octets()].concat());
                let [high, low] = length.to_be_bytes();
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, high, low, 6, 64]);
                frame.extend(&addresses);
            }
            _ => unreachable!("addresses of one family"),
        }
        let [high, low] = length.to_be_bytes();
        let summed = [&addresses, &[0, 6, high, low][..], &segment].concat();
        segment[16..18].copy_from_slice(&checksum(&summed).to_be_bytes());
        frame.extend(segment);
        frame
    }

    /// The segment, without its checksum.
    fn segment(&self) -> Vec<u8> {
        let mut segment = Vec::new();
        for port in [self.from.port(), self.to.port()] {
            segment.extend(port.to_be_bytes());
        }
        segment.extend(self.seq.to_be_bytes());
        segment.extend(self.ack.to_be_bytes());
        let words: u8 = if self.stamps.is_some() { 8 } else { 5 };
        segment.extend([words << 4, self.flags, 0xff, 0xff, 0, 0, 0, 0]);
        if let Some([own, echo]) = self.stamps {
            segment.extend([1, 1, 8, 10]);
            segment.extend(own.to_be_bytes());
            segment.extend(echo.to_be_bytes());
        }
        segment.extend(self.payload);
        segment
    }
}

/// The checksum of the Internet's protocols.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| {
        let [high, low] = [pair[0], pair.get(1).copied().unwrap_or_default()];
        u32::from(u16::from_be_bytes([high, low]))
    });
    let sum: u32 = words.sum();
    let folded = (sum >> 16) + (sum & 0xffff);
    let folded = (folded >> 16) + (folded & 0xffff);
    !u16::try_from(folded & 0xffff).unwrap_or_default()
}

#[test]
fn the_checksum_of_a_header_with_its_checksum_is_zero() {
    let from = "10.0.1.1:5000".parse().unwrap();
    let to = "10.0.1.2:80".parse().unwrap();
    let forged = Forged {
        from,
        to,
        seq: 1,
        ack: 2,
        flags: ACK,
        stamps: Some([3, 4]),
        payload: b"odd",
    };
    let frame = forged.frame("02:00:00:00:01:02");
    assert_eq!(frame[..6], [2, 0, 0, 0, 1, 2]);
    assert_eq!(checksum(&frame[14..34]), 0);
    let summed = [&frame[26..34], &[0, 6, 0, 35], &frame[34..]].concat();
    assert_eq!(checksum(&summed), 0);
    assert_eq!(frame.len(), 14 + 20 + 32 + 3);
}
