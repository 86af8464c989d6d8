//! Relayed flows outlive the daemon: its death, its end, its successor, its next version.

use std::fs;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener};
use std::path::Path as FilePath;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use underpass_tests::daemon::{BOUND, Daemon, Launch, binary};
use underpass_tests::netns::{Addresses, Layout, Topology};
use underpass_tests::pattern::Pattern;
use underpass_tests::peer::{Buffers, End, Peer, Segments};
use underpass_tests::pins::PinDirectory;
use underpass_tests::process::{Output, eventually};
use underpass_tests::record::Record;
use underpass_tests::rig::{Config, PROXY_PORT, Path, SERVER_PORT, listen};

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

/// Sets a flag when it is dropped, also by a failure: threads that wait for the flag would keep a test
/// from ending.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Site {
    fn new(layout: Layout, change: impl FnOnce(&mut Config)) -> Self {
        Self::of(layout, Addresses::ipv4, change)
    }

    fn of(
        layout: Layout,
        family: impl Fn(&Addresses) -> IpAddr,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let net = Topology::new(layout).expect("hosts");
        let proxy = SocketAddr::new(family(&net.proxy_addr), PROXY_PORT);
        let server = SocketAddr::new(family(&net.server_addr), SERVER_PORT);
        let listener = net.server.run(|| listen(server, Buffers::default()));
        let listener = listener.expect("a listening server");
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
        self.connect_to(self.proxy)
    }

    fn connect_to(&self, proxy: SocketAddr) -> Flow {
        static SEED: AtomicU64 = AtomicU64::new(4000);
        let client = self
            .net
            .client
            .run(|| Peer::connect(proxy, Buffers::default()))
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

/// The peer's flow is reset, at the latest when it says something.
fn assert_reset(peer: &Peer, pattern: Pattern) {
    let _ = peer.send(pattern, 1, Segments::Fixed(1));
    let got = peer.receive(pattern);
    assert!(got.bytes == 0 && got.end == End::Reset, "{got}");
}

fn kill(mut daemon: Daemon) {
    daemon.signal(libc::SIGKILL).expect("kill");
    daemon.process().wait_exit(BOUND).expect("its death");
}

/// Bytes of an attempt.
const ATTEMPT: u64 = 400_000;

/// A transfer that a killed daemon may reset, and may not cut short in silence. `arrived`: bytes that the server
/// has by now; more than there are once it has ended.
fn attempt(site: &Site, arrived: &AtomicU64) {
    let over = Over(arrived);
    let flow = site.connect();
    thread::scope(|scope| {
        scope.spawn(|| {
            // A reset is an answer too.
            let sent = flow.client.send(flow.up, ATTEMPT, Segments::Fixed(5000));
            if sent.error.is_none() {
                let _ = flow.client.socket().shutdown(Shutdown::Write);
            }
        });
        let got = flow.server.receive_counted(flow.up, 0, u64::MAX, arrived);
        let whole = got.bytes == ATTEMPT && got.end == End::Eof;
        assert!(whole || got.end == End::Reset, "cut short: {got}");
    });
    drop(over);
}

/// Says that an attempt has ended, also by a failure.
struct Over<'a>(&'a AtomicU64);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(u64::MAX, Ordering::SeqCst);
    }
}

fn killed_under_load(layout: Layout) {
    const KILLS: u64 = 20;
    let site = Site::new(layout, |_| {});
    let mut daemon = site.start();
    let mut flows: Vec<_> = (0..4).map(|others| site.settled(others)).collect();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stop = Stop(&stop);
        for flow in &mut flows {
            let stop = stop.0;
            scope.spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    flow.round();
                }
            });
        }
        for kill in 0..KILLS {
            let arrived = AtomicU64::new(0);
            thread::scope(|inner| {
                inner.spawn(|| attempt(&site, &arrived));
                // Before, while and after it is handed over.
                let enough = kill * ATTEMPT / KILLS;
                assert!(eventually(BOUND, || arrived.load(Ordering::SeqCst) > enough));
                daemon.signal(libc::SIGKILL).expect("kill");
                daemon.process().wait_exit(BOUND).expect("its death");
                daemon = site.start();
            });
        }
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
    let home = site.pins.home().expect("the directory");
    assert_eq!(home, None, "nothing is relayed, and something is pinned");
}

