//! Scripts against answers in any pieces.

use std::sync::Arc;

use proptest::prelude::*;

use super::protocols;
use super::*;
use crate::config::model::check::{Info, Pattern, Step};

/// What a server does, in the order in which it does it.
#[derive(Debug, Clone)]
enum Does {
    /// Answers, once this has been said to it.
    Says(&'static [u8]),
    /// Waits to be told something.
    Hears,
    /// Leaves.
    Ends,
}

/// Runs a script against a server whose answers come in pieces of these sizes. `None`: the script
/// waits for ever.
fn run(script: &Script, server: &[Does], sizes: &[usize]) -> Option<Verdict> {
    let mut run = Run::new(script);
    let mut server = server.iter();
    let mut waiting: Vec<u8> = Vec::new();
    let mut ended = false;
    let mut heard = 0;
    let mut sizes = sizes.iter().copied().cycle();
    for _ in 0..10_000 {
        match run.want() {
            Want::Done(verdict) => return Some(verdict),
            Want::Connect(_) => run.connected(false),
            Want::Send(_) | Want::SendHello => {
                heard += 1;
                run.sent();
            }
            Want::Receive => {
                while waiting.is_empty() && !ended {
                    match server.next() {
                        Some(Does::Says(bytes)) => waiting.extend_from_slice(bytes),
                        Some(Does::Hears) if heard > 0 => heard -= 1,
                        Some(Does::Ends) => ended = true,
                        Some(Does::Hears) | None => return None,
                    }
                }
                if waiting.is_empty() {
                    run.ended();
                } else {
                    let size = sizes.next().unwrap_or(1).clamp(1, waiting.len());
                    let piece: Vec<u8> = waiting.drain(..size).collect();
                    run.received(&piece);
                }
            }
        }
    }
    panic!("the script does not end");
}

fn verdict(script: &Script, server: &[Does]) -> (Status, u32, String) {
    let verdict = run(script, server, &[usize::MAX]).expect("an end");
    (verdict.status, verdict.code, verdict.info)
}

const SMTP: [Does; 5] = [
    Does::Says(b"220 mx\r\n"),
    Does::Hears,
    Does::Says(b"250 ok\r\n"),
    Does::Hears,
    Does::Says(b"221 bye\r\n"),
];

const MYSQL: &[u8] = b"\x08\0\0\0\x0a5.7.1\0\0\x07\0\0\x02\0\0\0\x02\0\0\0";

/// Protocols, and what their servers say when all is well.
fn protocols() -> Vec<(Script, Vec<Does>)> {
    let answer = |bytes| vec![Does::Hears, Does::Says(bytes)];
    vec![
        (protocols::redis(), answer(b"+PONG\r\n")),
        (protocols::smtp("HELO x"), SMTP.to_vec()),
        (protocols::postgresql("u"), answer(b"R\0\0\0\x08\0\0\0\0")),
        (protocols::mysql(None, false), vec![Does::Says(MYSQL)]),
        (protocols::mysql(Some("u"), false), answer(MYSQL)),
        (
            protocols::ldap(),
            answer(b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\0\x04\0\x04\0"),
        ),
        (protocols::ssl_hello(), answer(b"\x16\x03\x01\0\x4a\x02")),
        (protocols::agent(None), vec![Does::Says(b"up 50%\r\n")]),
    ]
}

proptest! {
    #[test]
    fn pieces_make_no_difference(
        which in 0..8_usize,
        keep in 0..64_usize,
        ends: bool,
        sizes in prop::collection::vec(1..9_usize, 1..8),
    ) {
        let (script, mut server) = protocols().swap_remove(which);
        // The last answer may be cut short.
        if let Some(Does::Says(bytes)) = server.last_mut() {
            *bytes = &bytes[..keep.min(bytes.len())];
        }
        if ends {
            server.push(Does::Ends);
        }
        let whole = run(&script, &server, &[usize::MAX]);
        prop_assert_eq!(run(&script, &server, &sizes), whole.clone());
        if ends {
            prop_assert!(whole.is_some());
        }
    }

    #[test]
    fn any_answer_has_a_verdict(which in 0..8_usize, bytes: Vec<u8>) {
        let (script, _) = protocols().swap_remove(which);
        let mut run = Run::new(&script);
        for _ in 0..20 {
            match run.want() {
                Want::Done(verdict) => {
                    prop_assert!(verdict.status > Status::Observed || verdict.status == Status::Unchanged);
                    return Ok(());
                }
                Want::Connect(_) => run.connected(false),
                Want::Send(_) | Want::SendHello => run.sent(),
                Want::Receive => {
                    run.received(&bytes);
                    run.ended();
                }
            }
        }
        prop_assert!(false, "no end");
    }
}

#[test]
fn protocols_pass() {
    for (script, server) in protocols() {
        let (status, ..) = verdict(&script, &server);
        assert!(
            matches!(status, Status::L7Ok | Status::L6Ok),
            "{status:?} {server:?}"
        );
    }
}

#[test]
fn a_connection_is_a_check() {
    let script = Script::default();
    let mut run = Run::new(&script);
    assert!(matches!(run.want(), Want::Connect(connect) if connect.default));
    run.connected(true);
    assert!(matches!(run.want(), Want::Done(verdict) if verdict.status == Status::L6Ok));
    let mut run = Run::new(&script);
    run.failed(Stage::Connect, "Connection refused");
    let Want::Done(verdict) = run.want() else {
        panic!("an end");
    };
    assert_eq!(
        verdict,
        Verdict::with(Status::L4Error, "Connection refused")
    );
}

fn expect(text: &str) -> Step {
    let pattern = Pattern::Text(Arc::from(text.as_bytes()));
    Step {
        action: Action::Expect(Box::new(Expect::new(pattern))),
        comment: None,
    }
}

#[test]
fn expectations_in_a_row_are_about_one_answer() {
    let script = Script {
        flavour: Flavour::Written,
        steps: vec![expect("world"), expect("hello")],
    };
    let good = [Does::Says(b"hello "), Does::Says(b"world"), Does::Ends];
    assert_eq!(verdict(&script, &good).0, Status::L7Ok);
    let bad = [Does::Says(b"world"), Does::Ends];
    let (status, _, info) = verdict(&script, &bad);
    assert_eq!(status, Status::L7Invalid);
    assert_eq!(info, "TCPCHK did not match content 'hello' at step 2");
    assert_eq!(run(&script, &bad[..1], &[3]), None);
}

#[test]
fn an_answer_is_looked_at_up_to_its_limit() {
    let script = Script {
        flavour: Flavour::Written,
        steps: vec![expect("x")],
    };
    let mut run = Run::new(&script);
    assert!(matches!(run.want(), Want::Connect(_)));
    run.connected(false);
    for _ in 0..16 {
        assert!(matches!(run.want(), Want::Receive));
        run.received(&[b'.'; 1024]);
    }
    assert!(matches!(run.want(), Want::Done(verdict) if verdict.status == Status::L7Invalid));
}

#[test]
fn what_is_said_of_an_answer() {
    let redis = protocols::redis();
    let refused = [Does::Hears, Does::Says(b"-ERR no\r\nmore\r\n"), Does::Ends];
    assert_eq!(
        verdict(&redis, &refused),
        (Status::L7Wrong, 0, "-ERR no".to_owned())
    );
    let smtp = protocols::smtp("HELO x");
    let away = [Does::Says(b"554   go away\r\n")];
    assert_eq!(
        verdict(&smtp, &away),
        (Status::L7Wrong, 554, "go away".to_owned())
    );
    let mut told = Expect::new(Pattern::Text(Arc::from(&b"x"[..])));
    told.on_error = Some(Info::Chars(1));
    assert_eq!(
        tell::mismatch(&Script::default(), 0, &told, b"abc\0d", false),
        "bc"
    );
}
