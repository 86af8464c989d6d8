//! Services: SRV records and the slots that have them.

use super::super::*;
use super::world::{Says, World, ip, plan};

const NAME: &str = "_http._tcp.test";

fn record(target: &str, port: u16, weight: u16, addresses: &[&str]) -> Service {
    Service {
        target: target.into(),
        port,
        weight,
        addresses: addresses.iter().map(|text| ip(text)).collect(),
    }
}

fn world(slots: usize, records: Vec<Service>) -> World {
    let slots = (0..slots).map(|_| plan(NAME, None)).collect();
    let mut world = World::new(slots);
    world.says(NAME, Says::Services(records));
    world
}

#[test]
fn records_have_hosts_ports_weights_and_perhaps_addresses() {
    let records = vec![
        record("a.test", 8001, 10, &["10.0.0.1"]),
        record("b.test", 8002, 65535, &[]),
    ];
    let mut world = world(3, records);
    world.set("b.test", &["10.0.0.2"]);
    assert_eq!(
        world.run(0),
        [
            "0 (none) > 10.0.0.1:8001 by additional",
            "0 - is a.test",
            "0 weighs 1",
            "0 up",
            "1 - is b.test",
            "1 weighs 256",
            "1 (none) > 10.0.0.2:8002 by 0/0",
            "1 up, answered",
        ]
    );
    let records = vec![
        record("b.test", 8002, 0, &[]),
        record("a.test", 8009, 10, &["10.0.0.1"]),
    ];
    world.says(NAME, Says::Services(records));
    assert_eq!(
        world.run(1000),
        [
            "0 down: entry removed from SRV record",
            "0 a.test is -",
            "1 weighs 0",
            "0 (none) > 10.0.0.1:8009 by additional",
            "0 - is a.test",
            "0 weighs 1",
            "0 up",
        ],
        "a record with another port is another record"
    );
}

#[test]
fn records_without_a_slot_wait_for_one() {
    let records = vec![
        record("a.test", 1, 1, &["10.0.0.1"]),
        record("b.test", 1, 1, &["10.0.0.2"]),
    ];
    let mut world = world(1, records);
    assert_eq!(world.run(0).len(), 4);
    let records = vec![record("b.test", 1, 1, &["10.0.0.2"])];
    world.says(NAME, Says::Services(records));
    assert_eq!(
        world.run(1000),
        [
            "0 down: entry removed from SRV record",
            "0 a.test is -",
            "0 (none) > 10.0.0.2:1 by additional",
            "0 - is b.test",
            "0 weighs 1",
            "0 up",
        ]
    );
}

#[test]
fn a_service_that_is_gone_leaves_its_servers_when_the_hold_is_over() {
    let mut world = world(1, vec![record("a.test", 1, 1, &["10.0.0.1"])]);
    assert_eq!(world.run(0).len(), 4);
    world.fail(NAME, Some(Failure::Nx));
    assert_eq!(world.run(4999), [""; 0]);
    let gone = ["0 down: entry removed from SRV record", "0 a.test is -"];
    assert_eq!(world.run(2000), gone);
}

#[test]
fn a_host_of_a_record_that_is_gone_is_asked_for_no_more() {
    let mut world = world(1, vec![record("a.test", 1, 1, &[])]);
    world.set("a.test", &["10.0.0.1"]);
    assert_eq!(world.run(0).len(), 4);
    assert_eq!(world.asked(), 3, "the service, AAAA and A of its host");
    world.says(NAME, Says::Services(Vec::new()));
    world.run(20_000);
    world.asked();
    world.fail(NAME, None);
    world.run(1900);
    assert_eq!(world.asked(), 3, "three tries for the service");
    assert_eq!(world.machine.entries.len(), 1);
}

#[test]
fn weights_may_be_ignored() {
    let mut slot = plan(NAME, None);
    slot.ignore_weight = true;
    let mut world = World::new(vec![slot]);
    world.says(
        NAME,
        Says::Services(vec![record("a.test", 1, 9, &["10.0.0.1"])]),
    );
    assert!(!world.run(0).iter().any(|line| line.contains("weighs")));
}

#[test]
fn the_host_of_a_record_fails_alone() {
    let records = vec![record("a.test", 1, 1, &[]), record("b.test", 1, 1, &[])];
    let mut world = world(2, records);
    world.set("a.test", &["10.0.0.1"]);
    world.set("b.test", &["10.0.0.2"]);
    assert_eq!(world.run(0).len(), 8);
    world.fail("b.test", Some(Failure::Nx));
    assert_eq!(world.run(7000), ["1 down: DNS NX status"]);
    world.set("b.test", &["10.0.0.2"]);
    let back = ["1 (none) > 10.0.0.2:1 by 0/0", "1 up, answered"];
    assert_eq!(world.run(2000), back);
}
