//! TLS between the daemon and its servers, with OpenSSL and rustls as servers.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::{HandshakeKind, ServerConfig};
use underpass_tests::certs::{Certs, Leaf, STRANGER, Versions};
use underpass_tests::netns::{Layout, Topology};
use underpass_tests::openssl::Server;
use underpass_tests::pattern::Pattern;
use underpass_tests::peer::{Buffers, End, Peer};
use underpass_tests::rig::{Path as Offload, Rig};
use underpass_tests::tls_end::TlsEnd;
use underpass_tests::tls_peer::{Close, TlsPeer};
use underpass_tests::tls_rig::{BACK, Sides, Who, truncation};
use underpass_tests::tls_scenarios;

tls_scenarios!(Out);

#[test]
fn truncated_by_the_server() {
    for versions in [Versions::V12, Versions::V13] {
        truncation(Sides::Out, versions, Who::Server);
    }
}

fn file(path: &Path) -> String {
    path.display().to_string()
}

/// A rig whose `server` line has these words after its address. A failed handshake is tried once only.
fn rig(words: &str, timeouts: &[&str]) -> Rig {
    Rig::with(Layout::Loopback, Offload::Buffer, |config| {
        config.server_with(words).defaults("retries 0");
        for timeout in timeouts {
            config.defaults(format!("timeout {timeout}"));
        }
    })
}

/// The server's side of the daemon's next connection.
fn handshake(rig: &Rig, config: &Arc<ServerConfig>) -> Result<TlsPeer, TlsEnd> {
    TlsPeer::server(rig.accept(), config).handshake()
}

/// A few bytes each way.
fn ping(client: &Peer, server: &mut TlsPeer) {
    let contents = Pattern::new(40);
    client.send_all(contents, 0, 100);
    server.receive_exact(contents, 0, 100);
    server.send_all(contents, 0, 100);
    client.receive_exact(contents, 0, 100);
}

/// The client of a flow that never reached a server sees an end and no byte, and the log says as for a failed connect.
fn expect_no_server(rig: &Rig, client: &Peer, letters: &str) {
    let (got, end) = client.read_to_end();
    assert!(got.is_empty(), "{got:?}");
    assert!(matches!(end, End::Eof | End::Reset), "{end:?}");
    let record = rig.record();
    assert_eq!(record.end, letters, "{}", record.line);
    assert_eq!(record.down, 0, "{}", record.line);
}

/// Whether the daemon, with these words on its `server` line, takes a server that shows this certificate.
fn is_trusted(certs: &Certs, words: &str, bundle: &str, versions: Versions) -> bool {
    let rig = rig(words, &[]);
    let config = Arc::new(certs.server(versions, bundle, false));
    let client = rig.connect();
    let mut server = match handshake(&rig, &config) {
        Ok(server) => server,
        Err(end) => {
            assert!(end.alert().is_some(), "not refused by an alert: {end:?}");
            expect_no_server(&rig, &client, "SC");
            rig.stop();
            return false;
        }
    };
    ping(&client, &mut server);
    client.finish();
    server.expect_closed();
    server.finish(Close::Notify);
    client.expect_eof();
    rig.check(&rig.record(), 100, 100, "--");
    rig.stop();
    true
}

#[test]
fn certificates_of_servers() {
    let certs = Certs::new();
    let ca = file(&certs.ca());
    certs.issue("good", &Leaf::new(BACK));
    certs.issue("rsa", &Leaf::new(BACK).rsa());
    certs.issue("late", &Leaf::new(BACK).expired());
    certs.issue("strange", &Leaf::new(BACK).by(STRANGER));
    certs.issue("other", &Leaf::new("other.example"));
    certs.issue("wild", &Leaf::new("*.back.example"));
    let checked = format!("ssl ca-file {ca}");
    let named = format!("ssl verify required ca-file {ca} sni str({BACK})");
    let by_host = format!("ssl ca-file {ca} verifyhost {BACK}");
    let cases: [(&str, &str, bool); 15] = [
        (&named, "good", true),
        (&named, "rsa", true),
        (&named, "wild", true),
        (&named, "late", false),
        (&named, "strange", false),
        (&named, "other", false),
        (&by_host, "good", true),
        (&by_host, "other", false),
        // Without a name to check, only the chain counts.
        (&checked, "other", true),
        (&checked, "strange", false),
        (&checked, "late", false),
        ("ssl verify none", "good", true),
        ("ssl verify none", "late", true),
        ("ssl verify none", "strange", true),
        ("ssl verify none", "other", true),
    ];
    for (words, bundle, trusted) in cases {
        for versions in [Versions::V12, Versions::V13] {
            assert_eq!(
                is_trusted(&certs, words, bundle, versions),
                trusted,
                "{words}, certificate {bundle}, {versions:?}"
            );
        }
    }
}

