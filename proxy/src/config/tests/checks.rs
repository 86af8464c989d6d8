//! Health checks: what their words come to, and what is wrong with them.

use std::time::Duration;

use super::super::model::check::{Action, Check, Flavour, OnError, Pattern};
use super::super::model::tls::ProxyVersion;
use super::*;
use crate::backend::health::status::Status;

fn server(words: &str) -> Server {
    let text = format!("backend b\n server s 192.0.2.1:80 {words}\n");
    valid(&text).backends[0].servers[0].clone()
}

fn check(words: &str) -> Check {
    let health = server(&format!("check {words}")).health;
    health.check.unwrap_or_else(|| panic!("{words}: no check"))
}

#[test]
fn defaults_are_those_of_haproxy() {
    assert!(server("").health.check.is_none());
    assert!(server("check no-check").health.check.is_none());
    let check = check("");
    assert_eq!(check.intervals.usual, Duration::from_secs(2));
    assert_eq!(
        (check.intervals.changing, check.intervals.down),
        (None, None)
    );
    assert_eq!((check.rise, check.fall), (2, 3));
    assert!(!check.ssl && check.tls.is_none() && check.send_proxy.is_none());
    let config = valid("backend b\n server s 192.0.2.1:80 check\n");
    assert_eq!(config.backends[0].health.script.flavour, Flavour::Plain);
    assert_eq!(config.global.spread_checks, 0);
    let global = valid("global\n spread-checks 5\n max-spread-checks 3s\n").global;
    assert_eq!(global.spread_checks, 5);
    assert_eq!(global.max_spread_checks, Some(Duration::from_secs(3)));
}

#[test]
fn checks_go_and_speak_as_streams_unless_told_otherwise() {
    let ssl = "ssl verify none";
    let table = [
        ("", None, false, None),
        (ssl, None, true, None),
        ("ssl verify none no-check-ssl", None, false, None),
        ("ssl verify none port 81", Some(81), false, None),
        ("ssl verify none port 81 check-ssl", Some(81), true, None),
        ("check-ssl verify none", None, true, None),
        ("send-proxy", None, false, Some(ProxyVersion::V1)),
        ("send-proxy-v2", None, false, Some(ProxyVersion::V2)),
        ("send-proxy-v2 port 81", Some(81), false, None),
        (
            "send-proxy-v2 port 81 check-send-proxy",
            Some(81),
            false,
            Some(ProxyVersion::V2),
        ),
        ("check-send-proxy", None, false, Some(ProxyVersion::V1)),
        ("addr 192.0.2.9:82", Some(82), false, None),
        ("addr 192.0.2.9 port 83", Some(83), false, None),
    ];
    for (words, port, speaks_tls, header) in table {
        let check = check(words);
        assert_eq!(check.port, port, "{words}");
        assert_eq!(check.ssl, speaks_tls, "{words}");
        assert_eq!(check.tls.is_some(), speaks_tls, "{words}");
        assert_eq!(check.send_proxy, header, "{words}");
    }
    let tls = check("check-ssl verify none check-sni a.example check-alpn h2,x").tls;
    let tls = tls.expect("TLS");
    assert_eq!(tls.parameters.alpn, [b"h2".to_vec(), b"x".to_vec()]);
}

#[test]
fn what_follows_from_checks() {
    let health = server("check observe layer4 error-limit 3 on-error mark-down").health;
    let observe = health.observe.expect("observe");
    assert_eq!((observe.limit, observe.then), (3, OnError::MarkDown));
    assert!(server("observe layer4").health.observe.is_none());
    let words =
        "check on-marked-down shutdown-sessions on-marked-up shutdown-backup-sessions slowstart 5s";
    let health = server(words).health;
    assert!(health.ends_streams && health.ends_backup_streams);
    assert_eq!(health.slow_start, Some(Duration::from_secs(5)));
    let words =
        "agent-check agent-port 9 agent-inter 7s agent-send x\\n agent-addr 192.0.2.2 inter 1s";
    let agent = server(words).health.agent.expect("an agent");
    assert_eq!(agent.interval, Duration::from_secs(7));
    assert_eq!(agent.port, 9);
    assert_eq!(agent.send.as_deref(), Some(&b"x\n"[..]));
    assert_eq!(agent.address, Some("192.0.2.2".parse().unwrap()));
    assert!(server("agent-port 9").health.agent.is_none());
}

#[test]
fn servers_track_others() {
    let text = "\
backend a
 server s1 192.0.2.1:80 check disabled
 server s2 192.0.2.1:80 track s1
backend b
 server s3 192.0.2.1:80 track a/s2
";
    let config = valid(text);
    let track = |backend: usize, server: usize| {
        let track = config.backends[backend].servers[server]
            .health
            .track
            .clone();
        let track = track.expect("a leader");
        (
            track.backend.0,
            track.server,
            track.name.to_string(),
            track.disabled,
        )
    };
    assert_eq!(track(0, 1), (0, 0, "a/s1".to_owned(), true));
    assert_eq!(track(1, 0), (0, 1, "a/s2".to_owned(), true));
}

