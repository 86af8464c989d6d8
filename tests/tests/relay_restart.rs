//! Relayed flows outlive the daemon: its death, its end, its successor, its next version.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path as FilePath;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use underpass_tests::daemon::{BOUND, Daemon, Launch, binary};
use underpass_tests::netns::{Layout, Topology};
use underpass_tests::pattern::Pattern;
use underpass_tests::peer::{Buffers, End, Peer};
use underpass_tests::pins::PinDirectory;
use underpass_tests::process::{Output, eventually};
use underpass_tests::record::Record;
use underpass_tests::rig::{Config, PROXY_PORT, Path, SERVER_PORT};

const ROUND: u64 = 3000;

/// Hosts, a server that listens, and what daemons are started with. Fields drop in order.
struct Site {
    listener: TcpListener,
    proxy: SocketAddr,
    config: String,
    pins: PinDirectory,
    net: Topology,
}

/// A flow whose ends check what they get.
struct Flow {
    client: Peer,
    server: Peer,
    up: Pattern,
    down: Pattern,
    carried: u64,
}

impl Site {
    fn new(layout: Layout, change: impl FnOnce(&mut Config)) -> Self {
        let net = Topology::new(layout).expect("hosts");
        let proxy = SocketAddr::new(net.proxy_addr.ipv4(), PROXY_PORT);
        let server = SocketAddr::new(net.server_addr.ipv4(), SERVER_PORT);
        let listener = net.server.run(|| TcpListener::bind(server).expect("bind"));
        let pins = PinDirectory::new();
        let mut config = Config::new(Path::Relay, &proxy, &server);
        config.global(format!("offload-pins {}", pins.path().display()));
        config.global("tune.offload.flows 64");
        change(&mut config);
        Self {
            listener,
            proxy,
            config: config.text(false),
            pins,
            net,
        }
    }

    fn start(&self) -> Daemon {
        self.launch(Launch::new(self.config.clone()).expect("the binary"))
    }

    fn launch(&self, launch: Launch) -> Daemon {
        launch.start(&self.net.proxy).expect("a running daemon")
    }

    fn connect(&self) -> Flow {
        static SEED: AtomicU64 = AtomicU64::new(4000);
        let client = self
            .net
            .client
            .run(|| Peer::connect(self.proxy, Buffers::default()))
            .expect("connect");
        let (stream, _) = self.listener.accept().expect("accept");
        stream.set_nodelay(true).expect("no delay");
        let seed = SEED.fetch_add(2, Ordering::Relaxed);
        Flow {
            client,
            server: stream.into(),
            up: Pattern::new(seed),
            down: Pattern::new(seed + 1),
            carried: 0,
        }
    }

    /// A flow whose sockets sleep, besides `others` of them.
    fn settled(&self, others: usize) -> Flow {
        let mut flow = self.connect();
        let settled = eventually(BOUND, || {
            flow.round();
            self.pins.settled().expect("the pinned records") > others
        });
        assert!(settled, "the relay does not take the flow");
        flow
    }
}

impl Flow {
    /// Some bytes there, some back.
    fn round(&mut self) {
        let at = self.carried;
        self.client.send_all(self.up, at, ROUND);
        self.server.receive_exact(self.up, at, ROUND);
        self.server.send_all(self.down, at, ROUND);
        self.client.receive_exact(self.down, at, ROUND);
        self.carried += ROUND;
    }

    /// Ends both directions in order; the bytes that each has carried, and the client's address as
    /// it is logged.
    fn end(self) -> (u64, String) {
        let address = self.client.socket().local_addr().expect("an address");
        self.client.finish();
        self.server.expect_eof();
        self.server.finish();
        self.client.expect_eof();
        let address = address.as_socket().expect("an IP address");
        (self.carried, address.to_string())
    }
}

