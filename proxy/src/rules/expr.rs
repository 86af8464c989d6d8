//! Sample expressions: a fetch and the converters after it.

use super::cast;
use super::convert::{self, Convert};
use super::fetch::{self, Call, Fetch};
use super::known;
use super::names::Names;
use super::sample::{Kind, Sample};
use super::scene::{Needs, Scene};
use crate::config::diagnostic::Fault;
use crate::config::lexer::Word;

/// A compiled expression.
#[derive(Debug)]
pub struct Expr {
    fetch: Box<dyn Fetch>,
    converters: Vec<Box<dyn Convert>>,
    kind: Kind,
    name: Box<str>,
}

impl Expr {
    /// Compiles `fetch(args),converter(args),…`.
    ///
    /// # Errors
    /// An unknown name, a wrong argument, a type that does not fit; names the word.
    pub fn compile(word: &Word, names: &Names<'_>) -> Result<Self, Fault> {
        let calls = split(word)?;
        let [first, rest @ ..] = calls.as_slice() else {
            return Err(word.fault("missing fetch method."));
        };
        let fetch = fetch::compile(first.call(word), names)
            .unwrap_or_else(|| Err(known::refuse_fetch(&first.name, word)))?;
        let mut kind = fetch.kind();
        let mut converters = Vec::with_capacity(rest.len());
        for written in rest {
            let converter = convert::compile(written.call(word), kind, names)
                .unwrap_or_else(|| Err(known::refuse_converter(&written.name, word)))?;
            if !cast::is_possible(kind, converter.input()) {
                return Err(word.fault(format!(
                    "converter '{}' cannot be applied to {kind}.",
                    written.name
                )));
            }
            kind = converter.output();
            converters.push(converter);
        }
        Ok(Self {
            fetch,
            converters,
            kind,
            name: first.name.as_str().into(),
        })
    }

    /// The type of its values. A variable counts as text, but its value has the type that it was
    /// set with.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What must be there for it.
    #[must_use]
    pub fn needs(&self) -> Needs {
        self.fetch.needs()
    }

    /// The fetch's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether there is no converter.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.converters.is_empty()
    }

    /// Looks.
    #[must_use]
    pub fn evaluate<'a>(&self, scene: &Scene<'a>) -> Sample<'a> {
        self.converters
            .iter()
            .fold(self.fetch.look(scene), |sample, converter| {
                sample.map(|value| {
                    let value = if converter.takes_any() {
                        value
                    } else {
                        cast::cast(value, converter.input(), scene.arena)?
                    };
                    converter.convert(value, scene)
                })
            })
    }
}

/// One call as it is written.
#[derive(Debug, PartialEq, Eq)]
struct Written {
    name: String,
    arguments: Vec<String>,
}

impl Written {
    fn call<'a>(&'a self, word: &'a Word) -> Call<'a> {
        Call {
            name: &self.name,
            arguments: &self.arguments,
            word,
        }
    }
}

/// Cuts a word into its calls.
fn split(word: &Word) -> Result<Vec<Written>, Fault> {
    let mut rest = word.as_str();
    let mut calls = Vec::new();
    // A comma at the very end is let through, as HAProxy does.
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':')))
            .unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if name.is_empty() {
            let what = if calls.is_empty() {
                "fetch method"
            } else {
                "converter"
            };
            return Err(word.fault(format!("missing {what} before '{after}'.")));
        }
        let (arguments, after) = match after.strip_prefix('(') {
            Some(inside) => split_arguments(inside)
                .ok_or_else(|| word.fault(format!("'{name}': expected ')'.")))?,
            None => (Vec::new(), after),
        };
        calls.push(Written {
            name: name.to_owned(),
            arguments,
        });
        rest = match after.strip_prefix(',') {
            Some(next) => next,
            None if after.is_empty() => after,
            None => {
                return Err(word.fault(format!("missing comma after '{name}', before '{after}'.")));
            }
        };
    }
    Ok(calls)
}

/// The arguments up to the closing bracket, and what follows it; `None`: it is missing.
///
/// Quotes and escapes mean here what they mean in a line, except that `\#`, `\$` and `\xNN` stay
/// as they are, and that variables do not expand.
fn split_arguments(text: &str) -> Option<(Vec<String>, &str)> {
    let mut arguments = Vec::new();
    let mut argument = String::new();
    let mut quote = None;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match (c, quote) {
            ('\'' | '"', None) => quote = Some(c),
            (_, Some(open)) if c == open => quote = None,
            ('\\', None | Some('"')) => {
                let meant = chars.peek().and_then(|&(_, next)| match next {
                    'n' => Some('\n'),
                    'r' => Some('\r'),
                    't' => Some('\t'),
                    '\\' | ' ' | '"' | '\'' => Some(next),
                    _ => None,
                });
                match meant {
                    Some(meant) => {
                        argument.push(meant);
                        chars.next();
                    }
                    None => argument.push('\\'),
                }
            }
            (',', None) => arguments.push(std::mem::take(&mut argument)),
            (')', None) => {
                if !(arguments.is_empty() && at == 0) {
                    arguments.push(argument);
                }
                return Some((arguments, &text[at + 1..]));
            }
            _ => argument.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests;
