//! ACLs and the conditions made of them.

pub mod networks;
mod parse;

use std::collections::HashMap;
use std::sync::Arc;

use super::expr::Expr;
use super::names::Names;
use super::pattern::{Matcher, Method};
use super::scene::{Needs, Scene};
use crate::config::diagnostic::Fault;
use crate::config::keywords::nearest;
use crate::config::lexer::Word;

use self::networks::SourceTest;

/// What a condition says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// More input may decide it.
    Unknown,
}

impl Truth {
    fn negated(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Unknown => Self::Unknown,
        }
    }
}

impl From<bool> for Truth {
    fn from(is: bool) -> Self {
        if is { Self::True } else { Self::False }
    }
}

/// One test: an expression and the patterns that its value should match.
#[derive(Debug)]
pub struct Acl {
    expr: Expr,
    matcher: Matcher,
}

impl Acl {
    fn holds(&self, scene: &Scene<'_>) -> Truth {
        let sample = self.expr.evaluate(scene);
        let matches = sample
            .value()
            .is_some_and(|value| self.matcher.matches(value, scene.arena));
        if matches {
            // What matches now is taken, though it may change.
            Truth::True
        } else if sample.may_change() && !scene.last_look {
            Truth::Unknown
        } else {
            Truth::False
        }
    }
}

/// The ACLs of a section, in the order of its lines.
#[derive(Debug, Default)]
pub struct Acls {
    by_name: HashMap<Arc<str>, Vec<Arc<Acl>>>,
}

impl Acls {
    /// Adds `acl <name> <expression> [flags] [patterns]`; `words` are those after `acl`. Several
    /// lines of one name add up.
    ///
    /// # Errors
    /// Whatever is wrong with the line; names the word.
    pub fn add(&mut self, words: &[Word], keyword: &Word, names: &Names<'_>) -> Result<(), Fault> {
        let [name, rest @ ..] = words else {
            return Err(keyword.fault("'acl' expects a name and an expression."));
        };
        let permitted = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
        if let Some(c) = name.as_str().chars().find(|c| !permitted(c)) {
            return Err(name.fault(format!(
                "character '{c}' is not permitted in acl name '{}'.",
                name.as_str()
            )));
        }
        if name.as_str().eq_ignore_ascii_case("or") {
            return Err(name.fault(
                "an acl cannot be named 'or': the word stands for a disjunction in conditions.",
            ));
        }
        let acl = parse::acl(name, rest, names)?;
        self.by_name
            .entry(name.as_str().into())
            .or_default()
            .push(Arc::new(acl));
        Ok(())
    }
}

/// A name in a condition, or what stands in braces.
#[derive(Debug)]
struct Term {
    negated: bool,
    /// Any of them.
    acls: Vec<Arc<Acl>>,
}

impl Term {
    fn holds(&self, scene: &Scene<'_>) -> Truth {
        let mut truth = Truth::False;
        for acl in &self.acls {
            match acl.holds(scene) {
                Truth::True => {
                    truth = Truth::True;
                    break;
                }
                Truth::Unknown => truth = Truth::Unknown,
                Truth::False => {}
            }
        }
        if self.negated { truth.negated() } else { truth }
    }
}

/// A compiled condition: a disjunction of conjunctions.
#[derive(Debug)]
pub struct Condition {
    suites: Vec<Vec<Term>>,
}

/// The ACLs that need no line, and what they say; without a meaning: only HTTP has it.
const PREDEFINED: &[(&str, &[&str])] = &[
    ("TRUE", &["always_true"]),
    ("FALSE", &["always_false"]),
    ("LOCALHOST", &["src", "127.0.0.1/8", "::1"]),
    ("WAIT_END", &["wait_end"]),
    ("REQ_CONTENT", &["req.len", "gt", "0"]),
    ("HTTP", &[]),
    ("HTTP_1.0", &[]),
    ("HTTP_1.1", &[]),
    ("HTTP_2.0", &[]),
    ("HTTP_CONTENT", &[]),
    ("HTTP_URL_ABS", &[]),
    ("HTTP_URL_SLASH", &[]),
    ("HTTP_URL_STAR", &[]),
    ("METH_CONNECT", &[]),
    ("METH_DELETE", &[]),
    ("METH_GET", &[]),
    ("METH_HEAD", &[]),
    ("METH_OPTIONS", &[]),
    ("METH_POST", &[]),
    ("METH_PUT", &[]),
    ("METH_TRACE", &[]),
];

