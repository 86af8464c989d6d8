//! What clients see when servers fail: the daemon and haproxy with the same file and the same failures, interleaved.

use std::{fmt::Write as _, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;
use underpass_tests::{
    daemon,
    failures::{
        self, Plan,
        tally::{Tally, expected, noise, worse},
        visitors::Outcome,
    },
};

use crate::{
    contestant,
    interrupt::Interrupt,
    machine, plan,
    report::Machine,
    service::Programs,
    table::{line, table_head, table_row},
};

/// The contestants, ours first.
const NAMES: [&str; 2] = ["underpass", "haproxy"];

/// The algorithms, one comparison each.
const BALANCE: [&str; 2] = ["roundrobin", "leastconn"];

/// The command line of `failures`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Seconds per run of a program.
    #[arg(long, value_name = "N", default_value_t = 30)]
    seconds: u64,
    /// Rounds; each runs both programs with each `balance`, with a seed of its own.
    #[arg(long, value_name = "R", default_value_t = 5)]
    rounds: usize,
    /// Seed of the first round.
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
    /// Clients, each with one connection at a time.
    #[arg(long, value_name = "N", default_value_t = 24)]
    clients: u32,
    /// Milliseconds from one question of a client to its next.
    #[arg(long, value_name = "MS", default_value_t = 100)]
    pace: u64,
    /// The haproxy to compare with.
    #[arg(long, value_name = "PATH", default_value = "/usr/sbin/haproxy")]
    haproxy: PathBuf,
    /// Folder for the results.
    #[arg(long, value_name = "DIR", default_value = "bench-results")]
    out: PathBuf,
    /// Name of the results: NAME.md and NAME.json.
    #[arg(long, default_value = "failures")]
    name: String,
}

/// One run of one program.
#[derive(Debug, Clone, Serialize)]
struct Sample {
    balance: &'static str,
    contestant: &'static str,
    seed: u64,
    requests: u64,
    /// Visits by how they went.
    outcomes: Vec<(&'static str, u64)>,
    skipped: u64,
    cut: u64,
    #[serde(skip)]
    tally: Tally,
}

impl Sample {
    fn new(balance: &'static str, contestant: &'static str, seed: u64, tally: Tally) -> Self {
        Self {
            balance,
            contestant,
            seed,
            requests: tally.requests(),
            outcomes: Outcome::ALL.map(|o| (o.name(), tally.of(o))).to_vec(),
            skipped: tally.skipped,
            cut: tally.cut,
            tally,
        }
    }
}

/// The whole comparison.
#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    date: String,
    seconds: u64,
    rounds: usize,
    clients: u32,
    pace_ms: u64,
    samples: Vec<Sample>,
    /// In what the daemon is worse.
    findings: Vec<String>,
    interrupted: bool,
}

