//! A table as all workers share it.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::column::Row;
use super::entry::Entry;
use super::key::Key;
use super::layout::Layout;
use super::settings::TableSettings;
use super::shard::{Shard, Slot};
use super::tracked::Tracked;
use crate::rules::sample::{Kind, Value};
use crate::rules::scene::Millis;

/// Shards of a table that is large enough for them.
const SHARDS: usize = 64;
/// Entries per shard below which more shards would only cost memory.
const WORTH_A_SHARD: usize = 256;
/// Expired entries that are removed on the way of something else, at most: more than one, so that
/// they never pile up, and few, so that nobody waits.
const PURGED_IN_PASSING: usize = 8;
/// Expired entries that are removed under one lock, when that is all there is to do.
const PURGED_AT_ONCE: usize = 512;
/// No entry may be evicted.
const NEVER: u64 = u64::MAX;

/// What came of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Removed,
    /// There was none.
    Absent,
    /// Living streams track it: it stays.
    InUse,
}

/// A shard and what can be known without its lock. Two cache lines: neighbours are used by other
/// workers.
#[derive(Debug)]
#[repr(align(128))]
struct Guarded {
    shard: Mutex<Shard>,
    /// When its oldest entry was touched; [`NEVER`]: it has none that may be evicted. Written under
    /// the lock.
    oldest: AtomicU64,
}

/// A stick table, shared by all workers. Entries are divided among shards by their key; a caller
/// holds the lock of one shard at a time, for as long as its closure runs.
#[derive(Debug)]
pub struct Table {
    settings: TableSettings,
    layout: Layout,
    shards: Box<[Guarded]>,
    /// Secret, so that nobody can choose keys that fall into one place.
    hasher: RandomState,
    /// Entries, and places that are reserved for one: never more than the table's size.
    used: AtomicUsize,
    /// The latest time that anybody came with.
    clock: AtomicU64,
}

impl Table {
    /// An empty one.
    #[must_use]
    pub fn new(mut settings: TableSettings) -> Self {
        settings.kind = match settings.kind {
            Kind::Address => Kind::Ipv6,
            Kind::Bool => Kind::Int,
            kind => kind,
        };
        let shards = (settings.size / WORTH_A_SHARD)
            .next_power_of_two()
            .clamp(1, SHARDS);
        Self {
            layout: Layout::new(&settings),
            shards: (0..shards)
                .map(|_| Guarded {
                    shard: Mutex::new(Shard::new()),
                    oldest: AtomicU64::new(NEVER),
                })
                .collect(),
            settings,
            hasher: RandomState::new(),
            used: AtomicUsize::new(0),
            clock: AtomicU64::new(0),
        }
    }

    /// What its `stick-table` line says.
    #[must_use]
    pub fn settings(&self) -> &TableSettings {
        &self.settings
    }

    /// Bytes of an entry, key included; its place in the index, 6 to 12 bytes, comes on top.
    #[must_use]
    pub fn entry_size(&self) -> usize {
        size_of::<u32>() * self.layout.stride
    }

    /// Bytes that its entries and their index take now. Entries that are gone leave room for others.
    #[must_use]
    pub fn allocated(&self) -> usize {
        let shards = self.shards.iter();
        shards.map(|guarded| lock(guarded).allocated()).sum()
    }

    /// The key that a value stands for; `None`: the value cannot be one (not an address, say).
    #[must_use]
    pub fn key(&self, value: Value<'_>) -> Option<Key> {
        Key::of(value, &self.settings)
    }

    /// Another table's key as one of this table; `None`: its keys are of another type.
    #[must_use]
    pub fn adopt(&self, key: &Key) -> Option<Key> {
        key.refit(&self.settings)
    }

    /// Finds or creates an entry, holds it, and counts a connection: `conn_cur`, `conn_cnt`,
    /// `conn_rate`. `None`: the table is full and nothing in it may make room.
    #[must_use]
    pub fn track(self: &Arc<Self>, key: &Key, now: Millis) -> Option<Tracked> {
        let (shard, slot) = self.find_or_create(key, now, |shard, slot, layout| {
            shard.hold(slot, layout);
            shard.entry(slot, layout).start_connection();
            slot
        })?;
        Some(Tracked::new(Arc::clone(self), shard, slot))
    }

    /// What an entry says; looking does not touch it. `None`: there is none.
    #[must_use]
    pub fn lookup(&self, key: &Key, now: Millis) -> Option<Row> {
        self.inspect(key, now, Row::of)
    }

