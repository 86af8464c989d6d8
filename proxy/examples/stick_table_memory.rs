//! What a stick table costs: memory per entry as the system sees it, and the processor's time for
//! what a connection does with a table.
//!
//! `cargo run --release --example stick_table_memory [entries]`

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use underpass::rules::sample::{Kind, Value};
use underpass::rules::scene::Millis;
use underpass::rules::table::{Column, Periods, StoreSet, Table, TableSettings};

/// The process's resident memory in bytes.
fn resident() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(1024 * kib.ok_or("no VmRSS in /proc/self/status")?.parse::<u64>()?)
}

/// Nanoseconds that this thread, the only one, has been on a processor.
fn on_processor() -> Result<u64, Box<dyn Error>> {
    let times = std::fs::read_to_string("/proc/self/schedstat")?;
    let time = times.split_whitespace().next();
    Ok(time.ok_or("nothing in /proc/self/schedstat")?.parse()?)
}

fn table(entries: usize, kind: Kind, stores: StoreSet) -> Arc<Table> {
    Arc::new(Table::new(TableSettings {
        name: Arc::from("memory"),
        kind,
        key_len: TableSettings::DEFAULT_KEY_LEN,
        size: entries,
        expire: Some(Duration::from_secs(3600)),
        nopurge: false,
        stores,
        periods: Periods {
            conn: Duration::from_secs(10),
            ..Periods::default()
        },
    }))
}

/// Numbers in an order that no cache foresees.
fn scattered(entries: usize, place: usize) -> i64 {
    let place = place as u64 % entries as u64;
    i64::from((place.wrapping_mul(2_654_435_761) & 0xffff_ffff) as u32)
}

fn main() -> Result<(), Box<dyn Error>> {
    let entries = match std::env::args().nth(1) {
        Some(entries) => entries.parse()?,
        None => 1_000_000,
    };
    // Kept to the end, so that no table gets the memory of another one.
    let mut tables = Vec::new();
    let some = StoreSet::CONN_CUR | StoreSet::CONN_RATE | StoreSet::GPC0;
    for (name, kind, stores) in [
        ("ip, conn_cur conn_rate gpc0", Kind::Ipv4, some),
        ("ipv6, conn_cur conn_rate gpc0", Kind::Ipv6, some),
        ("string 32, server_id", Kind::Str, StoreSet::SERVER_ID),
        ("ip, everything", Kind::Ipv4, StoreSet::all()),
    ] {
        let before = resident()?;
        let table = table(entries, kind, stores);
        let key = |place| {
            let number = scattered(entries, place);
            table.key(Value::Int(number)).ok_or("not a key")
        };
        let began = on_processor()?;
        for place in 0..entries {
            table.update(&key(place)?, Millis(1), |entry| entry.set(Column::Gpc0, 1));
        }
        let filled = on_processor()? - began;
        let used = table.used(Millis(1));
        let after = resident()?;
        let began = on_processor()?;
        for place in 0..entries {
            let tracked = table.track(&key(place)?, Millis(2)).ok_or("full")?;
            black_box(tracked.inspect(Millis(2), |entry| entry.get(Column::ConnRate)));
            tracked.release(Millis(3));
        }
        let tracked = on_processor()? - began;
        println!(
            "{name}: {used} entries, {:.1} bytes each in memory ({} its own, {:.1} allocated), \
             {} ns to create, {} ns to track, read and release",
            after.saturating_sub(before) as f64 / used as f64,
            table.entry_size(),
            table.allocated() as f64 / used as f64,
            filled / entries as u64,
            tracked / entries as u64,
        );
        tables.push(table);
    }
    Ok(())
}
