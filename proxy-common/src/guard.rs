//! The guard: judges connection attempts on an interface before the stack sees them.
//!
//! A packet is judged only when it is a SYN towards a guarded listener; everything else passes,
//! so that an established connection is never touched. What the program looks up it looks up
//! through [`Tables`], and so does user space when it is asked why a source is refused: both give
//! the same answer because both run [`judge`].
//!
//! Everything that belongs to one set of rules carries the set's *generation*, 0 or 1, in its key.
//! Filling the other generation changes nothing; one store switches over.

pub mod bucket;
pub mod frame;
pub mod reset;

use bucket::Rate;
use frame::{Family, Syn};

/// Longest text of a rule, bytes.
pub const NOTE_BYTES: usize = 116;
/// In place of a rule's slot: the network is left to the daemon.
pub const ALLOWED: u32 = u32::MAX;
/// In place of a rule's slot: there is no rate limit.
pub const NO_RULE: u32 = u32::MAX;
/// [`ListenerKey::address`]: every address of the family.
pub const EVERY_ADDRESS: [u8; 16] = [0; 16];
/// [`Rule::how`]: the packet is dropped.
pub const DROP: u32 = 0;
/// [`Rule::how`]: the packet is answered with a reset.
pub const RESET: u32 = 1;
/// The program's name, as the kernel shows it.
pub const PROGRAM: &str = "underpass_guard";

/// Where a connection is tried to.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenerKey {
    /// The address, that of IPv4 as IPv6 writes it, or [`EVERY_ADDRESS`].
    pub address: [u8; 16],
    /// The port.
    pub port: u16,
    /// [`Family`] as a number.
    pub family: u8,
    /// The generation of the rules.
    pub generation: u8,
}

/// What holds for a listener.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guarded {
    /// Which list of networks.
    pub policy: u32,
    /// Slot of the rule that limits the rate, or [`NO_RULE`].
    pub rate_rule: u32,
    /// That limit.
    pub rate: Rate,
}

/// One source as one rate rule sees it. Without a generation: what a source has used up stays used
/// up when rules are replaced.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SourceKey {
    /// The source.
    pub address: [u8; 16],
    /// Slot of the rule.
    pub rule: u32,
}

/// What a rule does, and the words for whoever asks.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// The number by which user space knows it.
    pub id: u32,
    /// [`DROP`] or [`RESET`].
    pub how: u32,
    /// Bytes of `note`.
    pub note_length: u32,
    /// Where it is written.
    pub note: [u8; NOTE_BYTES],
}

/// What became of a SYN to a guarded listener; each is counted.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// No rule applied.
    Passed = 0,
    /// Its network is left to the daemon.
    Allowed = 1,
    /// Its network is denied: dropped.
    NetworkDropped = 2,
    /// Its network is denied: reset.
    NetworkReset = 3,
    /// Its source is over its rate: dropped.
    RateDropped = 4,
    /// Its source is over its rate: reset.
    RateReset = 5,
    /// It was to be refused, but its destination is another host, which this one forwards to.
    Forwarded = 6,
}

impl Outcome {
    /// That of a SYN which is refused for `reason` by a rule that refuses as `how` says.
    #[inline(always)]
    #[must_use]
    pub const fn of(reason: Reason, how: u32) -> Self {
        match (reason, how == RESET) {
            (Reason::Network, false) => Self::NetworkDropped,
            (Reason::Network, true) => Self::NetworkReset,
            (Reason::Rate, false) => Self::RateDropped,
            (Reason::Rate, true) => Self::RateReset,
        }
    }

    /// All of them, by number.
    pub const ALL: [Self; 7] = [
        Self::Passed,
        Self::Allowed,
        Self::NetworkDropped,
        Self::NetworkReset,
        Self::RateDropped,
        Self::RateReset,
        Self::Forwarded,
    ];
}

/// Why a SYN is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Its source's network.
    Network,
    /// Its source's rate.
    Rate,
}