    /// Looks at some of an entry, which does not touch it. `None`: there is none.
    pub fn inspect<R>(
        &self,
        key: &Key,
        now: Millis,
        look: impl FnOnce(&Entry<'_>) -> R,
    ) -> Option<R> {
        let now = self.observe(now);
        let (hash, place) = self.place(key)?;
        let mut shard = lock(&self.shards[place]);
        shard.advance(now);
        let slot = shard.find(hash, key, &self.layout)?;
        if shard.is_expired(slot, &self.layout) {
            return None;
        }
        Some(look(&shard.entry(slot, &self.layout)))
    }

    /// Finds or creates an entry, touches it, and changes it. `None`: the table is full and nothing
    /// in it may make room.
    pub fn update<R>(
        &self,
        key: &Key,
        now: Millis,
        change: impl FnOnce(&mut Entry<'_>) -> R,
    ) -> Option<R> {
        self.find_or_create(key, now, |shard, slot, layout| {
            shard.touch(slot, layout);
            change(&mut shard.entry(slot, layout))
        })
        .map(|(_, result)| result)
    }

    /// Touches an entry and changes it; `None`: there is none.
    pub fn update_existing<R>(
        &self,
        key: &Key,
        now: Millis,
        change: impl FnOnce(&mut Entry<'_>) -> R,
    ) -> Option<R> {
        let now = self.observe(now);
        let (hash, place) = self.place(key)?;
        let mut shard = lock(&self.shards[place]);
        shard.advance(now);
        let slot = shard.find(hash, key, &self.layout)?;
        if shard.is_expired(slot, &self.layout) {
            return None;
        }
        shard.touch(slot, &self.layout);
        let result = change(&mut shard.entry(slot, &self.layout));
        self.publish(place, &shard);
        Some(result)
    }

    /// How many entries there are.
    #[must_use]
    pub fn used(&self, now: Millis) -> usize {
        self.expire(now);
        self.used.load(Ordering::Relaxed)
    }

    /// How many more there could be.
    #[must_use]
    pub fn available(&self, now: Millis) -> usize {
        self.settings.size - self.used(now)
    }

    /// Removes expired entries, and tells the table what time it is.
    pub fn expire(&self, now: Millis) {
        let now = self.observe(now);
        for place in 0..self.shards.len() {
            while self.holds_expired(place, now) {
                let mut shard = lock(&self.shards[place]);
                shard.advance(now);
                self.purge(place, &mut shard, PURGED_AT_ONCE);
            }
        }
    }

    /// Removes an entry that nobody tracks.
    pub fn remove(&self, key: &Key, now: Millis) -> Removal {
        let now = self.observe(now);
        let Some((hash, place)) = self.place(key) else {
            return Removal::Absent;
        };
        let mut shard = lock(&self.shards[place]);
        shard.advance(now);
        let Some(slot) = shard.find(hash, key, &self.layout) else {
            return Removal::Absent;
        };
        if shard.entry(slot, &self.layout).uses() > 0 {
            return Removal::InUse;
        }
        let expired = shard.is_expired(slot, &self.layout);
        self.discard(place, &mut shard, slot);
        if expired {
            Removal::Absent
        } else {
            Removal::Removed
        }
    }

    /// Removes the entries that `which` chooses and nobody tracks.
    pub fn clear(&self, now: Millis, mut which: impl FnMut(&Row) -> bool) {
        let now = self.observe(now);
        for place in 0..self.shards.len() {
            let mut shard = lock(&self.shards[place]);
            shard.advance(now);
            for slot in shard.slots() {
                let row = Row::of(&shard.entry(slot, &self.layout));
                if row.uses == 0 && which(&row) {
                    self.discard(place, &mut shard, slot);
                }
            }
        }
    }

    /// Some of the entries, copied, with their keys: `batch` counts up from 0, and `None` is the
    /// end. An entry that is there all the while is in exactly one batch; a batch is what one shard
    /// holds, 1/64 of a large table.
    #[must_use]
    pub fn batch(&self, batch: usize, now: Millis) -> Option<Vec<(Key, Row)>> {
        let now = self.observe(now);
        let mut shard = lock(self.shards.get(batch)?);
        shard.advance(now);
        let slots = shard.slots().into_iter();
        Some(
            slots
                .filter_map(|slot| {
                    if shard.is_expired(slot, &self.layout) {
                        return None;
                    }
                    let row = Row::of(&shard.entry(slot, &self.layout));
                    Some((shard.key(slot, &self.layout), row))
                })
                .collect(),
        )
    }

    /// Does something with the shard of an entry that is held.
    pub(super) fn with_held<R>(
        &self,
        place: usize,
        now: Option<Millis>,
        then: impl FnOnce(&mut Shard, &Layout) -> R,
    ) -> R {
        let mut shard = lock(&self.shards[place]);
        shard.advance(self.time(now));
        let result = then(&mut shard, &self.layout);
        self.publish(place, &shard);
        result
    }

    /// Ends a hold on an entry.
    pub(super) fn untrack(&self, place: usize, slot: Slot, now: Option<Millis>) {
        let mut shard = lock(&self.shards[place]);
        shard.advance(self.time(now));
        let mut entry = shard.entry(slot, &self.layout);
        entry.end_connection();
        if entry.changed {
            shard.touch(slot, &self.layout);
        }
        if shard.let_go(slot, &self.layout, &self.hasher) {
            self.used.fetch_sub(1, Ordering::Relaxed);
        }
        self.publish(place, &shard);
    }

    /// Calls `then` with a key's entry, which it creates if need be; returns its shard too.
    fn find_or_create<R>(
        &self,
        key: &Key,
        now: Millis,
        then: impl FnOnce(&mut Shard, Slot, &Layout) -> R,
    ) -> Option<(usize, R)> {
        let now = self.observe(now);
        let (hash, place) = self.place(key)?;
        let mut reserved = false;
        loop {
            let mut shard = lock(&self.shards[place]);
            shard.advance(now);
            let slot = match shard.find(hash, key, &self.layout) {
                Some(slot) => {
                    // Somebody else created it while this caller made room for it.
                    if reserved {
                        self.used.fetch_sub(1, Ordering::Relaxed);
                    }
                    if shard.is_expired(slot, &self.layout) {
                        shard.entry(slot, &self.layout).reset();
                        shard.touch(slot, &self.layout);
                    }
                    slot
                }
                None => {
                    self.purge(place, &mut shard, PURGED_IN_PASSING);
                    if !reserved && !self.reserve() {
                        drop(shard);
                        if !self.make_room(now) && !self.reserve() {
                            return None;
                        }
                        reserved = true;
                        continue;
                    }
                    shard.insert(hash, key, &self.layout, &self.hasher)
                }
            };
            let result = then(&mut shard, slot, &self.layout);
            self.publish(place, &shard);
            return Some((place, result));
        }
    }

    /// Takes a place for an entry, if there is one.
    fn reserve(&self) -> bool {
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                (used < self.settings.size).then_some(used + 1)
            })
            .is_ok()
    }

    /// Removes the entry that was not touched for longest, for the caller to have its place. With
    /// `nopurge`, only one that has expired.
    fn make_room(&self, now: u64) -> bool {
        loop {
            let shards = self.shards.iter().enumerate();
            let (oldest, place) = shards
                .map(|(place, guarded)| (guarded.oldest.load(Ordering::Relaxed), place))
                .min()
                .unwrap_or((NEVER, 0));
            if oldest == NEVER || (self.settings.nopurge && !self.is_over(oldest, now)) {
                return false;
            }
            let mut shard = lock(&self.shards[place]);
            shard.advance(now);
            // If it was touched or removed in between, another one may be older now.
            let found = match shard.oldest(&self.layout) {
                Some((slot, touched))
                    if touched == oldest && !shard.set_oldest_aside(&self.layout) =>
                {
                    shard.remove(slot, &self.layout, &self.hasher);
                    true
                }
                _ => false,
            };
            self.publish(place, &shard);
            if found {
                return true;
            }
        }
    }

    /// Removes expired entries of a shard, up to so many.
    fn purge(&self, place: usize, shard: &mut Shard, most: usize) {
        let removed = shard.purge(most, &self.layout, &self.hasher);
        self.used.fetch_sub(removed, Ordering::Relaxed);
        // Also where none was removed: some may have been set aside.
        self.publish(place, shard);
    }

    /// Removes an entry that nobody tracks.
    fn discard(&self, place: usize, shard: &mut Shard, slot: Slot) {
        shard.remove(slot, &self.layout, &self.hasher);
        self.used.fetch_sub(1, Ordering::Relaxed);
        self.publish(place, shard);
    }

    /// Lets others know how old a shard's oldest entry is.
    fn publish(&self, place: usize, shard: &Shard) {
        let oldest = shard
            .oldest(&self.layout)
            .map_or(NEVER, |(_, touched)| touched);
        self.shards[place].oldest.store(oldest, Ordering::Relaxed);
    }

    fn holds_expired(&self, place: usize, now: u64) -> bool {
        let oldest = self.shards[place].oldest.load(Ordering::Relaxed);
        oldest != NEVER && self.is_over(oldest, now)
    }

    /// Whether the time of an entry that was touched then is over.
    fn is_over(&self, touched: u64, now: u64) -> bool {
        let expire = self.layout.expire;
        expire.is_some_and(|expire| touched.saturating_add(expire) <= now)
    }

    /// A key's hash and shard; `None`: it is another table's, and does not fit.
    fn place(&self, key: &Key) -> Option<(u64, usize)> {
        if !key.fits(&self.layout) {
            return None;
        }
        let hash = self.hasher.hash_one(key.words());
        // The index uses the lowest bits and the seven highest.
        let bits = usize::try_from(hash >> 48 & 0xff).unwrap_or(0);
        Some((hash, bits & (self.shards.len() - 1)))
    }

    /// The time, or the latest that anybody came with.
    fn time(&self, now: Option<Millis>) -> u64 {
        now.map_or_else(
            || self.clock.load(Ordering::Relaxed),
            |now| self.observe(now),
        )
    }

    /// Notes the time; returns the latest that anybody came with.
    fn observe(&self, now: Millis) -> u64 {
        let seen = self.clock.load(Ordering::Relaxed);
        if now.0 <= seen {
            return seen;
        }
        self.clock.fetch_max(now.0, Ordering::Relaxed).max(now.0)
    }
}

/// A panic in a caller's closure leaves numbers behind, nothing that is half done.
fn lock(guarded: &Guarded) -> MutexGuard<'_, Shard> {
    guarded.shard.lock().unwrap_or_else(PoisonError::into_inner)
}