/// Compares, and writes the report after every round. The exit status is 1 when clients of the daemon see more errors
/// than noise explains.
///
/// # Errors
/// On options that make no sense, and when a program does not run.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    ensure!(
        options.rounds > 0 && options.seconds > 0 && options.clients > 0 && options.pace > 0,
        "rounds, seconds, clients and pace start at 1"
    );
    let programs = Programs {
        haproxy: options.haproxy.clone(),
        underpass: daemon::binary()?,
    };
    let contestants: Vec<_> = NAMES
        .iter()
        .map(|name| contestant::parse_added(&format!("{name}={name}")))
        .collect::<Result<_>>()?;
    let mut report = Report {
        machine: machine::describe(&programs, &contestants, &[])?,
        date: machine::date()?,
        seconds: options.seconds,
        rounds: options.rounds,
        clients: options.clients,
        pace_ms: options.pace,
        samples: Vec::new(),
        findings: Vec::new(),
        interrupted: false,
    };
    let interrupt = Interrupt::listen()?;
    'rounds: for round in 0..options.rounds {
        let seed = options.seed + round as u64;
        for balance in BALANCE {
            for index in plan::order(NAMES.len(), round) {
                let program = [&programs.underpass, &programs.haproxy][index];
                let measured = failures::run(
                    program,
                    &Plan {
                        seed,
                        length: Duration::from_secs(options.seconds),
                        balance,
                        visitors: options.clients,
                        pace: Duration::from_millis(options.pace),
                    },
                );
                // The signal may have reached the program too.
                if interrupt.requested() {
                    report.interrupted = true;
                    break 'rounds;
                }
                let name = NAMES[index];
                let tally = measured.with_context(|| format!("{name}, {balance}, seed {seed}"))?;
                eprintln!("{balance} seed {seed} {name}: {tally}");
                report.samples.push(Sample::new(balance, name, seed, tally));
            }
        }
        report.findings = findings(&report.samples);
        crate::save(&report, &render(&report), &options.out, &options.name)?;
        eprintln!("round {} of {} done", round + 1, options.rounds);
    }
    report.findings = findings(&report.samples);
    println!("{}", render(&report));
    Ok(if report.interrupted {
        ExitCode::from(crate::INTERRUPTED)
    } else if report.findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The sums of both contestants over the rounds that both have run.
fn sums(samples: &[Sample], balance: Option<&str>) -> [Tally; 2] {
    let mut sums = [Tally::default(); 2];
    for (sum, name) in sums.iter_mut().zip(NAMES) {
        for sample in samples {
            let has_pair = samples.iter().any(|other| {
                other.contestant != sample.contestant
                    && (other.balance, other.seed) == (sample.balance, sample.seed)
            });
            let asked_for = balance.is_none_or(|balance| sample.balance == balance);
            if asked_for && has_pair && sample.contestant == name {
                sum.add(&sample.tally);
            }
        }
    }
    sums
}

fn findings(samples: &[Sample]) -> Vec<String> {
    let mut findings = Vec::new();
    for balance in BALANCE {
        let [ours, theirs] = sums(samples, Some(balance));
        let found = worse(&ours, &theirs);
        findings.extend(found.into_iter().map(|text| format!("{balance}: {text}")));
    }
    let [ours, theirs] = sums(samples, None);
    let found = worse(&ours, &theirs);
    findings.extend(found.into_iter().map(|text| format!("together: {text}")));
    findings
}

fn render(report: &Report) -> String {
    let machine = &report.machine;
    let mut text = String::new();
    line(&mut text, "# What clients see of failing servers\n");
    line(
        &mut text,
        &format!(
            "- {}; Linux {}; {}, {} cores, {} MiB",
            report.date, machine.kernel, machine.cpu, machine.cores, machine.memory_mib
        ),
    );
    for (name, version) in &machine.versions {
        line(&mut text, &format!("- {name}: {version}"));
    }
    line(
        &mut text,
        &format!(
            "- {} rounds of {} s for each program and algorithm, contestants interleaved, each pair with the same \
             seed; {} clients, a question every {} ms each",
            report.rounds, report.seconds, report.clients, report.pace_ms
        ),
    );
    if report.interrupted {
        line(&mut text, "- **Interrupted: later rounds are missing.**");
    }
    text.push('\n');
    for balance in BALANCE.map(Some).into_iter().chain([None]) {
        table(report, balance, &mut text);
    }
    line(&mut text, "## More errors than haproxy, beyond noise\n");
    if report.findings.is_empty() {
        line(&mut text, "None.");
    }
    for finding in &report.findings {
        line(&mut text, &format!("- {finding}"));
    }
    text
}

fn table(report: &Report, balance: Option<&str>, text: &mut String) {
    let sums = sums(&report.samples, balance);
    line(text, &format!("## {}\n", balance.unwrap_or("together")));
    let failed = Outcome::ALL.into_iter().filter(|o| *o != Outcome::Complete);
    let mut titles: Vec<String> = ["contestant", "requests"].map(str::to_owned).into();
    titles.extend(failed.clone().map(|o| o.name().to_owned()));
    titles.extend(
        [
            "errors",
            "per 1000",
            "of these without any byte",
            "cut by servers",
            "not asked",
        ]
        .map(str::to_owned),
    );
    table_head(text, &titles);
    for (name, tally) in NAMES.iter().zip(&sums) {
        let mut row = vec![(*name).to_owned(), tally.requests().to_string()];
        row.extend(failed.clone().map(|o| tally.of(o).to_string()));
        row.extend([
            tally.errors().to_string(),
            format!("{:.2}", per_thousand(tally)),
            tally.unanswered().to_string(),
            tally.cut.to_string(),
            tally.skipped.to_string(),
        ]);
        table_row(text, &row);
    }
    let [ours, theirs] = sums;
    let in_as_many = expected(theirs.errors(), &ours, &theirs);
    let mut verdict = format!(
        "\nUnderpass has {} errors, haproxy {in_as_many} in as many requests; up to {} more are noise.",
        ours.errors(),
        noise(ours.errors(), in_as_many)
    );
    if theirs.errors() > 0 {
        let ratio = per_thousand(&ours) / per_thousand(&theirs);
        let _ = write!(verdict, " Ratio of errors per request: {ratio:.2}.");
    }
    line(text, &verdict);
    text.push('\n');
}

fn per_thousand(tally: &Tally) -> f64 {
    let requests = tally.requests().max(1);
    crate::load::to_f64(tally.errors()) * 1000.0 / crate::load::to_f64(requests)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(contestant: &'static str, seed: u64, resets: u64) -> Sample {
        let mut tally = Tally::default();
        for number in 0..1000 {
            tally.count(if number < resets {
                Outcome::ResetMidway
            } else {
                Outcome::Complete
            });
        }
        Sample::new("roundrobin", contestant, seed, tally)
    }

    fn report(samples: Vec<Sample>) -> Report {
        Report {
            machine: Machine {
                kernel: "6.18.0".into(),
                cpu: "Some CPU".into(),
                cores: 2,
                memory_mib: 1024,
                versions: Vec::new(),
            },
            date: "2026-10-17T12:00:00Z".into(),
            seconds: 1,
            rounds: 1,
            clients: 1,
            pace_ms: 1,
            findings: findings(&samples),
            samples,
            interrupted: false,
        }
    }

    #[test]
    fn only_pairs_are_compared() {
        let samples = [
            sample("underpass", 1, 10),
            sample("haproxy", 1, 12),
            sample("underpass", 2, 900),
        ];
        let [ours, theirs] = sums(&samples, None);
        assert_eq!((ours.errors(), theirs.errors()), (10, 12));
        assert_eq!(sums(&samples, Some("leastconn"))[0].requests(), 0);
        assert_eq!(findings(&samples), [""; 0]);
    }

    #[test]
    fn more_errors_are_told_with_the_ratio() {
        let text = render(&report(vec![
            sample("underpass", 1, 200),
            sample("haproxy", 1, 100),
        ]));
        assert!(
            text.contains("Ratio of errors per request: 2.00."),
            "{text}"
        );
        assert!(
            text.contains(
                "- roundrobin: errors: 200, against 100 in as many requests and 51 for noise"
            ),
            "{text}"
        );
        let text = render(&report(vec![
            sample("underpass", 1, 100),
            sample("haproxy", 1, 100),
        ]));
        assert!(text.contains("\nNone."), "{text}");
    }
}
