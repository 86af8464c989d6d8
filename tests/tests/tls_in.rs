//! TLS between clients and the daemon, with OpenSSL, curl and rustls as clients.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustls::AlertDescription;
use underpass_tests::certs::{Certs, Leaf, STRANGER, Versions};
use underpass_tests::daemon::BOUND;
use underpass_tests::endpoint;
use underpass_tests::netns::{Layout, Topology};
use underpass_tests::openssl::Client;
use underpass_tests::pattern::Pattern;
use underpass_tests::peer::{Buffers, End, Exchange, Peer};
use underpass_tests::process::{Output, Process, eventually};
use underpass_tests::rig::{Path as Offload, Rig};
use underpass_tests::tls_end::TlsEnd;
use underpass_tests::tls_peer::{Close, Talk, TlsPeer, client_hello};
use underpass_tests::tls_rig::{FRONT, Sides, TlsRig, Who, truncation};
use underpass_tests::tls_scenarios;

tls_scenarios!(In);

#[test]
fn truncated_by_the_client() {
    for versions in [Versions::V12, Versions::V13] {
        truncation(Sides::In, versions, Who::Client);
    }
}

/// A rig whose `bind` line has these words after its address.
fn rig(words: &str, timeouts: &[&str]) -> Rig {
    Rig::with(Layout::Loopback, Offload::Buffer, |config| {
        config.bind_with(words);
        for timeout in timeouts {
            config.defaults(format!("timeout {timeout}"));
        }
    })
}

/// OpenSSL's client, which checks the daemon's certificate.
fn s_client(rig: &Rig, certs: &Certs, arguments: &[&str]) -> Client {
    let ca = certs.ca().display().to_string();
    let authority = ["-CAfile", &ca];
    let words = authority.iter().chain(arguments);
    Client::start(&rig.net.client, rig.proxy, words).unwrap()
}

/// No connection has come to the server besides those that the test took.
fn expect_no_connection(rig: &Rig) {
    rig.listener.set_nonblocking(true).unwrap();
    let none = rig.listener.accept().map(|(_, from)| from);
    rig.listener.set_nonblocking(false).unwrap();
    assert!(
        none.as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::WouldBlock),
        "{none:?}"
    );
}

fn file(path: &Path) -> String {
    path.display().to_string()
}

/// The name of the certificate that a client sees which asks for `server_name`.
fn name_for(rig: &Rig, certs: &Certs, server_name: Option<&str>) -> String {
    let client = match server_name {
        Some(name) => s_client(rig, certs, &["-servername", name]),
        None => s_client(rig, certs, &["-noservername"]),
    };
    let summary = client.summary().unwrap();
    client.finish().unwrap();
    assert_eq!(summary.verify, 0, "{summary:?}");
    summary.name.unwrap()
}

/// Certificates `first` (the default), `exact` and `wild`.
fn three() -> Certs {
    let certs = Certs::new();
    certs.issue("first", &Leaf::new("first.example"));
    certs.issue("exact", &Leaf::new("exact.example").and("other.example"));
    certs.issue("wild", &Leaf::new("*.wild.example"));
    certs
}

fn check_choice(rig: &Rig, certs: &Certs) {
    for (asked, shown) in [
        (Some("first.example"), "first.example"),
        (Some("exact.example"), "exact.example"),
        (Some("EXACT.Example"), "exact.example"),
        (Some("other.example"), "exact.example"),
        (Some("x.wild.example"), "*.wild.example"),
        (Some("x.y.wild.example"), "first.example"),
        (Some("unknown.example"), "first.example"),
        (None, "first.example"),
    ] {
        assert_eq!(name_for(rig, certs, asked), shown, "asked for {asked:?}");
    }
}

#[test]
fn certificate_chosen_by_name() {
    let certs = three();
    let files = ["first", "exact", "wild"].map(|name| format!("crt {}", file(&certs.path(name))));
    let rig = rig(&format!("ssl {}", files.join(" ")), &[]);
    check_choice(&rig, &certs);
    rig.stop();
}

#[test]
fn certificates_of_a_directory() {
    let certs = three();
    // In the order of their names, the first is the default one.
    fs::rename(certs.path("first"), certs.path("a-first")).unwrap();
    let dir = certs.directory("all", &["wild", "exact", "a-first"]);
    let rig = rig(&format!("ssl crt {}", file(&dir)), &[]);
    check_choice(&rig, &certs);
    rig.stop();
}