/// What the rules say of a SYN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Its destination is not guarded.
    Unguarded,
    /// No rule applies.
    Pass,
    /// Its network is left to the daemon.
    Allow,
    /// It is refused.
    Refuse {
        /// Slot of the rule that refuses it.
        rule: u32,
        /// Why.
        reason: Reason,
        /// Whether it is so at every address: then the destination may be another host's.
        everywhere: bool,
    },
}

/// The rules as they can be looked up.
pub trait Tables {
    /// The generation in force.
    fn generation(&self) -> u8;
    /// What holds for a listener.
    fn listener(&self, key: &ListenerKey) -> Option<Guarded>;
    /// The longest network around an IPv4 source: a rule's slot or [`ALLOWED`].
    fn network_v4(&self, key: &[u8; 8]) -> Option<u32>;
    /// As [`Tables::network_v4`], of an IPv6 source.
    fn network_v6(&self, key: &[u8; 20]) -> Option<u32>;
    /// Whether the source may connect once more; the program counts it.
    fn admit(&self, source: &SourceKey, rate: &Rate) -> bool;
}

/// What stands before the address in a network's key: a policy of a generation.
#[inline(always)]
#[must_use]
pub const fn scope(policy: u32, generation: u8) -> [u8; 4] {
    (policy << 1 | (generation & 1) as u32).to_ne_bytes()
}

/// Bits of [`scope`], which a network's prefix length includes.
pub const SCOPE_BITS: u32 = 32;

/// The key to look an IPv4 address up by.
#[inline(always)]
#[must_use]
pub const fn key_v4(scope: [u8; 4], address: [u8; 4]) -> [u8; 8] {
    let ([s0, s1, s2, s3], [a, b, c, d]) = (scope, address);
    [s0, s1, s2, s3, a, b, c, d]
}

/// The key to look an IPv6 address up by.
#[inline(always)]
#[must_use]
pub fn key_v6(scope: [u8; 4], address: &[u8; 16]) -> [u8; 20] {
    let mut key = [0; 20];
    key[..4].copy_from_slice(&scope);
    key[4..].copy_from_slice(address);
    key
}

/// What the rules say of a SYN.
#[inline(always)]
pub fn judge<T: Tables>(syn: &Syn, tables: &T) -> Judgement {
    let generation = tables.generation();
    let mut key = ListenerKey {
        address: syn.destination,
        port: syn.destination_port,
        family: syn.family as u8,
        generation,
    };
    let guarded = match tables.listener(&key) {
        Some(guarded) => guarded,
        None => {
            key.address = EVERY_ADDRESS;
            match tables.listener(&key) {
                Some(guarded) => guarded,
                None => return Judgement::Unguarded,
            }
        }
    };
    judge_source(&key, &guarded, &syn.source, tables)
}

/// What the rules of a listener say of a source.
#[inline(always)]
pub fn judge_source<T: Tables>(
    key: &ListenerKey,
    guarded: &Guarded,
    source: &[u8; 16],
    tables: &T,
) -> Judgement {
    let everywhere = key.address == EVERY_ADDRESS;
    let scope = scope(guarded.policy, key.generation);
    let network = if key.family == Family::V4 as u8 {
        let [.., a, b, c, d] = *source;
        tables.network_v4(&key_v4(scope, [a, b, c, d]))
    } else {
        tables.network_v6(&key_v6(scope, source))
    };
    match network {
        Some(ALLOWED) => return Judgement::Allow,
        Some(rule) => {
            return Judgement::Refuse {
                rule,
                reason: Reason::Network,
                everywhere,
            };
        }
        None => {}
    }
    if guarded.rate_rule == NO_RULE {
        return Judgement::Pass;
    }
    let key = SourceKey {
        address: *source,
        rule: guarded.rate_rule,
    };
    if tables.admit(&key, &guarded.rate) {
        Judgement::Pass
    } else {
        Judgement::Refuse {
            rule: guarded.rate_rule,
            reason: Reason::Rate,
            everywhere,
        }
    }
}
