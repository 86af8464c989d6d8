//! Whole files: what they mean, and where their mistakes are.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::lookups::Lookups;
use super::model::*;
use super::*;

mod balance;
mod checks;
mod logs;
mod monitor;
mod names;
mod refusals;
mod remote;
mod rules;
mod send_proxy;
mod tls_bind;
mod tls_server;

/// A machine with one host, one user, one group.
struct Fixed;

impl Lookups for Fixed {
    fn host(&self, name: &str) -> Vec<IpAddr> {
        if name == "web" {
            vec!["fd00::1".parse().unwrap(), "192.0.2.1".parse().unwrap()]
        } else {
            Vec::new()
        }
    }

    fn resolv_conf(&self) -> Option<String> {
        let text = "# none\nnameserver 192.0.2.53\nsearch test\nnameserver fd00::53\n";
        Some(text.to_owned())
    }

    fn user(&self, name: &str) -> Option<u32> {
        (name == "proxy").then_some(13)
    }

    fn group(&self, name: &str) -> Option<u32> {
        (name == "staff").then_some(50)
    }
}

fn outcome(text: &str) -> Outcome {
    let environment = Environment::from([("PORT".to_owned(), "8080".to_owned())]);
    load_with(&[Source::new("t.cfg", text)], &environment, &Fixed)
}

/// The configuration of a text without errors.
fn valid(text: &str) -> Config {
    let outcome = outcome(text);
    outcome
        .config
        .unwrap_or_else(|| panic!("{text}\n{:#?}", outcome.diagnostics))
}

/// `line:column message` of every diagnostic of that severity.
fn remarks(text: &str, severity: Severity) -> Vec<String> {
    outcome(text)
        .diagnostics
        .into_iter()
        .filter(|d| d.severity == severity)
        .map(|d| format!("{}:{} {}", d.position.line, d.position.column, d.message))
        .collect()
}

const QUICK: &str = "\
global
    nbthread 2
    maxconn 5000
    log 127.0.0.1:5140 local0 info
    stats socket /run/u.sock mode 660 level admin
    user proxy
    gid 50

defaults
    mode tcp
    log global
    option tcplog
    timeout client 30s
    timeout server 30s
    timeout connect 500
    default-server weight 10

frontend in
    bind :80-82,[::1]:\"$PORT\" name x v6only
    bind unix@/run/in.sock mode 600
    default_backend out

backend out
    server a 192.0.2.7:8000
    server b web backup weight 3
    server c ipv4@web:+10 disabled

listen both
    bind *:90
    offload redirect
    offload-after 64k
    server s /run/s.sock
";

#[test]
fn a_typical_file() {
    let config = valid(QUICK);
    assert_eq!(config.global.nbthread, Some(2));
    assert_eq!(config.global.maxconn, Some(5000));
    assert_eq!((config.global.uid, config.global.gid), (Some(13), Some(50)));
    assert_eq!(config.global.stats_sockets[0].level, StatsLevel::Admin);
    assert_eq!(config.global.stats_sockets[0].mode, Some(0o660));

    let [front, both] = &config.frontends[..] else {
        panic!("{:?}", config.frontends);
    };
    assert_eq!(front.binds.len(), 5);
    let inet = |text: &str| BindAddress::Inet(text.parse().unwrap());
    assert_eq!(front.binds[2].address, inet("0.0.0.0:82"));
    assert_eq!(front.binds[3].address, inet("[::1]:8080"));
    assert_eq!(front.binds[3].v6only, Some(true));
    assert_eq!(front.binds[4].unix_mode, Some(0o600));
    assert_eq!(front.default_backend, Some(BackendId(0)));
    assert_eq!(front.timeouts.client, Some(Duration::from_secs(30)));
    assert_eq!(front.timeouts.connect, Some(Duration::from_millis(500)));
    assert_eq!(front.log.targets, config.global.logs);
    assert!(front.log.tcplog);
    assert_eq!(both.default_backend, Some(BackendId(1)));
    assert_eq!(both.offload, Some(OffloadMode::Redirect));
    assert_eq!(both.offload_after, Some(OffloadAfter::Bytes(64 << 10)));

    let [a, b, c] = &config.backends[0].servers[..] else {
        panic!("{:?}", config.backends);
    };
    let inet = |text: &str| ServerAddress::Inet(text.parse::<SocketAddr>().unwrap());
    assert_eq!(
        (&a.address, a.port, a.weight),
        (&inet("192.0.2.7:8000"), ServerPort::Fixed, 10)
    );
    assert_eq!(
        (&b.address, b.port, b.weight),
        (&inet("[fd00::1]:0"), ServerPort::SameAsClient, 3)
    );
    assert!(b.backup && !a.backup);
    assert_eq!(
        (&c.address, c.port),
        (&inet("192.0.2.1:0"), ServerPort::Offset(10))
    );
    assert!(c.disabled);
}

