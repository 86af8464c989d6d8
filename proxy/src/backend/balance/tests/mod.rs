//! What every algorithm promises (`laws`), how each shares streams out (`shares`), who is
//! disturbed when a server goes (`disruption`), what HAProxy chose (`as_haproxy`),
//! and by which keys (`keys`).

mod as_haproxy;
mod disruption;
mod keys;
mod laws;
mod shares;

use std::net::Ipv4Addr;

use super::*;
use crate::config::model::Environment;
use crate::config::{Source, load};

/// Those that ask who comes, and those that do not.
const HASHES: [&str; 6] = [
    "balance source",
    "balance source\n hash-type consistent",
    "balance hash src",
    "balance hash src\n hash-type map-based wt6 avalanche",
    "balance hash src\n hash-type consistent",
    "balance hash src\n hash-type consistent crc32\n hash-balance-factor 125",
];
const OTHERS: [&str; 7] = [
    "balance roundrobin",
    "balance static-rr",
    "balance leastconn",
    "balance first",
    "balance random",
    "balance random(1)",
    "balance random(5)\n hash-balance-factor 125",
];

/// The settings that these lines make.
fn settings(lines: &str) -> Balance {
    let text = format!("backend b\n {lines}\n server s 192.0.2.1:80\n");
    let outcome = load(&[Source::new("t.cfg", text)], &Environment::new());
    let config = outcome
        .config
        .unwrap_or_else(|| panic!("{lines}\n{:#?}", outcome.diagnostics));
    config.backends[0].balance.clone()
}

/// Servers with ids from 1 and these weights.
fn members(weights: &[u32]) -> Vec<Member> {
    let servers = (1..).zip(weights);
    servers.map(|(id, &weight)| Member { id, weight }).collect()
}

/// Idle servers without limits, with these weights.
fn idle(weights: &[u32]) -> Vec<Load> {
    let load = |&weight: &u32| Load {
        weight: weight * SCALE,
        usable: true,
        served: 0,
        queued: 0,
        limit: u32::MAX,
    };
    weights.iter().map(load).collect()
}

/// A backend in which streams come and stay.
struct Rig {
    algorithm: Box<dyn Algorithm>,
    servers: Vec<Load>,
    random: u64,
}

impl Rig {
    fn new(lines: &str, weights: &[u32]) -> Self {
        let mut algorithm = make(&settings(lines), members(weights));
        let servers = idle(weights);
        algorithm.update(&servers);
        Self {
            algorithm,
            servers,
            random: 0,
        }
    }

    /// The choice for a stream, which goes away again.
    fn ask(&mut self, key: Option<&[u8]>) -> Option<usize> {
        self.random += 1;
        let ask = Ask {
            key,
            avoid: None,
            random: self.random,
        };
        self.algorithm.choose(&self.servers, &ask)
    }

    /// The choice for a stream that stays.
    fn hold(&mut self, key: Option<&[u8]>) -> usize {
        let at = self.ask(key).unwrap();
        self.servers[at].served += 1;
        self.algorithm.changed(at, &self.servers);
        at
    }

    /// Changes a server, and tells the algorithm.
    fn change(&mut self, at: usize, change: impl FnOnce(&mut Load)) {
        change(&mut self.servers[at]);
        self.algorithm.update(&self.servers);
    }

    /// How many of so many streams each server gets.
    fn counts(&mut self, streams: usize) -> Vec<u32> {
        let mut counts = vec![0; self.servers.len()];
        for _ in 0..streams {
            counts[self.ask(None).unwrap()] += 1;
        }
        counts
    }
}

/// Addresses of a small network, as keys.
fn addresses(count: u32) -> impl Iterator<Item = [u8; 4]> {
    let first = u32::from(Ipv4Addr::new(127, 1, 0, 1));
    (first..first + count).map(u32::to_be_bytes)
}