#[test]
fn certificates_of_a_list() {
    let certs = three();
    let [first, exact, wild] = ["first", "exact", "wild"].map(|name| file(&certs.path(name)));
    let list = format!(
        "# the default one\n{first}\n{exact} [alpn h2] exact.example other.example\n\
         {wild} *.wild.example !no.wild.example\n"
    );
    let list = certs.write("list", &list);
    let rig = rig(&format!("ssl crt-list {}", file(&list)), &[]);
    check_choice(&rig, &certs);
    let asked = Some("no.wild.example");
    assert_eq!(name_for(&rig, &certs, asked), "first.example");
    let client = s_client(
        &rig,
        &certs,
        &["-servername", "exact.example", "-alpn", "h2"],
    );
    assert_eq!(client.summary().unwrap().alpn.as_deref(), Some("h2"));
    client.finish().unwrap();
    rig.stop();
}

#[test]
fn strict_names() {
    let certs = three();
    let files = ["first", "exact", "wild"].map(|name| format!("crt {}", file(&certs.path(name))));
    let rig = rig(&format!("ssl strict-sni {}", files.join(" ")), &[]);
    for asked in ["first.example", "exact.example"] {
        assert_eq!(name_for(&rig, &certs, Some(asked)), asked);
    }
    let unknown = ["-servername", "unknown.example"];
    for arguments in [&unknown[..], &["-noservername"]] {
        let alert = s_client(&rig, &certs, arguments).alert().unwrap();
        assert_eq!(alert, 112, "unrecognized_name, for {arguments:?}");
    }
    let rejections = rig.daemon.wait_rejections(2).unwrap();
    assert_eq!(rejections.len(), 2, "{rejections:?}");
    rig.stop();
}

#[test]
fn rsa_certificate() {
    let certs = Certs::new();
    let crt = certs.issue("front", &Leaf::new(FRONT).rsa());
    let rig = rig(&format!("ssl crt {}", file(&crt)), &[]);
    for version in ["-tls1_2", "-tls1_3"] {
        let client = s_client(&rig, &certs, &[version, "-servername", FRONT]);
        let summary = client.summary().unwrap();
        assert_eq!(
            (summary.verify, summary.name.as_deref()),
            (0, Some(FRONT)),
            "{summary:?}"
        );
        client.finish().unwrap();
    }
    rig.stop();
}

#[test]
fn versions_out_of_bounds_are_refused() {
    const PROTOCOL_VERSION: u8 = 70;
    let certs = Certs::new();
    let crt = file(&certs.issue("front", &Leaf::new(FRONT)));
    for (words, good, bad) in [
        ("ssl-min-ver TLSv1.3", "-tls1_3", "-tls1_2"),
        ("ssl-max-ver TLSv1.2", "-tls1_2", "-tls1_3"),
    ] {
        let rig = rig(&format!("ssl crt {crt} {words}"), &[]);
        let client = s_client(&rig, &certs, &[good]);
        client.summary().unwrap();
        client.finish().unwrap();
        let alert = s_client(&rig, &certs, &[bad]).alert().unwrap();
        assert_eq!(alert, PROTOCOL_VERSION, "{words}");
        rig.stop();
    }
}

/// The daemon's order decides; a client with nothing in common goes on without, as with HAProxy.
#[test]
fn alpn() {
    let certs = Certs::new();
    let crt = file(&certs.issue("front", &Leaf::new(FRONT)));
    let rig = rig(&format!("ssl crt {crt} alpn h2,http/1.1"), &[]);
    for (offered, chosen) in [
        (Some("http/1.1"), Some("http/1.1")),
        (Some("http/1.1,h2"), Some("h2")),
        (Some("other"), None),
        (None, None),
    ] {
        let arguments = offered.map(|offered| ["-alpn", offered]);
        let arguments = arguments.as_ref().map_or(&[][..], |words| &words[..]);
        let client = s_client(&rig, &certs, arguments);
        let summary = client.summary().unwrap();
        assert_eq!(summary.alpn.as_deref(), chosen, "offered {offered:?}");
        client.finish().unwrap();
    }
    rig.stop();
}

