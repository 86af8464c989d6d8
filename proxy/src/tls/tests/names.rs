//! The name index against a search through all entries.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::sni::{Filters, Index};

/// Whether the filter's text stands for `name`, without a look at how the index does it.
fn stands_for(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.to_lowercase(), name.to_lowercase());
    match pattern.strip_prefix("*.") {
        // One label, which is not empty, and the rest.
        Some(rest) => name
            .split_once('.')
            .is_some_and(|(label, after)| !label.is_empty() && after == rest),
        None => pattern == name,
    }
}

/// Entries for a name: those with exactly this name, and those with a wildcard for it.
fn naive(entries: &[Vec<String>], name: &str) -> [Vec<usize>; 2] {
    let of_kind = |wildcard: bool| {
        let answers = |words: &&Vec<String>| {
            let excepted = words.iter().any(|word| {
                let exception = word.strip_prefix('!');
                exception.is_some_and(|word| word == "*" || stands_for(word, name))
            });
            !excepted
                && words.iter().any(|word| {
                    !word.starts_with('!')
                        && word.starts_with("*.") == wildcard
                        && stands_for(word, name)
                })
        };
        let all = entries.iter().enumerate();
        all.filter(|(_, words)| answers(words))
            .map(|(index, _)| index)
            .collect()
    };
    [of_kind(false), of_kind(true)]
}

fn found(entries: &[Vec<String>], name: &str) -> [Vec<usize>; 2] {
    let mut index = Index::default();
    for (entry, words) in entries.iter().enumerate() {
        index.insert(entry, Filters::parse(words.iter().map(String::as_str)));
    }
    index
        .lookup(name, |matches| {
            [matches.exact().collect(), matches.by_wildcard().collect()]
        })
        .unwrap()
}

/// Few labels, so that names meet.
fn name() -> impl Strategy<Value = String> {
    vec(
        prop_oneof!["[abAB]", "[ab]{1,2}", Just(String::new())],
        1..4,
    )
    .prop_map(|labels| labels.join("."))
}

fn filter() -> impl Strategy<Value = String> {
    let sign = prop_oneof![3 => Just(""), 1 => Just("!")];
    let star = prop_oneof![Just(""), Just("*.")];
    prop_oneof![
        12 => (sign, star, name()).prop_map(|(sign, star, name)| format!("{sign}{star}{name}")),
        1 => Just("!*".to_owned()),
    ]
}

proptest! {
    #[test]
    fn the_index_finds_what_a_search_finds(
        entries in vec(vec(filter(), 0..5), 0..8),
        names in vec(name(), 1..20),
    ) {
        for name in names {
            prop_assert_eq!(found(&entries, &name), naive(&entries, &name), "{}", name);
        }
    }
}

#[test]
fn the_search_itself() {
    let entries = ["a.b *.b", "*.B !a.b", "A.B !c.b", "*.a.b", "* a", "*.b !*"]
        .map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>());
    let table: [(&str, [&[usize]; 2]); 7] = [
        ("a.b", [&[0, 2], &[0]]),
        ("A.B", [&[0, 2], &[0]]),
        ("c.B", [&[], &[0, 1]]),
        ("x.a.b", [&[], &[3]]),
        ("y.x.a.b", [&[], &[]]),
        (".b", [&[], &[]]),
        ("a", [&[4], &[]]),
    ];
    for (name, expected) in table {
        let expected = expected.map(<[usize]>::to_vec);
        assert_eq!(naive(&entries, name), expected, "{name}");
        assert_eq!(found(&entries, name), expected, "{name}");
    }
}

#[test]
fn a_name_longer_than_any_host_is_no_name() {
    let index = Index::default();
    let lookup = |length| index.lookup(&"a".repeat(length), |_| ());
    assert_eq!((lookup(255), lookup(256)), (Some(()), None));
}
