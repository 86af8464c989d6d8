//! The very object that is attached, run by the kernel on crafted frames.

use std::net::IpAddr;
use std::time::Duration;

use underpass_common::guard::Outcome;
use underpass_common::guard::frame::parse;

use super::frames::{CLIENT, SERVER, SYN, Spec, checksum};
use super::{deny, ip, limit, net, plan, policy};
use crate::offload::guard::GuardError;
use crate::offload::guard::plan::{How, Plan, Policy, Verdict};
use crate::offload::guard::program::{Action, Program};
use crate::offload::guard::view::{Counters, View};

/// The program with this plan; `None` where there is none to be had: no object, no privilege.
pub(super) fn loaded(plan: &Plan) -> Option<Program> {
    let mut program = match Program::load() {
        Ok(program) => program,
        Err(GuardError::NoObject) => {
            eprintln!("skipped: built without the eBPF object");
            return None;
        }
        Err(error) if crate::sys::process::effective_uid() != 0 => {
            eprintln!("skipped: {error}");
            return None;
        }
        Err(error) => panic!("{error:?}"),
    };
    program.replace(plan).expect("a plan that fits");
    Some(program)
}

fn run(program: &mut Program, frame: &[u8]) -> (Action, Vec<u8>) {
    let (action, out, _) = program.run(frame, 1).expect("a run");
    (action, out)
}

fn counters(program: &Program) -> Counters {
    View::of(program.tables()).counters().expect("counters")
}

/// Denies 10.0.0.0/8 and fd00::/16 on port 80.
fn denying(how: How) -> Plan {
    let networks = vec![
        (net("10.1.0.0/16"), Verdict::Allow),
        (net("10.0.0.0/8"), deny(3, how)),
        (net("fd00::/16"), deny(4, how)),
    ];
    plan(vec![Policy {
        networks,
        ..policy(&[80])
    }])
}

#[test]
fn networks_are_denied_allowed_and_left_alone() {
    let Some(mut program) = loaded(&denying(How::Drop)) else {
        return;
    };
    for (source, action) in [
        ("10.0.0.1", Action::Drop),
        ("10.255.255.255", Action::Drop),
        ("10.1.2.3", Action::Pass),
        ("11.0.0.0", Action::Pass),
        ("9.255.255.255", Action::Pass),
        ("fd00::1", Action::Drop),
        ("fd01::1", Action::Pass),
        // IPv4 in disguise is not IPv4.
        ("::ffff:10.0.0.1", Action::Pass),
    ] {
        let frame = Spec::syn(ip(source)).build();
        assert_eq!(run(&mut program, &frame), (action, frame), "{source}");
    }
    let counters = counters(&program);
    assert_eq!(counters.of(Outcome::NetworkDropped), 3);
    assert_eq!(counters.of(Outcome::Allowed), 1);
    assert_eq!(counters.of(Outcome::Passed), 4);
    assert_eq!(counters.rules, [(3, 2), (4, 1)].into());
}

#[test]
fn only_syns_to_guarded_listeners_are_judged() {
    let Some(mut program) = loaded(&denying(How::Drop)) else {
        return;
    };
    for flags in 0..=0xff_u8 {
        for source in ["10.0.0.1", "fd00::1"] {
            let spec = Spec {
                flags,
                ..Spec::syn(ip(source))
            };
            let expected = if flags & 0x17 == SYN {
                Action::Drop
            } else {
                Action::Pass
            };
            assert_eq!(run(&mut program, &spec.build()).0, expected, "{flags:#x}");
        }
    }
    let elsewhere = Spec {
        destination_port: 81,
        ..Spec::syn(ip("10.0.0.1"))
    };
    assert_eq!(run(&mut program, &elsewhere.build()).0, Action::Pass);
}

