//! `acl`, `tcp-request`, `tcp-response`, `use_backend`, `use-server`, `stick`, `stick-table`, `guard`.

use super::*;
use crate::config::model::rules::{ServerTarget, StickUse, Target};
use crate::rules::action::{Action, Ruling};
use crate::rules::ruleset::Limit;
use crate::rules::sample::Kind;
use crate::rules::table::StoreSet;

const RULES: &str = "\
defaults strict
    tcp-request connection reject if { src 198.51.100.0/24 }

frontend in from strict
    bind :80
    acl inside src 10.0.0.0/8 192.168.0.0/16
    acl hello req.ssl_hello_type 1
    tcp-request connection accept if inside
    tcp-request connection track-sc0 src table seen
    tcp-request connection silent-drop if { sc0_conn_rate gt 100 }
    tcp-request connection reject unless inside or { dst_port 80 }
    tcp-request session set-var(sess.who) src
    tcp-request inspect-delay 5s
    tcp-request content accept if hello
    tcp-request content reject
    use_backend secure if { req.ssl_sni -m end .example }
    use_backend %[req.ssl_sni,lower]_pool if hello
    default_backend plain

backend seen
    stick-table type ip size 10k expire 1m store conn_cur,conn_rate(10s)

backend plain
    stick-table type string len 64 size 100 nopurge store server_id
    stick on req.payload(0,4) if { req.len ge 4 }
    stick match src table seen
    server a 192.0.2.1:80
    server b 192.0.2.2:80

backend secure
    use-server b if { src 10.1.0.0/16 }
    tcp-response inspect-delay 1s
    tcp-response content reject if { res.len 0 }
    server a 192.0.2.1:443
    server b 192.0.2.2:443

listen both
    bind :81
    tcp-request content reject if { src 192.0.2.9 }
    server s 192.0.2.1:81
";

#[test]
fn rules_go_to_their_stages_in_order() {
    let config = valid(RULES);
    let [front, both] = &config.frontends[..] else {
        panic!("{:?}", config.frontends);
    };
    let rules = &front.rules;
    assert_eq!(rules.connection.len(), 5);
    // Those of the defaults come first.
    assert_eq!(rules.connection[0].position.line, 2);
    assert!(matches!(
        rules.connection[1].action,
        Action::Rule(Ruling::Accept)
    ));
    assert!(matches!(
        rules.connection[2].action,
        Action::Track { slot: 0, .. }
    ));
    assert_eq!(
        rules.connection[3].limit,
        Some(Limit {
            connections: 100,
            period: Duration::from_secs(10),
        })
    );
    assert_eq!(rules.connection[4].limit, None);
    assert_eq!(rules.session.len(), 1);
    assert_eq!(rules.request.len(), 2);
    assert_eq!(rules.request_delay, Some(Duration::from_secs(5)));
    assert!(matches!(
        rules.routes[0].target,
        Target::Fixed(BackendId(2))
    ));
    assert!(matches!(&rules.routes[1].target, Target::Named(pieces) if pieces.len() == 2));
    assert_eq!(front.own_backend, None);
    // A listen has its content rules on both halves, and knows that they are the same.
    assert_eq!(both.rules.request.len(), 1);
    assert_eq!(both.own_backend, Some(BackendId(3)));
    assert_eq!(config.backends[3].rules.request.len(), 1);

    let [seen, plain] = &config.tables[..] else {
        panic!("{:?}", config.tables);
    };
    assert_eq!((seen.kind, seen.size), (Kind::Ipv4, 10 << 10));
    assert_eq!(seen.expire, Some(Duration::from_secs(60)));
    // A stick line that looks a server up there makes the table remember servers.
    assert_eq!(
        seen.stores,
        StoreSet::CONN_CUR | StoreSet::CONN_RATE | StoreSet::SERVER_ID
    );
    assert_eq!(seen.periods.conn, Duration::from_secs(10));
    assert_eq!((plain.kind, plain.key_len), (Kind::Str, 64));
    assert!(plain.nopurge);
    let sticking = &config.backends[1].rules.sticking;
    assert_eq!(sticking[0].purpose, StickUse::MATCH | StickUse::STORE);
    assert_eq!(sticking[1].purpose, StickUse::MATCH);
    assert!(matches!(
        config.backends[2].rules.servers[0].server,
        ServerTarget::Fixed(1)
    ));
    assert_eq!(
        config.backends[2].rules.response_delay,
        Some(Duration::from_secs(1))
    );
}

/// What is wrong with how `text` is refused in a section of that kind: it should be once, at that
/// column of its line, with these words in the message.
fn misjudged(kind: &str, text: &str, column: usize, words: &str) -> Option<String> {
    let found = remarks(&within(kind, text), Severity::Alert);
    let place = format!("2:{} ", column + 1);
    let right = found.len() == 1 && found[0].starts_with(&place) && found[0].contains(words);
    (!right).then(|| format!("{text}\n  expected {place}… {words} …, found {found:?}"))
}

