//! Servers behind agents, and agents.

use super::super::model::remote::{AgentAddress, AgentServer, RemoteAddress, RemoteTls};
use super::super::model::tls::{Authorities, SniExpression};
use super::*;

fn server(global: &str, words: &str) -> Server {
    let text = format!("global\n{global}backend b\n server s {words}\n");
    valid(&text).backends.remove(0).servers.remove(0)
}

fn remote(words: &str) -> RemoteAddress {
    match server("", words).address {
        ServerAddress::Remote(remote) => RemoteAddress::clone(&remote),
        other => panic!("{other:?}"),
    }
}

fn alerts(text: &str) -> Vec<String> {
    remarks(text, Severity::Alert)
}

#[test]
fn addresses_of_servers_behind_agents() {
    let inet = |text: &str| AgentAddress::Inet(text.parse().unwrap());
    for (text, agent, target) in [
        (
            "rtcp@192.0.2.1:900/10.0.0.1:80",
            inet("192.0.2.1:900"),
            "10.0.0.1:80",
        ),
        (
            "rtcp@[2001:db8::1]:900/[fd00::1]:80",
            inet("[2001:db8::1]:900"),
            "[fd00::1]:80",
        ),
        (
            "rtcp@unix@/run/agent.sock/10.0.0.1:80",
            AgentAddress::Unix("/run/agent.sock".into()),
            "10.0.0.1:80",
        ),
        (
            "rtcp@/run/agent.sock/10.0.0.1:80",
            AgentAddress::Unix("/run/agent.sock".into()),
            "10.0.0.1:80",
        ),
        (
            "rtcp@ipv4@web:900/web:80",
            inet("192.0.2.1:900"),
            "[fd00::1]:80",
        ),
    ] {
        let target = target.parse().unwrap();
        let tls = None;
        let expected = RemoteAddress { agent, target, tls };
        assert_eq!(remote(text), expected, "{text}");
    }
    // TLS of the daemon itself is on top of it.
    let tls = server("", "rtcp@192.0.2.1:900/10.0.0.1:80 ssl verify none").tls;
    assert!(tls.is_some());
}

#[test]
fn addresses_that_say_too_little_or_too_much() {
    for (text, why) in [
        ("rtcp@", "'rtcp@<agent>/<target>' is expected, got 'rtcp@'"),
        ("rtcp@192.0.2.1:900", "is expected, got"),
        ("rtcp@192.0.2.1:900/", "is expected, got"),
        ("rtcp@/10.0.0.1:80", "is expected, got"),
        (
            "rtcp@192.0.2.1/10.0.0.1:80",
            "the agent needs one address and one port",
        ),
        (
            "rtcp@192.0.2.1:900-901/10.0.0.1:80",
            "the agent needs one address",
        ),
        ("rtcp@*:900/10.0.0.1:80", "the agent needs one address"),
        (
            "rtcp@192.0.2.1:900/10.0.0.1",
            "the target needs one address and one port",
        ),
        ("rtcp@192.0.2.1:900/10.0.0.1:+1", "the target needs"),
        ("rtcp@192.0.2.1:900/0.0.0.0:80", "the target needs"),
        (
            "rtcp@192.0.2.1:900/unix@x",
            "the target needs an IP address",
        ),
        ("rtcp@fd@3/10.0.0.1:80", "neither an abstract socket nor"),
        ("rtcp@nowhere:900/10.0.0.1:80", "could not resolve"),
    ] {
        let found = alerts(&format!("backend b\n server s {text}\n"));
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with("2:11 "), "{}", found[0]);
        assert!(found[0].contains(why), "{}", found[0]);
    }
    let found = alerts("frontend f\n bind rtcp@192.0.2.1:900/10.0.0.1:80\n");
    assert!(found[0].contains("for 'server' lines only"), "{found:?}");
}

#[test]
fn tls_by_the_agent() {
    const AT: &str = "rtcp@192.0.2.1:900/10.0.0.1:80";
    let tls = |words: &str| remote(&format!("{AT} {words}")).tls;
    assert_eq!(tls(""), None);
    let plain = RemoteTls {
        verify: true,
        sni: None,
    };
    assert_eq!(tls("rssl"), Some(plain.clone()));
    assert_eq!(tls("rssl no-rssl"), None);
    let named = RemoteTls {
        verify: false,
        sni: Some(SniExpression::Literal("a.test".into())),
    };
    assert_eq!(tls("rssl verify none sni str(a.test)"), Some(named));
    // No word about verification on the line: as `global` says.
    let trusting = server("ssl-server-verify none\n", &format!("{AT} rssl"));
    let ServerAddress::Remote(remote) = trusting.address else {
        panic!("{trusting:?}");
    };
    assert_eq!(remote.tls.as_ref().map(|tls| tls.verify), Some(false));
    for (words, why) in [
        (format!("{AT} rssl ssl verify none"), "exclude each other"),
        ("192.0.2.1:80 rssl".to_owned(), "'rssl' needs an agent"),
    ] {
        let found = alerts(&format!("backend b\n server s {words}\n"));
        assert!(found.len() == 1 && found[0].contains(why), "{found:?}");
    }
    let warnings = |words: &str| {
        let text =
            format!("backend b\n timeout connect 1s\n timeout server 1s\n server s {AT} {words}\n");
        remarks(&text, Severity::Warning)
    };
    assert!(warnings("rssl verify none sni str(a.test)").is_empty());
    let found = warnings("rssl sni str(a.test) ca-file x.pem");
    assert!(
        found.len() == 1 && found[0].contains("'ca-file' has no effect without 'ssl'"),
        "{found:?}"
    );
}

