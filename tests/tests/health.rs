//! Health checks: the same servers, checked by our daemon and by Debian's haproxy, and what both log of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use underpass_tests::certs::{Certs, Leaf};
use underpass_tests::daemon::{self, BOUND, Daemon, Launch};
use underpass_tests::netns::Topology;
use underpass_tests::openssl;
use underpass_tests::peer::{Buffers, Peer};
use underpass_tests::process::{Output, Process, eventually};
use underpass_tests::stand_in::{Act, StandIn, say};

const HAPROXY: &str = "/usr/sbin/haproxy";

/// Nobody listens there.
const CLOSED: u16 = 9999;

/// Both programs, haproxy first.
fn programs() -> [PathBuf; 2] {
    [
        HAPROXY.into(),
        daemon::binary().expect("the binary under test"),
    ]
}

/// A file around these sections.
fn config(program: &Path, sections: &str) -> String {
    let ours = if daemon::is_haproxy(program) {
        ""
    } else {
        "    offload off\n"
    };
    format!(
        "global\n    nbthread 1\n    log stdout format short daemon\n\
         defaults\n    mode tcp\n    log global\n    timeout connect 5s\n    timeout client 60s\n    \
         timeout server 60s\n    retries 0\n{ours}{sections}"
    )
}

/// Lines about servers, with what differs from run to run masked.
fn told(lines: &[String]) -> Vec<String> {
    let about = |line: &&String| {
        ["Server ", "check for ", "no server available"]
            .iter()
            .any(|words| line.contains(words))
    };
    lines.iter().filter(about).map(|line| mask(line)).collect()
}

fn mask(line: &str) -> String {
    let mark = "check duration: ";
    let Some(at) = line.find(mark) else {
        return line.to_owned();
    };
    let (before, rest) = line.split_at(at + mark.len());
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    assert!(digits > 0 && rest[digits..].starts_with("ms"), "{line}");
    format!("{before}N{}", &rest[digits..])
}

/// Waits for lines about servers.
fn wait<T>(daemon: &mut Daemon, what: &str, enough: impl Fn(&[String]) -> Option<T>) -> T {
    daemon
        .process()
        .wait_lines(Output::Stdout, BOUND, what, |lines| enough(&told(lines)))
        .expect("lines about servers")
}

/// A backend whose one server is checked.
struct Checked {
    name: &'static str,
    lines: &'static str,
    words: &'static str,
    /// What it connects to; none: nobody listens.
    script: Option<Vec<Act>>,
}

fn checked(name: &'static str, lines: &'static str, script: Option<Vec<Act>>) -> Checked {
    Checked {
        name,
        lines,
        words: "",
        script,
    }
}

impl Checked {
    fn with(mut self, words: &'static str) -> Self {
        self.words = words;
        self
    }
}

/// Checks all of them with both programs and compares the first lines about each.
fn compare(cases: &[Checked]) {
    let net = Topology::loopback().expect("a host");
    let mut sections = String::new();
    let mut servers = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        let port = 9000 + u16::try_from(index).expect("few cases");
        if let Some(script) = &case.script {
            let script = script.clone();
            servers.push(
                net.server
                    .run(|| StandIn::start(port, script))
                    .expect("a server"),
            );
        }
        // Once with the check's own line, once with its words in the server's line.
        for (suffix, log) in [("", "option log-health-checks"), ("-quiet", "")] {
            let _ = writeln!(sections, "backend {}{suffix}\n    {log}", case.name);
            for line in case.lines.lines() {
                let _ = writeln!(sections, "    {}", line.trim());
            }
            let words = case.words;
            let _ = writeln!(
                sections,
                "    server s 127.0.0.1:{port} check inter 500ms rise 1 fall 1 {words}"
            );
        }
    }
    let found = programs().map(|program| {
        let mut daemon = Launch::program(&program, config(&program, &sections))
            .start(&net.proxy)
            .expect("a daemon");
        let names: Vec<&str> = cases.iter().map(|case| case.name).collect();
        wait(&mut daemon, "line for every check", |lines| {
            let first = first_lines(lines, &names);
            (first.len() == names.len() && first.values().all(is_complete)).then_some(first)
        })
    });
    let [theirs, ours] = found;
    let mut complaints = String::new();
    for (name, lines) in &theirs {
        if ours[name] != *lines {
            let _ = writeln!(
                complaints,
                "{name}: haproxy:\n  {}\nours:\n  {}",
                lines.join("\n  "),
                ours[name].join("\n  ")
            );
        }
    }
    assert!(complaints.is_empty(), "{complaints}");
}

