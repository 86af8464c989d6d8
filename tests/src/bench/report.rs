//! The results of a run: what was measured, on what, and the summary of it.
//!
//! This is also the JSON file's form; every number carries its unit in its name.

use serde::Serialize;

use crate::{
    contestant::{Contestant, Kind},
    load::{Outcome, to_f64},
    stats::{Ratio, Spread, ratio, spread},
    tls::KeyKind,
    workload::Unit,
};

/// The machine and the programs of a run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_mib: u64,
    /// Name and version line of every program that takes part.
    pub(crate) versions: Vec<(String, String)>,
}

/// How the run was made.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Settings {
    pub(crate) date: String,
    pub(crate) rounds: usize,
    pub(crate) seconds: u64,
    pub(crate) warm_up_seconds: u64,
    pub(crate) threads: usize,
    /// Key and signature of the certificate, if anybody terminates TLS.
    pub(crate) certificate: Option<KeyKind>,
    /// Share of the machine, 0 to 1, that was busy before the run began.
    pub(crate) background_busy: f64,
}

/// A contestant as the report names it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Entrant {
    pub(crate) name: String,
    /// Whether ratios are taken against it (the better one, if several are).
    pub(crate) reference: bool,
    /// Whether it is this project's.
    pub(crate) ours: bool,
    /// For one that terminates TLS: who does the same without.
    pub(crate) raw: Option<String>,
    /// What its configuration has beyond the common one.
    pub(crate) lines: Vec<String>,
}

impl From<&Contestant> for Entrant {
    fn from(contestant: &Contestant) -> Self {
        Self {
            name: contestant.name.clone(),
            reference: contestant.kind == Kind::Haproxy,
            ours: contestant.kind == Kind::Underpass,
            raw: contestant.raw.clone(),
            lines: contestant.lines.clone(),
        }
    }
}

/// Which path a contestant took in a trial transfer, by its own log.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Trial {
    pub(crate) topology: String,
    pub(crate) contestant: String,
    /// Client to server, server to client.
    pub(crate) path: Option<[String; 2]>,
    /// What the daemon gave as the reason, and its warnings.
    pub(crate) remarks: Vec<String>,
    /// Why it does not take part in this topology.
    pub(crate) failure: Option<String>,
}

/// What a proxy logged of a measurement, its warm-up included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Logged {
    /// Streams, by the load generator's count.
    pub(crate) streams: u64,
    /// Lines of streams that arrived.
    pub(crate) lines: u64,
    /// Lines of any kind that the receiver's socket had no room for.
    pub(crate) dropped: u64,
}

impl Logged {
    /// Lines per stream; what only the receiver lost counts as arrived.
    pub(crate) fn share(&self) -> f64 {
        to_f64(self.lines + self.dropped) / to_f64(self.streams.max(1))
    }
}

/// One measurement.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Sample {
    pub(crate) round: usize,
    /// Units (requests, bytes or connections) per second.
    pub(crate) rate: f64,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    /// Whole-machine busy seconds while the load ran.
    pub(crate) cpu_seconds: f64,
    /// Of these, in hard and soft interrupts.
    pub(crate) cpu_interrupt_seconds: f64,
    /// Whole-machine busy seconds per 100k requests, per 100k connections or per GB.
    pub(crate) cpu_per_unit: f64,
    /// Share of the machine, 0 to 1, that the hypervisor took away.
    pub(crate) steal: f64,
    /// Failed connects, reads, writes, statuses and deadlines.
    pub(crate) errors: u64,
    /// Share of handshakes, 0 to 1, of the kind that the load asks for.
    pub(crate) as_asked: Option<f64>,
    /// Where every stream is to be logged: what was.
    pub(crate) logged: Option<Logged>,
}

impl Sample {
    /// Puts together what the load generator and `/proc/stat` say.
    pub(crate) fn new(
        round: usize,
        unit: Unit,
        outcome: &Outcome,
        cpu: &crate::cpu::CpuTimes,
    ) -> Self {
        let units = to_f64(match unit {
            Unit::Bytes => outcome.bytes,
            Unit::Requests | Unit::Connections => outcome.requests,
        });
        Self {
            round,
            rate: units / outcome.duration.as_secs_f64(),
            p50_us: outcome.latency_us.map(|(p50, _)| p50),
            p99_us: outcome.latency_us.map(|(_, p99)| p99),
            cpu_seconds: cpu.busy,
            cpu_interrupt_seconds: cpu.interrupts,
            cpu_per_unit: cpu.busy / units * unit.cpu_per(),
            steal: cpu.steal_share(),
            errors: outcome.errors,
            as_asked: outcome.as_asked,
            logged: None,
        }
    }
}

