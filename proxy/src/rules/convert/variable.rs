//! Converters that keep a value for later, or forget it.

use std::cmp::Ordering;

use super::{Answer, Convert, answer};
use crate::config::diagnostic::Fault;
use crate::rules::fetch::Call;
use crate::rules::names::Names;
use crate::rules::sample::{Kind, Value};
use crate::rules::scene::Scene;
use crate::rules::vars::VarId;

bitflags::bitflags! {
    /// What must be so for a value to be kept.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Only: u8 {
        const IF_SET = 0x01;
        const IF_NOT_SET = 0x02;
        const IF_EMPTY = 0x04;
        const IF_NOT_EMPTY = 0x08;
        /// The variable is greater than the value.
        const IF_GREATER = 0x10;
        const IF_LESS = 0x20;
    }
}

pub(super) fn compile(call: Call<'_>, input: Kind, names: &Names<'_>) -> Answer {
    match call.name {
        "set-var" => answer(set(call, input, names)),
        "unset-var" => answer(unset(call, input, names)),
        _ => None,
    }
}

#[derive(Debug)]
struct Set {
    variable: VarId,
    only: Only,
    kind: Kind,
}

fn set(call: Call<'_>, kind: Kind, names: &Names<'_>) -> Result<Set, Fault> {
    call.count(1..=5)?;
    let variable = call.variable(0, names)?;
    let mut only = Only::empty();
    for (index, text) in call.arguments.iter().enumerate().skip(1) {
        only |= match text.as_str() {
            "ifset" => Only::IF_SET,
            "ifnotset" => Only::IF_NOT_SET,
            "ifempty" => Only::IF_EMPTY,
            "ifnotempty" => Only::IF_NOT_EMPTY,
            "ifgt" => Only::IF_GREATER,
            "iflt" => Only::IF_LESS,
            "ifexists" | "ifnotexists" => {
                return Err(call.refuse(
                    index,
                    "is known to HAProxy but not available in this version",
                ));
            }
            _ => return Err(call.refuse(index, "is not a condition")),
        };
    }
    Ok(Set {
        variable,
        only,
        kind,
    })
}

impl Only {
    fn allows(self, old: Option<Value<'_>>, new: Value<'_>) -> bool {
        let empty = matches!(new, Value::Str([]) | Value::Bin([]));
        let comparison = match (old, new) {
            (Some(Value::Int(old)), Value::Int(new)) => Some(old.cmp(&new)),
            _ => None,
        };
        let holds = |flag: Self, is: bool| !self.contains(flag) || is;
        holds(Self::IF_SET, old.is_some())
            && holds(Self::IF_NOT_SET, old.is_none())
            && holds(Self::IF_EMPTY, empty)
            && holds(Self::IF_NOT_EMPTY, !empty)
            && holds(Self::IF_GREATER, comparison.is_none_or(Ordering::is_gt))
            && holds(Self::IF_LESS, comparison.is_none_or(Ordering::is_lt))
    }
}

impl Convert for Set {
    fn input(&self) -> Kind {
        self.kind
    }

    fn takes_any(&self) -> bool {
        true
    }

    fn output(&self) -> Kind {
        self.kind
    }

    fn convert<'a>(&self, value: Value<'a>, scene: &Scene<'a>) -> Option<Value<'a>> {
        scene
            .vars
            .set_if(self.variable, value, |old| self.only.allows(old, value));
        Some(value)
    }
}

#[derive(Debug)]
struct Unset {
    variable: VarId,
    kind: Kind,
}

fn unset(call: Call<'_>, kind: Kind, names: &Names<'_>) -> Result<Unset, Fault> {
    call.count(1..=1)?;
    Ok(Unset {
        variable: call.variable(0, names)?,
        kind,
    })
}

impl Convert for Unset {
    fn input(&self) -> Kind {
        self.kind
    }

    fn takes_any(&self) -> bool {
        true
    }

    fn output(&self) -> Kind {
        self.kind
    }

    fn convert<'a>(&self, value: Value<'a>, scene: &Scene<'a>) -> Option<Value<'a>> {
        scene.vars.unset(self.variable);
        Some(value)
    }
}
