//! Every way in which a stream can end, provoked, and what its log line says of it: in user space and in the kernel's
//! hands.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use underpass_tests::daemon::BOUND;
use underpass_tests::netns::{Layout, Topology};
use underpass_tests::on_each_path;
use underpass_tests::pattern::Pattern;
use underpass_tests::peer::{Buffers, End, Peer};
use underpass_tests::process::eventually;
use underpass_tests::record::Record;
use underpass_tests::rig::{Path, Rig, SERVER_PORT, listen};

fn up() -> Pattern {
    Pattern::new(900)
}

fn down() -> Pattern {
    Pattern::new(901)
}

/// Nothing comes any more, and the connection is over, however it was ended.
fn expect_over(peer: &Peer) {
    expect_over_after(peer, 0);
}

/// The same of one that has received so many bytes.
fn expect_over_after(peer: &Peer, bytes: u64) {
    let got = peer.receive_counted(down(), bytes, u64::MAX, &0.into());
    assert!(
        got.bytes == 0 && matches!(got.end, End::Eof | End::Reset),
        "{got}"
    );
}

/// Connects, and is turned away at once: perhaps before the client has its connection in hand.
fn turned_away(rig: &Rig) {
    let connect = || Peer::connect(rig.proxy, Buffers::default());
    if let Ok(client) = rig.net.client.run(connect) {
        expect_over(&client);
    }
}

fn expect_letters(rig: &Rig, record: &Record, letters: &str) {
    assert_eq!(record.end, letters, "{}", record.line);
    // No record is written twice.
    assert_eq!(rig.daemon.records().len(), 1, "{:?}", rig.daemon.records());
}

/// A daemon whose only server serves one stream at a time, and the flow that it serves.
fn busy(layout: Layout, path: Path, lines: &[&str]) -> (Rig, Peer, Peer) {
    let rig = Rig::with(layout, path, |config| {
        config.server_with("maxconn 1");
        for line in lines {
            config.defaults(*line);
        }
    });
    let (client, server, _) = rig.warm_flow(up(), down());
    (rig, client, server)
}

/// Waits until the daemon has the second stream in its queue.
fn wait_until_two_live(rig: &Rig) {
    if !rig.is_haproxy() {
        rig.daemon.wait_live(2).expect("a stream that waits");
    }
}

/// The letters of a client that resets in the queue: the peer writes CD, against its own manual.
fn left_in_queue(rig: &Rig) -> &'static str {
    if rig.is_haproxy() { "CD" } else { "CQ" }
}

/// Lets the flow that was served end, which was none of the test's.
fn let_go(rig: Rig, client: &Peer, server: &Peer) {
    client.finish();
    server.expect_eof();
    server.finish();
    client.expect_eof();
    let records = rig.records(2);
    assert_eq!(records[1].end, "--", "{}", records[1].line);
    rig.stop();
}

fn normal(layout: Layout, path: Path) {
    let rig = Rig::new(layout, path);
    let (client, server, bytes) = rig.warm_flow(up(), down());
    client.finish();
    server.expect_eof();
    server.finish();
    client.expect_eof();
    let record = rig.record();
    rig.check(&record, bytes, bytes, "--");
    rig.check_path(&record, [1, 1]);
    rig.stop();
}

fn client_resets(layout: Layout, path: Path) {
    let rig = Rig::new(layout, path);
    let (client, server, _) = rig.warm_flow(up(), down());
    client.abort();
    expect_over(&server);
    let record = rig.record();
    expect_letters(&rig, &record, "CD");
    rig.check_path(&record, [1, 1]);
    rig.stop();
}

fn server_resets(layout: Layout, path: Path) {
    let rig = Rig::new(layout, path);
    let (client, server, _) = rig.warm_flow(up(), down());
    server.abort();
    expect_over(&client);
    let record = rig.record();
    expect_letters(&rig, &record, "SD");
    rig.check_path(&record, [1, 1]);
    rig.stop();
}

/// An idle flow ends for the side, or the tunnel, whose time is over first. `told`: whom the peer tells at once.
fn idle(layout: Layout, path: Path, timeout: &str, letters: &str, told: Told) {
    let rig = Rig::with(layout, path, |config| {
        config.defaults(format!("timeout {timeout}"));
    });
    let (client, server, bytes) = rig.warm_flow(up(), down());
    let peers = match told {
        Told::Client => [client, server],
        Told::Server => [server, client],
    };
    for peer in peers {
        expect_over_after(&peer, bytes);
        // It leaves: the peer waits for that before it tells the other one.
    }
    let record = rig.record();
    expect_letters(&rig, &record, letters);
    rig.check_path(&record, [1, 1]);
    rig.stop();
}

/// Who hears first that a flow was idle for too long.
#[derive(Clone, Copy)]
enum Told {
    Client,
    Server,
}

fn client_idle(layout: Layout, path: Path) {
    idle(layout, path, "client 500ms", "cD", Told::Server);
}

