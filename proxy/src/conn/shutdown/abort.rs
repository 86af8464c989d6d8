//! The bounds of a delayed abort.

use std::time::{Duration, Instant};

/// How long a delayed abort may go on, from the moment at which it is asked for. Both bounds
/// include what happens while output is still on its way, so a long output needs wide ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortLimits {
    /// Bytes of input that may be thrown away.
    pub bytes: u64,
    /// Until the connection has to be closed.
    pub time: Duration,
}

/// A delayed abort under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Abort {
    /// `None`: so far away that it has no name.
    deadline: Option<Instant>,
    bytes_left: u64,
}

impl Abort {
    pub(super) fn new(now: Instant, limits: AbortLimits) -> Self {
        Self {
            deadline: now.checked_add(limits.time),
            bytes_left: limits.bytes,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Counts bytes that were thrown away; false once they are too many.
    pub(super) fn drained(&mut self, bytes: usize) -> bool {
        match self.bytes_left.checked_sub(bytes as u64) {
            Some(left) => {
                self.bytes_left = left;
                true
            }
            None => {
                self.bytes_left = 0;
                false
            }
        }
    }
}
