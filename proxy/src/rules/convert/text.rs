//! Converters of text.

use std::cmp::Ordering;

use bumpalo::collections::Vec as ArenaVec;

use super::{Answer, Convert, answer};
use crate::config::diagnostic::Fault;
use crate::rules::arguments;
use crate::rules::cast;
use crate::rules::fetch::Call;
use crate::rules::names::Names;
use crate::rules::sample::{Kind, Value};
use crate::rules::scene::Scene;
use crate::rules::vars::VarId;

pub(super) fn compile(call: Call<'_>, names: &Names<'_>) -> Answer {
    Some(match call.name {
        "lower" => call.count(0..=0).map(|()| boxed(Change::Lower)),
        "upper" => call.count(0..=0).map(|()| boxed(Change::Upper)),
        "length" => call.count(0..=0).map(|()| boxed(Length)),
        "cut_crlf" => call.count(0..=0).map(|()| boxed(Change::CutLine)),
        "ltrim" | "rtrim" => trim(call).map(boxed),
        "field" | "word" => part(call).map(boxed),
        "bytes" => bytes(call).map(boxed),
        "concat" => joined(call, false, names).map(boxed),
        "add_item" => joined(call, true, names).map(boxed),
        "strcmp" => return answer(comparison(call, names, false)),
        "secure_memcmp" => return answer(comparison(call, names, true)),
        "iif" => call.count(2..=2).map(|()| {
            boxed(Choice {
                yes: owned(&call.arguments[0]),
                no: owned(&call.arguments[1]),
            })
        }),
        _ => return None,
    })
}

fn boxed(converter: impl Convert + 'static) -> Box<dyn Convert> {
    Box::new(converter)
}

fn owned(text: &str) -> Box<[u8]> {
    text.as_bytes().into()
}

/// The text of a value that was cast to text.
fn text(value: Value<'_>) -> Option<&[u8]> {
    match value {
        Value::Str(text) | Value::Bin(text) => Some(text),
        _ => None,
    }
}

#[derive(Debug)]
enum Change {
    Lower,
    Upper,
    CutLine,
    TrimLeft(Box<[u8]>),
    TrimRight(Box<[u8]>),
}

fn trim(call: Call<'_>) -> Result<Change, Fault> {
    call.count(0..=1)?;
    let characters = owned(call.text(0).unwrap_or_default());
    Ok(if call.name == "ltrim" {
        Change::TrimLeft(characters)
    } else {
        Change::TrimRight(characters)
    })
}

impl Convert for Change {
    fn input(&self) -> Kind {
        Kind::Str
    }

    fn output(&self) -> Kind {
        Kind::Str
    }

    fn convert<'a>(&self, value: Value<'a>, scene: &Scene<'a>) -> Option<Value<'a>> {
        let text = text(value)?;
        Some(Value::Str(match self {
            Self::Lower => {
                let copy = scene.arena.alloc_slice_copy(text);
                copy.make_ascii_lowercase();
                copy
            }
            Self::Upper => {
                let copy = scene.arena.alloc_slice_copy(text);
                copy.make_ascii_uppercase();
                copy
            }
            Self::CutLine => {
                let end = text.iter().position(|b| matches!(b, b'\r' | b'\n'));
                &text[..end.unwrap_or(text.len())]
            }
            Self::TrimLeft(characters) => {
                let start = text.iter().position(|b| !characters.contains(b));
                &text[start.unwrap_or(text.len())..]
            }
            Self::TrimRight(characters) => {
                let last = text.iter().rposition(|b| !characters.contains(b));
                &text[..last.map_or(0, |last| last + 1)]
            }
        }))
    }
}

#[derive(Debug)]
struct Length;

impl Convert for Length {
    fn input(&self) -> Kind {
        Kind::Str
    }

    fn output(&self) -> Kind {
        Kind::Int
    }

