//! Stick tables: `show table`, `clear table`, `set table`.

use std::fmt::Write as _;
use std::sync::Arc;

use super::{Answer, Words};
use crate::rules::sample::{Kind, Value};
use crate::rules::scene::Millis;
use crate::rules::table::{Column, Key, Periods, Removal, Row, Table};
use crate::worker::Shared;

/// A command about stick tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// `show table`: a line for each.
    List,
    /// Something with one table.
    On(String, What),
}

/// What is done with a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Show(Which),
    Clear(Which),
    Set {
        key: String,
        data: Vec<(Column, i64)>,
    },
}

/// Which entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Which {
    All,
    Key(String),
    /// Those for which all of these hold.
    Data(Vec<Filter>),
}

/// A condition about what an entry stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Filter {
    column: Column,
    is: Compare,
    than: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    Eq,
    Ne,
    Le,
    Ge,
    Lt,
    Gt,
}

type Parsed = Result<super::Command, Answer>;

/// Most conditions of one command.
const MOST_FILTERS: usize = 4;

fn on(words: &Words, what: What) -> Parsed {
    let name = words.get(2).to_owned();
    Ok(super::Command::Tables(Command::On(name, what)))
}

pub(super) fn show(words: &Words) -> Parsed {
    if words.get(2).is_empty() {
        return Ok(super::Command::Tables(Command::List));
    }
    let which = which(words)?.ok_or_else(|| {
        Answer::error(
            "Optional argument only supports \"data.<store_data_type>\" <operator> <value> and key <key>\n",
        )
    })?;
    on(words, What::Show(which))
}

pub(super) fn clear(words: &Words) -> Parsed {
    let usage = || {
        Answer::error(
            "Required arguments: <table> \"data.<store_data_type>\" <operator> <value> or <table> key <key>\n",
        )
    };
    if words.get(2).is_empty() {
        return Err(usage());
    }
    let which = which(words)?.ok_or_else(usage)?;
    on(words, What::Clear(which))
}

pub(super) fn set(words: &Words) -> Parsed {
    if words.get(3).starts_with("data.") {
        return Err(Answer::error(
            "content-based lookup is only supported with the \"show\" and \"clear\" actions\n",
        ));
    }
    if words.get(2).is_empty() || words.get(3) != "key" {
        return Err(Answer::error(
            "Required arguments: <table> key <key> [data.<store_data_type> <value>]*\n",
        ));
    }
    let key = key(words)?;
    let mut data = Vec::new();
    for pair in words.from(5).chunks(2) {
        let name = pair[0]
            .strip_prefix("data.")
            .ok_or_else(|| Answer::error("\"data.<type>\" followed by a value expected\n"))?;
        let column = Column::by_name(name).ok_or_else(|| Answer::error("Unknown data type\n"))?;
        let value = pair
            .get(1)
            .and_then(|value| value.parse().ok())
            .ok_or_else(|| Answer::error("Require a valid integer value to store\n"))?;
        data.push((column, value));
    }
    on(words, What::Set { key, data })
}

fn key(words: &Words) -> Result<String, Answer> {
    match words.get(4) {
        "" => Err(Answer::error("Key value expected\n")),
        key => Ok(key.to_owned()),
    }
}

/// Which entries a command is about; `None`: it does not say it as it should.
fn which(words: &Words) -> Result<Option<Which>, Answer> {
    Ok(Some(match words.get(3) {
        "" => Which::All,
        "key" => Which::Key(key(words)?),
        word if word.starts_with("data.") => Which::Data(filters(words)?),
        _ => return Ok(None),
    }))
}

fn filters(words: &Words) -> Result<Vec<Filter>, Answer> {
    let mut filters = Vec::new();
    let triples = words.from(3).chunks(3);
    for (at, triple) in triples.enumerate() {
        let number = at + 1;
        let Some(name) = triple[0]
            .strip_prefix("data.")
            .filter(|_| at < MOST_FILTERS)
        else {
            let place = 3 + at * 3;
            return Err(Answer::error(format!(
                "Detected extra data in filter, {}{} word of input, after '{}'\n",
                place + 1,
                ordinal(place + 1),
                words.get(place - 1)
            )));
        };
        let column = Column::by_name(name)
            .ok_or_else(|| Answer::error(format!("Filter entry #{number}: Unknown data type\n")))?;
        let is = triple.get(1).and_then(|word| Compare::of(word)).ok_or_else(|| {
            Answer::error(format!(
                "Filter entry #{number}: Require and operator among \"eq\", \"ne\", \"le\", \"ge\", \"lt\", \"gt\"\n"
            ))
        })?;
        let than = triple
            .get(2)
            .and_then(|word| word.parse().ok())
            .ok_or_else(|| {
                Answer::error(format!(
                    "Filter entry #{number}: Require a valid integer value to compare against\n"
                ))
            })?;
        filters.push(Filter { column, is, than });
    }
    Ok(filters)
}

