//! Remote TCP: the daemon reaches its server by way of an agent, a second daemon beside the server.

mod messages;
mod site;

use std::net::SocketAddr;
use std::sync::Arc;

use underpass_tests::certs::{Certs, Leaf, STRANGER, Versions};
use underpass_tests::daemon::{BOUND, Launch};
use underpass_tests::endpoint;
use underpass_tests::netns::{Layout, Topology};
use underpass_tests::on_each_path;
use underpass_tests::pattern::Pattern;
use underpass_tests::peer::{Buffers, End, Exchange, Peer};
use underpass_tests::proxy_header::Header;
use underpass_tests::rig::{Path, Rig, SERVER_PORT};
use underpass_tests::tls_peer::{Close, TlsPeer};

use site::{AGENT_PORT, Remote, Setup, expect_no_server, expect_record};

const MB: u64 = 1 << 20;
const NAME: &str = "a.example";

fn bulk_both_ways(layout: Layout, path: Path) {
    let remote = Remote::new(layout, path);
    let exchange = Exchange::new(700, 64 * MB, 48 * MB);
    let rig = &remote.rig;
    let (client, server, carried) = rig.warm_flow(exchange.up_pattern(), exchange.down_pattern());
    let source = client.socket().local_addr().unwrap().as_socket().unwrap();
    exchange.from(carried).run(&client, &server);
    let (up, down) = (carried + exchange.up, carried + exchange.down);
    let [ours, theirs] = remote.check(up, down, "--");
    rig.check_path(&ours, [1, 1]);
    rig.check_path(&theirs, [1, 1]);
    assert_eq!(theirs.client, source.to_string(), "{}", theirs.line);
    assert_eq!(
        (theirs.backend.as_str(), theirs.server.as_str()),
        ("ag", "tcp")
    );
    remote.stop();
}

fn sizes_from_one_byte(layout: Layout, path: Path) {
    let remote = Remote::new(layout, path);
    for (n, size) in [1, 2, 1448, 16 << 10, (64 << 10) + 1, MB]
        .into_iter()
        .enumerate()
    {
        let (client, server) = remote.rig.flow();
        Exchange::new(701, size, size + 1).run(&client, &server);
        drop((client, server));
        remote
            .rig
            .check(&remote.rig.records(n + 1)[n], size, size + 1, "--");
    }
    remote.stop();
}

fn one_side_ends_first(layout: Layout, path: Path) {
    let (up, down) = (Pattern::new(702), Pattern::new(703));
    let remote = Remote::new(layout, path);
    for round in 0..2 {
        let (client, server) = remote.rig.flow();
        let (first, second) = if round == 0 {
            (&client, &server)
        } else {
            (&server, &client)
        };
        first.send_all(up, 0, 10_000);
        first.finish();
        let got = second.receive(up);
        assert!(got.bytes == 10_000 && got.end == End::Eof, "{got}");
        second.send_all(down, 0, MB);
        second.finish();
        let got = first.receive(down);
        assert!(got.bytes == MB && got.end == End::Eof, "{got}");
        let records = remote.rig.records(round + 1);
        assert_eq!(records[round].end, "--", "{}", records[round].line);
    }
    remote.stop();
}

fn resets_arrive_at_the_other_end(layout: Layout, path: Path) {
    let (up, down) = (Pattern::new(704), Pattern::new(705));
    for (from_client, letters) in [(true, "CD"), (false, "SD")] {
        let remote = Remote::new(layout, path);
        let (client, server, carried) = remote.rig.warm_flow(up, down);
        let (end, contents, other) = if from_client {
            (client, up, server)
        } else {
            (server, down, client)
        };
        end.abort();
        let got = other.receive_counted(contents, carried, u64::MAX, &Default::default());
        assert_eq!(got.end, End::Reset, "{got}");
        let records = [
            remote.rig.record(),
            remote.agent.wait_records(1).unwrap().remove(0),
        ];
        for record in records {
            assert_eq!(record.end, letters, "{}", record.line);
        }
        remote.stop();
    }
}

fn agent_killed(layout: Layout, path: Path) {
    let (up, down) = (Pattern::new(706), Pattern::new(707));
    let mut remote = Remote::new(layout, path);
    let (client, server, carried) = remote.rig.warm_flow(up, down);
    remote.agent.signal(libc::SIGKILL).unwrap();
    remote.agent.process().wait_exit(BOUND).unwrap();
    let is_relayed = path == Path::Relay;
    if is_relayed {
        // The programs may go before the agent's sockets: then its host answers who speaks next.
        for peer in [&client, &server] {
            let _ = peer.socket().send(b"?");
        }
    }
    for (peer, contents) in [(&client, down), (&server, up)] {
        let got = peer.receive_counted(contents, carried, u64::MAX, &Default::default());
        assert_eq!(got.end, End::Reset, "{got}");
    }
    let record = remote.rig.record();
    let asked = record
        .up
        .filter(|_| is_relayed)
        .map_or(0, |up| up.saturating_sub(carried));
    assert!(asked <= 1, "{}", record.line);
    remote.rig.check(&record, carried + asked, carried, "SD");
    remote.rig.stop();
}

