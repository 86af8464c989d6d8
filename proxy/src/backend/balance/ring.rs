//! Points on a circle of 32-bit numbers: each server has as many as its weight in effect.

use crate::rules::convert::hash::avalanche;

/// Most points of a server, and the distance between the first points' numbers of two servers'
/// ids before they are mixed.
const RANGE: u32 = 256 * super::SCALE;

/// The points of all servers, in their order on the circle.
///
/// A point's place depends on nothing but the server's id and the point's own number, so that
/// points of others stay where they are when a server comes, goes, or changes its weight. The
/// places are HAProxy's: the same ids and weights give the same circle.
#[derive(Debug, Default)]
pub(super) struct Ring {
    points: Vec<Point>,
    /// How many points each server has now.
    counts: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    place: u32,
    server: u32,
    /// Which of the server's points it is.
    number: u32,
}

impl Ring {
    /// Gives each server as many points as `counts` says, which are as many servers as `ids`.
    pub(super) fn update(&mut self, ids: &[u32], counts: &[u32]) {
        if self.counts == counts {
            return;
        }
        self.points
            .retain(|point| point.number < counts[point.server as usize]);
        let kept = self.points.len();
        for (at, (&id, &count)) in ids.iter().zip(counts).enumerate() {
            let had = self.counts.get(at).copied().unwrap_or(0);
            self.points.extend((had..count).map(|number| Point {
                place: avalanche(id.wrapping_mul(RANGE).wrapping_add(number)),
                server: at as u32,
                number,
            }));
        }
        // The stable sort finds two runs in order and merges them, which is linear: one server's
        // slow start costs no sorting of all.
        self.points[kept..].sort_unstable();
        self.points.sort();
        self.counts.clear();
        self.counts.extend_from_slice(counts);
    }

    /// The servers along the circle, from the point that is nearest to a hash, once round. A server
    /// comes as often as it has points.
    pub(super) fn from(&self, hash: u32) -> impl Iterator<Item = usize> + '_ {
        let (before, after) = self.points.split_at(self.nearest(hash));
        after
            .iter()
            .chain(before)
            .map(|point| point.server as usize)
    }

    /// The index of the point nearest to a hash, 0 when there is none.
    fn nearest(&self, hash: u32) -> usize {
        let count = self.points.len();
        if count == 0 {
            return 0;
        }
        let next = self.points.partition_point(|point| point.place < hash);
        // The circle has no end.
        let (next, previous) = match next {
            0 => (0, count - 1),
            next if next == count => (0, count - 1),
            next => (next, next - 1),
        };
        let back = hash.wrapping_sub(self.points[previous].place);
        let ahead = self.points[next].place.wrapping_sub(hash);
        if back <= ahead { previous } else { next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ring(counts: &[u32]) -> Ring {
        let ids: Vec<u32> = (1..=counts.len() as u32).collect();
        let mut ring = Ring::default();
        ring.update(&ids, counts);
        ring
    }

    #[test]
    fn nobody_is_there() {
        assert_eq!(ring(&[]).from(5).next(), None);
        assert_eq!(ring(&[0, 0]).from(5).next(), None);
    }

    proptest! {
        #[test]
        fn changes_lead_to_the_ring_that_is_made_at_once(
            steps in prop::collection::vec(prop::collection::vec(0u32..40, 4), 1..5)
        ) {
            let mut changed = Ring::default();
            for counts in &steps {
                changed.update(&[1, 2, 3, 4], counts);
            }
            let fresh = ring(steps.last().unwrap());
            prop_assert_eq!(&changed.points, &fresh.points);
            prop_assert!(changed.points.is_sorted());
        }

        #[test]
        fn the_nearest_point_is_nearest(counts in prop::collection::vec(0u32..20, 1..5), hash: u32) {
            let ring = ring(&counts);
            prop_assume!(!ring.points.is_empty());
            let distance = |point: &Point| {
                let ahead = point.place.wrapping_sub(hash);
                ahead.min(hash.wrapping_sub(point.place))
            };
            let least = ring.points.iter().map(distance).min().unwrap();
            prop_assert_eq!(distance(&ring.points[ring.nearest(hash)]), least);
            prop_assert_eq!(ring.from(hash).count(), ring.points.len());
        }
    }
}
