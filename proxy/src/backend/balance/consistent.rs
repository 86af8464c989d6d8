//! `hash-type consistent`: a hash goes to the nearest of the servers' points on a circle, so that
//! few hashes change their server when one comes or goes.

use super::bound::Bound;
use super::hash::Hasher;
use super::ring::Ring;
use super::roundrobin::RoundRobin;
use super::{Algorithm, Ask, Load, Member};

/// A circle of points, and a bound on what each server gets.
#[derive(Debug)]
pub struct Consistent {
    hasher: Hasher,
    ids: Vec<u32>,
    ring: Ring,
    bound: Bound,
    /// For streams without a key.
    turns: RoundRobin,
}

impl Consistent {
    /// Of these servers; `factor` as in `hash-balance-factor`, in percent, 0: no bound.
    #[must_use]
    pub fn new(hasher: Hasher, factor: u32, servers: &[Member]) -> Self {
        Self {
            hasher,
            ids: servers.iter().map(|server| server.id).collect(),
            ring: Ring::default(),
            bound: Bound::new(factor),
            turns: RoundRobin::new(servers),
        }
    }
}

impl Algorithm for Consistent {
    fn update(&mut self, servers: &[Load]) {
        let counts: Vec<u32> = servers
            .iter()
            .map(|load| if load.is_there() { load.weight } else { 0 })
            .collect();
        self.ring.update(&self.ids, &counts);
        self.bound.update(servers);
        self.turns.update(servers);
    }

    fn choose(&mut self, servers: &[Load], ask: &Ask<'_>) -> Option<usize> {
        let Some(key) = ask.key else {
            return self.turns.choose(servers, ask);
        };
        let hash = self.hasher.hash(key);
        let way = || {
            let way = self.ring.from(hash);
            way.filter(|&at| servers.get(at).is_some_and(Load::is_there))
        };
        let places = self.bound.now(servers);
        // Who is bounded is passed over; if that leaves nobody, the bound counts for less than the
        // failure, and that for less than the stream.
        way()
            .find(|&at| ask.avoid != Some(at) && places.allow(at, &servers[at]))
            .or_else(|| way().find(|&at| ask.avoid != Some(at)))
            .or_else(|| way().next())
    }
}
