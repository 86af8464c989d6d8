//! Servers that change, and what follows: every line, in order.

use std::net::{Ipv4Addr, SocketAddr};

use underpass_tests::daemon::{BOUND, Daemon, Launch};
use underpass_tests::netns::Topology;
use underpass_tests::peer::{Buffers, Peer};
use underpass_tests::process::Output;
use underpass_tests::stand_in::{StandIn, say};

use super::{CLOSED, config, programs, wait};

/// What both programs say, line by line, when these sections meet these servers, until `last` is said.
fn compare_story(
    sections: &str,
    servers: impl Fn() -> Vec<StandIn> + Send + Copy,
    drive: impl Fn(&Topology, &mut Daemon),
    last: impl Fn(&[String]) -> bool,
) {
    let [theirs, ours] = programs().map(|program| {
        let net = Topology::loopback().expect("a host");
        let _servers = net.server.run(servers);
        let mut daemon = Launch::program(&program, config(&program, sections))
            .start(&net.proxy)
            .expect("a daemon");
        drive(&net, &mut daemon);
        wait(&mut daemon, "end of the story", |lines| {
            // The stream whose failure was one too many is gone when our line is written.
            let alone = |line: &String| line.replace(" 1 sessions active", " 0 sessions active");
            last(lines).then(|| lines.iter().map(alone).collect::<Vec<_>>())
        })
    });
    assert_eq!(theirs, ours, "haproxy's lines first");
}

/// An agent's servers, and those that track them, through every state.
#[test]
fn agents_lead_and_others_follow() {
    let lines = [
        "up",
        "down",
        "up",
        "drain",
        "ready",
        "maint",
        "ready",
        "stopped # because \"of\" it",
        "fail#again",
        "up ready",
        "drain",
        "maint",
        "ready",
        "0%",
        "down",
        "maint",
        "ready up 100%",
        "maint drain",
        "ready",
        "down # over",
    ];
    let sections = "backend a
    server s1 127.0.0.1:9000 weight 7 agent-check agent-port 9001 agent-inter 100ms
    server t1 127.0.0.1:9000 track a/s1 backup
backend b
    server t2 127.0.0.1:9000 track a/s1
    server other 127.0.0.1:9000
backend c
    option log-health-checks
    server t3 127.0.0.1:9000 track b/t2
";
    compare_story(
        sections,
        || {
            let scripts = lines.map(|line| vec![say(format!("{line}\n"))]);
            vec![StandIn::in_turn(9001, scripts.to_vec()).expect("an agent")]
        },
        |_, _| {},
        |lines| {
            let over = |line: &&String| line.contains("down (over)");
            let end = lines.iter().position(|line| over(&line));
            end.is_some_and(|at| {
                lines[at..]
                    .iter()
                    .any(|line| line.contains("backend a has no"))
            })
        },
    );
}

/// A server that goes and comes back: rise and fall are counted alike.
#[test]
fn rise_and_fall() {
    let good = || vec![say("good")];
    let bad = || vec![say("evil")];
    let scripts: Vec<_> = "gbgbbgbbbgbgggggbbbb"
        .chars()
        .map(|c| if c == 'g' { good() } else { bad() })
        .collect();
    let sections = "backend b
    option log-health-checks
    option tcp-check
    tcp-check expect min-recv 4 string good
    server s 127.0.0.1:9001 check inter 100ms fastinter 60ms downinter 80ms rise 3 fall 3
";
    compare_story(
        sections,
        || vec![StandIn::in_turn(9001, scripts.clone()).expect("a server")],
        |_, _| {},
        |lines| {
            lines
                .iter()
                .filter(|line| line.contains("no server"))
                .count()
                == 2
        },
    );
}

