//! The command line, and what it chooses.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand};
use underpass_tests::{daemon, netns::Layout};

use crate::{
    contestant::{self, Contestant, Kind},
    failures, memory,
    service::Programs,
    site,
    tls::KeyKind,
    workload::{self, Workload},
};

/// Loads of a quick run.
const QUICK: &[&str] = &["small-32", "bulk-1", "connect-32"];

/// Loads of the comparison of TLS with raw.
const TLS: &[&str] = &[
    "small-32",
    "small-256",
    "bulk-1",
    "bulk-4",
    "handshake-full",
    "handshake-resumed",
];

/// Loads of the comparison of rules, which are about new connections.
const RULES: &[&str] = &["connect-32"];

/// Loads of the comparison of streams: requests on few and many connections, and new connections.
const STREAMS: &[&str] = &["small-32", "small-256", "connect-32"];

/// Loads of a quick comparison of TLS with raw.
const TLS_QUICK: &[&str] = &["small-32", "bulk-1", "handshake-full", "handshake-resumed"];

/// Measures Underpass beside haproxy and no proxy, in network namespaces.
///
/// The daemon is $UNDERPASS_BIN, or target/release/underpass.
#[derive(Debug, Parser)]
#[command(name = "underpass-bench", args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    /// Another measurement than that of loads.
    #[command(subcommand)]
    pub(crate) task: Option<Task>,
    /// Rounds; each measures every cell once.
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Seconds per measurement.
    #[arg(long, value_name = "S")]
    seconds: Option<u64>,
    /// Seconds of load before each measurement, discarded.
    #[arg(long, value_name = "S", default_value_t = 1)]
    warm_up: u64,
    /// Only these contestants.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    only: Vec<String>,
    /// One more contestant: NAME=PROGRAM:LINE;LINE, the lines added to `defaults`. PROGRAM is underpass, haproxy,
    /// underpass-tls or haproxy-tls.
    #[arg(long, value_name = "SPEC")]
    add: Vec<String>,
    /// Only these workloads.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    workload: Vec<String>,
    /// Only these topologies.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    topology: Vec<String>,
    /// A few minutes: fewer workloads, 3 rounds, 1 s each. Other options still count.
    #[arg(long)]
    quick: bool,
    /// TLS beside raw: haproxy and the daemon with and without TLS, under the loads that show what it costs. Names
    /// given by other options still count.
    #[arg(long)]
    tls: bool,
    /// Connections that rules look at: haproxy and the daemon without rules, with a list of 1000 networks, and with
    /// a counter and a limit per source. Names given by other options still count.
    #[arg(long)]
    rules: bool,
    /// Streams with all that they may have to do: haproxy and the daemon with two servers, checks, limits and queues,
    /// and a log line for each stream, with `balance` roundrobin and leastconn. Names given by other options still
    /// count.
    #[arg(long)]
    streams: bool,
    /// Key of the certificate of those who terminate TLS.
    #[arg(long, value_enum, value_name = "KIND", default_value = "p256")]
    certificate: KeyKind,
    /// Threads of each proxy and workers of the HTTP server.
    #[arg(long, value_name = "N", default_value_t = 2)]
    threads: usize,
    /// The haproxy to compare with.
    #[arg(long, value_name = "PATH", default_value = "/usr/sbin/haproxy")]
    haproxy: PathBuf,
    /// Folder for the results.
    #[arg(long, value_name = "DIR", default_value = "bench-results")]
    out: PathBuf,
    /// Name of the results: NAME.md and NAME.json.
    #[arg(long, default_value = "latest")]
    name: String,
    /// List topologies, workloads and contestants, and end.
    #[arg(long)]
    pub(crate) list: bool,
}

/// What else can be measured.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Memory of established connections on which nothing happens.
    Memory(memory::Options),
    /// Errors that clients see when servers fail, next to haproxy. Ends with 1 when there are more, beyond noise.
    Failures(failures::Options),
}

/// Options made good.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) topologies: Vec<(&'static str, Layout)>,
    pub(crate) workloads: Vec<&'static Workload>,
    pub(crate) contestants: Vec<Contestant>,
    pub(crate) programs: Programs,
    pub(crate) rounds: usize,
    pub(crate) seconds: u64,
    pub(crate) warm_up: u64,
    pub(crate) threads: usize,
    pub(crate) certificate: KeyKind,
    pub(crate) out: PathBuf,
    pub(crate) name: String,
}

