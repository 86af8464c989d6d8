//! Records of the last answers: one that is not in the newest counts until it is obsolete.

use crate::rules::scene::Millis;

/// Something with an identity that its other parts do not change.
pub trait Identity {
    /// Whether it is the same thing, perhaps changed.
    fn is(&self, other: &Self) -> bool;
}

/// Records, each with the time of the last answer that had it.
#[derive(Debug)]
pub struct Seen<T>(Vec<(T, Millis)>);

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Identity> Seen<T> {
    /// Takes an answer in, and drops what no answer of the last `obsolete` ms had.
    pub fn update(&mut self, now: Millis, answer: Vec<T>, obsolete: u64) {
        for record in answer {
            match self.0.iter_mut().find(|(known, _)| known.is(&record)) {
                Some(known) => *known = (record, now),
                None => self.0.push((record, now)),
            }
        }
        self.0
            .retain(|(_, at)| *at == now || now.0 < at.0.saturating_add(obsolete));
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The records, in the order in which they were first seen.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(record, _)| record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Named(char, u8);

    impl Identity for Named {
        fn is(&self, other: &Self) -> bool {
            self.0 == other.0
        }
    }

    #[test]
    fn what_is_missing_counts_until_it_is_obsolete() {
        let mut seen = Seen::default();
        let mut update = |now, answer: &[Named]| {
            seen.update(Millis(now), answer.to_vec(), 100);
            seen.iter().copied().collect::<Vec<_>>()
        };
        let (a, b) = (Named('a', 0), Named('b', 0));
        assert_eq!(update(1000, &[a, b]), [a, b]);
        assert_eq!(update(1050, &[b]), [a, b]);
        assert_eq!(update(1099, &[b]), [a, b]);
        assert_eq!(update(1100, &[b]), [b]);
        assert_eq!(update(1150, &[a, Named('b', 7)]), [Named('b', 7), a]);
        seen.clear();
        assert_eq!(seen.iter().count(), 0);
    }

    #[test]
    fn without_a_hold_only_the_newest_counts() {
        let mut seen = Seen::default();
        seen.update(Millis(0), vec![Named('a', 0)], 0);
        seen.update(Millis(1), vec![Named('b', 0)], 0);
        assert_eq!(seen.iter().count(), 1);
    }
}