/// Streams that fail in a row count as what `on-error` says.
#[test]
fn streams_are_observed() {
    let section = |name: &str, port: u16, words: &str| {
        format!(
            "listen {name}\n    bind 127.0.0.1:{port}\n    server s 127.0.0.1:{CLOSED} check port 9001 \
             inter 60s fall 5 observe layer4 {words}\n"
        )
    };
    let sections = [
        // Its check comes first, a long time before those of the others.
        "backend first\n    server s 127.0.0.1:9001 check inter 60s\n".to_owned(),
        section("marks", 8001, "error-limit 3 on-error mark-down"),
        section("fails", 8002, "error-limit 2 on-error fail-check"),
        section("dies", 8003, "error-limit 2 on-error sudden-death"),
    ]
    .concat();
    compare_story(
        &sections,
        || vec![StandIn::start(9001, vec![]).expect("a server")],
        |net, daemon| {
            for (port, count, name) in [(8001, 3, "marks"), (8002, 2, "fails"), (8003, 2, "dies")] {
                for _ in 0..count {
                    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                    let peer = net.client.run(|| Peer::connect(to, Buffers::default()));
                    let _ = peer.expect("a client").read_to_end();
                }
                wait(daemon, "server that is down", |lines| {
                    let all = format!("proxy {name} has no server");
                    lines.iter().any(|line| line.contains(&all)).then_some(())
                });
            }
        },
        |lines| {
            lines
                .iter()
                .filter(|line| line.contains("no server"))
                .count()
                == 3
        },
    );
}

/// What a server's checks find out ends its streams, where that is asked for.
#[test]
fn streams_of_a_lost_server_end() {
    let sections = "listen l
    option tcplog
    bind 127.0.0.1:8000
    server s 127.0.0.1:9000 check port 9001 inter 100ms fall 1 on-marked-down shutdown-sessions
";
    let letters = programs().map(|program| {
        let net = Topology::loopback().expect("a host");
        let _server = net
            .server
            .run(|| StandIn::start(9000, vec![say("x")]))
            .expect("a server");
        let health = net
            .server
            .run(|| StandIn::start(9001, vec![]))
            .expect("a server");
        let mut daemon = Launch::program(&program, config(&program, sections))
            .start(&net.proxy)
            .expect("a daemon");
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, 8000));
        let peer = net
            .client
            .run(|| Peer::connect(to, Buffers::default()))
            .expect("a client");
        assert_eq!(peer.read(1).expect("the server's byte"), b"x");
        drop(health);
        let (rest, _) = peer.read_to_end();
        assert!(rest.is_empty());
        let line = daemon
            .process()
            .wait_lines(Output::Stdout, BOUND, "the stream's line", |lines| {
                lines.iter().find(|line| line.contains(" l l/s ")).cloned()
            })
            .expect("the stream's line");
        // Client, date, frontend, server, times, bytes, letters.
        line.split_whitespace().nth(6).expect("letters").to_owned()
    });
    assert!(letters.iter().all(|l| l.starts_with('D')), "{letters:?}");
}

/// Streams move back from backup servers, where that is asked for.
#[test]
fn streams_of_backup_servers_end_when_they_are_not_needed() {
    let sections = "listen l
    option tcplog
    bind 127.0.0.1:8000
    server s 127.0.0.1:9000 check inter 100ms fall 1 rise 1 on-marked-up shutdown-backup-sessions
    server bk 127.0.0.1:9001 backup
";
    let letters = programs().map(|program| {
        let net = Topology::loopback().expect("a host");
        let _backup = net
            .server
            .run(|| StandIn::start(9001, vec![say("b")]))
            .expect("a server");
        let mut daemon = Launch::program(&program, config(&program, sections))
            .start(&net.proxy)
            .expect("a daemon");
        wait(&mut daemon, "server that is down", |lines| {
            lines
                .iter()
                .any(|line| line.contains("l/s is DOWN"))
                .then_some(())
        });
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, 8000));
        let peer = net
            .client
            .run(|| Peer::connect(to, Buffers::default()))
            .expect("a client");
        assert_eq!(peer.read(1).expect("the backup's byte"), b"b");
        let _server = net
            .server
            .run(|| StandIn::start(9000, vec![]))
            .expect("a server");
        let (rest, _) = peer.read_to_end();
        assert!(rest.is_empty());
        let line = daemon
            .process()
            .wait_lines(Output::Stdout, BOUND, "the stream's line", |lines| {
                lines.iter().find(|line| line.contains(" l l/bk ")).cloned()
            })
            .expect("the stream's line");
        line.split_whitespace().nth(6).expect("letters").to_owned()
    });
    assert!(letters.iter().all(|l| l.starts_with('U')), "{letters:?}");
}
