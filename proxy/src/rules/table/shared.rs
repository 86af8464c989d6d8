//! A table as all workers share it.

use std::sync::Arc;

use super::column::{Column, Row};
use super::key::Key;
use super::settings::TableSettings;
use super::tracked::Tracked;
use crate::rules::sample::Value;
use crate::rules::scene::Millis;

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

/// A stick table, shared by all workers.
#[derive(Debug)]
pub struct Table {
    settings: TableSettings,
}

impl Table {
    /// An empty one.
    #[must_use]
    pub fn new(settings: TableSettings) -> Self {
        Self { settings }
    }

    /// What its `stick-table` line says.
    #[must_use]
    pub fn settings(&self) -> &TableSettings {
        &self.settings
    }

    /// The key that a value stands for; `None`: the value cannot be one (not an address, say).
    #[must_use]
    pub fn key(&self, value: Value<'_>) -> Option<Key> {
        Key::of(value, &self.settings)
    }

    /// Finds or creates an entry, holds it, and counts a connection: `conn_cur`, `conn_cnt`,
    /// `conn_rate`. `None`: the table is full and nothing in it may make room.
    #[must_use]
    pub fn track(self: &Arc<Self>, key: &Key, now: Millis) -> Option<Tracked> {
        let _ = (key, now);
        None
    }

    /// What an entry says; looking does not touch it. `None`: there is none.
    #[must_use]
    pub fn lookup(&self, key: &Key, now: Millis) -> Option<Row> {
        let _ = (key, now);
        None
    }

    /// Finds or creates an entry, touches it, and changes it. `None`: the table is full and nothing
    /// in it may make room.
    pub fn update<R>(
        &self,
        key: &Key,
        now: Millis,
        change: impl FnOnce(&mut Entry<'_>) -> R,
    ) -> Option<R> {
        let _ = (key, now, change);
        None
    }

    /// Touches an entry and changes it; `None`: there is none.
    pub fn update_existing<R>(
        &self,
        key: &Key,
        now: Millis,
        change: impl FnOnce(&mut Entry<'_>) -> R,
    ) -> Option<R> {
        let _ = (key, now, change);
        None
    }

    /// How many entries there are.
    #[must_use]
    pub fn used(&self, now: Millis) -> usize {
        let _ = now;
        0
    }

    /// How many more there could be.
    #[must_use]
    pub fn available(&self, now: Millis) -> usize {
        self.settings.size - self.used(now)
    }

    /// Gives back the memory of expired entries, and tells the table what time it is.
    pub fn expire(&self, now: Millis) {
        let _ = now;
    }

    /// Removes an entry that nobody tracks.
    pub fn remove(&self, key: &Key, now: Millis) -> Removal {
        let _ = (key, now);
        Removal::Absent
    }

    /// Removes the entries that `which` chooses and nobody tracks.
    pub fn clear(&self, now: Millis, which: impl FnMut(&Row) -> bool) {
        let _ = (now, which);
    }

    /// Some of the entries, copied, with their keys: `batch` counts up from 0, and `None` is the
    /// end. An entry that is there all the while is in exactly one batch; no batch holds a lock for
    /// longer than it takes to copy 1/64 of the table.
    #[must_use]
    pub fn batch(&self, batch: usize, now: Millis) -> Option<Vec<(Key, Row)>> {
        let _ = (batch, now);
        None
    }
}

/// An entry, while it is changed.
#[derive(Debug)]
pub struct Entry<'a> {
    words: &'a mut [u32],
}

impl Entry<'_> {
    /// A value, rates as events per period; `None`: the table does not store it.
    #[must_use]
    pub fn get(&self, column: Column) -> Option<u64> {
        let _ = (column, &self.words);
        None
    }

    /// Sets a value, cut to what the column holds; nothing happens where the table does not store
    /// it. A rate is set as if so many events had come just now.
    pub fn set(&mut self, column: Column, value: u64) {
        let _ = (column, value);
    }

    /// Counts a session: `sess_cnt`, `sess_rate`.
    pub fn count_session(&mut self) {}

    /// Counts bytes from the client: `bytes_in_cnt`, `bytes_in_rate`.
    pub fn add_bytes_in(&mut self, bytes: u64) {
        let _ = bytes;
    }

    /// Counts bytes to the client: `bytes_out_cnt`, `bytes_out_rate`.
    pub fn add_bytes_out(&mut self, bytes: u64) {
        let _ = bytes;
    }

    /// Increments `gpc0` and `gpc0_rate`. The new `gpc0`; where only the rate is stored, the events
    /// of its current period; `None`: neither is.
    pub fn inc_gpc0(&mut self) -> Option<u64> {
        None
    }

    /// Increments `gpc1` and `gpc1_rate`; see [`Entry::inc_gpc0`].
    pub fn inc_gpc1(&mut self) -> Option<u64> {
        None
    }
}
