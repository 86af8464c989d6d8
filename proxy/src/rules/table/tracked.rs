//! A stream's hold on an entry.

use std::sync::Arc;

use super::column::{Column, Row};
use super::entry::Entry;
use super::key::Key;
use super::settings::StoreSet;
use super::shard::Slot;
use super::shared::Table;
use crate::rules::action::Gpc;
use crate::rules::scene::Millis;

/// A hold on an entry (`track-sc`): as long as it lives, the entry neither expires nor makes room
/// for another, and counts one connection more in `conn_cur`.
///
/// What counts when, as in HAProxy: tracking at any level, `tcp-request connection`, `session` or
/// `content`, counts a connection (`conn_cur`, `conn_cnt`, `conn_rate`) when it starts, which
/// [`Table::track`] does. A session (`sess_cnt`, `sess_rate`) counts for what the connection and
/// session rules tracked, once the session rules have let it pass:
/// [`Tracked::started_session`]. What content rules track counts no session.
#[derive(Debug)]
pub struct Tracked {
    table: Arc<Table>,
    /// Where the entry is, which does not change while it is held.
    shard: usize,
    slot: Slot,
    ended: bool,
}

impl Tracked {
    /// Takes over a hold on an entry, and the connection that counts for it.
    pub(super) fn new(table: Arc<Table>, shard: usize, slot: Slot) -> Self {
        Self {
            table,
            shard,
            slot,
            ended: false,
        }
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// The entry's key.
    #[must_use]
    pub fn key(&self) -> Key {
        self.table.with_held(self.shard, None, |shard, layout| {
            shard.key(self.slot, layout)
        })
    }

    /// Counts a session: `sess_cnt`, `sess_rate`.
    pub fn started_session(&self, now: Millis) {
        self.update_stored(StoreSet::SESS_CNT | StoreSet::SESS_RATE, now, |entry| {
            entry.count_session();
        });
    }

    /// Counts bytes from the client: `bytes_in_cnt`, `bytes_in_rate`.
    pub fn add_bytes_in(&self, bytes: u64, now: Millis) {
        let stores = StoreSet::BYTES_IN_CNT | StoreSet::BYTES_IN_RATE;
        self.update_stored(stores, now, |entry| entry.add_bytes_in(bytes));
    }

    /// Counts bytes to the client: `bytes_out_cnt`, `bytes_out_rate`.
    pub fn add_bytes_out(&self, bytes: u64, now: Millis) {
        let stores = StoreSet::BYTES_OUT_CNT | StoreSet::BYTES_OUT_RATE;
        self.update_stored(stores, now, |entry| entry.add_bytes_out(bytes));
    }

    /// Increments a general purpose counter and its rate; see [`Entry::increment`].
    pub fn increment(&self, counter: Gpc, now: Millis) -> Option<u64> {
        self.update(now, |entry| entry.increment(counter))
    }

    /// Increments `gpc0` and `gpc0_rate`; see [`Entry::increment`].
    pub fn inc_gpc0(&self, now: Millis) -> Option<u64> {
        self.increment(Gpc::Zero, now)
    }

    /// Increments `gpc1` and `gpc1_rate`; see [`Entry::increment`].
    pub fn inc_gpc1(&self, now: Millis) -> Option<u64> {
        self.increment(Gpc::One, now)
    }

    /// Sets `gpt0`, if the table stores it.
    pub fn set_gpt0(&self, tag: u32, now: Millis) {
        self.update(now, |entry| entry.set(Column::Gpt0, tag.into()));
    }

    /// A change of what the table may not store at all: then its lock is not taken.
    fn update_stored(&self, stores: StoreSet, now: Millis, change: impl FnOnce(&mut Entry<'_>)) {
        if self.table.settings().stores.intersects(stores) {
            self.update(now, change);
        }
    }

    /// Any change; the entry is touched if the table stores what was changed.
    pub fn update<R>(&self, now: Millis, change: impl FnOnce(&mut Entry<'_>) -> R) -> R {
        self.table
            .with_held(self.shard, Some(now), |shard, layout| {
                let mut entry = shard.entry(self.slot, layout);
                let result = change(&mut entry);
                if entry.changed {
                    shard.touch(self.slot, layout);
                }
                result
            })
    }

    /// Looks at some of the entry.
    pub fn inspect<R>(&self, now: Millis, look: impl FnOnce(&Entry<'_>) -> R) -> R {
        self.table
            .with_held(self.shard, Some(now), |shard, layout| {
                look(&shard.entry(self.slot, layout))
            })
    }

    /// What the entry says now.
    #[must_use]
    pub fn read(&self, now: Millis) -> Row {
        self.inspect(now, Row::of)
    }

    /// Ends the tracking, and touches the entry if the table stores `conn_cur`. An entry that has
    /// expired while it was tracked is gone then. Dropping does the same at the latest time that
    /// the table knows of: with the true time an entry lives on for the whole of `expire`.
    pub fn release(mut self, now: Millis) {
        self.end(Some(now));
    }

    fn end(&mut self, now: Option<Millis>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.table.untrack(self.shard, self.slot, now);
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.end(None);
    }
}
