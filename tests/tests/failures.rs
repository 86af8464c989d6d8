//! Servers that fail, next to haproxy: what clients see of the same failures through either.

use std::path::Path;
use std::time::Duration;

use underpass_tests::daemon;
use underpass_tests::failures::tally::{Tally, worse};
use underpass_tests::failures::visitors::Outcome;
use underpass_tests::failures::{Plan, run};
use underpass_tests::log_lines::HAPROXY;

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
