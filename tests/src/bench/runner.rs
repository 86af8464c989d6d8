//! The run: trials, then rounds.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustls::ClientConfig;
use underpass_tests::{
    process::{Output, Process},
    record::Record,
};

use crate::{
    bulk,
    contestant::{Common, Contestant, Kind},
    cpu::CpuTimes,
    handshake,
    interrupt::Interrupt,
    load::{self, Outcome},
    log_sink::LogSink,
    plan,
    report::{Cell, Logged, Report, Sample, Trial},
    service::{self, Programs, Service},
    site::Site,
    tls,
    workload::{self, Generator, TRANSFER_BYTES, Unit, Workload},
};

/// What a load generator may take beyond its time: connecting, and the last answers.
const GRACE: Duration = Duration::from_secs(30);

/// How long the daemon's log line of a stream that has ended may take.
const LOG_BOUND: Duration = Duration::from_secs(5);

/// Everything a run needs to know.
pub(crate) struct Runner {
    pub(crate) sites: Vec<Site>,
    pub(crate) workloads: Vec<&'static Workload>,
    pub(crate) contestants: Vec<Contestant>,
    pub(crate) programs: Programs,
    pub(crate) rounds: usize,
    pub(crate) seconds: u64,
    pub(crate) warm_up: u64,
    /// What the proxies' configurations have in common.
    pub(crate) common: Common,
    /// The settings of clients of those who terminate TLS.
    pub(crate) tls: Arc<ClientConfig>,
    /// For configurations and scripts.
    pub(crate) dir: PathBuf,
    pub(crate) interrupt: Interrupt,
}

impl Runner {
    /// Starts every contestant once in every topology, moves one transfer, and notes the path it took. Who fails here
    /// takes no part in that topology, instead of failing again and again.
    pub(crate) fn trials(&self, report: &mut Report) {
        for site in &self.sites {
            for contestant in &self.contestants {
                if self.interrupt.requested() {
                    return;
                }
                let mut trial = Trial {
                    topology: site.name().to_owned(),
                    contestant: contestant.name.clone(),
                    path: None,
                    remarks: Vec::new(),
                    failure: None,
                };
                if let Err(error) = self.trial(site, contestant, &mut trial) {
                    eprintln!(
                        "{} {}: takes no part: {error:#}",
                        site.name(),
                        contestant.name
                    );
                    trial.failure = Some(format!("{error:#}"));
                }
                // Only our daemon says which path it took.
                if contestant.kind == Kind::Underpass || trial.failure.is_some() {
                    report.trials.push(trial);
                }
            }
        }
    }

    fn trial(&self, site: &Site, contestant: &Contestant, trial: &mut Trial) -> Result<()> {
        let logs = contestant.kind == Kind::Underpass;
        let service = self.start(site, contestant, logs)?;
        bulk::transfer_once(
            site.client(),
            site.target(contestant, Unit::Bytes),
            TRANSFER_BYTES,
            self.tls(contestant),
        )?;
        if contestant.tls() {
            let suite =
                service::chosen_suite(site.client(), site.target(contestant, Unit::Requests))?;
            ensure!(
                suite == tls::NEGOTIATED,
                "chose the cipher suite {suite:?}, not {}",
                tls::CIPHER_SUITE
            );
        }
        let Some(mut service) = service.filter(|_| logs) else {
            return Ok(());
        };
        // A log this program does not understand is no reason to leave the daemon out.
        if let Some(record) = big_record(&service) {
            if record.why != "-" {
                trial.remarks.push(record.why);
            }
            if record.path.iter().all(|p| !p.is_empty()) {
                trial.path = Some(record.path);
            }
        }
        service.stop()?;
        let warnings = service
            .lines(Output::Stderr)
            .into_iter()
            .filter(|line| line.to_lowercase().contains("warn"));
        trial.remarks.extend(warnings);
        Ok(())
    }

    /// Measures every cell once per round. `after_round` is called with what there is so far.
    ///
    /// # Errors
    /// Only those of `after_round`: a measurement that fails is noted in its cell.
    pub(crate) fn rounds(
        &self,
        report: &mut Report,
        mut after_round: impl FnMut(&mut Report) -> Result<()>,
    ) -> Result<()> {
        let begin = Instant::now();
        for round in 0..self.rounds {
            for site in &self.sites {
                for workload in &self.workloads {
                    for index in plan::order(self.contestants.len(), round) {
                        if self.interrupt.requested() {
                            report.interrupted = true;
                            return after_round(report);
                        }
                        let contestant = &self.contestants[index];
                        if workload.suits(contestant.tls()) {
                            self.cell(report, round, site, workload, contestant);
                        }
                    }
                }
            }
            eprintln!(
                "round {} of {} done, {:.0} s so far",
                round + 1,
                self.rounds,
                begin.elapsed().as_secs_f64()
            );
            after_round(report)?;
        }
        Ok(())
    }

    /// The cells of the run, empty, in the order of the tables.
    pub(crate) fn cells(&self) -> Vec<Cell> {
        let mut cells = Vec::new();
        for site in &self.sites {
            for workload in &self.workloads {
                for contestant in self.contestants.iter().filter(|c| workload.suits(c.tls())) {
                    cells.push(Cell {
                        topology: site.name().to_owned(),
                        workload: workload.name.to_owned(),
                        about: workload.about.to_owned(),
                        unit: workload.unit,
                        contestant: contestant.name.clone(),
                        samples: Vec::new(),
                        failures: Vec::new(),
                    });
                }
            }
        }
        cells
    }