#[test]
fn an_exact_address_goes_before_every_address() {
    let exact = |address: &str, rule| Policy {
        listeners: vec![(Some(ip(address)), 80)],
        networks: vec![(net("0.0.0.0/0"), deny(rule, How::Drop))],
        rate: None,
    };
    let every = Policy {
        networks: vec![(net("::/0"), deny(9, How::Drop))],
        ..policy(&[80])
    };
    let Some(mut program) = loaded(&plan(vec![exact("127.0.0.2", 7), every])) else {
        return;
    };
    let to = |destination: &str, source: &str| Spec {
        destination: ip(destination),
        ..Spec::syn(ip(source))
    };
    assert_eq!(
        run(&mut program, &to("127.0.0.2", "1.2.3.4").build()).0,
        Action::Drop
    );
    assert_eq!(
        run(&mut program, &to("127.0.0.1", "1.2.3.4").build()).0,
        Action::Pass
    );
    assert_eq!(
        run(&mut program, &to("::1", "2001:db8::2").build()).0,
        Action::Drop
    );
    let view = View::of(program.tables());
    let why = view.why(ip("1.2.3.4")).expect("an answer");
    assert_eq!(why.len(), 1);
    assert_eq!(why[0].rule, 7);
    assert_eq!(why[0].listeners, [(Some(ip("127.0.0.2")), 80)]);
    assert_eq!(why[0].until, None);
}

/// Frames of every shape that can be looked through.
fn shapes(source: IpAddr) -> Vec<Spec> {
    let plain = Spec::syn(source);
    let tagged = |tags: &[(u16, u16)]| Spec {
        tags: tags.to_vec(),
        ..plain.clone()
    };
    let mut shapes = vec![
        plain.clone(),
        tagged(&[(0x8100, 5)]),
        tagged(&[(0x88a8, 7), (0x8100, 5)]),
        Spec {
            tcp_options: 0,
            ..plain.clone()
        },
        Spec {
            payload: vec![7; 301],
            ..plain.clone()
        },
        // The first fragment, and more to follow.
        Spec {
            fragment: if source.is_ipv4() { 0x2000 } else { 1 },
            ..plain.clone()
        },
    ];
    if source.is_ipv4() {
        shapes.push(Spec {
            ip_options: 40,
            ..plain.clone()
        });
    } else {
        for extensions in [
            vec![(0, 0)],
            vec![(0, 1), (60, 2), (43, 0)],
            vec![(60, 0), (60, 0), (60, 0), (60, 3)],
        ] {
            shapes.push(Spec {
                extensions,
                ..plain.clone()
            });
        }
    }
    shapes
}

#[test]
fn what_cannot_be_looked_through_passes() {
    let Some(mut program) = loaded(&denying(How::Drop)) else {
        return;
    };
    let v4 = Spec::syn(ip("10.0.0.1"));
    let v6 = Spec::syn(ip("fd00::1"));
    let mut other_version = v4.build();
    other_version[14] = 0x65;
    let mut other_protocol = v4.build();
    other_protocol[23] = 17;
    let mut short_header = v4.build();
    short_header[14] = 0x44;
    let mut segments_left = Spec {
        extensions: vec![(43, 0)],
        ..v6.clone()
    }
    .build();
    segments_left[14 + 40 + 3] = 1;
    for (name, frame) in [
        (
            "three tags",
            Spec {
                tags: vec![(0x8100, 1); 3],
                ..v4.clone()
            }
            .build(),
        ),
        (
            "a later fragment",
            Spec {
                fragment: 1,
                ..v4.clone()
            }
            .build(),
        ),
        (
            "a later fragment, not the last",
            Spec {
                fragment: 0x2001,
                ..v4.clone()
            }
            .build(),
        ),
        (
            "a later fragment of IPv6",
            Spec {
                fragment: 8,
                ..v6.clone()
            }
            .build(),
        ),
        (
            "five extension headers",
            Spec {
                extensions: vec![(60, 0); 5],
                ..v6.clone()
            }
            .build(),
        ),
        (
            "an unknown extension header",
            Spec {
                extensions: vec![(51, 0)],
                ..v6.clone()
            }
            .build(),
        ),
        ("a routing header on its way", segments_left),
        ("another version", other_version),
        ("another protocol", other_protocol),
        ("an IP header that is too short", short_header),
    ] {
        assert_eq!(parse(frame.as_slice()), None, "{name}");
        assert_eq!(run(&mut program, &frame), (Action::Pass, frame), "{name}");
    }
    assert_eq!(counters(&program).refused(), 0);
}

