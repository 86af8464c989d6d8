//! Stick tables: what is remembered about sources, names, or whatever else a key is made of.
//!
//! A [`Table`] is shared by all workers. Callers bring the time along; nothing here reads a clock.
//! `docs/stick-tables.md` tells what counts when, how entries end, and what they cost.

mod column;
mod entry;
mod key;
mod layout;
mod settings;
mod shard;
mod shared;
#[cfg(test)]
pub(in crate::rules) mod tests;
mod tracked;
mod window;

pub use column::{Column, Row};
pub use entry::Entry;
pub use key::{Key, can_be_key};
pub use settings::{Periods, StoreSet, TableSettings};
pub use shared::{Removal, Table};
pub use tracked::Tracked;
pub use window::Window;

use std::sync::Arc;

use super::scene::Millis;

/// Which table: its place in [`Tables`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TableId(pub usize);

/// All tables.
#[derive(Debug, Default)]
pub struct Tables {
    list: Vec<Arc<Table>>,
}

impl Tables {
    /// These; a table's place is its [`TableId`].
    #[must_use]
    pub fn new(list: Vec<Table>) -> Self {
        Self {
            list: list.into_iter().map(Arc::new).collect(),
        }
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, id: TableId) -> &Arc<Table> {
        &self.list[id.0]
    }

    /// All, in the order of their [`TableId`].
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.list.iter()
    }

    /// Removes expired entries, and tells the tables what time it is. Entries
    /// expire on time without it; called about once a second, it keeps what a [`Tracked`] that is
    /// dropped (rather than released) takes for the time close to the true one.
    pub fn expire(&self, now: Millis) {
        for table in &self.list {
            table.expire(now);
        }
    }
}