    fn convert<'a>(&self, value: Value<'a>, _: &Scene<'a>) -> Option<Value<'a>> {
        i64::try_from(text(value)?.len()).ok().map(Value::Int)
    }
}

/// `field` and `word`: some consecutive parts of a text that delimiters cut. Fields may be empty,
/// words are not.
#[derive(Debug)]
struct Part {
    /// From 1 from the left, from -1 from the right.
    index: i64,
    delimiters: Box<[u8]>,
    /// How many; `None`: up to the end on the other side.
    count: Option<u64>,
    words: bool,
}

fn part(call: Call<'_>) -> Result<Part, Fault> {
    call.count(2..=3)?;
    let index = call.number(0)?;
    if index == 0 {
        return Err(call.refuse(0, "is no index: they count from 1, or from -1 backwards"));
    }
    let count = call.parsed::<u64>(2, "a count")?.unwrap_or(1);
    Ok(Part {
        index,
        delimiters: owned(&call.arguments[1]),
        count: (count > 0).then_some(count),
        words: call.name == "word",
    })
}

impl Part {
    /// Where the chosen parts are in `length` bytes of which `delimiter` says what cuts, counted
    /// from the side where `delimiter(0)` is.
    fn find(&self, length: usize, delimiter: impl Fn(usize) -> bool) -> Option<(usize, usize)> {
        let wanted = self.index.unsigned_abs();
        let mut number = 0_u64;
        let mut start = None;
        let mut inside = false;
        let mut at = 0;
        while at <= length {
            let cut = at == length || delimiter(at);
            // A field begins at the very start, and after each delimiter; a word with a character.
            let begins = !inside && (!self.words || !cut);
            if begins {
                inside = true;
                number += 1;
                if number == wanted {
                    start = Some(at);
                }
            }
            if cut && inside {
                inside = false;
                if let (Some(start), Some(count)) = (start, self.count)
                    && number + 1 == wanted.saturating_add(count)
                {
                    return Some((start, at));
                }
            }
            at += 1;
        }
        start.map(|start| (start, length))
    }
}

impl Convert for Part {
    fn input(&self) -> Kind {
        Kind::Str
    }

    fn output(&self) -> Kind {
        Kind::Str
    }

    fn convert<'a>(&self, value: Value<'a>, _: &Scene<'a>) -> Option<Value<'a>> {
        let text = text(value)?;
        let length = text.len();
        let delimiter = |at: usize| self.delimiters.contains(&text[at]);
        let found = if self.index > 0 {
            self.find(length, delimiter)
        } else {
            self.find(length, |at| delimiter(length - 1 - at))
                .map(|(start, end)| (length - end, length - start))
        };
        match found {
            Some((start, end)) => Some(Value::Str(&text[start..end])),
            None => self.words.then_some(Value::Str(b"")),
        }
    }
}

#[derive(Debug)]
struct Bytes {
    /// `None`: it is negative, and nothing is there.
    offset: Option<usize>,
    length: usize,
}

fn bytes(call: Call<'_>) -> Result<Bytes, Fault> {
    call.count(1..=2)?;
    let length = match call.text(1) {
        None => usize::MAX,
        Some(_) => {
            usize::try_from(call.number(1)?).map_err(|_| call.refuse(1, "is a negative length"))?
        }
    };
    Ok(Bytes {
        offset: usize::try_from(call.number(0)?).ok(),
        length,
    })
}

impl Convert for Bytes {
    fn input(&self) -> Kind {
        Kind::Bin
    }

    fn output(&self) -> Kind {
        Kind::Bin
    }

    fn convert<'a>(&self, value: Value<'a>, _: &Scene<'a>) -> Option<Value<'a>> {
        let bytes = text(value)?;
        let rest = self
            .offset
            .and_then(|offset| bytes.get(offset..))
            .unwrap_or_default();
        Some(Value::Bin(&rest[..self.length.min(rest.len())]))
    }
}

