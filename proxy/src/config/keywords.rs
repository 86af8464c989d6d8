//! Every keyword of HAProxy 2.6, and what to say about those that are not here.
//!
//! A keyword is one of: ours (the parser has it), HAProxy's but not yet here, only meaningful for
//! HTTP, part of HAProxy's own machinery, removed by HAProxy itself, or unknown to both.

mod global;
mod parameters;
mod proxy;

pub(crate) use global::{AGENT, GLOBAL, RESOLVERS, SECTIONS, STATS_SOCKET};
pub(crate) use parameters::{BIND, BIND_OPTIONS, SERVER, SERVER_OPTIONS};
pub(crate) use proxy::{ACTION, BALANCE, OPTION, PROXY, TIMEOUT};

use super::diagnostic::Fault;
use super::lexer::Word;

/// A set of keywords that may stand in one kind of place.
///
/// A trailing `=` marks a word that takes an argument, so that the parser can step over it.
#[derive(Debug)]
pub(crate) struct Scope {
    /// What the place is called in messages.
    pub(crate) place: &'static str,
    /// Those the parser has.
    pub(crate) ours: &'static [&'static str],
    not_yet: &'static [&'static str],
    http: &'static [&'static str],
    machinery: &'static [&'static str],
    removed: &'static [&'static str],
}

fn bare(entry: &str) -> &str {
    entry.strip_suffix('=').unwrap_or(entry)
}

impl Scope {
    fn all(&self) -> impl Iterator<Item = &'static str> {
        [
            self.ours,
            self.not_yet,
            self.http,
            self.machinery,
            self.removed,
        ]
        .into_iter()
        .flatten()
        .copied()
    }

    /// Whether `name` takes an argument, here or in HAProxy.
    pub(crate) fn takes_argument(&self, name: &str) -> bool {
        self.all()
            .any(|entry| entry.strip_suffix('=') == Some(name))
    }

    /// Whether the parser has `name`.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.ours.iter().any(|entry| bare(entry) == name)
    }

    /// Whether the parser or HAProxy has `name`.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.all().any(|entry| bare(entry) == name)
    }

    /// The keyword that `name` is, or is near to.
    pub(crate) fn meant(&self, name: &str) -> Option<&'static str> {
        nearest(name, self.all().map(bare))
    }

    /// Why `word` cannot stand here.
    pub(crate) fn refuse(&self, word: &Word) -> Fault {
        self.refuse_in(word, self.place, &[])
    }

    /// [`Scope::refuse`] with another name for the place, and more words to be near to.
    pub(crate) fn refuse_in(&self, word: &Word, place: &str, more: &[&'static str]) -> Fault {
        let name = word.as_str();
        let within = |list: &[&str]| list.iter().any(|entry| bare(entry) == name);
        let why = if within(self.not_yet) {
            "is known to HAProxy but not available in this version"
        } else if within(self.http) {
            "only makes sense for HTTP; this is a TCP proxy"
        } else if within(self.machinery) {
            "is about HAProxy's own machinery and has no counterpart here"
        } else if within(self.removed) {
            "was removed from HAProxy and is not supported"
        } else {
            // One word or the other: what HAProxy has and we have not is still what was meant.
            let known = self.all().map(bare).chain(more.iter().copied());
            let hint = nearest(name, known)
                .map(|near| format!("; did you mean '{near}' maybe ?"))
                .unwrap_or_default();
            return word.fault(format!("unknown keyword '{name}' {place}{hint}"));
        };
        word.fault(format!("'{name}' {place} {why}."))
    }
}

/// The candidate that takes the fewest edits to become, if few enough to be what was meant.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let most = (word.chars().count() / 3).clamp(1, 4);
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|&(edits, _)| edits <= most)
        .min_by_key(|&(edits, _)| edits)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap neighbours) between two words.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    // A word this long is no typing mistake, and the table below is quadratic.
    if a.len().abs_diff(b.len()) > 4 {
        return usize::MAX;
    }
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replace.min(last[j] + 1).min(row[j - 1] + 1);
            let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if swapped {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        let table = [
            ("", "", 0),
            ("a", "", 1),
            ("timeout", "timeuot", 1),
            ("weight", "wieght", 1),
            ("kitten", "sitting", 3),
            ("bind", "server", 6),
        ];
        for (a, b, expected) in table {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn a_keyword_stands_in_one_list_only() {
        for scope in [
            SECTIONS,
            AGENT,
            GLOBAL,
            RESOLVERS,
            PROXY,
            OPTION,
            TIMEOUT,
            BALANCE,
            BIND,
            STATS_SOCKET,
            SERVER,
            BIND_OPTIONS,
            SERVER_OPTIONS,
        ] {
            let mut names: Vec<&str> = scope.all().map(bare).collect();
            names.sort_unstable();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count, "{}", scope.place);
        }
    }

    #[test]
    fn near_words() {
        let near = |word| nearest(word, PROXY.all().map(bare));
        assert_eq!(near("timeuot"), Some("timeout"));
        assert_eq!(near("sever"), Some("server"));
        assert_eq!(near("defaultbackend"), Some("default_backend"));
        assert_eq!(near("zzzzzz"), None);
        assert_eq!(near(""), None);
    }
}
