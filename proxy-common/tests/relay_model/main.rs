//! The relay's decisions and its translation against a model of two TCP connections.
//!
//! Far hosts, the proxy's sockets and the copy between them are modelled down to what Linux refuses;
//! links lose, repeat and reorder; the flow is relayed at a random moment. Every segment knows what
//! it means, so that its numbers can be held against that wherever it comes by.

mod program;
mod socket;
mod wire;
mod world;

use proptest::prelude::*;
use underpass_common::relay::EVENT_ENDED;
use world::{LOCAL_BUFFER, Plan, Stage, World};

/// Numbers, often about to wrap around.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![
        any::<u32>(),
        0u32..40_000,
        (0u32..40_000).prop_map(|below| !below),
        (0u32..40_000).prop_map(|below| 0x8000_0000 - below)
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    let hosts = (
        [number(), number(), number(), number()],
        [0u8..15, 0u8..15, 0u8..15, 0u8..15],
        [number(), number(), number(), number()],
    );
    let streams = ([0u32..60_000, 0u32..60_000], [100u32..5000, 100u32..5000]);
    let rest = (any::<u64>(), any::<[bool; 3]>(), 0u32..3000);
    let weather = [0u8..15, 0u8..15, 0u8..40];
    (hosts, streams, rest, weather).prop_map(|(hosts, streams, rest, weather)| Plan {
        seed: rest.0,
        numbers: hosts.0,
        scales: hosts.1,
        epochs: hosts.2,
        timestamps: rest.1[0],
        sack: rest.1[1],
        streams: streams.0,
        buffers: streams.1,
        least: LOCAL_BUFFER,
        steps: rest.2,
        weather,
        is_vouched_for: rest.1[2],
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every byte arrives, in its place, and both ends see the other's end; the records say so.
    ///
    /// A round is so long that a socket's clock catches up with relayed time stamps.
    #[test]
    fn streams_arrive_whole(plan in plan()) {
        let world = run(&plan, 64);
        if world.stage == Stage::Settled {
            prop_assert!(world.program.events.contains(&EVENT_ENDED));
        }
    }

    /// The same, while what is relayed stays ahead of what the sockets still send.
    #[test]
    fn sockets_finish_beside_relayed_segments(plan in plan()) {
        run(&plan, 1);
    }

    /// The same, where a segment that was overtaken may carry a time stamp that its receiver refuses.
    #[test]
    fn refused_payload_leaves_no_hole(plan in plan(), ticks in 1u32..64) {
        run(&Plan { timestamps: true, ..plan }, ticks);
    }

    /// The far hosts take less at a time than the proxy's sockets had promised for them.
    #[test]
    fn windows_that_shrink_at_the_start(plan in plan()) {
        run(&Plan { least: 0, ..plan }, 64);
    }

    /// Whoever knows addresses and ports, and not the numbers, changes nothing.
    #[test]
    fn forgeries_change_nothing(plan in plan(), forged in any::<[u32; 3]>(), payload in 0u32..2000) {
        let mut world = World::new(&plan);
        for _ in 0..plan.steps {
            world.step();
        }
        for end in 0..2 {
            world.forge(end, forged, payload);
        }
    }
}

fn run(plan: &Plan, ticks: u32) -> World {
    let mut world = World::new(plan);
    for _ in 0..plan.steps {
        world.step();
    }
    world.finish(5000, ticks);
    world
}
