//! The decision against a naive one, on the host; the object itself on crafted frames, where the
//! kernel lets this process load it.

mod frames;
mod laws;
mod object;

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::plan::{How, Plan, Policy, RateLimit, Verdict};

/// A policy for every address on these ports.
fn policy(ports: &[u16]) -> Policy {
    Policy {
        listeners: ports.iter().map(|&port| (None, port)).collect(),
        ..Policy::default()
    }
}

fn net(text: &str) -> IpNet {
    text.parse().expect("a network")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn deny(rule: u32, how: How) -> Verdict {
    Verdict::Deny { rule, how }
}

fn limit(rule: u32, connections: u32, period: Duration) -> RateLimit {
    RateLimit {
        per_source_connections: connections,
        period,
        rule,
        how: How::Drop,
    }
}

fn plan(policies: Vec<Policy>) -> Plan {
    Plan {
        policies,
        ..Plan::default()
    }
}
