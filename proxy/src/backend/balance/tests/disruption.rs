//! Whose server changes when one goes, comes back, or counts for less.

use proptest::prelude::*;

use super::*;

/// The servers of many keys.
fn choices(rig: &mut Rig) -> Vec<usize> {
    addresses(500)
        .map(|key| rig.ask(Some(&key)).unwrap())
        .collect()
}

const CONSISTENT: [&str; 2] = [
    "balance source\n hash-type consistent",
    "balance hash src\n hash-type consistent wt6",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn only_keys_of_the_one_that_goes_move(
        weights in prop::collection::vec(1u32..5, 2..12),
        leaving in 0usize..12,
        by_weight: bool,
    ) {
        let leaving = leaving % weights.len();
        for lines in CONSISTENT {
            let mut rig = Rig::new(lines, &weights);
            let before = choices(&mut rig);
            rig.change(leaving, |load| if by_weight { load.weight = 0 } else { load.usable = false });
            let after = choices(&mut rig);
            for (before, after) in before.iter().zip(&after) {
                prop_assert!(*after != leaving);
                prop_assert!(*before == leaving || before == after, "{}", lines);
            }
            rig.change(leaving, |load| {
                load.weight = weights[leaving] * SCALE;
                load.usable = true;
            });
            prop_assert_eq!(before, choices(&mut rig), "{}", lines);
        }
    }

    #[test]
    fn a_weight_moves_only_keys_of_its_server(
        weights in prop::collection::vec(1u32..5, 2..8),
        at in 0usize..8,
        weight in 1u32..100,
    ) {
        let at = at % weights.len();
        let mut rig = Rig::new(CONSISTENT[0], &weights);
        let before = choices(&mut rig);
        rig.change(at, |load| load.weight = weight);
        for (before, after) in before.into_iter().zip(choices(&mut rig)) {
            // It gives or takes; the others keep what they have among themselves.
            prop_assert!(before == after || before == at || after == at);
        }
    }

    #[test]
    fn a_failure_is_avoided_the_same_way_each_time(weights in prop::collection::vec(1u32..5, 2..8)) {
        for lines in HASHES {
            let mut rig = Rig::new(lines, &weights);
            for key in addresses(50) {
                let failed = rig.ask(Some(&key));
                let ask = Ask { key: Some(&key), avoid: failed, random: 0 };
                let second = rig.algorithm.choose(&rig.servers, &ask);
                prop_assert_ne!(second, failed, "{}", lines);
                prop_assert_eq!(second, rig.algorithm.choose(&rig.servers, &ask), "{}", lines);
            }
        }
    }
}

#[test]
fn on_a_circle_a_failure_leads_where_the_server_s_going_would_lead_most_keys() {
    let mut rig = Rig::new(CONSISTENT[0], &[1; 10]);
    let mut same = 0;
    for key in addresses(500) {
        let failed = rig.ask(Some(&key));
        let ask = Ask {
            key: Some(&key),
            avoid: failed,
            random: 0,
        };
        let avoiding = rig.algorithm.choose(&rig.servers, &ask);
        let at = failed.unwrap();
        rig.change(at, |load| load.usable = false);
        same += usize::from(rig.ask(Some(&key)) == avoiding);
        rig.change(at, |load| load.usable = true);
    }
    // The next point along the circle is not always the nearest one that is left.
    assert!(same > 250, "{same} of 500");
}
