//! What the guard is to refuse, and its translation into what the program looks up.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;
use thiserror::Error;
use underpass_common::guard::bucket::Rate;
use underpass_common::guard::frame::{Family, mapped};
use underpass_common::guard::{DROP, EVERY_ADDRESS, RESET};

use super::flatten::flatten;

/// How a connection attempt is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum How {
    /// Without an answer: the client goes on trying.
    Drop,
    /// With a reset, as where nobody listens.
    Reset,
}

impl How {
    /// As the program knows it.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::Drop => DROP,
            Self::Reset => RESET,
        }
    }
}

/// What is done with connection attempts from a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They are refused.
    Deny {
        /// The number of the rule.
        rule: u32,
        /// How.
        how: How,
    },
    /// They are left to the daemon: the guard refuses none of them, whatever their rate.
    Allow,
}

/// How often a source may try to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Attempts per period and source address. None at all refuses everything.
    pub per_source_connections: u32,
    /// The period; at least [`SHORTEST_PERIOD`].
    pub period: Duration,
    /// The number of the rule.
    pub rule: u32,
    /// How attempts over the limit are refused.
    pub how: How,
}

/// The shortest period of a limit: the program's clock ticks every few milliseconds.
pub const SHORTEST_PERIOD: Duration = Duration::from_millis(100);
/// Most listeners of a plan.
pub const MOST_LISTENERS: usize = 4096;
/// Most networks of a family.
pub const MOST_NETWORKS: usize = 1 << 20;

/// A listener to guard: an address, or every address of both families, and a port. The unspecified
/// address of a family means every address of that family.
pub type Listener = (Option<IpAddr>, u16);

/// Rules that some listeners share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Where they hold. An exact address goes before "every address" on the same port.
    pub listeners: Vec<Listener>,
    /// Networks; the first that contains the source decides.
    pub networks: Vec<(IpNet, Verdict)>,
    /// The limit for sources that no network contains.
    pub rate: Option<RateLimit>,
}

/// All that a guard is to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The rules, by listeners.
    pub policies: Vec<Policy>,
    /// Words for the rules' numbers, such as file and line; the first 116 bytes are kept.
    pub notes: BTreeMap<u32, String>,
}

/// Why a plan cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanError {
    /// Two policies for one listener.
    #[error("two lists of rules guard port {port} of {}", spell(*address))]
    Twice {
        /// The listener's address.
        address: Option<IpAddr>,
        /// Its port.
        port: u16,
    },
    /// The period is too short.
    #[error("a period of {0:?} is shorter than the 100 ms that the guard can tell apart")]
    Period(Duration),
    /// The rate is too high.
    #[error("{connections} connections per {period:?} is more than one per microsecond")]
    Rate {
        /// Connections.
        connections: u32,
        /// The period.
        period: Duration,
    },
    /// More than the program has room for.
    #[error("{found} {what}, and the guard has room for {most}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        most: usize,
    },
}

fn spell(address: Option<IpAddr>) -> String {
    address.map_or_else(|| "every address".to_owned(), |address| address.to_string())
}

/// What the program looks a listener up by: family, address or
/// [`EVERY_ADDRESS`], port.
pub type Guarded = (Family, [u8; 16], u16);

/// A rule as the program knows it.
pub type RuleKey = (u32, How);

/// A plan in the form of the program's maps, with rules instead of their slots and without a
/// generation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compiled {
    /// What is guarded, and the index of the policy.
    pub listeners: Vec<(Guarded, u32)>,
    /// Per policy.
    pub rates: Vec<Option<(RuleKey, Rate)>>,
    /// Policy, network, and the rule; `None`: left to the daemon. No network repeats, and the
    /// longest one around a source decides.
    pub networks: Vec<(u32, IpNet, Option<RuleKey>)>,
}

impl Compiled {
    /// Every rule that the plan uses.
    pub fn rules(&self) -> impl Iterator<Item = RuleKey> + '_ {
        let networks = self.networks.iter().filter_map(|(_, _, rule)| *rule);
        networks.chain(self.rates.iter().flatten().map(|(rule, _)| *rule))
    }
}

impl Plan {
    /// Translates the plan.
    ///
    /// # Errors
    /// When it cannot be carried out.
    pub fn compile(&self) -> Result<Compiled, PlanError> {
        let mut compiled = Compiled::default();
        let mut seen = HashMap::new();
        for (index, policy) in (0..).zip(&self.policies) {
            for &listener in &policy.listeners {
                for key in listener_keys(listener) {
                    if seen
                        .insert(key, index)
                        .is_some_and(|before| before != index)
                    {
                        let (address, port) = listener;
                        return Err(PlanError::Twice { address, port });
                    }
                }
            }
            let mut networks = policy.networks.clone();
            let rate = match policy.rate {
                Some(limit) if limit.per_source_connections == 0 => {
                    let deny = Verdict::Deny {
                        rule: limit.rule,
                        how: limit.how,
                    };
                    for all in [
                        IpNet::from(ipnet::Ipv4Net::default()),
                        IpNet::from(ipnet::Ipv6Net::default()),
                    ] {
                        networks.push((all, deny));
                    }
                    None
                }
                Some(limit) => Some(((limit.rule, limit.how), rate(&limit)?)),
                None => None,
            };
            compiled.rates.push(rate);
            for (network, verdict) in flatten(&networks) {
                let rule = match verdict {
                    Verdict::Deny { rule, how } => Some((rule, how)),
                    Verdict::Allow => None,
                };
                compiled.networks.push((index, network, rule));
            }
        }
        compiled.listeners = seen.into_iter().collect();
        let v4 = compiled
            .networks
            .iter()
            .filter(|(_, network, _)| matches!(network, IpNet::V4(_)))
            .count();
        for (what, found, most) in [
            ("listeners", compiled.listeners.len(), MOST_LISTENERS),
            ("IPv4 networks", v4, MOST_NETWORKS),
            ("IPv6 networks", compiled.networks.len() - v4, MOST_NETWORKS),
        ] {
            if found > most {
                return Err(PlanError::TooMany { what, found, most });
            }
        }
        Ok(compiled)
    }
}

fn rate(limit: &RateLimit) -> Result<Rate, PlanError> {
    if limit.period < SHORTEST_PERIOD {
        return Err(PlanError::Period(limit.period));
    }
    u64::try_from(limit.period.as_nanos())
        .ok()
        .and_then(|period| Rate::new(limit.per_source_connections, period))
        .ok_or(PlanError::Rate {
            connections: limit.per_source_connections,
            period: limit.period,
        })
}

/// One key, or one per family.
fn listener_keys((address, port): Listener) -> Vec<Guarded> {
    let every = |family| (family, EVERY_ADDRESS, port);
    match address {
        None => vec![every(Family::V4), every(Family::V6)],
        Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => vec![every(Family::V4)],
        Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => vec![every(Family::V6)],
        Some(address) => vec![(family(address), octets(address), port)],
    }
}

/// The version of IP that a packet from or to `address` has on the wire.
#[must_use]
pub fn family(address: IpAddr) -> Family {
    match address.to_canonical() {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}

/// The address as the program writes it.
#[must_use]
pub fn octets(address: IpAddr) -> [u8; 16] {
    match address.to_canonical() {
        IpAddr::V4(address) => mapped(address.octets()),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The address that the program writes so.
#[must_use]
pub fn from_octets(octets: [u8; 16]) -> IpAddr {
    IpAddr::V6(octets.into()).to_canonical()
}
