//! Thousands of flows that come and go: each is counted, and none leaves anything behind.

use std::thread;

use underpass_tests::daemon::BOUND;
use underpass_tests::netns::Layout;
use underpass_tests::on_each_path;
use underpass_tests::pattern::Pattern;
use underpass_tests::peer::{Buffers, End, Peer};
use underpass_tests::process::eventually;
use underpass_tests::rig::{Path, Rig};

/// What one short flow asks and is answered.
const ASK: u64 = 700;
const ANSWER: u64 = 1900;

/// Opens `count` flows at once, has each ask and answer once, and closes all at once: half of them by the client first,
/// half by the server.
fn burst(rig: &Rig, count: usize) {
    let (ask, answer) = (Pattern::new(800), Pattern::new(801));
    thread::scope(|scope| {
        let servers = scope.spawn(|| {
            let servers: Vec<Peer> = (0..count).map(|_| rig.accept()).collect();
            for server in &servers {
                server.receive_exact(ask, 0, ASK);
            }
            for (n, server) in servers.iter().enumerate() {
                server.send_all(answer, 0, ANSWER);
                if n % 2 == 0 {
                    server.finish();
                }
            }
            for server in &servers {
                server.expect_eof();
            }
        });
        let clients = rig.connect_many(count, Buffers::default());
        for client in &clients {
            client.send_all(ask, 0, ASK);
        }
        for client in &clients {
            client.receive_exact(answer, 0, ANSWER);
            client.finish();
        }
        for client in &clients {
            // The other half ends when its server closes, below.
            let _ = client.unread();
        }
        servers.join().unwrap();
        for client in &clients {
            client.expect_eof();
        }
    });
}

/// Three bursts of a thousand.
fn thousands_at_once(layout: Layout, path: Path) {
    const BURST: usize = 1000;
    let rig = Rig::new(layout, path);
    for round in 1..=3 {
        burst(&rig, BURST);
        let records = rig.records(round * BURST);
        assert_eq!(records.len(), round * BURST);
        for record in &records[(round - 1) * BURST..] {
            rig.check(record, ASK, ANSWER, "--");
        }
    }
    if path == Path::Redirect && !rig.is_haproxy() {
        let moved = rig
            .records(3 * BURST)
            .iter()
            .filter(|record| record.kernel[1] > 0)
            .count();
        assert!(moved > 0, "no flow was in the kernel");
    }
    rig.stop();
}

/// What the daemon has open after hundreds of flows is what it had after as many before them: sockets, pipes, files.
fn nothing_stays_open(layout: Layout, path: Path) {
    let rig = Rig::new(layout, path);
    let count = |kind: &str| {
        let open = rig.daemon.descriptors().unwrap();
        open.iter().filter(|to| to.starts_with(kind)).count()
    };
    // Listeners and what the runtime needs for itself, some of which it opens late.
    let few = count("socket:") + 8;
    burst(&rig, 100);
    drop(rig.records(100));
    assert!(
        eventually(BOUND, || count("socket:") <= few),
        "{:?}",
        rig.daemon.descriptors()
    );
    let idle = count("socket:");
    // A pool of pipes may remain, once.
    let (pipes, all) = (count("pipe:"), count(""));
    for round in 1..=4 {
        burst(&rig, 100);
        drop(rig.records(100 * (round + 1)));
    }
    let settled = || count("socket:") <= idle && count("pipe:") <= pipes && count("") <= all;
    assert!(
        eventually(BOUND, settled),
        "{pipes} pipes and {all} in all before: {:?}",
        rig.daemon.descriptors()
    );
    rig.stop();
}

/// Flows that end by resets, at random moments and from either end, beside flows that end well.
fn resets_among_good_flows(layout: Layout, path: Path) {
    const FLOWS: u64 = 120;
    let rig = Rig::new(layout, path);
    let pattern = Pattern::new(802);
    let few = rig.daemon.descriptors().unwrap().len() + 8;
    let flows: Vec<_> = (0..FLOWS).map(|_| rig.flow()).collect();
    thread::scope(|scope| {
        for (n, (client, server)) in (0..FLOWS).zip(flows) {
            scope.spawn(move || {
                let bytes = 1000 + n * 20_011;
                thread::scope(|scope| {
                    let sender = scope.spawn(move || {
                        client.send_all(pattern, 0, bytes);
                        match n % 3 {
                            0 => client.abort(),
                            _ => client.finish(),
                        }
                    });
                    let most = if n % 3 == 1 { bytes / 2 } else { u64::MAX };
                    let got = server.receive_counted(pattern, 0, most, &0.into());
                    match n % 3 {
                        0 => assert!(got.end == End::Reset || got.bytes == bytes, "{n}: {got}"),
                        1 => server.abort(),
                        _ => assert!(got.bytes == bytes && got.end == End::Eof, "{n}: {got}"),
                    }
                    // A sender whose receiver resets fails.
                    let sent = sender.join();
                    assert!(sent.is_ok() || n % 3 == 1);
                });
            });
        }
    });
    let records = rig.records(usize::try_from(FLOWS).unwrap());
    assert_eq!(records.len(), 120);
    // More than a leak of one descriptor per flow would be noticed; pools are allowed.
    let settled = || {
        let open = rig.daemon.descriptors().unwrap();
        open.iter().filter(|to| to.starts_with("socket:")).count() <= few
    };
    assert!(eventually(BOUND, settled), "{:?}", rig.daemon.descriptors());
    rig.stop();
}

on_each_path!(Hosts as hosts: thousands_at_once, nothing_stays_open, resets_among_good_flows);

on_each_path!(Loopback as loopback: thousands_at_once, nothing_stays_open);
