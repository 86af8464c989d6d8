//! FIN and RST: each direction ends on its own, and a truncated stream never looks like a finished one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use underpass_tests::daemon::BOUND;
use underpass_tests::netns::Layout;
use underpass_tests::on_each_path;
use underpass_tests::pattern::Pattern;
use underpass_tests::peer::{Buffers, End, Peer, Received, Segments};
use underpass_tests::process::eventually;
use underpass_tests::rig::{PROXY_PORT, Path, Rig};

const MB: u64 = 1 << 20;
const UP: u64 = 100;
const DOWN: u64 = 101;

fn up() -> Pattern {
    Pattern::new(UP)
}

fn down() -> Pattern {
    Pattern::new(DOWN)
}

/// Everything from `offset` on to the end of the stream.
fn rest(at: &Peer, pattern: Pattern, offset: u64) -> Received {
    at.receive_counted(pattern, offset, u64::MAX, &AtomicU64::new(0))
}

fn expect(got: &Received, bytes: u64, end: &End) {
    assert!(
        got.bytes == bytes && got.end == *end,
        "expected {bytes} bytes, then {end:?}, got {got}"
    );
}

/// A stream that was reset: whatever came is right, and what came last is the reset. Only a stream of which not a byte
/// is missing may end otherwise.
fn expect_reset(who: &str, got: &Received, sent: u64) {
    let whole = got.end == End::Eof && got.bytes == sent;
    assert!(
        got.end == End::Reset || whole,
        "{who} of {sent} bytes expected a reset, got {got}"
    );
}

/// A connection on which nothing was ever said ends as one.
fn bare_fin_from_client(layout: Layout, path: Path) {
    let rig = Rig::new(layout, path);
    let (client, server) = rig.flow();
    client.finish();
    server.expect_eof();
    server.finish();
    client.expect_eof();
    rig.check(&rig.record(), 0, 0, "--");
    rig.stop();
}

fn bare_fin_from_server(layout: Layout, path: Path) {
    let rig = Rig::new(layout, path);
    let (client, server) = rig.flow();
    server.finish();
    client.expect_eof();
    client.finish();
    server.expect_eof();
    rig.check(&rig.record(), 0, 0, "--");
    rig.stop();
}

/// A bare FIN on a flow that has long been moving bytes.
fn bare_fin_after_data(layout: Layout, path: Path) {
    let rig = Rig::new(layout, path);
    let (client, server, before) = rig.warm_flow(up(), down());
    client.finish();
    server.expect_eof();
    server.finish();
    client.expect_eof();
    let record = rig.record();
    rig.check(&record, before, before, "--");
    rig.check_path(&record, [1, 1]);
    rig.stop();
}

/// Data and FIN leave together, before the daemon can have seen either: what comes first at the daemon is both.
fn data_and_fin_at_once(layout: Layout, path: Path) {
    let rig = Rig::new(layout, path);
    for round in 1..=30 {
        let bytes = round * 997;
        let client = rig.connect();
        client.send_all(up(), 0, bytes);
        client.finish();
        let server = rig.accept();
        expect(&server.receive(up()), bytes, &End::Eof);
        server.send_all(down(), 0, bytes);
        server.finish();
        expect(&client.receive(down()), bytes, &End::Eof);
        drop((client, server));
        let records = rig.records(usize::try_from(round).unwrap());
        rig.check(&records[records.len() - 1], bytes, bytes, "--");
    }
    rig.stop();
}

/// Data and FIN of an established flow in one go, each round later after the start, so that they hit every step of the
/// hand-over to the kernel.
fn fin_races_the_insertion(layout: Layout, path: Path) {
    let rig = Rig::new(layout, path);
    for round in 0..100_u64 {
        let (client, server) = rig.flow();
        for step in 0..round % 10 {
            client.send_all(up(), step * 100, 100);
            server.receive_exact(up(), step * 100, 100);
        }
        let start = (round % 10) * 100;
        client.send_all(up(), start, 5_000);
        client.finish();
        server.receive_exact(up(), start, 5_000);
        server.expect_eof();
        server.send_all(down(), 0, 7_000);
        drop(server);
        expect(&client.receive(down()), 7_000, &End::Eof);
        drop(client);
        let records = rig.records(usize::try_from(round).unwrap() + 1);
        rig.check(&records[records.len() - 1], start + 5_000, 7_000, "--");
    }
    rig.stop();
}