    fn cell(
        &self,
        report: &mut Report,
        round: usize,
        site: &Site,
        workload: &Workload,
        contestant: &Contestant,
    ) {
        let out = report.trials.iter().any(|t| {
            t.failure.is_some() && t.topology == site.name() && t.contestant == contestant.name
        });
        if out {
            return;
        }
        let measured = self.measure(round, site, workload, contestant);
        let cell = report.cells.iter_mut().find(|c| {
            c.topology == site.name()
                && c.workload == workload.name
                && c.contestant == contestant.name
        });
        let Some(cell) = cell else { return };
        match measured {
            Ok(sample) => cell.samples.push(sample),
            Err(error) => {
                eprintln!(
                    "{} {} {}: {error:#}",
                    site.name(),
                    workload.name,
                    contestant.name
                );
                cell.failures
                    .push(format!("round {}: {error:#}", round + 1));
            }
        }
    }

    fn measure(
        &self,
        round: usize,
        site: &Site,
        workload: &Workload,
        contestant: &Contestant,
    ) -> Result<Sample> {
        // A proxy lives for one measurement. Kept alive, it would cost the others: timers, and whatever programs it
        // has attached to the interfaces or sockets that all share.
        let sink = site.log().filter(|_| contestant.logs_streams());
        let lines_before = sink.map(LogSink::settled).transpose()?;
        let service = self.start(site, contestant, false)?;
        // The check that it serves is a stream too.
        let mut streams = 1;
        if self.warm_up > 0 {
            let outcome = self.load(site, workload, contestant, self.warm_up)?;
            streams += workload.streams(&outcome);
        }
        let before = CpuTimes::now()?;
        let outcome = self.load(site, workload, contestant, self.seconds)?;
        let cpu = CpuTimes::now()?.since(&before);
        if let Some(sink) = sink {
            // Streams that are still ending are not logged by a proxy that is told to stop.
            sink.settled()?;
        }
        drop(service);
        streams += workload.streams(&outcome);
        let logged = match (sink, lines_before) {
            (Some(sink), Some(before)) => {
                let after = sink.settled()?;
                Some(Logged {
                    streams,
                    lines: after.lines - before.lines,
                    dropped: after.dropped - before.dropped,
                })
            }
            _ => None,
        };
        ensure!(
            outcome.requests > 0 && outcome.bytes > 0 && !outcome.duration.is_zero(),
            "nothing was served"
        );
        let sample = Sample::new(round, workload.unit, &outcome, &cpu);
        Ok(Sample { logged, ..sample })
    }

    fn start(&self, site: &Site, contestant: &Contestant, log: bool) -> Result<Option<Service>> {
        if contestant.kind == Kind::Direct {
            return Ok(None);
        }
        let routes = site.routes();
        service::proxy(
            contestant,
            &self.programs,
            &contestant.config(&self.common, &routes, log),
            (site.proxy(), site.client()),
            (&routes, self.tls(contestant)),
            &self.dir,
        )
        .map(Some)
    }

    fn tls(&self, contestant: &Contestant) -> Option<&Arc<ClientConfig>> {
        contestant.tls().then_some(&self.tls)
    }

    fn load(
        &self,
        site: &Site,
        workload: &Workload,
        contestant: &Contestant,
        seconds: u64,
    ) -> Result<Outcome> {
        let target = site.target(contestant, workload.unit);
        match workload.generator {
            Generator::Bulk => bulk::drain(
                site.client(),
                target,
                workload.connections,
                Duration::from_secs(seconds),
                TRANSFER_BYTES,
                self.tls(contestant),
            ),
            Generator::Handshakes(sessions) => handshake::run(
                site.client(),
                target,
                workload.connections,
                Duration::from_secs(seconds),
                self.tls(contestant).map(|config| (config, sessions)),
            ),
            Generator::Replies | Generator::Connect => {
                let script = script(&self.dir);
                let scheme = if contestant.tls() { "https" } else { "http" };
                let url = format!("{scheme}://{target}/");
                let mut command = site.client().command("wrk");
                command.args(workload::wrk_arguments(workload, &script, seconds, &url));
                service::shield(&mut command);
                let mut wrk = Process::spawn(&mut command)?;
                let bound = Duration::from_secs(seconds) + GRACE;
                let outcome =
                    wrk.wait_lines(Output::Stdout, bound, "result of wrk", |lines| {
                        let last = lines
                            .iter()
                            .rev()
                            .find(|l| l.starts_with(load::RESULT_MARK))?;
                        Some(load::parse(last))
                    })??;
                wrk.wait_exit(GRACE)?;
                Ok(outcome)
            }
        }
    }
}

fn script(dir: &Path) -> PathBuf {
    dir.join("wrk.lua")
}

/// Writes what the load generators need into `dir`.
///
/// # Errors
/// When `dir` cannot be written to.
pub(crate) fn prepare(dir: &Path) -> Result<()> {
    std::fs::write(script(dir), load::WRK_SCRIPT).context("script for wrk")
}

/// The log record of the trial transfer, told from the readiness request by its size.
fn big_record(service: &Service) -> Option<Record> {
    service.find_line(Output::Stdout, LOG_BOUND, |line| {
        Record::parse(line).filter(|record| record.down >= TRANSFER_BYTES)
    })
}
