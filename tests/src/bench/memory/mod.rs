//! Memory of established connections on which nothing happens.
//!
//! Every contestant gets a process and a network namespace of its own for each measurement. What the process and the
//! kernel use is read before the connections are opened and again when they have been at rest for a while.

mod hold;
mod report;
mod usage;

use std::{
    path::PathBuf,
    process::{Command, ExitCode},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use rustls::ClientConfig;
use underpass_tests::{netns::Topology, process::eventually, sys};

use self::{
    hold::Server,
    report::{Cell, Report, Sample, Settings},
    usage::Usage,
};
use crate::{
    contestant::{self, Common, Contestant, Kind, Route},
    interrupt::Interrupt,
    machine,
    options::{find_programs, pick},
    plan,
    report::Entrant,
    service::{self, Programs, Service},
    site,
    tls::{self, KeyKind},
};

/// More would run out of ports between the daemon and its one server.
const MOST: usize = 50_000;

/// Descriptors per connection that every process may have where the system allows it: two sockets, and whatever moves
/// bytes between them.
const DESCRIPTORS: usize = 8;

/// Connections that a proxy may have beyond those that are measured.
const SPARE: usize = 32;

/// Descriptors that a process may need for anything but connections: listeners, pollers, pipes between threads.
const OTHER_FILES: u64 = 128;

/// How long a proxy may take to serve its first connection.
const BOUND: Duration = Duration::from_secs(20);

/// Sockets that the readiness check may have left in the first reading.
const STRAYS: u64 = 8;

/// Ports below the range that clients are given.
const SERVER: u16 = 8000;
const PROXY: u16 = 9000;

/// The command line of `memory`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Connections.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    connections: usize,
    /// Rounds; each measures every contestant once.
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Seconds of rest before the second reading.
    #[arg(long, value_name = "S", default_value_t = 5)]
    rest: u64,
    /// Only these contestants; without it, direct, and both programs with and without TLS.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    only: Vec<String>,
    /// Threads of each proxy.
    #[arg(long, value_name = "N", default_value_t = 2)]
    threads: usize,
    /// Key of the certificate of those who terminate TLS.
    #[arg(long, value_enum, value_name = "KIND", default_value = "p256")]
    certificate: KeyKind,
    /// The haproxy to compare with.
    #[arg(long, value_name = "PATH", default_value = "/usr/sbin/haproxy")]
    haproxy: PathBuf,
    /// Folder for the results.
    #[arg(long, value_name = "DIR", default_value = "bench-results")]
    out: PathBuf,
    /// Name of the results: NAME.md and NAME.json.
    #[arg(long, default_value = "memory")]
    name: String,
}

impl Options {
    /// The contestants that the names name.
    fn contestants(&self) -> Result<Vec<Contestant>> {
        ensure!(
            (1..=MOST).contains(&self.connections),
            "connections: 1 to {MOST}"
        );
        ensure!(self.rounds > 0, "rounds start at 1");
        let names = if self.only.is_empty() {
            let mut names = contestant::with_tls();
            names.push("direct".to_owned());
            names
        } else {
            self.only.clone()
        };
        pick("contestant", contestant::all(), &names, |c| &c.name)
    }
}

/// What does not change between measurements.
struct Bench {
    programs: Programs,
    common: Common,
    tls: Arc<ClientConfig>,
    connections: usize,
    rest: Duration,
    dir: PathBuf,
}

/// Measures, and writes the report after every round.
///
/// # Errors
/// On options that make no sense, and when something that all measurements need is missing.
pub(crate) fn run(options: Options) -> Result<ExitCode> {
    let contestants = options.contestants()?;
    let programs = find_programs(&contestants, options.haproxy)?;
    let machine = machine::describe(&programs, &contestants, &[])?;
    let interrupt = Interrupt::listen()?;
    raise_open_files(options.connections)?;
    let dir = tempfile::Builder::new()
        .prefix("underpass-bench-")
        .tempdir()?;
    let tls = contestants.iter().any(Contestant::tls);
    if tls {
        tls::make_certificate(options.certificate, dir.path())?;
    }
    let bench = Bench {
        programs,
        common: Common {
            threads: options.threads,
            maxconn: options.connections + SPARE,
            // Nothing may end while it is at rest.
            timeout: "1h",
            certificate: tls::bundle(dir.path()),
            networks: PathBuf::new(),
            log: site::log_sink(),
        },
        tls: Arc::new(tls::client()?),
        connections: options.connections,
        rest: Duration::from_secs(options.rest),
        dir: dir.path().to_owned(),
    };
    let mut report = Report {
        machine,
        settings: Settings {
            date: machine::date()?,
            rounds: options.rounds,
            connections: options.connections,
            rest_seconds: options.rest,
            threads: options.threads,
            certificate: tls.then_some(options.certificate),
        },
        entrants: contestants.iter().map(Entrant::from).collect(),
        cells: contestants.iter().map(|c| Cell::new(&c.name)).collect(),
        rows: Vec::new(),
        interrupted: false,
    };
    for round in 0..options.rounds {
        for index in plan::order(contestants.len(), round) {
            report.interrupted |= interrupt.requested();
            if !report.interrupted {
                let measured = bench.measure(round, &contestants[index]);
                if let Err(error) = &measured {
                    eprintln!("{}: {error:#}", contestants[index].name);
                }
                report.cells[index].add(round, measured);
            }
        }
        report.summarise();
        crate::save(
            &report,
            &report::render(&report),
            &options.out,
            &options.name,
        )?;
        if report.interrupted {
            break;
        }
        eprintln!("round {} of {} done", round + 1, options.rounds);
    }
    println!("{}", report::render(&report));
    Ok(if report.interrupted {
        ExitCode::from(crate::INTERRUPTED)
    } else {
        ExitCode::SUCCESS
    })
}

