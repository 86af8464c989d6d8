//! Ranges of numbers, and which of them a number lies in.

use std::collections::{BTreeMap, BTreeSet};

/// Who owns a stretch that no range covers.
const NOBODY: u32 = u32::MAX;

/// The number line cut where the answer changes: a search among the cuts answers.
#[derive(Debug, Clone)]
pub(super) struct Segments<T> {
    /// Where each stretch begins, in order.
    starts: Vec<T>,
    /// Which range owns it.
    owners: Vec<u32>,
}

impl<T: Copy + Ord> Segments<T> {
    fn empty() -> Self {
        Self {
            starts: Vec::new(),
            owners: Vec::new(),
        }
    }

    fn cut(&mut self, start: T, owner: u32) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.owners.pop();
        }
        if self.owners.last().copied().unwrap_or(NOBODY) != owner {
            self.starts.push(start);
            self.owners.push(owner);
        }
    }

    /// The range that owns `number`.
    pub(super) fn owner(&self, number: T) -> Option<u32> {
        let after = self.starts.partition_point(|start| *start <= number);
        let owner = self.owners[after.checked_sub(1)?];
        (owner != NOBODY).then_some(owner)
    }

    /// Ranges of which any two are disjoint or one within the other: the innermost owns a number,
    /// the one that comes first in the list among equal ones. `next` gives the number after
    /// another, nothing after the last.
    pub(super) fn nested(mut ranges: Vec<(T, T, u32)>, next: impl Fn(T) -> Option<T>) -> Self {
        ranges.sort_unstable_by(|a, b| (a.0, b.1, a.2).cmp(&(b.0, a.1, b.2)));
        ranges.dedup_by_key(|range| (range.0, range.1));
        let mut segments = Self::empty();
        let mut around: Vec<(T, u32)> = Vec::new();
        let leave = |segments: &mut Self, around: &mut Vec<(T, u32)>| {
            if let Some((last, _)) = around.pop()
                && let Some(after) = next(last)
            {
                segments.cut(after, around.last().map_or(NOBODY, |outer| outer.1));
            }
        };
        for (first, last, index) in ranges {
            while around.last().is_some_and(|inner| inner.0 < first) {
                leave(&mut segments, &mut around);
            }
            segments.cut(first, index);
            around.push((last, index));
        }
        while !around.is_empty() {
            leave(&mut segments, &mut around);
        }
        segments
    }
}

impl Segments<i64> {
    /// Any ranges: the one that comes first in the list owns a number.
    pub(super) fn overlapping(ranges: &[(i64, i64)]) -> Self {
        // What begins and what has ended, where it matters; past the largest number nothing does.
        let mut events: BTreeMap<i64, (Vec<u32>, Vec<u32>)> = BTreeMap::new();
        for (index, &(first, last)) in (0_u32..).zip(ranges) {
            if first > last {
                continue;
            }
            events.entry(first).or_default().0.push(index);
            if let Some(after) = last.checked_add(1) {
                events.entry(after).or_default().1.push(index);
            }
        }
        let mut segments = Self::empty();
        let mut covering = BTreeSet::new();
        for (at, (begun, ended)) in events {
            for index in ended {
                covering.remove(&index);
            }
            covering.extend(begun);
            segments.cut(at, covering.first().copied().unwrap_or(NOBODY));
        }
        segments
    }
}
