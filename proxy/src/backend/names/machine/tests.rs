//! The machine in a world of names that the tests change.

mod errand;
mod laws;
mod service;
mod world;

use super::*;
use crate::config::model::names::AddressFamily;
use world::{World, ip, plan};

#[test]
fn addresses_go_round_and_who_has_one_keeps_it() {
    let slots = ["web.test"; 3].map(|name| plan(name, None)).to_vec();
    let mut world = World::new(slots);
    world.set("web.test", &["10.0.0.1", "10.0.0.2"]);
    let lines = world.run(0);
    assert_eq!(
        lines,
        [
            "0 (none) > 10.0.0.1 by 0/0",
            "0 up, answered",
            "1 (none) > 10.0.0.2 by cache",
            "1 up, answered",
        ]
    );
    // In another order, and with one more.
    world.set("web.test", &["10.0.0.2", "10.0.0.3", "10.0.0.1"]);
    let lines = world.run(1000);
    assert_eq!(lines, ["2 (none) > 10.0.0.3 by cache", "2 up, answered"]);
    world.set("web.test", &["10.0.0.3", "10.0.0.4"]);
    let lines = world.run(1000);
    assert_eq!(
        lines,
        ["0 10.0.0.1 > 10.0.0.4 by 0/0", "1 down: No IP for server ",]
    );
    world.set("web.test", &["10.0.0.4"]);
    assert_eq!(world.run(1000), ["2 down: No IP for server "]);
    assert_eq!(world.run(5000), [""; 0]);
}

#[test]
fn names_are_the_same_in_any_case_and_backends_do_not_share() {
    let mut other = plan("web.test", None);
    other.at.backend = 1;
    let slots = vec![plan("Web.test", None), plan("wEB.TEST", None), other];
    let mut world = World::new(slots);
    world.set("web.test", &["10.0.0.1"]);
    assert_eq!(
        world.run(0),
        [
            "0 (none) > 10.0.0.1 by 0/0",
            "0 up, answered",
            "2 (none) > 10.0.0.1 by cache",
            "2 up, answered",
        ]
    );
    assert_eq!(world.asked(), 2, "AAAA and A, once for all of them");
}

#[test]
fn servers_that_begin_with_the_same_address_part() {
    let slots = ["web.test"; 3]
        .map(|name| plan(name, Some("10.0.0.1")))
        .to_vec();
    let mut world = World::new(slots);
    world.set("web.test", &["10.0.0.1", "10.0.0.2"]);
    assert_eq!(
        world.run(0),
        [
            "1 10.0.0.1 > 10.0.0.2 by cache",
            "2 down: No IP for server ",
        ]
    );
}

#[test]
fn an_address_may_be_shared_on_request_but_a_free_one_is_better() {
    let mut shares = plan("web.test", None);
    shares.wish.allow_duplicates = true;
    let mut world = World::new(vec![shares.clone(), shares]);
    world.set("web.test", &["10.0.0.1"]);
    assert_eq!(
        world.run(0),
        [
            "0 (none) > 10.0.0.1 by 0/0",
            "0 up, answered",
            "1 (none) > 10.0.0.1 by cache",
            "1 up, answered",
        ]
    );
    world.set("web.test", &["10.0.0.1", "10.0.0.2"]);
    assert_eq!(world.run(1000), ["1 10.0.0.1 > 10.0.0.2 by cache"]);
}

#[test]
fn errors_are_borne_for_as_long_as_their_hold() {
    let (nx, refused) = (Failure::Nx, Failure::Refused);
    for (failure, hold, why) in [
        (Some(nx), 5000, "DNS NX status"),
        (Some(refused), 3000, "DNS refused status"),
        (Some(Failure::Empty), 2000, "unspecified DNS error"),
        (Some(Failure::Truncated), 2000, "unspecified DNS error"),
        (None, 4000, "DNS timeout status"),
    ] {
        let mut world = World::new(vec![plan("web.test", None)]);
        world.set("web.test", &["10.0.0.1"]);
        assert_eq!(world.run(0).len(), 2);
        world.fail("web.test", failure);
        assert_eq!(world.run(hold - 1), [""; 0], "{why}");
        // A resolution takes a second of rest and a second of tries.
        assert_eq!(world.run(2000), [format!("0 down: {why}")]);
        world.set("web.test", &["10.0.0.1"]);
        let back = ["0 (none) > 10.0.0.1 by 0/0", "0 up, answered"];
        assert_eq!(world.run(2500), back);
    }
}

#[test]
fn an_error_before_any_answer_is_not_borne() {
    let mut world = World::new(vec![plan("web.test", Some("10.0.0.9"))]);
    world.fail("web.test", Some(Failure::Nx));
    assert_eq!(world.run(700), ["0 down: DNS NX status"]);
}

#[test]
fn an_address_that_is_missing_counts_until_it_is_obsolete() {
    let mut world = World::with(vec![plan("web.test", None)], |section| {
        section.holds.obsolete = 3500;
    });
    world.set("web.test", &["10.0.0.1"]);
    assert_eq!(world.run(0).len(), 2);
    world.set("web.test", &["10.0.0.2"]);
    assert_eq!(world.run(3499), [""; 0]);
    assert_eq!(world.run(501), ["0 10.0.0.1 > 10.0.0.2 by 0/0"]);
}

#[test]
fn the_family_wished_for_is_asked_first() {
    let mut four = plan("web.test", None);
    four.wish.family = AddressFamily::V4;
    let mut world = World::new(vec![plan("web.test", None), four]);
    world.set("web.test", &["10.0.0.1", "fd00::1"]);
    assert_eq!(
        world.run(0),
        [
            "0 (none) > fd00::1 by 0/0",
            "0 up, answered",
            "1 (none) > 10.0.0.1 by 0/0",
            "1 up, answered",
        ]
    );
}

#[test]
fn an_address_that_somebody_gave_is_replaced() {
    let mut world = World::new(vec![plan("web.test", None)]);
    world.set("web.test", &["10.0.0.1"]);
    assert_eq!(world.run(0).len(), 2);
    world.machine.observe(world.slots[0].at, ip("10.9.9.9"));
    assert_eq!(world.run(1000), ["0 10.9.9.9 > 10.0.0.1 by 0/0"]);
}

#[test]
fn without_name_servers_nothing_is_ever_due() {
    let world = World::with(vec![plan("web.test", None)], |section| {
        section.patience.nameservers = 0;
    });
    assert_eq!(world.machine.due(), None);
}
