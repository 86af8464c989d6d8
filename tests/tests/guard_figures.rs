//! What the guard costs, next to accepting and closing. Not tests: run them by name, with `--ignored --nocapture`, on a
//! machine that does nothing else.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net};
use underpass::offload::guard::plan::{How, Plan, Policy, RateLimit, Verdict};
use underpass::offload::guard::program::{Action, Program};
use underpass::offload::guard::{Guard, Mode};
use underpass_common::guard::Outcome;
use underpass_tests::netns::{LinkOptions, Topology};
use underpass_tests::sys;

const PORT: u16 = 8000;
const DENY: Verdict = Verdict::Deny {
    rule: 1,
    how: How::Drop,
};

/// A frame with a TCP header from 10.0.1.1 to 10.0.1.2, or between two IPv6 addresses.
fn frame(v6: bool, port: u16, flags: u8) -> Vec<u8> {
    let mut out = vec![2, 0, 0, 0, 1, 2, 2, 0, 0, 0, 1, 1];
    if v6 {
        out.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 64]);
        for last in [1, 2] {
            out.extend([0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        }
    } else {
        out.extend([0x08, 0x00, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0x24, 0xcb]);
        out.extend([10, 0, 1, 1, 10, 0, 1, 2]);
    }
    out.extend([0x9c, 0x40]);
    out.extend(port.to_be_bytes());
    out.extend([
        0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0xba, 0xad, 0, 0,
    ]);
    out
}

fn policy(networks: Vec<(IpNet, Verdict)>) -> Policy {
    Policy {
        listeners: vec![(None, PORT)],
        networks,
        rate: None,
    }
}

fn plan(policy: Policy) -> Plan {
    Plan {
        policies: vec![policy],
        ..Plan::default()
    }
}

/// That many networks of 256 addresses all over, the frame's source in one of them.
fn networks(count: u32) -> Vec<(IpNet, Verdict)> {
    (0..count)
        .map(|at| {
            // Steps that spread and do not repeat within 2^24 of them.
            let number = (0x000a_0001_u32.wrapping_add(at.wrapping_mul(0x9e_3779))) << 8;
            let net = Ipv4Net::new(Ipv4Addr::from(number), 24).unwrap();
            (net.into(), DENY)
        })
        .collect()
}

fn limited(connections: u32) -> Plan {
    plan(Policy {
        rate: Some(RateLimit {
            per_source_connections: connections,
            period: Duration::from_secs(1),
            rule: 1,
            how: How::Drop,
        }),
        ..policy(Vec::new())
    })
}

/// The program's own time per packet: the best of some runs, which others disturbed least.
#[test]
#[ignore = "figures, not a test"]
fn nanoseconds_per_packet() {
    const SYN: u8 = 2;
    const ACK: u8 = 0x10;
    let one = || plan(policy(networks(1)));
    let v6 = || plan(policy(vec![("fd00:1::/64".parse().unwrap(), DENY)]));
    let exact = || {
        let mut plan = one();
        plan.policies[0].listeners = vec![(Some(Ipv4Addr::new(10, 0, 1, 2).into()), PORT)];
        plan
    };
    let cases = [
        (
            "segment of an established flow",
            one(),
            frame(false, PORT, ACK),
            Action::Pass,
        ),
        (
            "SYN to another port",
            one(),
            frame(false, 81, SYN),
            Action::Pass,
        ),
        (
            "SYN that no rule names",
            plan(policy(Vec::new())),
            frame(false, PORT, SYN),
            Action::Pass,
        ),
        (
            "denied, 1 network",
            one(),
            frame(false, PORT, SYN),
            Action::Drop,
        ),
        (
            "denied at one address, 1 network",
            exact(),
            frame(false, PORT, SYN),
            Action::Drop,
        ),
        (
            "denied, 1,000 networks",
            plan(policy(networks(1000))),
            frame(false, PORT, SYN),
            Action::Drop,
        ),
        (
            "denied, 100,000 networks",
            plan(policy(networks(100_000))),
            frame(false, PORT, SYN),
            Action::Drop,
        ),
        (
            "denied, IPv6, 1 network",
            v6(),
            frame(true, PORT, SYN),
            Action::Drop,
        ),
        (
            "over its rate",
            limited(1),
            frame(false, PORT, SYN),
            Action::Drop,
        ),
        (
            "within its rate",
            limited(1_000_000),
            frame(false, PORT, SYN),
            Action::Pass,
        ),
    ];
    for (name, plan, frame, action) in cases {
        let mut program = Program::load().unwrap();
        program.replace(&plan).unwrap();
        // Within a rate only as long as the bucket lasts.
        let repeat = if name == "within its rate" {
            100_000
        } else {
            1_000_000
        };
        program.run(&frame, 1).unwrap();
        let times = (0..8).map(|_| {
            let (did, _, time) = program.run(&frame, repeat).unwrap();
            assert_eq!(did, action, "{name}");
            time
        });
        println!("{name:32} {:4} ns", times.min().unwrap().as_nanos());
    }
}

