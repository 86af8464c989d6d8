//! The guard on a veth device between hosts: native and generic.

use std::io::{BufRead, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use socket2::{Domain, SockAddr, Socket, Type};
use underpass::offload::guard::plan::{How, Plan, Policy, RateLimit, Verdict};
use underpass::offload::guard::{Guard, GuardError, Mode, running};
use underpass_common::guard::Outcome;
use underpass_tests::netns::{LinkOptions, Netns, Topology};
use underpass_tests::peer::{Exchange, PATIENCE, Peer};
use underpass_tests::process::{Output, Process, eventually};
use underpass_tests::sys;

const PORT: u16 = 8000;
const MODES: [Mode; 2] = [Mode::Native, Mode::Generic];

/// Addresses of the client's that no rule names: IPv4, IPv6.
const NEUTRAL: [&str; 2] = ["10.0.1.1", "fd00:1::1"];
/// Addresses in the networks below.
const DENIED: [&str; 2] = ["10.0.1.100", "fd00:1::100"];
/// Addresses that an earlier rule excepts from these networks.
const ALLOWED: [&str; 2] = ["10.0.1.101", "fd00:1::101"];
const NETWORKS: [&str; 2] = ["10.0.1.96/27", "fd00:1::100/120"];

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn run(ns: &Netns, line: &str) {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a program");
    let out = ns.command(program).args(words).output().expect(program);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{line}: {said}");
}

/// Hosts, the addresses above, and a listener of each family on the proxy.
struct Site {
    net: Topology,
    listeners: [TcpListener; 2],
    /// A veth device takes what the native program of its peer sends only if it has one itself.
    _taker: Guard,
}

impl Site {
    fn new(options: &LinkOptions) -> Self {
        let net = Topology::hosts(options).unwrap();
        for address in [DENIED, ALLOWED].concat() {
            let (length, option) = if ip(address).is_ipv4() {
                (24, "")
            } else {
                (64, "nodad")
            };
            run(
                &net.client,
                &format!("ip addr add {address}/{length} dev eth0 {option}"),
            );
            if ip(address).is_ipv6() {
                run(
                    &net.proxy,
                    &format!(
                        "ip neigh replace {address} lladdr 02:00:00:00:01:01 dev eth0 nud permanent"
                    ),
                );
            }
        }
        let listen = |every: IpAddr| net.proxy.run(|| listener(every));
        let listeners = [
            listen(Ipv4Addr::UNSPECIFIED.into()),
            listen(Ipv6Addr::UNSPECIFIED.into()),
        ];
        let nothing = Plan::default();
        let taker = net
            .client
            .run(|| Guard::attach("eth0", Some(Mode::Native), &nothing))
            .unwrap();
        Self {
            net,
            listeners,
            _taker: taker,
        }
    }

    fn attach(&self, mode: Mode, plan: &Plan) -> Guard {
        self.net
            .proxy
            .run(|| Guard::attach("eth0", Some(mode), plan))
            .unwrap()
    }

    /// The address of the proxy's to reach from an address of the client's.
    fn to(&self, from: IpAddr) -> SocketAddr {
        let address = match from {
            IpAddr::V4(_) => self.net.proxy_addr.ipv4(),
            IpAddr::V6(_) => self.net.proxy_addr.ipv6(),
        };
        (address, PORT).into()
    }

    fn start(&self, from: IpAddr) -> Socket {
        start(&self.net.client, from, self.to(from))
    }

    /// A connection from `from`, with both its ends.
    fn connect(&self, from: IpAddr) -> (Peer, Peer) {
        let socket = self.start(from);
        assert!(outcome(&socket).is_none(), "from {from}");
        let listener = &self.listeners[usize::from(from.is_ipv6())];
        let (accepted, peer) = accept(listener);
        assert_eq!(peer, from);
        socket.set_nonblocking(false).unwrap();
        (Peer::new(socket), accepted)
    }

    /// A connection from `from` is answered with a reset.
    fn is_refused(&self, from: IpAddr) {
        let kind = outcome(&self.start(from)).map(|error| error.kind());
        assert_eq!(kind, Some(ErrorKind::ConnectionRefused), "from {from}");
    }

    /// A connection from `from` is dropped, which is counted as `reason`.
    fn is_dropped(&self, guard: &Guard, from: IpAddr, reason: Outcome) {
        let before = count(guard, reason);
        let socket = self.start(from);
        wait_for(guard, reason, before + 1);
        let answered = sys::poll(socket.as_fd(), false, true, 0).unwrap();
        assert!(!answered, "from {from}");
    }
}

fn listener(every: IpAddr) -> TcpListener {
    let socket = Socket::new(
        Domain::for_address((every, PORT).into()),
        Type::STREAM,
        None,
    )
    .unwrap();
    if every.is_ipv6() {
        socket.set_only_v6(true).unwrap();
    }
    socket
        .bind(&SockAddr::from(SocketAddr::from((every, PORT))))
        .unwrap();
    socket.listen(64).unwrap();
    socket.into()
}

fn accept(listener: &TcpListener) -> (Peer, IpAddr) {
    let patience = i32::try_from(PATIENCE.as_millis()).unwrap();
    let came = sys::poll(listener.as_fd(), true, false, patience).unwrap();
    assert!(came, "nobody connected");
    let (stream, peer) = listener.accept().unwrap();
    (stream.into(), peer.ip())
}

/// Begins to connect.
fn start(ns: &Netns, from: IpAddr, to: SocketAddr) -> Socket {
    let domain = Domain::for_address(to);
    let socket = ns.run(|| Socket::new(domain, Type::STREAM, None)).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.set_nonblocking(true).unwrap();
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        // A refusal may come before the call is over.
        other => other.unwrap(),
    }
    socket
}

