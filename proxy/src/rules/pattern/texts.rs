//! Texts, and which of them another text equals, begins with, ends with or contains.

use std::collections::HashMap;

/// Texts by content, and how long they are: what begins or ends with one of them is looked up once
/// per length, however many there are.
#[derive(Debug, Default)]
pub(super) struct Texts {
    by_text: HashMap<Box<[u8]>, u32>,
    /// Each length that occurs, in ascending order.
    lengths: Vec<usize>,
}

impl Texts {
    /// Of equal texts, the first one counts.
    pub(super) fn new(texts: impl Iterator<Item = (Box<[u8]>, u32)>) -> Self {
        let mut by_text = HashMap::new();
        for (text, index) in texts {
            by_text.entry(text).or_insert(index);
        }
        let mut lengths: Vec<usize> = by_text.keys().map(|text| text.len()).collect();
        lengths.sort_unstable();
        lengths.dedup();
        Self { by_text, lengths }
    }

    fn get(&self, text: &[u8]) -> Option<u32> {
        self.by_text.get(text).copied()
    }

    /// The one that equals `text`.
    pub(super) fn whole(&self, text: &[u8]) -> Option<u32> {
        self.get(text)
    }

    /// The longest one that `text` begins with.
    pub(super) fn prefix(&self, text: &[u8]) -> Option<u32> {
        let possible = self.lengths.partition_point(|length| *length <= text.len());
        self.lengths[..possible]
            .iter()
            .rev()
            .find_map(|&length| self.get(&text[..length]))
    }

    /// The first one in the list that `text` ends with.
    pub(super) fn suffix(&self, text: &[u8]) -> Option<u32> {
        self.lengths
            .iter()
            .take_while(|length| **length <= text.len())
            .filter_map(|&length| self.get(&text[text.len() - length..]))
            .min()
    }

    /// The first one in the list that stands in `text` between two delimiters, or a delimiter and
    /// an end.
    pub(super) fn portion(&self, text: &[u8], delimiters: &[u8]) -> Option<u32> {
        let is_delimiter = |at: usize| text.get(at).is_none_or(|b| delimiters.contains(b));
        let starts =
            (0..text.len()).filter(|&at| !is_delimiter(at) && (at == 0 || is_delimiter(at - 1)));
        starts
            .filter_map(|start| {
                self.lengths
                    .iter()
                    .take_while(|length| start + **length <= text.len())
                    .filter(|length| is_delimiter(start + **length))
                    .filter_map(|&length| self.get(&text[start..start + length]))
                    .min()
            })
            .min()
    }
}

/// `text` without delimiters at its ends.
pub(super) fn trim<'a>(text: &'a [u8], delimiters: &[u8]) -> &'a [u8] {
    let inner = |b: &u8| !delimiters.contains(b);
    let start = text.iter().position(inner).unwrap_or(text.len());
    let end = text.iter().rposition(inner).map_or(start, |last| last + 1);
    &text[start..end]
}
