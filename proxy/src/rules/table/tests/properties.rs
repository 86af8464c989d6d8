//! Random operations on a table and on the model.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::model::{Model, rate};
use super::{int, settings};
use crate::rules::action::Gpc;
use crate::rules::scene::Millis;
use crate::rules::table::window::Window;
use crate::rules::table::{Column, Removal, StoreSet, Table, TableSettings, Tracked};

/// What may happen to a table. `usize`: one of those that are tracked, `i64`: a key.
#[derive(Debug, Clone)]
enum Event {
    Wait(u64),
    Touch(i64),
    TouchExisting(i64),
    Look(i64),
    Track(i64),
    Release(usize),
    Drop(usize),
    Session(usize),
    BytesIn(usize, u64),
    BytesOut(usize, u64),
    IncrementTracked(usize),
    Increment(i64),
    Remove(i64),
    ClearUncounted,
    Expire,
}

fn events(keys: i64, most: usize) -> impl Strategy<Value = Vec<Event>> {
    let key = move || 0..keys;
    let held = || any::<prop::sample::Index>().prop_map(|index| index.index(1000));
    let event = prop_oneof![
        4 => (0..40_u64).prop_map(Event::Wait),
        1 => (0..700_u64).prop_map(Event::Wait),
        6 => key().prop_map(Event::Touch),
        2 => key().prop_map(Event::TouchExisting),
        2 => key().prop_map(Event::Look),
        5 => key().prop_map(Event::Track),
        3 => held().prop_map(Event::Release),
        1 => held().prop_map(Event::Drop),
        3 => held().prop_map(Event::Session),
        3 => (held(), 0..6_000_000_000_u64).prop_map(|(held, bytes)| Event::BytesIn(held, bytes)),
        3 => (held(), 0..3_u64).prop_map(|(held, bytes)| Event::BytesOut(held, bytes)),
        3 => held().prop_map(Event::IncrementTracked),
        3 => key().prop_map(Event::Increment),
        1 => key().prop_map(Event::Remove),
        1 => Just(Event::ClearUncounted).boxed(),
        1 => Just(Event::Expire).boxed(),
    ];
    prop::collection::vec(event, 1..most)
}

/// A table and the model, and what is tracked in both.
struct Pair {
    table: Arc<Table>,
    model: Model,
    tracked: Vec<(i64, Tracked)>,
    now: u64,
}

impl Pair {
    fn new(settings: TableSettings) -> Self {
        Self {
            table: Arc::new(Table::new(settings.clone())),
            model: Model {
                settings,
                entries: Vec::new(),
            },
            tracked: Vec::new(),
            now: 1,
        }
    }

    fn apply(&mut self, event: &Event) {
        self.model.expire(self.now);
        let now = Millis(self.now);
        match *event {
            Event::Wait(time) => self.now += time,
            Event::Touch(key) => {
                let done = self.table.update(&int(&self.table, key), now, |_| ());
                let expected = self.model.obtain(key, self.now);
                assert_eq!(done.is_some(), expected.is_some(), "room for {key}");
            }
            Event::TouchExisting(key) => {
                let key_there = self
                    .table
                    .update_existing(&int(&self.table, key), now, |_| ());
                let expected = self.model.touch(key, self.now);
                assert_eq!(key_there.is_some(), expected.is_some(), "{key} is there");
            }
            Event::Look(key) => self.compare(key),
            Event::Track(key) => {
                let tracked = self.table.track(&int(&self.table, key), now);
                let expected = self.model.obtain(key, self.now);
                assert_eq!(tracked.is_some(), expected.is_some(), "room for {key}");
                if let (Some(tracked), Some(entry)) = (tracked, expected) {
                    entry.uses += 1;
                    entry.count(&[Column::ConnCnt, Column::ConnRate], self.now, 1);
                    self.tracked.push((key, tracked));
                }
            }
            Event::Release(which) => self.let_go(which, Tracked::release),
            // The last event's time is the latest that the table knows of.
            Event::Drop(which) => {
                self.table.expire(now);
                self.let_go(which, |tracked, _| drop(tracked));
            }
            Event::Session(which) => self.count(
                which,
                Tracked::started_session,
                &[Column::SessCnt, Column::SessRate],
                1,
            ),
            Event::BytesIn(which, bytes) => self.count(
                which,
                |tracked, now| tracked.add_bytes_in(bytes, now),
                &[Column::BytesInCnt, Column::BytesInRate],
                bytes,
            ),
            Event::BytesOut(which, bytes) => self.count(
                which,
                |tracked, now| tracked.add_bytes_out(bytes, now),
                &[Column::BytesOutCnt, Column::BytesOutRate],
                bytes,
            ),
            Event::IncrementTracked(which) => self.count(
                which,
                |tracked, now| {
                    tracked.inc_gpc0(now);
                },
                &[Column::Gpc0, Column::Gpc0Rate],
                1,
            ),
            Event::Increment(key) => {
                let key_of = int(&self.table, key);
                let value = self.table.update(&key_of, now, |entry| {
                    entry.increment(Gpc::One);
                    entry.get(Column::Gpc1)
                });
                let settings = self.model.settings.clone();
                let expected = self.model.obtain(key, self.now).map(|entry| {
                    entry.count(&[Column::Gpc1, Column::Gpc1Rate], self.now, 1);
                    let stored = settings.stores.contains(StoreSet::GPC1);
                    stored.then(|| entry.value(Column::Gpc1, &settings, self.now))
                });
                assert_eq!(value, expected, "gpc1 of {key}");
            }
            Event::Remove(key) => {
                let expected = match self.model.find(key) {
                    None => Removal::Absent,
                    Some(entry) if entry.uses > 0 => Removal::InUse,
                    Some(_) => Removal::Removed,
                };
                assert_eq!(self.table.remove(&int(&self.table, key), now), expected);
                if expected == Removal::Removed {
                    self.model.entries.retain(|entry| entry.key != key);
                }
            }
            Event::ClearUncounted => {
                self.table
                    .clear(now, |row| row.get(Column::ConnCnt) == Some(0));
                let settings = &self.model.settings;
                self.model.entries.retain(|entry| {
                    entry.uses > 0
                        || !settings.stores.contains(StoreSet::CONN_CNT)
                        || entry.value(Column::ConnCnt, settings, self.now) > 0
                });
            }
            Event::Expire => self.table.expire(now),
        }
        self.model.expire(self.now);
        assert_eq!(
            self.table.used(Millis(self.now)),
            self.model.entries.len(),
            "entries"
        );
    }

