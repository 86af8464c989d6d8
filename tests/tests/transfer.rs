//! Every byte arrives once and in order, whatever the size, the cut and the company.

use std::thread;

use underpass_tests::netns::{Layout, Topology};
use underpass_tests::on_each_path;
use underpass_tests::pattern::Pattern;
use underpass_tests::peer::{Buffers, Exchange, Segments};
use underpass_tests::rig::{Path, Rig};

const MB: u64 = 1 << 20;

/// This exchange on a flow that the path asked for has in hand, checked to the byte in its record.
fn one(layout: Layout, path: Path, exchange: Exchange) {
    let rig = Rig::new(layout, path);
    let (client, server, carried) = rig.warm_flow(exchange.up_pattern(), exchange.down_pattern());
    exchange.from(carried).run(&client, &server);
    let record = rig.record();
    rig.check(
        &record,
        carried + exchange.up,
        carried + exchange.down,
        "--",
    );
    rig.check_path(&record, [1, 1]);
    rig.stop();
}

/// Both directions at full speed from the first moment, on whatever path the flow gets to.
fn full_speed_from_the_start(layout: Layout, path: Path) {
    let rig = Rig::new(layout, path);
    let (client, server) = rig.flow();
    let exchange = Exchange::new(9, 64 * MB, 48 * MB);
    exchange.run(&client, &server);
    rig.check(&rig.record(), exchange.up, exchange.down, "--");
    rig.stop();
}

/// One byte, and every size around the places where buffers and segments end.
fn sizes_around_boundaries(layout: Layout, path: Path) {
    let rig = Rig::new(layout, path);
    let mut sizes = vec![1, 2, 3];
    for edge in [1448, 4096, 16 << 10, 64 << 10, 128 << 10, 256 << 10] {
        sizes.extend([edge - 1, edge, edge + 1]);
    }
    for (n, &size) in sizes.iter().enumerate() {
        let (client, server) = rig.flow();
        let other = sizes[sizes.len() - 1 - n];
        let exchange = Exchange::new(size, size, other).segments(Segments::Fixed(256 << 10));
        exchange.run(&client, &server);
        drop((client, server));
        let records = rig.records(n + 1);
        rig.check(&records[n], size, other, "--");
    }
    rig.stop();
}

fn one_megabyte_up(layout: Layout, path: Path) {
    let rig = Rig::new(layout, path);
    let (client, server) = rig.flow();
    let exchange = Exchange::new(1, MB, 0);
    exchange.run(&client, &server);
    let record = rig.record();
    rig.check(&record, MB, 0, "--");
    rig.stop();
}

fn one_megabyte_down(layout: Layout, path: Path) {
    let rig = Rig::new(layout, path);
    let (client, server) = rig.flow();
    let exchange = Exchange::new(1, 0, MB);
    exchange.run(&client, &server);
    let record = rig.record();
    rig.check(&record, 0, MB, "--");
    rig.stop();
}

fn random_segments_both_ways(layout: Layout, path: Path) {
    one(layout, path, Exchange::new(2, 64 * MB, 48 * MB));
}

fn short_segments_both_ways(layout: Layout, path: Path) {
    one(
        layout,
        path,
        Exchange::new(3, 2 * MB, 2 * MB).segments(Segments::Random(200)),
    );
}

fn bulk_256_megabytes(layout: Layout, path: Path) {
    let exchange = Exchange::new(4, 256 * MB, 256 * MB).segments(Segments::Fixed(256 << 10));
    one(layout, path, exchange);
}

/// Small requests and replies in turn: the chatty case, in which nothing may wait for more bytes.
fn request_and_reply_rounds(layout: Layout, path: Path) {
    const ROUNDS: u64 = 3000;
    let rig = Rig::new(layout, path);
    let (client, server) = rig.flow();
    let (ask, answer) = (Pattern::new(5), Pattern::new(6));
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..ROUNDS {
                client.send_all(ask, round * 50, 50);
                client.receive_exact(answer, round * 300, 300);
            }
            client.finish();
        });
        for round in 0..ROUNDS {
            server.receive_exact(ask, round * 50, 50);
            server.send_all(answer, round * 300, 300);
        }
        server.expect_eof();
        server.finish();
    });
    client.expect_eof();
    let record = rig.record();
    rig.check(&record, ROUNDS * 50, ROUNDS * 300, "--");
    rig.check_path(&record, [1, 1]);
    rig.stop();
}

