//! What happens before there are two connections: servers that refuse or keep silent, clients that do not wait.

use std::net::SocketAddr;
use std::time::Duration;

use underpass_tests::daemon::BOUND;
use underpass_tests::netns::Layout;
use underpass_tests::on_each_path;
use underpass_tests::pattern::Pattern;
use underpass_tests::peer::{Buffers, End};
use underpass_tests::process::eventually;
use underpass_tests::rig::{Path, Rig, SERVER_PORT, listen};

/// A daemon whose server has an address that no host has yet.
fn rig_to_nowhere(layout: Layout, path: Path, timeout: &str) -> (Rig, SocketAddr) {
    let net = underpass_tests::netns::Topology::new(layout).unwrap();
    let nowhere = SocketAddr::new(net.silent_address().unwrap(), SERVER_PORT);
    let rig = Rig::on(net, path, false, Buffers::default(), |config| {
        config.server = nowhere.to_string();
        config.defaults(format!("timeout connect {timeout}"));
        config.defaults("retries 0");
    });
    (rig, nowhere)
}

fn refused(layout: Layout, path: Path) {
    let rig = Rig::with(layout, path, |config| {
        config.server = config.server.replace(&SERVER_PORT.to_string(), "9");
        config.defaults("retries 1");
    });
    let client = rig.connect();
    client.send_all(Pattern::new(1), 0, 10);
    let got = client.receive(Pattern::new(2));
    assert!(
        got.bytes == 0 && matches!(got.end, End::Eof | End::Reset),
        "{got}"
    );
    let record = rig.record();
    assert_eq!(
        (record.end.as_str(), record.down),
        ("SC", 0),
        "{}",
        record.line
    );
    rig.stop();
}

fn connect_timeout(layout: Layout, path: Path) {
    let (rig, _) = rig_to_nowhere(layout, path, "600ms");
    let client = rig.connect();
    let got = client.receive(Pattern::new(2));
    assert!(
        got.bytes == 0 && matches!(got.end, End::Eof | End::Reset),
        "{got}"
    );
    let record = rig.record();
    assert_eq!(
        (record.end.as_str(), record.down),
        ("sC", 0),
        "{}",
        record.line
    );
    rig.stop();
}

/// A client that resets while the daemon connects: the flow is given up at once.
fn client_gone_while_connecting(layout: Layout, path: Path) {
    let (rig, _) = rig_to_nowhere(layout, path, "60s");
    let client = rig.connect();
    // The connect attempt must be under way: one socket in SYN-SENT.
    assert!(
        eventually(BOUND, || rig.daemon.is_connecting()),
        "no connect attempt"
    );
    client.abort();
    let record = rig.record();
    assert_eq!(record.down, 0, "{}", record.line);
    // The peer of this Debian writes CD here, against its own manual.
    assert!(rig.is_haproxy() || record.end == "CC", "{}", record.line);
    rig.stop();
}

/// A client that sends, ends its direction, and only then does the server come up: all of it arrives, and so does the
/// answer.
fn client_finished_before_the_server_came(layout: Layout, path: Path) {
    let (rig, server_address) = rig_to_nowhere(layout, path, "15s");
    let (up, down) = (Pattern::new(3), Pattern::new(4));
    let client = rig.connect();
    client.send_all(up, 0, 10_000);
    client.finish();
    assert!(
        eventually(BOUND, || rig.daemon.is_connecting()),
        "no connect attempt"
    );
    rig.net.add_silent_address().unwrap();
    let listener = rig
        .net
        .server
        .run(|| listen(server_address, Buffers::default()))
        .unwrap();
    let (server, _) = listener.accept().expect("the daemon's retransmitted SYN");
    let server = underpass_tests::peer::Peer::from(server);
    let got = server.receive(up);
    assert!(got.bytes == 10_000 && got.end == End::Eof, "{got}");
    server.send_all(down, 0, 3_000_000);
    server.finish();
    let got = client.receive(down);
    assert!(got.bytes == 3_000_000 && got.end == End::Eof, "{got}");
    rig.check(&rig.record(), 10_000, 3_000_000, "--");
    rig.stop();
}

/// A server that accepts and closes at once, without a byte.
fn server_closes_at_once(layout: Layout, path: Path) {
    let rig = Rig::new(layout, path);
    for round in 1..=20 {
        let client = rig.connect();
        drop(rig.accept());
        client.expect_eof();
        drop(client);
        let records = rig.records(round);
        rig.check(&records[round - 1], 0, 0, "--");
    }
    rig.stop();
}

/// A client that connects and resets at once, over and over, costs nothing lasting.
fn clients_reset_at_once(layout: Layout, path: Path) {
    let rig = Rig::new(layout, path);
    // Sockets only: each worker keeps spare pipes.
    let sockets = || {
        let open = rig.daemon.descriptors().unwrap();
        open.iter().filter(|to| to.starts_with("socket:")).count()
    };
    // What a worker opens for its first flow, to ask for routes, it keeps.
    drop(rig.flow());
    let _line = rig.record();
    let before = sockets();
    for _ in 0..100 {
        rig.connect().abort();
    }
    // One good flow after them, told from their remains by its bytes.
    let client = rig.connect();
    client.send_all(Pattern::new(5), 0, 1000);
    client.finish();
    let whole = eventually(BOUND, || {
        let server = rig.accept();
        let _ = server
            .socket()
            .set_read_timeout(Some(Duration::from_secs(2)));
        server.receive(Pattern::new(5)).bytes == 1000
    });
    assert!(whole, "the flow behind the resets did not arrive");
    drop(client);
    // The good flow's two sockets may still be there: its server end is the test's to close. The other worker may
    // have had its first flow.
    let settled = || sockets() <= before + 2;
    assert!(eventually(BOUND, settled), "{:?}", rig.daemon.descriptors());
    rig.stop();
}

on_each_path!(Hosts as hosts:
    refused,
    connect_timeout,
    client_gone_while_connecting,
    client_finished_before_the_server_came,
    server_closes_at_once,
    clients_reset_at_once,
);