/// What the daemon asks of a server: the name, the protocol.
#[test]
fn name_and_protocol_that_are_asked_for() {
    let certs = Certs::new();
    certs.issue("back", &Leaf::new(BACK));
    let mut config = certs.server(Versions::Both, "back", false);
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
    let config = Arc::new(config);
    for (words, name, alpn) in [
        ("sni str(b.back.example)", Some(BACK), None),
        (
            "sni str(b.back.example) alpn h2",
            Some(BACK),
            Some(&b"h2"[..]),
        ),
        ("alpn h2,http/1.1", None, Some(&b"http/1.1"[..])),
        ("", None, None),
    ] {
        let rig = rig(&format!("ssl verify none {words}"), &[]);
        let client = rig.connect();
        let mut server = handshake(&rig, &config).unwrap();
        assert_eq!(server.asked_for(), name, "{words}");
        assert_eq!(server.alpn(), alpn, "{words}");
        ping(&client, &mut server);
        rig.stop();
    }
}

/// Servers that want to see the daemon's own certificate.
#[test]
fn certificate_shown_to_the_server() {
    let certs = Certs::new();
    certs.issue("back", &Leaf::new(BACK));
    let own = file(&certs.issue("own", &Leaf::new("proxy.example")));
    for versions in [Versions::V12, Versions::V13] {
        let config = Arc::new(certs.server(versions, "back", true));
        let rig = rig(&format!("ssl verify none crt {own}"), &[]);
        let client = rig.connect();
        let mut server = handshake(&rig, &config).unwrap();
        assert!(server.shown().is_some());
        ping(&client, &mut server);
        rig.stop();
    }
}

/// A server that refuses the daemon for want of a certificate: no byte of the server's ever comes.
#[test]
fn certificate_missing_at_the_server() {
    let certs = Certs::new();
    certs.issue("back", &Leaf::new(BACK));
    for versions in [Versions::V12, Versions::V13] {
        let config = Arc::new(certs.server(versions, "back", true));
        let rig = rig("ssl verify none", &[]);
        let client = rig.connect();
        let refused = handshake(&rig, &config);
        assert!(refused.is_err());
        drop(refused);
        let (got, _) = client.read_to_end();
        assert!(got.is_empty(), "{got:?}");
        drop(client);
        let record = rig.record();
        // In TLS 1.3 the daemon is through when the server refuses it.
        assert!(
            record.end == "SC" || (versions == Versions::V13 && record.end == "SD"),
            "{}",
            record.line
        );
        rig.stop();
    }
}

/// Kinds of handshake that a server sees of this many flows, one after the other.
fn kinds(certs: &Certs, versions: Versions, words: &str, flows: usize) -> Vec<HandshakeKind> {
    let config = Arc::new(certs.server(versions, "back", false));
    let rig = rig(&format!("ssl verify none {words}"), &[]);
    let kinds = (0..flows)
        .map(|_| {
            let client = rig.connect();
            let mut server = handshake(&rig, &config).unwrap();
            // With the first data the tickets of TLS 1.3 have come.
            ping(&client, &mut server);
            client.finish();
            server.expect_closed();
            server.finish(Close::Notify);
            client.expect_eof();
            server.kind().unwrap()
        })
        .collect();
    rig.stop();
    kinds
}