/// How connecting went, once it is known.
fn outcome(socket: &Socket) -> Option<std::io::Error> {
    let patience = i32::try_from(PATIENCE.as_millis()).unwrap();
    let known = sys::poll(socket.as_fd(), false, true, patience).unwrap();
    assert!(known, "no answer to a SYN");
    socket.take_error().unwrap()
}

fn count(guard: &Guard, outcome: Outcome) -> u64 {
    guard.counters().unwrap().of(outcome)
}

fn wait_for(guard: &Guard, outcome: Outcome, at_least: u64) {
    let counted = eventually(PATIENCE, || count(guard, outcome) >= at_least);
    assert!(counted, "{outcome:?}: {:?}", guard.counters());
}

fn policy() -> Policy {
    Policy {
        listeners: vec![(None, PORT)],
        ..Policy::default()
    }
}

fn plan(policies: Vec<Policy>) -> Plan {
    Plan {
        policies,
        ..Plan::default()
    }
}

/// Denies the networks, with rule 1 for IPv4 and 2 for IPv6, but allows the addresses excepted.
fn denying(how: How) -> Plan {
    let allowed = ALLOWED.map(|address| (IpNet::from(ip(address)), Verdict::Allow));
    let denied = [(1, NETWORKS[0]), (2, NETWORKS[1])]
        .map(|(rule, network)| (network.parse().unwrap(), Verdict::Deny { rule, how }));
    plan(vec![Policy {
        networks: [allowed, denied].concat(),
        ..policy()
    }])
}

#[test]
fn denied_sources_are_dropped_and_others_connect() {
    for mode in MODES {
        let site = Site::new(&LinkOptions::default());
        let guard = site.attach(mode, &denying(How::Drop));
        assert_eq!(guard.mode(), mode);
        for denied in DENIED.map(ip) {
            site.is_dropped(&guard, denied, Outcome::NetworkDropped);
            let why = guard.why(denied).unwrap();
            assert_eq!(why.len(), 1);
            assert_eq!(why[0].rule, if denied.is_ipv4() { 1 } else { 2 });
            assert_eq!((why[0].how, why[0].until), (How::Drop, None));
        }
        for source in [NEUTRAL, ALLOWED].concat() {
            site.connect(ip(source));
            assert_eq!(guard.why(ip(source)).unwrap(), []);
        }
        assert_eq!(count(&guard, Outcome::Allowed), 2);
        assert_eq!(count(&guard, Outcome::Passed), 2);
        // Without the guard, everybody is welcome.
        drop(guard);
        for denied in DENIED {
            site.connect(ip(denied));
        }
    }
}

