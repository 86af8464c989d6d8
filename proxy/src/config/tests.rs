//! Whole files: what they mean, and where their mistakes are.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::lookups::Lookups;
use super::model::*;
use super::*;

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