/// Ends flows that a daemon has taken over; it logs each with all its bytes.
fn finish(flows: Vec<Flow>, daemon: &Daemon) {
    let count = flows.len();
    let ended: Vec<_> = flows.into_iter().map(Flow::end).collect();
    let is_logged =
        |(_, client): &(u64, String)| daemon.records().iter().any(|r| r.client == *client);
    let all = eventually(BOUND, || ended.iter().all(is_logged));
    let records = daemon.records();
    assert!(
        all,
        "{count} flows ended, of {ended:?} were logged: {records:?}"
    );
    for (carried, client) in ended {
        let is_its = |record: &&Record| record.client == client;
        let record = records.iter().find(is_its).expect("its line");
        assert_eq!(
            (record.up, record.down, record.end.as_str()),
            (Some(carried), carried, "--"),
            "{}",
            record.line
        );
        assert_eq!(record.why, "adopted", "{}", record.line);
        assert_eq!(record.path, ["relay", "relay"], "{}", record.line);
        let names = (&*record.frontend, &*record.backend, &*record.server);
        assert_eq!(names, ("fe", "be", "srv"), "{}", record.line);
    }
}

fn logs(daemon: &Daemon, words: &str) -> bool {
    let says = |output| daemon.lines(output).iter().any(|line| line.contains(words));
    says(Output::Stdout) || says(Output::Stderr)
}

fn kill(mut daemon: Daemon) {
    daemon.signal(libc::SIGKILL).expect("kill");
    daemon.process().wait_exit(BOUND).expect("its death");
}

/// A transfer that a killed daemon may reset, and may not cut short in silence.
fn attempt(site: &Site, mark: &AtomicU64) {
    const BYTES: u64 = 400_000;
    let flow = site.connect();
    mark.fetch_add(1, Ordering::SeqCst);
    thread::scope(|scope| {
        scope.spawn(|| {
            // A reset is an answer too.
            let sent =
                flow.client
                    .send(flow.up, BYTES, underpass_tests::peer::Segments::Fixed(5000));
            if sent.error.is_none() {
                let _ = flow.client.socket().shutdown(std::net::Shutdown::Write);
            }
        });
        let got = flow.server.receive(flow.up);
        let whole = got.bytes == BYTES && got.end == End::Eof;
        assert!(whole || got.end == End::Reset, "cut short: {got}");
    });
}

fn killed_under_load(layout: Layout) {
    const KILLS: u64 = 20;
    let site = Site::new(layout, |_| {});
    let mut daemon = site.start();
    let mut flows: Vec<_> = (0..4).map(|others| site.settled(others)).collect();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for flow in &mut flows {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    flow.round();
                }
            });
        }
        for _ in 0..KILLS {
            let begun = AtomicU64::new(0);
            thread::scope(|inner| {
                let attempt = inner.spawn(|| attempt(&site, &begun));
                assert!(eventually(BOUND, || begun.load(Ordering::SeqCst) == 1));
                daemon.signal(libc::SIGKILL).expect("kill");
                daemon.process().wait_exit(BOUND).expect("its death");
                daemon = site.start();
                attempt.join().expect("an attempt");
            });
        }
        stop.store(true, Ordering::SeqCst);
    });
    finish(flows, &daemon);
    assert!(daemon.stop().expect("its end").success());
}

#[test]
fn a_killed_daemon_loses_nothing_that_is_relayed_between_hosts() {
    killed_under_load(Layout::Hosts);
}

#[test]
fn a_killed_daemon_loses_nothing_that_is_relayed_on_one_host() {
    killed_under_load(Layout::Loopback);
}

#[test]
fn a_daemon_that_stops_leaves_its_relayed_flows_to_the_next_version() {
    let site = Site::new(Layout::Hosts, |_| {});
    let mut daemon = site.start();
    let mut flows = vec![site.settled(0), site.settled(1)];
    daemon.signal(libc::SIGTERM).expect("stop");
    assert!(
        daemon
            .process()
            .wait_exit(BOUND)
            .expect("its end")
            .success()
    );
    assert!(logs(&daemon, "2 relayed flows go on in the kernel"));
    assert!(daemon.records().is_empty(), "{:?}", daemon.records());
    flows.iter_mut().for_each(Flow::round);

    let directory = tempfile::tempdir().expect("a directory");
    let copy = directory.path().join("underpass-next");
    fs::copy(binary().expect("the binary"), &copy).expect("a copy");
    let next = site.launch(Launch::program(&copy, site.config.clone()));
    assert!(eventually(BOUND, || logs(
        &next,
        "2 relayed flows were taken over"
    )));
    flows.iter_mut().for_each(Flow::round);
    flows.push(site.settled(2));
    flows.iter_mut().for_each(Flow::round);
    let own = flows.pop().expect("the last flow");
    finish(flows, &next);
    let (carried, client) = own.end();
    assert!(eventually(BOUND, || next.records().len() == 3));
    let records = next.records();
    let own = records
        .iter()
        .find(|r| r.client == client)
        .expect("its line");
    assert_eq!((own.up, own.down), (Some(carried), carried), "{}", own.line);
    assert_eq!(own.why, "-", "{}", own.line);
    assert!(next.stop().expect("its end").success());
    let home = site.pins.path().join("v1");
    assert!(
        !home.exists(),
        "nothing is relayed, and something is pinned"
    );
}

