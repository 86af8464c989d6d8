//! One of the parts that a table is divided into: its entries, found by key and ordered by age.
//!
//! Entries are rows of words in chunks that never move, so that a table costs what it stores. The
//! order is a list through the entries that nobody tracks, the one that was not touched for longest
//! first. As all entries of a table live equally long, it is the order in which they expire as well.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::entry::{self, Entry};
use super::key::{self, Key};
use super::layout::{self, Layout};

/// Entries per chunk.
const CHUNK: usize = 64;
/// No entry.
const NONE: u32 = u32::MAX;

/// An entry's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot(u32);

/// The entries of a shard.
#[derive(Debug)]
pub(super) struct Shard {
    chunks: Vec<Box<[u32]>>,
    /// Slots that were ever used.
    high: u32,
    /// The first free one of them.
    free: u32,
    oldest: u32,
    newest: u32,
    index: HashTable<u32>,
    /// The latest time that anybody came with, in milliseconds: callers read the clock before they
    /// get the lock, and time must not go back.
    now: u64,
}

impl Shard {
    pub(super) fn new() -> Self {
        Self {
            chunks: Vec::new(),
            high: 0,
            free: NONE,
            oldest: NONE,
            newest: NONE,
            index: HashTable::new(),
            now: 0,
        }
    }

    /// Moves the time on; returns the one that counts.
    pub(super) fn advance(&mut self, now: u64) -> u64 {
        self.now = self.now.max(now);
        self.now
    }

    pub(super) fn find(&self, hash: u64, key: &Key, layout: &Layout) -> Option<Slot> {
        let words = key.words();
        let chunks = &self.chunks;
        self.index
            .find(hash, |slot| {
                let row = row_of(chunks, *slot, layout.stride);
                row[layout::KEY..layout::KEY + words.len()] == *words
            })
            .map(|slot| Slot(*slot))
    }

    /// Adds an entry that is not there yet, all zero, touched now.
    pub(super) fn insert(
        &mut self,
        hash: u64,
        key: &Key,
        layout: &Layout,
        hasher: &RandomState,
    ) -> Slot {
        let slot = self.allocate(layout.stride);
        let now = self.now;
        let row = self.row_mut(Slot(slot), layout);
        row.fill(0);
        row[layout::KEY..layout::KEY + key.words().len()].copy_from_slice(key.words());
        entry::set_double(row, layout::TOUCHED, now);
        let (chunks, stride) = (&self.chunks, layout.stride);
        self.index.insert_unique(hash, slot, |slot| {
            hasher.hash_one(key_of(row_of(chunks, *slot, stride), layout))
        });
        self.link(Slot(slot), layout);
        Slot(slot)
    }

    /// Removes an entry that nobody tracks.
    pub(super) fn remove(&mut self, slot: Slot, layout: &Layout, hasher: &RandomState) {
        self.unlink(slot, layout);
        let hash = hasher.hash_one(key_of(self.row(slot, layout), layout));
        if let Ok(found) = self.index.find_entry(hash, |other| *other == slot.0) {
            found.remove();
        }
        if self.index.is_empty() {
            let now = self.now;
            *self = Self::new();
            self.now = now;
            return;
        }
        let free = self.free;
        self.row_mut(slot, layout)[layout::NEWER] = free;
        self.free = slot.0;
    }

    /// The entry that was not touched for longest, of those that nobody tracks, and when it was
    /// touched.
    pub(super) fn oldest(&self, layout: &Layout) -> Option<(Slot, u64)> {
        let slot = some(self.oldest)?;
        Some((slot, self.touched(slot, layout)))
    }

    /// Removes up to `most` entries that have expired; returns how many.
    pub(super) fn purge(&mut self, most: usize, layout: &Layout, hasher: &RandomState) -> usize {
        let Some(expire) = layout.expire else {
            return 0;
        };
        for removed in 0..most {
            match self.oldest(layout) {
                Some((slot, touched)) if touched.saturating_add(expire) <= self.now => {
                    self.remove(slot, layout, hasher);
                }
                _ => return removed,
            }
        }
        most
    }

    /// Whether an entry's time is over; a tracked one's never is.
    pub(super) fn is_expired(&self, slot: Slot, layout: &Layout) -> bool {
        let (row, expire) = (self.row(slot, layout), layout.expire);
        row[layout::USES] == 0
            && expire.is_some_and(|expire| {
                entry::double(row, layout::TOUCHED).saturating_add(expire) <= self.now
            })
    }

