//! Streams that wait for a server: in order, each served once, none lost when others leave.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::thread;

use underpass_tests::daemon::{Daemon, Launch};
use underpass_tests::netns::{Layout, Topology};
use underpass_tests::pattern::Pattern;
use underpass_tests::peer::{Buffers, Peer};
use underpass_tests::rig::{Path, Rig, listen};

/// One worker: clients are in the queue in the order in which they connected.
const ONE_WORKER: &str = "nbthread 1";

/// A client says who it is as soon as it is connected.
fn hello(rig: &Rig, number: u8) -> Peer {
    let client = rig.connect();
    client.write(&[number]);
    client
}

/// The daemon's next connection, and the client that it is for.
fn served(listener: &TcpListener) -> (Peer, u8) {
    let (stream, _) = listener.accept().expect("a connection from the daemon");
    let server = Peer::from(stream);
    let number = server.read(1).expect("the client's number")[0];
    (server, number)
}

/// Ends a stream as both sides do that have said everything.
fn finish(client: &Peer, server: &Peer) {
    client.finish();
    server.expect_eof();
    server.finish();
    client.expect_eof();
}

#[test]
fn first_come_first_served() {
    let rig = Rig::with(Layout::Hosts, Path::Buffer, |config| {
        config.global(ONE_WORKER);
        config.server_with("maxconn 3");
    });
    let mut clients: Vec<Peer> = Vec::new();
    let mut living = std::collections::VecDeque::new();
    // Those for whom there is room, one by one: at the same time they would be connected in any order.
    for number in 0..3 {
        clients.push(hello(&rig, number));
        let (server, who) = served(&rig.listener);
        assert_eq!(who, number);
        living.push_back((server, who));
    }
    clients.extend((3..30).map(|number| hello(&rig, number)));
    rig.daemon.wait_live(30).expect("all are there");
    for number in 3..30 {
        // Nobody was connected for whom there was no place.
        let (server, who): (Peer, u8) = living.pop_front().unwrap();
        finish(&clients[usize::from(who)], &server);
        let (server, who) = served(&rig.listener);
        assert_eq!(who, number, "who waited longest is next");
        living.push_back((server, who));
    }
    for (server, who) in living {
        finish(&clients[usize::from(who)], &server);
    }
    let records = rig.records(30);
    for record in &records {
        rig.check(record, 1, 0, "--");
        // Connections of the server, itself included.
        let counts: Vec<u64> = word(&record.line, 6)
            .split('/')
            .map(|count| count.parse().unwrap())
            .collect();
        assert!(counts[3] <= 3, "{}", record.line);
    }
    // The fourth found nobody before it in the queue, the last one 26 streams.
    let queues: BTreeSet<u64> = records
        .iter()
        .map(|record| {
            let (_, backend) = word(&record.line, 7).split_once('/').unwrap();
            backend.parse().unwrap()
        })
        .collect();
    assert!(queues.iter().max() <= Some(&27), "{queues:?}");
    assert!(queues.len() > 20, "{queues:?}");
    rig.stop();
}

/// A word of a log line, from the date on: 0.
fn word(line: &str, at: usize) -> &str {
    line.split_whitespace().nth(1 + at).unwrap()
}

/// Of sixty that wait, every third resets and every fifth ends and goes on waiting: whoever stays is served, once.
#[test]
fn who_leaves_takes_nobody_along() {
    let rig = Rig::with(Layout::Hosts, Path::Buffer, |config| {
        config.server_with("maxconn 2");
        config.defaults("timeout queue 60s");
    });
    let first: Vec<_> = (200..202)
        .map(|number| {
            let client = hello(&rig, number);
            let (server, who) = served(&rig.listener);
            assert_eq!(who, number);
            (client, server)
        })
        .collect();
    let mut waiting: Vec<Option<Peer>> = (0..60).map(|number| Some(hello(&rig, number))).collect();
    rig.daemon.wait_live(62).expect("all are in the queue");
    let mut left = BTreeSet::new();
    for number in (0..60).step_by(3) {
        waiting[number].take().unwrap().abort();
        left.insert(number);
    }
    let _ = rig.records(left.len());
    for number in (0..60).step_by(5).filter(|number| number % 3 != 0) {
        waiting[number].as_ref().unwrap().finish();
    }
    for (client, server) in &first {
        finish(client, server);
    }
    let mut seen = BTreeSet::new();
    for _ in 0..60 - left.len() {
        let (server, who) = served(&rig.listener);
        assert!(seen.insert(usize::from(who)), "{who} was served twice");
        finish(waiting[usize::from(who)].as_ref().unwrap(), &server);
    }
    assert!(seen.is_disjoint(&left));
    let records = rig.records(62);
    let ends = |letters: &str| {
        records
            .iter()
            .filter(|record| record.end == letters)
            .count()
    };
    assert_eq!((ends("CQ"), ends("--"), records.len()), (20, 42, 62));
    rig.stop();
}

