//! Patterns: what values are matched against.
//!
//! A [`List`] collects patterns as they are read; [`List::compile`] makes a [`Matcher`] of them, which
//! finds the one that a value matches without going through all of them: networks and ranges by
//! binary search, texts by hash, substrings by one automaton. Only regular expressions are tried
//! one after the other.

mod networks;
mod parse;
mod segments;
mod texts;

use std::net::IpAddr;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};
use bumpalo::Bump;
use ipnet::IpNet;
use regex::bytes::{Regex, RegexBuilder};

use self::networks::{AddressPattern, Networks};
use self::parse::{Comparison, Notation, Range};
use self::segments::Segments;
use self::texts::Texts;
use super::cast;
use super::names::HostNames;
use super::sample::{Kind, Value};

pub(super) use self::parse::{mask4, mask6, pairs};

/// How values are matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// There is a value.
    Found,
    /// The value is not zero.
    Bool,
    /// One of some ranges of integers.
    Int,
    /// As [`Method::Int`], patterns being versions (`3.1`).
    Version,
    /// In one of some networks.
    Ip,
    /// The same bytes, patterns in hexadecimal.
    Bin,
    /// The text's length, as [`Method::Int`].
    Len,
    /// The same text.
    Str,
    /// Begins with.
    Beg,
    /// Contains.
    Sub,
    /// Contains between slashes or question marks.
    Dir,
    /// Contains between slashes, question marks, dots or colons.
    Dom,
    /// Ends with.
    End,
    /// A regular expression matches.
    Reg,
}

impl Method {
    /// The method that `-m` names.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "found" => Self::Found,
            "bool" => Self::Bool,
            "int" => Self::Int,
            "ip" => Self::Ip,
            "bin" => Self::Bin,
            "len" => Self::Len,
            "str" => Self::Str,
            "beg" => Self::Beg,
            "sub" => Self::Sub,
            "dir" => Self::Dir,
            "dom" => Self::Dom,
            "end" => Self::End,
            "reg" => Self::Reg,
            _ => return None,
        })
    }

    /// What is meant where no method is named; `None`: it must be named.
    #[must_use]
    pub fn default_for(kind: Kind) -> Option<Self> {
        Some(match kind {
            Kind::Bool => Self::Bool,
            Kind::Int => Self::Int,
            Kind::Ipv4 | Kind::Ipv6 | Kind::Address => Self::Ip,
            Kind::Str => Self::Str,
            Kind::Bin => return None,
        })
    }

    /// Whether it can be used with values of a type.
    #[must_use]
    pub fn suits(self, kind: Kind) -> bool {
        let wanted = match self {
            Self::Found => return true,
            Self::Bool | Self::Int | Self::Version => Kind::Int,
            Self::Ip => Kind::Address,
            Self::Bin => Kind::Bin,
            _ => Kind::Str,
        };
        cast::is_possible(kind, wanted)
    }

    /// Whether it looks at patterns at all.
    #[must_use]
    pub fn takes_patterns(self) -> bool {
        !matches!(self, Self::Found | Self::Bool)
    }

    fn notation(self) -> Option<Notation> {
        match self {
            Self::Int | Self::Len => Some(Notation::Decimal),
            Self::Version => Some(Notation::Version),
            _ => None,
        }
    }

    fn delimiters(self) -> &'static [u8] {
        match self {
            Self::Dir => b"/?",
            Self::Dom => b"/?.:",
            _ => b"",
        }
    }
}

/// How patterns are read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reading<'a> {
    /// Letters match in either case.
    pub fold: bool,
    /// Addresses may be names of hosts, or be abbreviated. `None`: they may not.
    pub hosts: Option<&'a dyn HostNames>,
}

/// Patterns that belong to one letter-case rule.
#[derive(Debug)]
struct Text {
    content: Box<[u8]>,
    fold: bool,
}

/// Patterns as they are read.
#[derive(Debug)]
pub struct List {
    method: Method,
    comparison: Option<Comparison>,
    ranges: Vec<Range>,
    addresses: Vec<AddressPattern>,
    texts: Vec<Text>,
    regexes: Vec<Regex>,
}

impl List {
    /// An empty list.
    #[must_use]
    pub fn new(method: Method) -> Self {
        Self {
            method,
            comparison: None,
            ranges: Vec::new(),
            addresses: Vec::new(),
            texts: Vec::new(),
            regexes: Vec::new(),
        }
    }

    /// Takes a word that may be `eq`, `gt` and the like: it holds for the numbers after it. Gives
    /// back whether it was one.
    pub fn comparison(&mut self, word: &str) -> bool {
        if self.method.notation().is_none() {
            return false;
        }
        let found = Comparison::parse(word);
        self.comparison = found.or(self.comparison);
        found.is_some()
    }

