//! A TCP segment as its headers say it.

/// FIN.
pub const FIN: u8 = 0x01;
/// SYN.
pub const SYN: u8 = 0x02;
/// RST.
pub const RST: u8 = 0x04;
/// ACK.
pub const ACK: u8 = 0x10;
/// ECN echo.
pub const ECE: u8 = 0x40;
/// Congestion window reduced.
pub const CWR: u8 = 0x80;

/// Words of a TCP header without options.
pub const BASE: usize = 5;
/// Room for options, words: a power of two, so that an index is bounded by a mask. TCP has 10.
pub const OPTIONS: usize = 16;

/// A TCP header without its payload: words in the order of memory.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Header {
    /// The fixed part, ports and checksum included.
    pub base: [u32; BASE],
    /// The options, and zeros behind them.
    pub options: [u32; OPTIONS],
}

impl Header {
    /// The byte of the options at `at`.
    #[inline(always)]
    #[must_use]
    pub const fn byte(&self, at: usize) -> u8 {
        let word = u32::from_be(self.options[(at >> 2) & (OPTIONS - 1)]);
        (word >> (24 - 8 * (at & 3))) as u8
    }

    /// The 32-bit value of the options at `at`.
    #[inline(always)]
    #[must_use]
    pub const fn value(&self, at: usize) -> u32 {
        let first = u32::from_be(self.options[(at >> 2) & (OPTIONS - 1)]);
        let shift = 8 * (at & 3) as u32;
        if shift == 0 {
            return first;
        }
        let second = u32::from_be(self.options[((at >> 2) + 1) & (OPTIONS - 1)]);
        (first << shift) | (second >> (32 - shift))
    }

    /// Puts a 32-bit value at `at`; what the sum of the words changes by.
    #[inline(always)]
    pub fn put(&mut self, at: usize, value: u32) -> u64 {
        let word = (at >> 2) & (OPTIONS - 1);
        let shift = 8 * (at & 3) as u32;
        if shift == 0 {
            return set(&mut self.options[word], value.to_be());
        }
        let next = (word + 1) & (OPTIONS - 1);
        let first = u32::from_be(self.options[word]) & !(u32::MAX >> shift);
        let second = u32::from_be(self.options[next]) & (u32::MAX >> shift);
        set(&mut self.options[word], (first | (value >> shift)).to_be())
            + set(
                &mut self.options[next],
                (second | (value << (32 - shift))).to_be(),
            )
    }
}

/// Changes a word; what a ones' complement sum changes by, unfolded.
#[inline(always)]
pub fn set(word: &mut u32, value: u32) -> u64 {
    let by = u64::from(value) + u64::from(!*word);
    *word = value;
    by
}

/// What a segment says, without its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Segment {
    /// Sequence number of the first byte.
    pub seq: u32,
    /// What it acknowledges; means nothing without [`ACK`].
    pub ack: u32,
    /// Payload, bytes.
    pub payload: u32,
    /// The window field, unscaled.
    pub window: u16,
    /// [`FIN`] and the others.
    pub flags: u8,
    /// Bytes of options.
    pub options: u8,
}

impl Segment {
    /// Reads the fixed part of a header; `length` is that of header and payload. `None` when the
    /// header does not fit.
    #[inline(always)]
    #[must_use]
    pub fn read(base: &[u32; BASE], length: u32) -> Option<Self> {
        let control = u32::from_be(base[3]);
        let size = (control >> 28) * 4;
        if size < BASE as u32 * 4 || size > length {
            return None;
        }
        Some(Self {
            seq: u32::from_be(base[1]),
            ack: u32::from_be(base[2]),
            payload: length - size,
            window: control as u16,
            flags: (control >> 16) as u8,
            options: (size - BASE as u32 * 4) as u8,
        })
    }

    /// End of its payload.
    #[inline(always)]
    #[must_use]
    pub const fn end(&self) -> u32 {
        self.seq.wrapping_add(self.payload)
    }

    /// Whether it acknowledges.
    #[inline(always)]
    #[must_use]
    pub const fn acknowledges(&self) -> bool {
        self.flags & ACK != 0
    }
}

const END: u8 = 0;
const NOP: u8 = 1;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;
/// NOP, NOP, time stamps, 10 bytes.
const USUAL: u32 = 0x0101_080a;
/// Options that are looked at: more than fit without padding, and padding comes in pairs.
pub const MOST: usize = 24;