impl Condition {
    /// Compiles what follows `if` or `unless`; `keyword` is that word. `available`: what there is to
    /// look at where the rule stands; `place` names it in messages.
    ///
    /// # Errors
    /// An unknown ACL, an empty condition, a fetch that cannot be used here; names the word.
    pub fn compile(
        keyword: &Word,
        words: &[Word],
        acls: &Acls,
        names: &Names<'_>,
        available: Needs,
        place: &str,
    ) -> Result<Self, Fault> {
        let mut suites: Vec<Vec<Term>> = Vec::new();
        let mut suite = Vec::new();
        let mut negated = false;
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            let name = word.as_str().trim_start_matches('!');
            negated ^= (word.as_str().len() - name.len()) % 2 == 1;
            // An exclamation mark may stand alone.
            if name.is_empty() {
                continue;
            }
            if name == "||" || name.eq_ignore_ascii_case("or") {
                suites.push(std::mem::take(&mut suite));
                negated = false;
                continue;
            }
            let (shown, acls) = if name == "{" {
                let inside = rest.as_slice();
                let end = inside
                    .iter()
                    .position(|word| word.as_str() == "}")
                    .ok_or_else(|| word.fault("missing closing '}' in condition."))?;
                rest = inside[end + 1..].iter();
                let acl = parse::acl(word, &inside[..end], names)?;
                ("{ }", vec![Arc::new(acl)])
            } else {
                (name, find(word, name, acls, names)?)
            };
            for acl in &acls {
                let missing = acl.expr.needs() - available;
                if !missing.is_empty() {
                    return Err(word.fault(format!(
                        "acl '{shown}' uses '{}', which needs {}: not available in {place}.",
                        acl.expr.name(),
                        describe(missing)
                    )));
                }
            }
            suite.push(Term { negated, acls });
            negated = false;
        }
        suites.push(suite);
        suites.retain(|suite| !suite.is_empty());
        if suites.is_empty() {
            return Err(keyword.fault(format!(
                "'{}' expects a condition after it.",
                keyword.as_str()
            )));
        }
        Ok(Self { suites })
    }

    /// Evaluates it. Terms are looked at from the left, and no further than up to what decides.
    #[must_use]
    pub fn holds(&self, scene: &Scene<'_>) -> Truth {
        let mut truth = Truth::False;
        for suite in &self.suites {
            let first_not_true = suite
                .iter()
                .map(|term| term.holds(scene))
                .find(|truth| *truth != Truth::True);
            match first_not_true {
                None => return Truth::True,
                Some(Truth::Unknown) => truth = Truth::Unknown,
                Some(_) => {}
            }
        }
        truth
    }

    /// What must be there for it.
    #[must_use]
    pub fn needs(&self) -> Needs {
        self.acls()
            .fold(Needs::empty(), |needs, acl| needs | acl.expr.needs())
    }

    fn acls(&self) -> impl Iterator<Item = &Acl> {
        self.suites
            .iter()
            .flatten()
            .flat_map(|term| &term.acls)
            .map(Arc::as_ref)
    }

    /// The condition as a test of networks of the source, if it looks at nothing else.
    #[must_use]
    pub fn as_networks(&self) -> Option<SourceTest> {
        SourceTest::of(self)
    }
}

fn find(word: &Word, name: &str, acls: &Acls, names: &Names<'_>) -> Result<Vec<Arc<Acl>>, Fault> {
    if let Some(found) = acls.by_name.get(name) {
        return Ok(found.clone());
    }
    match PREDEFINED
        .iter()
        .find(|(predefined, _)| *predefined == name)
    {
        Some((_, [])) => Err(word.fault(format!(
            "acl '{name}' only makes sense for HTTP; this is a TCP proxy."
        ))),
        Some((_, meaning)) => {
            let words: Vec<Word> = meaning
                .iter()
                .map(|text| Word {
                    text: (*text).to_owned(),
                    position: word.position.clone(),
                })
                .collect();
            Ok(vec![Arc::new(parse::acl(word, &words, names)?)])
        }
        None if name == "RDP_COOKIE" => Err(word.fault(format!(
            "acl '{name}' is known to HAProxy but not available in this version."
        ))),
        None => {
            let known = acls
                .by_name
                .keys()
                .map(AsRef::as_ref)
                .chain(PREDEFINED.iter().map(|(name, _)| *name));
            let hint = nearest(name, known)
                .map(|near| format!("; did you mean '{near}' maybe ?"))
                .unwrap_or_default();
            Err(word.fault(format!("no such ACL : '{name}'{hint}.")))
        }
    }
}

fn describe(needs: Needs) -> String {
    let names = [
        (Needs::CONNECTION, "a client's connection"),
        (Needs::SESSION, "finished handshakes"),
        (Needs::STREAM, "a stream"),
        (Needs::REQUEST, "bytes from the client"),
        (Needs::RESPONSE, "a server and its bytes"),
    ];
    let parts: Vec<&str> = names
        .iter()
        .filter(|(need, _)| needs.contains(*need))
        .map(|(_, name)| *name)
        .collect();
    parts.join(" and ")
}

#[cfg(test)]
mod tests;
