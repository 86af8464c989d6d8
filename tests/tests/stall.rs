//! Receivers that stop reading: what the daemon takes from the sender meanwhile is bounded, and none of it is lost.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use underpass_tests::daemon::BOUND;
use underpass_tests::netns::{Layout, Topology};
use underpass_tests::on_each_path;
use underpass_tests::pattern::{Dice, Pattern};
use underpass_tests::peer::{Buffers, End, HangUp, Peer, Segments, settle};
use underpass_tests::process::eventually;
use underpass_tests::rig::{Path, Rig};

const MB: u64 = 1 << 20;
/// The default of `tune.offload.cap`.
const CAP: u64 = 4 * MB;
/// What the sockets on the way may hold besides.
const SOCKETS: u64 = 16 * MB;
/// How long a sender must have stood still to count as stopped.
const STILL: Duration = Duration::from_millis(700);
/// How long a receiver stalls at most before the test goes on.
const STALL: Duration = Duration::from_secs(5);

/// Hosts whose sockets grow no larger than the bound of these tests assumes.
///
/// A kernel since 6.16 lets a single receive queue grow to 32 MB. On every path that queue is where a stalled flow waits
/// in the end, and its size is the administrator's.
fn hosts(layout: Layout) -> Topology {
    let net = Topology::new(layout).unwrap();
    for host in [&net.client, &net.proxy, &net.server] {
        host.sysctl("net/ipv4/tcp_rmem", "4096 131072 6291456")
            .unwrap();
    }
    net
}

fn rig(layout: Layout, path: Path) -> Rig {
    Rig::on(hosts(layout), path, false, Buffers::default(), |_| {})
}

/// What a stalled flow is to carry in all, once it is drained.
const ALL: u64 = 200 * MB;

/// Sends `ALL` bytes of `pattern` from `offset` on at full speed to a receiver that reads `first` of them and then
/// stalls; later it reads everything.
fn stall_then_drain(sender: &Peer, receiver: &Peer, pattern: Pattern, offset: u64, first: u64) {
    let taken = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let segments = Segments::Fixed(128 << 10);
            let sent = sender.send_counted(pattern, offset, ALL, segments, &taken);
            assert!(sent.error.is_none(), "{sent:?}");
            sender.finish();
        });
        let _hang_up = HangUp(vec![sender, receiver]);
        receiver.receive_exact(pattern, offset, first);
        let (absorbed, stopped) = settle(&taken, STILL, STALL);
        let absorbed = absorbed - first;
        assert!(
            absorbed <= CAP + SOCKETS,
            "{} MB were taken, stopped: {stopped}",
            absorbed / MB
        );
        assert!(absorbed < ALL - first, "the sender was never held back");
        let got = receiver.receive_counted(pattern, offset + first, u64::MAX, &AtomicU64::new(0));
        assert!(got.end == End::Eof && got.bytes == ALL - first, "{got}");
    });
}

fn server_stalls(layout: Layout, path: Path) {
    let (up, down) = (Pattern::new(200), Pattern::new(201));
    let rig = rig(layout, path);
    let (client, server, carried) = rig.warm_flow(up, down);
    stall_then_drain(&client, &server, up, carried, 0);
    server.finish();
    client.expect_eof();
    let record = rig.record();
    rig.check(&record, carried + ALL, carried, "--");
    rig.check_path(&record, [1, 1]);
    rig.stop();
}

fn client_stalls(layout: Layout, path: Path) {
    let (up, down) = (Pattern::new(200), Pattern::new(201));
    let rig = rig(layout, path);
    let (client, server, carried) = rig.warm_flow(up, down);
    stall_then_drain(&server, &client, down, carried, 0);
    client.finish();
    server.expect_eof();
    let record = rig.record();
    rig.check(&record, carried, carried + ALL, "--");
    rig.check_path(&record, [1, 1]);
    rig.stop();
}

