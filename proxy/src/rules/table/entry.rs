//! One entry's values.

use super::column::{Column, Row};
use super::layout::{self, Layout};
use super::window::Window;
use crate::rules::action::Gpc;

/// An entry, while it is looked at or changed.
#[derive(Debug)]
pub struct Entry<'a> {
    pub(super) words: &'a mut [u32],
    pub(super) layout: &'a Layout,
    /// The time, in milliseconds.
    pub(super) now: u64,
    /// Whether anything that is stored was changed.
    pub(super) changed: bool,
}

impl Entry<'_> {
    /// A value, rates as events per period; `None`: the table does not store it.
    #[must_use]
    pub fn get(&self, column: Column) -> Option<u64> {
        let at = self.layout.offset(column)?;
        Some(if column.is_rate() {
            self.window(at, column)
                .read(self.ticks(), self.layout.period(column))
        } else if layout::is_wide(column) {
            double(self.words, at)
        } else {
            self.words[at].into()
        })
    }

    /// Sets a value, cut to the 32 bits of those that do not count bytes; nothing happens where the
    /// table does not store it. A rate is set as if so many events had come just now, and none
    /// before.
    pub fn set(&mut self, column: Column, value: u64) {
        let Some(at) = self.layout.offset(column) else {
            return;
        };
        self.changed = true;
        let value = if layout::is_wide(column) {
            value
        } else {
            u64::from(low(value))
        };
        if column.is_rate() {
            let window = Window {
                began: self.ticks(),
                current: value,
                previous: 0,
            };
            self.set_window(at, column, window);
        } else if layout::is_wide(column) {
            set_double(self.words, at, value);
        } else {
            self.words[at] = low(value);
        }
    }

    /// How many streams track it.
    #[must_use]
    pub fn uses(&self) -> u32 {
        self.words[layout::USES]
    }

    /// Milliseconds until it expires, 0 for a tracked one that only its tracking keeps; `None`: it
    /// never does.
    #[must_use]
    pub fn expires_in(&self) -> Option<u64> {
        let expire = self.layout.expire?;
        Some(expire.saturating_sub(self.idle()))
    }

    /// Milliseconds since it was touched.
    #[must_use]
    pub fn idle(&self) -> u64 {
        self.now.saturating_sub(double(self.words, layout::TOUCHED))
    }

    /// Counts a session: `sess_cnt`, `sess_rate`.
    pub fn count_session(&mut self) {
        self.add(Column::SessCnt, 1);
        self.add(Column::SessRate, 1);
    }

    /// Counts bytes from the client: `bytes_in_cnt`, `bytes_in_rate`.
    pub fn add_bytes_in(&mut self, bytes: u64) {
        self.add(Column::BytesInCnt, bytes);
        self.add(Column::BytesInRate, bytes);
    }

    /// Counts bytes to the client: `bytes_out_cnt`, `bytes_out_rate`.
    pub fn add_bytes_out(&mut self, bytes: u64) {
        self.add(Column::BytesOutCnt, bytes);
        self.add(Column::BytesOutRate, bytes);
    }

    /// Increments a general purpose counter and its rate. The counter's new value; where only the
    /// rate is stored, the events of its current period; `None`: neither is.
    pub fn increment(&mut self, counter: Gpc) -> Option<u64> {
        let (counter, rate) = match counter {
            Gpc::Zero => (Column::Gpc0, Column::Gpc0Rate),
            Gpc::One => (Column::Gpc1, Column::Gpc1Rate),
        };
        let of_period = self.add(rate, 1);
        self.add(counter, 1).or(of_period)
    }

    /// Adds to a value, which sticks at the largest that its column holds. The new value, of a rate
    /// that of the current period; `None`: the table does not store it.
    pub fn add(&mut self, column: Column, events: u64) -> Option<u64> {
        let at = self.layout.offset(column)?;
        self.changed = true;
        Some(if column.is_rate() {
            let mut window = self.window(at, column);
            let value = window.add(events, self.ticks(), self.layout.period(column));
            self.set_window(at, column, window);
            value
        } else if layout::is_wide(column) {
            let value = double(self.words, at).saturating_add(events);
            set_double(self.words, at, value);
            value
        } else {
            self.words[at] = clamp(u64::from(self.words[at]).saturating_add(events));
            self.words[at].into()
        })
    }

    /// Counts a connection that begins: `conn_cur`, `conn_cnt`, `conn_rate`.
    pub(super) fn start_connection(&mut self) {
        self.add(Column::ConnCur, 1);
        self.add(Column::ConnCnt, 1);
        self.add(Column::ConnRate, 1);
    }

    /// One connection less in `conn_cur`, which `set table` may have set to less than there are.
    pub(super) fn end_connection(&mut self) {
        if let Some(at) = self.layout.offset(Column::ConnCur) {
            self.words[at] = self.words[at].saturating_sub(1);
            self.changed = true;
        }
    }

    /// As it is when it is created: all zero.
    pub(super) fn reset(&mut self) {
        self.words[layout::KEY + self.layout.key_words..].fill(0);
    }

    /// The clock of windows.
    fn ticks(&self) -> u32 {
        low(self.now)
    }

    fn window(&self, at: usize, column: Column) -> Window {
        let (current, previous) = if layout::is_wide(column) {
            (double(self.words, at + 1), double(self.words, at + 3))
        } else {
            (self.words[at + 1].into(), self.words[at + 2].into())
        };
        Window {
            began: self.words[at],
            current,
            previous,
        }
    }

    fn set_window(&mut self, at: usize, column: Column, window: Window) {
        self.words[at] = window.began;
        if layout::is_wide(column) {
            set_double(self.words, at + 1, window.current);
            set_double(self.words, at + 3, window.previous);
        } else {
            self.words[at + 1] = clamp(window.current);
            self.words[at + 2] = clamp(window.previous);
        }
    }
}

impl Row {
    /// All of an entry.
    pub(super) fn of(entry: &Entry<'_>) -> Self {
        let mut row = Self {
            uses: entry.uses(),
            expires_in: entry.expires_in(),
            ..Self::default()
        };
        for column in Column::ALL {
            if let Some(value) = entry.get(column) {
                row.stores |= column.store();
                row.values[column as usize] = value;
            }
        }
        row
    }
}

/// Two words as one number.
pub(super) fn double(words: &[u32], at: usize) -> u64 {
    u64::from(words[at]) | u64::from(words[at + 1]) << 32
}

pub(super) fn set_double(words: &mut [u32], at: usize, value: u64) {
    words[at] = low(value);
    words[at + 1] = low(value >> 32);
}

fn low(value: u64) -> u32 {
    (value & u64::from(u32::MAX)) as u32
}

fn clamp(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
