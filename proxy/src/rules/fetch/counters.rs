//! Fetches of entries of stick tables, tracked or looked up.
//!
//! `src_…` looks the source up in a table, `sc_…` takes what `track-sc` holds, or the entry of the
//! same key in another table. There is no value where nothing is tracked or the table does not store
//! what is asked for, and 0 where the table has no such entry.

use super::{Call, Fetch};
use crate::config::diagnostic::Fault;
use crate::rules::action::Gpc;
use crate::rules::names::{Names, TableFacts};
use crate::rules::sample::{Kind, Sample, Value};
use crate::rules::scene::{Needs, Scene};
use crate::rules::table::{Column, Entry, Key, StoreSet, Table, TableId, Tracked};

macro_rules! names {
    (both: $($both:literal)*; tracked: $($tracked:literal)*; others: $($other:literal)*) => {
        &[
            $(
                concat!("src_", $both),
                concat!("sc_", $both),
                concat!("sc0_", $both),
                concat!("sc1_", $both),
                concat!("sc2_", $both),
            )*
            $(
                concat!("sc_", $tracked),
                concat!("sc0_", $tracked),
                concat!("sc1_", $tracked),
                concat!("sc2_", $tracked),
            )*
            $($other,)*
        ]
    };
}

/// The names of this family.
pub(super) const NAMES: &[&str] = names! {
    both: "bytes_in_rate" "bytes_out_rate" "clr_gpc0" "clr_gpc1" "conn_cnt" "conn_cur" "conn_rate"
        "get_gpc0" "get_gpc1" "get_gpt0" "gpc0_rate" "gpc1_rate" "inc_gpc0" "inc_gpc1" "kbytes_in"
        "kbytes_out" "sess_cnt" "sess_rate";
    tracked: "tracked" "trackers";
    others: "src_updt_conn_cnt" "table_avl" "table_cnt"
};

/// Slots of `track-sc`.
const SLOTS: usize = 3;

/// What is done with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    /// A column's value.
    Read(Column),
    /// A column's value, divided by 1024.
    ReadKilo(Column),
    /// A general purpose counter and its rate, incremented.
    Increment(Gpc),
    /// A column's value, which becomes 0.
    Clear(Column),
    /// `conn_cnt`, incremented.
    UpdateConnCnt,
    /// Whether it is tracked.
    Tracked,
    /// How many streams track it.
    Trackers,
}

/// Whose entry.
#[derive(Debug, Clone, Copy)]
enum Subject {
    /// The source's, in this table.
    Source(TableId),
    /// What a slot tracks, or the same key's in another table.
    Slot(usize, Option<TableId>),
}

/// Compiles a call of this family.
pub(super) fn compile(call: Call<'_>, names: &Names<'_>) -> Option<Result<Box<dyn Fetch>, Fault>> {
    // Names that begin alike and are not in the list belong to somebody else, or to nobody.
    if !NAMES.contains(&call.name) {
        return None;
    }
    match call.name {
        "table_avl" => Some(fill(call, names, true)),
        "table_cnt" => Some(fill(call, names, false)),
        _ => {
            let (whose, what) = call.name.split_once('_')?;
            let operation = operation(what)?;
            Some(counter(call, whose, operation, names))
        }
    }
}

fn fill(call: Call<'_>, names: &Names<'_>, available: bool) -> Result<Box<dyn Fetch>, Fault> {
    let arguments = Arguments(call);
    arguments.at_most(1)?;
    let table = names.table(arguments.get(0), call.word)?.id;
    Ok(Box::new(Fill { table, available }))
}

fn counter(
    call: Call<'_>,
    whose: &str,
    operation: Operation,
    names: &Names<'_>,
) -> Result<Box<dyn Fetch>, Fault> {
    let arguments = Arguments(call);
    let table_at = match whose {
        "sc" => 1,
        _ => 0,
    };
    arguments.at_most(table_at + 1)?;
    let named = arguments.get(table_at);
    let subject = match whose {
        "src" => Subject::Source(stored(call, named, names, operation)?.id),
        _ => {
            let slot = match whose {
                "sc0" => 0,
                "sc1" => 1,
                "sc2" => 2,
                _ => arguments.slot()?,
            };
            let table = named
                .map(|_| stored(call, named, names, operation))
                .transpose()?;
            Subject::Slot(slot, table.map(|table| table.id))
        }
    };
    Ok(Box::new(Counter { subject, operation }))
}

