//! How large a direction's buffer is, and whether the direction is bulk: decided from the sizes
//! of its reads alone.

/// Largest buffer, bytes. Measured on loopback: below this each doubling saves system calls, above
/// it the bytes leave the core's cache between the read and the write.
pub const LARGEST: usize = 512 * 1024;

/// Reads in a row that filled less than a quarter before the buffer shrinks: a pause of the sender
/// is not yet a change of mind.
const SMALL_READS_TO_SHRINK: u8 = 8;

/// The size of one direction's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizing {
    smallest: usize,
    size: usize,
    small_reads: u8,
    full_reads: u8,
}

impl Sizing {
    /// Starts at `smallest` bytes.
    #[must_use]
    pub fn new(smallest: usize) -> Self {
        Self {
            smallest,
            size: smallest,
            small_reads: 0,
            full_reads: 0,
        }
    }

    /// The size that the next buffer should have, bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether reads keep filling what they are given.
    #[must_use]
    pub fn is_bulk(&self) -> bool {
        self.size > self.smallest
    }

    /// A read into an empty buffer got `got` bytes.
    pub fn observe(&mut self, got: usize) {
        if got >= self.size {
            self.small_reads = 0;
            self.full_reads = self.full_reads.saturating_add(1);
            // The first full read may be one large message; the second is a stream.
            if self.full_reads >= 2 && self.size < LARGEST {
                self.size = (self.size * 2).min(LARGEST.max(self.smallest));
            }
        } else if got < self.size / 4 {
            self.full_reads = 0;
            self.small_reads += 1;
            if self.small_reads >= SMALL_READS_TO_SHRINK {
                self.small_reads = 0;
                self.size = (self.size / 2).max(self.smallest);
            }
        } else {
            self.small_reads = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bulk_grows_and_chat_shrinks() {
        let mut sizing = Sizing::new(16_384);
        sizing.observe(100);
        assert_eq!(sizing.size(), 16_384);
        for _ in 0..20 {
            sizing.observe(sizing.size());
        }
        assert_eq!(sizing.size(), LARGEST);
        assert!(sizing.is_bulk());
        for _ in 0..100 {
            sizing.observe(100);
        }
        assert_eq!(sizing.size(), 16_384);
        assert!(!sizing.is_bulk());
    }

    proptest! {
        #[test]
        fn the_size_stays_within_its_bounds(
            smallest in 1usize..100_000,
            reads in prop::collection::vec(0usize..2_000_000, 0..200),
        ) {
            let mut sizing = Sizing::new(smallest);
            for got in reads {
                sizing.observe(got.min(sizing.size()));
                prop_assert!(sizing.size() >= smallest);
                prop_assert!(sizing.size() <= LARGEST.max(smallest));
            }
        }
    }
}