fn server_idle(layout: Layout, path: Path) {
    idle(layout, path, "server 500ms", "sD", Told::Client);
}

fn tunnel_idle(layout: Layout, path: Path) {
    idle(layout, path, "tunnel 500ms", "cD", Told::Client);
}

/// Refused, and refused again after each pause, until the retries are used up.
fn server_refuses(layout: Layout, path: Path) {
    let rig = Rig::with(layout, path, |config| {
        config.server = config.server.replace(&SERVER_PORT.to_string(), "9");
        config.defaults("timeout connect 50ms");
        config.defaults("retries 2");
    });
    expect_over(&rig.connect());
    let record = rig.record();
    expect_letters(&rig, &record, "SC");
    assert!(
        record.line.contains("/2 0/0"),
        "two retries: {}",
        record.line
    );
    rig.stop();
}

/// No server takes anything.
fn no_server(layout: Layout, path: Path) {
    let rig = Rig::with(layout, path, |config| {
        config.server_with("disabled");
    });
    turned_away(&rig);
    let record = rig.record();
    expect_letters(&rig, &record, "SC");
    assert_eq!(record.server, "<NOSRV>", "{}", record.line);
    rig.stop();
}

/// A daemon whose server has an address that no host has.
fn nowhere(layout: Layout, path: Path, lines: &[&str]) -> Rig {
    let net = Topology::new(layout).unwrap();
    let address = net.silent_address().unwrap();
    Rig::on(net, path, false, Buffers::default(), |config| {
        config.server = format!("{address}:{SERVER_PORT}");
        config.defaults("retries 0");
        for line in lines {
            config.defaults(*line);
        }
    })
}

fn server_does_not_answer(layout: Layout, path: Path) {
    let rig = nowhere(layout, path, &["timeout connect 400ms"]);
    expect_over(&rig.connect());
    let record = rig.record();
    expect_letters(&rig, &record, "sC");
    rig.stop();
}

fn client_leaves_a_connection(layout: Layout, path: Path) {
    let rig = nowhere(layout, path, &["timeout connect 30s"]);
    let client = rig.connect();
    assert!(eventually(BOUND, || rig.daemon.is_connecting()));
    client.abort();
    let record = rig.record();
    // The peer writes CD here, against its own manual.
    expect_letters(&rig, &record, if rig.is_haproxy() { "CD" } else { "CC" });
    rig.stop();
}

/// With `option abortonclose` an end is enough.
fn client_ends_during_a_connection(layout: Layout, path: Path) {
    let lines = ["timeout connect 30s", "option abortonclose"];
    let rig = nowhere(layout, path, &lines);
    let client = rig.connect();
    assert!(eventually(BOUND, || rig.daemon.is_connecting()));
    client.finish();
    expect_over(&client);
    let record = rig.record();
    expect_letters(&rig, &record, "CC");
    rig.stop();
}

/// The pause before another attempt is longer than the client's patience.
fn client_waits_too_long_for_a_retry(layout: Layout, path: Path) {
    let rig = Rig::with(layout, path, |config| {
        config.server = config.server.replace(&SERVER_PORT.to_string(), "9");
        config.defaults("timeout client 300ms");
        config.defaults("timeout connect 10s");
        config.defaults("retries 3");
    });
    expect_over(&rig.connect());
    let record = rig.record();
    expect_letters(&rig, &record, "cC");
    rig.stop();
}

fn queue_takes_too_long(layout: Layout, path: Path) {
    let (rig, client, server) = busy(layout, path, &["timeout queue 400ms"]);
    expect_over(&rig.connect());
    let record = rig.record();
    expect_letters(&rig, &record, "sQ");
    assert_eq!(record.server, "<NOSRV>", "{}", record.line);
    let_go(rig, &client, &server);
}

fn client_leaves_the_queue(layout: Layout, path: Path) {
    let (rig, client, server) = busy(layout, path, &["timeout queue 30s"]);
    let waiting = rig.connect();
    wait_until_two_live(&rig);
    waiting.abort();
    let record = rig.record();
    expect_letters(&rig, &record, left_in_queue(&rig));
    let_go(rig, &client, &server);
}

fn client_is_idle_in_the_queue(layout: Layout, path: Path) {
    let rig = Rig::with(layout, path, |config| {
        config.server_with("maxconn 1");
        config.defaults("timeout queue 30s");
        config.defaults("timeout client 900ms");
        config.defaults("timeout tunnel 60s");
    });
    let (client, server, _) = rig.warm_flow(up(), down());
    expect_over(&rig.connect());
    let record = rig.record();
    expect_letters(&rig, &record, "cQ");
    let_go(rig, &client, &server);
}

