//! The command line, and what it chooses.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use underpass_tests::{daemon, netns::Layout};

use crate::{
    contestant::{self, Contestant, Kind},
    service::Programs,
    site,
    workload::{self, Workload},
};

/// Loads of a quick run.
const QUICK: &[&str] = &["small-32", "bulk-1", "connect-32"];

/// Measures Underpass beside haproxy and no proxy, in network namespaces.
///
/// The daemon is $UNDERPASS_BIN, or target/release/underpass.
#[derive(Debug, Parser)]
#[command(name = "underpass-bench")]
pub(crate) struct Options {
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
    /// One more contestant: NAME=underpass:LINE;LINE or NAME=haproxy:LINE;LINE, the lines added to `defaults`.
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
    pub(crate) out: PathBuf,
    pub(crate) name: String,
}

impl Options {
    /// Resolves the names, and finds the programs that the chosen contestants need.
    ///
    /// # Errors
    /// On an unknown name, a missing program, or a run of nothing.
    pub(crate) fn choose(self) -> Result<Chosen> {
        let workload_names: Vec<String> = if self.workload.is_empty() && self.quick {
            QUICK.iter().map(|&name| name.to_owned()).collect()
        } else {
            self.workload.clone()
        };
        let mut contestants = contestant::all();
        let mut only = self.only;
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
        let rounds = self.rounds.unwrap_or(if self.quick { 3 } else { 5 });
        let seconds = self.seconds.unwrap_or(if self.quick { 1 } else { 3 });
        ensure!(rounds > 0 && seconds > 0, "rounds and seconds start at 1");
        let has = |kind| contestants.iter().any(|c| c.kind == kind);
        let underpass = if has(Kind::Underpass) {
            daemon::binary().context("no daemon to measure (--only leaves it out)")?
        } else {
            PathBuf::new()
        };
        if has(Kind::Haproxy) && !self.haproxy.is_file() {
            bail!(
                "{} is missing: install the package haproxy, or use --haproxy PATH",
                self.haproxy.display()
            );
        }
        Ok(Chosen {
            topologies: pick("topology", site::ALL.to_vec(), &self.topology, |t| t.0)?,
            workloads: pick(
                "workload",
                workload::ALL.iter().collect(),
                &workload_names,
                |w| w.name,
            )?,
            contestants,
            programs: Programs {
                haproxy: self.haproxy,
                underpass,
            },
            rounds,
            seconds,
            warm_up: self.warm_up,
            threads: self.threads,
            out: self.out,
            name: self.name,
        })
    }
}

/// Those of `all` that `names` names, in the order of `all`; everything when there are no names.
fn pick<T>(
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
        let note = if contestant.by_default {
            ""
        } else {
            " (only when named)"
        };
        println!(
            "  {:20} {}{note}",
            contestant.name,
            contestant.lines.join("; ")
        );
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
