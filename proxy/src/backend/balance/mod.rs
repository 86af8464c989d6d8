//! Choosing a server: one file per algorithm, each a plain state machine.
//!
//! An algorithm sees what it needs of the servers as a slice of [`Load`]s, and keeps of its own
//! only what is derived from weights ([`Algorithm::update`]) and whose turn it is. Randomness
//! comes with each [`Ask`]. `docs/balance.md` says what each algorithm promises and how it was
//! measured next to HAProxy's.

pub mod bound;
pub mod consistent;
pub mod first;
pub mod hash;
pub mod key;
pub mod leastconn;
pub mod map;
pub mod random;
pub mod ring;
pub mod roundrobin;
pub mod static_rr;

use std::fmt;

use crate::config::model::balance::{self as model, Balance, Method};

/// What an algorithm sees of a server; all loads of a backend are one slice, by server index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Weight in effect: the user's weight (0..=256) times [`SCALE`], less while it starts slowly;
    /// 0: takes nothing new.
    pub weight: u32,
    /// It belongs to the group in force (up, and a backup only where backups serve): the others are
    /// not there.
    pub usable: bool,
    /// Streams that it serves.
    pub served: u32,
    /// Streams that wait in its own queue.
    pub queued: u32,
    /// Most streams it may serve now; `u32::MAX`: no limit.
    pub limit: u32,
}

impl Load {
    /// Whether it takes part at all.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.usable && self.weight > 0
    }

    /// Whether it may serve one more stream.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.is_there() && self.served < self.limit
    }

    /// Whether a new stream may go to it at once: there is room, and nobody waits for that room.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.has_room() && (self.queued == 0 || self.limit == u32::MAX)
    }
}

/// How many units of [`Load::weight`] a user's weight of 1 has, so that a server can start slowly
/// even with that.
pub const SCALE: u32 = 16;

/// What is known of the stream that asks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ask<'a> {
    /// What a hash is made of (`source`: the address's octets; `hash`: the sample's bytes); `None`:
    /// there is nothing.
    pub key: Option<&'a [u8]>,
    /// A server that has just failed for this stream: another one, if there is one.
    pub avoid: Option<usize>,
    /// A random number, fresh for each ask.
    pub random: u64,
}

/// Who gets the next stream.
pub trait Algorithm: fmt::Debug + Send {
    /// Weights or usability have changed (rare: O(n log n) is fine).
    fn update(&mut self, servers: &[Load]);

    /// The choice. A deterministic algorithm (hash) may choose a server without room: the stream
    /// then waits in that server's queue. Others choose only servers with room; `None`: nobody has
    /// room, the stream waits for whoever is first.
    fn choose(&mut self, servers: &[Load], ask: &Ask<'_>) -> Option<usize>;

    /// `served` or `queued` of a server has changed.
    fn changed(&mut self, _server: usize, _servers: &[Load]) {}
}

/// What of a server's line an algorithm needs; the servers of a backend are given in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its `id`, or its number in its backend, from 1.
    pub id: u32,
    /// The weight that its line gives it, 0 to 256: static algorithms know no other.
    pub weight: u32,
}

/// Makes the algorithm that a backend's section asks for. Nobody is there before the first
/// [`Algorithm::update`].
pub fn make(settings: &Balance, servers: impl IntoIterator<Item = Member>) -> Box<dyn Algorithm> {
    let servers: Vec<Member> = servers.into_iter().collect();
    let hasher = match settings.algorithm {
        model::Algorithm::RoundRobin => return Box::new(roundrobin::RoundRobin::new(&servers)),
        model::Algorithm::StaticRr => return Box::new(static_rr::StaticRr::new(&servers)),
        model::Algorithm::LeastConn => return Box::new(leastconn::LeastConn::new(&servers)),
        model::Algorithm::First => return Box::new(first::First::new(&servers)),
        model::Algorithm::Random { draws } => {
            return Box::new(random::Random::new(draws, settings.factor));
        }
        model::Algorithm::Source => hash::Hasher::of_source(&settings.hash),
        model::Algorithm::Hash(_) => hash::Hasher::of_bytes(&settings.hash),
    };
    match settings.hash.method {
        Method::MapBased => Box::new(map::MapBased::new(hasher, &servers)),
        Method::Consistent => Box::new(consistent::Consistent::new(
            hasher,
            settings.factor,
            &servers,
        )),
    }
}

#[cfg(test)]
mod tests;
