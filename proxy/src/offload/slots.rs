//! The slots that redirected flows occupy, and how their tasks are woken from outside.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use atomic_waker::AtomicWaker;

bitflags::bitflags! {
    /// What happened to one socket of a slot since its task last looked.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Happened: u32 {
        /// The verdict passed bytes of it to user space.
        const PASSED = 1;
        /// Its peer sent a FIN.
        const ENDED = 1 << 1;
        /// It failed.
        const FAILED = 1 << 2;
        /// It has room to write.
        const WRITABLE = 1 << 3;
        /// It has bytes to read (asked for only where no verdict sees it).
        const READABLE = 1 << 4;
    }
}

#[derive(Debug, Default)]
struct Cell {
    waker: AtomicWaker,
    happened: [AtomicU32; 2],
}

/// Flow slots: which are free, and whom to wake.
#[derive(Debug)]
pub struct Slots {
    cells: Box<[Cell]>,
    /// First in, first out, so that a slot rests as long as possible before it is used again.
    free: Mutex<VecDeque<u32>>,
}

impl Slots {
    /// `count` free slots.
    #[must_use]
    pub fn new(count: u32) -> Self {
        Self::with_free(count, 0..count)
    }

    /// `count` slots, of which these are free.
    #[must_use]
    pub fn with_free(count: u32, free: impl IntoIterator<Item = u32>) -> Self {
        Self {
            cells: (0..count).map(|_| Cell::default()).collect(),
            free: Mutex::new(free.into_iter().collect()),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<u32>> {
        // The queue is whole after every operation, so a panic elsewhere leaves it usable.
        self.free
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Takes a free slot.
    #[must_use]
    pub fn take(&self) -> Option<u32> {
        let slot = self.lock().pop_front()?;
        for happened in &self.cells[slot as usize].happened {
            happened.store(0, Ordering::Relaxed);
        }
        Some(slot)
    }

    /// Gives a slot back.
    pub fn give_back(&self, slot: u32) {
        self.cells[slot as usize].waker.take();
        self.lock().push_back(slot);
    }

    /// Whether a slot is free right now.
    #[must_use]
    pub fn has_free(&self) -> bool {
        !self.lock().is_empty()
    }

    /// Something happened to the socket `index`; wakes its flow's task.
    pub fn notify(&self, index: u32, what: Happened) {
        if let Some(cell) = self.cells.get(index as usize / 2) {
            cell.happened[index as usize % 2].fetch_or(what.bits(), Ordering::AcqRel);
            cell.waker.wake();
        }
    }

    /// Events were lost: wakes every task to look for itself.
    pub fn notify_all(&self) {
        for cell in &self.cells {
            for happened in &cell.happened {
                happened.fetch_or(Happened::PASSED.bits(), Ordering::AcqRel);
            }
            cell.waker.wake();
        }
    }

    /// Registers whom to wake for a slot. Call before [`Slots::collect`].
    pub fn register(&self, slot: u32, waker: &std::task::Waker) {
        self.cells[slot as usize].waker.register(waker);
    }

    /// What happened to socket `side` of a slot since the last call.
    #[must_use]
    pub fn collect(&self, slot: u32, side: usize) -> Happened {
        let bits = self.cells[slot as usize].happened[side].swap(0, Ordering::AcqRel);
        Happened::from_bits_truncate(bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_used_in_turn_and_come_back_clean() {
        let slots = Slots::new(2);
        assert_eq!(slots.take(), Some(0));
        assert_eq!(slots.take(), Some(1));
        assert_eq!(slots.take(), None);
        assert!(!slots.has_free());
        slots.notify(1, Happened::PASSED);
        slots.give_back(0);
        assert_eq!(slots.take(), Some(0));
        assert_eq!(slots.collect(0, 1), Happened::empty());
    }

    #[test]
    fn what_happened_is_told_once() {
        let slots = Slots::new(2);
        slots.notify(3, Happened::PASSED);
        slots.notify(3, Happened::ENDED);
        assert_eq!(slots.collect(1, 1), Happened::PASSED | Happened::ENDED);
        assert_eq!(slots.collect(1, 1), Happened::empty());
    }
}