/// The operation that a fetch's name ends with; `None`: there is no such one.
fn operation(what: &str) -> Option<Operation> {
    Some(match what {
        "get_gpc0" => Operation::Read(Column::Gpc0),
        "get_gpc1" => Operation::Read(Column::Gpc1),
        "get_gpt0" => Operation::Read(Column::Gpt0),
        "kbytes_in" => Operation::ReadKilo(Column::BytesInCnt),
        "kbytes_out" => Operation::ReadKilo(Column::BytesOutCnt),
        "inc_gpc0" => Operation::Increment(Gpc::Zero),
        "inc_gpc1" => Operation::Increment(Gpc::One),
        "clr_gpc0" => Operation::Clear(Column::Gpc0),
        "clr_gpc1" => Operation::Clear(Column::Gpc1),
        "updt_conn_cnt" => Operation::UpdateConnCnt,
        "tracked" => Operation::Tracked,
        "trackers" => Operation::Trackers,
        // The others are called as their columns are.
        column => Operation::Read(Column::by_name(column)?),
    })
}

/// The table that is named, or the proxy's own, which must store what is asked of it.
fn stored(
    call: Call<'_>,
    named: Option<&str>,
    names: &Names<'_>,
    operation: Operation,
) -> Result<TableFacts, Fault> {
    let table = names.table(named, call.word)?;
    let needed = match operation {
        Operation::Read(column) | Operation::ReadKilo(column) | Operation::Clear(column) => {
            column.store()
        }
        Operation::Increment(Gpc::Zero) => StoreSet::GPC0 | StoreSet::GPC0_RATE,
        Operation::Increment(Gpc::One) => StoreSet::GPC1 | StoreSet::GPC1_RATE,
        Operation::UpdateConnCnt => StoreSet::CONN_CNT,
        Operation::Tracked | Operation::Trackers => return Ok(table),
    };
    if table.stores.intersects(needed) {
        return Ok(table);
    }
    Err(not_stored(call, named.unwrap_or(names.own), needed))
}

/// What to say about a table that stores none of `needed`.
fn not_stored(call: Call<'_>, table: &str, needed: StoreSet) -> Fault {
    let needed = Column::ALL
        .into_iter()
        .filter(|column| needed.contains(column.store()))
        .map(Column::name);
    let needed: Vec<_> = needed.collect();
    call.word.fault(format!(
        "'{}' : stick-table '{table}' does not store '{}', so that there would never be a value.",
        call.name,
        needed.join("' or '")
    ))
}

/// Arguments with their places, for messages.
struct Arguments<'a>(Call<'a>);

impl<'a> Arguments<'a> {
    /// One of them; an empty one is none.
    fn get(&self, place: usize) -> Option<&'a str> {
        let argument = self.0.arguments.get(place)?;
        Some(argument.as_str()).filter(|argument| !argument.is_empty())
    }

    fn at_most(&self, most: usize) -> Result<(), Fault> {
        match self.0.arguments.get(most) {
            None => Ok(()),
            Some(argument) => Err(self.0.word.fault(format!(
                "fetch method '{}' : at most {most} argument(s), '{argument}' is one too many.",
                self.0.name
            ))),
        }
    }

    fn slot(&self) -> Result<usize, Fault> {
        let name = self.0.name;
        let Some(argument) = self.get(0) else {
            return Err(self.0.word.fault(format!(
                "fetch method '{name}' : expected type 'integer' at position 1, but got nothing."
            )));
        };
        match argument.parse() {
            Ok(slot) if slot < SLOTS => Ok(slot),
            Ok(slot) => Err(self.0.word.fault(format!(
                "fetch method '{name}' : there is no counter {slot} : they are 0 to {}.",
                SLOTS - 1
            ))),
            Err(_) => Err(self.0.word.fault(format!(
                "fetch method '{name}' : failed to parse '{argument}' as type 'integer' at \
                 position 1."
            ))),
        }
    }
}

/// Places in a table, taken or free.
#[derive(Debug)]
struct Fill {
    table: TableId,
    available: bool,
}

impl Fetch for Fill {
    fn kind(&self) -> Kind {
        Kind::Int
    }