    /// Adds a pattern.
    ///
    /// # Errors
    /// What is wrong with it, in words for a message.
    pub fn add(&mut self, pattern: &[u8], reading: Reading<'_>) -> Result<(), String> {
        let text = || {
            std::str::from_utf8(pattern)
                .map_err(|_| format!("'{}' is not UTF-8", String::from_utf8_lossy(pattern)))
        };
        let content = match self.method {
            Method::Found | Method::Bool => return Ok(()),
            Method::Int | Method::Version | Method::Len => {
                let notation = self.method.notation().unwrap_or(Notation::Decimal);
                self.ranges
                    .push(parse::range(text()?, self.comparison, notation)?);
                return Ok(());
            }
            Method::Ip => {
                self.addresses.push(parse::address(text()?, reading.hosts)?);
                return Ok(());
            }
            Method::Reg => {
                self.regexes.push(regex(text()?, reading.fold)?);
                return Ok(());
            }
            Method::Bin => parse::bytes(text()?)?,
            Method::Dir | Method::Dom => texts::trim(pattern, self.method.delimiters()).to_owned(),
            Method::Str | Method::Beg | Method::Sub | Method::End => pattern.to_owned(),
        };
        let fold = reading.fold && self.method != Method::Bin;
        self.texts.push(Text {
            content: content.into(),
            fold,
        });
        Ok(())
    }

    /// Adds every pattern of a file's content. Comparisons do not hold for them.
    ///
    /// # Errors
    /// The line's number and what is wrong there.
    pub fn add_file(&mut self, content: &[u8], reading: Reading<'_>) -> Result<(), String> {
        self.add_lines(parse::lines(content), reading)
    }

    /// Adds the keys of a map's content as [`List::add_file`] adds lines.
    ///
    /// # Errors
    /// The line's number and what is wrong there.
    pub fn add_map(&mut self, content: &[u8], reading: Reading<'_>) -> Result<(), String> {
        let keys = pairs(content).map(|(number, key, _)| (number, key));
        self.add_lines(keys, reading)
    }

    fn add_lines<'c>(
        &mut self,
        lines: impl Iterator<Item = (usize, &'c [u8])>,
        reading: Reading<'_>,
    ) -> Result<(), String> {
        let comparison = self.comparison.take();
        for (number, line) in lines {
            self.add(line, reading)
                .map_err(|why| format!("line {number}: {why}"))?;
        }
        self.comparison = comparison;
        Ok(())
    }

    /// Makes it fast.
    ///
    /// # Errors
    /// Patterns that are too many for the machinery behind substrings.
    pub fn compile(self) -> Result<Matcher, String> {
        Ok(Matcher {
            method: self.method,
            patterns: match self.method {
                Method::Found | Method::Bool => Patterns::None,
                Method::Int | Method::Version | Method::Len => {
                    Patterns::Ranges(Segments::overlapping(&self.ranges))
                }
                Method::Ip => Patterns::Networks(Box::new(Networks::new(self.addresses))),
                Method::Reg => Patterns::Regexes(self.regexes),
                Method::Sub => Patterns::Substrings {
                    exact: Substrings::new(&self.texts, false)?,
                    folded: Substrings::new(&self.texts, true)?,
                },
                Method::Bin
                | Method::Str
                | Method::Beg
                | Method::Dir
                | Method::Dom
                | Method::End => {
                    let indexed = (0..).zip(self.texts);
                    let (folded, exact): (Vec<_>, Vec<_>) =
                        indexed.partition(|(_, text): &(u32, Text)| text.fold);
                    let texts = |list: Vec<(u32, Text)>, fold: bool| {
                        (!list.is_empty()).then(|| {
                            Box::new(Texts::new(list.into_iter().map(|(index, mut text)| {
                                if fold {
                                    text.content.make_ascii_lowercase();
                                }
                                (text.content, index)
                            })))
                        })
                    };
                    Patterns::Texts {
                        exact: texts(exact, false),
                        folded: texts(folded, true),
                    }
                }
            },
        })
    }
}

/// Compiles a regular expression over bytes.
pub(super) fn regex(text: &str, fold: bool) -> Result<Regex, String> {
    RegexBuilder::new(text)
        .unicode(false)
        .case_insensitive(fold)
        .build()
        .map_err(|error| {
            // The parser's message draws a picture; its last line says what is wrong.
            let message = error.to_string();
            let last = message.lines().last().unwrap_or_default();
            let why = last.trim_start_matches("error: ");
            format!("regex '{text}' is invalid ({why})")
        })
}

/// Substrings of one letter-case rule, and where each stands in the list.
#[derive(Debug)]
struct Substrings {
    automaton: AhoCorasick,
    indices: Vec<u32>,
}

