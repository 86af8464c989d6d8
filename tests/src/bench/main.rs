//! `underpass-bench`: Underpass, haproxy and no proxy at all under the same loads, interleaved, in one run.
//!
//! See `docs/bench.md` for the method. Needs root: the hosts are network namespaces.

mod bulk;
mod contestant;
mod cpu;
mod failures;
mod handshake;
mod interrupt;
mod load;
mod log_sink;
mod machine;
mod memory;
mod options;
mod plan;
mod report;
mod runner;
mod service;
mod site;
mod stats;
mod table;
mod tls;
mod tls_sink;
mod workload;

use std::{fs, path::Path, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use clap::Parser;
use serde::Serialize;

use crate::{
    contestant::{Common, Contestant},
    cpu::background,
    interrupt::Interrupt,
    options::{Chosen, Options, Task},
    report::{Entrant, Report, Settings},
    runner::Runner,
    site::Site,
};

/// Starting, warming up and stopping a proxy, roughly, beyond the loads' own time.
const OVERHEAD_SECONDS: f64 = 0.6;

/// Connections a proxy may have: more than any load opens.
const MAXCONN: usize = 4096;

/// Exit status of a run that a signal cut short.
const INTERRUPTED: u8 = 130;

fn main() -> Result<ExitCode> {
    let mut options = Options::parse();
    match options.task.take() {
        Some(Task::Memory(options)) => return memory::run(options),
        Some(Task::Failures(options)) => return failures::run(&options),
        None => {}
    }
    if options.list {
        options::list();
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = options.choose()?;
    let machine = machine::describe(&chosen.programs, &chosen.contestants, &["nginx", "wrk"])?;
    let interrupt = Interrupt::listen()?;
    underpass_tests::sys::raise_open_files(65_536).context("raise the limit of open files")?;
    let idle = background(Duration::from_secs(1))?;
    let dir = tempfile::Builder::new()
        .prefix("underpass-bench-")
        .tempdir()?;
    runner::prepare(dir.path())?;
    let tls = chosen.contestants.iter().any(Contestant::tls);
    if tls {
        tls::make_certificate(chosen.certificate, dir.path())?;
    }
    let sites = chosen
        .topologies
        .iter()
        .map(|(name, layout)| {
            let logs = chosen.contestants.iter().any(Contestant::logs_streams);
            Site::build(name, *layout, chosen.threads, logs, dir.path())
        })
        .collect::<Result<Vec<_>>>()?;

    let settings = Settings {
        date: machine::date()?,
        rounds: chosen.rounds,
        seconds: chosen.seconds,
        warm_up_seconds: chosen.warm_up,
        threads: chosen.threads,
        certificate: tls.then_some(chosen.certificate),
        background_busy: idle.busy_share(),
    };
    announce(&chosen, settings.background_busy);
    let Chosen {
        contestants,
        workloads,
        programs,
        rounds,
        seconds,
        warm_up,
        threads,
        name,
        out,
        ..
    } = chosen;
    let runner = Runner {
        sites,
        workloads,
        contestants,
        programs,
        rounds,
        seconds,
        warm_up,
        common: Common {
            threads,
            maxconn: MAXCONN,
            timeout: "1m",
            certificate: tls::bundle(dir.path()),
            networks: networks(dir.path())?,
            log: site::log_sink(),
        },
        tls: Arc::new(tls::client()?),
        dir: dir.path().to_owned(),
        interrupt,
    };
    let mut report = Report {
        machine,
        settings,
        entrants: runner.contestants.iter().map(Entrant::from).collect(),
        trials: Vec::new(),
        cells: runner.cells(),
        groups: Vec::new(),
        interrupted: false,
    };
    runner.trials(&mut report);
    // Written after every round: a long run that dies leaves what it has.
    runner.rounds(&mut report, |report| write(report, &out, &name))?;
    println!("{}", table::render(&report));
    eprintln!(
        "written: {}",
        out.join(format!("{name}.{{md,json}}")).display()
    );
    Ok(if report.interrupted {
        ExitCode::from(INTERRUPTED)
    } else {
        ExitCode::SUCCESS
    })
}

/// How many networks [`networks`] lists.
const NETWORKS: u32 = 1000;

/// Writes the list of networks for those who look connections up in one: `NETWORKS` different /24
/// of 11.0.0.0/8 and beyond, which no client here is in.
fn networks(dir: &Path) -> Result<std::path::PathBuf> {
    use std::{fmt::Write as _, net::Ipv4Addr};
    let mut text = String::new();
    for number in 0..NETWORKS {
        // A stride that is odd spreads them over the whole range without a repetition.
        let address = Ipv4Addr::from(0x0b00_0000 + ((number * 7919) << 8) % 0x7000_0000);
        let _ = writeln!(text, "{address}/24");
    }
    let path = dir.join("networks.lst");
    fs::write(&path, text).with_context(|| path.display().to_string())?;
    Ok(path)
}

fn announce(chosen: &Chosen, busy: f64) {
    let pairs = chosen
        .workloads
        .iter()
        .flat_map(|w| chosen.contestants.iter().filter(|c| w.suits(c.tls())))
        .count();
    let cells = chosen.topologies.len() * pairs;
    let each = load::to_f64(chosen.seconds + chosen.warm_up) + OVERHEAD_SECONDS;
    let total = load::to_f64((cells * chosen.rounds) as u64) * each;
    eprintln!(
        "{cells} cells, {} rounds: about {:.0} min",
        chosen.rounds,
        (total / 60.0).ceil()
    );
    if busy > 0.05 {
        eprintln!(
            "warning: {:.0} % of the machine is busy with something else; the figures will show it",
            busy * 100.0
        );
    }
}

fn write(report: &mut Report, out: &Path, name: &str) -> Result<()> {
    report.summarise();
    save(report, &table::render(report), out, name)
}

/// Writes a report as `NAME.json`, and as `NAME.md`, which is `text`.
fn save(report: &impl Serialize, text: &str, out: &Path, name: &str) -> Result<()> {
    fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let json = out.join(format!("{name}.json"));
    fs::write(&json, serde_json::to_string_pretty(report)? + "\n")
        .with_context(|| json.display().to_string())?;
    let markdown = out.join(format!("{name}.md"));
    fs::write(&markdown, text).with_context(|| markdown.display().to_string())
}
