//! How many connections per second one core judges: a list of 1,000 networks, and a source that is
//! tracked and limited.
//!
//! `cargo run --release -p underpass --example rule_evaluation`

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use underpass::config::model::{Config, Environment};
use underpass::config::{self, Source};
use underpass::observe::record::Endpoint;
use underpass::rules::action::Ruling;
use underpass::rules::ruleset::Progress;
use underpass::rules::run::{Reached, Scratch, Setting, Sight};
use underpass::rules::scene::{Census, Millis, Place};
use underpass::rules::session::Session;
use underpass::rules::table::{Table, Tables};
use underpass::rules::vars::ProcessVars;

/// How long each measurement takes.
const TIME: Duration = Duration::from_secs(1);
/// Evaluations between two looks at the clock.
const BATCH: u32 = 1000;

/// A proxy in which nothing else happens.
#[derive(Debug)]
struct Idle;

impl Census for Idle {}

fn load(rules: &str) -> Config {
    let text = format!("listen p\n bind :80\n server s 192.0.2.1:80\n{rules}");
    let outcome = config::load(&[Source::new("example.cfg", text)], &Environment::new());
    outcome
        .config
        .unwrap_or_else(|| panic!("{:#?}", outcome.diagnostics))
}

/// Evaluations per second, and how many of them refused.
fn measure(rules: &str) -> (f64, u64) {
    let config = load(rules);
    let tables = Tables::new(config.tables.iter().cloned().map(Table::new).collect());
    let vars = ProcessVars::default();
    let scratch = Scratch::new(1);
    let rules = &config.frontends[0].rules.connection;
    let began = Instant::now();
    let (mut evaluated, mut refused) = (0_u32, 0);
    while began.elapsed() < TIME {
        let now = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        for _ in 0..BATCH {
            let setting = Setting {
                scratch: &scratch,
                now: Millis(now),
                frontend: Place {
                    index: 0,
                    name: "p",
                },
                listener: (1, "1"),
                tables: &tables,
                vars: &vars,
                census: &Idle,
            };
            // 65,536 sources in turn, none of them near the one before it.
            let source = Ipv4Addr::from(0x0a00_0000 + (evaluated.wrapping_mul(40_503) & 0xffff));
            let client = SocketAddr::new(IpAddr::V4(source), 1024);
            let mut session = Session::new(Endpoint::Inet(client));
            let sight = Sight {
                last_look: true,
                ..Sight::default()
            };
            let reached = setting.run(rules, &mut Progress::default(), &mut session, sight, |_| {});
            refused += u64::from(matches!(reached, Reached::Ruling(Ruling::Reject, _)));
            evaluated += 1;
        }
    }
    (
        f64::from(evaluated) / began.elapsed().as_secs_f64(),
        refused,
    )
}

fn main() {
    let mut list = String::from(" tcp-request connection reject if { src");
    for number in 0..1000_u32 {
        let network = Ipv4Addr::from(0x0b00_0000 + ((number * 7919) << 8) % 0x7000_0000);
        let _ = write!(list, " {network}/24");
    }
    list.push_str(" }\n");
    let tracked = " stick-table type ip size 100k expire 30s store conn_cur,conn_rate(10s)\n \
        tcp-request connection track-sc0 src\n \
        tcp-request connection reject if { sc0_conn_rate gt 100000000 }\n";
    for (name, rules) in [
        ("a list of 1,000 networks", list.as_str()),
        ("tracked, with a limit", tracked),
    ] {
        let (rate, refused) = measure(rules);
        println!("{name}: {rate:.0} evaluations/s on one core, {refused} refused");
    }
}
