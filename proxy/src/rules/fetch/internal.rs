//! Fetches of constants, variables, the time and chance.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::HEXLOWER_PERMISSIVE;

use super::{Call, Fetch};
use crate::config::diagnostic::Fault;
use crate::rules::arguments;
use crate::rules::names::Names;
use crate::rules::sample::{Kind, Sample, Value};
use crate::rules::scene::{Needs, Scene};
use crate::rules::vars::VarId;

/// The names of this family.
pub(super) const NAMES: &[&str] = &[
    "always_true",
    "always_false",
    "bool",
    "int",
    "str",
    "bin",
    "ipv4",
    "ipv6",
    "rand",
    "date",
    "wait_end",
    "var",
    "env",
];

/// Compiles a call of this family.
pub(super) fn compile(call: Call<'_>, names: &Names<'_>) -> Option<Result<Box<dyn Fetch>, Fault>> {
    Some(match call.name {
        "always_true" => call
            .count(0..=0)
            .map(|()| boxed(Constant::Plain(Value::Bool(true)))),
        "always_false" => call
            .count(0..=0)
            .map(|()| boxed(Constant::Plain(Value::Bool(false)))),
        "bool" | "int" | "str" | "bin" | "ipv4" | "ipv6" => constant(call).map(boxed),
        "env" => environment(call).map(boxed),
        "rand" => chance(call).map(boxed),
        "date" => date(call).map(boxed),
        "wait_end" => call.count(0..=0).map(|()| boxed(WaitEnd)),
        "var" => variable(call, names).map(boxed),
        _ => return None,
    })
}

fn boxed(fetch: impl Fetch + 'static) -> Box<dyn Fetch> {
    Box::new(fetch)
}

#[derive(Debug)]
enum Constant {
    Plain(Value<'static>),
    Str(Box<[u8]>),
    Bin(Box<[u8]>),
    /// Text that is not there.
    Nothing,
}

fn constant(call: Call<'_>) -> Result<Constant, Fault> {
    if call.name == "str" && call.arguments.is_empty() {
        return Ok(Constant::Str(Box::default()));
    }
    call.count(1..=1)?;
    let text = &call.arguments[0];
    Ok(match call.name {
        "str" => Constant::Str(text.as_bytes().into()),
        "int" => Constant::Plain(Value::Int(call.number(0)?)),
        "bin" => Constant::Bin(
            HEXLOWER_PERMISSIVE
                .decode(text.as_bytes())
                .map_err(|_| call.refuse(0, "is not made of pairs of hex digits"))?
                .into(),
        ),
        "ipv4" => {
            let address: Option<Ipv4Addr> = call.parsed(0, "an IPv4 address")?;
            let address = address.ok_or_else(|| call.refuse(0, "is not an IPv4 address"))?;
            Constant::Plain(Value::Ipv4(address))
        }
        "ipv6" => {
            let address: Option<Ipv6Addr> = call.parsed(0, "an IPv6 address")?;
            let address = address.ok_or_else(|| call.refuse(0, "is not an IPv6 address"))?;
            Constant::Plain(Value::Ipv6(address))
        }
        _ => match text.as_str() {
            "true" | "1" => Constant::Plain(Value::Bool(true)),
            "false" | "0" => Constant::Plain(Value::Bool(false)),
            _ => return Err(call.refuse(0, "is not one of 'true', 'false', '0', '1'")),
        },
    })
}

/// An environment variable's value when the rule was compiled.
fn environment(call: Call<'_>) -> Result<Constant, Fault> {
    call.count(1..=1)?;
    let value = std::env::var_os(&call.arguments[0]);
    Ok(value.map_or(Constant::Nothing, |value| {
        Constant::Str(value.into_encoded_bytes().into())
    }))
}

impl Fetch for Constant {
    fn kind(&self) -> Kind {
        match self {
            Self::Plain(Value::Bool(_)) => Kind::Bool,
            Self::Plain(Value::Int(_)) => Kind::Int,
            Self::Plain(Value::Ipv4(_)) => Kind::Ipv4,
            Self::Plain(Value::Ipv6(_)) => Kind::Ipv6,
            Self::Plain(Value::Str(_)) | Self::Str(_) | Self::Nothing => Kind::Str,
            Self::Plain(Value::Bin(_)) | Self::Bin(_) => Kind::Bin,
        }
    }

