//! A queue that those who wait may leave at any time.

use std::collections::BTreeMap;

/// Waiters by their ticket's number: first come, first served.
#[derive(Debug)]
pub(super) struct Queue<W>(BTreeMap<u64, W>);

impl<W> Default for Queue<W> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<W> Queue<W> {
    pub(super) fn push(&mut self, number: u64, waiter: W) {
        self.0.insert(number, waiter);
    }

    pub(super) fn pop(&mut self) -> Option<W> {
        self.0.pop_first().map(|(_, waiter)| waiter)
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<W> {
        self.0.remove(&number)
    }

    /// The number of whoever is first.
    pub(super) fn first(&self) -> Option<u64> {
        self.0.first_key_value().map(|(number, _)| *number)
    }

    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
