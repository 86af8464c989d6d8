//! Stick tables.

use std::sync::Arc;

use super::sample::Kind;

/// Which table: its place in [`Tables`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TableId(pub usize);

bitflags::bitflags! {
    /// What a table's entries store.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct StoreSet: u32 {
        /// `server_id`
        const SERVER_ID = 1 << 0;
        /// `gpt0`
        const GPT0 = 1 << 1;
        /// `gpc0`
        const GPC0 = 1 << 2;
        /// `gpc0_rate`
        const GPC0_RATE = 1 << 3;
        /// `gpc1`
        const GPC1 = 1 << 4;
        /// `gpc1_rate`
        const GPC1_RATE = 1 << 5;
        /// `conn_cnt`
        const CONN_CNT = 1 << 6;
        /// `conn_rate`
        const CONN_RATE = 1 << 7;
        /// `conn_cur`
        const CONN_CUR = 1 << 8;
        /// `sess_cnt`
        const SESS_CNT = 1 << 9;
        /// `sess_rate`
        const SESS_RATE = 1 << 10;
        /// `bytes_in_cnt`
        const BYTES_IN_CNT = 1 << 11;
        /// `bytes_in_rate`
        const BYTES_IN_RATE = 1 << 12;
        /// `bytes_out_cnt`
        const BYTES_OUT_CNT = 1 << 13;
        /// `bytes_out_rate`
        const BYTES_OUT_RATE = 1 << 14;
    }
}

/// A stick table, shared by all workers.
#[derive(Debug)]
pub struct Table {
    /// The name of its proxy.
    pub name: Arc<str>,
    /// What its keys are.
    pub kind: Kind,
}

/// All tables.
#[derive(Debug, Default)]
pub struct Tables {
    list: Vec<Table>,
}

impl Tables {
    /// One of them.
    #[must_use]
    pub fn get(&self, id: TableId) -> &Table {
        &self.list[id.0]
    }
}

/// A stream's hold on an entry (`track-sc`).
#[derive(Debug)]
pub struct Tracked {}