impl Substrings {
    fn new(texts: &[Text], fold: bool) -> Result<Option<Self>, String> {
        let chosen = || {
            (0_u32..)
                .zip(texts)
                // One without content is found nowhere.
                .filter(|(_, text)| text.fold == fold && !text.content.is_empty())
        };
        let indices: Vec<u32> = chosen().map(|(index, _)| index).collect();
        if indices.is_empty() {
            return Ok(None);
        }
        let automaton = AhoCorasickBuilder::new()
            .match_kind(MatchKind::Standard)
            .ascii_case_insensitive(fold)
            .build(chosen().map(|(_, text)| &text.content))
            .map_err(|error| error.to_string())?;
        Ok(Some(Self { automaton, indices }))
    }

    fn first(&self, text: &[u8]) -> Option<u32> {
        self.automaton
            .find_overlapping_iter(text)
            .filter_map(|found| self.indices.get(found.pattern().as_usize()).copied())
            .min()
    }
}

#[derive(Debug)]
enum Patterns {
    None,
    Ranges(Segments<i64>),
    Networks(Box<Networks>),
    Texts {
        exact: Option<Box<Texts>>,
        folded: Option<Box<Texts>>,
    },
    Substrings {
        exact: Option<Substrings>,
        folded: Option<Substrings>,
    },
    Regexes(Vec<Regex>),
}

/// Compiled patterns.
#[derive(Debug)]
pub struct Matcher {
    method: Method,
    patterns: Patterns,
}

impl Matcher {
    /// How it matches.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// Whether a value matches any pattern.
    #[must_use]
    pub fn matches(&self, value: Value<'_>, arena: &Bump) -> bool {
        match (self.method, &self.patterns) {
            (Method::Found, _) => true,
            (Method::Bool, _) => cast::integer(value).is_some_and(|number| number != 0),
            // Which one does not matter: the first that is found ends the search.
            (_, Patterns::Substrings { exact, folded }) => {
                let text = cast::string(value, arena);
                [exact, folded]
                    .into_iter()
                    .flatten()
                    .any(|substrings| substrings.automaton.is_match(text))
            }
            _ => self.find(value, arena).is_some(),
        }
    }

    /// Which pattern a value matches, counted in the order they were added: the longest network or
    /// prefix, else the first.
    #[must_use]
    pub fn find(&self, value: Value<'_>, arena: &Bump) -> Option<usize> {
        let found = match &self.patterns {
            Patterns::None => None,
            Patterns::Ranges(ranges) => {
                let number = match self.method {
                    Method::Len => i64::try_from(cast::string(value, arena).len()).ok()?,
                    _ => cast::integer(value)?,
                };
                ranges.owner(number)
            }
            Patterns::Networks(networks) => {
                let address = match cast::cast(value, Kind::Address, arena)? {
                    Value::Ipv4(address) => IpAddr::V4(address),
                    Value::Ipv6(address) => IpAddr::V6(address),
                    _ => return None,
                };
                networks.find(address)
            }
            Patterns::Texts { exact, folded } => {
                let text = match self.method {
                    Method::Bin => match cast::cast(value, Kind::Bin, arena)? {
                        Value::Bin(bytes) => bytes,
                        _ => return None,
                    },
                    _ => cast::string(value, arena),
                };
                let first = exact.as_ref().and_then(|texts| self.look_up(texts, text));
                let second = folded.as_ref().and_then(|texts| {
                    let lower = arena.alloc_slice_copy(text);
                    lower.make_ascii_lowercase();
                    self.look_up(texts, lower)
                });
                first.into_iter().chain(second).min()
            }
            Patterns::Substrings { exact, folded } => {
                let text = cast::string(value, arena);
                [exact, folded]
                    .into_iter()
                    .flatten()
                    .filter_map(|substrings| substrings.first(text))
                    .min()
            }
            Patterns::Regexes(regexes) => {
                let text = cast::string(value, arena);
                return regexes.iter().position(|regex| regex.is_match(text));
            }
        };
        found.and_then(|index| usize::try_from(index).ok())
    }

    fn look_up(&self, texts: &Texts, text: &[u8]) -> Option<u32> {
        match self.method {
            Method::Beg => texts.prefix(text),
            Method::End => texts.suffix(text),
            Method::Dir | Method::Dom => texts.portion(text, self.method.delimiters()),
            _ => texts.whole(text),
        }
    }

    /// The networks that [`Method::Ip`] matches, each holding addresses of its own family only.
    /// `None`: it is another method, or has patterns that are no networks.
    #[must_use]
    pub fn networks(&self) -> Option<Vec<IpNet>> {
        match &self.patterns {
            Patterns::Networks(networks) => networks.plain(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