fn ordinal(number: usize) -> &'static str {
    match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    }
}

impl Compare {
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "eq" => Self::Eq,
            "ne" => Self::Ne,
            "le" => Self::Le,
            "ge" => Self::Ge,
            "lt" => Self::Lt,
            "gt" => Self::Gt,
            _ => return None,
        })
    }
}

impl Filter {
    fn holds(&self, row: &Row) -> bool {
        let Some(value) = row.get(self.column) else {
            return false;
        };
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        match self.is {
            Compare::Eq => value == self.than,
            Compare::Ne => value != self.than,
            Compare::Le => value <= self.than,
            Compare::Ge => value >= self.than,
            Compare::Lt => value < self.than,
            Compare::Gt => value > self.than,
        }
    }
}

impl Command {
    pub(super) fn run(self, shared: &Shared) -> Answer {
        let now = shared.clock.now();
        let (name, what) = match self {
            Self::List => {
                // The last one first, as HAProxy lists them.
                let mut tables: Vec<_> = shared.tables.iter().collect();
                tables.reverse();
                return Answer::Dump(tables.iter().map(|table| head(table, now)).collect());
            }
            Self::On(name, what) => (name, what),
        };
        let mut tables = shared.tables.iter();
        let Some(table) = tables.find(|table| *table.settings().name == *name) else {
            return Answer::error("No such table\n");
        };
        match what {
            What::Show(which) => show_entries(table, which, now),
            What::Clear(which) => clear_entries(table, which, now),
            What::Set { key, data } => set_entry(table, &key, &data, now),
        }
    }
}

/// The line that stands above a table's entries.
fn head(table: &Table, now: Millis) -> String {
    let settings = table.settings();
    let kind = match settings.kind {
        Kind::Ipv4 => "ip",
        Kind::Ipv6 | Kind::Address => "ipv6",
        Kind::Int | Kind::Bool => "integer",
        Kind::Str => "string",
        Kind::Bin => "binary",
    };
    format!(
        "# table: {}, type: {kind}, size:{}, used:{}\n",
        settings.name,
        settings.size,
        table.used(now)
    )
}

fn line(number: usize, key: &Key, row: &Row, periods: &Periods) -> String {
    let mut text = format!(
        "{number:#x}: key={key} use={} exp={}",
        row.uses,
        row.expires_in.unwrap_or(0)
    );
    for column in Column::ALL {
        let Some(value) = row.get(column) else {
            continue;
        };
        // Writing to a text cannot fail.
        let _ = match periods.of(column) {
            Some(period) => write!(text, " {}({})={value}", column.name(), period.as_millis()),
            None => write!(text, " {}={value}", column.name()),
        };
    }
    text.push('\n');
    text
}

fn show_entries(table: &Arc<Table>, which: Which, now: Millis) -> Answer {
    let filters = match which {
        Which::All => Vec::new(),
        Which::Data(filters) => filters,
        Which::Key(key) => {
            let Some(key) = table.key(Value::Str(key.as_bytes())) else {
                return Answer::Done;
            };
            let Some(row) = table.lookup(&key, now) else {
                return Answer::Done;
            };
            let periods = &table.settings().periods;
            return Answer::Dump(head(table, now) + &line(1, &key, &row, periods));
        }
    };
    if let Some(answer) = not_stored(table, filters.iter().map(|filter| filter.column)) {
        return answer;
    }
    let head = head(table, now);
    let table = Arc::clone(table);
    let mut number = 0;
    // A shard at a time: tables may be large, and clients slow.
    let shards = (0..).map_while(move |shard| {
        let entries = table.batch(shard, now)?;
        let mut text = String::new();
        for (key, row) in &entries {
            if filters.iter().all(|filter| filter.holds(row)) {
                number += 1;
                text.push_str(&line(number, key, row, &table.settings().periods));
            }
        }
        Some(text)
    });
    Answer::Pieces(Box::new(std::iter::once(head).chain(shards)))
}

/// What is said of columns that a table does not have.
fn not_stored(table: &Table, columns: impl Iterator<Item = Column>) -> Option<Answer> {
    let stores = table.settings().stores;
    let missing = columns
        .enumerate()
        .find(|(_, column)| !stores.contains(column.store()));
    missing.map(|(at, _)| {
        Answer::error(format!(
            "Filter entry #{}: Data type not stored in this table\n",
            at + 1
        ))
    })
}