/// The receiver has not read a byte yet, and the sender does not wait for the daemon to be ready: whichever path the
/// flow may get to under these conditions.
fn stalled_from_the_start(layout: Layout, path: Path) {
    let rig = rig(layout, path);
    let (client, server) = rig.flow();
    stall_then_drain(&client, &server, Pattern::new(202), 0, 0);
    server.finish();
    client.expect_eof();
    rig.check(&rig.record(), ALL, 0, "--");
    rig.stop();
}

/// The receiver stops in the middle of a fast transfer, when every window on the way has grown.
fn stall_in_full_flight(layout: Layout, path: Path) {
    let (up, down) = (Pattern::new(200), Pattern::new(201));
    let rig = rig(layout, path);
    let (client, server) = rig.flow_with(Buffers {
        send: Some(256 << 10),
        receive: None,
    });
    let window = Buffers {
        send: None,
        receive: Some(1 << 20),
    };
    window.apply(server.socket()).unwrap();
    let carried = rig.warm(&client, &server, up, down);
    stall_then_drain(&client, &server, up, carried, 64 * MB);
    server.finish();
    client.expect_eof();
    let record = rig.record();
    rig.check(&record, carried + ALL, carried, "--");
    rig.check_path(&record, [1, 1]);
    rig.stop();
}

/// Neither end reads while both send; then one drains, then the other.
///
/// Windows are not scaled here. Where they are, the kernel (seen on 6.18) can deadlock two plain sockets in this very
/// situation, without a proxy: the last segment, dropped for want of memory, is shorter than the unit of the window, so
/// that its sender goes on to acknowledge from behind it, and its receiver, whose window is shut, refuses all of that.
fn both_directions_stall(layout: Layout, path: Path) {
    let all = 64 * MB;
    let net = hosts(layout);
    for host in [&net.client, &net.proxy, &net.server] {
        host.sysctl("net/ipv4/tcp_window_scaling", "0").unwrap();
    }
    let rig = Rig::on(net, path, false, Buffers::default(), |_| {});
    let (up, down) = (Pattern::new(203), Pattern::new(204));
    let (client, server, carried) = rig.warm_flow(up, down);
    let taken = [AtomicU64::new(0), AtomicU64::new(0)];
    thread::scope(|scope| {
        for (sender, pattern, taken) in [(&client, up, &taken[0]), (&server, down, &taken[1])] {
            scope.spawn(move || {
                let sent =
                    sender.send_counted(pattern, carried, all, Segments::Random(64 << 10), taken);
                assert!(sent.error.is_none(), "{sent:?}");
                sender.finish();
            });
        }
        let _hang_up = HangUp(vec![&client, &server]);
        for taken in &taken {
            let (absorbed, _) = settle(taken, STILL, STALL);
            assert!(absorbed <= CAP + SOCKETS, "{} MB were taken", absorbed / MB);
            assert!(absorbed < all, "the sender was never held back");
        }
        let drain = |receiver: &Peer, pattern| {
            let got = receiver.receive_counted(pattern, carried, u64::MAX, &AtomicU64::new(0));
            assert!(got.end == End::Eof && got.bytes == all, "{got}");
        };
        // One direction must move while the other is still stuck.
        drain(&server, up);
        drain(&client, down);
    });
    let record = rig.record();
    rig.check(&record, carried + all, carried + all, "--");
    rig.check_path(&record, [1, 1]);
    rig.stop();
}

