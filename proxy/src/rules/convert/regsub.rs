//! `regsub`: replaces what a regular expression matches.

use bumpalo::collections::Vec as ArenaVec;
use regex_automata::meta::Regex;
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};

use super::{Answer, Convert, answer};
use crate::config::diagnostic::Fault;
use crate::rules::fetch::Call;
use crate::rules::sample::{Kind, Value};
use crate::rules::scene::Scene;

/// `\0` to `\9` can be named.
const GROUPS: usize = 10;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<[u8]>),
    /// What a group matched; 0: all of it.
    Group(usize),
}

#[derive(Debug)]
struct Replace {
    // The plain interface of the `regex` crate allocates for every search that tells groups.
    regex: Regex,
    with: Vec<Piece>,
    all: bool,
}

pub(super) fn compile(call: Call<'_>) -> Answer {
    match call.name {
        "regsub" => answer(replace(call)),
        _ => None,
    }
}

fn replace(call: Call<'_>) -> Result<Replace, Fault> {
    call.count(2..=3)?;
    let flags = call.text(2).unwrap_or_default();
    if let Some(flag) = flags.chars().find(|c| !matches!(c, 'i' | 'g')) {
        return Err(call.refuse(
            2,
            format_args!("has the flag '{flag}'; there are only 'i' and 'g'"),
        ));
    }
    // Checked first by the front that words its messages.
    crate::rules::pattern::regex(&call.arguments[0], flags.contains('i'))
        .map_err(|why| call.refuse(0, why))?;
    let regex = Regex::builder()
        .syntax(
            syntax::Config::new()
                .unicode(false)
                .utf8(false)
                .case_insensitive(flags.contains('i')),
        )
        .configure(Regex::config().utf8_empty(false))
        .build(&call.arguments[0])
        .map_err(|error| call.refuse(0, error))?;
    Ok(Replace {
        regex,
        with: pieces(call.arguments[1].as_bytes()),
        all: flags.contains('g'),
    })
}

/// A backslash makes a digit a group, `xNN` a byte, and anything else itself.
fn pieces(text: &[u8]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut literal = Vec::new();
    let mut rest = text;
    while let [b, after @ ..] = rest {
        rest = after;
        if *b != b'\\' {
            literal.push(*b);
            continue;
        }
        let digit = |b: &u8| {
            char::from(*b)
                .to_digit(16)
                .and_then(|d| u8::try_from(d).ok())
        };
        match rest {
            [group @ b'0'..=b'9', after @ ..] => {
                if !literal.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut literal).into()));
                }
                pieces.push(Piece::Group(usize::from(group - b'0')));
                rest = after;
            }
            [b'x', high, low, after @ ..] if digit(high).is_some() && digit(low).is_some() => {
                let (high, low) = (digit(high).unwrap_or(0), digit(low).unwrap_or(0));
                literal.push(high << 4 | low);
                rest = after;
            }
            [other, after @ ..] => {
                literal.push(*other);
                rest = after;
            }
            [] => literal.push(b'\\'),
        }
    }
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal.into()));
    }
    pieces
}

impl Convert for Replace {
    fn input(&self) -> Kind {
        Kind::Str
    }

    fn output(&self) -> Kind {
        Kind::Str
    }

    fn convert<'a>(&self, value: Value<'a>, scene: &Scene<'a>) -> Option<Value<'a>> {
        let Value::Str(text) = value else { return None };
        let mut out = ArenaVec::new_in(scene.arena);
        let mut at = 0;
        while at <= text.len() {
            let mut slots: [Option<NonMaxUsize>; 2 * GROUPS] = [None; 2 * GROUPS];
            let input = Input::new(text).range(at..).anchored(Anchored::No);
            if self.regex.search_slots(&input, &mut slots).is_none() {
                break;
            }
            let group = |index: usize| -> Option<&[u8]> {
                let (start, end) = (slots[2 * index]?.get(), slots[2 * index + 1]?.get());
                text.get(start..end)
            };
            let (Some(start), Some(end)) = (slots[0], slots[1]) else {
                break;
            };
            let (start, end) = (start.get(), end.get());
            out.extend_from_slice(&text[at..start]);
            for piece in &self.with {
                match piece {
                    Piece::Text(text) => out.extend_from_slice(text),
                    Piece::Group(index) => {
                        out.extend_from_slice(group(*index).unwrap_or_default());
                    }
                }
            }
            at = end;
            if start == end {
                // A match of nothing: the next one is looked for after the next byte.
                out.extend(text.get(at).copied());
                at += 1;
            }
            if !self.all {
                break;
            }
        }
        out.extend_from_slice(text.get(at..).unwrap_or_default());
        Some(Value::Str(out.into_bump_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacements_are_cut_into_pieces() {
        let text = |text: &str| Piece::Text(text.as_bytes().into());
        assert_eq!(pieces(b"ab"), [text("ab")]);
        assert_eq!(
            pieces(br"<\1\2>\x41\q\\"),
            [text("<"), Piece::Group(1), Piece::Group(2), text(r">Aq\")]
        );
        assert_eq!(pieces(br"\"), [text(r"\")]);
        assert_eq!(pieces(b""), []);
    }
}
