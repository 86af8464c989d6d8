//! Resolutions that are not waited for, and servers that stand for another host.

use super::super::errand::Errand;
use super::world::{World, plan};

#[test]
fn a_failed_check_has_the_name_asked_for_again() {
    let mut world = World::with(vec![plan("web.test", None)], |section| {
        section.patience.resolve = 60_000;
        section.holds.valid = 500;
    });
    world.set("web.test", &["10.0.0.1"]);
    world.run(0);
    world.asked();
    let doubt = Errand::Doubt(world.slots[0].at);
    world.set("web.test", &["10.0.0.2"]);
    // The last answer is too fresh.
    world.run(499);
    assert_eq!(world.errand(&doubt), [""; 0]);
    assert_eq!(world.asked(), 0);
    world.run(1);
    assert_eq!(world.errand(&doubt), ["0 10.0.0.1 > 10.0.0.2 by 0/0"]);
    assert_eq!(world.asked(), 2, "AAAA and A");
    // The next one is due a whole `timeout resolve` later.
    world.run(59_999);
    assert_eq!(world.asked(), 0);
    world.run(1);
    assert_eq!(world.asked(), 2);
}

#[test]
fn a_server_may_stand_for_another_host() {
    let mut world = World::new(vec![plan("web.test", None), plan("_x._tcp.test", None)]);
    world.set("web.test", &["10.0.0.1"]);
    world.set("other.test", &["10.0.0.2"]);
    world.run(0);
    let rename =
        |world: &World, slot: usize, name: &str| Errand::Rename(world.slots[slot].at, name.into());
    let lines = world.errand(&rename(&world, 0, "Other.test"));
    assert_eq!(lines, ["0 10.0.0.1 > 10.0.0.2 by 0/0"]);
    // Nobody asks for the old name any more.
    world.set("web.test", &["10.0.0.9"]);
    assert_eq!(world.run(5000), [""; 0]);
    let lines = world.errand(&rename(&world, 0, "nowhere.test"));
    assert_eq!(
        lines, [""; 0],
        "the address stays until it is known that there is none"
    );
    // Records of services name hosts, not people.
    assert_eq!(world.errand(&rename(&world, 1, "web.test")), [""; 0]);
    assert_eq!(world.run(0), [""; 0]);
}