    /// An entry's life begins again.
    pub(super) fn touch(&mut self, slot: Slot, layout: &Layout) {
        let now = self.now;
        let row = self.row_mut(slot, layout);
        let tracked = row[layout::USES] > 0;
        entry::set_double(row, layout::TOUCHED, now);
        if !tracked && self.newest != slot.0 {
            self.unlink(slot, layout);
            self.link(slot, layout);
        }
    }

    /// Holds an entry: it is in nobody's way to expiry until it is let go.
    pub(super) fn hold(&mut self, slot: Slot, layout: &Layout) {
        if self.row(slot, layout)[layout::USES] == 0 {
            self.unlink(slot, layout);
        }
        let now = self.now;
        let row = self.row_mut(slot, layout);
        row[layout::USES] += 1;
        entry::set_double(row, layout::TOUCHED, now);
    }

    /// Lets go of an entry that was held.
    pub(super) fn let_go(&mut self, slot: Slot, layout: &Layout) {
        let now = self.now;
        let row = self.row_mut(slot, layout);
        row[layout::USES] -= 1;
        let free = row[layout::USES] == 0;
        entry::set_double(row, layout::TOUCHED, now);
        if free {
            self.link(slot, layout);
        }
    }

    /// An entry's values.
    pub(super) fn entry<'a>(&'a mut self, slot: Slot, layout: &'a Layout) -> Entry<'a> {
        Entry {
            now: self.now,
            words: self.row_mut(slot, layout),
            layout,
        }
    }

    pub(super) fn key(&self, slot: Slot, layout: &Layout) -> Key {
        let row = self.row(slot, layout);
        Key::stored(&row[layout::KEY..layout::KEY + layout.key_words], layout)
    }

    /// All entries.
    pub(super) fn slots(&self) -> Vec<Slot> {
        self.index.iter().map(|slot| Slot(*slot)).collect()
    }

    /// Bytes that are allocated.
    pub(super) fn allocated(&self) -> usize {
        let chunks: usize = self.chunks.iter().map(|chunk| size_of_val(&**chunk)).sum();
        chunks + self.chunks.capacity() * size_of::<Box<[u32]>>() + self.index.allocation_size()
    }

    fn allocate(&mut self, stride: usize) -> u32 {
        if let Some(slot) = some(self.free) {
            self.free = row_of(&self.chunks, slot.0, stride)[layout::NEWER];
            return slot.0;
        }
        if self.high as usize == CHUNK * self.chunks.len() {
            self.chunks.push(vec![0; CHUNK * stride].into_boxed_slice());
        }
        self.high += 1;
        self.high - 1
    }

    fn touched(&self, slot: Slot, layout: &Layout) -> u64 {
        entry::double(self.row(slot, layout), layout::TOUCHED)
    }

    /// Puts an entry at the end of the order.
    fn link(&mut self, slot: Slot, layout: &Layout) {
        let newest = self.newest;
        let row = self.row_mut(slot, layout);
        row[layout::OLDER] = newest;
        row[layout::NEWER] = NONE;
        match some(newest) {
            Some(newest) => self.row_mut(newest, layout)[layout::NEWER] = slot.0,
            None => self.oldest = slot.0,
        }
        self.newest = slot.0;
    }

    /// Takes an entry out of the order.
    fn unlink(&mut self, slot: Slot, layout: &Layout) {
        let row = self.row(slot, layout);
        let (older, newer) = (row[layout::OLDER], row[layout::NEWER]);
        match some(older) {
            Some(older) => self.row_mut(older, layout)[layout::NEWER] = newer,
            None => self.oldest = newer,
        }
        match some(newer) {
            Some(newer) => self.row_mut(newer, layout)[layout::OLDER] = older,
            None => self.newest = older,
        }
    }

    fn row(&self, slot: Slot, layout: &Layout) -> &[u32] {
        row_of(&self.chunks, slot.0, layout.stride)
    }

    fn row_mut(&mut self, slot: Slot, layout: &Layout) -> &mut [u32] {
        let (slot, stride) = (slot.0 as usize, layout.stride);
        let start = slot % CHUNK * stride;
        &mut self.chunks[slot / CHUNK][start..start + stride]
    }
}

fn row_of(chunks: &[Box<[u32]>], slot: u32, stride: usize) -> &[u32] {
    let slot = slot as usize;
    let start = slot % CHUNK * stride;
    &chunks[slot / CHUNK][start..start + stride]
}

/// The words that an entry's key is hashed by.
fn key_of<'a>(row: &'a [u32], layout: &Layout) -> &'a [u32] {
    key::used(
        &row[layout::KEY..layout::KEY + layout.key_words],
        layout.kind,
    )
}

fn some(slot: u32) -> Option<Slot> {
    (slot != NONE).then_some(Slot(slot))
}