/// Where the options of interest stand: offsets of their values; 0 for what is not there (no value
/// stands at the start).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Found {
    /// The two time stamps, 8 bytes.
    pub timestamps: usize,
    /// The SACK blocks, 8 bytes each.
    pub sack: usize,
    /// How many.
    pub blocks: usize,
}

impl Found {
    /// What nearly every segment with options has: two NOPs and the time stamps, and nothing else.
    #[inline(always)]
    #[must_use]
    pub const fn usual(header: &Header, length: usize) -> Option<Self> {
        if length != 12 || header.options[0] != USUAL.to_be() {
            return None;
        }
        Some(Self {
            timestamps: 4,
            sack: 0,
            blocks: 0,
        })
    }

    /// Looks at the option at `at` of `length` bytes; where the next one stands, or `None` after the
    /// last one.
    #[inline(always)]
    pub fn look(&mut self, header: &Header, at: usize, length: usize) -> Option<usize> {
        if at >= length {
            return None;
        }
        let kind = header.byte(at);
        if kind == END {
            return None;
        }
        if kind == NOP {
            return Some(at + 1);
        }
        let size = usize::from(header.byte(at + 1));
        if size < 2 || at + size > length {
            return None;
        }
        if kind == TIMESTAMPS && size == 10 {
            self.timestamps = at + 2;
        } else if kind == SACK && size >= 10 {
            self.sack = at + 2;
            self.blocks = (size - 2) / 8;
        }
        Some(at + size)
    }

    /// Looks at all options in `length` bytes.
    #[must_use]
    pub fn all(header: &Header, length: usize) -> Self {
        let mut found = Self::default();
        let mut next = Some(0);
        for _ in 0..MOST {
            let Some(at) = next else { break };
            next = found.look(header, at, length);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(bytes: &[u8]) -> (Header, usize) {
        let mut all = [0; OPTIONS * 4];
        all[..bytes.len()].copy_from_slice(bytes);
        let mut header = Header::default();
        for (word, bytes) in header.options.iter_mut().zip(all.chunks_exact(4)) {
            *word = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        (header, bytes.len())
    }

    #[test]
    fn options_are_found_wherever_they_stand() {
        let stamps = [8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
        let block = [5, 10, 0, 0, 0, 1, 0, 0, 0, 2];
        let (bytes, length) = options(&[&[1, 1][..], &stamps, &[1, 1], &block].concat());
        assert_eq!(
            Found::all(&bytes, length),
            Found {
                timestamps: 4,
                sack: 16,
                blocks: 1
            }
        );
        let (bytes, length) = options(&[&block[..], &[1], &stamps, &[0]].concat());
        assert_eq!(
            Found::all(&bytes, length),
            Found {
                timestamps: 13,
                sack: 2,
                blocks: 1
            }
        );
        let (bytes, length) = options(&[&[1, 1][..], &stamps].concat());
        assert_eq!(
            Found::usual(&bytes, length),
            Some(Found::all(&bytes, length))
        );
    }

    #[test]
    fn options_that_lie_end_the_search() {
        for bytes in [
            &[8, 10, 0][..],
            &[3, 0, 8, 10],
            &[3, 1],
            &[0, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0],
        ] {
            let (all, length) = options(bytes);
            assert_eq!(Found::all(&all, length), Found::default(), "{bytes:?}");
        }
    }

    #[test]
    fn a_header_longer_than_its_segment_is_none() {
        let mut header = [0; BASE];
        header[3] = (6u32 << 28).to_be();
        assert_eq!(Segment::read(&header, 23), None);
        assert_eq!(
            Segment::read(&header, 24).map(|s| (s.payload, s.options)),
            Some((0, 4))
        );
        header[3] = (4u32 << 28).to_be();
        assert_eq!(Segment::read(&header, 60), None);
    }

    #[test]
    fn values_are_written_anywhere() {
        for at in 0..12 {
            let (mut header, _) = options(&[0xaa; 20]);
            let before: u64 = header.options.iter().map(|&word| u64::from(word)).sum();
            let by = header.put(at, 0x0102_0304);
            assert_eq!(header.value(at), 0x0102_0304);
            for other in (0..20).filter(|other| !(at..at + 4).contains(other)) {
                assert_eq!(header.byte(other), 0xaa, "{other} beside {at}");
            }
            let after: u64 = header.options.iter().map(|&word| u64::from(word)).sum();
            assert_eq!((before + by) % 0xffff_ffff, after % 0xffff_ffff);
        }
    }
}