on_each_path!(Hosts as hosts:
    bulk_both_ways,
    sizes_from_one_byte,
    one_side_ends_first,
    resets_arrive_at_the_other_end,
    agent_killed,
);

on_each_path!(Loopback as loopback:
    bulk_both_ways,
    one_side_ends_first,
    agent_killed,
);

#[test]
fn a_refused_target_is_tried_again() {
    let remote = Setup {
        port: 9,
        ..Setup::new(Layout::Hosts, Path::Buffer)
    }
    .defaults("retries 2")
    .start();
    let client = remote.rig.connect();
    expect_no_server(&remote.rig, &client, "SC", "server:remote:refused");
    let attempts = remote.agent.wait_records(3).unwrap();
    assert_eq!(attempts.len(), 3);
    for attempt in attempts {
        assert_eq!(attempt.end, "SC", "{}", attempt.line);
        assert_eq!(
            attempt.history.as_deref(),
            Some("server:ctrl:refused"),
            "{}",
            attempt.line
        );
    }
    remote.stop();
}

/// The agent's attempt takes longer than the agent allows: the daemon says what it says of its own.
#[test]
fn a_silent_target_is_a_connect_timeout() {
    let net = Topology::new(Layout::Hosts).unwrap();
    let nowhere = SocketAddr::new(net.silent_address().unwrap(), SERVER_PORT);
    // Beside the daemon: the address is silent for its host.
    let at = SocketAddr::from(([127, 0, 0, 1], AGENT_PORT));
    let text = format!(
        "global\n log stdout format raw local0\n offload-pins off\nagent ag\n log global\n option tcplog\n bind {at}\n \
         allow 0.0.0.0/0\n timeout connect 600ms\n timeout client 60s\n timeout server 60s\n"
    );
    let agent = Launch::new(text)
        .and_then(|launch| launch.start(&net.proxy))
        .unwrap();
    let rig = Rig::on(net, Path::Buffer, false, Buffers::default(), |config| {
        config.server = format!("rtcp@{at}/{nowhere}");
        config.defaults("retries 0");
    });
    let client = rig.connect();
    expect_no_server(&rig, &client, "sC", "server:remote:timeout");
    let attempt = agent.wait_records(1).unwrap().remove(0);
    assert_eq!(attempt.end, "sC", "{}", attempt.line);
    rig.stop();
}

#[test]
fn a_target_that_is_not_allowed() {
    let setup = Setup::new(Layout::Hosts, Path::Buffer).defaults("retries 0");
    let remote = Setup {
        agent: vec!["allow 192.0.2.0/24 0.0.0.0/0:1-80".to_owned()],
        ..setup
    }
    .start();
    let client = remote.rig.connect();
    expect_no_server(&remote.rig, &client, "SC", "server:remote:not-allowed(");
    let rejection = remote.agent.wait_rejections(1).unwrap().remove(0);
    assert!(
        rejection.line.contains("not allowed: "),
        "{}",
        rejection.line
    );
    remote.rig.listener.set_nonblocking(true).unwrap();
    assert!(remote.rig.listener.accept().is_err());
    remote.stop();
}

/// Rules of the connection see the daemon, rules of the session the client that it asks for.
#[test]
fn rules_of_an_agent() {
    for (stage, reached) in [("connection", true), ("session", false)] {
        let net = Topology::new(Layout::Hosts).unwrap();
        let client = net.client_addr.ipv4();
        drop(net);
        let remote = Setup::new(Layout::Hosts, Path::Buffer)
            .defaults("retries 0")
            .agent(format!("tcp-request {stage} reject if {{ src {client} }}"))
            .start();
        if reached {
            let (client, server) = remote.rig.flow();
            Exchange::new(716, 1000, 1000).run(&client, &server);
            remote.check(1000, 1000, "--");
        } else {
            let (rig, history) = (&remote.rig, "server:remote:peer-");
            let connect = || Peer::connect(rig.proxy, Buffers::default());
            match rig.net.client.run(connect) {
                Ok(client) => expect_no_server(rig, &client, "SC", history),
                // The agent's refusal may come round before the client's socket is set up.
                Err(_reset) => expect_record(rig, "SC", history),
            }
        }
        remote.stop();
    }
}

#[test]
fn the_header_of_the_proxy_protocol_goes_to_the_server() {
    let setup = Setup::new(Layout::Hosts, Path::Pipe).server("send-proxy-v2");
    let remote = setup.start();
    let (client, server) = remote.rig.flow();
    let told = Header::read(&server).unwrap();
    let source = client.socket().local_addr().unwrap().as_socket().unwrap();
    assert_eq!(told.addresses, Some((source, remote.rig.proxy)));
    Exchange::new(710, MB, MB).run(&client, &server);
    remote.rig.check(&remote.rig.record(), MB, MB, "--");
    remote.stop();
}