#[test]
fn every_shape_is_judged_whole_and_passes_cut_short() {
    let Some(mut program) = loaded(&denying(How::Drop)) else {
        return;
    };
    for source in ["10.0.0.1", "fd00::1"] {
        for spec in shapes(ip(source)) {
            let frame = spec.build();
            assert_eq!(run(&mut program, &frame).0, Action::Drop, "{spec:?}");
            // The kernel runs no program on less than an Ethernet header.
            for length in 14..frame.len() {
                let cut = &frame[..length];
                assert_eq!(parse(cut), None, "{length} of {spec:?}");
                assert_eq!(
                    run(&mut program, cut).0,
                    Action::Pass,
                    "{length} of {spec:?}"
                );
            }
            let mut padded = frame.clone();
            padded.extend([0; 6]);
            assert_eq!(run(&mut program, &padded).0, Action::Drop, "{spec:?}");
        }
    }
}

#[test]
fn a_reset_answers_every_shape() {
    let Some(mut program) = loaded(&denying(How::Reset)) else {
        return;
    };
    let mut answered = 0;
    for source in ["10.0.0.1", "fd00::1"] {
        for spec in shapes(ip(source)) {
            for padding in [0, 6] {
                let mut frame = spec.build();
                frame.extend(vec![0; padding]);
                let (action, out) = run(&mut program, &frame);
                assert_eq!(action, Action::Transmit, "{spec:?}");
                check_reset(&spec, &out);
                answered += 1;
            }
        }
    }
    assert_eq!(counters(&program).of(Outcome::NetworkReset), answered);
}

fn check_reset(spec: &Spec, out: &[u8]) {
    assert_eq!(out[..6], CLIENT);
    assert_eq!(out[6..12], SERVER);
    let at = 14 + 4 * spec.tags.len();
    // Tags and types stay as they are.
    assert_eq!(out[12..at], spec.build()[12..at]);
    let (addresses, tcp) = if spec.source.is_ipv4() {
        let (header, tcp) = out[at..].split_at(20);
        assert_eq!(header[0], 0x45);
        assert_eq!(usize::from(header[2]) << 8 | usize::from(header[3]), 40);
        assert_eq!(header[9], 6);
        assert_eq!(checksum(&[header]), 0);
        (&header[12..], tcp)
    } else {
        let (header, tcp) = out[at..].split_at(40);
        assert_eq!(header[..7], [0x60, 0, 0, 0, 0, 20, 6]);
        (&header[8..], tcp)
    };
    let octets = |address| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let expected = [octets(spec.destination), octets(spec.source)].concat();
    assert_eq!(addresses, expected);
    assert_eq!(tcp.len(), 20);
    assert_eq!(tcp[..2], spec.destination_port.to_be_bytes());
    assert_eq!(tcp[2..4], spec.source_port.to_be_bytes());
    assert_eq!(tcp[4..8], [0; 4]);
    let acknowledged = spec.sequence.wrapping_add(1 + spec.payload.len() as u32);
    assert_eq!(tcp[8..12], acknowledged.to_be_bytes());
    assert_eq!(tcp[12..14], [0x50, 0x14]);
    assert_eq!(checksum(&[addresses, &[0, 6, 0, 20], tcp]), 0);
}

