//! The decision of the program against a naive reading of the plan, with maps of the host's.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use underpass_common::guard::bucket::{self, Rate};
use underpass_common::guard::frame::{Family, Syn, parse};
use underpass_common::guard::{
    ALLOWED, Guarded, Judgement, ListenerKey, NO_RULE, Reason, SourceKey, Tables, judge, key_v4,
    key_v6, scope,
};

use super::frames::Spec;
use super::object::loaded;
use crate::offload::guard::plan::{Compiled, How, Plan, Policy, RateLimit, Verdict, octets};
use crate::offload::guard::program::Action;

/// The maps, of a plan whose rules' slots are their numbers.
struct Host {
    compiled: Compiled,
    full_at: RefCell<HashMap<SourceKey, u64>>,
    now: u64,
}

const GENERATION: u8 = 1;

impl Host {
    fn longest(&self, found: impl Fn(u32, &IpNet) -> bool) -> Option<u32> {
        let networks = self.compiled.networks.iter();
        networks
            .filter(|(policy, network, _)| found(*policy, network))
            .max_by_key(|(_, network, _)| network.prefix_len())
            .map(|(_, _, rule)| rule.map_or(ALLOWED, |(id, _)| id))
    }
}

impl Tables for Host {
    fn generation(&self) -> u8 {
        GENERATION
    }

    fn listener(&self, key: &ListenerKey) -> Option<Guarded> {
        let listeners = self.compiled.listeners.iter();
        let found = listeners.filter(|_| key.generation == GENERATION).find(
            |((family, address, port), _)| {
                (*family as u8, *address, *port) == (key.family, key.address, key.port)
            },
        );
        found.map(|&(_, policy)| {
            let rate = self.compiled.rates[policy as usize];
            Guarded {
                policy,
                rate_rule: rate.map_or(NO_RULE, |((id, _), _)| id),
                rate: rate.map_or(Rate::default(), |(_, rate)| rate),
            }
        })
    }

    fn network_v4(&self, key: &[u8; 8]) -> Option<u32> {
        self.longest(|policy, network| match network {
            IpNet::V4(network) => {
                let address = [key[4], key[5], key[6], key[7]];
                network.contains(&Ipv4Addr::from(address))
                    && key_v4(scope(policy, GENERATION), address) == *key
            }
            IpNet::V6(_) => false,
        })
    }

    fn network_v6(&self, key: &[u8; 20]) -> Option<u32> {
        self.longest(|policy, network| match network {
            IpNet::V6(network) => {
                let address: [u8; 16] = key[4..].try_into().expect("16 bytes");
                network.contains(&Ipv6Addr::from(address))
                    && key_v6(scope(policy, GENERATION), &address) == *key
            }
            IpNet::V4(_) => false,
        })
    }

    fn admit(&self, source: &SourceKey, rate: &Rate) -> bool {
        let mut full_at = self.full_at.borrow_mut();
        let full_at = full_at.entry(*source).or_default();
        match bucket::take(*full_at, self.now, rate) {
            Ok(next) => {
                *full_at = next;
                true
            }
            Err(_) => false,
        }
    }
}

fn v4() -> impl Strategy<Value = Ipv4Addr> {
    prop::array::uniform4(prop::sample::select(vec![0_u8, 1, 10, 255])).prop_map(Ipv4Addr::from)
}

fn v6() -> impl Strategy<Value = Ipv6Addr> {
    let bits = prop::sample::select(vec![0_u8, 1, 0xfd]);
    (bits.clone(), bits).prop_map(|(first, last)| {
        Ipv6Addr::from([first, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last])
    })
}

fn network() -> impl Strategy<Value = IpNet> {
    prop_oneof![
        (v4(), 0..=32_u8).prop_map(|(a, length)| IpNet::new(a.into(), length).expect("a length")),
        (v6(), 0..=128_u8).prop_map(|(a, length)| IpNet::new(a.into(), length).expect("a length")),
    ]
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        Just(Verdict::Allow),
        (0..50_u32).prop_map(|rule| Verdict::Deny {
            rule,
            how: How::Drop
        }),
    ]
}

/// Addresses of every host itself. Two of IPv4 and two ports are enough for exact ones to meet
/// wildcards.
fn destination(family_v4: bool, last: u8) -> IpAddr {
    if family_v4 {
        Ipv4Addr::new(127, 0, 0, last).into()
    } else {
        Ipv6Addr::LOCALHOST.into()
    }
}

