//! A stream's hold on an entry.

use std::sync::Arc;

use super::column::{Column, Row};
use super::key::Key;
use super::shared::{Entry, Table};
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
}

impl Tracked {
    /// The table.
    #[must_use]
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// The entry's key.
    #[must_use]
    pub fn key(&self) -> Key {
        unreachable!("nothing is tracked yet")
    }

    /// Counts a session: `sess_cnt`, `sess_rate`.
    pub fn started_session(&self, now: Millis) {
        self.update(now, |entry| entry.count_session());
    }

    /// Counts bytes from the client: `bytes_in_cnt`, `bytes_in_rate`.
    pub fn add_bytes_in(&self, bytes: u64, now: Millis) {
        self.update(now, |entry| entry.add_bytes_in(bytes));
    }

    /// Counts bytes to the client: `bytes_out_cnt`, `bytes_out_rate`.
    pub fn add_bytes_out(&self, bytes: u64, now: Millis) {
        self.update(now, |entry| entry.add_bytes_out(bytes));
    }

    /// Increments `gpc0` and `gpc0_rate`; see [`Entry::inc_gpc0`].
    pub fn inc_gpc0(&self, now: Millis) -> Option<u64> {
        self.update(now, |entry| entry.inc_gpc0())
    }

    /// Increments `gpc1` and `gpc1_rate`; see [`Entry::inc_gpc0`].
    pub fn inc_gpc1(&self, now: Millis) -> Option<u64> {
        self.update(now, |entry| entry.inc_gpc1())
    }

    /// Sets `gpt0`, if the table stores it.
    pub fn set_gpt0(&self, tag: u32, now: Millis) {
        self.update(now, |entry| entry.set(Column::Gpt0, tag.into()));
    }

    /// Any change; the entry counts as touched.
    pub fn update<R>(&self, now: Millis, change: impl FnOnce(&mut Entry<'_>) -> R) -> R {
        let _ = (now, change);
        unreachable!("nothing is tracked yet")
    }

    /// What the entry says now.
    #[must_use]
    pub fn read(&self, now: Millis) -> Row {
        let _ = now;
        Row::default()
    }

    /// Ends the tracking. Dropping does the same at the latest time that the table knows of, which
    /// is when the entry was last touched; with the true time it lives on for the whole of `expire`.
    pub fn release(self, now: Millis) {
        let _ = now;
    }
}