#[test]
fn a_source_gets_its_connections_and_no_more() {
    let period = Duration::from_secs(3600);
    let limited = Policy {
        networks: vec![(net("10.9.0.0/16"), Verdict::Allow)],
        rate: Some(limit(5, 10, period)),
        ..policy(&[80, 81])
    };
    let plan = plan(vec![limited]);
    let Some(mut program) = loaded(&plan) else {
        return;
    };
    for source in ["10.0.0.1", "10.0.0.2", "fd00::1"] {
        let frame = Spec::syn(ip(source)).build();
        let passed = (0..25)
            .filter(|_| run(&mut program, &frame).0 == Action::Pass)
            .count();
        assert_eq!(passed, 10, "{source}");
    }
    // The rule counts the source on all of its listeners together.
    let other_port = Spec {
        destination_port: 81,
        ..Spec::syn(ip("10.0.0.1"))
    };
    assert_eq!(run(&mut program, &other_port.build()).0, Action::Drop);
    let allowed = Spec::syn(ip("10.9.0.1")).build();
    for _ in 0..25 {
        assert_eq!(run(&mut program, &allowed).0, Action::Pass);
    }
    let why = View::of(program.tables())
        .why(ip("10.0.0.1"))
        .expect("an answer");
    assert_eq!(why.len(), 1);
    assert_eq!(why[0].rule, 5);
    assert_eq!(why[0].listeners.len(), 2);
    // A tenth of the period earns the next one.
    let until = why[0].until.expect("an end");
    assert!(until <= period / 10 && until > period / 20, "{until:?}");
    let nobody = View::of(program.tables()).why(ip("10.0.0.3"));
    assert_eq!(nobody.expect("an answer"), []);
    // What is used up stays used up when the rules are replaced by the like.
    program.replace(&plan).expect("a plan");
    assert_eq!(run(&mut program, &other_port.build()).0, Action::Drop);
    assert_eq!(counters(&program).of(Outcome::RateDropped), 15 * 3 + 2);
}

#[test]
fn a_limit_of_none_refuses_all() {
    let none = Policy {
        rate: Some(limit(5, 0, Duration::from_secs(1))),
        ..policy(&[80])
    };
    let Some(mut program) = loaded(&plan(vec![none])) else {
        return;
    };
    for source in ["10.0.0.1", "fd00::1"] {
        assert_eq!(
            run(&mut program, &Spec::syn(ip(source)).build()).0,
            Action::Drop
        );
    }
}

#[test]
fn rules_are_replaced_and_leave_nothing_behind() {
    let Some(mut program) = loaded(&denying(How::Drop)) else {
        return;
    };
    let entries = |program: &Program| {
        let tables = program.tables();
        tables.listeners.keys().count()
            + tables.networks_v4.keys().count()
            + tables.networks_v6.keys().count()
    };
    let before = entries(&program);
    let frame = Spec::syn(ip("10.0.0.1")).build();
    for round in 0..5_u16 {
        let other = Policy {
            networks: vec![(net("10.0.0.0/30"), Verdict::Allow)],
            ..policy(&[80, 1000 + round])
        };
        program.replace(&plan(vec![other])).expect("a plan");
        assert_eq!(run(&mut program, &frame).0, Action::Pass);
        program.replace(&denying(How::Drop)).expect("a plan");
        assert_eq!(run(&mut program, &frame).0, Action::Drop);
        assert_eq!(entries(&program), before);
    }
    program.replace(&Plan::default()).expect("a plan");
    assert_eq!(entries(&program), 0);
    assert_eq!(run(&mut program, &frame).0, Action::Pass);
}

#[test]
fn notes_reach_whoever_asks() {
    let mut noted = denying(How::Reset);
    let long = "ä".repeat(100);
    noted.notes = [(3, "front.cfg:12".to_owned()), (4, long)].into();
    let Some(program) = loaded(&noted) else {
        return;
    };
    let view = View::of(program.tables());
    let why = view.why(ip("10.0.0.1")).expect("an answer");
    assert_eq!(
        why[0].to_string(),
        "reset at 0.0.0.0:80: its network is denied, by front.cfg:12, as long as the rules stay"
    );
    let why = view.why(ip("fd00::1")).expect("an answer");
    assert_eq!(why[0].note, "ä".repeat(58));
}