#[test]
fn denied_sources_are_reset() {
    for mode in MODES {
        let site = Site::new(&LinkOptions::default());
        let guard = site.attach(mode, &denying(How::Reset));
        for denied in DENIED {
            site.is_refused(ip(denied));
        }
        for source in [NEUTRAL, ALLOWED].concat() {
            site.connect(ip(source));
        }
        let counters = guard.counters().unwrap();
        assert_eq!(counters.of(Outcome::NetworkReset), 2, "{counters:?}");
        assert_eq!(counters.rules, [(1, 1), (2, 1)].into());
    }
}

#[test]
fn established_flows_outlive_a_new_rule() {
    const KB: u64 = 1 << 10;
    for mode in MODES {
        let site = Site::new(&LinkOptions::default());
        let guard = site.attach(mode, &plan(vec![policy()]));
        for (seed, denied) in (1..).zip(DENIED.map(ip)) {
            let (client, server) = site.connect(denied);
            let exchange = Exchange::new(seed, 512 * KB, 256 * KB);
            let (up, down) = (exchange.up_pattern(), exchange.down_pattern());
            client.send_all(up, 0, KB);
            server.receive_exact(up, 0, KB);
            server.send_all(down, 0, KB);
            client.receive_exact(down, 0, KB);
            guard.replace(&denying(How::Reset)).unwrap();
            site.is_refused(denied);
            exchange.from(KB).run(&client, &server);
            // And back: the rule goes as it came.
            guard.replace(&plan(vec![policy()])).unwrap();
            site.connect(denied);
        }
    }
}

/// `connections` per second and source, with rule 9.
fn limited(connections: u32, how: How) -> Plan {
    plan(vec![Policy {
        rate: Some(RateLimit {
            per_source_connections: connections,
            period: Duration::from_secs(1),
            rule: 9,
            how,
        }),
        ..policy()
    }])
}

#[test]
fn a_flood_gets_the_rate_and_no_more() {
    const RATE: u32 = 1000;
    for mode in MODES {
        let site = Site::new(&LinkOptions::default());
        let guard = site.attach(mode, &limited(RATE, How::Drop));
        let wire = site.net.client.run(|| sys::packet_socket("eth0")).unwrap();
        for source in NEUTRAL.map(ip) {
            let frame = Frame::syn(source, site.to(source).ip()).build();
            let flood = |until: &dyn Fn() -> bool| {
                let end = Instant::now() + PATIENCE;
                while !until() && Instant::now() < end {
                    for _ in 0..40 {
                        wire.send(&frame).unwrap();
                    }
                    // Pace: several times the limit, and far from what the device can queue.
                    std::thread::sleep(Duration::from_millis(5));
                }
            };
            // The full bucket goes first.
            let (passed, dropped) = (
                count(&guard, Outcome::Passed),
                count(&guard, Outcome::RateDropped),
            );
            flood(&|| count(&guard, Outcome::RateDropped) > dropped);
            // Between two looks at the counters that are as long apart as the flood, what is let in is the rate.
            let (begin, before) = (Instant::now(), count(&guard, Outcome::Passed));
            flood(&|| begin.elapsed() > Duration::from_millis(2500));
            let (after, elapsed) = (count(&guard, Outcome::Passed), begin.elapsed());
            let expected = f64::from(RATE) * elapsed.as_secs_f64();
            let accepted = (after - before) as f64;
            assert!(
                (accepted - expected).abs() <= expected * 0.05,
                "{mode}, {source}: {accepted} of {expected}"
            );
            assert!(
                before - passed >= u64::from(RATE),
                "the bucket was not full"
            );
            eprintln!("{mode}, {source}: {accepted} let in, {expected:.0} expected");
        }
        assert_eq!(guard.counters().unwrap().rules.len(), 1);
    }
}

#[test]
fn the_connection_over_the_limit_is_reset_and_others_are_not() {
    for mode in MODES {
        let site = Site::new(&LinkOptions::default());
        let mut plan = limited(3, How::Reset);
        // So long that nothing is earned meanwhile.
        let hour = Duration::from_secs(3600);
        plan.policies[0].rate.as_mut().unwrap().period = hour;
        let guard = site.attach(mode, &plan);
        for source in NEUTRAL.map(ip) {
            for _ in 0..3 {
                site.connect(source);
            }
            site.is_refused(source);
            let why = guard.why(source).unwrap();
            assert_eq!(why[0].rule, 9);
            assert!(why[0].until.is_some_and(|until| until <= hour / 3));
        }
        for source in ALLOWED.map(ip) {
            site.connect(source);
        }
        assert_eq!(count(&guard, Outcome::RateReset), 2);
    }
}

