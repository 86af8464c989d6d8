//! One of the parts that a table is divided into: its entries, found by key and ordered by age.
//!
//! Entries are rows of words in chunks that never move, so that a table costs what it stores. The
//! order is a list through the entries, the one that was not touched for longest first. As all entries
//! of a table live equally long, it is the order in which they expire as well. A tracked entry that
//! gets to the front is set aside, out of the list, until it is touched or let go.

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
        self.link_after(self.newest, Slot(slot), layout);
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

    /// The entry that was not touched for longest, of those that are not set aside, and when it was
    /// touched.
    pub(super) fn oldest(&self, layout: &Layout) -> Option<(Slot, u64)> {
        let slot = some(self.oldest)?;
        Some((slot, self.touched(slot, layout)))
    }

    /// Looks at up to `most` entries that have expired, and removes those that nobody tracks;
    /// returns how many.
    pub(super) fn purge(&mut self, most: usize, layout: &Layout, hasher: &RandomState) -> usize {
        let mut removed = 0;
        for _ in 0..most {
            let Some(slot) = some(self.oldest) else {
                break;
            };
            if !self.is_over(slot, layout) {
                break;
            }
            if self.row(slot, layout)[layout::USES] > 0 {
                self.set_aside(slot, layout);
            } else {
                self.remove(slot, layout, hasher);
                removed += 1;
            }
        }
        removed
    }

    /// Sets the oldest entry aside if it is tracked; returns whether it was.
    pub(super) fn set_oldest_aside(&mut self, layout: &Layout) -> bool {
        let tracked = some(self.oldest).filter(|slot| self.row(*slot, layout)[layout::USES] > 0);
        if let Some(slot) = tracked {
            self.set_aside(slot, layout);
        }
        tracked.is_some()
    }

    /// Whether an entry has expired; a tracked one never has.
    pub(super) fn is_expired(&self, slot: Slot, layout: &Layout) -> bool {
        self.row(slot, layout)[layout::USES] == 0 && self.is_over(slot, layout)
    }

    /// An entry's life begins again.
    pub(super) fn touch(&mut self, slot: Slot, layout: &Layout) {
        let now = self.now;
        entry::set_double(self.row_mut(slot, layout), layout::TOUCHED, now);
        if self.is_aside(slot, layout) {
            self.link_after(self.newest, slot, layout);
        } else if self.newest != slot.0 {
            self.unlink(slot, layout);
            self.link_after(self.newest, slot, layout);
        }
    }

    /// Holds an entry, which touches it: it does not expire until it is let go.
    pub(super) fn hold(&mut self, slot: Slot, layout: &Layout) {
        self.row_mut(slot, layout)[layout::USES] += 1;
        self.touch(slot, layout);
    }

    /// Lets go of an entry that was held, and removes it if nobody else holds it and it has expired
    /// meanwhile; returns whether it did.
    pub(super) fn let_go(&mut self, slot: Slot, layout: &Layout, hasher: &RandomState) -> bool {
        self.row_mut(slot, layout)[layout::USES] -= 1;
        let free = self.row(slot, layout)[layout::USES] == 0;
        if free && self.is_aside(slot, layout) {
            self.link_by_age(slot, layout);
        }
        let expired = self.is_expired(slot, layout);
        if expired {
            self.remove(slot, layout, hasher);
        }
        expired
    }

    /// An entry's values.
    pub(super) fn entry<'a>(&'a mut self, slot: Slot, layout: &'a Layout) -> Entry<'a> {
        Entry {
            now: self.now,
            words: self.row_mut(slot, layout),
            layout,
            changed: false,
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

    /// Whether its time is over, tracked or not.
    fn is_over(&self, slot: Slot, layout: &Layout) -> bool {
        let touched = self.touched(slot, layout);
        let expire = layout.expire;
        expire.is_some_and(|expire| touched.saturating_add(expire) <= self.now)
    }

    /// Puts an entry into the order after another one, or [`NONE`]: first.
    fn link_after(&mut self, older: u32, slot: Slot, layout: &Layout) {
        let newer = match some(older) {
            Some(older) => {
                std::mem::replace(&mut self.row_mut(older, layout)[layout::NEWER], slot.0)
            }
            None => std::mem::replace(&mut self.oldest, slot.0),
        };
        match some(newer) {
            Some(newer) => self.row_mut(newer, layout)[layout::OLDER] = slot.0,
            None => self.newest = slot.0,
        }
        let row = self.row_mut(slot, layout);
        row[layout::OLDER] = older;
        row[layout::NEWER] = newer;
    }

    /// Puts an entry that was set aside where it belongs: before it are only others that were set
    /// aside.
    fn link_by_age(&mut self, slot: Slot, layout: &Layout) {
        let touched = self.touched(slot, layout);
        let (mut older, mut next) = (NONE, self.oldest);
        while let Some(other) = some(next)
            && self.touched(other, layout) < touched
        {
            older = next;
            next = self.row(other, layout)[layout::NEWER];
        }
        self.link_after(older, slot, layout);
    }

    /// Takes a tracked entry out of the order, and marks it.
    fn set_aside(&mut self, slot: Slot, layout: &Layout) {
        self.unlink(slot, layout);
        self.row_mut(slot, layout)[layout::OLDER] = slot.0;
    }

    fn is_aside(&self, slot: Slot, layout: &Layout) -> bool {
        self.row(slot, layout)[layout::OLDER] == slot.0
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