/// Readers that go by fits and starts under a small cap, both directions at once.
fn slow_readers_under_a_small_cap(layout: Layout, path: Path) {
    const EACH: u64 = 24 * MB;
    let rig = Rig::with(layout, path, |config| {
        config.global("tune.offload.cap 64k");
    });
    let small = Buffers {
        send: None,
        receive: Some(64 << 10),
    };
    let (client, server) = rig.flow_with(small);
    small.apply(server.socket()).unwrap();
    let (up, down) = (Pattern::new(205), Pattern::new(206));
    let read = |receiver: &Peer, pattern: Pattern, seed: u64| {
        let mut dice = Dice::new(seed);
        let mut at = 0;
        while at < EACH {
            let some = (1 + dice.below(256 << 10)).min(EACH - at);
            receiver.receive_exact(pattern, at, some);
            at += some;
            if dice.below(4) == 0 {
                // The pace of a slow reader, not a wait for something.
                thread::sleep(Duration::from_millis(2));
            }
        }
        receiver.expect_eof();
    };
    thread::scope(|scope| {
        for (sender, pattern) in [(&client, up), (&server, down)] {
            scope.spawn(move || {
                let sent = sender.send(pattern, EACH, Segments::Random(64 << 10));
                assert!(sent.error.is_none(), "{sent:?}");
                sender.finish();
            });
        }
        scope.spawn(|| read(&server, up, 1));
        scope.spawn(|| read(&client, down, 2));
    });
    let record = rig.record();
    rig.check(&record, EACH, EACH, "--");
    rig.check_path(&record, [1, 1]);
    rig.stop();
}

/// Sends `bytes` of `pattern` from `at` on, and reads them once no more are taken.
fn burst(sender: &Peer, receiver: &Peer, pattern: Pattern, at: u64, bytes: u64) {
    let taken = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let segments = Segments::Random(64 << 10);
            let sent = sender.send_counted(pattern, at, bytes, segments, &taken);
            assert!(sent.error.is_none(), "{sent:?}");
        });
        settle(&taken, Duration::from_millis(30), STALL);
        receiver.receive_exact(pattern, at, bytes);
    });
}

/// Bursts over the cap to a reader that lets each stand before it reads: every burst takes the direction out of the
/// kernel's hands, and every pause gives it back.
fn flips_under_load(layout: Layout, path: Path) {
    const BURSTS: u64 = 30;
    const BURST: u64 = MB;
    let rig = Rig::with(layout, path, |config| {
        config.global("tune.offload.cap 64k");
    });
    let (up, down) = (Pattern::new(205), Pattern::new(206));
    let small = Buffers::both(32 << 10);
    let (client, server) = rig.flow_with(small);
    small.apply(server.socket()).unwrap();
    let carried = rig.warm(&client, &server, up, down);
    let both = [(&client, &server, up), (&server, &client, down)];
    for round in 0..BURSTS {
        let at = carried + round * BURST;
        thread::scope(|scope| {
            let _hang_up = HangUp(vec![&client, &server]);
            for (sender, receiver, pattern) in both {
                scope.spawn(move || burst(sender, receiver, pattern, at, BURST));
            }
        });
    }
    client.finish();
    server.expect_eof();
    server.finish();
    client.expect_eof();
    let record = rig.record();
    let all = carried + BURSTS * BURST;
    rig.check(&record, all, all, "--");
    rig.check_path(&record, [1, 1]);
    if path == Path::Redirect && !rig.is_haproxy() {
        let enough = record.flips.iter().all(|&flips| flips >= BURSTS / 2);
        assert!(enough, "{}", record.line);
    }
    rig.stop();
}

/// Replies stall while requests go on: what one direction does must not stop the other.
fn one_direction_stalls_the_other_goes_on(layout: Layout, path: Path) {
    let rig = rig(layout, path);
    let (up, down) = (Pattern::new(207), Pattern::new(208));
    let (client, server, carried) = rig.warm_flow(up, down);
    let (taken, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut sent = 0;
    thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut at = carried;
            while !stop.load(Ordering::Relaxed) {
                at += server
                    .send_counted(down, at, 64 << 10, Segments::Fixed(64 << 10), &taken)
                    .bytes;
            }
            server.finish();
            at - carried
        });
        let _hang_up = HangUp(vec![&client, &server]);
        settle(&taken, STILL, STALL);
        for round in 0..500 {
            client.send_all(up, carried + round * 2000, 2000);
            server.receive_exact(up, carried + round * 2000, 2000);
        }
        stop.store(true, Ordering::Relaxed);
        let got = client.receive_counted(down, carried, u64::MAX, &AtomicU64::new(0));
        sent = sending.join().unwrap();
        assert!(got.end == End::Eof && got.bytes == sent, "{got}");
        client.finish();
        server.expect_eof();
    });
    let record = rig.record();
    rig.check(&record, carried + 1_000_000, carried + sent, "--");
    rig.check_path(&record, [1, 1]);
    rig.stop();
}