#[test]
fn steps_of_scripts() {
    let text = "\
defaults
 option tcp-check
 tcp-check connect
backend a
 tcp-check comment top
 tcp-check connect port 5 ssl send-proxy linger default comment c
 tcp-check send PING\\r\\n
 tcp-check send-binary 00fF comment d
 tcp-check expect ! rstring ^a comment e error-status L7STS on-error no
 server s 192.0.2.1:80 check verify none
backend b
 server s 192.0.2.1:80 check
backend c
 option redis-check
 server s 192.0.2.1:80 check
";
    let config = valid(text);
    let script = |at: usize| &config.backends[at].health.script;
    let steps = &script(0).steps;
    assert_eq!(steps.len(), 5);
    assert!(matches!(&steps[0].action, Action::Comment));
    assert!(matches!(&steps[1].action, Action::Connect(c)
        if c.port == Some(5) && c.ssl && c.send_proxy && c.linger && c.default));
    assert!(matches!(&steps[2].action, Action::Send(bytes) if **bytes == *b"PING\r\n"));
    assert!(matches!(&steps[3].action, Action::Send(bytes) if **bytes == [0, 255]));
    let Action::Expect(expect) = &steps[4].action else {
        panic!("{:?}", steps[4]);
    };
    assert!(expect.unwanted && expect.min_recv.is_none() && expect.error == Status::L7Wrong);
    assert!(matches!(expect.pattern, Pattern::Regex(_)));
    assert!(
        config.backends[0].servers[0]
            .health
            .check
            .as_ref()
            .unwrap()
            .tls
            .is_some()
    );
    assert_eq!(
        (script(1).flavour, script(1).steps.len()),
        (Flavour::Written, 1)
    );
    assert_eq!(script(2).flavour, Flavour::Protocol);
}

#[test]
fn mistakes_on_servers() {
    let table = [
        ("check rise 0", "'rise' expects an integer between 1"),
        ("check fall x", "'fall' expects an integer between 1"),
        ("check inter 0", "'inter' : invalid value '0'"),
        ("check inter 5w", "'inter' has an unknown time unit 'w'"),
        ("check inter", "'inter' : missing value"),
        ("check fastinter 0", "'fastinter' : invalid value '0'"),
        ("check downinter x", "'downinter' expects a time"),
        ("check slowstart x", "'slowstart' expects a time"),
        ("check observe layer7", "only makes sense for HTTP"),
        (
            "check observe foo",
            "'observe' expects one of 'none' or 'layer4' but got 'foo'",
        ),
        ("check on-error foo", "'on-error' expects one of"),
        (
            "check error-limit 0",
            "'error-limit' expects an integer between 1",
        ),
        (
            "check on-marked-down x",
            "'on-marked-down' expects 'shutdown-sessions' but got 'x'.",
        ),
        (
            "check on-marked-up x",
            "'on-marked-up' expects 'shutdown-backup-sessions' but got 'x'.",
        ),
        (
            "check port 70000",
            "'port' expects an integer between 0 and 65535",
        ),
        ("check addr foo.invalid", "'addr' : "),
        (
            "check check-alpn h2,,x",
            "'check-alpn' : an empty protocol name",
        ),
        ("check chek-ssl", "did you mean 'check-ssl' maybe ?"),
        ("check check-via-socks4", "not available in this version"),
        ("check check-proto h2", "not available in this version"),
        ("agent-check", "'agent-check' needs an 'agent-port'"),
        (
            "agent-check agent-port 1 agent-inter 0",
            "'agent-inter' : invalid value '0'",
        ),
        (
            "track x",
            "unable to find required server 'x' for tracking.",
        ),
        (
            "track x/s",
            "unable to find required proxy 'x' for tracking.",
        ),
        (
            "track s",
            "unable to track b/s as it belongs to a tracking chain looping back to b/s.",
        ),
        (
            "track t\n server t 192.0.2.1:81",
            "unable to use b/t for tracking as it does not have any check nor agent enabled.",
        ),
        (
            "check track t\n server t 192.0.2.1:81 check",
            "unable to enable checks and tracking at the same time!",
        ),
        (
            "check\n server t 192.0.2.1 check",
            "server 't' has neither service port nor check port.",
        ),
        (
            "check check-ssl",
            "its checks speak TLS, and verify is enabled but no CA file specified",
        ),
    ];
    for (words, expected) in table {
        let text = format!("backend b\n server s 192.0.2.1:80 {words}\n");
        let found = remarks(&text, Severity::Alert);
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "{words}: {found:?}"
        );
    }
}

