//! Which certificates answer to a name: exact names and wildcards of one label, with exceptions.
//!
//! Names are compared without case. An exact name goes before a wildcard; among equals the order
//! is that of insertion.

use std::collections::HashMap;
use std::iter;

/// Longest name that a client can send: a host name has at most 253 bytes.
const LONGEST: usize = 255;

/// One name as filters and certificates write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// `*`: every name. Only meaningful as an exception.
    Any,
    /// The name itself, in lower case.
    Exact(Box<str>),
    /// `*.example.com`, kept as `.example.com`: one label, and this.
    Wildcard(Box<str>),
}

impl Pattern {
    /// Reads a name, wildcard or `*`.
    pub fn new(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        match text.strip_prefix('*') {
            Some("") => Self::Any,
            Some(suffix) if suffix.starts_with('.') => Self::Wildcard(suffix.into()),
            _ => Self::Exact(text.into()),
        }
    }

    /// Whether `name`, in lower case, is one of those that it stands for.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => **exact == *name,
            Self::Wildcard(suffix) => after_first_label(name) == Some(suffix),
        }
    }
}

/// The part of a name that a wildcard keeps: from the first dot on.
fn after_first_label(name: &str) -> Option<&str> {
    let dot = name.find('.').filter(|dot| *dot > 0)?;
    Some(&name[dot..])
}

/// The names of one entry of the index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters {
    /// Names that it answers to.
    pub names: Vec<Pattern>,
    /// Names that it does not answer to, whatever `names` says.
    pub exceptions: Vec<Pattern>,
}

impl Filters {
    /// Reads `name`, `*.name`, `!name`, `!*.name`, `!*`.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let mut filters = Self::default();
        for word in words {
            match word.strip_prefix('!') {
                Some(exception) => filters.exceptions.push(Pattern::new(exception)),
                None => filters.names.push(Pattern::new(word)),
            }
        }
        filters
    }
}

/// Entries by name. An entry is a number that the caller gives a meaning.
#[derive(Debug, Default)]
pub struct Index {
    exact: HashMap<Box<str>, Vec<usize>>,
    wildcards: HashMap<Box<str>, Vec<usize>>,
    exceptions: HashMap<usize, Vec<Pattern>>,
}

impl Index {
    /// Adds an entry.
    pub fn insert(&mut self, entry: usize, filters: Filters) {
        for pattern in filters.names {
            let (map, key) = match pattern {
                Pattern::Exact(name) => (&mut self.exact, name),
                Pattern::Wildcard(suffix) => (&mut self.wildcards, suffix),
                Pattern::Any => continue,
            };
            let entries = map.entry(key).or_default();
            if entries.last() != Some(&entry) {
                entries.push(entry);
            }
        }
        if !filters.exceptions.is_empty() {
            self.exceptions
                .entry(entry)
                .or_default()
                .extend(filters.exceptions);
        }
    }

    /// Hands `visit` the entries for `name`: first those that have exactly this name, then those
    /// that have it by wildcard. `None` where no host name can be this long.
    pub fn lookup<R>(&self, name: &str, visit: impl FnOnce(Matches<'_>) -> R) -> Option<R> {
        let mut buffer = [0; LONGEST];
        let lower = buffer.get_mut(..name.len())?;
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        let name = std::str::from_utf8(lower).ok()?;
        Some(visit(Matches { index: self, name }))
    }

    fn is_excepted(&self, entry: usize, name: &str) -> bool {
        self.exceptions
            .get(&entry)
            .is_some_and(|patterns| patterns.iter().any(|pattern| pattern.matches(name)))
    }
}

/// What an index has for one name.
#[derive(Debug, Clone, Copy)]
pub struct Matches<'a> {
    index: &'a Index,
    name: &'a str,
}

impl<'a> Matches<'a> {
    /// Entries with exactly this name.
    pub fn exact(self) -> impl Iterator<Item = usize> + Clone + 'a {
        self.allowed(self.index.exact.get(self.name))
    }

    /// Entries with a wildcard for this name.
    pub fn by_wildcard(self) -> impl Iterator<Item = usize> + Clone + 'a {
        let suffix = after_first_label(self.name);
        self.allowed(suffix.and_then(|suffix| self.index.wildcards.get(suffix)))
    }

    fn allowed(self, entries: Option<&'a Vec<usize>>) -> impl Iterator<Item = usize> + Clone + 'a {
        let entries: &[usize] = entries.map_or(&[], Vec::as_slice);
        iter::zip(entries, iter::repeat(self))
            .filter(|(entry, this)| !this.index.is_excepted(**entry, this.name))
            .map(|(entry, _)| *entry)
    }
}