#[test]
fn sessions_are_resumed() {
    let certs = Certs::new();
    certs.issue("back", &Leaf::new(BACK));
    for versions in [Versions::V12, Versions::V13] {
        let seen = kinds(&certs, versions, "", 6);
        assert_eq!(seen[0], HandshakeKind::Full);
        // The peer keeps a session per thread, so that its first ones may all be full.
        let resumed = seen.iter().filter(|kind| **kind == HandshakeKind::Resumed);
        assert!(resumed.count() >= 2, "{versions:?}: {seen:?}");
        let seen = kinds(&certs, versions, "no-ssl-reuse", 4);
        let full = seen.iter().all(|kind| *kind == HandshakeKind::Full);
        assert!(full, "{versions:?}: {seen:?}");
    }
}

/// A server that accepts and says nothing, or nothing of TLS.
#[test]
fn servers_that_do_not_finish_the_handshake() {
    let silent = rig("ssl verify none", &["connect 700ms"]);
    let client = silent.connect();
    let server = silent.accept();
    expect_no_server(&silent, &client, "sC");
    drop(server);
    silent.stop();

    let speaks_plain = rig("ssl verify none", &[]);
    let client = speaks_plain.connect();
    let server = speaks_plain.accept();
    server.write(b"220 mail.example ESMTP\r\n");
    expect_no_server(&speaks_plain, &client, "SC");
    drop(server);
    speaks_plain.stop();

    let closes = rig("ssl verify none", &[]);
    let client = closes.connect();
    drop(closes.accept());
    expect_no_server(&closes, &client, "SC");
    closes.stop();
}

/// A client that has sent and gone before the handshake with the server is over: its bytes arrive.
#[test]
fn bytes_of_a_client_that_is_quicker_than_the_handshake() {
    let certs = Certs::new();
    certs.issue("back", &Leaf::new(BACK));
    let config = Arc::new(certs.server(Versions::Both, "back", false));
    let rig = rig("ssl verify none", &[]);
    let up = Pattern::new(41);
    let client = rig.connect();
    client.send_all(up, 0, 10_000);
    client.finish();
    let mut server = handshake(&rig, &config).unwrap();
    let got = server.receive(up);
    assert!(got.bytes == 10_000 && got.end == TlsEnd::Closed, "{got}");
    server.send_all(up, 0, 100);
    server.finish(Close::Notify);
    let got = client.receive(up);
    assert!(got.bytes == 100 && got.end == End::Eof, "{got}");
    rig.check(&rig.record(), 10_000, 100, "--");
    rig.stop();
}

/// OpenSSL's server, which tells in its page what it saw of the daemon.
fn s_server(version: &str) {
    let certs = Certs::new();
    let crt = file(&certs.issue("back", &Leaf::new(BACK)));
    let ca = file(&certs.ca());
    let net = Topology::new(Layout::Loopback).unwrap();
    let at = SocketAddr::new(net.server_addr.ipv4(), 9001);
    let openssl = Server::start(
        &net.server,
        at,
        ["-cert", &crt, "-key", &crt, "-www", version],
    )
    .unwrap();
    let rig = Rig::on(net, Offload::Buffer, false, Buffers::default(), |config| {
        config.server = format!("{at} ssl ca-file {ca} sni str({BACK})");
    });
    let mut seen = Vec::new();
    for _ in 0..6 {
        let client = rig.connect();
        let mut socket = client.socket();
        socket.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut page = String::new();
        socket.read_to_string(&mut page).unwrap();
        assert!(page.contains("200 ok"), "{page}\n{}", openssl.transcript());
        seen.push(page.contains("Reused, TLSv1."));
    }
    assert!(!seen[0], "{seen:?}");
    assert!(seen.contains(&true), "no session was resumed");
    let records = rig.records(6);
    for record in &records {
        assert_eq!(record.end, "--", "{}", record.line);
    }
    rig.stop();
}

#[test]
fn openssl_server_12() {
    s_server("-tls1_2");
}

#[test]
fn openssl_server_13() {
    s_server("-tls1_3");
}