impl Options {
    /// Resolves the names, and finds the programs that the chosen contestants need.
    ///
    /// # Errors
    /// On an unknown name, a missing program, or a run of nothing.
    pub(crate) fn choose(self) -> Result<Chosen> {
        let mut contestants = contestant::all();
        let mut only = self.only;
        if only.is_empty() && self.tls {
            only = contestant::with_tls();
        }
        if only.is_empty() && self.rules {
            only = contestant::WITH_RULES
                .iter()
                .map(|&name| name.to_owned())
                .collect();
        }
        if only.is_empty() && self.streams {
            only = contestant::WITH_STREAMS
                .iter()
                .map(|&name| name.to_owned())
                .collect();
        }
        for spec in &self.add {
            let added = contestant::parse_added(spec).with_context(|| spec.clone())?;
            ensure!(
                contestants.iter().all(|c| c.name != added.name),
                "{:?} is already a contestant",
                added.name
            );
            // Who is added takes part, whatever else is chosen.
            if !only.is_empty() {
                only.push(added.name.clone());
            }
            contestants.push(added);
        }
        if only.is_empty() {
            contestants.retain(|c| c.by_default);
        } else {
            contestants = pick("contestant", contestants, &only, |c| &c.name)?;
        }
        let preset: &[&str] = match (self.tls, self.quick) {
            (true, true) => TLS_QUICK,
            (true, false) => TLS,
            (false, _) if self.streams => STREAMS,
            (false, true) => QUICK,
            (false, false) if self.rules => RULES,
            (false, false) => &[],
        };
        let workload_names: Vec<String> = if self.workload.is_empty() {
            preset.iter().map(|&name| name.to_owned()).collect()
        } else {
            self.workload
        };
        let tls = contestants.iter().any(Contestant::tls);
        let mut workloads: Vec<&Workload> = pick(
            "workload",
            workload::ALL.iter().collect(),
            &workload_names,
            |w| w.name,
        )?;
        if workload_names.is_empty() {
            workloads.retain(|w| w.by_default(tls));
        }
        let rounds = self.rounds.unwrap_or(if self.quick { 3 } else { 5 });
        let seconds = self.seconds.unwrap_or(if self.quick { 1 } else { 3 });
        ensure!(rounds > 0 && seconds > 0, "rounds and seconds start at 1");
        let programs = find_programs(&contestants, self.haproxy)?;
        Ok(Chosen {
            topologies: pick("topology", site::ALL.to_vec(), &self.topology, |t| t.0)?,
            workloads,
            contestants,
            programs,
            rounds,
            seconds,
            warm_up: self.warm_up,
            threads: self.threads,
            certificate: self.certificate,
            out: self.out,
            name: self.name,
        })
    }
}

/// Where the programs are that `contestants` need.
///
/// # Errors
/// When one is missing.
pub(crate) fn find_programs(contestants: &[Contestant], haproxy: PathBuf) -> Result<Programs> {
    let has = |kind| contestants.iter().any(|c| c.kind == kind);
    let underpass = if has(Kind::Underpass) {
        daemon::binary().context("no daemon to measure (--only leaves it out)")?
    } else {
        PathBuf::new()
    };
    if has(Kind::Haproxy) && !haproxy.is_file() {
        bail!(
            "{} is missing: install the package haproxy, or use --haproxy PATH",
            haproxy.display()
        );
    }
    Ok(Programs { haproxy, underpass })
}

/// Those of `all` that `names` names, in the order of `all`; everything when there are no names.
///
/// # Errors
/// On a name that is none.
pub(crate) fn pick<T>(
    what: &str,
    all: Vec<T>,
    names: &[String],
    name_of: impl Fn(&T) -> &str,
) -> Result<Vec<T>> {
    if names.is_empty() {
        return Ok(all);
    }
    for name in names {
        if !all.iter().any(|item| name_of(item) == name) {
            let known: Vec<&str> = all.iter().map(&name_of).collect();
            bail!("no {what} {name:?}; there are: {}", known.join(", "));
        }
    }
    Ok(all
        .into_iter()
        .filter(|item| names.iter().any(|name| name == name_of(item)))
        .collect())
}

