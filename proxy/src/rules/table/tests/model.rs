//! A table as simple as can be: a list of entries with every event that happened to them.

use crate::rules::table::{Column, TableSettings};

/// An entry with its history.
#[derive(Debug, Clone, Default)]
pub(super) struct Entry {
    pub(super) key: i64,
    pub(super) touched: u64,
    pub(super) uses: u32,
    /// When what was counted, and how much.
    pub(super) events: Vec<(Column, u64, u64)>,
}

impl Entry {
    pub(super) fn count(&mut self, columns: &[Column], now: u64, events: u64) {
        for column in columns {
            self.events.push((*column, now, events));
        }
    }

    /// What a column says now, by its definition.
    pub(super) fn value(&self, column: Column, settings: &TableSettings, now: u64) -> u64 {
        let of_column = self.events.iter().filter(|event| event.0 == column);
        let events: Vec<(u64, u64)> = of_column.map(|event| (event.1, event.2)).collect();
        if column == Column::ConnCur {
            return self.uses.into();
        }
        if !column.is_rate() {
            return events.iter().map(|event| event.1).sum();
        }
        let periods = &settings.periods;
        let period = match column {
            Column::ConnRate => periods.conn,
            Column::SessRate => periods.sess,
            Column::BytesInRate => periods.bytes_in,
            Column::BytesOutRate => periods.bytes_out,
            Column::Gpc0Rate => periods.gpc0,
            _ => periods.gpc1,
        };
        rate(
            &events,
            u64::try_from(period.as_millis()).expect("short"),
            now,
        )
    }
}

/// Events per period as of `now`: those of the current period, and of those of the period before it
/// the share that the window of one period that ends now still covers, rounded down. A period
/// begins where the last one ended; after a period without events, with the next event.
pub(super) fn rate(events: &[(u64, u64)], period: u64, now: u64) -> u64 {
    let mut begins: Vec<u64> = Vec::new();
    for (time, _) in events {
        match begins.last() {
            Some(last) if *time < last + period => {}
            Some(last) if *time < last + 2 * period => begins.push(last + period),
            _ => begins.push(*time),
        }
    }
    let Some(mut begin) = begins.last().copied() else {
        return 0;
    };
    if now > begin + period {
        begin += period;
    }
    if now > begin + period {
        return 0;
    }
    let count = |from: Option<u64>| -> u64 {
        let Some(from) = from.filter(|from| begins.contains(from)) else {
            return 0;
        };
        let within = |time: u64| (from..from + period).contains(&time);
        let events = events.iter().filter(|(time, _)| within(*time));
        events.map(|(_, events)| events).sum()
    };
    let (current, before) = (count(Some(begin)), count(begin.checked_sub(period)));
    if current == 0 && before == 1 {
        return 1;
    }
    current + before * (begin + period - now) / period
}

/// All entries, those that were touched longest ago first.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) settings: TableSettings,
    pub(super) entries: Vec<Entry>,
}

impl Model {
    /// Forgets what has expired.
    pub(super) fn expire(&mut self, now: u64) {
        let Some(expire) = self.settings.expire else {
            return;
        };
        let expire = u64::try_from(expire.as_millis()).expect("short");
        self.entries
            .retain(|entry| entry.uses > 0 || now < entry.touched + expire);
    }

    pub(super) fn find(&self, key: i64) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Touches an entry that is there.
    pub(super) fn touch(&mut self, key: i64, now: u64) -> Option<&mut Entry> {
        let place = self.entries.iter().position(|entry| entry.key == key)?;
        let entry = self.entries.remove(place);
        self.entries.push(entry);
        let entry = self.entries.last_mut()?;
        entry.touched = now;
        Some(entry)
    }

    /// An entry that is there.
    pub(super) fn entry(&mut self, key: i64) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.key == key)
    }

    /// Touches an entry, which is created if there is none; `None`: no room.
    pub(super) fn obtain(&mut self, key: i64, now: u64) -> Option<&mut Entry> {
        if self.find(key).is_none() {
            if self.entries.len() == self.settings.size {
                let oldest = self.entries.iter().position(|entry| entry.uses == 0);
                match oldest {
                    Some(oldest) if !self.settings.nopurge => drop(self.entries.remove(oldest)),
                    _ => return None,
                }
            }
            self.entries.push(Entry {
                key,
                ..Entry::default()
            });
        }
        self.touch(key, now)
    }
}
