//! What an entry may store.

use super::settings::StoreSet;

/// Something that an entry may store. The order is the one in which `show table` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Column {
    /// `server_id`: which server was chosen; 0: none.
    ServerId,
    /// `gpt0`: a tag that rules set.
    Gpt0,
    /// `gpc0`: a counter that rules increment.
    Gpc0,
    /// `gpc0_rate`: increments of `gpc0` per period.
    Gpc0Rate,
    /// `conn_cnt`: connections, ever.
    ConnCnt,
    /// `conn_rate`: connections per period.
    ConnRate,
    /// `conn_cur`: connections now.
    ConnCur,
    /// `sess_cnt`: sessions, ever.
    SessCnt,
    /// `sess_rate`: sessions per period.
    SessRate,
    /// `bytes_in_cnt`: bytes from clients, ever.
    BytesInCnt,
    /// `bytes_in_rate`: bytes from clients per period.
    BytesInRate,
    /// `bytes_out_cnt`: bytes to clients, ever.
    BytesOutCnt,
    /// `bytes_out_rate`: bytes to clients per period.
    BytesOutRate,
    /// `gpc1`: another counter that rules increment.
    Gpc1,
    /// `gpc1_rate`: increments of `gpc1` per period.
    Gpc1Rate,
}

impl Column {
    /// All, in order.
    pub const ALL: [Self; 15] = [
        Self::ServerId,
        Self::Gpt0,
        Self::Gpc0,
        Self::Gpc0Rate,
        Self::ConnCnt,
        Self::ConnRate,
        Self::ConnCur,
        Self::SessCnt,
        Self::SessRate,
        Self::BytesInCnt,
        Self::BytesInRate,
        Self::BytesOutCnt,
        Self::BytesOutRate,
        Self::Gpc1,
        Self::Gpc1Rate,
    ];

    /// Its name in the configuration and in `show table`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ServerId => "server_id",
            Self::Gpt0 => "gpt0",
            Self::Gpc0 => "gpc0",
            Self::Gpc0Rate => "gpc0_rate",
            Self::ConnCnt => "conn_cnt",
            Self::ConnRate => "conn_rate",
            Self::ConnCur => "conn_cur",
            Self::SessCnt => "sess_cnt",
            Self::SessRate => "sess_rate",
            Self::BytesInCnt => "bytes_in_cnt",
            Self::BytesInRate => "bytes_in_rate",
            Self::BytesOutCnt => "bytes_out_cnt",
            Self::BytesOutRate => "bytes_out_rate",
            Self::Gpc1 => "gpc1",
            Self::Gpc1Rate => "gpc1_rate",
        }
    }

    /// The column of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|column| column.name() == name)
    }

    /// The store that it comes with.
    #[must_use]
    pub fn store(self) -> StoreSet {
        match self {
            Self::ServerId => StoreSet::SERVER_ID,
            Self::Gpt0 => StoreSet::GPT0,
            Self::Gpc0 => StoreSet::GPC0,
            Self::Gpc0Rate => StoreSet::GPC0_RATE,
            Self::ConnCnt => StoreSet::CONN_CNT,
            Self::ConnRate => StoreSet::CONN_RATE,
            Self::ConnCur => StoreSet::CONN_CUR,
            Self::SessCnt => StoreSet::SESS_CNT,
            Self::SessRate => StoreSet::SESS_RATE,
            Self::BytesInCnt => StoreSet::BYTES_IN_CNT,
            Self::BytesInRate => StoreSet::BYTES_IN_RATE,
            Self::BytesOutCnt => StoreSet::BYTES_OUT_CNT,
            Self::BytesOutRate => StoreSet::BYTES_OUT_RATE,
            Self::Gpc1 => StoreSet::GPC1,
            Self::Gpc1Rate => StoreSet::GPC1_RATE,
        }
    }

    /// Whether it is a rate.
    #[must_use]
    pub fn is_rate(self) -> bool {
        matches!(
            self,
            Self::Gpc0Rate
                | Self::ConnRate
                | Self::SessRate
                | Self::BytesInRate
                | Self::BytesOutRate
                | Self::Gpc1Rate
        )
    }
}

/// An entry as it was at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Row {
    pub(super) stores: StoreSet,
    pub(super) values: [u64; Column::ALL.len()],
    /// How many streams track it.
    pub uses: u32,
    /// Milliseconds until it expires, 0 for a tracked one that only its tracking keeps; `None`: it
    /// never does.
    pub expires_in: Option<u64>,
}

impl Row {
    /// A value, rates as events per period; `None`: the table does not store it.
    #[must_use]
    pub fn get(&self, column: Column) -> Option<u64> {
        self.stores
            .contains(column.store())
            .then(|| self.values[column as usize])
    }
}
