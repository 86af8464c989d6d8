use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::*;
use crate::observe::record::Endpoint;
use crate::rules::ruleset::Progress;
use crate::rules::run::{Reached, Scratch, Setting, Sight};
use crate::rules::scene::{Millis, Place};
use crate::rules::session::Session;
use crate::rules::table::Tables;
use crate::rules::testing::{Idle, load};
use crate::rules::vars::ProcessVars;

/// What the daemon's own evaluation of the connection rules says.
fn ruling(config: &Config, source: IpAddr) -> Ruling {
    let scratch = Scratch::new(1);
    let tables = Tables::default();
    let setting = Setting {
        scratch: &scratch,
        now: Millis(0),
        frontend: Place {
            index: 0,
            name: "p",
        },
        listener: (1, "1"),
        tables: &tables,
        vars: &ProcessVars::default(),
        census: &Idle,
    };
    let mut session = Session::new(Endpoint::Inet(SocketAddr::new(source, 999)));
    let sight = Sight {
        last_look: true,
        ..Sight::default()
    };
    let rules = &config.frontends[0].rules.connection;
    match setting.run(rules, &mut Progress::default(), &mut session, sight, |_| {}) {
        Reached::Ruling(ruling, _) => ruling,
        Reached::Waits => panic!("nothing is waited for"),
    }
}

/// What the plan says: the first network that contains the source.
fn planned(plan: &Plan, source: IpAddr) -> Option<Verdict> {
    let policy = plan.policies.first()?;
    let found = policy
        .networks
        .iter()
        .find(|(net, _)| net.contains(&source));
    found.map(|(_, verdict)| *verdict)
}

fn placed(rules: &str) -> Vec<bool> {
    let compiled = compile(&load(rules));
    compiled
        .placed
        .iter()
        .map(|placed| placed.guarded.is_ok())
        .collect()
}

#[test]
fn rules_go_to_the_guard_as_far_as_the_source_decides_alone() {
    let table = [
        (
            " tcp-request connection reject if { src 10.0.0.0/8 }\n",
            vec![true],
        ),
        (
            " tcp-request connection reject if { dst_port 80 }\n",
            vec![false],
        ),
        // What is refused anyway may be refused earlier.
        (
            " tcp-request connection reject if { dst_port 80 }\n tcp-request connection silent-drop if { src 10.0.0.1 }\n",
            vec![false, true],
        ),
        // What may have been accepted may not.
        (
            " tcp-request connection accept if { dst_port 80 }\n tcp-request connection reject if { src 10.0.0.1 }\n",
            vec![false, false],
        ),
        (
            " tcp-request connection set-var(sess.a) src\n tcp-request connection reject\n",
            vec![false],
        ),
        (
            " stick-table type ip size 9 store conn_rate(3s)\n tcp-request connection track-sc1 src\n tcp-request connection reject if { src 10.0.0.1 }\n tcp-request connection reject if { sc1_conn_rate gt 5 }\n tcp-request connection reject if { src 10.0.0.2 }\n",
            vec![true, true, false],
        ),
        // Nobody says that the entry is the source's.
        (
            " stick-table type ip size 9 store conn_rate(3s)\n tcp-request connection track-sc0 dst\n tcp-request connection reject if { sc0_conn_rate gt 5 }\n",
            vec![false],
        ),
    ];
    for (rules, expected) in table {
        assert_eq!(placed(rules), expected, "{rules}");
    }
}

#[test]
fn a_limit_keeps_its_number_period_and_place() {
    let rules = " stick-table type ip size 9 store conn_rate(3s)\n tcp-request connection silent-drop if { src_conn_rate ge 5 }\n";
    let compiled = compile(&load(rules));
    let policy = &compiled.plan.policies[0];
    let limit = policy.rate.unwrap();
    assert_eq!(limit.per_source_connections, 4);
    assert_eq!(limit.period.as_secs(), 3);
    assert_eq!(limit.how, How::Drop);
    assert_eq!(compiled.plan.notes[&limit.rule], "t.cfg:5");
    assert_eq!(policy.listeners.len(), 1);
}

#[test]
fn monitors_are_left_to_the_daemon() {
    let rules = " monitor-net 10.1.0.0/16\n tcp-request connection reject if { src 10.0.0.0/8 }\n";
    let plan = compile(&load(rules)).plan;
    assert_eq!(
        planned(&plan, "10.1.2.3".parse().unwrap()),
        Some(Verdict::Allow)
    );
    assert!(matches!(
        planned(&plan, "10.2.2.3".parse().unwrap()),
        Some(Verdict::Deny {
            how: How::Reset,
            ..
        })
    ));
}

/// Networks that nest and collide: few distinct bits, both families.
fn network() -> impl Strategy<Value = String> {
    let octet = prop::sample::select(vec![0_u8, 1, 128, 255]);
    prop_oneof![
        (octet.clone(), octet.clone(), 6..=32_u8)
            .prop_map(|(a, b, length)| format!("10.{a}.{b}.1/{length}")),
        (octet.clone(), octet, 10..=128_u8)
            .prop_map(|(a, b, length)| format!("2001:db8:{a:x}:{b:x}::1/{length}")),
    ]
}

fn rule() -> impl Strategy<Value = String> {
    let action = prop::sample::select(vec!["accept", "reject", "silent-drop"]);
    let word = prop::sample::select(vec!["if", "unless"]);
    let term = (any::<bool>(), prop::collection::vec(network(), 1..4)).prop_map(|(not, nets)| {
        format!("{}{{ src {} }}", if not { "!" } else { "" }, nets.join(" "))
    });
    let all = prop::collection::vec(term, 1..3).prop_map(|terms| terms.join(" "));
    let any = prop::collection::vec(all, 1..3).prop_map(|all| all.join(" or "));
    (action, word, any)
        .prop_map(|(action, word, any)| format!(" tcp-request connection {action} {word} {any}\n"))
}

fn source() -> impl Strategy<Value = IpAddr> {
    let octet = prop::sample::select(vec![0_u8, 1, 2, 128, 255]);
    prop_oneof![
        (octet.clone(), octet.clone(), octet.clone())
            .prop_map(|(a, b, c)| IpAddr::from([10, a, b, c])),
        (octet.clone(), octet).prop_map(|(a, b)| {
            format!("2001:db8:{a:x}:{b:x}::1")
                .parse()
                .expect("an address")
        }),
        Just(IpAddr::from([8, 8, 8, 8])),
    ]
}

proptest! {
    #[test]
    fn the_plan_says_what_the_rules_say(
        rules in prop::collection::vec(rule(), 1..5),
        sources in prop::collection::vec(source(), 1..20),
    ) {
        let config = load(&rules.concat());
        let compiled = compile(&config);
        prop_assert!(compiled.placed.iter().all(|placed| placed.guarded.is_ok()));
        for source in sources {
            let expected = ruling(&config, source);
            match planned(&compiled.plan, source) {
                Some(Verdict::Deny { how: How::Reset, .. }) => {
                    prop_assert_eq!(expected, Ruling::Reject, "{}", source);
                }
                Some(Verdict::Deny { how: How::Drop, .. }) => {
                    prop_assert_eq!(expected, Ruling::SilentDrop, "{}", source);
                }
                Some(Verdict::Allow) | None => {
                    prop_assert_eq!(expected, Ruling::Accept, "{}", source);
                }
            }
        }
    }
}