#[test]
fn a_successor_gets_relayed_flows_at_once() {
    let site = Site::new(Layout::Hosts, |_| {});
    let mut old = site.start();
    let mut flows: Vec<_> = (0..3).map(|others| site.settled(others)).collect();
    let stop = AtomicBool::new(false);
    let next = thread::scope(|scope| {
        let stop = Stop(&stop);
        for flow in &mut flows {
            let stop = stop.0;
            scope.spawn(move || {
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
fn what_was_half_closed_is_taken_over_as_it_is() {
    let site = Site::of(Layout::Hosts, Addresses::ipv6, |_| {});
    let daemon = site.start();
    let mut flow = site.settled(0);
    flow.client.finish();
    flow.server.expect_eof();
    kill(daemon);
    flow.server.send_all(flow.down, flow.carried, ROUND);
    let next = site.start();
    flow.server.send_all(flow.down, flow.carried + ROUND, ROUND);
    flow.client
        .receive_exact(flow.down, flow.carried, 2 * ROUND);
    let carried = flow.carried;
    flow.carried += 2 * ROUND;
    flow.server.finish();
    flow.client.expect_eof();
    let record = next.wait_records(1).expect("its line").remove(0);
    let told = (record.up, record.down, &*record.end, &*record.why);
    assert_eq!(
        told,
        (Some(carried), flow.carried, "--", "adopted"),
        "{}",
        record.line
    );
}

#[test]
fn source_ports_of_what_was_taken_over_are_given_to_nobody() {
    let site = Site::new(Layout::Hosts, |config| {
        config.defaults("timeout connect 1s");
        config.defaults("retries 0");
    });
    // As many as there are.
    let range = "net/ipv4/ip_local_port_range";
    site.net.proxy.sysctl(range, "40000 40003").expect(range);
    let daemon = site.start();
    let mut flows: Vec<_> = (0..2).map(|others| site.settled(others)).collect();
    kill(daemon);
    let next = site.start();
    let port = |flow: &Flow| {
        let address = flow.server.socket().peer_addr().expect("an address");
        address.as_socket().expect("an IP address").port()
    };
    let taken: Vec<u16> = flows.iter().map(port).collect();
    let fresh = [site.connect(), site.connect()];
    for flow in &fresh {
        assert!(!taken.contains(&port(flow)), "{taken:?}, {}", port(flow));
    }
    // And there are no more of them: whoever comes now is told so.
    let turned_away = site
        .net
        .client
        .run(|| Peer::connect(site.proxy, Buffers::default()))
        .expect("connect");
    let (bytes, end) = turned_away.read_to_end();
    assert!(bytes.is_empty() && end != End::Silence, "{end:?}");
    flows.iter_mut().for_each(Flow::round);
    finish(flows, &next);
    // Free again, as the only ones.
    let last = site.connect();
    assert!(taken.contains(&port(&last)), "{taken:?}, {}", port(&last));
}

#[test]
fn a_daemon_beside_another_relays_by_itself() {
    let site = Site::new(Layout::Hosts, |_| {});
    let first = site.start();
    let mut flow = site.settled(0);
    let elsewhere = SocketAddr::new(site.proxy.ip(), PROXY_PORT + 1);
    let config = site
        .config
        .replace(&site.proxy.to_string(), &elsewhere.to_string());
    let second = site.launch(Launch::new(config).expect("the binary"));
    second
        .wait_diagnostic(0, &["another daemon has it"])
        .expect("a line about it");
    let mut own = site.connect_to(elsewhere);
    let relayed = eventually(BOUND, || {
        own.round();
        flow.round();
        let live = second.live(1).expect("its flow");
        live[0].path == ["relay", "relay"]
    });
    assert!(relayed, "the second daemon does not relay");
    // Its flows end with it, the others do not.
    kill(second);
    assert_reset(&own.client, own.down);
    flow.round();
    kill(first);
    flow.round();
    let next = site.start();
    flow.round();
    finish(vec![flow], &next);
}

#[test]
fn another_number_of_flows_is_taken_when_none_of_them_lives() {
    let site = Site::new(Layout::Hosts, |_| {});
    let complains = |daemon: &Daemon| logs(daemon, "has room for");
    kill(site.start());
    let more = site
        .config
        .replace("tune.offload.flows 64", "tune.offload.flows 128");
    let larger = site.launch(Launch::new(more).expect("the binary"));
    assert!(!complains(&larger));
    let mut flow = site.settled(0);
    kill(larger);
    let next = site.start();
    assert!(logs(&next, "has room for 128 flows"));
    flow.round();
    finish(vec![flow], &next);
}

#[test]
fn another_version_is_left_alone_and_reported() {
    let site = Site::new(Layout::Hosts, |_| {});
    let daemon = site.start();
    let mut flow = site.settled(0);
    kill(daemon);
    let stranger = site.pins.estrange().expect("another version");
    flow.round();
    let next = site.start();
    next.wait_diagnostic(0, &["another version", "v999"])
        .expect("a line about it");
    let mut own = site.settled(0);
    own.round();
    flow.round();
    own.end();
    let line = next.wait_records(1).expect("its line").remove(0);
    assert_eq!(line.why, "-", "{}", line.line);
    assert!(next.stop().expect("its end").success());
    assert!(stranger.exists());
    flow.round();
    flow.end();
    assert!(clean(site.pins.path()).status.success());
    assert!(!site.pins.path().exists());
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
    // Nobody knows the connection any more, as soon as the kernel has let go of the programs: its ends
    // are told at their next packet.
    let is_told = |peer: &Peer| {
        let sent = peer.send(flow.up, 1, Segments::Fixed(1));
        sent.error.is_some()
    };
    for peer in [&flow.client, &flow.server] {
        assert!(eventually(BOUND, || is_told(peer)), "its end is not told");
    }
}

#[test]
fn without_a_word_about_it_relayed_flows_outlive_the_daemon() {
    let mut site = Site::new(Layout::Hosts, |_| {});
    let pins = format!("offload-pins {}", site.pins.path().display());
    site.config = site.config.replace(&pins, "");
    let daemon = site.start();
    site.pins = PinDirectory::usual(&daemon).expect("the directory");
    let mut flow = site.settled(0);
    kill(daemon);
    flow.round();
    // It takes over what is there, also if it is to relay nothing.
    site.config = site.config.replace("offload relay", "offload pipe");
    let next = site.start();
    assert!(logs(&next, "1 relayed flows were taken over"));
    flow.round();
    let fresh = site.connect();
    drop(fresh);
    let line = next.wait_records(1).expect("its line").remove(0);
    assert_eq!(line.path, ["pipe", "pipe"], "{}", line.line);
    finish(vec![flow], &next);
}

#[test]
fn relayed_flows_end_with_a_daemon_that_is_told_so() {
    let mut site = Site::new(Layout::Hosts, |_| {});
    let pins = format!("offload-pins {}", site.pins.path().display());
    site.config = site.config.replace(&pins, "offload-pins off");
    let daemon = site.start();
    let mut flow = site.connect();
    let relayed = eventually(BOUND, || {
        flow.round();
        let live = daemon.live(1).expect("its flow");
        live[0].path == ["relay", "relay"]
    });
    assert!(relayed, "the relay does not take the flow");
    kill(daemon);
    assert_reset(&flow.client, flow.down);
    assert_reset(&flow.server, flow.up);
}

fn clean(directory: &FilePath) -> std::process::Output {
    Command::new(binary().expect("the binary"))
        .arg("--clean")
        .arg(directory)
        .output()
        .expect("run the binary")
}
