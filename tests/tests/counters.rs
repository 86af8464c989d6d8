//! What the daemon says of a flow is exact, at its end and before it, whoever moves the bytes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use underpass_tests::daemon::BOUND;
use underpass_tests::netns::Layout;
use underpass_tests::on_each_path;
use underpass_tests::pattern::Pattern;
use underpass_tests::peer::Segments;
use underpass_tests::process::eventually;
use underpass_tests::record::Record;
use underpass_tests::rig::{Path, Rig};

const MB: u64 = 1 << 20;

fn up() -> Pattern {
    Pattern::new(500)
}

fn down() -> Pattern {
    Pattern::new(501)
}

/// Asks for the live counters until they are `up` and `down`; fails with the last answer.
fn expect_live(rig: &Rig, up: u64, down: u64) -> Record {
    let mut last = None;
    let right = eventually(BOUND, || {
        let record = rig.daemon.live(1).unwrap().remove(0);
        let right = (record.up, record.down) == (Some(up), down);
        last = Some(record);
        right
    });
    let last = last.unwrap();
    assert!(right, "expected {up} up and {down} down: {}", last.line);
    last
}

/// While the flow stands still between its parts, the live counters are what has been moved.
fn live_between_parts(layout: Layout, path: Path) {
    let rig = Rig::new(layout, path);
    if rig.is_haproxy() {
        return;
    }
    let (client, server, carried) = rig.warm_flow(up(), down());
    let (mut sent, mut answered) = (carried, carried);
    for part in [1, 999, 100_000, MB, 17] {
        client.carry(&server, up(), sent, part);
        sent += part;
        server.carry(&client, down(), answered, part * 2);
        answered += part * 2;
        expect_live(&rig, sent, answered);
    }
    let live = expect_live(&rig, sent, answered);
    rig.check_path(&live, [1, 1]);
    drop(client);
    server.expect_eof();
    drop(server);
    let record = rig.record();
    rig.check(&record, sent, answered, "--");
    rig.check_path(&record, [1, 1]);
    rig.stop();
}

/// While the flow runs, the live counters run with it: never less than what has arrived, never more than what was sent.
fn live_under_load(layout: Layout, path: Path) {
    const ALL: u64 = 256 * MB;
    let rig = Rig::new(layout, path);
    if rig.is_haproxy() {
        return;
    }
    let (client, server) = rig.flow();
    let (sent, arrived) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let all = client.send_counted(up(), 0, ALL, Segments::Fixed(64 << 10), &sent);
            assert!(all.error.is_none(), "{all:?}");
        });
        scope.spawn(|| {
            let got = server.receive_counted(up(), 0, ALL, &arrived);
            assert_eq!(got.bytes, ALL, "{got}");
        });
        let mut answers = 0;
        while arrived.load(Ordering::Relaxed) < ALL {
            let least = arrived.load(Ordering::Relaxed);
            let live = rig.daemon.live(1).unwrap().remove(0).up.unwrap();
            // A write that is under way is counted when it returns.
            let most = sent.load(Ordering::Relaxed) + (64 << 10);
            // Bytes may be on the wire, and at the server, a moment before user space has counted its own write.
            let slack = if path == Path::Redirect { 0 } else { 8 * MB };
            assert!(
                live + slack >= least,
                "{live} counted, {least} arrived before"
            );
            assert!(live <= most, "{live} counted, {most} sent by then");
            answers += 1;
        }
        assert!(answers > 0);
    });
    expect_live(&rig, ALL, 0);
    client.finish();
    server.expect_eof();
    server.finish();
    client.expect_eof();
    let record = rig.record();
    rig.check(&record, ALL, 0, "--");
    if !path.is_kernel() || record.why == "-" {
        rig.check_path(&record, [1, 0]);
    }
    rig.stop();
}

/// Bytes that were delivered before a reset are counted, and nothing else.
fn exact_after_a_reset(layout: Layout, path: Path) {
    let rig = Rig::new(layout, path);
    let (client, server, carried) = rig.warm_flow(up(), down());
    client.carry(&server, up(), carried, 3 * MB + 1);
    server.carry(&client, down(), carried, 2 * MB + 1);
    server.abort();
    let record = rig.record();
    rig.check(&record, carried + 3 * MB + 1, carried + 2 * MB + 1, "SD");
    rig.check_path(&record, [1, 1]);
    rig.stop();
}

/// A flow that is promoted on its way counts what was moved before and after, once.
fn exact_across_a_promotion(layout: Layout, path: Path) {
    let rig = Rig::with(layout, path, |config| {
        config.offload(path.word(), "1m");
    });
    let (client, server) = rig.flow();
    let (mut sent, mut answered) = (0, 0);
    // Going over may take its time: as many parts more as it wants.
    let is_over = || {
        let live = rig.daemon.live(1).expect("the live flow").remove(0);
        live.kernel.iter().all(|&moved| moved > 0)
    };
    let wants_kernel = path.is_kernel() && !rig.is_haproxy();
    for part in 0.. {
        if part >= 100 && (!wants_kernel || part > 2000 || is_over()) {
            break;
        }
        let (ask, answer) = (50_000 + part % 100, 30_000 + part % 100);
        client.send_all(up(), sent, ask);
        server.receive_exact(up(), sent, ask);
        sent += ask;
        server.send_all(down(), answered, answer);
        client.receive_exact(down(), answered, answer);
        answered += answer;
    }
    client.finish();
    server.expect_eof();
    server.finish();
    client.expect_eof();
    let record = rig.record();
    rig.check(&record, sent, answered, "--");
    if wants_kernel {
        rig.check_path(&record, [1, 1]);
        assert!(
            sent - record.kernel[0] >= MB / 2,
            "promoted before its time: {}",
            record.line
        );
    }
    rig.stop();
}

on_each_path!(Hosts as hosts:
    live_between_parts,
    live_under_load,
    exact_after_a_reset,
    exact_across_a_promotion,
);

on_each_path!(Loopback as loopback: live_between_parts, live_under_load);