#[test]
fn fragments_tags_and_truncated_frames() {
    for mode in MODES {
        let site = Site::new(&LinkOptions::default());
        let guard = site.attach(mode, &denying(How::Drop));
        let wire = site.net.client.run(|| sys::packet_socket("eth0")).unwrap();
        let mut judged = 0;
        for source in DENIED.map(ip) {
            let plain = Frame::syn(source, site.to(source).ip());
            // As many as are judged, and between them what is not.
            for tags in 0..3 {
                wire.send(&Frame { tags, ..plain }.build()).unwrap();
            }
            wire.send(&Frame { tags: 3, ..plain }.build()).unwrap();
            let first = if source.is_ipv4() { 0x2000 } else { 1 };
            let fragment = |fragment| Frame { fragment, ..plain }.build();
            wire.send(&fragment(first)).unwrap();
            wire.send(&fragment(if source.is_ipv4() { 3 } else { 3 << 3 }))
                .unwrap();
            let whole = plain.build();
            for length in 15..whole.len() {
                wire.send(&whole[..length]).unwrap();
            }
            // The last one: what came before it has been looked at when it is counted.
            wire.send(&whole).unwrap();
            judged += 5;
            wait_for(&guard, Outcome::NetworkDropped, judged);
        }
        let counters = guard.counters().unwrap();
        assert_eq!(counters.of(Outcome::NetworkDropped), judged, "{counters:?}");
        assert_eq!(counters.of(Outcome::Passed), 0, "{counters:?}");
        for source in NEUTRAL {
            site.connect(ip(source));
        }
    }
}

#[test]
fn what_is_forwarded_to_another_host_is_left_alone() {
    for mode in MODES {
        let site = Site::new(&LinkOptions {
            routed: true,
            ..LinkOptions::default()
        });
        let guard = site.attach(mode, &denying(How::Reset));
        for (denied, every, to) in [
            (
                DENIED[0],
                IpAddr::from(Ipv4Addr::UNSPECIFIED),
                site.net.server_addr.ipv4(),
            ),
            (
                DENIED[1],
                IpAddr::from(Ipv6Addr::UNSPECIFIED),
                site.net.server_addr.ipv6(),
            ),
        ] {
            let listener = site.net.server.run(|| listener(every));
            let socket = start(&site.net.client, ip(denied), (to, PORT).into());
            assert!(outcome(&socket).is_none());
            assert_eq!(accept(&listener).1, ip(denied));
            site.is_refused(ip(denied));
        }
        assert_eq!(count(&guard, Outcome::Forwarded), 2);
    }
}

#[test]
fn what_cannot_be_guarded_is_said() {
    let site = Site::new(&LinkOptions::default());
    let attach = |interface: &str, mode| {
        let plan = denying(How::Drop);
        site.net.proxy.run(|| Guard::attach(interface, mode, &plan))
    };
    let refused = |interface, mode| attach(interface, mode).expect_err("a refusal");
    assert!(matches!(refused("lo", None), GuardError::Loopback(_)));
    let missing = refused("eth9", None).to_string();
    assert!(
        missing.starts_with("interface 'eth9': No such device"),
        "{missing}"
    );
    // Veth devices have a native mode, which is not what suits them best.
    let guard = attach("eth0", None).unwrap();
    assert_eq!(guard.mode(), Mode::Generic);
    let busy = refused("eth0", Some(Mode::Generic)).to_string();
    assert_eq!(
        busy,
        "attaching the guard to 'eth0' (generic): another XDP program is there already"
    );
    // A refused plan leaves the rules in force.
    let twice = plan(vec![policy(), policy()]);
    assert!(matches!(guard.replace(&twice), Err(GuardError::Plan(_))));
    site.is_dropped(&guard, ip(DENIED[0]), Outcome::NetworkDropped);
}

/// Set for the process that holds a guard to be killed.
const HOLD: &str = "UNDERPASS_TEST_HOLD_GUARD";