/// Two servers, whose names their listeners tell.
struct Two {
    daemon: Daemon,
    listeners: [TcpListener; 2],
    proxy: SocketAddr,
    net: Topology,
}

impl Two {
    /// A backend with these lines, in which `@0` and `@1` stand for the servers' addresses.
    fn new(lines: &str) -> Self {
        let net = Topology::new(Layout::Loopback).unwrap();
        let host = net.server_addr.ipv4();
        let addresses = [9001, 9002].map(|port| SocketAddr::new(host, port));
        let listeners =
            addresses.map(|at| net.server.run(|| listen(at, Buffers::default())).unwrap());
        let proxy = SocketAddr::new(net.proxy_addr.ipv4(), 8000);
        let mut backend = lines.to_owned();
        for (at, address) in addresses.iter().enumerate() {
            backend = backend.replace(&format!("@{at}"), &address.to_string());
        }
        let text = format!(
            "global\n log stdout format raw local0\n nbthread 1\n maxconn 100\n\
             defaults\n mode tcp\n log global\n option tcplog\n timeout connect 5s\n \
             timeout client 30s\n timeout server 30s\n\
             frontend fe\n bind {proxy}\n maxconn 40\n default_backend be\n\
             backend be\n{backend}\n"
        );
        let daemon = Launch::new(text).unwrap().start(&net.proxy).unwrap();
        Self {
            daemon,
            listeners,
            proxy,
            net,
        }
    }

    fn connect(&self, number: u8) -> Peer {
        let connect = || Peer::connect(self.proxy, Buffers::default());
        let client = self.net.client.run(connect).unwrap();
        client.write(&[number]);
        client
    }

    /// Connects, and is served by this server.
    fn flow(&self, number: u8, server: usize) -> (Peer, Peer) {
        let client = self.connect(number);
        let (server, who) = served(&self.listeners[server]);
        assert_eq!(who, number);
        (client, server)
    }
}

/// A place that is freed at either server goes to whoever has waited longest.
#[test]
fn one_queue_before_two_servers() {
    let two = Two::new(" server a @0 maxconn 1\n server b @1 maxconn 1");
    let a = two.flow(0, 0);
    let b = two.flow(1, 1);
    let waiting = [2, 3].map(|number| two.connect(number));
    two.daemon.wait_live(4).unwrap();
    finish(&b.0, &b.1);
    let (server, who) = served(&two.listeners[1]);
    assert_eq!(who, 2);
    finish(&a.0, &a.1);
    let (other, who) = served(&two.listeners[0]);
    assert_eq!(who, 3);
    finish(&waiting[0], &server);
    finish(&waiting[1], &other);
}

/// Backups are not for those who could wait.
#[test]
fn a_full_server_is_waited_for() {
    let two = Two::new(" server a @0 maxconn 1\n server b @1 backup");
    let a = two.flow(0, 0);
    let waiting = two.connect(1);
    two.daemon.wait_live(2).unwrap();
    finish(&a.0, &a.1);
    let (server, who) = served(&two.listeners[0]);
    assert_eq!(who, 1);
    finish(&waiting, &server);
    let records = two.daemon.wait_records(2).unwrap();
    assert!(records.iter().all(|record| record.server == "a"));
}