fn two_hundred_flows_at_once(layout: Layout, path: Path) {
    const FLOWS: usize = 200;
    const UP: u64 = 300_000;
    const DOWN: u64 = 700_000;
    let rig = Rig::new(layout, path);
    let flows: Vec<_> = (0..FLOWS).map(|_| rig.flow()).collect();
    thread::scope(|scope| {
        for (n, (client, server)) in flows.iter().enumerate() {
            scope.spawn(move || Exchange::new(n as u64, UP, DOWN).run(client, server));
        }
    });
    let records = rig.records(FLOWS);
    assert_eq!(records.len(), FLOWS);
    for record in &records {
        rig.check(record, UP, DOWN, "--");
        // On its own path, or with a reason why not.
        let own = record.path == [path.word(); 2];
        assert!(
            own || record.why != "-" || rig.is_haproxy(),
            "{}",
            record.line
        );
    }
    if path.is_kernel() {
        let moved: u64 = records
            .iter()
            .map(|record| record.kernel[0] + record.kernel[1])
            .sum();
        assert!(moved > 0, "the kernel moved only {moved} bytes");
    }
    rig.stop();
}

/// Client and server with buffers of a few segments, so that every step of the flow waits for room.
fn tiny_buffers(layout: Layout, path: Path) {
    let buffers = Buffers::both(match layout {
        Layout::Hosts => 2048,
        // A loopback segment is 64 KB, and less room than that means waiting for timers.
        Layout::Loopback => 48 << 10,
    });
    let net = Topology::new(layout).unwrap();
    let rig = Rig::on(net, path, false, buffers, |_| {});
    let (client, server) = rig.flow_with(buffers);
    let exchange = Exchange::new(7, MB, MB);
    let (up, down) = (exchange.up_pattern(), exchange.down_pattern());
    // The kernel limits its segments to half of such a window.
    let is_refused = path == Path::Relay && layout == Layout::Hosts;
    let carried = if is_refused {
        0
    } else {
        rig.warm(&client, &server, up, down)
    };
    exchange.from(carried).run(&client, &server);
    let record = rig.record();
    rig.check(&record, carried + MB, carried + MB, "--");
    if is_refused {
        rig.check_refusal(&record, "mss");
    } else {
        rig.check_path(&record, [1, 1]);
    }
    rig.stop();
}

fn ipv6(layout: Layout, path: Path) {
    let net = Topology::new(layout).unwrap();
    let rig = Rig::on(net, path, true, Buffers::default(), |_| {});
    let exchange = Exchange::new(8, 16 * MB, 16 * MB);
    let (client, server, carried) = rig.warm_flow(exchange.up_pattern(), exchange.down_pattern());
    exchange.from(carried).run(&client, &server);
    let record = rig.record();
    rig.check(&record, carried + 16 * MB, carried + 16 * MB, "--");
    rig.check_path(&record, [1, 1]);
    rig.stop();
}

on_each_path!(Hosts as hosts:
    sizes_around_boundaries,
    one_megabyte_up,
    one_megabyte_down,
    full_speed_from_the_start,
    random_segments_both_ways,
    short_segments_both_ways,
    bulk_256_megabytes,
    request_and_reply_rounds,
    two_hundred_flows_at_once,
    tiny_buffers,
    ipv6,
);

on_each_path!(Loopback as loopback:
    sizes_around_boundaries,
    full_speed_from_the_start,
    random_segments_both_ways,
    bulk_256_megabytes,
    request_and_reply_rounds,
    two_hundred_flows_at_once,
    tiny_buffers,
    ipv6,
);