/// Flows that stall all at once hold no more of the machine's memory than their caps and their sockets.
fn memory_of_stalled_flows(layout: Layout, path: Path) {
    const FLOWS: u64 = 200;
    let net = Topology::new(layout).unwrap();
    for host in [&net.client, &net.proxy, &net.server] {
        // A known bound for each socket, so that the sum has one.
        host.sysctl("net/ipv4/tcp_rmem", "4096 131072 524288")
            .unwrap();
        host.sysctl("net/ipv4/tcp_wmem", "4096 16384 524288")
            .unwrap();
    }
    let rig = Rig::on(net, path, false, Buffers::default(), |config| {
        config.global("tune.offload.cap 1m");
    });
    let small = Buffers {
        send: Some(64 << 10),
        receive: None,
    };
    let flows: Vec<_> = (0..FLOWS).map(|_| rig.flow_with(small)).collect();
    let all = 16 * MB;
    let taken = AtomicU64::new(0);
    let done = AtomicU64::new(0);
    let (before, resident) = (free_memory(), rig.daemon.resident().unwrap());
    thread::scope(|scope| {
        let (taken, done) = (&taken, &done);
        for (seed, (client, _)) in (1000..).zip(&flows) {
            scope.spawn(move || {
                // What is not taken is missed at the other end.
                client.send_counted(Pattern::new(seed), 0, all, Segments::Fixed(64 << 10), taken);
                client.finish();
            });
        }
        let peers = flows.iter().flat_map(|(client, server)| [client, server]);
        let _hang_up = HangUp(peers.collect());
        let (absorbed, _) = settle(taken, STILL, STALL);
        let used = before.saturating_sub(free_memory());
        eprintln!(
            "{} MB absorbed, {} MB of memory used",
            absorbed / MB,
            used / MB
        );
        // Per flow: the cap, the daemon's two sockets, the receiver's, the sender's, and what threads need.
        let sockets = 4 * MB / 2;
        assert!(
            used <= FLOWS * (MB + sockets),
            "{FLOWS} stalled flows hold {} MB",
            used / MB
        );
        assert!(absorbed < FLOWS * all, "the senders were never held back");
        for (seed, (_, server)) in (1000..).zip(&flows) {
            scope.spawn(move || {
                let got = server.receive(Pattern::new(seed));
                assert!(got.end == End::Eof && got.bytes == all, "{got}");
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    assert_eq!(done.load(Ordering::Relaxed), FLOWS);
    drop(flows);
    for record in rig.records(usize::try_from(FLOWS).unwrap()) {
        rig.check(&record, all, 0, "--");
        rig.check_path(&record, [1, 0]);
    }
    // What the daemon itself needed for them is given back. (The machine's memory has other users by now.)
    let given_back = || rig.daemon.resident().unwrap() < resident + 64 * MB;
    assert!(
        eventually(BOUND, given_back),
        "{} MB stay",
        rig.daemon.resident().unwrap() / MB
    );
    rig.stop();
}

/// Memory that nothing uses, and caches that can be dropped, in bytes.
fn free_memory() -> u64 {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let line = meminfo
        .lines()
        .find(|line| line.starts_with("MemAvailable:"))
        .unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes << 10
}

on_each_path!(Hosts as hosts:
    server_stalls,
    client_stalls,
    stall_in_full_flight,
    both_directions_stall,
    flips_under_load,
    slow_readers_under_a_small_cap,
    stalled_from_the_start,
    one_direction_stalls_the_other_goes_on,
    memory_of_stalled_flows,
);

on_each_path!(Loopback as loopback:
    server_stalls,
    client_stalls,
    both_directions_stall,
    flips_under_load,
    slow_readers_under_a_small_cap,
    stalled_from_the_start,
);