/// What is first said of each case's backends: their checks, their servers, themselves.
fn first_lines(lines: &[String], names: &[&str]) -> BTreeMap<String, Vec<String>> {
    let mut first: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in names {
        for about in [
            format!("check for server {name}/s "),
            format!("Server {name}/s "),
            format!("backend {name} "),
            format!("Server {name}-quiet/s "),
            format!("backend {name}-quiet "),
        ] {
            if let Some(line) = lines.iter().find(|line| line.contains(&about)) {
                first
                    .entry((*name).to_owned())
                    .or_default()
                    .push(line.clone());
            }
        }
    }
    first
}

/// Whether all that can be said was said: of a good server one line, of another one five.
fn is_complete(lines: &Vec<String>) -> bool {
    lines[0].contains("succeeded") || lines.len() == 5
}

fn hang() -> Option<Vec<Act>> {
    Some(vec![])
}

fn says(bytes: impl AsRef<[u8]>) -> Option<Vec<Act>> {
    Some(vec![say(bytes)])
}

/// Reads what it is sent, so that its end is no reset; then ends.
fn hears_and_ends() -> Option<Vec<Act>> {
    Some(vec![Act::Hear, Act::End])
}

fn answers(bytes: impl AsRef<[u8]>) -> Option<Vec<Act>> {
    Some(vec![Act::Hear, say(bytes)])
}

#[test]
fn connections() {
    compare(&[
        checked("accepts", "", hang()),
        checked("refuses", "", None),
        checked("resets", "", Some(vec![Act::Reset])),
        checked("script-refused", "option tcp-check", None),
        checked("script-accepts", "option tcp-check", hang()),
        checked("no-tls", "", says("hello\r\n")).with("check-ssl verify none"),
        checked("no-tls-end", "", hears_and_ends()).with("check-ssl verify none"),
        checked("tls-hang", "", hang()).with("check-ssl verify none"),
        checked("tls-refused", "", None).with("check-ssl verify none"),
    ]);
}

const PING: &str = "option tcp-check
    tcp-check comment first
    tcp-check connect comment \"con nect\"
    tcp-check send PING\\r\\n comment sent
    tcp-check expect string +PONG comment pong";

#[test]
fn scripts() {
    compare(&[
        checked("ping-refused", PING, None),
        checked("ping-hang", PING, hang()),
        checked("ping-end", PING, hears_and_ends()),
        checked(
            "ping-other",
            PING,
            Some(vec![Act::Hear, say("-ERR\r\n"), Act::End]),
        ),
        checked("ping-pong", PING, answers("+PONG\r\n")),
        checked(
            "pieces",
            PING,
            Some(vec![Act::Hear, say("+PO"), say("NG"), say("\r\n")]),
        ),
        checked(
            "comment-above",
            "option tcp-check
             tcp-check comment above
             tcp-check connect
             tcp-check expect string x",
            hang(),
        ),
        checked(
            "unwanted",
            "option tcp-check\ntcp-check send-binary 50494e470d0a\ntcp-check expect ! rstring h.llo",
            answers("hello"),
        ),
        checked(
            "unwanted-end",
            "option tcp-check\ntcp-check expect !string hello",
            Some(vec![say("good bye"), Act::End]),
        ),
        checked(
            "binary",
            "option tcp-check\ntcp-check expect binary 68656c6c6f\ntcp-check expect rbinary ^6865.*0D0A",
            says("hello\r\n"),
        ),
        checked(
            "binary-hang",
            "option tcp-check\ntcp-check expect binary 68656c6c6fFF",
            says("hello\r\n"),
        ),
        checked(
            "binary-mismatch",
            "option tcp-check\ntcp-check expect min-recv 4 binary abcd",
            says("hello\r\n"),
        ),
        checked(
            "lower-case-rbinary",
            "option tcp-check\ntcp-check expect min-recv 4 rbinary 0d0a",
            says("hello\r\n"),
        ),
        checked(
            "three",
            "option tcp-check
             tcp-check expect string hello
             tcp-check expect string world
             tcp-check expect rstring ^hello.*z",
            Some(vec![say("hello "), say("world\r\n"), Act::End]),
        ),
        checked(
            "another-port",
            "option tcp-check\ntcp-check connect\ntcp-check expect string hello\ntcp-check connect port 9999",
            says("hello\r\n"),
        ),
        checked(
            "send-last",
            "option tcp-check\ntcp-check connect\ntcp-check send x",
            hang(),
        ),
        checked(
            "connect-last",
            "option tcp-check\ntcp-check connect\ntcp-check expect string hello\ntcp-check connect",
            says("hello\r\n"),
        ),
        checked(
            "statuses",
            "option tcp-check\ntcp-check expect string world ok-status L7OK error-status L7STS tout-status L6TOUT on-success \"all good\" on-error \"all bad\"",
            says("world"),
        ),
        checked(
            "statuses-bad",
            "option tcp-check\ntcp-check expect min-recv 2 string world error-status L7STS on-error \"all bad\" comment why",
            says("world?!"[1..].to_owned()),
        ),
        checked(
            "statuses-late",
            "option tcp-check\ntcp-check expect string world tout-status L4TOUT",
            hang(),
        ),
        checked(
            "statuses-empty",
            "option tcp-check\ntcp-check expect string world error-status L7STS on-error \"all bad\" comment why",
            Some(vec![Act::End]),
        ),
        checked(
            "proxy-v1",
            "option tcp-check\ntcp-check expect string \"TCP4 127.0.0.1\"",
            Some(vec![Act::Hear, say("got TCP4 127.0.0.1")]),
        )
        .with("check-send-proxy"),
    ]);
}