fn limit(base: u32) -> impl Strategy<Value = Option<RateLimit>> {
    prop::option::of(
        (0..4_u32).prop_map(move |per_source_connections| RateLimit {
            per_source_connections,
            // Nothing is earned while a test runs.
            period: Duration::from_secs(3600),
            rule: base,
            how: How::Reset,
        }),
    )
}

/// Policy 0 has exact listeners, policy 1 wildcards of one or both families.
fn plans() -> impl Strategy<Value = Plan> {
    let networks = || prop::collection::vec((network(), verdict()), 0..12);
    (networks(), networks(), limit(100), limit(101), 0..3_u8).prop_map(
        |(first, second, first_rate, second_rate, wildcard)| {
            let every = match wildcard {
                0 => None,
                1 => Some(Ipv4Addr::UNSPECIFIED.into()),
                _ => Some(Ipv6Addr::UNSPECIFIED.into()),
            };
            let exact = Policy {
                listeners: vec![
                    (Some(destination(true, 1)), 80),
                    (Some(destination(false, 1)), 80),
                ],
                networks: first,
                rate: first_rate,
            };
            let wild = Policy {
                listeners: vec![(every, 80), (every, 81)],
                networks: second,
                rate: second_rate,
            };
            Plan {
                policies: vec![exact, wild],
                ..Plan::default()
            }
        },
    )
}

/// The plan, read from top to bottom; `taken` counts what the source has been granted so far.
fn naive(
    plan: &Plan,
    source: IpAddr,
    destination: (IpAddr, u16),
    taken: &mut HashMap<(u32, IpAddr), u32>,
) -> Judgement {
    let every = if source.is_ipv4() {
        IpAddr::from(Ipv4Addr::UNSPECIFIED)
    } else {
        IpAddr::from(Ipv6Addr::UNSPECIFIED)
    };
    let of = |wanted: &dyn Fn(Option<IpAddr>) -> bool| {
        let mut policies = plan.policies.iter();
        policies.find(|policy| {
            let mut listeners = policy.listeners.iter();
            listeners.any(|(address, port)| *port == destination.1 && wanted(*address))
        })
    };
    let exact = of(&|address| address == Some(destination.0));
    let everywhere = exact.is_none();
    let Some(policy) = exact.or_else(|| of(&|address| address.is_none_or(|a| a == every))) else {
        return Judgement::Unguarded;
    };
    for (network, verdict) in &policy.networks {
        if network.contains(&source) {
            return match *verdict {
                Verdict::Allow => Judgement::Allow,
                Verdict::Deny { rule, .. } => Judgement::Refuse {
                    rule,
                    reason: Reason::Network,
                    everywhere,
                },
            };
        }
    }
    let Some(rate) = policy.rate else {
        return Judgement::Pass;
    };
    let taken = taken.entry((rate.rule, source)).or_default();
    if *taken < rate.per_source_connections {
        *taken += 1;
        return Judgement::Pass;
    }
    Judgement::Refuse {
        rule: rate.rule,
        // No connections at all is a network: all of them.
        reason: if rate.per_source_connections == 0 {
            Reason::Network
        } else {
            Reason::Rate
        },
        everywhere,
    }
}

/// Attempts: family, source of either, and what of the destination varies.
fn attempts() -> impl Strategy<Value = Vec<(bool, Ipv4Addr, Ipv6Addr, u8, u16)>> {
    prop::collection::vec((prop::bool::ANY, v4(), v6(), 1..3_u8, 79..83_u16), 1..40)
}