/// `concat` and `add_item`: something constant, a variable, something constant after the value.
#[derive(Debug)]
struct Joined {
    first: Box<[u8]>,
    variable: Option<VarId>,
    last: Box<[u8]>,
    /// The first part is a delimiter, for which there must be something on both sides.
    delimiter: bool,
}

fn joined(call: Call<'_>, delimiter: bool, names: &Names<'_>) -> Result<Joined, Fault> {
    call.count(if delimiter { 2..=3 } else { 0..=3 })?;
    let variable = match call.text(1) {
        Some(_) => Some(call.variable(1, names)?),
        None if delimiter && call.text(2).is_none() => {
            return Err(call.refuse(1, "must be a variable where no suffix follows"));
        }
        None => None,
    };
    Ok(Joined {
        first: owned(call.text(0).unwrap_or_default()),
        variable,
        last: owned(call.text(2).unwrap_or_default()),
        delimiter,
    })
}

impl Convert for Joined {
    fn input(&self) -> Kind {
        Kind::Str
    }

    fn output(&self) -> Kind {
        Kind::Str
    }

    fn convert<'a>(&self, value: Value<'a>, scene: &Scene<'a>) -> Option<Value<'a>> {
        let text = text(value)?;
        let variable = self
            .variable
            .and_then(|id| arguments::variable(id, scene))
            .map(|value| cast::string(value, scene.arena))
            .unwrap_or_default();
        let first = if self.delimiter
            && (text.is_empty() || (variable.is_empty() && self.last.is_empty()))
        {
            &[]
        } else {
            &*self.first
        };
        let mut out = ArenaVec::with_capacity_in(
            text.len() + first.len() + variable.len() + self.last.len(),
            scene.arena,
        );
        for piece in [text, first, variable, &self.last] {
            out.extend_from_slice(piece);
        }
        Some(Value::Str(out.into_bump_slice()))
    }
}

/// `strcmp` and `secure_memcmp`.
#[derive(Debug)]
struct Comparison {
    variable: VarId,
    secure: bool,
}

fn comparison(call: Call<'_>, names: &Names<'_>, secure: bool) -> Result<Comparison, Fault> {
    call.count(1..=1)?;
    Ok(Comparison {
        variable: call.variable(0, names)?,
        secure,
    })
}

impl Convert for Comparison {
    fn input(&self) -> Kind {
        if self.secure { Kind::Bin } else { Kind::Str }
    }

    fn output(&self) -> Kind {
        if self.secure { Kind::Bool } else { Kind::Int }
    }

    fn convert<'a>(&self, value: Value<'a>, scene: &Scene<'a>) -> Option<Value<'a>> {
        let left = text(value)?;
        let right = text(cast::cast(
            arguments::variable(self.variable, scene)?,
            self.input(),
            scene.arena,
        )?)?;
        if self.secure {
            let same = aws_lc_rs::constant_time::verify_slices_are_equal(left, right).is_ok();
            return Some(Value::Bool(same));
        }
        let different = left.iter().zip(right).find(|(a, b)| a != b);
        Some(Value::Int(match different {
            Some((a, b)) => i64::from(*a) - i64::from(*b),
            None => match left.len().cmp(&right.len()) {
                Ordering::Less => -1,
                Ordering::Equal => 0,
                Ordering::Greater => 1,
            },
        }))
    }
}

/// `iif`
#[derive(Debug)]
struct Choice {
    yes: Box<[u8]>,
    no: Box<[u8]>,
}

impl Convert for Choice {
    fn input(&self) -> Kind {
        Kind::Bool
    }

    fn output(&self) -> Kind {
        Kind::Str
    }

    fn convert<'a>(&self, value: Value<'a>, scene: &Scene<'a>) -> Option<Value<'a>> {
        let chosen = match value {
            Value::Bool(true) => &self.yes,
            Value::Bool(false) => &self.no,
            _ => return None,
        };
        Some(Value::Str(scene.arena.alloc_slice_copy(chosen)))
    }
}
