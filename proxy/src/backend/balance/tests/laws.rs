//! What holds for any servers and any stream.

use proptest::prelude::*;

use super::*;

/// A server in any state, with the weight of its line.
fn server() -> impl Strategy<Value = (u32, Load)> {
    let limit = prop_oneof![Just(u32::MAX), 1u32..4];
    (
        0u32..4,
        0u32..=SCALE,
        any::<bool>(),
        0u32..4,
        0u32..3,
        limit,
    )
        .prop_map(|(weight, slow, usable, served, queued, limit)| {
            let load = Load {
                // Part of the weight, or none of it.
                weight: weight * slow,
                usable,
                served,
                queued,
                limit,
            };
            (weight, load)
        })
}

/// A backend of such servers, the states that they have later, and one to be avoided.
#[derive(Debug, Clone)]
struct Situation {
    weights: Vec<u32>,
    first: Vec<Load>,
    second: Vec<Load>,
    avoid: Option<usize>,
}

fn situation() -> impl Strategy<Value = Situation> {
    let servers = prop::collection::vec((server(), server()), 1..7);
    (servers, prop::option::of(0usize..7)).prop_map(|(servers, avoid)| {
        let second = servers.iter().map(|((weight, _), (_, other))| Load {
            // A weight of 0 in the configuration stays one.
            weight: if *weight == 0 { 0 } else { other.weight },
            ..*other
        });
        Situation {
            weights: servers.iter().map(|((weight, _), _)| *weight).collect(),
            first: servers.iter().map(|((_, load), _)| *load).collect(),
            second: second.collect(),
            avoid,
        }
    })
}

/// The second choice of an algorithm, after everything has changed since the first, and the loads that
/// it was made by.
fn choose(lines: &str, situation: &Situation, ask: &Ask<'_>) -> (Vec<Load>, Option<usize>) {
    let mut algorithm = make(&settings(lines), members(&situation.weights));
    algorithm.update(&situation.first);
    algorithm.choose(&situation.first, ask);
    algorithm.update(&situation.second);
    let chosen = algorithm.choose(&situation.second, ask);
    (situation.second.clone(), chosen)
}

/// That of the candidates one is chosen, and `avoid` only if it is the only one.
fn check(
    lines: &str,
    servers: &[Load],
    avoid: Option<usize>,
    chosen: Option<usize>,
    may: impl Fn(&Load) -> bool,
) -> Result<(), TestCaseError> {
    let candidates: Vec<usize> = (0..servers.len()).filter(|&at| may(&servers[at])).collect();
    let Some(chosen) = chosen else {
        prop_assert!(
            candidates.is_empty(),
            "{}: nobody of {:?}",
            lines,
            candidates
        );
        return Ok(());
    };
    prop_assert!(
        candidates.contains(&chosen),
        "{}: {} of {:?}",
        lines,
        chosen,
        candidates
    );
    if avoid == Some(chosen) {
        prop_assert_eq!(
            candidates.len(),
            1,
            "{}: {} of {:?}",
            lines,
            chosen,
            candidates
        );
    }
    Ok(())
}

proptest! {
    #[test]
    fn whoever_is_free_is_chosen_and_nobody_else(situation in situation(), random: u64) {
        let ask = Ask { key: None, avoid: situation.avoid, random };
        for lines in OTHERS.into_iter().chain(HASHES) {
            let (servers, chosen) = choose(lines, &situation, &ask);
            check(lines, &servers, ask.avoid, chosen, Load::is_free)?;
        }
    }

    #[test]
    fn a_hash_chooses_whoever_is_there(situation in situation(), key: [u8; 4]) {
        let ask = Ask { key: Some(&key), avoid: situation.avoid, random: 0 };
        for lines in HASHES {
            let (servers, chosen) = choose(lines, &situation, &ask);
            check(lines, &servers, ask.avoid, chosen, Load::is_there)?;
        }
    }

    #[test]
    fn a_server_that_has_just_gone_is_not_chosen(situation in situation(), key: [u8; 4], random: u64) {
        for lines in OTHERS.into_iter().chain(HASHES) {
            for key in [None, Some(&key[..])] {
                let mut algorithm = make(&settings(lines), members(&situation.weights));
                algorithm.update(&situation.first);
                // Without another update.
                let ask = Ask { key, avoid: situation.avoid, random };
                if let Some(chosen) = algorithm.choose(&situation.second, &ask) {
                    prop_assert!(situation.second[chosen].is_there(), "{}: {}", lines, chosen);
                }
            }
        }
    }

    #[test]
    fn the_same_key_goes_to_the_same_server(
        weights in prop::collection::vec(0u32..4, 1..7),
        keys in prop::collection::vec(any::<[u8; 4]>(), 1..20),
    ) {
        prop_assume!(weights.iter().any(|&weight| weight > 0));
        for lines in HASHES {
            let (mut one, mut other) = (Rig::new(lines, &weights), Rig::new(lines, &weights));
            let first: Vec<_> = keys.iter().map(|key| one.ask(Some(key))).collect();
            // Neither the order nor streams without a key matter.
            let mut second: Vec<_> = keys.iter().rev().map(|key| {
                other.ask(None);
                other.ask(Some(key))
            }).collect();
            second.reverse();
            prop_assert_eq!(first, second, "{}", lines);
        }
    }
}

#[test]
fn nobody_is_there_before_the_first_update_nor_without_servers() {
    for lines in OTHERS.into_iter().chain(HASHES) {
        for key in [None, Some(&[127, 0, 0, 1][..])] {
            let ask = Ask {
                key,
                ..Ask::default()
            };
            let mut algorithm = make(&settings(lines), []);
            algorithm.update(&[]);
            assert_eq!(algorithm.choose(&[], &ask), None, "{lines}");
            let mut algorithm = make(&settings(lines), members(&[0, 1]));
            let mut servers = idle(&[0, 1]);
            servers[1].usable = false;
            assert_eq!(algorithm.choose(&servers, &ask), None, "{lines}");
            algorithm.update(&servers);
            assert_eq!(algorithm.choose(&servers, &ask), None, "{lines}");
        }
    }
}

#[test]
fn a_hash_waits_for_its_server_though_others_have_room() {
    for lines in HASHES {
        let mut rig = Rig::new(lines, &[1, 1, 1]);
        let key = &[127, 0, 0, 9][..];
        let at = rig.ask(Some(key)).unwrap();
        rig.servers[at].limit = 0;
        assert_eq!(rig.ask(Some(key)), Some(at), "{lines}");
    }
}