#[test]
fn mistakes_in_scripts_and_options() {
    let table = [
        ("tcp-check", "'tcp-check' expects"),
        ("tcp-check foo", "but got 'foo'"),
        ("tcp-check send-lf x", "not available in this version"),
        (
            "tcp-check set-var(check.x) int(1)",
            "not available in this version",
        ),
        (
            "tcp-check connect port",
            "'port' expects a port number as argument.",
        ),
        (
            "tcp-check connect port 0",
            "'tcp-check connect port' expects an integer between 1",
        ),
        (
            "tcp-check connect addr",
            "'addr' expects <ipv4|ipv6> as argument.",
        ),
        ("tcp-check connect foo", "but got 'foo' as argument."),
        (
            "tcp-check connect via-socks4",
            "not available in this version",
        ),
        ("tcp-check send", "'send' expects a string as argument."),
        ("tcp-check send a b", "expects 'comment' but got 'b'"),
        (
            "tcp-check send a comment",
            "'comment' expects a string as argument.",
        ),
        (
            "tcp-check send-binary abc",
            "an even number of hex digit is expected",
        ),
        (
            "tcp-check send-binary xy",
            "an hex digit is expected (found 'x')",
        ),
        (
            "tcp-check expect",
            "expects at least a matching pattern as arguments.",
        ),
        (
            "tcp-check expect comment x",
            "expects at least a matching pattern as arguments.",
        ),
        (
            "tcp-check expect string",
            "'string' expects a <pattern> as argument.",
        ),
        (
            "tcp-check expect string a string b",
            "only one pattern is expected.",
        ),
        (
            "tcp-check expect ! min-recv 3 string a",
            "[!] not supported with 'min-recv'.",
        ),
        (
            "tcp-check expect string a extra",
            "but got 'extra' as argument.",
        ),
        ("tcp-check expect rstring (", "regex '(' is invalid"),
        (
            "tcp-check expect min-recv -2 string a",
            "expects an integer between -1",
        ),
        (
            "tcp-check expect string a ok-status L7RSP",
            "'ok-status' only supports",
        ),
        (
            "tcp-check expect string a error-status L7OK",
            "'error-status' only supports",
        ),
        (
            "tcp-check expect string a tout-status FOO",
            "'tout-status' only supports",
        ),
        (
            "tcp-check expect string a on-error %[src]",
            "log-format expressions are not available",
        ),
        (
            "tcp-check send a\n tcp-check connect",
            "the first step has to be a 'connect' too",
        ),
        (
            "option tcp-check foo",
            "'option tcp-check' cannot handle unexpected argument 'foo'.",
        ),
        (
            "option smtpchk EHLO a b",
            "'option smtpchk' cannot handle unexpected argument 'b'.",
        ),
        (
            "option pgsql-check",
            "expects 'user <username>' as argument.",
        ),
        (
            "option mysql-check foo",
            "only supports optional values: 'user' (got 'foo').",
        ),
        ("option mysql-check user", "expects <username> as argument."),
        (
            "option mysql-check user a x",
            "only supports 'post-41' and 'pre-41' (got 'x').",
        ),
        (
            "no option redis-check",
            "negation/default is not supported for option 'redis-check'.",
        ),
    ];
    for (lines, expected) in table {
        let found = remarks(&format!("backend b\n {lines}\n"), Severity::Alert);
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "{lines}: {found:?}"
        );
    }
    for (text, expected) in [
        (
            "global\n spread-checks 60\n",
            "'spread-checks' expects an integer between 0 and 50",
        ),
        (
            "global\n max-spread-checks x\n",
            "'max-spread-checks' expects a time",
        ),
    ] {
        let found = remarks(text, Severity::Alert);
        assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
    }
}

#[test]
fn steps_that_nobody_takes_are_told() {
    let warned = |lines: &str| {
        let text = format!("backend b\n {lines}\n");
        remarks(&text, Severity::Warning)
    };
    let ignored = "uses tcp-check rules without 'option tcp-check', so the rules are ignored.";
    for lines in ["tcp-check send a", "option redis-check\n tcp-check send a"] {
        let found = warned(lines);
        assert!(found.len() == 1 && found[0].contains(ignored), "{found:?}");
    }
    assert!(warned("option tcp-check\n tcp-check send a").is_empty());
    let text = "frontend f\n mode tcp\n timeout client 1s\n bind :80\n default_backend b\n option tcp-check\n tcp-check send a\n option log-health-checks\nbackend b\n";
    let found = remarks(text, Severity::Warning);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(
        found
            .iter()
            .all(|found| found.contains("has no backend capability"))
    );
}