const AGENT: &str = "\
defaults
 mode health
 default_backend nope
 default-server weight 3
 retries 9
 timeout client 1s
 timeout connect 2s
 timeout server 3s
frontend f
 bind :79
 mode health
 default_backend b
backend b
agent a
 bind :80
 bind unix@/run/agent.sock
 allow 10.0.0.0/8:80-90 2001:db8::/32
 allow 192.0.2.1
 ca-file ca.pem
 option tcplog
 timeout connect 4s
";

#[test]
fn an_agent_is_a_frontend_and_its_backend() {
    let config = valid(AGENT);
    let agent = &config.frontends[1];
    let settings = agent.agent.as_ref().unwrap();
    assert_eq!((&*agent.name, agent.binds.len()), ("a", 2));
    assert_eq!((agent.mode, agent.log.tcplog), (Mode::Tcp, true));
    assert_eq!(agent.default_backend, Some(BackendId(1)));
    assert_eq!(agent.own_backend, Some(BackendId(1)));
    assert!(settings.verifies);
    for (target, allowed) in [
        ("10.0.0.1:80", true),
        ("10.0.0.1:91", false),
        ("192.0.2.1:1", true),
        ("[2001:db8::1]:1", true),
        ("127.0.0.1:80", false),
    ] {
        assert_eq!(settings.allows(target.parse().unwrap()), allowed);
    }
    let backend = &config.backends[1];
    assert_eq!(backend.retries, 0);
    assert_eq!(backend.timeouts.connect, Some(Duration::from_secs(4)));
    assert_eq!(backend.servers.len(), AgentServer::ALL.len());
    for (how, server) in AgentServer::ALL.into_iter().zip(&backend.servers) {
        assert_eq!(&*server.name, how.name());
        assert_eq!(server.address, ServerAddress::Asked);
        assert_eq!(server.weight, 1);
        let tls = server
            .tls
            .as_ref()
            .map(|tls| (tls.verify, &tls.ca_file, &tls.sni));
        let ca_file = Some(Authorities::File("ca.pem".into()));
        let asked = &Some(SniExpression::Asked);
        let expected = match how {
            AgentServer::Plain => None,
            AgentServer::Unverified => Some((false, &None, asked)),
            AgentServer::Verified => Some((true, &ca_file, asked)),
        };
        assert_eq!(tls, expected);
    }
    assert!(config.frontends[0].agent.is_none());
    assert_eq!(config.frontends[0].default_backend, Some(BackendId(0)));
}

#[test]
fn an_agent_without_authorities_or_targets() {
    let text = "agent a\n bind :80\n timeout client 1s\n timeout connect 1s\n timeout server 1s\n";
    let config = valid(text);
    assert!(!config.frontends[0].agent.as_ref().unwrap().verifies);
    assert_eq!(config.backends[0].servers.len(), 2);
    let found = remarks(text, Severity::Warning);
    assert!(
        found.len() == 1 && found[0].contains("agent 'a' has no 'allow' line"),
        "{found:?}"
    );
}

#[test]
fn what_an_agent_cannot_have() {
    let text = "\
agent
agent a b
agent a
 bind :80 ssl crt x.pem
 server s 192.0.2.1:80
 default_backend b
 allow
 allow 10.0.0.0/8:80 web
 alow 10.0.0.0/8
 ca-file
 ca-file @web
frontend f
 bind :81
 default_backend a
";
    let expected = [
        "1:1 'agent' expects an <id> argument",
        "2:9 ",
        "3:7 ",
        "4:2 'ssl' is not for the 'bind' lines of an agent",
        "5:2 'server' has no place in an 'agent' section",
        "6:2 'default_backend' has no place in an 'agent' section",
        "7:2 'allow' expects <network>[:<port>[-<port>]].",
        "8:22 'allow' : 'web' is no network in 'web'",
        "9:2 unknown keyword 'alow' in 'agent' section; did you mean 'allow' maybe ?",
        "10:2 'ca-file' expects a file or '@system-ca'",
        "11:10 'ca-file' : unknown source '@web'",
        "14:18 Proxy 'f': unable to find required default_backend: 'a'.",
    ];
    let found = alerts(text);
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}