/// The client sends at full speed from the first moment, while the daemon still connects and inserts.
fn early_data_races_the_insertion(layout: Layout, path: Path) {
    let rig = Rig::new(layout, path);
    for round in 0..30_u64 {
        let bytes = MB + round * 1013;
        let client = rig.connect();
        thread::scope(|scope| {
            scope.spawn(|| {
                let sent = client.send(up(), bytes, Segments::Random(32 << 10));
                assert!(sent.error.is_none(), "{sent:?}");
                client.finish();
            });
            let server = rig.accept();
            // The server speaks first as well, as many protocols do.
            server.send_all(down(), 0, 3_000);
            expect(&server.receive(up()), bytes, &End::Eof);
            server.finish();
            expect(&client.receive(down()), 3_000, &End::Eof);
        });
        drop(client);
        let records = rig.records(usize::try_from(round).unwrap() + 1);
        rig.check(&records[records.len() - 1], bytes, 3_000, "--");
    }
    rig.stop();
}

/// The client ends its direction first; the answer comes after that, and is long.
fn half_close_from_client(layout: Layout, path: Path) {
    let rig = Rig::new(layout, path);
    let (client, server, before) = rig.warm_flow(up(), down());
    thread::scope(|scope| {
        scope.spawn(|| {
            client.send_all(up(), before, 2 * MB - 1);
            client.finish();
        });
        expect(&rest(&server, up(), before), 2 * MB - 1, &End::Eof);
    });
    thread::scope(|scope| {
        scope.spawn(|| {
            server.send_all(down(), before, 8 * MB + 1);
            server.finish();
        });
        expect(&rest(&client, down(), before), 8 * MB + 1, &End::Eof);
    });
    let record = rig.record();
    rig.check(&record, before + 2 * MB - 1, before + 8 * MB + 1, "--");
    rig.check_path(&record, [1, 1]);
    rig.stop();
}

/// The server ends its direction first; the client goes on for long.
fn half_close_from_server(layout: Layout, path: Path) {
    let rig = Rig::new(layout, path);
    let (client, server, before) = rig.warm_flow(up(), down());
    thread::scope(|scope| {
        scope.spawn(|| {
            server.send_all(down(), before, 2 * MB - 1);
            server.finish();
        });
        expect(&rest(&client, down(), before), 2 * MB - 1, &End::Eof);
    });
    thread::scope(|scope| {
        scope.spawn(|| {
            client.send_all(up(), before, 8 * MB + 1);
            client.finish();
        });
        expect(&rest(&server, up(), before), 8 * MB + 1, &End::Eof);
    });
    let record = rig.record();
    rig.check(&record, before + 8 * MB + 1, before + 2 * MB - 1, "--");
    rig.check_path(&record, [1, 1]);
    rig.stop();
}

/// FIN right behind 16 MB for a receiver that has not begun to read: all of it is still queued somewhere when the FIN
/// comes, and must get out before it.
fn fin_behind_a_full_queue(layout: Layout, path: Path) {
    let rig = Rig::new(layout, path);
    let (client, server) = rig.flow_with(Buffers {
        send: Some(4 << 20),
        receive: None,
    });
    let taken = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let sent = client.send_counted(up(), 0, 16 * MB, Segments::Fixed(64 << 10), &taken);
            assert!(sent.error.is_none(), "{sent:?}");
            client.finish();
        });
        // Begin once the flow stands still or everything has been taken.
        underpass_tests::peer::settle(&taken, std::time::Duration::from_millis(300), BOUND);
        expect(&server.receive(up()), 16 * MB, &End::Eof);
    });
    server.finish();
    client.expect_eof();
    rig.check(&rig.record(), 16 * MB, 0, "--");
    rig.stop();
}

