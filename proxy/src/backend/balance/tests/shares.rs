//! How streams are shared out.

use proptest::prelude::*;

use super::*;

/// Weights of which somebody has one.
fn weights() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(0u32..20, 1..8).prop_filter("somebody must be there", |weights| {
        weights.iter().any(|&weight| weight > 0)
    })
}

proptest! {
    #[test]
    fn every_round_gives_each_its_weight(weights in weights()) {
        for lines in ["balance roundrobin", "balance static-rr", "balance source", "balance hash src\n hash-type consistent"] {
            // Streams without a key take turns.
            let mut rig = Rig::new(lines, &weights);
            let total: u32 = weights.iter().sum();
            for _ in 0..3 {
                prop_assert_eq!(&rig.counts(total as usize), &weights, "{}", lines);
            }
        }
    }

    #[test]
    fn turns_are_fair_again_after_any_changes(
        before in weights(),
        changes in prop::collection::vec((0usize..8, 0u32..20, 0usize..30), 0..6),
    ) {
        let mut rig = Rig::new("balance roundrobin", &before);
        for (at, weight, turns) in changes {
            let at = at % before.len();
            rig.change(at, |load| load.weight = weight * SCALE);
            for _ in 0..turns {
                rig.ask(None);
            }
        }
        let weights: Vec<u32> = rig.servers.iter().map(|load| load.weight / SCALE).collect();
        let total: u32 = weights.iter().sum();
        prop_assume!(total > 0);
        // What was owed is paid within a round; over many rounds each gets its weight.
        let rounds = 20;
        for (count, weight) in rig.counts((rounds * total) as usize).into_iter().zip(weights) {
            let expected = i64::from(rounds * weight);
            let distance = (i64::from(count) - expected).abs();
            prop_assert!(distance <= i64::from(total), "{count} instead of {expected}");
            prop_assert!(weight > 0 || count == 0);
        }
    }

    #[test]
    fn leastconn_never_takes_a_busier_server(
        servers in prop::collection::vec((1u32..10, 0u32..20, 0u32..4, prop::option::of(1u32..10)), 1..8),
        turns in 1usize..20,
    ) {
        let weights: Vec<u32> = servers.iter().map(|server| server.0).collect();
        let mut rig = Rig::new("balance leastconn", &weights);
        for (load, (_, served, queued, limit)) in rig.servers.iter_mut().zip(servers) {
            (load.served, load.queued) = (served, queued);
            load.limit = limit.unwrap_or(u32::MAX);
        }
        // The load with one more; idle servers come first, whatever their weights.
        let busy = |load: &Load| match load.served + load.queued {
            0 => 0.0,
            streams => f64::from(streams + 1) / f64::from(load.weight),
        };
        for _ in 0..turns {
            let free = rig.servers.iter().filter(|load| load.is_free());
            let least = free.map(busy).min_by(f64::total_cmp);
            let chosen = rig.ask(None);
            prop_assert_eq!(chosen.map(|at| busy(&rig.servers[at])), least);
            if let Some(at) = chosen {
                rig.servers[at].served += 1;
            }
        }
    }

    #[test]
    fn first_takes_the_lowest_id_with_room(ids in Just((1u32..8).collect::<Vec<_>>()).prop_shuffle(), limits in prop::collection::vec(1u32..4, 7)) {
        let members = ids.iter().map(|&id| Member { id, weight: 1 });
        let mut algorithm = make(&settings("balance first"), members);
        let mut servers = idle(&[1; 7]);
        for (load, &limit) in servers.iter_mut().zip(&limits) {
            load.limit = limit;
        }
        algorithm.update(&servers);
        let mut reached = Vec::new();
        while let Some(at) = algorithm.choose(&servers, &Ask::default()) {
            servers[at].served += 1;
            reached.push(ids[at]);
        }
        prop_assert!(reached.is_sorted());
        prop_assert_eq!(reached.len() as u32, limits.iter().sum::<u32>());
    }

    #[test]
    fn nobody_exceeds_the_bound(
        weights in prop::collection::vec(1u32..6, 2..8),
        factor in 110u32..200,
        same_key: bool,
    ) {
        let random = format!("balance random(1)\n hash-balance-factor {factor}");
        let hash = format!("balance source\n hash-type consistent\n hash-balance-factor {factor}");
        for lines in [random, hash] {
            let mut rig = Rig::new(&lines, &weights);
            let total: u32 = weights.iter().sum();
            for (held, mut key) in (1u32..).zip(addresses(200)) {
                if same_key {
                    key = [127, 0, 0, 1];
                }
                let at = rig.hold(Some(&key));
                // Its share of all, times the factor, and what is rounded up.
                let share = f64::from(weights[at]) / f64::from(total);
                let most = (f64::from(held) * f64::from(factor) / 100.0 + 1.0) * share + 1.0;
                prop_assert!(f64::from(rig.servers[at].served) <= most.max(1.0), "{lines}: {} of {held}", rig.servers[at].served);
            }
        }
    }
}