/// The queue of the only server that the stream may go to is full.
fn queue_is_full(layout: Layout, path: Path) {
    let rig = Rig::with(layout, path, |config| {
        config.server_with("maxconn 1 maxqueue 1");
        config.defaults("timeout queue 30s");
        config.defaults("balance source");
    });
    let (client, server, _) = rig.warm_flow(up(), down());
    let waiting = rig.connect();
    wait_until_two_live(&rig);
    turned_away(&rig);
    let record = rig.record();
    expect_letters(&rig, &record, "SQ");
    waiting.abort();
    let records = rig.records(2);
    assert_eq!(records[1].end, left_in_queue(&rig), "{}", records[1].line);
    client.finish();
    server.expect_eof();
    server.finish();
    client.expect_eof();
    let _ = rig.records(3);
    rig.stop();
}

fn request_is_refused(layout: Layout, path: Path) {
    let rig = Rig::with(layout, path, |config| {
        config.frontend("tcp-request inspect-delay 5s");
        config.frontend("tcp-request content reject if { req.len gt 0 }");
    });
    let client = rig.connect();
    client.send_all(up(), 0, 10);
    expect_over(&client);
    let record = rig.record();
    expect_letters(&rig, &record, "PR");
    rig.stop();
}

fn response_is_refused(layout: Layout, path: Path) {
    let rig = Rig::with(layout, path, |config| {
        config.sections = "    tcp-response inspect-delay 5s\n    \
            tcp-response content reject if { res.len gt 0 }\n"
            .to_owned();
    });
    let (client, server) = rig.flow();
    server.send_all(down(), 0, 10);
    expect_over(&client);
    let record = rig.record();
    expect_letters(&rig, &record, "PD");
    rig.stop();
}

/// The checks of the server find it gone.
fn server_goes_down(layout: Layout, path: Path) {
    const HEALTH_PORT: u16 = SERVER_PORT + 1;
    let net = Topology::new(layout).unwrap();
    let address = SocketAddr::new(net.server_addr.ipv4(), HEALTH_PORT);
    let health = net.server.run(|| listen(address, Buffers::default()));
    let health = health.expect("something to check");
    let rig = Rig::on(net, path, false, Buffers::default(), |config| {
        config.server_with(&format!(
            "check port {HEALTH_PORT} inter 100ms fall 1 on-marked-down shutdown-sessions"
        ));
    });
    let (client, server, bytes) = rig.warm_flow(up(), down());
    drop(health);
    for peer in [&client, &server] {
        expect_over_after(peer, bytes);
    }
    let record = rig.record();
    expect_letters(&rig, &record, "D-");
    rig.check_path(&record, [1, 1]);
    rig.stop();
}

/// Ends the flow by a command of the runtime API, which is given the answer to `show sess`.
fn killed(layout: Layout, path: Path, command: impl FnOnce(&str) -> String) {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("api");
    let rig = Rig::with(layout, path, |config| {
        config.global(format!("stats socket {} level admin", socket.display()));
    });
    let ask = |line: &str| {
        let mut stream = UnixStream::connect(&socket).expect("the runtime API");
        stream.write_all(line.as_bytes()).expect("a command");
        stream.shutdown(Shutdown::Write).expect("an end");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    };
    let (client, server, bytes) = rig.warm_flow(up(), down());
    assert_eq!(ask(&command(&ask("show sess\n"))), "\n");
    for peer in [&client, &server] {
        expect_over_after(peer, bytes);
    }
    let record = rig.record();
    expect_letters(&rig, &record, "K-");
    rig.check_path(&record, [1, 1]);
    rig.stop();
}

fn session_is_shut_down(layout: Layout, path: Path) {
    killed(layout, path, |sessions| {
        let of_client = sessions.lines().find(|line| line.contains(" fe=fe "));
        let id = of_client.and_then(|line| line.split(':').next());
        format!("shutdown session {}\n", id.expect("a session"))
    });
}

fn sessions_of_a_server_are_shut_down(layout: Layout, path: Path) {
    killed(layout, path, |_| {
        "shutdown sessions server be/srv\n".to_owned()
    });
}

/// The process stops while the stream lives.
fn process_stops(layout: Layout, path: Path) {
    let mut rig = Rig::new(layout, path);
    if rig.is_haproxy() {
        return;
    }
    let (client, server, _) = rig.warm_flow(up(), down());
    rig.daemon.signal(15).unwrap();
    for peer in [&client, &server] {
        expect_over(peer);
    }
    let record = rig.record();
    expect_letters(&rig, &record, "KD");
    let ended = rig.daemon.process().wait_exit(Duration::from_secs(10));
    assert!(ended.is_ok(), "{ended:?}");
}

on_each_path!(Hosts as hosts:
    normal,
    client_resets,
    server_resets,
    client_idle,
    server_idle,
    tunnel_idle,
    server_refuses,
    no_server,
    server_does_not_answer,
    client_leaves_a_connection,
    client_ends_during_a_connection,
    client_waits_too_long_for_a_retry,
    queue_takes_too_long,
    client_leaves_the_queue,
    client_is_idle_in_the_queue,
    queue_is_full,
    request_is_refused,
    response_is_refused,
    server_goes_down,
    session_is_shut_down,
    sessions_of_a_server_are_shut_down,
    process_stops,
);