/// A sender resets while its receiver reads: the receiver learns of it as a reset.
fn reset_under_way(path: Path, layout: Layout, from_client: bool) {
    let rig = Rig::new(layout, path);
    let (client, server) = rig.flow();
    let (sender, receiver) = if from_client {
        (client, server)
    } else {
        (server, client)
    };
    thread::scope(|scope| {
        let sender = scope.spawn(move || {
            let sent = sender.send(up(), 24 * MB, Segments::Random(64 << 10));
            assert!(sent.error.is_none(), "{sent:?}");
            sender.abort();
        });
        let got = receiver.receive(up());
        sender.join().unwrap();
        expect_reset("the receiver", &got, 24 * MB);
    });
    let record = rig.record();
    assert_eq!(
        record.end,
        if from_client { "CD" } else { "SD" },
        "{}",
        record.line
    );
    rig.stop();
}

fn reset_from_client(layout: Layout, path: Path) {
    reset_under_way(path, layout, true);
}

fn reset_from_server(layout: Layout, path: Path) {
    reset_under_way(path, layout, false);
}

/// A sender resets while its receiver stalls, with megabytes queued in between: these may be lost, but not silently.
fn reset_behind_a_stall(path: Path, layout: Layout, from_client: bool) {
    let rig = Rig::new(layout, path);
    let (client, server) = rig.flow();
    let (sender, receiver) = if from_client {
        (client, server)
    } else {
        (server, client)
    };
    let taken = AtomicU64::new(0);
    thread::scope(|scope| {
        let all = 64 * MB;
        let (taken, sender_ref) = (&taken, &sender);
        let sending = scope
            .spawn(move || sender_ref.send_counted(up(), 0, all, Segments::Fixed(64 << 10), taken));
        underpass_tests::peer::settle(taken, std::time::Duration::from_millis(300), BOUND);
        // Wakes the sender, whose socket then refuses.
        sender.socket().shutdown(std::net::Shutdown::Both).unwrap();
        sending.join().unwrap();
    });
    let sent = taken.load(Ordering::Relaxed);
    sender.abort();
    let got = receiver.receive(up());
    expect_reset("the stalled receiver", &got, sent);
    drop(receiver);
    let record = rig.record();
    assert!(record.end != "--" || got.bytes == sent, "{}", record.line);
    rig.stop();
}

fn reset_from_client_behind_a_stall(layout: Layout, path: Path) {
    reset_behind_a_stall(path, layout, true);
}

fn reset_from_server_behind_a_stall(layout: Layout, path: Path) {
    reset_behind_a_stall(path, layout, false);
}

/// A reset on an idle flow that has carried bytes reaches the other end.
fn reset_when_idle(layout: Layout, path: Path) {
    let rig = Rig::new(layout, path);
    let (client, server, before) = rig.warm_flow(up(), down());
    client.abort();
    let got = rest(&server, up(), before);
    assert_eq!(got.bytes, 0);
    assert!(matches!(got.end, End::Reset | End::Eof), "{got}");
    let record = rig.record();
    rig.check(&record, before, before, "CD");
    rig.check_path(&record, [1, 1]);
    rig.stop();
}

/// The daemon is killed while both directions run: both ends see a reset, neither sees an end.
fn kill_mid_transfer(layout: Layout, path: Path) {
    let mut rig = Rig::new(layout, path);
    let flows: Vec<(Peer, Peer)> = (0..8).map(|_| rig.flow()).collect();
    let moved = AtomicU64::new(0);
    thread::scope(|scope| {
        let endless = u64::MAX;
        let moved = &moved;
        for (client, server) in &flows {
            // Senders fail when the reset reaches them.
            scope.spawn(move || client.send(up(), endless, Segments::Random(64 << 10)));
            scope.spawn(move || server.send(down(), endless, Segments::Random(64 << 10)));
            for (who, peer, pattern) in [("server", server, up()), ("client", client, down())] {
                scope.spawn(move || {
                    let got = peer.receive_counted(pattern, 0, endless, moved);
                    expect_reset(who, &got, endless);
                });
            }
        }
        assert!(
            eventually(BOUND, || moved.load(Ordering::Relaxed) > 32 * MB),
            "no traffic to cut"
        );
        rig.daemon.signal(libc::SIGKILL).unwrap();
        rig.daemon.process().wait_exit(BOUND).unwrap();
    });
}

