//! Converters that look a value up in a file.

use std::net::IpAddr;
use std::path::Path;

use super::{Answer, Convert, answer};
use crate::config::diagnostic::Fault;
use crate::rules::fetch::Call;
use crate::rules::names::Names;
use crate::rules::pattern::{List, Matcher, Method, Reading, pairs};
use crate::rules::sample::{Kind, Value};
use crate::rules::scene::Scene;

/// What a line gives.
#[derive(Debug, Clone)]
enum Meaning {
    Str(Box<[u8]>),
    Int(i64),
    Address(IpAddr),
}

impl Meaning {
    fn parse(text: &[u8], kind: Kind) -> Option<Self> {
        let plain = || std::str::from_utf8(text).ok();
        match kind {
            Kind::Int => plain()?.parse().ok().map(Self::Int),
            Kind::Address => plain()?.parse().ok().map(Self::Address),
            _ => Some(Self::Str(text.into())),
        }
    }

    fn value<'a>(&self, scene: &Scene<'a>) -> Value<'a> {
        match self {
            Self::Str(text) => Value::Str(scene.arena.alloc_slice_copy(text)),
            Self::Int(number) => Value::Int(*number),
            Self::Address(address) => Value::from(*address),
        }
    }
}

/// `map_<method>_<type>`
#[derive(Debug)]
struct Map {
    matcher: Matcher,
    /// By the pattern's place.
    meanings: Vec<Meaning>,
    default: Option<Meaning>,
    output: Kind,
}

pub(super) fn compile(call: Call<'_>, names: &Names<'_>) -> Answer {
    let rest = call.name.strip_prefix("map")?;
    let rest = rest
        .strip_prefix('_')
        .or(rest.is_empty().then_some("str"))?;
    let (method, output) = match rest.split_once('_') {
        Some((method, "str")) => (method, Kind::Str),
        Some((method, "int")) => (method, Kind::Int),
        Some((method, "ip")) => (method, Kind::Address),
        Some(_) => return None,
        None => (rest, Kind::Str),
    };
    let method = Method::parse(method).filter(|method| {
        !matches!(
            method,
            Method::Found | Method::Bool | Method::Bin | Method::Len
        )
    })?;
    answer(map(call, method, output, names))
}

fn map(call: Call<'_>, method: Method, output: Kind, names: &Names<'_>) -> Result<Map, Fault> {
    call.count(1..=2)?;
    let path = &call.arguments[0];
    let content = names
        .files
        .read(Path::new(path))
        .map_err(|why| call.refuse(0, format_args!("cannot be read: {why}")))?;
    let mut list = List::new(method);
    let mut meanings = Vec::new();
    for (number, key, text) in pairs(&content) {
        let at = |why: String| call.refuse(0, format_args!("line {number}: {why}"));
        list.add(key, Reading::default()).map_err(at)?;
        let meaning = Meaning::parse(text, output).ok_or_else(|| {
            at(format!(
                "'{}' is not {output}",
                String::from_utf8_lossy(text)
            ))
        })?;
        meanings.push(meaning);
    }
    let default = call
        .text(1)
        .map(|text| {
            Meaning::parse(text.as_bytes(), output)
                .ok_or_else(|| call.refuse(1, format_args!("is not {output}")))
        })
        .transpose()?;
    Ok(Map {
        matcher: list.compile().map_err(|why| call.refuse(0, why))?,
        meanings,
        default,
        output,
    })
}

impl Convert for Map {
    fn input(&self) -> Kind {
        match self.matcher.method() {
            Method::Int => Kind::Int,
            Method::Ip => Kind::Address,
            _ => Kind::Str,
        }
    }

    fn output(&self) -> Kind {
        self.output
    }

    fn convert<'a>(&self, value: Value<'a>, scene: &Scene<'a>) -> Option<Value<'a>> {
        self.matcher
            .find(value, scene.arena)
            .and_then(|index| self.meanings.get(index))
            .or(self.default.as_ref())
            .map(|meaning| meaning.value(scene))
    }
}
