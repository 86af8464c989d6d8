//! Tables against plain models.

mod keys;
mod model;
mod properties;
pub(in crate::rules) mod rig;
mod sharing;

use std::sync::Arc;
use std::time::Duration;

use super::{Column, Key, Periods, Removal, StoreSet, Table, TableSettings};
use crate::rules::action::Gpc;
use crate::rules::sample::{Kind, Value};
use crate::rules::scene::Millis;

/// A table of integers that stores everything.
fn settings(size: usize) -> TableSettings {
    TableSettings {
        name: Arc::from("t"),
        kind: Kind::Int,
        key_len: TableSettings::DEFAULT_KEY_LEN,
        size,
        expire: Some(Duration::from_millis(1000)),
        nopurge: false,
        stores: StoreSet::all(),
        periods: Periods {
            conn: Duration::from_millis(100),
            sess: Duration::from_millis(50),
            ..Periods::default()
        },
    }
}

fn table(size: usize) -> Arc<Table> {
    Arc::new(Table::new(settings(size)))
}

fn int(table: &Table, number: i64) -> Key {
    table.key(Value::Int(number)).expect("an integer is a key")
}

fn there(table: &Table, number: i64, now: u64) -> bool {
    table.lookup(&int(table, number), Millis(now)).is_some()
}

fn touch(table: &Table, number: i64, now: u64) -> bool {
    table
        .update(&int(table, number), Millis(now), |_| ())
        .is_some()
}

#[test]
fn what_counts_when() {
    let table = table(10);
    let tracked = table.track(&int(&table, 1), Millis(5)).expect("room");
    let counted = |column| tracked.read(Millis(5)).get(column);
    for column in [Column::ConnCur, Column::ConnCnt, Column::ConnRate] {
        assert_eq!(counted(column), Some(1), "{}", column.name());
    }
    assert_eq!(counted(Column::SessCnt), Some(0));
    tracked.started_session(Millis(5));
    tracked.add_bytes_in(5_000_000_000, Millis(5));
    tracked.add_bytes_out(7, Millis(5));
    assert_eq!(counted(Column::SessCnt), Some(1));
    assert_eq!(counted(Column::SessRate), Some(1));
    assert_eq!(counted(Column::BytesInCnt), Some(5_000_000_000));
    assert_eq!(counted(Column::BytesInRate), Some(5_000_000_000));
    assert_eq!(counted(Column::BytesOutCnt), Some(7));
    assert_eq!(tracked.inc_gpc0(Millis(5)), Some(1));
    assert_eq!(tracked.inc_gpc0(Millis(5)), Some(2));
    assert_eq!(tracked.inc_gpc1(Millis(5)), Some(1));
    tracked.set_gpt0(9, Millis(5));
    assert_eq!(counted(Column::Gpc0), Some(2));
    assert_eq!(counted(Column::Gpc0Rate), Some(2));
    assert_eq!(counted(Column::Gpt0), Some(9));
    tracked.release(Millis(6));
    let row = table
        .lookup(&int(&table, 1), Millis(6))
        .expect("it stays until it expires");
    assert_eq!(row.get(Column::ConnCur), Some(0));
    assert_eq!(row.get(Column::ConnCnt), Some(1));
    assert_eq!((row.uses, row.expires_in), (0, Some(1000)));
}

#[test]
fn a_column_that_is_not_stored_is_nothing() {
    let table = Arc::new(Table::new(TableSettings {
        stores: StoreSet::GPC0_RATE | StoreSet::CONN_CUR,
        ..settings(10)
    }));
    let tracked = table.track(&int(&table, 1), Millis(5)).expect("room");
    tracked.started_session(Millis(5));
    tracked.set_gpt0(1, Millis(5));
    assert_eq!(tracked.inc_gpc0(Millis(5)), Some(1), "of the rate");
    assert_eq!(tracked.inc_gpc1(Millis(5)), None);
    let row = tracked.read(Millis(5));
    assert_eq!(row.get(Column::Gpc0), None);
    assert_eq!(row.get(Column::SessCnt), None);
    assert_eq!(row.get(Column::ConnCur), Some(1));
}

#[test]
fn counters_stick_at_their_largest_and_settings_are_cut() {
    let table = table(10);
    let key = int(&table, 1);
    table.update(&key, Millis(1), |entry| {
        entry.set(Column::Gpc0, u64::from(u32::MAX) - 1);
        assert_eq!(entry.increment(Gpc::Zero), Some(u32::MAX.into()));
        assert_eq!(entry.increment(Gpc::Zero), Some(u32::MAX.into()));
        entry.set(Column::Gpc0, 4_294_967_299);
        assert_eq!(entry.get(Column::Gpc0), Some(3));
        entry.set(Column::ConnRate, 5);
        assert_eq!(entry.get(Column::ConnRate), Some(5));
        entry.set(Column::ServerId, 77);
    });
    let row = table.lookup(&key, Millis(1)).expect("just made");
    assert_eq!(row.get(Column::ServerId), Some(77));
}

