//! `random`: a few servers are drawn by weight, and the one with the least to do gets the stream.

use super::bound::{Bound, Places};
use super::{Algorithm, Ask, Load};

/// Draws beyond so many change nothing that could be seen: the least loaded of so many is the
/// least loaded of nearly all.
const MOST_DRAWS: u32 = 1000;

/// Draws servers by their weights in effect.
#[derive(Debug)]
pub struct Random {
    draws: u32,
    bound: Bound,
    /// Servers that are there, and where each one's weight ends on a line of all weights.
    ends: Vec<(u64, usize)>,
}

impl Random {
    /// With so many draws per stream, at least one; `factor` as in `hash-balance-factor`.
    #[must_use]
    pub fn new(draws: u32, factor: u32) -> Self {
        Self {
            draws: draws.clamp(1, MOST_DRAWS),
            bound: Bound::new(factor),
            ends: Vec::new(),
        }
    }

    /// The stretch of the line that belongs to a server.
    fn stretch(&self, server: usize) -> Option<(u64, u64)> {
        let at = self
            .ends
            .binary_search_by_key(&server, |&(_, server)| server)
            .ok()?;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before].0);
        Some((start, self.ends[at].0))
    }
}

impl Algorithm for Random {
    fn update(&mut self, servers: &[Load]) {
        self.bound.update(servers);
        self.ends.clear();
        let mut end = 0;
        let there = servers
            .iter()
            .enumerate()
            .filter(|(_, load)| load.is_there());
        self.ends.extend(there.map(|(at, load)| {
            end += u64::from(load.weight);
            (end, at)
        }));
    }

    fn choose(&mut self, servers: &[Load], ask: &Ask<'_>) -> Option<usize> {
        let mut random = Sequence(ask.random);
        let total = self.ends.last().map_or(0, |&(end, _)| end);
        let avoided = ask.avoid.and_then(|server| self.stretch(server));
        // What is to be avoided is cut out of the line.
        let (cut, length) = avoided.map_or((total, 0), |(start, end)| (start, end - start));
        let places = self.bound.now(servers);
        let mut best: Option<usize> = None;
        if total > length {
            for _ in 0..self.draws {
                let mut spot = random.below(total - length);
                if spot >= cut {
                    spot += length;
                }
                let drawn = self.ends.partition_point(|&(end, _)| end <= spot);
                let server = self.ends[drawn].1;
                if best.is_none_or(|best| has_less(&servers[server], &servers[best])) {
                    best = Some(server);
                }
            }
        }
        best.filter(|&at| servers[at].is_free() && places.allow(at, &servers[at]))
            .or_else(|| draw_free(servers, ask.avoid, Some(places), &mut random))
            .or_else(|| draw_free(servers, ask.avoid, None, &mut random))
            .or_else(|| draw_free(servers, None, None, &mut random))
    }
}

/// Whether `a` serves less for its weight than `b`.
fn has_less(a: &Load, b: &Load) -> bool {
    u64::from(a.served) * u64::from(b.weight) < u64::from(b.served) * u64::from(a.weight)
}

/// One of those that may have the stream, by weight, where the draws found none: looks at all.
fn draw_free(
    servers: &[Load],
    avoid: Option<usize>,
    places: Option<Places<'_>>,
    random: &mut Sequence,
) -> Option<usize> {
    let weights = || {
        let servers = servers.iter().enumerate();
        servers
            .filter(move |&(at, load)| {
                load.is_free()
                    && avoid != Some(at)
                    && places.is_none_or(|places| places.allow(at, load))
            })
            .map(|(at, load)| (at, u64::from(load.weight)))
    };
    let total: u64 = weights().map(|(_, weight)| weight).sum();
    if total == 0 {
        return None;
    }
    let mut spot = random.below(total);
    for (at, weight) in weights() {
        if spot < weight {
            return Some(at);
        }
        spot -= weight;
    }
    None
}

/// Many numbers of one: SplitMix64.
#[derive(Debug)]
struct Sequence(u64);

impl Sequence {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }
}