/// With `minconn` and `fullconn` a server takes more the more streams there are.
#[test]
fn limits_grow_with_the_load() {
    let two = Two::new(" fullconn 8\n server a @0 minconn 1 maxconn 4");
    let mut clients: Vec<Peer> = Vec::new();
    let mut servers = Vec::new();
    // Streams that live: those that are served of them.
    let table = [
        (1, 1),
        (2, 1),
        (3, 1),
        (4, 2),
        (5, 2),
        (6, 3),
        (7, 3),
        (8, 4),
        (9, 4),
    ];
    for (living, expected) in table {
        clients.push(two.connect(living));
        two.daemon.wait_live(usize::from(living)).unwrap();
        while servers.len() < expected {
            servers.push(served(&two.listeners[0]));
        }
    }
    let order: Vec<u8> = servers.iter().map(|(_, who)| *who).collect();
    assert_eq!(order, [1, 2, 3, 4]);
    drop(clients);
}

/// The frontend's limit leaves clients in the backlog: none is refused, and all are served in the end.
#[test]
fn a_full_frontend_stops_accepting() {
    let rig = Rig::with(Layout::Loopback, Path::Buffer, |config| {
        config.global(ONE_WORKER);
        config.frontend("maxconn 2");
    });
    let clients: Vec<Peer> = (0..8).map(|number| hello(&rig, number)).collect();
    for pair in 0..4 {
        let two = [served(&rig.listener), served(&rig.listener)];
        let records = rig.daemon.records().len();
        assert_eq!(records, 2 * pair, "only those two live");
        for (server, who) in two {
            finish(&clients[usize::from(who)], &server);
        }
        let _ = rig.records(2 * pair + 2);
    }
    rig.stop();
}

/// `rate-limit sessions`: as many as it says in any second, and the others later.
#[test]
fn sessions_come_no_faster_than_the_limit() {
    const LIMIT: usize = 20;
    let rig = Rig::with(Layout::Loopback, Path::Buffer, |config| {
        config.frontend(format!("rate-limit sessions {LIMIT}"));
    });
    let clients: Vec<Peer> = (0..50).map(|number| hello(&rig, number)).collect();
    for _ in 0..50 {
        let (server, who) = served(&rig.listener);
        finish(&clients[usize::from(who)], &server);
    }
    let records = rig.records(50);
    let mut begun: Vec<u64> = records.iter().map(|record| millis(&record.line)).collect();
    begun.sort_unstable();
    // The window slides over two seconds' counts, so that at a second's border a little more fits.
    for window in begun.windows(2 * LIMIT) {
        let span = window[2 * LIMIT - 1].wrapping_sub(window[0]);
        assert!(span >= 950, "{} sessions in {span} ms", 2 * LIMIT);
    }
    rig.stop();
}

/// The time of day at which a stream was accepted, milliseconds.
fn millis(line: &str) -> u64 {
    let date = line.split_whitespace().nth(1).unwrap();
    let time = date.trim_matches(['[', ']']).split_once(':').unwrap().1;
    let parts: Vec<u64> = time
        .split([':', '.'])
        .map(|part| part.parse().unwrap())
        .collect();
    ((parts[0] * 60 + parts[1]) * 60 + parts[2]) * 1000 + parts[3]
}

/// Many clients at once, over both workers, against few places: everything arrives.
#[test]
fn a_crowd_before_few_places() {
    let rig = Rig::with(Layout::Loopback, Path::Redirect, |config| {
        config.server_with("maxconn 4");
        config.defaults("timeout queue 60s");
    });
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            for _ in 0..400 {
                let server = rig.accept();
                let got = server.receive(Pattern::new(7));
                assert_eq!(got.bytes, 2000, "{got}");
                server.send_all(Pattern::new(8), 0, 2000);
                server.finish();
            }
        });
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let client = rig.connect();
                    client.send_all(Pattern::new(7), 0, 2000);
                    client.finish();
                    let got = client.receive(Pattern::new(8));
                    assert_eq!(got.bytes, 2000, "{got}");
                }
            });
        }
        server.join().unwrap();
    });
    let records = rig.records(400);
    assert!(records.iter().all(|record| record.end == "--"));
    rig.stop();
}