#[test]
fn redis_and_tls_hellos() {
    compare(&[
        checked("redis", "option redis-check", answers("+PONG\r\n")),
        checked(
            "redis-error",
            "option redis-check",
            Some(vec![
                Act::Hear,
                say("-ERR \"x\"\x01 y\r\nmore\r\n"),
                Act::End,
            ]),
        ),
        checked("redis-hang", "option redis-check", hang()),
        checked("redis-end", "option redis-check", hears_and_ends()),
        checked("redis-refused", "option redis-check", None),
        checked(
            "hello",
            "option ssl-hello-chk",
            answers(b"\x16\x03\x01\x00\x4a\x02"),
        ),
        checked(
            "hello-alert",
            "option ssl-hello-chk",
            answers(b"\x15\x03\x00\x00\x02\x02\x28"),
        ),
        checked(
            "hello-bad",
            "option ssl-hello-chk",
            answers("HTTP/1.0 400 no\r\n"),
        ),
        checked("hello-hang", "option ssl-hello-chk", hang()),
        checked("hello-end", "option ssl-hello-chk", hears_and_ends()),
    ]);
}

#[test]
fn mail() {
    let smtp = |name, script: Vec<Act>| checked(name, "option smtpchk", Some(script));
    compare(&[
        smtp(
            "good",
            vec![
                say("220 mx ESMTP\r\n"),
                Act::Hear,
                say("250 well\r\n"),
                Act::Hear,
                say("221  bye\r\n"),
            ],
        ),
        smtp(
            "many-lines",
            vec![
                say("220 mx\r\n"),
                Act::Hear,
                say("250-mx\r\n250 SIZE\r\n"),
                Act::Hear,
                say("221 bye\r\n"),
            ],
        ),
        smtp("away", vec![say("554 go away\r\n")]),
        smtp("odd", vec![say("nonsense\r\n")]),
        smtp("short", vec![say("22"), Act::End]),
        smtp(
            "refused",
            vec![
                say("220 mx\r\n"),
                Act::Hear,
                say("550   no such\r\n"),
                Act::End,
            ],
        ),
        smtp("hang", vec![]),
        smtp("end", vec![Act::End]),
    ]);
}

