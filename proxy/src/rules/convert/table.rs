//! Converters that look a value up in a stick table.
//!
//! There is no result where the value cannot be a key of the table, and 0 where the table has no
//! such entry (of `table_expire` and `table_idle`: what their second argument says, or no result).
//! Looking up does not touch an entry.

use super::Convert;
use crate::config::diagnostic::Fault;
use crate::rules::fetch::Call;
use crate::rules::names::Names;
use crate::rules::sample::{Kind, Value};
use crate::rules::scene::Scene;
use crate::rules::table::{Column, TableId, can_be_key};

/// What is wanted of the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    /// Whether it is there.
    There,
    /// A column's value.
    Read(Column),
    /// A column's value, divided by 1024.
    ReadKilo(Column),
    /// How many streams track it.
    Trackers,
    /// Milliseconds until it expires; maybe another number where there is no entry.
    Expire(Option<i64>),
    /// Milliseconds since it was touched; maybe another number where there is no entry.
    Idle(Option<i64>),
}

/// Compiles a call of this family.
pub(super) fn compile(
    call: Call<'_>,
    input: Kind,
    names: &Names<'_>,
) -> Option<Result<Box<dyn Convert>, Fault>> {
    let question = question(call.name)?;
    Some(lookup(call, question, input, names))
}

/// What a converter of this name asks for; `None`: it is none of this family.
fn question(name: &str) -> Option<Question> {
    Some(match name {
        "in_table" => Question::There,
        "table_kbytes_in" => Question::ReadKilo(Column::BytesInCnt),
        "table_kbytes_out" => Question::ReadKilo(Column::BytesOutCnt),
        "table_trackers" => Question::Trackers,
        "table_expire" => Question::Expire(None),
        "table_idle" => Question::Idle(None),
        _ => match Column::by_name(name.strip_prefix("table_")?)? {
            Column::BytesInCnt | Column::BytesOutCnt => return None,
            column => Question::Read(column),
        },
    })
}

fn lookup(
    call: Call<'_>,
    question: Question,
    input: Kind,
    names: &Names<'_>,
) -> Result<Box<dyn Convert>, Fault> {
    let most = match question {
        Question::Expire(_) | Question::Idle(_) => 2,
        _ => 1,
    };
    if let Some(argument) = call.arguments.get(most) {
        return Err(call.word.fault(format!(
            "converter '{}' : at most {most} argument(s), '{argument}' is one too many.",
            call.name
        )));
    }
    let named = call.arguments.first().map(String::as_str);
    let named = named.filter(|name| !name.is_empty());
    let table = names.table(named, call.word)?;
    let own = named.unwrap_or(names.own);
    if !can_be_key(input, table.kind) {
        return Err(call.word.fault(format!(
            "converter '{}' : a value of type {input:?} can never be a key of stick-table '{own}', \
             whose keys are of type {:?}.",
            call.name, table.kind
        )));
    }
    let question = match (question, call.arguments.get(1)) {
        (Question::Read(column) | Question::ReadKilo(column), _)
            if !table.stores.contains(column.store()) =>
        {
            return Err(call.word.fault(format!(
                "converter '{}' : stick-table '{own}' does not store '{}', so that there would \
                 never be a value.",
                call.name,
                column.name()
            )));
        }
        (Question::Expire(_), Some(number)) => Question::Expire(Some(default(call, number)?)),
        (Question::Idle(_), Some(number)) => Question::Idle(Some(default(call, number)?)),
        (question, _) => question,
    };
    Ok(Box::new(Lookup {
        table: table.id,
        input,
        question,
    }))
}

fn default(call: Call<'_>, number: &str) -> Result<i64, Fault> {
    number.parse().map_err(|_| {
        call.word.fault(format!(
            "converter '{}' : failed to parse '{number}' as type 'integer' at position 2.",
            call.name
        ))
    })
}

/// Looks a value up.
#[derive(Debug)]
struct Lookup {
    table: TableId,
    /// Whatever comes: the table makes its own keys.
    input: Kind,
    question: Question,
}

impl Convert for Lookup {
    fn input(&self) -> Kind {
        self.input
    }

    fn output(&self) -> Kind {
        match self.question {
            Question::There => Kind::Bool,
            _ => Kind::Int,
        }
    }

    fn convert<'a>(&self, value: Value<'a>, scene: &Scene<'a>) -> Option<Value<'a>> {
        let table = scene.tables.get(self.table);
        let key = table.key(value)?;
        let number = table.inspect(&key, scene.now, |entry| {
            Some(match self.question {
                Question::There => 1,
                Question::Read(column) => entry.get(column)?,
                Question::ReadKilo(column) => entry.get(column)? >> 10,
                Question::Trackers => entry.uses().into(),
                Question::Expire(_) => entry.expires_in().unwrap_or(0),
                Question::Idle(_) => entry.idle(),
            })
        });
        if self.question == Question::There {
            return Some(Value::Bool(number.is_some()));
        }
        let number = match (number, self.question) {
            (None, Question::Expire(default) | Question::Idle(default)) => default?,
            (None, _) => 0,
            (Some(number), _) => i64::try_from(number?).unwrap_or(i64::MAX),
        };
        Some(Value::Int(number))
    }
}

#[cfg(test)]
mod tests;