/// A session of one worker is resumed by every worker, which connections over many ports all reach.
fn resumption(arguments: &[&str], words: &str) {
    let certs = Certs::new();
    let crt = file(&certs.issue("front", &Leaf::new(FRONT)));
    let rig = rig(&format!("ssl crt {crt} {words}"), &[]);
    let session = certs.dir().join("session");
    let saved = file(&session);
    let first = s_client(&rig, &certs, &[arguments, &["-sess_out", &saved]].concat());
    assert!(!first.summary().unwrap().reused);
    // The tickets of TLS 1.3 come after the handshake.
    let is_saved = || fs::metadata(&session).is_ok_and(|data| data.len() > 0);
    assert!(eventually(BOUND, is_saved), "no session was given");
    first.finish().unwrap();
    for round in 0..8 {
        let next = s_client(&rig, &certs, &[arguments, &["-sess_in", &saved]].concat());
        let summary = next.summary().unwrap();
        assert!(summary.reused, "round {round}: {summary:?}");
        next.finish().unwrap();
    }
    rig.stop();
}

#[test]
fn resumption_12_by_ticket() {
    resumption(&["-tls1_2"], "");
}

#[test]
fn resumption_12_by_session_id() {
    resumption(&["-tls1_2"], "no-tls-tickets");
}

#[test]
fn resumption_13() {
    resumption(&["-tls1_3"], "");
}

/// What a client meets that shows the certificate `show`: served, or refused. `refused` counts the refusals so far.
fn is_served(rig: &Rig, config: &Arc<rustls::ClientConfig>, refused: &mut usize) -> bool {
    let up = Pattern::new(30);
    // In TLS 1.3 the client is through before the daemon has seen its certificate: the verdict comes later.
    let client = TlsPeer::client(rig.connect(), config, FRONT).handshake();
    let mut server = None;
    rig.listener.set_nonblocking(true).unwrap();
    let decided = || {
        server = rig.listener.accept().ok();
        server.is_some() || rig.daemon.rejections().len() > *refused
    };
    assert!(eventually(BOUND, decided), "neither served nor refused");
    rig.listener.set_nonblocking(false).unwrap();
    let Some((server, _)) = server else {
        *refused += 1;
        let end = client.map_or_else(|end| end, |mut client| client.receive(up).end);
        assert!(end.is_broken(), "{end:?}");
        return false;
    };
    server.set_nonblocking(false).unwrap();
    let server = Peer::from(server);
    let mut client = client.expect("a handshake of a client that is served");
    client.send_all(up, 0, 10);
    server.receive_exact(up, 0, 10);
    server.send_all(up, 0, 10);
    client.receive_exact(up, 0, 10);
    true
}

#[test]
fn client_certificates() {
    let certs = Certs::new();
    let crt = file(&certs.issue("front", &Leaf::new(FRONT)));
    let ca = file(&certs.ca());
    certs.issue("good", &Leaf::new("good.client"));
    certs.issue("late", &Leaf::new("late.client").expired());
    certs.issue("strange", &Leaf::new("strange.client").by(STRANGER));
    for (verify, none, wrong) in [
        ("none", true, true),
        ("optional", true, false),
        ("required", false, false),
    ] {
        let rig = rig(&format!("ssl crt {crt} ca-file {ca} verify {verify}"), &[]);
        let mut refused = 0;
        for versions in [Versions::V12, Versions::V13] {
            for (show, expected) in [
                (None, none),
                (Some("good"), true),
                (Some("late"), wrong),
                (Some("strange"), wrong),
            ] {
                let config = Arc::new(certs.client(versions, show));
                assert_eq!(
                    is_served(&rig, &config, &mut refused),
                    expected,
                    "verify {verify}, {versions:?}, certificate {show:?}"
                );
            }
        }
        expect_no_connection(&rig);
        let rejections = rig.daemon.rejections();
        assert_eq!(rejections.len(), refused, "{rejections:?}");
        rig.stop();
    }
}

/// TLS needs buffers: a flow for which another path was asked says why it is not there.
#[test]
fn other_paths_are_declined_with_a_reason() {
    let certs = Certs::new();
    let crt = file(&certs.issue("front", &Leaf::new(FRONT)));
    let config = Arc::new(certs.client(Versions::Both, None));
    for path in [Offload::Pipe, Offload::Redirect] {
        let rig = Rig::with(Layout::Hosts, path, |config| {
            config.bind_with(&format!("ssl crt {crt}"));
        });
        let client = TlsPeer::client(rig.connect(), &config, FRONT).ready();
        let exchange = Exchange::new(31, 3 << 20, 3 << 20);
        endpoint::run(&exchange, client, rig.accept());
        let record = rig.record();
        rig.check(&record, exchange.up, exchange.down, "--");
        if !rig.is_haproxy() {
            assert_eq!(record.path, ["buffer", "buffer"], "{}", record.line);
            assert_eq!(record.kernel, [0, 0], "{}", record.line);
            assert_ne!(record.why, "-", "{}", record.line);
        }
        rig.stop();
    }
}

