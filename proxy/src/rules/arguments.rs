//! What stands between the brackets of a fetch or a converter.

use std::ops::RangeInclusive;
use std::str::FromStr;

use super::fetch::Call;
use super::names::Names;
use super::sample::Value;
use super::scene::Scene;
use super::vars::VarId;
use crate::config::diagnostic::Fault;

impl Call<'_> {
    /// Checks how many arguments there are.
    pub(super) fn count(&self, allowed: RangeInclusive<usize>) -> Result<(), Fault> {
        let got = self.arguments.len();
        if allowed.contains(&got) {
            return Ok(());
        }
        let (least, most) = allowed.into_inner();
        let wanted = match (least, most) {
            (0, 0) => "no argument".to_owned(),
            (1, 1) => "one argument".to_owned(),
            (least, most) if least == most => format!("{least} arguments"),
            (least, most) => format!("{least} to {most} arguments"),
        };
        Err(self
            .word
            .fault(format!("'{}' expects {wanted}, got {got}.", self.name)))
    }

    /// A fault about an argument; `index` counts from 0.
    pub(super) fn refuse(&self, index: usize, why: impl std::fmt::Display) -> Fault {
        let text = self.arguments.get(index).map_or("", String::as_str);
        self.word.fault(format!(
            "invalid arg {} in '{}': '{text}' {why}.",
            index + 1,
            self.name
        ))
    }

    /// An argument that may be left out or empty.
    pub(super) fn text(&self, index: usize) -> Option<&str> {
        self.arguments
            .get(index)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    }

    /// An argument that may be left out or empty, as whatever text can be read as; `what` it should
    /// be.
    pub(super) fn parsed<T: FromStr>(&self, index: usize, what: &str) -> Result<Option<T>, Fault> {
        self.text(index)
            .map(|text| {
                text.parse()
                    .map_err(|_| self.refuse(index, format_args!("is not {what}")))
            })
            .transpose()
    }

    /// A number that must be there.
    pub(super) fn number(&self, index: usize) -> Result<i64, Fault> {
        self.parsed(index, "an integer")?
            .ok_or_else(|| self.refuse(index, "is not an integer"))
    }

    /// The name of a variable that must be there.
    pub(super) fn variable(&self, index: usize, names: &Names<'_>) -> Result<VarId, Fault> {
        let name = self.arguments.get(index).map_or("", String::as_str);
        names.vars.id(name).ok_or_else(|| {
            self.refuse(
                index,
                "is not a variable: its name begins with 'proc.', 'sess.', 'txn.', 'req.' or \
                 'res.', and goes on with letters, digits, '_' and '.'",
            )
        })
    }

    /// A number, or the name of a variable that will hold one.
    pub(super) fn operand(&self, index: usize, names: &Names<'_>) -> Result<Operand, Fault> {
        let text = self.arguments.get(index).map_or("", String::as_str);
        if text.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return self.variable(index, names).map(Operand::Variable);
        }
        self.number(index).map(Operand::Number)
    }
}

/// A number that is written down or kept in a variable.
#[derive(Debug, Clone, Copy)]
pub(super) enum Operand {
    /// Written down.
    Number(i64),
    /// In this variable.
    Variable(VarId),
}

impl Operand {
    /// The number; `None`: the variable holds none.
    pub(super) fn get(self, scene: &Scene<'_>) -> Option<i64> {
        match self {
            Self::Number(number) => Some(number),
            Self::Variable(id) => scene
                .vars
                .look(id, |value| value.and_then(super::cast::integer)),
        }
    }
}

/// A variable's value, copied to the evaluation's memory: the variable may change while
/// the value is still looked at.
pub(super) fn variable<'a>(id: VarId, scene: &Scene<'a>) -> Option<Value<'a>> {
    scene.vars.look(id, |value| {
        Some(match value? {
            Value::Str(text) => Value::Str(scene.arena.alloc_slice_copy(text)),
            Value::Bin(bytes) => Value::Bin(scene.arena.alloc_slice_copy(bytes)),
            Value::Bool(is) => Value::Bool(is),
            Value::Int(number) => Value::Int(number),
            Value::Ipv4(address) => Value::Ipv4(address),
            Value::Ipv6(address) => Value::Ipv6(address),
        })
    })
}
