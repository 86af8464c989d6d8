//! What clients see of a proxy whose servers fail: servers that fail by a seeded script, clients that tell every way in
//! which an answer can be missing, and the comparison of two programs that went through the same.

pub mod script;
pub mod servers;
pub mod tally;
pub mod visitors;

use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::daemon::{BOUND, Launch};
use crate::netns::Topology;
use crate::process::eventually;

use self::servers::Servers;
use self::tally::Tally;
use self::visitors::{Outcome, Visit};

/// How many servers there are.
pub const SERVERS: usize = 3;

/// Where the proxy listens; it is in a namespace of its own.
const LISTEN: &str = "127.0.0.1:9000";

/// The port of the first server; the others follow.
const FIRST_PORT: u16 = 8000;

/// One run of a program.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Of the script of failures and of the questions: the same seed is the same run.
    pub seed: u64,
    /// How long questions are asked.
    pub length: Duration,
    /// `balance` of the proxy.
    pub balance: &'static str,
    /// Clients, each with one connection at a time.
    pub visitors: u32,
    /// Time from one question of a client to its next. One that still waits for an answer then leaves questions out.
    pub pace: Duration,
}

/// The file of every program.
#[must_use]
pub fn config(balance: &str) -> String {
    let mut text = format!(
        "global\n    nbthread 2\n    maxconn 2000\n\n\
         defaults\n    mode tcp\n    retries 3\n    option redispatch\n    timeout connect 500ms\n    \
         timeout client 10s\n    timeout server 10s\n    timeout queue 2s\n\n\
         listen failures\n    bind {LISTEN}\n    balance {balance}\n    \
         default-server check inter 200ms fall 2 rise 2\n"
    );
    for (number, address) in addresses().into_iter().enumerate() {
        text.push_str(&format!("    server s{number} {address}\n"));
    }
    text
}

fn addresses() -> [SocketAddr; SERVERS] {
    let mut port = FIRST_PORT;
    [(); SERVERS].map(|()| {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        port += 1;
        address
    })
}

/// Starts `program`, lets its servers fail by the script of the plan, and counts what its clients see.
///
/// # Errors
/// When it does not start or not serve, or ends by itself.
pub fn run(program: &Path, plan: &Plan) -> Result<Tally> {
    let host = Topology::loopback()?;
    host.proxy
        .sysctl("net/ipv4/ip_local_port_range", "10000 65535")?;
    let mut servers = Servers::start(&host.server, &addresses())?;
    let mut daemon = Launch::program(program, config(plan.balance)).start(&host.proxy)?;
    let proxy: SocketAddr = LISTEN.parse()?;
    let first = Visit {
        seed: plan.seed,
        length: 1,
    };
    let served = eventually(BOUND, || {
        host.client.run(|| first.make(proxy)) == Outcome::Complete
    });
    ensure!(
        served,
        "no answer through it within {BOUND:?}\n{}",
        daemon.process().transcript()
    );

    let begin = Instant::now();
    let events = script::events(plan.seed, SERVERS, plan.length);
    let mut tally = thread::scope(|scope| -> Result<Tally> {
        let asking = scope.spawn(|| {
            host.client
                .run(|| visitors::ask(proxy, plan, begin).context("the clients"))
        });
        for event in events {
            thread::sleep((begin + event.at).saturating_duration_since(Instant::now()));
            servers.set(event.server, event.mode)?;
        }
        asking
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    ensure!(
        daemon.process().exited()?.is_none(),
        "it ended\n{}",
        daemon.process().transcript()
    );
    tally.cut = servers.cut();
    servers.stop();
    Ok(tally)
}