#[test]
fn a_successor_gets_relayed_flows_at_once() {
    let site = Site::new(Layout::Hosts, |_| {});
    let mut old = site.start();
    let mut flows: Vec<_> = (0..3).map(|others| site.settled(others)).collect();
    let stop = AtomicBool::new(false);
    let next = thread::scope(|scope| {
        for flow in &mut flows {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    flow.round();
                }
            });
        }
        let launch = Launch::new(site.config.clone()).expect("the binary");
        let launch = launch.arg("-sf").arg(old.pid().to_string());
        let next = site.launch(launch);
        assert!(old.process().wait_exit(BOUND).expect("its end").success());
        assert!(eventually(BOUND, || logs(
            &next,
            "3 relayed flows were taken over"
        )));
        stop.store(true, Ordering::SeqCst);
        next
    });
    assert!(old.records().is_empty(), "{:?}", old.records());
    assert!(logs(&old, "3 relayed flows go on in the kernel"));
    // It relays its own as well.
    let mut own = site.settled(3);
    own.round();
    finish(flows, &next);
}

#[test]
fn what_was_taken_over_is_still_reset_when_it_is_idle() {
    let site = Site::new(Layout::Hosts, |config| {
        config.defaults("timeout tunnel 2s");
    });
    let daemon = site.start();
    let flow = site.settled(0);
    kill(daemon);
    let next = site.start();
    for peer in [&flow.client, &flow.server] {
        let (bytes, end) = peer.read_to_end();
        assert!(bytes.is_empty() && end == End::Reset, "{end:?}");
    }
    let record = next.wait_records(1).expect("its line").remove(0);
    assert_eq!(
        (&*record.end, &*record.why),
        ("cD", "adopted"),
        "{}",
        record.line
    );
    assert_eq!((record.up, record.down), (Some(flow.carried), flow.carried));
}

#[test]
fn a_reset_of_what_was_taken_over_is_passed_on_and_logged() {
    let site = Site::new(Layout::Hosts, |_| {});
    let daemon = site.start();
    let flow = site.settled(0);
    kill(daemon);
    let next = site.start();
    flow.client.abort();
    let (_, end) = flow.server.read_to_end();
    assert_eq!(end, End::Reset);
    let record = next.wait_records(1).expect("its line").remove(0);
    assert_eq!(
        (&*record.end, &*record.why),
        ("CD", "adopted"),
        "{}",
        record.line
    );
}

#[test]
fn another_version_is_left_alone_and_reported() {
    let site = Site::new(Layout::Hosts, |_| {});
    let stranger = site.pins.path().join("v999");
    fs::create_dir_all(&stranger).expect("a directory");
    let daemon = site.start();
    daemon
        .wait_diagnostic(0, &["another version", "v999"])
        .expect("a line about it");
    let mut flow = site.settled(0);
    flow.round();
    flow.end();
    assert!(daemon.stop().expect("its end").success());
    assert!(stranger.exists());
}

#[test]
fn clean_removes_everything_that_no_daemon_uses() {
    let site = Site::new(Layout::Hosts, |_| {});
    let daemon = site.start();
    let flow = site.settled(0);
    let refused = clean(site.pins.path());
    assert!(!refused.status.success());
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(told.contains("a running daemon has"), "{told}");
    kill(daemon);
    let done = clean(site.pins.path());
    let told = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success());
    for name in ["RELAY_FLOWS", "RELAY_KEYS", "-in", "-out"] {
        assert!(told.contains(name), "{told}");
    }
    assert!(!site.pins.path().exists());
    // Nobody knows the connection any more: its ends are told at their next packet.
    flow.client.write(b"x");
    let (_, end) = flow.client.read_to_end();
    assert_eq!(end, End::Reset);
}

fn clean(directory: &FilePath) -> std::process::Output {
    Command::new(binary().expect("the binary"))
        .arg("--clean")
        .arg(directory)
        .output()
        .expect("run the binary")
}
