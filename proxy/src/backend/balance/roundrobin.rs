//! Smooth weighted round robin: servers take turns in proportion to their weights, and turns of
//! one server are spread as evenly as the weights allow.

/// Who is next.
#[derive(Debug)]
pub struct RoundRobin {
    entries: Vec<Entry>,
    total: i64,
}

#[derive(Debug)]
struct Entry {
    server: usize,
    weight: i64,
    /// How far this server is behind its share.
    credit: i64,
}

impl RoundRobin {
    /// Servers by index with their weights; those of weight 0 get no turn.
    #[must_use]
    pub fn new(weights: impl IntoIterator<Item = (usize, u32)>) -> Self {
        let entries: Vec<_> = weights
            .into_iter()
            .filter(|(_, weight)| *weight > 0)
            .map(|(server, weight)| Entry {
                server,
                weight: i64::from(weight),
                credit: 0,
            })
            .collect();
        Self {
            total: entries.iter().map(|entry| entry.weight).sum(),
            entries,
        }
    }

    /// The next server's index.
    #[expect(
        clippy::should_implement_trait,
        reason = "the turns never end and the weights will change between them"
    )]
    pub fn next(&mut self) -> Option<usize> {
        for entry in &mut self.entries {
            entry.credit += entry.weight;
        }
        // The first of equals, so that equal weights go in file order.
        let mut best = 0;
        for at in 1..self.entries.len() {
            if self.entries[at].credit > self.entries[best].credit {
                best = at;
            }
        }
        let entry = self.entries.get_mut(best)?;
        entry.credit -= self.total;
        Some(entry.server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equal_weights_go_in_order() {
        let mut rr = RoundRobin::new([(0, 1), (1, 1), (2, 1)]);
        let turns: Vec<_> = (0..6).map(|_| rr.next().unwrap()).collect();
        assert_eq!(turns, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn nobody_to_choose() {
        assert_eq!(RoundRobin::new([]).next(), None);
        assert_eq!(RoundRobin::new([(0, 0)]).next(), None);
    }

    proptest! {
        #[test]
        fn every_round_gives_each_its_weight(weights in prop::collection::vec(0u32..20, 1..8)) {
            let total: u32 = weights.iter().sum();
            let mut rr = RoundRobin::new(weights.iter().copied().enumerate());
            for _ in 0..3 {
                let mut turns = vec![0; weights.len()];
                for _ in 0..total {
                    turns[rr.next().unwrap()] += 1;
                }
                prop_assert_eq!(&turns, &weights);
            }
        }
    }
}
