//! `balance`, `hash-type` and `hash-balance-factor`.

use std::sync::Arc;

use crate::rules::expr::Expr;

/// How a backend chooses servers.
#[derive(Debug, Clone, Default)]
pub struct Balance {
    /// `balance`
    pub algorithm: Algorithm,
    /// `hash-type`
    pub hash: HashType,
    /// `hash-balance-factor`: the most that a server may have, in percent of the average; 0: no
    /// bound.
    pub factor: u32,
}

/// `balance`.
#[derive(Debug, Clone, Default)]
pub enum Algorithm {
    /// In turns, by the weights in effect.
    #[default]
    RoundRobin,
    /// In turns, by the weights of the configuration.
    StaticRr,
    /// The fewest streams for its weight.
    LeastConn,
    /// The lowest id that has room.
    First,
    /// By a hash of the client's address.
    Source,
    /// By a hash of what this gives.
    Hash(Arc<Expr>),
    /// By chance.
    Random {
        /// How many servers are drawn, of which the least loaded one is taken; at least 1.
        draws: u32,
    },
}

/// What `random` means without a number.
pub const DEFAULT_DRAWS: u32 = 2;

/// What a stream is hashed by.
#[derive(Debug, Clone, Copy)]
pub enum Key<'a> {
    /// Nothing: the algorithm does not ask who comes.
    None,
    /// The octets of its source address.
    Source,
    /// What this gives, as binary data.
    Expr(&'a Expr),
}

impl Balance {
    /// What the algorithm must be given of a stream.
    #[must_use]
    pub fn key(&self) -> Key<'_> {
        match &self.algorithm {
            Algorithm::Source => Key::Source,
            Algorithm::Hash(expr) => Key::Expr(expr),
            _ => Key::None,
        }
    }

    /// Its name in statistics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match &self.algorithm {
            Algorithm::RoundRobin => "roundrobin",
            Algorithm::StaticRr => "static-rr",
            Algorithm::LeastConn => "leastconn",
            Algorithm::First => "first",
            Algorithm::Source => "source",
            Algorithm::Hash(_) => "hash",
            Algorithm::Random { .. } => "random",
        }
    }

    /// Whether weights other than 0 and those of the configuration mean nothing to the algorithm.
    #[must_use]
    pub fn is_static(&self) -> bool {
        match self.algorithm {
            Algorithm::StaticRr => true,
            Algorithm::Source | Algorithm::Hash(_) => self.hash.method == Method::MapBased,
            _ => false,
        }
    }
}

/// `hash-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HashType {
    /// How a hash finds a server.
    pub method: Method,
    /// How a key becomes a hash. Not for `balance source`.
    pub function: HashFunction,
    /// `avalanche`: the hash's bits are mixed.
    pub avalanche: bool,
}

/// How a hash finds a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// As a place in a list, which is another one whenever a server comes or goes.
    #[default]
    MapBased,
    /// As a place on a circle, on which every server keeps its points.
    Consistent,
}

/// How a key becomes a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HashFunction {
    /// That of the sdbm library.
    #[default]
    Sdbm,
    /// Dan Bernstein's.
    Djb2,
    /// HAProxy's own.
    Wt6,
    /// The CRC of Ethernet.
    Crc32,
}