/// Prints what can be chosen.
pub(crate) fn list() {
    println!("topologies:");
    for (name, _) in site::ALL {
        println!("  {name}");
    }
    println!("workloads:");
    for workload in workload::ALL {
        println!("  {:20} {}", workload.name, workload.about);
    }
    println!("contestants:");
    for contestant in contestant::all() {
        let mut words = contestant.lines.clone();
        if contestant.tls() {
            words.push("TLS".to_owned());
        }
        let note = if contestant.by_default {
            ""
        } else {
            " (only when named)"
        };
        println!("  {:20} {}{note}", contestant.name, words.join("; "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(arguments: &[&str]) -> Result<Chosen> {
        let only = ["underpass-bench", "--haproxy", "/bin/true"];
        Options::try_parse_from(only.iter().chain(arguments))?.choose()
    }

    #[test]
    fn names_are_resolved_in_the_tables_order() {
        let chosen = choose(&[
            "--only",
            "haproxy-copy,direct",
            "--workload",
            "bulk-1",
            "--topology",
            "loopback",
        ])
        .unwrap();
        let names: Vec<_> = chosen.contestants.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["direct", "haproxy-copy"]);
        assert_eq!(chosen.workloads.len(), 1);
        assert_eq!(chosen.topologies[0].0, "loopback");
        assert_eq!((chosen.rounds, chosen.seconds), (5, 3));
    }

    #[test]
    fn quick_is_a_default_only() {
        let chosen = choose(&["--quick", "--seconds", "2", "--only", "direct"]).unwrap();
        assert_eq!((chosen.rounds, chosen.seconds), (3, 2));
        let names: Vec<_> = chosen.workloads.iter().map(|w| w.name).collect();
        assert_eq!(names, QUICK);
        let chosen = choose(&["--quick", "--workload", "small-1", "--only", "direct"]).unwrap();
        assert_eq!(chosen.workloads.len(), 1);
    }

    #[test]
    fn tls_is_a_default_only() {
        let chosen = choose(&["--tls", "--only", "haproxy-copy,haproxy-tls"]).unwrap();
        let names: Vec<_> = chosen.workloads.iter().map(|w| w.name).collect();
        assert_eq!(names, TLS);
        assert_eq!(chosen.certificate, KeyKind::P256);
        let chosen = choose(&["--tls", "--quick", "--only", "haproxy-tls"]).unwrap();
        let names: Vec<_> = chosen.workloads.iter().map(|w| w.name).collect();
        assert_eq!(names, TLS_QUICK);
        let chosen = choose(&["--tls", "--workload", "small-1", "--only", "haproxy-tls"]).unwrap();
        assert_eq!(chosen.workloads.len(), 1);
    }

    #[test]
    fn handshakes_run_by_default_only_beside_tls() {
        let count = |only: &str| choose(&["--only", only]).unwrap().workloads.len();
        assert_eq!(count("haproxy-tls"), workload::ALL.len());
        assert_eq!(count("haproxy-copy"), workload::ALL.len() - 2);
    }

    #[test]
    fn streams_are_a_default_only() {
        let chosen = choose(&["--streams", "--only", "haproxy-rr,haproxy-lc"]).unwrap();
        let names: Vec<_> = chosen.workloads.iter().map(|w| w.name).collect();
        assert_eq!(names, STREAMS);
        let chosen = choose(&["--streams", "--workload", "small-1", "--only", "haproxy-rr"]);
        assert_eq!(chosen.unwrap().workloads.len(), 1);
    }

    #[test]
    fn unknown_names_are_refused_with_the_known_ones() {
        let error = choose(&["--only", "nobody"]).unwrap_err().to_string();
        assert!(error.contains("haproxy-copy"), "{error}");
        assert!(choose(&["--workload", "x", "--only", "direct"]).is_err());
        assert!(choose(&["--rounds", "0", "--only", "direct"]).is_err());
    }

    #[test]
    fn added_contestants_need_a_name_of_their_own() {
        let named = "mine=haproxy:option splice-auto";
        let chosen = choose(&["--add", named, "--only", "direct"]).unwrap();
        assert_eq!(chosen.contestants.len(), 2);
        assert_eq!(chosen.contestants[1].lines, ["option splice-auto"]);
        assert!(choose(&["--add", "direct=haproxy", "--only", "direct"]).is_err());
    }
}