/// CPU time of the calling thread, what the kernel did in its name included.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let spent = text.split_whitespace().next().unwrap();
    Duration::from_nanos(spent.parse().unwrap())
}

const LENGTH: Duration = Duration::from_secs(3);

/// Frames that one CPU sends over a veth pair and the guard at its other end drops.
#[test]
#[ignore = "figures, not a test"]
fn drops_per_second() {
    for mode in [None, Some(Mode::Generic), Some(Mode::Native)] {
        let net = Topology::hosts(&LinkOptions::default()).unwrap();
        let plan = plan(policy(networks(1000)));
        let guard = mode.map(|mode| {
            let attach = || Guard::attach("eth0", Some(mode), &plan).unwrap();
            net.proxy.run(attach)
        });
        let wire = net.client.run(|| sys::packet_socket("eth0")).unwrap();
        let frame = frame(false, PORT, 2);
        let (begin, before, mut sent) = (Instant::now(), cpu(), 0_u64);
        while begin.elapsed() < LENGTH {
            for _ in 0..64 {
                // A full queue refuses, and that is time spent as well.
                sent += u64::from(wire.send(&frame).is_ok());
            }
        }
        let (elapsed, spent) = (begin.elapsed(), cpu() - before);
        let dropped = guard.map(|guard| guard.counters().unwrap().of(Outcome::NetworkDropped));
        println!(
            "{mode:?}: {sent} sent, {dropped:?} dropped in {elapsed:?}: {:.0}/s, {:.0} ns of CPU each, sending included",
            sent as f64 / elapsed.as_secs_f64(),
            spent.as_nanos() as f64 / sent as f64
        );
    }
}

/// The least that a daemon does to refuse: accept, and close with a reset.
#[test]
#[ignore = "figures, not a test"]
fn accepting_and_closing() {
    let net = Topology::hosts(&LinkOptions::default()).unwrap();
    let every = IpAddr::from(Ipv4Addr::UNSPECIFIED);
    let listener = net.proxy.run(|| TcpListener::bind((every, PORT))).unwrap();
    let to = SocketAddr::from((net.proxy_addr.ipv4(), PORT));
    let over = AtomicBool::new(false);
    let begin = Instant::now();
    let ((accepted, server), client) = thread::scope(|scope| {
        let server = scope.spawn(|| {
            let mut accepted = 0_u64;
            while !over.load(Ordering::Relaxed) {
                let (stream, _) = listener.accept().unwrap();
                let linger = Some(Duration::ZERO);
                socket2::SockRef::from(&stream).set_linger(linger).unwrap();
                accepted += 1;
            }
            (accepted, cpu())
        });
        let client = net.client.run(|| {
            while begin.elapsed() < LENGTH {
                // The reset may be faster than the call.
                drop(TcpStream::connect(to));
            }
            over.store(true, Ordering::Relaxed);
            // Wakes the accepting thread.
            drop(TcpStream::connect(to));
            cpu()
        });
        (server.join().unwrap(), client)
    });
    let each = |time: Duration| time.as_nanos() as f64 / accepted as f64;
    println!(
        "{accepted} accepted and closed: {:.0}/s; CPU each: {:.0} ns of the accepting thread, {:.0} ns of the connecting \
         one, in whose name the kernel does both ends' handshakes",
        accepted as f64 / begin.elapsed().as_secs_f64(),
        each(server),
        each(client)
    );
}