/// Everything measured of one contestant under one load in one topology.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Cell {
    pub(crate) topology: String,
    pub(crate) workload: String,
    pub(crate) about: String,
    pub(crate) unit: Unit,
    pub(crate) contestant: String,
    pub(crate) samples: Vec<Sample>,
    /// Measurements that came to nothing, and why.
    pub(crate) failures: Vec<String>,
}

/// The whole run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) settings: Settings,
    pub(crate) entrants: Vec<Entrant>,
    pub(crate) trials: Vec<Trial>,
    pub(crate) cells: Vec<Cell>,
    /// Filled by [`Report::summarise`].
    pub(crate) groups: Vec<Group>,
    /// The run was cut short; later rounds are missing.
    pub(crate) interrupted: bool,
}

/// All contestants under one load in one topology.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Group {
    pub(crate) topology: String,
    pub(crate) workload: String,
    pub(crate) about: String,
    pub(crate) unit: Unit,
    pub(crate) rows: Vec<Row>,
}

/// One line of a table.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) contestant: String,
    pub(crate) ours: bool,
    pub(crate) rate: Option<Spread>,
    pub(crate) p50_us: Option<Spread>,
    pub(crate) p99_us: Option<Spread>,
    pub(crate) cpu_per_unit: Option<Spread>,
    /// Rate over that of the reference with the highest median rate.
    pub(crate) rate_ratio: Option<Ratio>,
    /// CPU over that of the reference with the lowest median: less is better.
    pub(crate) cpu_ratio: Option<Ratio>,
    /// With TLS: rate over that of the same program without.
    pub(crate) raw_rate_ratio: Option<Ratio>,
    /// With TLS: CPU over that of the same program without.
    pub(crate) raw_cpu_ratio: Option<Ratio>,
    /// Lowest share of handshakes, 0 to 1, of the kind that the load asks for.
    pub(crate) as_asked: Option<f64>,
    /// Log lines per stream.
    pub(crate) logged: Option<Spread>,
    pub(crate) errors: u64,
    pub(crate) failures: usize,
}

impl Report {
    /// Recomputes `groups` from `cells`.
    pub(crate) fn summarise(&mut self) {
        let mut groups: Vec<Group> = Vec::new();
        for cell in &self.cells {
            let known = groups
                .iter()
                .any(|g| g.topology == cell.topology && g.workload == cell.workload);
            if known {
                continue;
            }
            let peers: Vec<&Cell> = self
                .cells
                .iter()
                .filter(|c| c.topology == cell.topology && c.workload == cell.workload)
                .collect();
            groups.push(Group {
                topology: cell.topology.clone(),
                workload: cell.workload.clone(),
                about: cell.about.clone(),
                unit: cell.unit,
                rows: self.rows(&peers),
            });
        }
        self.groups = groups;
    }

    fn rows(&self, peers: &[&Cell]) -> Vec<Row> {
        let entrant = |cell: &Cell| self.entrants.iter().find(|e| e.name == cell.contestant);
        let tls = |cell: &Cell| entrant(cell).is_some_and(|e| e.raw.is_some());
        let median = |series: &Series| spread(series.iter().map(|(_, v)| *v));
        // The strictest yardstick for each figure: the best any reference did that does the same work.
        let references = |with_tls: bool| {
            peers
                .iter()
                .filter(move |c| tls(c) == with_tls && entrant(c).is_some_and(|e| e.reference))
        };
        let best_rate = [false, true].map(|with_tls| {
            references(with_tls)
                .map(|c| rates(c))
                .filter_map(|s| Some((median(&s)?.median, s)))
                .max_by(|a, b| a.0.total_cmp(&b.0))
        });
        let best_cpu = [false, true].map(|with_tls| {
            references(with_tls)
                .map(|c| cpu_costs(c))
                .filter_map(|s| Some((median(&s)?.median, s)))
                .min_by(|a, b| a.0.total_cmp(&b.0))
        });
        let raw = |cell: &Cell| {
            let name = entrant(cell)?.raw.as_ref()?;
            peers.iter().find(|c| c.contestant == *name)
        };
        peers
            .iter()
            .map(|cell| Row {
                contestant: cell.contestant.clone(),
                ours: entrant(cell).is_some_and(|e| e.ours),
                rate: spread(cell.samples.iter().map(|s| s.rate)),
                p50_us: spread(cell.samples.iter().filter_map(|s| s.p50_us)),
                p99_us: spread(cell.samples.iter().filter_map(|s| s.p99_us)),
                cpu_per_unit: spread(cell.samples.iter().map(|s| s.cpu_per_unit)),
                rate_ratio: best_rate[usize::from(tls(cell))]
                    .as_ref()
                    .and_then(|(_, base)| ratio(&rates(cell), base)),
                cpu_ratio: best_cpu[usize::from(tls(cell))]
                    .as_ref()
                    .and_then(|(_, base)| ratio(&cpu_costs(cell), base)),
                raw_rate_ratio: raw(cell).and_then(|raw| ratio(&rates(cell), &rates(raw))),
                raw_cpu_ratio: raw(cell).and_then(|raw| ratio(&cpu_costs(cell), &cpu_costs(raw))),
                as_asked: spread(cell.samples.iter().filter_map(|s| s.as_asked)).map(|s| s.min),
                logged: spread(cell.samples.iter().filter_map(|s| Some(s.logged?.share()))),
                errors: cell.samples.iter().map(|s| s.errors).sum(),
                failures: cell.failures.len(),
            })
            .collect()
    }
}