impl Bench {
    fn measure(&self, round: usize, contestant: &Contestant) -> Result<Sample> {
        let host = Topology::loopback()?;
        let ns = &host.proxy;
        ns.sysctl("net/ipv4/ip_local_port_range", "10000 65535")?;
        let route = Route {
            listen: (host.proxy_addr.ipv4(), PROXY).into(),
            server: (host.server_addr.ipv4(), SERVER).into(),
        };
        let _server = Server::start(ns, route.server)?;
        // What the measurement before this one left is freed with delay.
        usage::settle()?;
        let tls = contestant.tls().then_some(&self.tls);
        let proxied = contestant.kind != Kind::Direct;
        let (mut service, address) = if proxied {
            let config = contestant.config(&self.common, &[route], false);
            let service = service::launch(contestant, &self.programs, &config, ns, &self.dir)?;
            (Some(service), route.listen)
        } else {
            (None, route.server)
        };
        ensure!(
            eventually(BOUND, || {
                ended(&mut service) || hold::open(ns, address, 1, tls).is_ok()
            }) && !ended(&mut service),
            "no connection served within {BOUND:?}\n{}",
            service
                .as_ref()
                .map(Service::transcript)
                .unwrap_or_default()
        );

        let pid = service.as_ref().map(Service::pid);
        let sockets_before = usage::tcp_sockets(ns)?;
        let before = Usage::read(pid)?;
        let held = hold::open(ns, address, self.connections, tls)?;
        thread::sleep(self.rest);
        let after = Usage::read(pid)?;
        // Each connection has two ends, and through a proxy it is two connections. Had the proxy ended some, their
        // sockets would be missing.
        let ends = if proxied { 4 } else { 2 } * held.len() as u64;
        let sockets = usage::tcp_sockets(ns)?.saturating_sub(sockets_before);
        ensure!(
            sockets + STRAYS >= ends,
            "{sockets} sockets where {ends} were to be held: connections were ended"
        );
        Ok(Sample::new(round, &before, &after, held.len()))
    }
}

fn ended(service: &mut Option<Service>) -> bool {
    service.as_mut().is_some_and(Service::ended)
}

/// Raises this process's limit of open files, which children inherit, as far as `connections` ask for and the system
/// allows: the hard limit can only be raised with CAP_SYS_RESOURCE.
///
/// # Errors
/// When the limit stays too low for that many connections.
fn raise_open_files(connections: usize) -> Result<()> {
    let wanted = (connections * DESCRIPTORS + 1024) as u64;
    sys::raise_open_files(wanted)?;
    if usage::open_files()? < wanted {
        // Who may not raise the hard limit has what it allows, which may do.
        let _ = Command::new("prlimit")
            .args(["--pid", &std::process::id().to_string()])
            .arg(format!("--nofile={wanted}:{wanted}"))
            .output()
            .context("run prlimit (package util-linux)")?;
    }
    enough_open_files(connections, usage::open_files()?)
}

/// Whether `limit` open files do for a process that holds two sockets per connection, be it a proxy or both ends.
fn enough_open_files(connections: usize, limit: u64) -> Result<()> {
    let least = |connections: u64| 2 * (connections + SPARE as u64) + OTHER_FILES;
    let most = limit.saturating_sub(least(0)) / 2;
    ensure!(
        least(connections as u64) <= limit,
        "{connections} connections need {} open files in one process, and the limit is {limit}, which this user \
         may not raise: --connections {most} is the most here",
        least(connections as u64),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::options::Task;

    fn parse(arguments: &[&str]) -> Result<Vec<Contestant>> {
        let all = ["underpass-bench", "memory"];
        let options = crate::options::Options::try_parse_from(all.iter().chain(arguments))?;
        let Some(Task::Memory(options)) = options.task else {
            anyhow::bail!("another task");
        };
        options.contestants()
    }

    #[test]
    fn both_programs_with_and_without_tls_unless_named() {
        let names = |arguments: &[&str]| -> Vec<String> {
            let all = parse(arguments).unwrap();
            all.into_iter().map(|c| c.name).collect()
        };
        assert_eq!(
            names(&[]),
            [
                "direct",
                "haproxy-copy",
                "haproxy-tls",
                "underpass-auto",
                "underpass-tls"
            ]
        );
        assert_eq!(names(&["--only", "haproxy-splice"]), ["haproxy-splice"]);
    }

    #[test]
    fn a_limit_that_is_too_low_is_told_with_what_it_allows() {
        assert!(enough_open_files(10_000, 81_024).is_ok());
        let error = enough_open_files(10_000, 20_000).unwrap_err().to_string();
        assert!(error.contains("--connections 9904 "), "{error}");
        assert!(enough_open_files(9904, 20_000).is_ok());
        assert!(enough_open_files(9905, 20_000).is_err());
        assert!(enough_open_files(1, 10).is_err());
    }

    #[test]
    fn impossible_counts_are_refused() {
        assert!(parse(&["--connections", "0"]).is_err());
        assert!(parse(&["--connections", "60000"]).is_err());
        assert!(parse(&["--connections", "1.5"]).is_err());
        assert!(parse(&["--rounds", "0"]).is_err());
    }
}