#[test]
fn equal_servers_take_turns() {
    for lines in [
        "balance roundrobin",
        "balance static-rr",
        "balance leastconn",
    ] {
        let mut rig = Rig::new(lines, &[1, 1, 1]);
        let turns: Vec<_> = (0..6).map(|_| rig.ask(None).unwrap()).collect();
        assert_eq!(turns, [0, 1, 2, 0, 1, 2], "{lines}");
    }
}

#[test]
fn updates_do_not_begin_turns_anew() {
    for lines in ["balance roundrobin", "balance static-rr"] {
        let mut rig = Rig::new(lines, &[1, 1, 1]);
        let turns: Vec<_> = (0..6)
            .map(|_| {
                rig.change(0, |_| {});
                rig.ask(None).unwrap()
            })
            .collect();
        assert_eq!(turns, [0, 1, 2, 0, 1, 2], "{lines}");
    }
}

#[test]
fn a_slow_start_gets_its_part_of_the_turns() {
    let mut rig = Rig::new("balance roundrobin", &[1, 1]);
    rig.change(1, |load| load.weight = SCALE / 4);
    assert_eq!(rig.counts(50), [40, 10]);
    // Those that know only the configuration's weights do not.
    let mut rig = Rig::new("balance static-rr", &[1, 1]);
    rig.change(1, |load| load.weight = SCALE / 4);
    assert_eq!(rig.counts(50), [25, 25]);
    rig.change(1, |load| load.weight = 0);
    assert_eq!(rig.counts(50), [50, 0]);
}

#[test]
fn a_full_server_is_passed_over_and_not_made_up_for() {
    let mut rig = Rig::new("balance roundrobin", &[1, 1, 1]);
    rig.servers[1].limit = 0;
    assert_eq!(rig.counts(20), [10, 0, 10]);
    rig.servers[1].limit = u32::MAX;
    let counts = rig.counts(30);
    assert!(
        counts.iter().all(|count| (9..=11).contains(count)),
        "{counts:?}"
    );
}

#[test]
fn leastconn_keeps_held_streams_even() {
    let mut rig = Rig::new("balance leastconn", &[1, 2, 3]);
    for _ in 0..600 {
        rig.hold(None);
    }
    let served: Vec<u32> = rig.servers.iter().map(|load| load.served).collect();
    for (served, expected) in served.iter().zip([100, 200, 300]) {
        assert!(
            served.abs_diff(expected) <= 2,
            "{served} instead of {expected}"
        );
    }
}

#[test]
fn random_draws_by_weight() {
    // 2000 draws of probability p: a standard deviation of sqrt(2000 p (1 - p)), here at most 22.
    let mut rig = Rig::new("balance random(1)", &[1, 2, 0, 5]);
    let counts = rig.counts(2000);
    assert_eq!(counts[2], 0);
    for (count, expected) in counts.iter().zip([250_u32, 500, 0, 1250]) {
        assert!(count.abs_diff(expected) <= 90, "{counts:?}");
    }
}

#[test]
fn the_better_of_two_draws_spreads_held_streams_better() {
    let most = |lines: &str| {
        let mut rig = Rig::new(lines, &[1; 100]);
        for _ in 0..2000 {
            rig.hold(None);
        }
        rig.servers.iter().map(|load| load.served).max().unwrap()
    };
    // 20 on average; one draw alone leaves some server with about 3 standard deviations (4.5) more.
    let (one, two, many) = (
        most("balance random(1)"),
        most("balance random"),
        most("balance random(50)"),
    );
    assert!((28..=45).contains(&one), "{one}");
    assert!(two <= 24, "{two}");
    assert!(many <= 21, "{many}");
}

#[test]
fn random_avoids_without_favouring_anybody() {
    let mut rig = Rig::new("balance random(1)", &[1, 1, 1, 1]);
    let mut counts = [0_u32; 4];
    for random in 0..3000 {
        let ask = Ask {
            avoid: Some(1),
            random,
            key: None,
        };
        counts[rig.algorithm.choose(&rig.servers, &ask).unwrap()] += 1;
    }
    assert_eq!(counts[1], 0);
    for at in [0, 2, 3] {
        assert!(counts[at].abs_diff(1000) <= 110, "{counts:?}");
    }
}

#[test]
fn maps_share_hashes_by_weight() {
    // Without mixing, addresses in a row are places in a row.
    let mut rig = Rig::new("balance source", &[1, 2, 3]);
    let mut counts = [0; 3];
    for key in addresses(600) {
        counts[rig.ask(Some(&key)).unwrap()] += 1;
    }
    assert_eq!(counts, [100, 200, 300]);
}

#[test]
fn circles_share_hashes_roughly_by_weight() {
    let mut rig = Rig::new("balance source\n hash-type consistent", &[10, 20, 30]);
    let mut counts = [0_u32; 3];
    for key in addresses(6000) {
        counts[rig.ask(Some(&key)).unwrap()] += 1;
    }
    // 960 points in all: shares vary by the inverse root of each server's points, 160 at least.
    for (count, expected) in counts.iter().zip([1000_u32, 2000, 3000]) {
        assert!(count.abs_diff(expected) <= expected / 4, "{counts:?}");
    }
}