/// What is no ClientHello is refused with a line for each; nothing reaches the server.
#[test]
fn garbage_instead_of_a_hello() {
    let certs = Certs::new();
    let crt = file(&certs.issue("front", &Leaf::new(FRONT)));
    let rig = rig(&format!("ssl crt {crt}"), &[]);
    let mut bad_hello = client_hello(&Arc::new(certs.client(Versions::Both, None)), FRONT);
    bad_hello[9..].fill(0xff);
    let inputs: [&[u8]; 6] = [
        b"GET / HTTP/1.0\r\n\r\n",
        &[0; 64],
        // A record of application data.
        &[0x17, 3, 3, 0, 4, 1, 2, 3, 4],
        // A record longer than TLS has them.
        &[0x16, 3, 1, 0xff, 0xff, 1, 0, 0, 4, 3, 3, 0, 0],
        // An alert.
        &[0x15, 3, 1, 0, 2, 2, 40],
        &bad_hello,
    ];
    for (n, input) in inputs.iter().enumerate() {
        let client = rig.connect();
        let from = client.socket().local_addr().unwrap().as_socket().unwrap();
        client.write(input);
        // A record that promises more than came is only wrong once no more comes.
        client.finish();
        let (got, end) = client.read_to_end();
        assert!(matches!(end, End::Eof | End::Reset), "{input:?}: {end:?}");
        let alert = got.is_empty() || got[0] == 0x15;
        assert!(alert, "{input:?} was answered by {got:?}");
        let rejections = rig.daemon.wait_rejections(n + 1).unwrap();
        assert_eq!(rejections.len(), n + 1, "{rejections:?}");
        let last = &rejections[n];
        assert_eq!(last.client, from.to_string(), "{}", last.line);
        assert_eq!(last.frontend, "fe", "{}", last.line);
    }
    assert!(rig.daemon.records().is_empty());
    expect_no_connection(&rig);
    rig.stop();
}

/// A client that stops in the handshake, before or after its first flight is complete, is cut at the timeout.
#[test]
fn stalled_handshakes_are_cut() {
    let certs = Certs::new();
    let crt = file(&certs.issue("front", &Leaf::new(FRONT)));
    let rig = rig(&format!("ssl crt {crt}"), &["client 700ms"]);
    let mut hellos = Vec::new();
    for versions in [Versions::V12, Versions::V13] {
        let hello = client_hello(&Arc::new(certs.client(versions, None)), FRONT);
        hellos.push(hello[..1].to_vec());
        hellos.push(hello[..hello.len() / 2].to_vec());
        hellos.push(hello);
    }
    hellos.push(Vec::new());
    let clients: Vec<_> = hellos
        .iter()
        .map(|hello| {
            let client = rig.connect();
            client.write(hello);
            client
        })
        .collect();
    for client in &clients {
        let (_, end) = client.read_to_end();
        assert!(matches!(end, End::Eof | End::Reset), "{end:?}");
    }
    let rejections = rig.daemon.wait_rejections(clients.len()).unwrap();
    for rejection in &rejections {
        assert!(rejection.is_timeout(), "{}", rejection.line);
    }
    assert_eq!(rejections.len(), clients.len(), "{rejections:?}");
    expect_no_connection(&rig);
    rig.stop();
}

/// SIGUSR2 reads the certificates again: new handshakes get the new one, living flows go on, sessions are still resumed,
/// and a file that cannot be read changes nothing but a warning.
#[test]
fn certificates_are_reloaded() {
    let tls = TlsRig::new(Sides::In, Versions::V13);
    if tls.rig.is_haproxy() {
        return; // It starts a new process instead.
    }
    let (rig, certs) = (&tls.rig, &tls.certs);
    let (client, server) = tls.flow();
    let shown = || name_for(rig, certs, Some(FRONT));
    assert_eq!(shown(), FRONT);
    certs.issue("front", &Leaf::new("new.example"));
    rig.daemon.signal(libc::SIGUSR2).unwrap();
    let renewed = || shown() == "new.example";
    assert!(
        eventually(BOUND, renewed),
        "the new certificate is not shown"
    );

    let before = rig.daemon.diagnostic_count();
    certs.write("front.pem", "nothing that is a certificate\n");
    rig.daemon.signal(libc::SIGUSR2).unwrap();
    let warning = rig.daemon.wait_diagnostic(before, &["front.pem"]).unwrap();
    assert!(warning.to_lowercase().contains("warn"), "{warning}");
    assert_eq!(shown(), "new.example");

    let exchange = Exchange::new(32, 1 << 20, 1 << 20);
    endpoint::run(&exchange, client, server);
    let whole = |record: &underpass_tests::record::Record| {
        record.up == Some(exchange.up) && record.down == exchange.down && record.end == "--"
    };
    let logged = eventually(BOUND, || rig.daemon.records().iter().any(whole));
    assert!(logged, "{:?}", rig.daemon.records());
    tls.rig.stop();
}