/// `text` after a line that starts a section of that kind.
fn within(kind: &str, text: &str) -> String {
    match kind {
        "global" | "defaults" => format!("{kind}\n {text}\n"),
        _ => format!("{kind} p\n {text}\n"),
    }
}

fn proxy(text: &str) -> (Frontend, Backend) {
    let mut config = valid(&within("listen", text));
    (config.frontends.remove(0), config.backends.remove(0))
}

#[test]
fn what_only_the_whole_shows() {
    let table = [
        (
            "listen a\n server s 192.0.2.1\n",
            "1:1 proxy 'a' has no 'bind' directive",
        ),
        (
            "frontend a\n timeout client 1s\n bind :1\n",
            "1:1 frontend 'a' has no 'default_backend'",
        ),
        ("listen a\n bind :1\n", "1:1 missing timeouts for proxy 'a'"),
        (
            "backend a\n server s 192.0.2.1\n",
            "1:1 missing timeouts for backend 'a'",
        ),
        (
            "defaults d\nbackend a from d\nbackend b\n",
            "3:1 'defaults' section 'd'",
        ),
        ("backend a # x \\\n retries 3 \\\n", "2:12 a backslash"),
    ];
    for (text, expected) in table {
        let found = remarks(text, Severity::Warning);
        let hit = found.iter().any(|found| found.starts_with(expected));
        assert!(hit, "{text} {found:?}");
    }
    assert!(remarks("frontend a\n disabled\n", Severity::Warning).is_empty());
}

#[test]
fn timeouts() {
    let (front, back) = proxy(
        "timeout client 1s\n timeout client-fin 2\n timeout server 3m\n timeout server-fin 0\n timeout connect 4ms\n timeout queue 5s\n timeout tunnel 1h\n timeout check 6s",
    );
    let expected = Timeouts {
        client: Some(Duration::from_secs(1)),
        client_fin: Some(Duration::from_millis(2)),
        server: Some(Duration::from_secs(180)),
        server_fin: None,
        connect: Some(Duration::from_millis(4)),
        queue: Some(Duration::from_secs(5)),
        tunnel: Some(Duration::from_secs(3600)),
        check: Some(Duration::from_secs(6)),
    };
    assert_eq!((front.timeouts, back.timeouts), (expected, expected));
}

#[test]
fn options_by_side_and_their_negation() {
    let (front, back) =
        proxy("option tcpka\n option nolinger\n option splice-auto\n option logasap");
    assert!(front.socket.keepalive && back.socket.keepalive);
    assert!(front.socket.nolinger && back.socket.nolinger);
    assert!(front.splice.auto && back.splice.auto && !front.splice.request);
    assert!(front.log.logasap);

    let (front, back) = proxy("option clitcpka\n option redispatch\n option abortonclose");
    assert!(front.socket.keepalive && !back.socket.keepalive);
    assert_eq!(back.redispatch, Some(-1));
    assert!(back.abortonclose);

    let (front, back) = proxy(
        "option redispatch 3\n no option redispatch\n option nolinger\n no option nolinger\n option splice-request\n default option splice-request",
    );
    assert_eq!(back.redispatch, None);
    assert!(!front.socket.nolinger && !front.splice.request);
    assert_eq!(proxy("option redispatch 3").1.redispatch, Some(3));
}