/// The same while the receivers stall, so that bytes are queued in the daemon's hands, and only one direction runs, so
/// that the receivers' sockets have nothing unread that would force a reset by itself.
fn kill_while_stalled(layout: Layout, path: Path) {
    let mut rig = Rig::new(layout, path);
    let (client, server) = rig.flow();
    let taken = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| client.send_counted(up(), 0, u64::MAX, Segments::Fixed(64 << 10), &taken));
        underpass_tests::peer::settle(&taken, std::time::Duration::from_millis(300), BOUND);
        rig.daemon.signal(libc::SIGKILL).unwrap();
        rig.daemon.process().wait_exit(BOUND).unwrap();
        let got = server.receive(up());
        expect_reset("the stalled receiver", &got, u64::MAX);
    });
}

/// SIGTERM cuts what is under way, and does not make it look finished either.
fn term_mid_transfer(layout: Layout, path: Path) {
    let mut rig = Rig::new(layout, path);
    let (client, server) = rig.flow();
    let moved = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| client.send(up(), u64::MAX, Segments::Random(64 << 10)));
        let moved = &moved;
        let server = &server;
        scope.spawn(move || {
            let got = server.receive_counted(up(), 0, u64::MAX, moved);
            expect_reset("the server", &got, u64::MAX);
        });
        assert!(
            eventually(BOUND, || moved.load(Ordering::Relaxed) > 8 * MB),
            "no traffic to cut"
        );
        rig.daemon.signal(libc::SIGTERM).unwrap();
        let status = rig.daemon.process().wait_exit(BOUND).unwrap();
        assert!(rig.is_haproxy() || status.success(), "{status}");
    });
}

/// SIGUSR1: nothing new is accepted, what runs is finished, then the daemon goes.
fn usr1_finishes_flows(layout: Layout, path: Path) {
    let mut rig = Rig::new(layout, path);
    let (client, server, before) = rig.warm_flow(up(), down());
    rig.daemon.signal(libc::SIGUSR1).unwrap();
    let deaf = || !rig.daemon.listens_on(PROXY_PORT);
    assert!(eventually(BOUND, deaf), "the daemon still listens");
    for round in 0..10 {
        let at = before + round * 10_000;
        client.send_all(up(), at, 10_000);
        server.receive_exact(up(), at, 10_000);
        server.send_all(down(), before + round * 20_000, 20_000);
        client.receive_exact(down(), before + round * 20_000, 20_000);
    }
    client.finish();
    server.expect_eof();
    server.finish();
    client.expect_eof();
    let record = rig.record();
    rig.check(&record, before + 100_000, before + 200_000, "--");
    rig.check_path(&record, [1, 1]);
    let status = rig.daemon.process().wait_exit(BOUND).unwrap();
    assert!(status.success(), "{status}");
}

on_each_path!(Hosts as hosts:
    bare_fin_from_client,
    bare_fin_from_server,
    bare_fin_after_data,
    data_and_fin_at_once,
    fin_races_the_insertion,
    early_data_races_the_insertion,
    half_close_from_client,
    half_close_from_server,
    fin_behind_a_full_queue,
    reset_from_client,
    reset_from_server,
    reset_from_client_behind_a_stall,
    reset_from_server_behind_a_stall,
    reset_when_idle,
    kill_mid_transfer,
    kill_while_stalled,
    term_mid_transfer,
    usr1_finishes_flows,
);

on_each_path!(Loopback as loopback:
    bare_fin_after_data,
    data_and_fin_at_once,
    fin_races_the_insertion,
    early_data_races_the_insertion,
    half_close_from_client,
    half_close_from_server,
    fin_behind_a_full_queue,
    reset_from_client,
    reset_from_server,
    reset_from_client_behind_a_stall,
    reset_from_server_behind_a_stall,
    kill_mid_transfer,
    kill_while_stalled,
);
