//! Links that lose, repeat, reorder, delay and damage: the streams over them do not.

use std::thread;

use underpass_tests::netns::{Layout, LinkOptions, Topology};
use underpass_tests::on_each_path;
use underpass_tests::pattern::Pattern;
use underpass_tests::peer::{Buffers, Exchange};
use underpass_tests::rig::{Path, Rig};
use underpass_tests::weather::{Climate, Weather};

const MB: u64 = 1 << 20;

/// Hosts whose links carry packets as small as those of a real network, in this weather.
fn rig(path: Path, weather: Weather) -> (Rig, Climate) {
    let options = LinkOptions {
        features: vec![("tso", "off"), ("gso", "off"), ("gro", "off")],
        ..LinkOptions::default()
    };
    let net = Topology::hosts(&options).unwrap();
    let climate = weather.set_in(&net).unwrap();
    let rig = Rig::on(net, path, false, Buffers::default(), |_| {});
    (rig, climate)
}

/// A long transfer both ways, some short flows, and a check that the weather was bad.
fn endure(path: Path, weather: Weather) {
    let (rig, climate) = rig(path, weather);
    let (up, down) = (Pattern::new(2 * 900), Pattern::new(2 * 900 + 1));
    let (client, server, carried) = rig.warm_flow(up, down);
    Exchange::new(900, 6 * MB, 6 * MB)
        .from(carried)
        .run(&client, &server);
    drop((client, server));
    let record = rig.record();
    rig.check(&record, carried + 6 * MB, carried + 6 * MB, "--");
    rig.check_path(&record, [1, 1]);

    // Which of these is which at the server is told by the daemon's own connections, in the order of the clients'.
    const SHORT: usize = 20;
    let flows: Vec<_> = (0..SHORT).map(|_| rig.flow()).collect();
    thread::scope(|scope| {
        for (seed, (client, server)) in (910..).zip(&flows) {
            scope.spawn(move || Exchange::new(seed, 20_000, 50_000).run(client, server));
        }
    });
    drop(flows);
    for record in &rig.records(1 + SHORT)[1..] {
        rig.check(record, 20_000, 50_000, "--");
    }
    assert!(
        climate.least_met(&rig.net).unwrap() > 0,
        "the weather was fine"
    );
    rig.stop();
}

fn loss(_: Layout, path: Path) {
    endure(
        path,
        Weather {
            lost: 10,
            ..Weather::default()
        },
    );
}

fn duplication(_: Layout, path: Path) {
    endure(
        path,
        Weather {
            repeated: 30,
            ..Weather::default()
        },
    );
}

fn reordering(_: Layout, path: Path) {
    endure(
        path,
        Weather {
            late: 30,
            ..Weather::default()
        },
    );
}

fn delay(_: Layout, path: Path) {
    endure(
        path,
        Weather {
            delayed: 10,
            ..Weather::default()
        },
    );
}

fn damage(_: Layout, path: Path) {
    endure(
        path,
        Weather {
            damaged: 10,
            ..Weather::default()
        },
    );
}

fn everything_at_once(_: Layout, path: Path) {
    endure(
        path,
        Weather {
            lost: 5,
            repeated: 10,
            late: 20,
            delayed: 10,
            damaged: 20,
        },
    );
}

on_each_path!(Hosts as hosts: loss, duplication, reordering, delay, damage, everything_at_once);