    fn let_go(&mut self, which: usize, how: impl FnOnce(Tracked, Millis)) {
        if self.tracked.is_empty() {
            return;
        }
        let (key, tracked) = self.tracked.swap_remove(which % self.tracked.len());
        how(tracked, Millis(self.now));
        if self.model.settings.stores.contains(StoreSet::CONN_CUR) {
            self.model.touch(key, self.now);
        }
        self.model.entry(key).expect("it is tracked").uses -= 1;
    }

    fn count(
        &mut self,
        which: usize,
        how: impl FnOnce(&Tracked, Millis),
        columns: &[Column],
        events: u64,
    ) {
        if self.tracked.is_empty() {
            return;
        }
        let (key, tracked) = &self.tracked[which % self.tracked.len()];
        how(tracked, Millis(self.now));
        let stores = self.model.settings.stores;
        if columns.iter().any(|column| stores.contains(column.store())) {
            self.model.touch(*key, self.now);
        }
        if events > 0 {
            let entry = self.model.entry(*key).expect("it is tracked");
            entry.count(columns, self.now, events);
        }
    }

    /// Compares one entry, each of its columns.
    fn compare(&self, key: i64) {
        let row = self.table.lookup(&int(&self.table, key), Millis(self.now));
        let expected = self.model.find(key);
        assert_eq!(row.is_some(), expected.is_some(), "{key} is there");
        let (Some(row), Some(expected)) = (row, expected) else {
            return;
        };
        assert_eq!(row.uses, expected.uses, "uses of {key}");
        for column in Column::ALL {
            let settings = &self.model.settings;
            let stored = settings.stores.contains(column.store());
            assert_eq!(
                row.get(column),
                stored.then(|| expected.value(column, settings, self.now)),
                "{} of {key} at {}",
                column.name(),
                self.now
            );
        }
    }

    /// Compares everything that there is.
    fn compare_all(&self, keys: i64) {
        for key in 0..keys {
            self.compare(key);
        }
        let batches = (0..).map_while(|batch| self.table.batch(batch, Millis(self.now)));
        let mut listed: Vec<String> = batches.flatten().map(|(key, _)| key.to_string()).collect();
        let entries = self.model.entries.iter();
        let mut expected: Vec<String> = entries.map(|entry| entry.key.to_string()).collect();
        listed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(listed, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_small_table_is_like_the_model(
        size in 0..6_usize,
        nopurge: bool,
        expire in prop::option::of(100..600_u64),
        stores: u32,
        events in events(9, 150),
    ) {
        let mut pair = Pair::new(TableSettings {
            size,
            nopurge,
            expire: expire.map(Duration::from_millis),
            stores: StoreSet::from_bits_truncate(stores),
            ..settings(size)
        });
        for event in events {
            pair.apply(&event);
            pair.now += 1;
        }
        pair.model.expire(pair.now);
        pair.compare_all(9);
        while !pair.tracked.is_empty() {
            pair.now += 1;
            pair.model.expire(pair.now);
            pair.let_go(0, Tracked::release);
        }
        pair.model.expire(pair.now);
        pair.compare_all(9);
    }

    /// A rate is what its definition says, and between what the two windows that it is about hold.
    #[test]
    fn rates_are_what_their_definition_says(
        period in 1..300_u64,
        gaps in prop::collection::vec((prop_oneof![0..20_u64, 0..700_u64], 1..50_u64), 1..60),
        later in prop::collection::vec(0..700_u64, 1..20),
    ) {
        let short = |number: u64| u32::try_from(number).expect("short");
        let mut window = Window::default();
        let mut events: Vec<(u64, u64)> = Vec::new();
        let mut now = 5;
        let check = |window: &Window, events: &[(u64, u64)], now: u64| {
            let read = window.read(short(now), short(period));
            prop_assert_eq!(read, rate(events, period, now));
            let since = |time: u64| -> u64 {
                let events = events.iter().filter(|event| event.0 >= time);
                events.map(|event| event.1).sum()
            };
            prop_assert!(read <= since(now.saturating_sub(2 * period)));
            Ok(())
        };
        for (gap, count) in gaps {
            now += gap;
            check(&window, &events, now)?;
            window.add(count, short(now), short(period));
            events.push((now, count));
            check(&window, &events, now)?;
        }
        for gap in later {
            check(&window, &events, now + gap)?;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Several shards, and one oldest entry among all of them.
    #[test]
    fn a_table_of_several_shards_is_like_the_model(
        nopurge: bool,
        stores: u32,
        events in events(1200, 300),
    ) {
        let mut pair = Pair::new(TableSettings {
            nopurge,
            stores: StoreSet::from_bits_truncate(stores),
            ..settings(1024)
        });
        for key in 0..1024 {
            pair.apply(&Event::Touch(key));
            pair.now += 1;
        }
        for event in events {
            pair.apply(&event);
            pair.now += 1;
        }
        pair.model.expire(pair.now);
        pair.compare_all(1200);
    }
}
