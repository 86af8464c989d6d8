//! What stick tables know of living and ended connections, whoever moves their bytes.

use std::io::ErrorKind;
use std::time::Duration;

use underpass_tests::daemon::BOUND;
use underpass_tests::netns::Layout;
use underpass_tests::on_each_path;
use underpass_tests::pattern::Pattern;
use underpass_tests::peer::{Buffers, Peer};
use underpass_tests::process::eventually;
use underpass_tests::rig::{Path, Rig};

const MB: u64 = 1 << 20;

/// How long a refusal may take to arrive; a connection that hears nothing by then was let in.
const REFUSAL: Duration = Duration::from_millis(500);

/// Whether a new connection is refused before it has said anything.
fn is_next_refused(rig: &Rig) -> bool {
    let peer = rig
        .net
        .client
        .run(|| Peer::connect(rig.proxy, Buffers::default()));
    let peer = match peer {
        Ok(peer) => peer,
        // The refusal may come before the socket is set up.
        Err(error) => return error.kind() == ErrorKind::ConnectionReset,
    };
    peer.socket().set_read_timeout(Some(REFUSAL)).unwrap();
    match peer.read(1) {
        Ok(_) => false,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

/// The bytes of a flow count while it lives, also where the kernel moves them.
fn bytes_of_living_flows_count(layout: Layout, path: Path) {
    let rig = Rig::with(layout, path, |config| {
        config
            .frontend("stick-table type ip size 100 expire 1m store bytes_in_cnt,bytes_out_cnt")
            .frontend("tcp-request connection track-sc0 src")
            .frontend("tcp-request connection reject if { sc0_kbytes_in ge 1024 } { sc0_kbytes_out ge 2048 }");
    });
    let (up, down) = (Pattern::new(600), Pattern::new(601));
    let (client, server) = rig.flow();
    client.carry(&server, up, 0, MB);
    // Half of what it takes: nobody is refused.
    assert!(!is_next_refused(&rig), "refused before the limit");
    drop(rig.accept());
    server.carry(&client, down, 0, 2 * MB);
    let refused = eventually(BOUND, || is_next_refused(&rig));
    assert!(refused, "the bytes of a living flow were not counted");
    client.finish();
    server.expect_eof();
    server.finish();
    client.expect_eof();
    rig.stop();
}

/// However connections end, none of them stays counted.
fn every_end_is_counted(layout: Layout, path: Path) {
    const MOST: usize = 3;
    let rig = Rig::with(layout, path, |config| {
        config
            .frontend("stick-table type ip size 100 expire 1m store conn_cur")
            .frontend("tcp-request connection track-sc0 src")
            .frontend(format!(
                "tcp-request connection reject if {{ sc0_conn_cur gt {MOST} }}"
            ))
            .frontend("tcp-request inspect-delay 10s")
            .frontend("tcp-request content reject if { req.payload(0,4) -m str EVIL }")
            .frontend("tcp-request content accept if { req.len ge 4 }");
    });
    let served = || {
        let client = rig.connect();
        client.write(b"good");
        let server = rig.accept();
        assert_eq!(server.read(4).unwrap(), b"good");
        (client, server)
    };
    let mut streams = 0;
    for _round in 0..4 {
        // Both end in order.
        let (client, server) = served();
        client.finish();
        server.expect_eof();
        server.finish();
        client.expect_eof();
        // The client resets.
        let (client, server) = served();
        client.abort();
        let _ = server.read_to_end();
        // The server resets.
        let (client, server) = served();
        server.abort();
        let _ = client.read_to_end();
        // A rule refuses what the client says.
        let client = rig.connect();
        client.write(b"EVIL");
        let (bytes, _end) = client.read_to_end();
        assert!(bytes.is_empty());
        // The client leaves while it is waited for.
        let client = rig.connect();
        client.write(b"g");
        client.abort();
        streams += 5;
        let _lines = rig.records(streams);
    }
    // Refused connections do not stay counted either.
    let living: Vec<_> = (0..MOST).map(|_| served()).collect();
    for _ in 0..5 {
        assert!(is_next_refused(&rig), "more than {MOST} were let in");
    }
    drop(living);
    let _lines = rig.records(streams + MOST);
    let again: Vec<_> = (0..MOST).map(|_| served()).collect();
    assert!(is_next_refused(&rig), "more than {MOST} were let in");
    drop(again);
    rig.stop();
}

on_each_path!(Loopback as loopback: bytes_of_living_flows_count, every_end_is_counted);
on_each_path!(Hosts as hosts: bytes_of_living_flows_count);