    fn needs(&self) -> Needs {
        Needs::empty()
    }

    fn look<'a>(&self, scene: &Scene<'a>) -> Sample<'a> {
        let table = scene.tables.get(self.table);
        let count = if self.available {
            table.available(scene.now)
        } else {
            table.used(scene.now)
        };
        number(u64::try_from(count).unwrap_or(u64::MAX))
    }
}

/// A counter of an entry.
#[derive(Debug)]
struct Counter {
    subject: Subject,
    operation: Operation,
}

/// An entry that may be there.
enum Place<'a> {
    /// One that is created when something is counted.
    Keyed(&'a Table, Key),
    /// One that is not created.
    KeyedIfThere(&'a Table, Option<Key>),
    /// One that is held.
    Held(&'a Tracked),
}

impl Place<'_> {
    /// Looks; `None`: there is no entry.
    fn inspect<R>(&self, scene: &Scene<'_>, look: impl FnOnce(&Entry<'_>) -> R) -> Option<R> {
        match self {
            Self::Keyed(table, key) => table.inspect(key, scene.now, look),
            Self::KeyedIfThere(table, key) => table.inspect(key.as_ref()?, scene.now, look),
            Self::Held(tracked) => Some(tracked.inspect(scene.now, look)),
        }
    }

    /// Changes; `None`: there is no entry, and none could be created.
    fn update<R>(&self, scene: &Scene<'_>, change: impl FnOnce(&mut Entry<'_>) -> R) -> Option<R> {
        match self {
            Self::Keyed(table, key) => table.update(key, scene.now, change),
            Self::KeyedIfThere(table, key) => {
                table.update_existing(key.as_ref()?, scene.now, change)
            }
            Self::Held(tracked) => Some(tracked.update(scene.now, change)),
        }
    }
}

impl Subject {
    /// `None`: nothing is tracked, or there is no source.
    fn place<'a>(self, scene: &Scene<'a>) -> Option<Place<'a>> {
        match self {
            Self::Source(table) => {
                let table = scene.tables.get(table);
                let key = table.key(scene.source?.ip().into())?;
                Some(Place::Keyed(table, key))
            }
            Self::Slot(slot, None) => Some(Place::Held(scene.tracked[slot]?)),
            Self::Slot(slot, Some(other)) => {
                let table = scene.tables.get(other);
                let key = table.adopt(&scene.tracked[slot]?.key());
                Some(Place::KeyedIfThere(table, key))
            }
        }
    }
}

impl Fetch for Counter {
    fn kind(&self) -> Kind {
        match self.operation {
            Operation::Tracked => Kind::Bool,
            _ => Kind::Int,
        }
    }

    fn needs(&self) -> Needs {
        Needs::CONNECTION
    }

    fn look<'a>(&self, scene: &Scene<'a>) -> Sample<'a> {
        let place = self.subject.place(scene);
        if self.operation == Operation::Tracked {
            let there = place.and_then(|place| place.inspect(scene, |_| ()));
            return Sample::Is(Value::Bool(there.is_some()));
        }
        let Some(place) = place else {
            return Sample::Absent;
        };
        // Of no entry: 0. Of what an entry does not store: nothing.
        let value = match self.operation {
            Operation::Read(column) => place.inspect(scene, |entry| entry.get(column)),
            Operation::ReadKilo(column) => {
                place.inspect(scene, |entry| entry.get(column).map(|bytes| bytes >> 10))
            }
            Operation::Increment(counter) => {
                place.update(scene, |entry| entry.increment(counter).or(Some(0)))
            }
            Operation::Clear(column) => place.update(scene, |entry| {
                let value = entry.get(column);
                entry.set(column, 0);
                value
            }),
            // No value where there was no room for the entry.
            Operation::UpdateConnCnt => place
                .update(scene, |entry| entry.add(Column::ConnCnt, 1))
                .or(Some(None)),
            Operation::Tracked | Operation::Trackers => {
                place.inspect(scene, |entry| Some(entry.uses().into()))
            }
        };
        value.unwrap_or(Some(0)).map_or(Sample::Absent, number)
    }
}

fn number<'a>(value: u64) -> Sample<'a> {
    Sample::Is(Value::Int(i64::try_from(value).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests;