#[test]
fn an_agent_on_a_unix_socket() {
    for path in [Path::Buffer, Path::Pipe] {
        let setup = Setup {
            unix: true,
            ..Setup::new(Layout::Loopback, path)
        };
        let remote = setup.start();
        let exchange = Exchange::new(711, 16 * MB, 16 * MB + 1);
        let (client, server) = remote.rig.flow();
        exchange.run(&client, &server);
        let [ours, theirs] = remote.check(exchange.up, exchange.down, "--");
        for record in [ours, theirs] {
            remote.rig.check_path(&record, [0, 0]);
        }
        remote.stop();
    }
}

/// The daemon's own TLS goes through the agent, which sees bytes.
#[test]
fn tls_from_end_to_end() {
    let certs = Certs::new();
    certs.issue("back", &Leaf::new(NAME));
    let words = format!("ssl ca-file {} sni str({NAME})", certs.ca().display());
    let remote = Setup::new(Layout::Hosts, Path::Buffer)
        .server(words)
        .start();
    let config = Arc::new(certs.server(Versions::Both, "back", false));
    let client = remote.rig.connect();
    let server = TlsPeer::server(remote.rig.accept(), &config).ready();
    assert_eq!(server.asked_for(), Some(NAME));
    let exchange = Exchange::new(712, 4 * MB, 4 * MB);
    endpoint::run(&exchange, client, server);
    remote.rig.check(&remote.rig.record(), 4 * MB, 4 * MB, "--");
    let theirs = remote.agent.wait_records(1).unwrap().remove(0);
    assert_eq!(theirs.server, "tcp", "{}", theirs.line);
    remote.stop();
}

/// A daemon whose agent speaks TLS to the server.
fn by_agent(certs: &Certs, path: Path, words: &str) -> Remote {
    Setup::new(Layout::Hosts, path)
        .defaults("retries 0")
        .server(words)
        .agent(format!("ca-file {}", certs.ca().display()))
        .start()
}

#[test]
fn tls_by_the_agent() {
    let certs = Certs::new();
    certs.issue("back", &Leaf::new(NAME));
    certs.issue("strange", &Leaf::new(NAME).by(STRANGER));
    let named = format!("rssl sni str({NAME})");
    for (path, words, bundle, name) in [
        (Path::Buffer, named.as_str(), "back", "ssl"),
        (Path::Redirect, named.as_str(), "back", "ssl"),
        (Path::Pipe, "rssl verify none", "strange", "ssl-unverified"),
    ] {
        let remote = by_agent(&certs, path, words);
        let config = Arc::new(certs.server(Versions::Both, bundle, false));
        let client = remote.rig.connect();
        let server = TlsPeer::server(remote.rig.accept(), &config).ready();
        let asked = words.contains("sni").then_some(NAME);
        assert_eq!(server.asked_for(), asked);
        let exchange = Exchange::new(713, 8 * MB, 8 * MB + 1);
        endpoint::run(&exchange, client, server);
        let [ours, theirs] = remote.check(exchange.up, exchange.down, "--");
        // Only where there is TLS do bytes have to be in user space.
        assert_eq!(ours.path, [path.word(); 2], "{}", ours.line);
        assert_eq!(theirs.path, ["buffer"; 2], "{}", theirs.line);
        assert_eq!(theirs.server, name, "{}", theirs.line);
        remote.stop();
    }
}

#[test]
fn a_certificate_that_the_agent_refuses() {
    let certs = Certs::new();
    certs.issue("strange", &Leaf::new(NAME).by(STRANGER));
    let remote = by_agent(&certs, Path::Buffer, &format!("rssl sni str({NAME})"));
    let config = Arc::new(certs.server(Versions::Both, "strange", false));
    let client = remote.rig.connect();
    let server = TlsPeer::server(remote.rig.accept(), &config).handshake();
    assert!(server.is_err_and(|end| end.alert().is_some()));
    let why = "server:remote:agent(TLS_handshake_failed:_certificate_refused:";
    expect_no_server(&remote.rig, &client, "SC", why);
    let theirs = remote.agent.wait_records(1).unwrap().remove(0);
    assert_eq!(theirs.end, "SC", "{}", theirs.line);
    remote.stop();
}

/// The server's TLS ends without its close: the client must not take what it got for all there is.
#[test]
fn a_truncation_behind_the_agent() {
    let certs = Certs::new();
    certs.issue("back", &Leaf::new(NAME));
    let remote = by_agent(&certs, Path::Buffer, "rssl");
    let config = Arc::new(certs.server(Versions::Both, "back", false));
    let contents = Pattern::new(714);
    let client = remote.rig.connect();
    let mut server = TlsPeer::server(remote.rig.accept(), &config).ready();
    server.send_all(contents, 0, 1000);
    client.receive_exact(contents, 0, 1000);
    server.finish(Close::Fin);
    let got = client.receive_counted(contents, 1000, u64::MAX, &Default::default());
    assert_eq!(got.end, End::Reset, "{got}");
    let [ours, theirs] = [
        remote.rig.record(),
        remote.agent.wait_records(1).unwrap().remove(0),
    ];
    assert_eq!(ours.end, "SD", "{}", ours.line);
    assert_eq!(theirs.end, "SD", "{}", theirs.line);
    assert_eq!(
        theirs.history.as_deref(),
        Some("server:data:truncated"),
        "{}",
        theirs.line
    );
    remote.stop();
}