#[test]
fn wrong_lines_are_refused_at_their_word() {
    let front = [
        ("tcp-request", 1, "expects 'inspect-delay'"),
        ("tcp-request nothing", 13, "got 'nothing'"),
        ("tcp-request connection", 13, "expects an action"),
        ("tcp-request connection rejekt", 24, "did you mean 'reject'"),
        ("tcp-request connection lua.x", 24, "unknown"),
        ("tcp-request connection do-resolve", 24, "not available"),
        ("tcp-request connection capture", 24, "HTTP"),
        ("tcp-request connection close", 24, "cannot be used"),
        (
            "tcp-request content expect-proxy layer4",
            21,
            "cannot be used",
        ),
        (
            "tcp-request connection set-log-level info",
            24,
            "cannot be used",
        ),
        ("tcp-request connection expect-proxy", 24, "layer4"),
        (
            "tcp-request connection reject now",
            31,
            "unexpected argument 'now'",
        ),
        ("tcp-request connection reject if", 31, ""),
        ("tcp-request connection reject if nobody", 34, "nobody"),
        ("tcp-request connection reject if { src", 34, ""),
        (
            "tcp-request connection reject if { sorc 1.2.3.4 }",
            36,
            "did you mean 'src'",
        ),
        ("tcp-request connection reject if { src 1.2.3.x }", 40, ""),
        (
            "tcp-request connection reject if { src 1.2.3.4/33 }",
            40,
            "",
        ),
        ("tcp-request connection reject if { req.len 0 }", 34, ""),
        (
            "tcp-request session reject if { req.ssl_sni -m found }",
            31,
            "",
        ),
        (
            "tcp-request connection reject if { src -f /nowhere.lst }",
            43,
            "/nowhere.lst",
        ),
        (
            "tcp-request connection track-sc0 src",
            34,
            "unable to find stick-table 'p'",
        ),
        ("tcp-request connection track-sc0 src table t", 44, "'t'"),
        (
            "tcp-request connection track-sc0 src tabel t",
            38,
            "'tabel'",
        ),
        ("tcp-request connection track-sc3 src", 24, ""),
        ("tcp-request connection sc-inc-gpc0", 24, "0 to 2"),
        ("tcp-request connection sc-inc-gpc0(7)", 24, "0 to 2"),
        ("tcp-request connection set-var(x) src", 24, "sess.name"),
        (
            "tcp-request connection set-var(sess.x src",
            24,
            "missing ')'",
        ),
        ("tcp-request connection set-mark many", 33, "many"),
        ("tcp-request connection set-tos 256", 32, "256"),
        ("tcp-request content set-log-level loud", 35, "loud"),
        ("tcp-request inspect-delay", 1, "expects"),
        ("tcp-request inspect-delay soon", 27, "soon"),
        ("tcp-response content reject", 14, "not a backend"),
        ("use_backend", 1, "backend name"),
        ("use_backend nobody", 13, "'nobody'"),
        ("use_backend %[nothing]", 13, "nothing"),
        ("use_backend %[src", 13, "missing ']'"),
        ("acl", 1, ""),
        ("acl x", 5, ""),
        ("acl x src nobody-at-all", 11, ""),
        ("acl x req.hdr(host) a", 7, "HTTP"),
        ("stick-table size 10", 1, "'type'"),
        ("stick-table type ip", 1, "'size'"),
        ("stick-table type name size 1", 18, "unknown type 'name'"),
        ("stick-table type ip size 0", 26, "invalid size"),
        ("stick-table type ip len 5 size 1", 25, "'len'"),
        (
            "stick-table type ip size 1 store conn_curr",
            34,
            "did you mean 'conn_cur'",
        ),
        ("stick-table type ip size 1 store conn_rate", 34, "period"),
        (
            "stick-table type ip size 1 store conn_cnt(5s)",
            34,
            "no argument",
        ),
        (
            "stick-table type ip size 1 store conn_rate(0)",
            34,
            "may not be 0",
        ),
        ("stick-table type ip size 1 store gpc0,gpc0", 34, "already"),
        (
            "stick-table type ip size 1 srvkey name",
            28,
            "not available",
        ),
        ("stick-table type ip size 1 forever", 28, "unknown argument"),
    ];
    let back = [
        ("tcp-request connection reject", 13, "not a frontend"),
        ("tcp-response content accept if { req.len 1 }", 32, ""),
        ("use-server", 1, "server name"),
        ("use-server x if TRUE", 12, "unable to find server 'x'"),
        ("stick", 1, "'on'"),
        ("stick with src", 7, "got 'with'"),
        ("stick on", 7, "a key"),
        ("stick on src", 10, "stick-table 'p'"),
        ("stick store-response src", 22, "stick-table 'p'"),
        (
            "stick store-response req.payload(0,1) table t",
            22,
            "in a 'stick store-response' rule",
        ),
    ];
    let defaults = [
        ("stick-table type ip size 1", 1, "defaults"),
        ("use_backend x", 1, "defaults"),
        ("tcp-request connection reject", 1, "have a name"),
    ];
    let global = [
        ("guard", 1, "'xdp'"),
        ("guard tc eth0", 7, "got 'tc'"),
        ("guard xdp", 7, "interface"),
        ("guard xdp lo", 11, "loopback"),
        ("guard xdp eth0 fast", 16, "'fast'"),
    ];
    let all = [
        ("frontend", &front[..]),
        ("backend", &back[..]),
        ("defaults", &defaults[..]),
        ("global", &global[..]),
    ];
    let wrong: Vec<String> = all
        .iter()
        .flat_map(|(kind, lines)| lines.iter().map(move |line| (kind, line)))
        .filter_map(|(kind, (text, column, words))| misjudged(kind, text, *column, words))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rules_that_look_at_bytes_want_a_delay() {
    let text = "listen p\n bind :80\n tcp-request content reject if { req.len 0 }\n server s :81\n";
    let found = remarks(text, Severity::Warning);
    assert!(
        found.iter().any(|line| line.contains("inspect-delay")),
        "{found:?}"
    );
    let text = text.replace(" bind", " tcp-request inspect-delay 1s\n bind");
    let found = remarks(&text, Severity::Warning);
    assert!(
        !found.iter().any(|line| line.contains("inspect-delay")),
        "{found:?}"
    );
}