/// A client that sends data and close_notify in one go, FIN right behind it: an orderly end, and all bytes arrive.
#[test]
fn data_and_end_in_one_go() {
    for versions in [Versions::V12, Versions::V13] {
        let tls = TlsRig::new(Sides::In, versions);
        let up = Pattern::new(33);
        let client = tls.rig.connect();
        let mut client = TlsPeer::client(client, &tls.client, FRONT).ready();
        let (sent, _) = client.talk(Talk::tell(up, 100_000, Close::NotifyAndFin));
        assert!(sent.is_ok(), "{sent:?}");
        let server = tls.rig.accept();
        let got = server.receive(up);
        assert!(got.bytes == 100_000 && got.end == End::Eof, "{got}");
        server.send_all(up, 0, 100);
        server.finish();
        let got = client.receive(up);
        assert!(got.bytes == 100 && got.end == TlsEnd::Closed, "{got}");
        tls.check(&tls.rig.record(), 100_000, 100, "--", "-");
        tls.rig.stop();
    }
}

/// A whole HTTPS request by curl, over both versions and both families.
#[test]
fn curl() {
    const BODY: &str = "what the server says\n";
    let certs = Certs::new();
    let crt = file(&certs.issue("front", &Leaf::new(FRONT)));
    for (v6, version) in [
        (false, ["--tlsv1.2", "--tls-max", "1.2"]),
        (true, ["--tlsv1.3", "--tls-max", "1.3"]),
    ] {
        let net = Topology::new(Layout::Hosts).unwrap();
        let rig = Rig::on(net, Offload::Buffer, v6, Buffers::default(), |config| {
            config.bind_with(&format!("ssl crt {crt}"));
        });
        let port = rig.proxy.port();
        let address = match rig.proxy.ip() {
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
            ip => ip.to_string(),
        };
        let mut command: Command = rig.net.client.command("curl");
        command
            .args(["-sS", "--http1.1", "--cacert", &file(&certs.ca())])
            .args(version)
            .args(["--resolve", &format!("{FRONT}:{port}:{address}")])
            .arg(format!("https://{FRONT}:{port}/"));
        let mut curl = Process::spawn(&mut command).unwrap();
        let server = rig.accept();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.extend(server.read(1).unwrap());
        }
        let length = BODY.len();
        server.write(
            format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{BODY}"
            )
            .as_bytes(),
        );
        // It knows the length, and goes without reading what comes behind it.
        let status = curl.wait_exit(BOUND).unwrap();
        server.expect_eof();
        server.finish();
        assert!(status.success(), "{}", curl.transcript());
        let body = || curl.lines(Output::Stdout).concat() == BODY.trim_end();
        assert!(eventually(BOUND, body), "{}", curl.transcript());
        drop(server);
        let record = rig.record();
        assert_eq!(record.end, "--", "{}", record.line);
        rig.stop();
    }
}

/// The alert that a client gets whose version or certificate does not do tells it so.
#[test]
fn a_missing_certificate_is_named_by_the_alert() {
    let certs = Certs::new();
    let crt = file(&certs.issue("front", &Leaf::new(FRONT)));
    let ca = file(&certs.ca());
    let rig = rig(&format!("ssl crt {crt} ca-file {ca} verify required"), &[]);
    let config = Arc::new(certs.client(Versions::V13, None));
    let mut client = TlsPeer::client(rig.connect(), &config, FRONT).ready();
    let end = client.receive(Pattern::new(0)).end;
    assert_eq!(
        end.alert(),
        Some(AlertDescription::CertificateRequired),
        "{end:?}"
    );
    rig.stop();
}