#[test]
fn an_entry_expires_when_it_was_not_touched_for_so_long() {
    let table = table(10);
    assert!(touch(&table, 1, 0));
    assert!(there(&table, 1, 999), "looking does not touch");
    assert!(!there(&table, 1, 1000));
    assert!(touch(&table, 2, 1000));
    assert!(touch(&table, 2, 1500));
    assert!(there(&table, 2, 2499));
    assert_eq!(table.used(Millis(2499)), 1);
    assert_eq!(table.used(Millis(2500)), 0);
}

#[test]
fn an_expired_entry_that_comes_again_begins_at_zero() {
    let table = table(10);
    let key = int(&table, 1);
    table.update(&key, Millis(0), |entry| entry.set(Column::Gpc0, 9));
    assert_eq!(
        table.update(&key, Millis(1000), |entry| entry.get(Column::Gpc0)),
        Some(Some(0))
    );
    assert_eq!(table.used(Millis(1000)), 1);
}

#[test]
fn a_full_table_drops_what_was_not_touched_for_longest() {
    let table = table(3);
    for (number, now) in [(1, 1), (2, 2), (3, 3), (1, 4), (4, 5)] {
        assert!(touch(&table, number, now));
    }
    let left: Vec<_> = (1..=4).filter(|n| there(&table, *n, 5)).collect();
    assert_eq!(left, [1, 3, 4]);
    assert_eq!(table.used(Millis(5)), 3);
    assert_eq!(table.available(Millis(5)), 0);
}

#[test]
fn with_nopurge_a_full_table_takes_nothing_new_until_something_expires() {
    let table = Arc::new(Table::new(TableSettings {
        nopurge: true,
        ..settings(2)
    }));
    assert!(touch(&table, 1, 0) && touch(&table, 2, 10));
    assert!(!touch(&table, 3, 20));
    assert!(table.track(&int(&table, 3), Millis(20)).is_none());
    assert!(touch(&table, 2, 30), "what is there can be had");
    assert!(!touch(&table, 3, 999));
    assert!(touch(&table, 3, 1000), "the first one has expired");
    assert!(there(&table, 2, 1000) && !there(&table, 1, 1000));
}

#[test]
fn what_is_tracked_neither_expires_nor_makes_room() {
    let table = table(2);
    let first = table.track(&int(&table, 1), Millis(0)).expect("room");
    let second = table.track(&int(&table, 2), Millis(0)).expect("room");
    assert!(there(&table, 1, 100_000));
    assert_eq!(first.read(Millis(100_000)).expires_in, Some(0));
    assert!(!touch(&table, 3, 100_000), "nothing may make room");
    assert_eq!(
        table.remove(&int(&table, 1), Millis(100_000)),
        Removal::InUse
    );
    table.clear(Millis(100_000), |_| true);
    assert_eq!(table.used(Millis(100_000)), 2);
    second.release(Millis(100_000));
    assert!(touch(&table, 3, 100_000), "the second one makes room");
    assert!(!there(&table, 2, 100_000));
    drop(first);
    assert!(
        there(&table, 1, 100_999),
        "it was touched when it was let go"
    );
    assert!(!there(&table, 1, 101_000));
}

/// As HAProxy does it: what is not stored does not touch, so that without `conn_cur` an entry's time
/// is over that long after its tracking began.
#[test]
fn the_end_of_tracking_touches_only_what_stores_current_connections() {
    let table = Arc::new(Table::new(TableSettings {
        stores: StoreSet::CONN_CNT | StoreSet::GPC0,
        ..settings(3)
    }));
    let (short, long) = (int(&table, 1), int(&table, 2));
    let tracked = table.track(&short, Millis(0)).expect("room");
    tracked.started_session(Millis(500));
    tracked.release(Millis(600));
    assert!(there(&table, 1, 999) && !there(&table, 1, 1000));
    let tracked = table.track(&long, Millis(1000)).expect("room");
    assert_eq!(table.used(Millis(5000)), 1);
    tracked.release(Millis(5000));
    assert_eq!(table.used(Millis(5000)), 0);
    let tracked = table.track(&long, Millis(6000)).expect("room");
    assert_eq!(table.used(Millis(9000)), 1);
    tracked.inc_gpc0(Millis(9000));
    tracked.release(Millis(9500));
    assert!(there(&table, 2, 9999) && !there(&table, 2, 10_000));
}

/// A tracked entry that others of its age had to make room for is the next to go afterwards.
#[test]
fn a_tracked_entry_keeps_its_age() {
    let table = Arc::new(Table::new(TableSettings {
        stores: StoreSet::CONN_CNT,
        ..settings(3)
    }));
    let first = table.track(&int(&table, 1), Millis(1)).expect("room");
    let second = table.track(&int(&table, 2), Millis(2)).expect("room");
    for (number, now) in [(3, 3), (4, 4), (5, 5)] {
        assert!(touch(&table, number, now));
    }
    second.release(Millis(6));
    first.release(Millis(6));
    assert!(touch(&table, 6, 7));
    assert!(!there(&table, 1, 7) && there(&table, 2, 7) && there(&table, 5, 7));
    assert!(touch(&table, 7, 8));
    assert!(!there(&table, 2, 8) && there(&table, 5, 8));
}