#[test]
fn logs() {
    let (front, _) = proxy(
        "log 192.0.2.1 len 200 format rfc5424 daemon warning err\n log stderr format raw local7\n log /dev/log kern\n log-tag t",
    );
    assert_eq!(front.log.tag.as_deref(), Some("t"));
    let first = LogTarget {
        address: LogAddress::Udp("192.0.2.1:514".parse().unwrap()),
        facility: 3,
        max_level: 4,
        min_level: 3,
        max_len: 200,
        format: Some(LogFormat::Rfc5424),
        sample: None,
        id: 0,
        tag: Some(Arc::from("t")),
    };
    assert_eq!(front.log.targets[0], first);
    assert_eq!(front.log.targets[1].address, LogAddress::Stderr);
    assert_eq!(front.log.targets[1].format, Some(LogFormat::Raw));
    assert_eq!(front.log.targets[2].facility, 0);

    let config = valid(
        "defaults\n log global\nlisten a\nlisten b\n no log\n log stdout user\nglobal\n log stderr user\n log stdout user\n",
    );
    assert_eq!(config.frontends[0].log.targets.len(), 2);
    assert_eq!(config.frontends[1].log.targets.len(), 1);
}

#[test]
fn defaults_are_inherited_by_place_and_by_name() {
    let config = valid(
        "defaults d\n retries 7\n offload pipe\ndefaults e from d\n offload-after 2s\ndefaults\nbackend a\nbackend b from d\nbackend c from e\n",
    );
    let [a, b, c] = &config.backends[..] else {
        panic!("{config:?}");
    };
    assert_eq!((a.retries, b.retries, c.retries), (3, 7, 7));
    assert_eq!((a.offload, c.offload), (None, Some(OffloadMode::Pipe)));
    assert_eq!(
        c.offload_after,
        Some(OffloadAfter::Age(Duration::from_secs(2)))
    );
    assert_eq!(b.offload_after, None);
}

#[test]
fn offload() {
    let modes = [
        ("auto", OffloadMode::Auto),
        ("off", OffloadMode::Off),
        ("buffer", OffloadMode::Buffer),
        ("pipe", OffloadMode::Pipe),
        ("redirect", OffloadMode::Redirect),
        ("relay", OffloadMode::Relay),
        ("bypass", OffloadMode::Bypass),
    ];
    for (name, mode) in modes {
        let text = within("backend", &format!("offload {name}"));
        assert_eq!(valid(&text).backends[0].offload, Some(mode));
        let missing = mode == OffloadMode::Bypass;
        assert_eq!(
            !remarks(&text, Severity::Warning).is_empty(),
            missing,
            "{name}"
        );
    }
    let thresholds = [
        ("100", OffloadAfter::Bytes(100)),
        ("5m", OffloadAfter::Bytes(5 << 20)),
        ("5ms", OffloadAfter::Age(Duration::from_millis(5))),
        ("5s", OffloadAfter::Age(Duration::from_secs(5))),
        ("0", OffloadAfter::Bytes(0)),
    ];
    for (text, expected) in thresholds {
        let text = format!("offload-after {text}");
        assert_eq!(proxy(&text).0.offload_after, Some(expected), "{text}");
    }
    for text in [
        "offload",
        "offload x",
        "offload-after",
        "offload-after 5x",
        "offload off on",
    ] {
        assert_eq!(
            remarks(&within("backend", text), Severity::Alert).len(),
            1,
            "{text}"
        );
    }
}

#[test]
fn offload_pins() {
    let pins = |word: &str| {
        let text = format!("global\n offload-pins /a\n offload-pins {word}\n");
        valid(&text).global.pins
    };
    let there = PinDirectory::At("/sys/fs/bpf/x".into());
    assert_eq!(pins("/sys/fs/bpf/x"), there);
    assert_eq!(pins("off"), PinDirectory::Off);
    assert_eq!(valid("global\n").global.pins, PinDirectory::Usual);
    for wrong in ["", "on", "a/b", "/a /b"] {
        let text = format!("global\n offload-pins {wrong}\n");
        assert_eq!(remarks(&text, Severity::Alert).len(), 1, "{wrong}");
    }
}

#[test]
fn global_sections_merge() {
    let config = valid(
        "global\n maxconn 10\n log stdout user\n chroot /a\nglobal\n maxconn 20\n log stderr user\n chroot /b\n tune.offload.cap 2m\n tune.offload.flows 9\n hard-stop-after 3s\n",
    );
    let global = config.global;
    assert_eq!(global.maxconn, Some(20));
    assert_eq!(global.logs.len(), 2);
    assert_eq!(global.chroot, Some("/a".into()));
    assert_eq!(
        (global.offload_cap, global.offload_flows),
        (2 << 20, Some(9))
    );
    assert_eq!(global.hard_stop_after, Some(Duration::from_secs(3)));
}