fn clear_entries(table: &Table, which: Which, now: Millis) -> Answer {
    match which {
        Which::All => table.clear(now, |_| true),
        Which::Data(filters) => {
            if let Some(answer) = not_stored(table, filters.iter().map(|filter| filter.column)) {
                return answer;
            }
            table.clear(now, |row| filters.iter().all(|filter| filter.holds(row)));
        }
        Which::Key(key) => {
            let key = table.key(Value::Str(key.as_bytes()));
            if key.is_some_and(|key| table.remove(&key, now) == Removal::InUse) {
                return Answer::error("Entry currently in use, cannot remove\n");
            }
        }
    }
    Answer::Done
}

fn set_entry(table: &Table, key: &str, data: &[(Column, i64)], now: Millis) -> Answer {
    let stores = table.settings().stores;
    if !data
        .iter()
        .all(|(column, _)| stores.contains(column.store()))
    {
        return Answer::error("Data type not stored in this table\n");
    }
    // As in HAProxy, a key that is none of the table's kind is passed over in silence.
    if let Some(key) = table.key(Value::Str(key.as_bytes())) {
        let set = table.update(&key, now, |entry| {
            for (column, value) in data {
                entry.set(*column, value.cast_unsigned());
            }
        });
        if set.is_none() {
            return Answer::error("Unable to allocate a new entry\n");
        }
    }
    Answer::Done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        let words = Words::of(line.as_bytes(), None);
        let parsed = match words.get(0) {
            "set" => set(&words),
            "clear" => clear(&words),
            _ => show(&words),
        };
        match parsed {
            Ok(super::super::Command::Tables(command)) => Ok(command),
            Err(Answer::Said(_, text)) => Err(text),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn commands() {
        assert_eq!(parse("show table"), Ok(Command::List));
        let on = |what| Ok(Command::On("t".into(), what));
        assert_eq!(parse("show table t"), on(What::Show(Which::All)));
        assert_eq!(
            parse("clear table t key a"),
            on(What::Clear(Which::Key("a".into())))
        );
        let filter = |column, is, than| Filter { column, is, than };
        assert_eq!(
            parse("show table t data.gpc0 gt 1 data.conn_cnt ne -7"),
            on(What::Show(Which::Data(vec![
                filter(Column::Gpc0, Compare::Gt, 1),
                filter(Column::ConnCnt, Compare::Ne, -7)
            ])))
        );
        assert_eq!(
            parse("set table t key a data.gpc0 5 data.gpt0 6"),
            on(What::Set {
                key: "a".into(),
                data: vec![(Column::Gpc0, 5), (Column::Gpt0, 6)]
            })
        );
    }

    #[test]
    fn errors_are_haproxys() {
        let table = [
            ("show table t x", "Optional argument only supports \"data."),
            ("show table t key", "Key value expected\n"),
            (
                "show table t data.x eq 1",
                "Filter entry #1: Unknown data type\n",
            ),
            (
                "show table t data.gpc0 xx 1",
                "Filter entry #1: Require and operator among",
            ),
            (
                "show table t data.gpc0",
                "Filter entry #1: Require and operator among",
            ),
            (
                "show table t data.gpc0 eq 1 data.gpc0 eq x",
                "Filter entry #2: Require a valid integer value to compare against\n",
            ),
            (
                "show table t data.gpc0 gt 1 data.gpc0 gt 1 data.gpc0 gt 1 data.gpc0 gt 1 data.gpc0 gt 1",
                "Detected extra data in filter, 16th word of input, after '1'\n",
            ),
            ("clear table", "Required arguments: <table> \"data."),
            ("clear table t x", "Required arguments: <table> \"data."),
            ("set table", "Required arguments: <table> key <key>"),
            ("set table t key", "Key value expected\n"),
            (
                "set table t data.gpc0 3",
                "content-based lookup is only supported",
            ),
            (
                "set table t key a b",
                "\"data.<type>\" followed by a value expected\n",
            ),
            ("set table t key a data.x 3", "Unknown data type\n"),
            (
                "set table t key a data.gpc0",
                "Require a valid integer value to store\n",
            ),
            (
                "set table t key a data.gpc0 5x",
                "Require a valid integer value to store\n",
            ),
        ];
        for (line, expected) in table {
            let error = parse(line).unwrap_err();
            assert!(error.starts_with(expected), "{line}: {error}");
        }
    }
}