#[test]
fn an_entry_may_be_tracked_more_than_once() {
    let table = table(2);
    let key = int(&table, 1);
    let first = table.track(&key, Millis(0)).expect("room");
    let second = table.track(&key, Millis(0)).expect("it is there");
    let current = |now| {
        let row = table.lookup(&key, Millis(now)).expect("tracked");
        (row.uses, row.get(Column::ConnCur))
    };
    assert_eq!(current(0), (2, Some(2)));
    drop(first);
    assert_eq!(current(9999), (1, Some(1)));
    table.update(&key, Millis(9999), |entry| entry.set(Column::ConnCur, 0));
    drop(second);
    assert_eq!(current(9999), (0, Some(0)), "never below nothing");
}

#[test]
fn without_expiry_entries_stay() {
    let table = Table::new(TableSettings {
        expire: None,
        ..settings(5)
    });
    assert!(touch(&table, 1, 0));
    let row = table
        .lookup(&int(&table, 1), Millis(u64::MAX / 2))
        .expect("it stays");
    assert_eq!(row.expires_in, None);
}

#[test]
fn entries_are_removed_and_listed() {
    let table = table(1000);
    for number in 0..600 {
        assert!(touch(&table, number, 1));
    }
    assert_eq!(table.remove(&int(&table, 5), Millis(1)), Removal::Removed);
    assert_eq!(table.remove(&int(&table, 5), Millis(1)), Removal::Absent);
    let listed = || {
        let batches = (0..).map_while(|batch| table.batch(batch, Millis(1)));
        let mut numbers: Vec<i64> = batches
            .flatten()
            .map(|(key, _)| key.to_string().parse().expect("an integer"))
            .collect();
        numbers.sort_unstable();
        numbers
    };
    assert_eq!(listed(), (0..600).filter(|n| *n != 5).collect::<Vec<_>>());
    table.update(&int(&table, 7), Millis(1), |entry| {
        entry.set(Column::Gpc0, 1);
    });
    table.clear(Millis(1), |row| row.get(Column::Gpc0) == Some(0));
    assert_eq!(listed(), [7]);
    table.clear(Millis(1), |_| true);
    assert_eq!(table.allocated(), 0, "nothing is left of an empty table");
}

#[test]
fn time_does_not_go_back() {
    let table = table(10);
    let tracked = table.track(&int(&table, 1), Millis(1000)).expect("room");
    // Another worker read its clock earlier, and was held up.
    tracked.started_session(Millis(900));
    assert_eq!(tracked.read(Millis(900)).get(Column::ConnRate), Some(1));
    assert_eq!(tracked.read(Millis(900)).get(Column::SessRate), Some(1));
}

/// The header, the key, and what is stored; nothing else.
#[test]
fn an_entry_costs_what_it_stores() {
    let size = |kind, key_len, stores| {
        Table::new(TableSettings {
            kind,
            key_len,
            stores,
            ..settings(10)
        })
        .entry_size()
    };
    let header = 20;
    let none = StoreSet::empty();
    assert_eq!(size(Kind::Ipv4, 0, none), header + 4);
    assert_eq!(size(Kind::Ipv6, 0, none), header + 16);
    assert_eq!(size(Kind::Int, 0, none), header + 4);
    assert_eq!(size(Kind::Str, 32, none), header + 4 + 32);
    assert_eq!(size(Kind::Bin, 6, none), header + 8);
    let some = StoreSet::CONN_CUR | StoreSet::CONN_RATE | StoreSet::GPC0;
    assert_eq!(size(Kind::Ipv4, 0, some), header + 4 + 4 + 12 + 4);
    assert_eq!(
        size(Kind::Ipv4, 0, StoreSet::all()),
        header + 4 + 7 * 4 + 4 * 12 + 2 * 8 + 2 * 20
    );
}

/// What is allocated for a million entries stays within the documented bounds.
#[test]
fn a_million_entries_cost_what_is_documented() {
    let entries = 1_000_000;
    let table = Table::new(TableSettings {
        kind: Kind::Ipv4,
        stores: StoreSet::CONN_CUR | StoreSet::CONN_RATE | StoreSet::GPC0,
        ..settings(entries)
    });
    for number in 0..entries {
        let number = i64::try_from(number).expect("small");
        assert!(touch(&table, number, 1));
    }
    assert_eq!(table.used(Millis(1)), entries);
    let each = table.allocated() / entries;
    let least = table.entry_size() + 5;
    assert!(
        (least..=least + 8).contains(&each),
        "{each} bytes per entry, {} of them its own",
        table.entry_size()
    );
}