/// Not a test: what the next test starts as a process of its own.
#[test]
#[ignore = "a process that another test starts and kills"]
fn hold() {
    if std::env::var_os(HOLD).is_none() {
        return;
    }
    let mut plan = denying(How::Drop);
    plan.notes = [(1, "front.cfg:7".to_owned())].into();
    let guard = Guard::attach("eth0", None, &plan).unwrap();
    println!("guarding");
    // Until it is killed, or its parent is gone.
    let _ = std::io::stdin().lock().read_line(&mut String::new());
    drop(guard);
}

#[test]
fn a_killed_guard_leaves_nothing_behind() {
    let site = Site::new(&LinkOptions::default());
    let mut command = site.net.proxy.command(std::env::current_exe().unwrap());
    command
        .args(["hold", "--exact", "--ignored", "--nocapture"])
        .env(HOLD, "1");
    let (holder, _stdin) = Process::spawn_piped(&mut command).unwrap();
    holder
        .wait_lines(Output::Stdout, PATIENCE, "guard", |lines| {
            let guarding = |line: &String| line.contains("guarding");
            lines.iter().any(guarding).then_some(())
        })
        .unwrap();
    // Another process can tell why, though it shares nothing with the one that guards.
    let said = running::why(ip(DENIED[0])).unwrap();
    assert!(
        said.contains("dropped at 0.0.0.0:8000: its network is denied, by front.cfg:7"),
        "{said}"
    );
    let dropped = site.start(ip(DENIED[0]));
    let guarded = || xdp_is_attached(&site.net.proxy);
    assert!(guarded());
    assert!(!sys::poll(dropped.as_fd(), false, true, 0).unwrap());
    holder.signal(libc::SIGKILL).unwrap();
    assert!(eventually(PATIENCE, || !guarded()));
    // The SYN is sent again, and is let in.
    assert!(outcome(&dropped).is_none());
}

fn xdp_is_attached(ns: &Netns) -> bool {
    let out = ns
        .command("ip")
        .args(["link", "show", "eth0"])
        .output()
        .unwrap();
    String::from_utf8_lossy(&out.stdout).contains("prog/xdp")
}

/// A SYN whose TCP checksum is wrong, so that the stack drops without an answer what the guard lets through.
#[derive(Clone, Copy)]
struct Frame {
    source: IpAddr,
    destination: IpAddr,
    tags: usize,
    /// IPv4: the fragment word; IPv6: that of a fragment header, if not zero.
    fragment: u16,
}

impl Frame {
    fn syn(source: IpAddr, destination: IpAddr) -> Self {
        Self {
            source,
            destination,
            tags: 0,
            fragment: 0,
        }
    }

    fn build(&self) -> Vec<u8> {
        let mut out = vec![2, 0, 0, 0, 1, 2, 2, 0, 0, 0, 1, 1];
        for _ in 0..self.tags {
            out.extend([0x81, 0x00, 0x00, 0x05]);
        }
        let mut tcp = [0; 24];
        tcp[..2].copy_from_slice(&40_000_u16.to_be_bytes());
        tcp[2..4].copy_from_slice(&PORT.to_be_bytes());
        tcp[12..14].copy_from_slice(&[6 << 4, 2]);
        // Not what it should be, and not the zero that says nothing either.
        tcp[16..18].copy_from_slice(&[0xba, 0xad]);
        tcp[20..].fill(1);
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut ip = [0x45, 0, 0, 44, 0, 1, 0, 0, 64, 6, 0, 0];
                ip[6..8].copy_from_slice(&self.fragment.to_be_bytes());
                let header = [&ip[..], &source.octets(), &destination.octets()].concat();
                let mut sum: u32 = header
                    .chunks(2)
                    .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
                    .sum();
                sum = (sum & 0xffff) + (sum >> 16);
                let checksum = !(sum as u16);
                out.extend([0x08, 0x00]);
                out.extend(&header[..10]);
                out.extend(checksum.to_be_bytes());
                out.extend(&header[12..]);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let fragmented = self.fragment != 0;
                let length = if fragmented { 32 } else { 24 };
                let next = if fragmented { 44 } else { 6 };
                out.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, length, next, 64]);
                out.extend(source.octets());
                out.extend(destination.octets());
                if fragmented {
                    let [high, low] = self.fragment.to_be_bytes();
                    out.extend([6, 0, high, low, 0, 0, 0, 1]);
                }
            }
            _ => panic!("both addresses are of one family"),
        }
        out.extend(tcp);
        out
    }
}
