//! What holds whatever name servers say.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use super::super::*;
use super::world::{Says, World, plan};

const HOST: &str = "web.test";
const SERVICE: &str = "_http._tcp.test";
const TARGETS: [&str; 3] = ["a.test", "b.test", "c.test"];

/// A name starts to say something else, and time passes.
#[derive(Debug, Clone)]
struct Turn {
    name: &'static str,
    says: Says,
    wait: u64,
}

fn addresses() -> impl Strategy<Value = Vec<IpAddr>> {
    let one = (0..6u8).prop_map(|last| IpAddr::from([10, 0, 0, last]));
    proptest::collection::vec(one, 0..5)
}

fn services() -> impl Strategy<Value = Vec<Service>> {
    // Additional addresses are those of the target alone.
    let one = (0..TARGETS.len(), 1..3u16, any::<u16>(), any::<bool>());
    let one = one.prop_map(|(target, port, weight, additional)| Service {
        target: TARGETS[target].into(),
        port,
        weight,
        addresses: Vec::from_iter(additional.then(|| IpAddr::from([10, 1, 0, target as u8]))),
    });
    proptest::collection::vec(one, 0..5)
}

fn turn() -> impl Strategy<Value = Turn> {
    let failure = prop_oneof![
        Just(None),
        Just(Some(Failure::Nx)),
        Just(Some(Failure::Refused)),
        Just(Some(Failure::Other)),
    ];
    let fails = failure.prop_map(Says::Fails);
    let names = proptest::sample::select(vec![HOST, TARGETS[0], TARGETS[1], TARGETS[2]]);
    let host = (
        names,
        prop_oneof![3 => addresses().prop_map(Says::Addresses), 1 => fails.clone()],
    );
    let service = prop_oneof![3 => services().prop_map(Says::Services), 1 => fails];
    let service = service.prop_map(|says| (SERVICE, says));
    (prop_oneof![host, service], 0..4000u64).prop_map(|((name, says), wait)| Turn {
        name,
        says,
        wait,
    })
}

/// A server as the changes made it.
#[derive(Debug, Clone, Default)]
struct Server {
    up: bool,
    address: Option<(IpAddr, Option<u16>)>,
    host: Option<Arc<str>>,
}

/// Applies one change, and checks that it is one.
fn apply(server: &mut Server, effect: &Effect) {
    match effect {
        Effect::Address { from, to, port, .. } => {
            let before = server.address.map(|(ip, _)| ip);
            assert_eq!(*from, before.filter(|_| server.up));
            assert!(*from != Some(*to));
            server.address = Some((*to, *port));
        }
        Effect::Host { from, to } => {
            assert_eq!(server.host, *from);
            assert!(from.is_some() != to.is_some());
            server.host = to.clone();
        }
        Effect::Weight(weight) => assert!(*weight <= 256),
        Effect::Down(_) => assert!(std::mem::replace(&mut server.up, false)),
        Effect::Up { .. } => {
            assert!(server.address.is_some());
            assert!(!std::mem::replace(&mut server.up, true));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_name_servers_say(turns in proptest::collection::vec(turn(), 1..40)) {
        let names = [HOST, HOST, HOST, HOST, SERVICE, SERVICE, SERVICE, SERVICE];
        let mut world = World::new(names.map(|name| plan(name, None)).to_vec());
        let mut servers: BTreeMap<usize, Server> = BTreeMap::new();
        let mut valid = 0;
        for turn in turns {
            world.says(turn.name, turn.says);
            let before = world.changes.len();
            world.run(turn.wait);
            let host = world.known(HOST).cloned();
            for (when, at, effect) in &world.changes[before..] {
                let server = servers.entry(at.server).or_default();
                apply(server, effect);
                if names[at.server] != HOST {
                    continue;
                }
                match effect {
                    // Whoever has an address that is still in the answer keeps it.
                    Effect::Address { from: Some(from), .. } => {
                        let Some(Says::Addresses(known)) = &host else { panic!("no addresses") };
                        assert!(!known.contains(from), "{from} {known:?}");
                        valid = *when;
                    }
                    Effect::Address { .. } | Effect::Up { .. } => valid = *when,
                    Effect::Down(why) if why.contains("NX") => assert!(when - valid >= 5000),
                    Effect::Down(why) if why.contains("refused") => assert!(when - valid >= 3000),
                    Effect::Down(why) if why.contains("timeout") => assert!(when - valid >= 4000),
                    Effect::Down(why) if why.contains("unspecified") => assert!(when - valid >= 2000),
                    _ => {}
                }
            }
            // No address, and no record, serves two slots.
            let up = || servers.iter().filter(|(_, server)| server.up);
            let mut taken = HashSet::new();
            for (index, server) in up() {
                let address = server.address.unwrap();
                let service = names[*index] == SERVICE;
                assert_eq!(address.1.is_some(), service);
                assert!(taken.insert((service, server.host.clone(), address)), "{servers:?}");
            }
            let mut records = HashSet::new();
            for (index, slot) in world.machine.slots.iter().enumerate().skip(4) {
                let port = slot.service.as_ref().and_then(|place| place.port);
                assert_eq!(slot.host.is_some(), port.is_some());
                if let Some(host) = &slot.host {
                    assert!(records.insert((host.clone(), port)), "{index}");
                }
            }
            // The machine and the servers agree.
            for (index, slot) in world.machine.slots.iter().enumerate() {
                let server = servers.entry(index).or_default();
                assert_eq!(slot.down, !server.up);
                assert_eq!(slot.address.is_some(), server.up);
            }
        }
    }

    #[test]
    fn all_slots_are_filled_that_can_be(known in addresses(), slots in 1..6usize) {
        let mut world = World::new((0..slots).map(|_| plan(HOST, None)).collect());
        world.says(HOST, Says::Addresses(known.clone()));
        world.run(0);
        let different: HashSet<_> = known.into_iter().collect();
        let up = world.machine.resolved().count();
        assert_eq!(up, different.len().min(slots));
    }
}