#[test]
fn the_environment_can_be_changed_from_within() {
    let config = valid(
        "global\n setenv A 1\n presetenv A 2\n presetenv PORT 1\n setenv B 3\n unsetenv B\nlisten a\n bind \":8$A${B-4}\"\n bind \":$PORT\"\nglobal\n resetenv PORT\nlisten b\n bind \":9${A-5}\"\n",
    );
    let ports: Vec<String> = config
        .frontends
        .iter()
        .flat_map(|frontend| &frontend.binds)
        .map(|bind| format!("{:?}", bind.address))
        .collect();
    assert_eq!(
        ports,
        [
            "Inet(0.0.0.0:814)",
            "Inet(0.0.0.0:8080)",
            "Inet(0.0.0.0:95)"
        ]
    );
}

#[test]
fn sections_do_not_reach_into_the_next_file() {
    let environment = Environment::new();
    let sources = [
        Source::new("a.cfg", "defaults\n retries 5\nbackend a\n"),
        Source::new("b.cfg", " retries 3\nbackend b\n"),
    ];
    let outcome = load_with(&sources, &environment, &Fixed);
    assert_eq!(outcome.diagnostics.len(), 1, "{:?}", outcome.diagnostics);
    let message = outcome.diagnostics[0].to_string();
    let expected =
        "[ALERT]    config : parsing [b.cfg:1] : unknown keyword 'retries' out of section";
    assert!(message.starts_with(expected), "{message}");

    let outcome = load_with(
        &[sources[0].clone(), Source::new("c.cfg", "backend b\n")],
        &environment,
        &Fixed,
    );
    assert_eq!(outcome.config.unwrap().backends[1].retries, 5);
}

proptest::proptest! {
    #[test]
    fn no_file_panics(text in proptest::collection::vec(line_like(), 0..12)) {
        let _ = outcome(&text.join("\n"));
    }
}

/// Lines that are near to being right.
fn line_like() -> impl proptest::strategy::Strategy<Value = String> {
    const WORDS: [&str; 61] = [
        "global",
        "defaults",
        "frontend",
        "backend",
        "listen",
        "peers",
        "from",
        "a",
        "b",
        "bind",
        "server",
        "default-server",
        "timeout",
        "client",
        "3s",
        "option",
        "no",
        "default",
        "log",
        "local0",
        "127.0.0.1:80",
        ":1-3,",
        "[::1",
        "weight",
        "300",
        "id",
        "5",
        "balance",
        "roundrobin",
        "hash",
        "src",
        "random(3)",
        "hash-type",
        "consistent",
        "offload",
        "auto",
        "offload-after",
        "5m",
        ".if",
        ".endif",
        "\"$A\"",
        "\"",
        "\\",
        "stats",
        "socket",
        "ssl",
        "crt",
        "verify",
        "required",
        "ca-file",
        "/x.pem",
        "ciphers",
        "ALL:-AES",
        "alpn",
        "h2,x",
        "no-tlsv12",
        "force-tlsv13",
        "sni",
        "str(x)",
        "send-proxy-v2",
        "monitor-net",
    ];
    let word = proptest::sample::select(WORDS.to_vec());
    proptest::strategy::Strategy::prop_map(proptest::collection::vec(word, 0..6), |words| {
        words.join(" ")
    })
}

#[test]
fn proxies_are_numbered_as_haproxy_does() {
    let config = valid(
        "defaults\n timeout connect 1s\n timeout client 1s\n timeout server 1s\nfrontend a\n bind :1\n default_backend b\nbackend b\nfrontend c\n id 1\n bind :2\n default_backend b\nlisten d\n bind :3\nbackend e\n id 7\nbackend f\nbackend g\n",
    );
    let fronts: Vec<_> = config.frontends.iter().map(|f| f.number).collect();
    let backs: Vec<_> = config.backends.iter().map(|b| b.number).collect();
    assert_eq!(fronts, [2, 1, 5]);
    assert_eq!(backs, [3, 5, 7, 8, 9]);
}

#[test]
fn clients_of_the_runtime_api_are_limited() {
    assert_eq!(valid("global\n stats maxconn 3\n").global.stats_maxconn, 3);
    assert_eq!(valid("").global.stats_maxconn, 10);
}
