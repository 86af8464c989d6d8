//! What a `stick-table` line says.

use std::sync::Arc;
use std::time::Duration;

use super::column::Column;
use crate::rules::sample::Kind;

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

/// Over which time each rate is counted. Those that the table does not store do not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Periods {
    /// `conn_rate`
    pub conn: Duration,
    /// `sess_rate`
    pub sess: Duration,
    /// `bytes_in_rate`
    pub bytes_in: Duration,
    /// `bytes_out_rate`
    pub bytes_out: Duration,
    /// `gpc0_rate`
    pub gpc0: Duration,
    /// `gpc1_rate`
    pub gpc1: Duration,
}

impl Periods {
    /// Over which time a column is counted; `None`: it is no rate.
    #[must_use]
    pub fn of(&self, column: Column) -> Option<Duration> {
        Some(match column {
            Column::Gpc0Rate => self.gpc0,
            Column::Gpc1Rate => self.gpc1,
            Column::ConnRate => self.conn,
            Column::SessRate => self.sess,
            Column::BytesInRate => self.bytes_in,
            Column::BytesOutRate => self.bytes_out,
            _ => return None,
        })
    }
}

impl Default for Periods {
    /// One second each.
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self {
            conn: second,
            sess: second,
            bytes_in: second,
            bytes_out: second,
            gpc0: second,
            gpc1: second,
        }
    }
}

/// What a `stick-table` line says.
#[derive(Debug, Clone)]
pub struct TableSettings {
    /// The name of its proxy.
    pub name: Arc<str>,
    /// What its keys are: `Ipv4`, `Ipv6`, `Int`, `Str` or `Bin`; `Address` is taken as `Ipv6`, `Bool`
    /// as `Int`.
    pub kind: Kind,
    /// The longest key of `Str`, the length of every key of `Bin`, in bytes; unused by the others.
    pub key_len: usize,
    /// How many entries there are at most.
    pub size: usize,
    /// How long an entry lives after it was last touched; `None`: for ever.
    pub expire: Option<Duration>,
    /// When the table is full, new keys get no entry. Without it the entry that was not touched for
    /// longest makes room.
    pub nopurge: bool,
    /// What the entries store.
    pub stores: StoreSet,
    /// Over which time each rate is counted.
    pub periods: Periods,
}

impl TableSettings {
    /// The length of keys where a line does not say it, in bytes.
    pub const DEFAULT_KEY_LEN: usize = 32;
}