/// One figure's values, each with its round.
type Series = Vec<(usize, f64)>;

fn rates(cell: &Cell) -> Series {
    cell.samples.iter().map(|s| (s.round, s.rate)).collect()
}

fn cpu_costs(cell: &Cell) -> Series {
    cell.samples
        .iter()
        .map(|s| (s.round, s.cpu_per_unit))
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cpu::CpuTimes;

    fn sample(round: usize, rate: f64, cpu_per_unit: f64) -> Sample {
        Sample {
            round,
            rate,
            p50_us: Some(100.0),
            p99_us: Some(2000.0),
            cpu_seconds: 1.0,
            cpu_interrupt_seconds: 0.5,
            cpu_per_unit,
            steal: 0.0,
            errors: 0,
            as_asked: None,
            logged: None,
        }
    }

    fn cell(contestant: &str, samples: &[(f64, f64)]) -> Cell {
        Cell {
            topology: "hosts".into(),
            workload: "small-32".into(),
            about: "100 B replies, 32 connections".into(),
            unit: Unit::Requests,
            contestant: contestant.into(),
            samples: samples
                .iter()
                .enumerate()
                .map(|(round, (rate, cpu))| sample(round, *rate, *cpu))
                .collect(),
            failures: Vec::new(),
        }
    }

    fn entrant(name: &str) -> Entrant {
        Entrant {
            name: name.into(),
            reference: name.starts_with("haproxy"),
            ours: name.starts_with("underpass"),
            raw: None,
            lines: Vec::new(),
        }
    }

    /// A small run for the tests of this module and of the table.
    pub(crate) fn report() -> Report {
        let mut report = Report {
            machine: Machine {
                kernel: "6.18.0".into(),
                cpu: "Some CPU".into(),
                cores: 2,
                memory_mib: 1024,
                versions: vec![("haproxy".into(), "HAProxy 2.6.12".into())],
            },
            settings: Settings {
                date: "2026-10-17T12:00:00Z".into(),
                rounds: 2,
                seconds: 3,
                warm_up_seconds: 1,
                threads: 2,
                certificate: None,
                background_busy: 0.02,
            },
            entrants: ["direct", "haproxy-copy", "haproxy-splice", "underpass-pipe"]
                .map(entrant)
                .to_vec(),
            trials: Vec::new(),
            cells: vec![
                cell("direct", &[(100_000.0, 1.0), (100_000.0, 1.0)]),
                cell("haproxy-copy", &[(50_000.0, 3.0), (52_000.0, 3.0)]),
                cell("haproxy-splice", &[(40_000.0, 2.0), (42_000.0, 2.0)]),
                cell("underpass-pipe", &[(45_000.0, 1.0), (52_000.0, 3.0)]),
            ],
            groups: Vec::new(),
            interrupted: false,
        };
        report.summarise();
        report
    }

    /// The small run with TLS beside it.
    pub(crate) fn report_with_tls() -> Report {
        let mut report = report();
        report.settings.certificate = Some(KeyKind::P256);
        for (name, raw, samples) in [
            (
                "haproxy-tls",
                "haproxy-copy",
                [(25_000.0, 6.0), (26_000.0, 6.0)],
            ),
            (
                "underpass-tls",
                "underpass-pipe",
                [(22_500.0, 4.0), (39_000.0, 3.0)],
            ),
        ] {
            report.entrants.push(Entrant {
                raw: Some(raw.into()),
                ..entrant(name)
            });
            let mut cell = cell(name, &samples);
            for sample in &mut cell.samples {
                sample.as_asked = Some(0.995);
            }
            report.cells.push(cell);
        }
        report.summarise();
        report
    }

    #[test]
    fn tls_is_held_against_tls_and_against_its_own_raw_path() {
        let report = report_with_tls();
        let rows = &report.groups[0].rows;
        // What TLS brings in leaves the raw rows' yardstick alone.
        assert!((rows[3].rate_ratio.unwrap().of_medians - 48_500.0 / 51_000.0).abs() < 1e-9);
        assert_eq!(rows[3].raw_rate_ratio, None);
        let ours = &rows[5];
        let rate = ours.rate_ratio.unwrap();
        assert!((rate.of_medians - 30_750.0 / 25_500.0).abs() < 1e-9);
        assert!((rate.paired.min - 0.9).abs() < 1e-9);
        let raw = ours.raw_rate_ratio.unwrap();
        assert!((raw.paired.min - 0.5).abs() < 1e-9);
        assert!((raw.paired.max - 0.75).abs() < 1e-9);
        assert!((ours.raw_cpu_ratio.unwrap().of_medians - 1.75).abs() < 1e-9);
        assert_eq!(ours.as_asked, Some(0.995));
    }

    #[test]
    fn each_figure_is_held_against_the_better_reference() {
        let report = report();
        assert_eq!(report.groups.len(), 1);
        let ours = &report.groups[0].rows[3];
        let rate = ours.rate_ratio.unwrap();
        assert!((rate.of_medians - 48_500.0 / 51_000.0).abs() < 1e-9);
        assert!((rate.paired.min - 0.9).abs() < 1e-9);
        assert!((rate.paired.max - 1.0).abs() < 1e-9);
        let cpu = ours.cpu_ratio.unwrap();
        assert!((cpu.of_medians - 1.0).abs() < 1e-9);
        assert!((cpu.paired.max - 1.5).abs() < 1e-9);
    }

    #[test]
    fn no_reference_no_ratio() {
        let mut report = report();
        report
            .cells
            .retain(|c| !c.contestant.starts_with("haproxy"));
        report.summarise();
        assert!(
            report.groups[0]
                .rows
                .iter()
                .all(|r| r.rate_ratio.is_none() && r.cpu_ratio.is_none())
        );
    }

    #[test]
    fn a_cell_without_samples_stays_in_the_table() {
        let mut report = report();
        report.cells[3].samples.clear();
        report.cells[3].failures.push("did not start".into());
        report.summarise();
        let row = &report.groups[0].rows[3];
        assert_eq!(row.rate, None);
        assert_eq!(row.failures, 1);
    }

    #[test]
    fn sample_scales_cpu_to_the_unit() {
        let outcome = Outcome {
            duration: Duration::from_secs(2),
            requests: 50_000,
            bytes: 4_000_000_000,
            latency_us: None,
            errors: 0,
            as_asked: None,
        };
        let cpu = CpuTimes {
            busy: 3.0,
            interrupts: 1.0,
            idle: 1.0,
            steal: 0.0,
        };
        let small = Sample::new(0, Unit::Requests, &outcome, &cpu);
        assert!((small.rate - 25_000.0).abs() < 1e-9);
        assert!((small.cpu_per_unit - 6.0).abs() < 1e-9);
        let bulk = Sample::new(0, Unit::Bytes, &outcome, &cpu);
        assert!((bulk.rate - 2e9).abs() < 1e-3);
        assert!((bulk.cpu_per_unit - 0.75).abs() < 1e-9);
    }

    #[test]
    fn log_lines_are_held_against_streams() {
        let mut report = report();
        for (round, sample) in report.cells[3].samples.iter_mut().enumerate() {
            sample.logged = Some(Logged {
                streams: 1000,
                lines: 990 - 100 * round as u64,
                dropped: 10,
            });
        }
        report.summarise();
        let shares = report.groups[0].rows[3].logged.unwrap();
        assert!((shares.max - 1.0).abs() < 1e-9 && (shares.min - 0.9).abs() < 1e-9);
        assert_eq!(report.groups[0].rows[1].logged, None);
    }

    #[test]
    fn serialises() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["groups"][0]["unit"], "requests");
        assert_eq!(json["cells"][3]["samples"][0]["round"], 0);
    }
}