#[test]
fn databases_and_directories() {
    let greeting = b"\x1b\0\0\0\x0a5.7.1-x\0\x01\0\0\0saltsalt\0\xff\xf7\x08\x02\0";
    let reply = |text: &[u8]| [&greeting[..], text].concat();
    let user = "option mysql-check user joe";
    let postgres = "option pgsql-check user joe";
    let ldap = "option ldap-check";
    compare(&[
        checked("mysql", "option mysql-check", says(greeting)),
        checked(
            "mysql-blocked",
            "option mysql-check",
            says(b"\x0f\0\0\0\xff\x6a\x04Host blocked"),
        ),
        checked("mysql-hang", "option mysql-check", hang()),
        checked("mysql-end", "option mysql-check", Some(vec![Act::End])),
        checked(
            "mysql-short",
            "option mysql-check",
            Some(vec![say("xx"), Act::End]),
        ),
        checked(
            "mysql-user",
            user,
            answers(reply(b"\x07\0\0\x02\0\0\0\x02\0\0\0")),
        ),
        checked(
            "mysql-denied",
            user,
            answers(reply(b"\x0b\0\0\x02\xff\x15\x04#denied!")),
        ),
        checked("mysql-silent", user, answers(reply(b""))),
        checked(
            "mysql-old",
            "option mysql-check user joe pre-41",
            answers(reply(b"\x07\0\0\x02\0\0\0\x02\0\0\0")),
        ),
        checked("pgsql", postgres, answers(b"R\0\0\0\x08\0\0\0\0")),
        checked(
            "pgsql-error",
            postgres,
            answers(b"E\0\0\0\x20SFATAL\0C28000\0Mno such user\0\0"),
        ),
        checked("pgsql-odd", postgres, answers(b"R\0\0\0\x08\0\0\0\x0b")),
        checked("pgsql-hang", postgres, hang()),
        checked("pgsql-end", postgres, hears_and_ends()),
        checked(
            "ldap",
            ldap,
            answers(b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\0\x04\0\x04\0"),
        ),
        checked(
            "ldap-refused",
            ldap,
            answers(b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x31\x04\0\x04\0"),
        ),
        checked(
            "ldap-odd",
            ldap,
            answers("hello, this is something else\r\n"),
        ),
        checked("ldap-hang", ldap, hang()),
        checked(
            "ldap-short",
            ldap,
            Some(vec![Act::Hear, say("30"), Act::End]),
        ),
    ]);
}

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
            last(lines).then(|| lines.to_vec())
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
            end.is_some_and(|at| lines[at..].iter().any(|line| line.contains("c/t3 is DOWN")))
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
    assert_eq!(letters[0], letters[1], "haproxy's first");
    assert!(letters[1].starts_with('D'), "{letters:?}");
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
    assert_eq!(letters[0], letters[1], "haproxy's first");
    assert!(letters[1].starts_with('U'), "{letters:?}");
}

/// What checks send: as haproxy's, byte for byte, where it is not chance or a name.
#[test]
fn what_is_sent() {
    let cases = [
        ("redis", "option redis-check", ""),
        ("smtp", "option smtpchk EHLO me.example", ""),
        ("mysql", "option mysql-check user joe", ""),
        ("mysql-old", "option mysql-check user joe pre-41", ""),
        ("pgsql", "option pgsql-check user joe", ""),
        ("ldap", "option ldap-check", ""),
        (
            "v2",
            "option tcp-check\n    tcp-check expect string x",
            "send-proxy-v2",
        ),
        (
            "v2-check",
            "option tcp-check\n    tcp-check expect string x",
            "check-send-proxy send-proxy-v2 port 9006",
        ),
        (
            "none",
            "option tcp-check\n    tcp-check send hello\n    tcp-check expect string x",
            "send-proxy port 9008",
        ),
        (
            "agent",
            "",
            "agent-check agent-port 9009 agent-send \"how\\ are\\ you\\n\" agent-inter 500ms no-check",
        ),
    ];
    let mut sections = String::new();
    for (at, (name, lines, words)) in cases.iter().enumerate() {
        let port = 9000 + at;
        let _ = writeln!(
            sections,
            "backend {name}\n    {lines}\n    server s 127.0.0.1:{port} check inter 500ms {words}"
        );
    }
    let [theirs, ours] = programs().map(|program| {
        let net = Topology::loopback().expect("a host");
        let servers: Vec<StandIn> = net.server.run(|| {
            let start = |at: usize| {
                let port = 9000 + u16::try_from(at).expect("few");
                // One that talks first gets further.
                let script = if cases[at].0 == "smtp" {
                    vec![say("220 hi\r\n")]
                } else {
                    vec![]
                };
                StandIn::start(port, script).expect("a server")
            };
            (0..cases.len()).map(start).collect()
        });
        let _daemon = Launch::program(&program, config(&program, &sections))
            .start(&net.proxy)
            .expect("a daemon");
        // A second connection: the first one is over.
        let done = eventually(BOUND, || servers.iter().all(|server| server.served() > 1));
        assert!(done, "{}: a server is not checked", program.display());
        servers
            .iter()
            .map(|server| server.heard()[0].clone())
            .collect::<Vec<_>>()
    });
    for (at, (name, ..)) in cases.iter().enumerate() {
        assert_eq!(theirs[at], ours[at], "{name}: haproxy's first");
    }
}

/// A redis of Debian's, from its start to its end.
#[test]
fn a_real_redis() {
    let net = Topology::loopback().expect("a host");
    let sections = "backend b
    option redis-check
    server s 127.0.0.1:9000 check inter 100ms rise 1 fall 1
";
    let program = daemon::binary().expect("the binary under test");
    let mut daemon = Launch::program(&program, config(&program, sections))
        .start(&net.proxy)
        .expect("a daemon");
    wait(&mut daemon, "server that is down", |lines| {
        lines
            .iter()
            .any(|line| line.contains("b/s is DOWN, reason: Layer4"))
            .then_some(())
    });
    let mut command = net.server.command("redis-server");
    command.args(["--port", "9000", "--save", "", "--appendonly", "no"]);
    let redis = Process::spawn(&mut command).expect("redis-server");
    wait(&mut daemon, "server that is up", |lines| {
        let up = "b/s is UP, reason: Layer7 check passed, code: 0, info: \"Redis server is ok\"";
        lines.iter().any(|line| line.contains(up)).then_some(())
    });
    drop(redis);
    wait(&mut daemon, "server that is down again", |lines| {
        let down = lines.iter().filter(|line| line.contains("b/s is DOWN"));
        (down.count() == 2).then_some(())
    });
}

/// TLS checks of an OpenSSL server: with its authority, with another one, and with its own words for names.
#[test]
fn a_real_tls_server() {
    let net = Topology::loopback().expect("a host");
    let certs = Certs::new();
    certs.issue("server", &Leaf::new("server.example"));
    let strange = Certs::new();
    let pem = certs.dir().join("server.pem");
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 9000));
    let pem = pem.to_str().expect("a plain path");
    let server = openssl::Server::start(&net.server, at, ["-cert", pem, "-key", pem]);
    let _server = server.expect("s_server");
    let section = |name: &str, words: String| {
        format!(
            "backend {name}\n    server s 127.0.0.1:9000 check inter 1s rise 1 fall 1 {words}\n"
        )
    };
    let (good, bad) = (certs.dir().display(), strange.dir().display());
    let sections = [
        "defaults\n    mode tcp\n    log global\n    option log-health-checks\n".to_owned(),
        section(
            "trusted",
            format!("check-ssl check-sni server.example ca-file {good}/ca.pem"),
        ),
        section(
            "stranger",
            format!("check-ssl check-sni server.example ca-file {bad}/ca.pem"),
        ),
        section(
            "streams",
            "ssl verify none check-alpn h2,http/1.1".to_owned(),
        ),
        section("other-port", "ssl verify none port 9000".to_owned()),
        "backend script\n    option tcp-check\n    tcp-check connect ssl sni server.example\n    \
         server s 127.0.0.1:9000 check inter 1s verify none\n"
            .to_owned(),
    ]
    .concat();
    let names = ["trusted", "stranger", "streams", "other-port", "script"];
    let [theirs, ours] = programs().map(|program| {
        let mut daemon = Launch::program(&program, config(&program, &sections))
            .start(&net.proxy)
            .expect("a daemon");
        wait(&mut daemon, "line for every check", |lines| {
            let first = names.map(|name| {
                let about = format!("check for server {name}/s ");
                lines.iter().find(|line| line.contains(&about)).cloned()
            });
            first.iter().all(Option::is_some).then_some(first)
        })
    });
    assert_eq!(theirs, ours, "haproxy's lines first");
    assert!(
        ours.iter()
            .flatten()
            .next()
            .is_some_and(|line| line.contains("Layer6 check passed"))
    );
}
