//! Seeded contents: every byte of a stream is a function of its seed and its offset, so a receiver checks what it gets
//! in place, and a byte that is missing, repeated or out of place cannot pass.

use std::fmt;

/// The contents of one direction of one flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern {
    seed: u64,
}

const WORD: u64 = 8;

impl Pattern {
    /// The contents that belong to `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed: mix(seed ^ 0x7570_7061_7373_0001),
        }
    }

    fn word(self, index: u64) -> [u8; 8] {
        mix(self
            .seed
            .wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        .to_le_bytes()
    }

    /// Writes the contents from `offset` on into `into`.
    pub fn fill(self, offset: u64, into: &mut [u8]) {
        let skip = usize::try_from(offset % WORD).unwrap_or_default();
        let mut index = offset / WORD;
        let head = if skip == 0 {
            0
        } else {
            into.len().min(8 - skip)
        };
        let (head, body) = into.split_at_mut(head);
        if !head.is_empty() {
            head.copy_from_slice(&self.word(index)[skip..skip + head.len()]);
            index += 1;
        }
        let mut words = body.chunks_exact_mut(8);
        for word in &mut words {
            word.copy_from_slice(&self.word(index));
            index += 1;
        }
        let rest = words.into_remainder();
        let last = self.word(index);
        rest.copy_from_slice(&last[..rest.len()]);
    }

    /// Checks that `got` is what belongs at `offset`.
    ///
    /// # Errors
    /// The first byte that differs, with a guess at what happened.
    pub fn check(self, offset: u64, got: &[u8]) -> Result<(), Mismatch> {
        let mut expected = [0; 16 * 1024];
        let mut at = offset;
        for part in got.chunks(expected.len()) {
            let expected = &mut expected[..part.len()];
            self.fill(at, expected);
            if part != expected {
                let differs = part
                    .iter()
                    .zip(expected.iter())
                    .position(|(got, want)| got != want);
                let differs = u64::try_from(differs.unwrap_or_default()).unwrap_or_default();
                let first = at + differs;
                let from = usize::try_from(first - offset).unwrap_or_default();
                return Err(Mismatch {
                    offset: first,
                    belongs_at: self.locate(first, &got[from..]),
                });
            }
            at += u64::try_from(part.len()).unwrap_or_default();
        }
        Ok(())
    }

    /// Where in the stream the first bytes of `got` belong, looking around `near`.
    fn locate(self, near: u64, got: &[u8]) -> Option<u64> {
        const AROUND: u64 = 64 << 20;
        let needle = got.get(..8)?;
        let start = near.saturating_sub(AROUND);
        let mut window = vec![0; 1 << 20];
        for block in 0..(2 * AROUND) >> 20 {
            let at = start + (block << 20);
            // Windows overlap by the length of the needle.
            window.resize((1 << 20) + 7, 0);
            self.fill(at, &mut window);
            if let Some(found) = window.windows(8).position(|bytes| bytes == needle) {
                return Some(at + u64::try_from(found).unwrap_or_default());
            }
        }
        None
    }
}

/// Received bytes that are not those that were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The offset of the first wrong byte.
    pub offset: u64,
    /// Where in the sent stream the bytes found there belong, if anywhere near.
    pub belongs_at: Option<u64>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, belongs_at } = *self;
        match belongs_at {
            Some(at) if at > offset => write!(
                f,
                "at offset {offset}: {} bytes are missing or late",
                at - offset
            ),
            Some(at) => write!(
                f,
                "at offset {offset}: bytes from {at} come again ({} back)",
                offset - at
            ),
            None => write!(f, "at offset {offset}: bytes that were not sent near there"),
        }
    }
}

/// A cheap generator for lengths and pauses: the same seed gives the same test.
#[derive(Clone, Debug)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// A generator that starts from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A number below `bound`, which must not be zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state) % bound
    }
}

/// The finaliser of SplitMix64: every input bit changes about half of the output bits.
const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contents_do_not_depend_on_how_they_are_cut() {
        let pattern = Pattern::new(7);
        let mut whole = vec![0; 100_000];
        pattern.fill(0, &mut whole);
        let mut dice = Dice::new(1);
        let mut at = 0;
        while at < whole.len() {
            let end = whole
                .len()
                .min(at + 1 + usize::try_from(dice.below(40)).unwrap());
            let mut part = vec![0; end - at];
            pattern.fill(at as u64, &mut part);
            assert_eq!(part, whole[at..end]);
            assert_eq!(pattern.check(at as u64, &part), Ok(()));
            at = end;
        }
    }

    #[test]
    fn a_wrong_byte_is_found_and_explained() {
        let pattern = Pattern::new(7);
        let mut sent = vec![0; 100_000];
        pattern.fill(0, &mut sent);
        let mut lost = sent.clone();
        lost.drain(5_000..6_000);
        assert_eq!(
            pattern.check(0, &lost),
            Err(Mismatch {
                offset: 5_000,
                belongs_at: Some(6_000)
            })
        );
        let mut twice = sent.clone();
        twice.splice(5_000..5_000, sent[4_000..5_000].iter().copied());
        assert_eq!(
            pattern.check(0, &twice),
            Err(Mismatch {
                offset: 5_000,
                belongs_at: Some(4_000)
            })
        );
        let mut flipped = sent;
        flipped[99_999] ^= 1;
        assert_eq!(
            pattern.check(0, &flipped),
            Err(Mismatch {
                offset: 99_999,
                belongs_at: None
            })
        );
    }
}