    fn needs(&self) -> Needs {
        Needs::empty()
    }

    fn look<'a>(&self, scene: &Scene<'a>) -> Sample<'a> {
        Sample::Is(match self {
            Self::Plain(value) => *value,
            Self::Str(text) => Value::Str(scene.arena.alloc_slice_copy(text)),
            Self::Bin(bytes) => Value::Bin(scene.arena.alloc_slice_copy(bytes)),
            Self::Nothing => return Sample::Absent,
        })
    }
}

/// `rand`: an integer below a bound.
#[derive(Debug)]
struct Chance {
    /// `None`: any of 32 bits.
    range: Option<u32>,
    /// Tells one use from another within an evaluation.
    salt: u64,
}

fn chance(call: Call<'_>) -> Result<Chance, Fault> {
    call.count(0..=1)?;
    let range: Option<u32> = call.parsed(0, "a number from 0 to 4294967295")?;
    let position = &call.word.position;
    Ok(Chance {
        range: range.filter(|range| *range > 0),
        salt: u64::from(position.line) << 32 | u64::from(position.column),
    })
}

impl Fetch for Chance {
    fn kind(&self) -> Kind {
        Kind::Int
    }

    fn needs(&self) -> Needs {
        Needs::empty()
    }

    fn look<'a>(&self, scene: &Scene<'a>) -> Sample<'a> {
        // The finishing steps of splitmix64 spread the evaluation's number over all bits.
        let mut mixed = scene.random ^ self.salt.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let chance = (mixed ^ (mixed >> 31)) >> 32;
        let scaled = match self.range {
            None => chance,
            Some(range) => (chance * u64::from(range)) >> 32,
        };
        Sample::Is(Value::Int(scaled.cast_signed()))
    }
}

/// `date`: time since 1970.
#[derive(Debug)]
struct Date {
    /// In the unit.
    offset: i64,
    /// Units in a second.
    per_second: i64,
}

fn date(call: Call<'_>) -> Result<Date, Fault> {
    call.count(0..=2)?;
    let per_second = match call.text(1) {
        None | Some("s") => 1,
        Some("ms") => 1000,
        Some("us") => 1_000_000,
        Some(_) => return Err(call.refuse(1, "is not one of 's', 'ms', 'us'")),
    };
    let offset = call.parsed::<i64>(0, "an integer")?.unwrap_or(0);
    Ok(Date { offset, per_second })
}

impl Fetch for Date {
    fn kind(&self) -> Kind {
        Kind::Int
    }

    fn needs(&self) -> Needs {
        Needs::empty()
    }

    fn look<'a>(&self, _: &Scene<'a>) -> Sample<'a> {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let micros = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        let units = micros / (1_000_000 / self.per_second);
        Sample::Is(Value::Int(units.saturating_add(self.offset)))
    }
}

/// `wait_end`: true once nothing more is waited for.
#[derive(Debug)]
struct WaitEnd;

impl Fetch for WaitEnd {
    fn kind(&self) -> Kind {
        Kind::Bool
    }

    fn needs(&self) -> Needs {
        Needs::empty()
    }

    fn look<'a>(&self, scene: &Scene<'a>) -> Sample<'a> {
        if scene.last_look {
            Sample::Is(Value::Bool(true))
        } else {
            Sample::NotYet
        }
    }
}

#[derive(Debug)]
struct Variable {
    id: VarId,
    default: Option<Box<[u8]>>,
}

fn variable(call: Call<'_>, names: &Names<'_>) -> Result<Variable, Fault> {
    call.count(1..=2)?;
    Ok(Variable {
        id: call.variable(0, names)?,
        default: call.arguments.get(1).map(|text| text.as_bytes().into()),
    })
}

impl Fetch for Variable {
    // Text can be cast to anything, as far as is known before there is a value.
    fn kind(&self) -> Kind {
        Kind::Str
    }

    fn needs(&self) -> Needs {
        Needs::empty()
    }

    fn look<'a>(&self, scene: &Scene<'a>) -> Sample<'a> {
        arguments::variable(self.id, scene)
            .or_else(|| {
                let default = self.default.as_ref()?;
                Some(Value::Str(scene.arena.alloc_slice_copy(default)))
            })
            .map_or(Sample::Absent, Sample::Is)
    }
}
