//! Servers that fail, next to haproxy: what clients see of the same failures through either.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use underpass_tests::daemon::{self, Launch};
use underpass_tests::failures::script::Fault;
use underpass_tests::failures::servers::Servers;
use underpass_tests::failures::tally::{Tally, worse};
use underpass_tests::failures::visitors::{Outcome, Visit};
use underpass_tests::failures::{Plan, run};
use underpass_tests::log_lines::HAPROXY;
use underpass_tests::netns::Topology;

/// Two runs of each program, five seconds each.
const SEEDS: [u64; 2] = [1, 2];
const LENGTH: Duration = Duration::from_secs(5);

/// Sums up runs of both programs, one after the other with each seed.
fn both(balance: &'static str) -> [Tally; 2] {
    let ours = daemon::binary().expect("the binary under test");
    let mut sums = [Tally::default(); 2];
    for seed in SEEDS {
        let plan = Plan {
            seed,
            length: LENGTH,
            balance,
            visitors: 24,
            pace: Duration::from_millis(100),
        };
        for (program, sum) in [&ours, Path::new(HAPROXY)].into_iter().zip(&mut sums) {
            let tally = run(program, &plan)
                .unwrap_or_else(|error| panic!("{}: {error:#}", program.display()));
            println!("{balance} seed {seed} {}: {tally}", program.display());
            sum.add(&tally);
        }
    }
    sums
}

fn no_more_errors_than_haproxy(balance: &'static str) {
    let [ours, theirs] = both(balance);
    // Without failures that reach clients nothing is compared.
    assert!(ours.cut > 0, "no server cut an answer off: {ours}");
    assert!(ours.of(Outcome::Complete) > ours.errors(), "{ours}");
    let findings = worse(&ours, &theirs);
    assert!(
        findings.is_empty(),
        "{findings:?}\nunderpass: {ours}\nhaproxy: {theirs}"
    );
}

#[test]
fn roundrobin() {
    no_more_errors_than_haproxy("roundrobin");
}

#[test]
fn leastconn() {
    no_more_errors_than_haproxy("leastconn");
}

/// A server that takes connections and resets them is up for its checks. Who has lost a stream to it tries the others.
#[test]
fn a_server_that_resets_at_once_is_passed_over() {
    const VISITS: u64 = 60;
    let ours = daemon::binary().expect("the binary under test");
    let host = Topology::loopback().expect("a host");
    let addresses = [8000, 8001].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let mut servers = Servers::start(&host.server, &addresses).expect("servers");
    servers.set(0, Some(Fault::ResetAtOnce)).expect("a server");
    let config = "defaults\n    mode tcp\n    option redispatch\n    timeout connect 5s\n    \
        timeout client 10s\n    timeout server 10s\n\
        listen l\n    bind 127.0.0.1:9000\n    server s0 127.0.0.1:8000\n    \
        server s1 127.0.0.1:8001\n";
    let _daemon = Launch::program(&ours, config.to_owned())
        .start(&host.proxy)
        .expect("a daemon");
    let proxy = SocketAddr::from((Ipv4Addr::LOCALHOST, 9000));
    let mut tally = Tally::default();
    for seed in 0..VISITS {
        let visit = Visit { seed, length: 100 };
        tally.count(host.client.run(|| visit.make(proxy)));
    }
    // It gets every other stream. On a busy machine some resets come later than they are waited for.
    let answered = tally.of(Outcome::Complete);
    assert!(answered >= VISITS * 3 / 4, "{tally}");
}