#[test]
fn the_object_decides_as_the_plan_reads() {
    let Some(program) = loaded(&Plan::default()) else {
        return;
    };
    let program = RefCell::new(program);
    // What a source has used up stays so, so each plan gets limits of its own.
    let next_rule = Cell::new(1000);
    let config = Config {
        failure_persistence: None,
        ..Config::with_cases(100)
    };
    let law = |(mut plan, attempts): (Plan, Vec<_>)| {
        for rate in plan
            .policies
            .iter_mut()
            .filter_map(|policy| policy.rate.as_mut())
        {
            rate.rule = next_rule.replace(next_rule.get() + 1);
        }
        let mut program = program.borrow_mut();
        program.replace(&plan).expect("a plan");
        let mut taken = HashMap::new();
        for (family_v4, v4, v6, last, port) in attempts {
            let source = if family_v4 {
                IpAddr::from(v4)
            } else {
                IpAddr::from(v6)
            };
            let destination = destination(family_v4, last);
            let spec = Spec {
                destination,
                destination_port: port,
                ..Spec::syn(source)
            };
            let (action, _, _) = program.run(&spec.build(), 1).expect("a run");
            let expected = match naive(&plan, source, (destination, port), &mut taken) {
                // Those of networks drop, limits reset.
                Judgement::Refuse { rule, .. } if rule < 50 => Action::Drop,
                Judgement::Refuse { .. } => Action::Transmit,
                _ => Action::Pass,
            };
            prop_assert_eq!(action, expected, "{} to {}:{}", source, destination, port);
        }
        Ok(())
    };
    if let Err(error) = TestRunner::new(config).run(&(plans(), attempts()), law) {
        panic!("{error}");
    }
}

proptest! {
    #[test]
    fn the_program_decides_as_the_plan_reads(
        plan in plans(),
        attempts in attempts(),
    ) {
        let compiled = plan.compile().expect("a plan");
        let host = Host { compiled, full_at: RefCell::default(), now: 100_000_000_000_000 };
        let mut taken = HashMap::new();
        for (family_v4, v4, v6, last, port) in attempts {
            let source = if family_v4 { IpAddr::from(v4) } else { IpAddr::from(v6) };
            let destination = destination(family_v4, last);
            let spec = Spec { destination, destination_port: port, ..Spec::syn(source) };
            let syn = parse(spec.build().as_slice()).expect("a SYN");
            let expected = naive(&plan, source, (destination, port), &mut taken);
            prop_assert_eq!(judge(&syn, &host), expected);
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(bytes.as_slice());
    }

    /// A mutilated SYN may be taken for another one, but not for one that is not there whole.
    #[test]
    fn one_wrong_byte_is_survived(
        (family_v4, tags) in (prop::bool::ANY, 0..3_usize),
        at in 0..100_usize,
        value in any::<u8>(),
    ) {
        let source = if family_v4 { "10.0.0.1" } else { "fd00::1" };
        let spec = Spec {
            tags: vec![(0x8100, 9); tags],
            ..Spec::syn(source.parse().expect("an address"))
        };
        let mut frame = spec.build();
        let at = at % frame.len();
        frame[at] = value;
        if let Some(syn) = parse(frame.as_slice()) {
            let header = match syn.family { Family::V4 => 20, Family::V6 => 40 };
            prop_assert!(syn.network_at + header + 20 <= frame.len());
            prop_assert!(syn.payload as usize <= frame.len());
        }
    }

    #[test]
    fn what_is_built_is_found(
        v6_source in v6(), v4_source in v4(), family_v4 in prop::bool::ANY,
        tags in prop::collection::vec((prop::sample::select(vec![0x8100_u16, 0x88a8]), any::<u16>()), 0..3),
        source_port in any::<u16>(), destination_port in any::<u16>(), sequence in any::<u32>(),
        ip_options in 0..11_usize, tcp_options in 0..11_usize,
        extensions in prop::collection::vec((prop::sample::select(vec![0_u8, 60, 43]), 0..4_u8), 0..5),
        payload in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        let source = if family_v4 { IpAddr::from(v4_source) } else { IpAddr::from(v6_source) };
        let spec = Spec {
            tags, source_port, destination_port, sequence,
            ip_options: ip_options * 4,
            tcp_options: tcp_options * 4,
            extensions,
            payload: payload.clone(),
            ..Spec::syn(source)
        };
        let expected = Syn {
            family: if family_v4 { Family::V4 } else { Family::V6 },
            source: octets_on_the_wire(source),
            destination: octets(spec.destination),
            source_port, destination_port, sequence,
            payload: payload.len() as u32,
            network_at: 14 + 4 * spec.tags.len(),
        };
        prop_assert_eq!(parse(spec.build().as_slice()), Some(expected));
    }
}

fn octets_on_the_wire(source: IpAddr) -> [u8; 16] {
    match source {
        IpAddr::V4(_) => octets(source),
        IpAddr::V6(source) => source.octets(),
    }
}
