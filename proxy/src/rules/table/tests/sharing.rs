//! Many threads on one table.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use super::{int, settings};
use crate::rules::action::Gpc;
use crate::rules::scene::Millis;
use crate::rules::table::{Column, Table, TableSettings};

const THREADS: u64 = 8;
const ROUNDS: u64 = 4000;

/// Numbers that look random, for a thread.
fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

/// Nothing is lost and nothing counts twice: the sums over all entries are what the threads did.
#[test]
fn totals_are_exact() {
    let table = Arc::new(Table::new(TableSettings {
        expire: None,
        ..settings(4096)
    }));
    let bytes = AtomicU64::new(0);
    thread::scope(|scope| {
        for seed in 1..=THREADS {
            let (table, bytes) = (&table, &bytes);
            scope.spawn(move || {
                let mut random = numbers(seed);
                let mut held = Vec::new();
                for round in 0..ROUNDS {
                    // Clocks are read a little apart.
                    let now = Millis(1000 + round / 8 + random(3));
                    let key = int(table, i64::try_from(random(700)).expect("small"));
                    let tracked = table.track(&key, now).expect("there is room for all");
                    tracked.started_session(now);
                    let count = random(100_000);
                    tracked.add_bytes_in(count, now);
                    bytes.fetch_add(count, Ordering::Relaxed);
                    table.update(&key, now, |entry| entry.increment(Gpc::One));
                    assert_eq!(tracked.key(), key);
                    held.push(tracked);
                    if held.len() > 20 {
                        let which = usize::try_from(random(20)).expect("small");
                        let released = held.swap_remove(which);
                        if random(2) == 0 {
                            released.release(now);
                        }
                    }
                }
            });
        }
    });
    let rows: Vec<_> = (0..)
        .map_while(|batch| table.batch(batch, Millis(2000)))
        .flatten()
        .collect();
    let sum = |column| -> u64 { rows.iter().filter_map(|(_, row)| row.get(column)).sum() };
    assert_eq!(rows.len(), table.used(Millis(2000)));
    for column in [Column::ConnCnt, Column::SessCnt, Column::Gpc1] {
        assert_eq!(sum(column), THREADS * ROUNDS, "{}", column.name());
    }
    assert_eq!(sum(Column::BytesInCnt), bytes.load(Ordering::Relaxed));
    assert_eq!(sum(Column::ConnCur), 0);
    assert!(rows.iter().all(|(_, row)| row.uses == 0));
}

/// However many threads want more entries than there are places: there are never more, what is
/// tracked stays, and at the end the count is that of the entries.
#[test]
fn the_size_is_never_exceeded() {
    let size = 600;
    let table = Arc::new(Table::new(TableSettings {
        expire: Some(Duration::from_millis(40)),
        ..settings(size)
    }));
    thread::scope(|scope| {
        for seed in 1..=THREADS {
            let table = &table;
            scope.spawn(move || {
                let mut random = numbers(seed);
                let mut held = Vec::new();
                for round in 0..ROUNDS {
                    let now = Millis(1000 + round / 16);
                    let key = int(table, i64::try_from(random(100_000)).expect("small"));
                    if random(3) == 0 {
                        held.extend(table.track(&key, now).map(|tracked| (key.clone(), tracked)));
                    } else if table
                        .update(&key, now, |entry| entry.increment(Gpc::Zero))
                        .is_none()
                    {
                        assert!(held.len() > 1, "there are untracked entries to evict");
                    }
                    if random(20) == 0 {
                        table.remove(&key, now);
                    }
                    assert!(table.used(now) <= size);
                    // Up to 720 places are wanted for good: more than there are.
                    while held.len() > 90 {
                        let which = usize::try_from(random(90)).expect("small");
                        held.swap_remove(which);
                    }
                    if let Some((key, tracked)) = held.last() {
                        assert!(tracked.read(now).uses > 0);
                        assert_eq!(tracked.key(), *key, "nobody else got its place");
                    }
                }
            });
        }
    });
    let end = Millis(1000 + ROUNDS);
    let listed: usize = (0..)
        .map_while(|batch| table.batch(batch, end))
        .map(|batch| batch.len())
        .sum();
    assert_eq!(
        (listed, table.used(end)),
        (0, 0),
        "all were let go and expired"
    );
    assert_eq!(table.allocated(), 0);
}

/// All threads want the same new keys at the same time, in a full table: each is created once, and no
/// place is lost.
#[test]
fn a_key_that_all_want_takes_one_place() {
    let size = 600;
    // Few threads that wait for each other: on a busy machine each wait takes long.
    let (threads, rounds) = (4, 800);
    let table = Arc::new(Table::new(TableSettings {
        expire: None,
        ..settings(size)
    }));
    let gate = Barrier::new(threads);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for round in 0..rounds {
                    if round % 8 == 0 {
                        gate.wait();
                    }
                    let key = int(&table, i64::try_from(round).expect("small"));
                    let made = table.update(&key, Millis(round), |entry| {
                        entry.increment(Gpc::One);
                    });
                    assert!(made.is_some(), "the oldest makes room");
                }
            });
        }
    });
    let end = Millis(rounds);
    let rows: Vec<_> = (0..)
        .map_while(|batch| table.batch(batch, end))
        .flatten()
        .collect();
    assert_eq!((rows.len(), table.used(end)), (size, size));
    let counts = rows.iter().map(|(_, row)| row.get(Column::Gpc1));
    let all = u64::try_from(threads).ok();
    assert!(counts.into_iter().all(|count| count == all));
}
