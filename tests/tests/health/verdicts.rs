//! One server, one check: what is said of it first.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use underpass_tests::daemon::Launch;
use underpass_tests::netns::Topology;
use underpass_tests::stand_in::{Act, StandIn, say};

use super::{config, programs, wait};

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
            (first.len() == names.len() && first.values().all(|lines| is_complete(lines)))
                .then_some(first)
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
fn is_complete(lines: &[String]) -> bool {
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
            "comment-right-above",
            "option tcp-check
             tcp-check comment above
             tcp-check connect",
            None,
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
            says(&"world?!"[1..]),
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
