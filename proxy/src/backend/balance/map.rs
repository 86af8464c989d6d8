//! `hash-type map-based`: a list in which every server stands as often as its weight says, and a
//! hash is a place in it.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use super::hash::Hasher;
use super::static_rr::Turns;
use super::{Algorithm, Ask, Load, Member};

/// Servers in turns by the weights of the configuration, which are the only ones that count: a
/// weight that changes later is either still one, or 0.
#[derive(Debug)]
pub(super) struct Map {
    /// Weights by server, without their common divisor.
    weights: Vec<u32>,
    /// Who is on the list.
    there: Vec<bool>,
    slots: Vec<u32>,
}

impl Map {
    /// An empty list for these servers.
    pub(super) fn new(servers: &[Member]) -> Self {
        let divisor = servers
            .iter()
            .fold(0, |divisor, server| common_divisor(divisor, server.weight))
            .max(1);
        Self {
            weights: servers
                .iter()
                .map(|server| server.weight / divisor)
                .collect(),
            there: vec![false; servers.len()],
            slots: Vec::new(),
        }
    }

    /// Makes the list anew, if somebody has come or gone.
    pub(super) fn update(&mut self, servers: &[Load]) {
        let there: Vec<bool> = servers.iter().map(Load::is_there).collect();
        if there != self.there {
            let weights = self.weights.iter().zip(&there);
            let weights: Vec<u32> = weights
                .map(|(&weight, &there)| if there { weight } else { 0 })
                .collect();
            self.slots = spread(&weights);
            self.there = there;
        }
    }

    /// The list: indices of servers.
    pub(super) fn slots(&self) -> &[u32] {
        &self.slots
    }
}

fn common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

/// Lists every server as often as its weight says, at distances as even as possible, in the order
/// that HAProxy has too, so that both send a hash to the same server.
///
/// With a total weight of `W`, the k-th time (from 0) of a server of weight `w` is due at slot
/// `kW/w` and late from `(k+1)W/w` on. Each slot takes the first server that is late, or else the
/// first that is due.
fn spread(weights: &[u32]) -> Vec<u32> {
    let total: u64 = weights.iter().copied().map(u64::from).sum();
    // When the k-th time of a server is due.
    let due = |at: u32, k: u64| (total * k).div_ceil(u64::from(weights[at as usize]));
    let mut taken = vec![0_u64; weights.len()];
    let mut waiting: BinaryHeap<Reverse<(u64, u32)>> = (0_u32..)
        .zip(weights)
        .filter(|(_, weight)| **weight > 0)
        .map(|(at, _)| Reverse((0, at)))
        .collect();
    let mut deadlines: BinaryHeap<Reverse<(u64, u32, u64)>> = BinaryHeap::new();
    let (mut ready, mut late) = (BTreeSet::new(), BTreeSet::new());
    let mut slots = Vec::new();
    for slot in 1..=total {
        while let Some(&Reverse((when, at))) = waiting.peek()
            && when <= slot
        {
            waiting.pop();
            let k = taken[at as usize];
            ready.insert(at);
            deadlines.push(Reverse((due(at, k + 1), at, k)));
        }
        while let Some(&Reverse((when, at, k))) = deadlines.peek()
            && when <= slot
        {
            deadlines.pop();
            // It may have had that turn in time.
            if taken[at as usize] == k {
                ready.remove(&at);
                late.insert(at);
            }
        }
        let next = late.pop_first().or_else(|| ready.pop_first());
        let Some(at) = next else { break };
        taken[at as usize] += 1;
        waiting.push(Reverse((due(at, taken[at as usize]), at)));
        slots.push(at);
    }
    slots
}

/// A hash's place in a [`Map`].
#[derive(Debug)]
pub struct MapBased {
    hasher: Hasher,
    map: Map,
    /// Of the streams without a key.
    turns: Turns,
}

impl MapBased {
    /// Of these servers.
    #[must_use]
    pub fn new(hasher: Hasher, servers: &[Member]) -> Self {
        Self {
            hasher,
            map: Map::new(servers),
            turns: Turns::default(),
        }
    }
}

impl Algorithm for MapBased {
    fn update(&mut self, servers: &[Load]) {
        self.map.update(servers);
    }

    fn choose(&mut self, servers: &[Load], ask: &Ask<'_>) -> Option<usize> {
        let Some(key) = ask.key else {
            return self.turns.next(&self.map, servers, ask.avoid);
        };
        let slots = self.map.slots();
        if slots.is_empty() {
            return None;
        }
        let from = self.hasher.hash(key) as usize % slots.len();
        let there = |at: usize| servers.get(at).is_some_and(Load::is_there);
        let way = slots[from..].iter().chain(&slots[..from]);
        let mut way = way.map(|&at| at as usize).filter(|&at| there(at));
        way.find(|&at| ask.avoid != Some(at))
            .or_else(|| ask.avoid.filter(|&at| there(at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_weights_stand_in_order() {
        assert_eq!(spread(&[1, 1, 1]), [0, 1, 2]);
        assert_eq!(spread(&[0, 1, 0, 1]), [1, 3]);
        assert!(spread(&[0, 0]).is_empty());
    }

    #[test]
    fn weights_lose_their_common_divisor() {
        let members = [100, 50, 0].map(|weight| Member { id: 1, weight });
        assert_eq!(Map::new(&members).weights, [2, 1, 0]);
        assert_eq!(Map::new(&[]).weights, []);
    }

    /// The same rule in other words: before each slot everybody gets the credit of its weight, and
    /// the first of those with the most whole rounds to its credit pays one.
    #[test]
    fn the_order_is_that_of_credits_by_whole_rounds() {
        let table: [&[u32]; 6] = [
            &[1, 3],
            &[5, 1, 1],
            &[1, 2, 3, 4, 5],
            &[10, 1, 7],
            &[256, 255, 1, 0, 3],
            &[2, 2, 3],
        ];
        for weights in table {
            let total: i64 = weights.iter().map(|&weight| i64::from(weight)).sum();
            let mut credit = vec![0; weights.len()];
            let mut expected = Vec::new();
            for _ in 0..total {
                let mut best: Option<(u32, i64)> = None;
                for (at, &weight) in (0_u32..).zip(weights).filter(|(_, weight)| **weight > 0) {
                    credit[at as usize] += i64::from(weight);
                    let rounds = credit[at as usize].div_euclid(total);
                    if best.is_none_or(|(_, most)| rounds > most) {
                        best = Some((at, rounds));
                    }
                }
                let (at, _) = best.unwrap();
                credit[at as usize] -= total;
                expected.push(at);
            }
            assert_eq!(spread(weights), expected, "{weights:?}");
        }
    }
}
