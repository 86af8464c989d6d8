//! Where the parts of an entry are: an entry is a row of 32-bit words, and has room only for what its
//! table stores.

use super::column::Column;
use super::settings::{Periods, TableSettings};
use crate::rules::sample::Kind;

/// How many streams track the entry.
pub(super) const USES: usize = 0;
/// The entry that was touched before this one; itself: it is set aside.
pub(super) const OLDER: usize = 1;
/// The entry that was touched after this one; in a free slot: the next free one.
pub(super) const NEWER: usize = 2;
/// When it was last touched: two words.
pub(super) const TOUCHED: usize = 3;
/// The key.
pub(super) const KEY: usize = 5;

/// Where the parts of a table's entries are.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) kind: Kind,
    /// Bytes of the longest key.
    pub(super) key_len: usize,
    /// Words of the longest key.
    pub(super) key_words: usize,
    /// Words of an entry.
    pub(super) stride: usize,
    /// The first word of each column; 0: not stored.
    offsets: [usize; Column::ALL.len()],
    /// The periods of rates, in milliseconds.
    periods: [u32; Column::ALL.len()],
    /// How long an entry lives untouched, in milliseconds.
    pub(super) expire: Option<u64>,
}

impl Layout {
    pub(super) fn new(settings: &TableSettings) -> Self {
        let key_len = match settings.kind {
            Kind::Ipv6 | Kind::Address => 16,
            Kind::Str | Kind::Bin => settings.key_len,
            Kind::Ipv4 | Kind::Int | Kind::Bool => 4,
        };
        // The length of text comes first.
        let key_words = key_len.div_ceil(4) + usize::from(settings.kind == Kind::Str);
        let mut stride = KEY + key_words;
        let mut offsets = [0; Column::ALL.len()];
        let mut periods = [1; Column::ALL.len()];
        for column in Column::ALL {
            if settings.stores.contains(column.store()) {
                offsets[column as usize] = stride;
                stride += words(column);
            }
            periods[column as usize] = period(column, &settings.periods);
        }
        Self {
            kind: settings.kind,
            key_len,
            key_words,
            stride,
            offsets,
            periods,
            expire: settings
                .expire
                .map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    /// The first word of a column; `None`: not stored.
    pub(super) fn offset(&self, column: Column) -> Option<usize> {
        match self.offsets[column as usize] {
            0 => None,
            offset => Some(offset),
        }
    }

    /// The period of a rate, in milliseconds.
    pub(super) fn period(&self, column: Column) -> u32 {
        self.periods[column as usize]
    }
}

/// Whether a value needs 64 bits: bytes.
pub(super) fn is_wide(column: Column) -> bool {
    matches!(
        column,
        Column::BytesInCnt | Column::BytesInRate | Column::BytesOutCnt | Column::BytesOutRate
    )
}

fn words(column: Column) -> usize {
    let value = if is_wide(column) { 2 } else { 1 };
    if column.is_rate() {
        1 + 2 * value
    } else {
        value
    }
}

fn period(column: Column, periods: &Periods) -> u32 {
    let period = periods.of(column).unwrap_or_default();
    // Two periods have to fit into the clock of a window.
    u32::try_from(period.as_millis())
        .unwrap_or(u32::MAX)
        .clamp(1, u32::MAX / 4)
}
