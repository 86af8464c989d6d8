//! A segment on its way, with the bytes of its header and with what it means.

use underpass_common::relay::segment::{ACK, Found, Header, Segment};

/// Where the numbers of a socket's own stream start, and those of the stream that it receives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers {
    pub(crate) own: u32,
    pub(crate) others: u32,
}

/// A segment and its meaning, which no program sees.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    pub(crate) header: Header,
    /// Bytes of options.
    pub(crate) options: usize,
    /// Bytes of payload.
    pub(crate) payload: u32,
    /// Whose bytes they are: the end whose far host sends them.
    pub(crate) stream: usize,
    /// Which of them comes first.
    pub(crate) from: u32,
    /// What is acknowledged selectively, in bytes of the other stream.
    pub(crate) blocks: Vec<(u32, u32)>,
    /// Ones' complement sum of the payload and of the addresses.
    pub(crate) rest: u16,
}

impl Wire {
    pub(crate) fn segment(&self) -> Segment {
        let length = 20 + self.options as u32 + self.payload;
        Segment::read(&self.header.base, length).expect("a header that fits")
    }

    pub(crate) fn found(&self) -> Found {
        Found::all(&self.header, self.options)
    }

    /// The two time stamps.
    pub(crate) fn stamps(&self) -> Option<(u32, u32)> {
        let at = self.found().timestamps;
        (at != 0).then(|| (self.header.value(at), self.header.value(at + 4)))
    }

    fn sum(&self) -> u64 {
        let words = self.header.base.iter().chain(&self.header.options);
        words.map(|&word| u64::from(word)).sum::<u64>() + u64::from(self.rest)
    }

    /// Puts the checksum of the whole segment into its header.
    pub(crate) fn seal(&mut self) {
        self.set_checksum(0);
        let mut sum = self.sum();
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        self.set_checksum(!(sum as u16));
    }

    /// Cuts off all payload but the first `keep` bytes.
    pub(crate) fn cut(&mut self, keep: u32) {
        self.payload = keep;
        self.rest = if keep == 0 {
            0
        } else {
            (self.from ^ keep) as u16
        };
        self.seal();
    }

    pub(crate) fn checksum(&self) -> u16 {
        let [a, b, _, _] = self.header.base[4].to_ne_bytes();
        u16::from_ne_bytes([a, b])
    }

    pub(crate) fn set_checksum(&mut self, checksum: u16) {
        let [_, _, c, d] = self.header.base[4].to_ne_bytes();
        let [a, b] = checksum.to_ne_bytes();
        self.header.base[4] = u32::from_ne_bytes([a, b, c, d]);
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.sum().is_multiple_of(0xffff)
    }

    /// That it says in numbers what it means, to a socket with these numbers.
    pub(crate) fn check(&self, receiver: Numbers) {
        assert!(self.is_sealed(), "checksum of {self:?}");
        let segment = self.segment();
        if self.payload > 0 {
            let first = segment.seq.wrapping_sub(receiver.others);
            assert_eq!(first, self.from, "the payload of {self:?}");
        }
        let found = self.found();
        assert_eq!(found.blocks, self.blocks.len());
        for (at, &(from, to)) in self.blocks.iter().enumerate() {
            let edge = |which: usize| {
                let value = self.header.value(found.sack + at * 8 + which * 4);
                value.wrapping_sub(receiver.own)
            };
            assert_eq!((edge(0), edge(1)), (from, to), "block {at} of {self:?}");
        }
        assert!(segment.flags & ACK != 0);
    }
}

/// The words of bytes in the order of memory, zeros behind them.
pub(crate) fn words<const N: usize>(bytes: &[u8]) -> [u32; N] {
    let mut words = [0; N];
    for (word, chunk) in words.iter_mut().zip(bytes.chunks(4)) {
        let mut four = [0; 4];
        four[..chunk.len()].copy_from_slice(chunk);
        *word = u32::from_ne_bytes(four);
    }
    words
}
