//! The results of a run of `memory`, also in the JSON file's form, and as Markdown.

use anyhow::Result;
use serde::Serialize;

use super::usage::Usage;
use crate::{
    report::{Entrant, Machine},
    stats::{Ratio, Spread, ratio, spread},
    table::{line, long_ratio, one_line, spread as show, table_head, table_row},
    tls::{self, KeyKind},
};

/// How the run was made.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Settings {
    pub(super) date: String,
    pub(super) rounds: usize,
    pub(super) connections: usize,
    /// Between the opening of the last connection and the reading.
    pub(super) rest_seconds: u64,
    pub(super) threads: usize,
    /// Key and signature of the certificate, if anybody terminates TLS.
    pub(super) certificate: Option<KeyKind>,
}

/// One measurement: bytes per connection, but for the last.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Sample {
    round: usize,
    rss_per_connection: f64,
    pss_per_connection: f64,
    slab_per_connection: f64,
    socket_queues_per_connection: f64,
    /// Resident bytes of the process before the connections.
    empty_rss: u64,
}

impl Sample {
    /// What `connections` connections added.
    pub(super) fn new(round: usize, before: &Usage, after: &Usage, connections: usize) -> Self {
        let per = |figure: fn(&Usage) -> u64| {
            (float(figure(after)) - float(figure(before))) / float(connections as u64)
        };
        Self {
            round,
            rss_per_connection: per(|u| u.rss),
            pss_per_connection: per(|u| u.pss),
            slab_per_connection: per(|u| u.slab),
            socket_queues_per_connection: per(|u| u.sockets),
            empty_rss: before.rss,
        }
    }

    /// Of the process and of the kernel.
    fn sum(&self) -> f64 {
        self.pss_per_connection + self.slab_per_connection
    }
}

fn float(bytes: u64) -> f64 {
    crate::load::to_f64(bytes)
}

/// Everything measured of one contestant.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Cell {
    contestant: String,
    samples: Vec<Sample>,
    /// Measurements that came to nothing, and why.
    failures: Vec<String>,
}

impl Cell {
    /// Nothing, so far.
    pub(super) fn new(contestant: &str) -> Self {
        Self {
            contestant: contestant.to_owned(),
            samples: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Notes a measurement, or why there is none.
    pub(super) fn add(&mut self, round: usize, measured: Result<Sample>) {
        match measured {
            Ok(sample) => self.samples.push(sample),
            Err(error) => self
                .failures
                .push(format!("round {}: {error:#}", round + 1)),
        }
    }

    fn series(&self, figure: fn(&Sample) -> f64) -> Vec<(usize, f64)> {
        self.samples.iter().map(|s| (s.round, figure(s))).collect()
    }

    fn spread(&self, figure: fn(&Sample) -> f64) -> Option<Spread> {
        spread(self.samples.iter().map(figure))
    }
}

/// One line of the table; bytes per connection, but for the empty process.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    contestant: String,
    rss: Option<Spread>,
    pss: Option<Spread>,
    slab: Option<Spread>,
    socket_queues: Option<Spread>,
    /// `pss` and `slab`.
    sum: Option<Spread>,
    empty_rss: Option<Spread>,
    /// `pss` over that of haproxy, TLS against TLS.
    process_ratio: Option<Ratio>,
    /// `sum` over that of haproxy, TLS against TLS.
    sum_ratio: Option<Ratio>,
    failures: usize,
}

/// The whole run.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    pub(super) machine: Machine,
    pub(super) settings: Settings,
    pub(super) entrants: Vec<Entrant>,
    /// In the order of `entrants`.
    pub(super) cells: Vec<Cell>,
    /// Filled by [`Report::summarise`].
    pub(super) rows: Vec<Row>,
    /// The run was cut short; later measurements are missing.
    pub(super) interrupted: bool,
}

impl Report {
    /// Recomputes `rows` from `cells`.
    pub(super) fn summarise(&mut self) {
        self.rows = self
            .entrants
            .iter()
            .zip(&self.cells)
            .map(|(entrant, cell)| Row {
                contestant: cell.contestant.clone(),
                rss: cell.spread(|s| s.rss_per_connection),
                pss: cell.spread(|s| s.pss_per_connection),
                slab: cell.spread(|s| s.slab_per_connection),
                socket_queues: cell.spread(|s| s.socket_queues_per_connection),
                sum: cell.spread(Sample::sum),
                empty_rss: cell.spread(|s| float(s.empty_rss)),
                process_ratio: self.held_against_haproxy(entrant, cell, |s| s.pss_per_connection),
                sum_ratio: self.held_against_haproxy(entrant, cell, Sample::sum),
                failures: cell.failures.len(),
            })
            .collect();
    }

    /// A proxy's figure over the lowest of haproxy's that does the same work.
    fn held_against_haproxy(
        &self,
        entrant: &Entrant,
        cell: &Cell,
        figure: fn(&Sample) -> f64,
    ) -> Option<Ratio> {
        let proxy = entrant.ours || entrant.reference;
        let (_, base) = self
            .entrants
            .iter()
            .zip(&self.cells)
            .filter(|(e, _)| e.reference && e.raw.is_some() == entrant.raw.is_some())
            .filter_map(|(_, c)| Some((c.spread(figure)?.median, c.series(figure))))
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .filter(|_| proxy)?;
        ratio(&cell.series(figure), &base)
    }
}

/// The report as Markdown.
pub(super) fn render(report: &Report) -> String {
    let (machine, settings) = (&report.machine, &report.settings);
    let mut text = String::new();
    line(&mut text, "# Memory of idle connections\n");
    line(
        &mut text,
        &format!(
            "- {}; Linux {}; {}, {} cores, {} MiB; {} proxy threads",
            settings.date,
            machine.kernel,
            machine.cpu,
            machine.cores,
            machine.memory_mib,
            settings.threads
        ),
    );
    for (name, version) in &machine.versions {
        line(&mut text, &format!("- {name}: {version}"));
    }
    line(
        &mut text,
        &format!(
            "- {} established connections over loopback, 16 bytes there and back on each, then {} s of rest; \
             {} rounds, contestants interleaved, each with a process and a namespace of its own",
            settings.connections, settings.rest_seconds, settings.rounds
        ),
    );
    if let Some(certificate) = settings.certificate {
        line(
            &mut text,
            &format!(
                "- TLS rows: terminated by the proxy, raw to the server; TLS 1.3, {}, certificate {}",
                tls::CIPHER_SUITE,
                certificate.name()
            ),
        );
    }
    if report.interrupted {
        line(
            &mut text,
            "- **Interrupted: later measurements are missing.**",
        );
    }
    line(
        &mut text,
        "- KiB per connection, medians (lowest..highest): growth from before the connections. Slab is the whole \
         kernel's, so it has the sockets of the client and of the server in it, which are the same for all; \
         `direct` is those alone. Socket queues are what TCP accounts; they may overlap with slab. Sum: PSS and \
         slab. Ratios: against haproxy, TLS against TLS; low is good.\n",
    );
    table(report, &mut text);
    for cell in &report.cells {
        for failure in &cell.failures {
            line(
                &mut text,
                &format!("- failed: {} {}", cell.contestant, one_line(failure)),
            );
        }
    }
    text
}

fn table(report: &Report, text: &mut String) {
    let titles = [
        "contestant",
        "process RSS",
        "process PSS",
        "kernel slab",
        "socket queues",
        "sum",
        "PSS ratio",
        "sum ratio",
        "empty process, MiB",
    ];
    table_head(text, &titles.map(str::to_owned));
    for row in &report.rows {
        let kib = |value| show(value, |v| format!("{:.2}", v / 1024.0));
        let name = if row.failures > 0 {
            format!("{} ({} failed)", row.contestant, row.failures)
        } else {
            row.contestant.clone()
        };
        table_row(
            text,
            &[
                name,
                kib(row.rss),
                kib(row.pss),
                kib(row.slab),
                kib(row.socket_queues),
                kib(row.sum),
                long_ratio(row.process_ratio),
                long_ratio(row.sum_ratio),
                show(row.empty_rss, |v| format!("{:.1}", v / 1024.0 / 1024.0)),
            ],
        );
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contestant;

    fn usage(pss_kib: u64, slab_kib: u64) -> Usage {
        Usage {
            rss: (pss_kib + 100) * 1024,
            pss: pss_kib * 1024,
            slab: slab_kib * 1024,
            sockets: 0,
        }
    }

    /// Two rounds of ten connections; the process grows by the first figures, the kernel by the second.
    fn report(growths: &[(&str, [u64; 2], u64)]) -> Report {
        let contestants = contestant::all();
        let mut report = Report {
            machine: Machine {
                kernel: "6.18.0".into(),
                cpu: "Some CPU".into(),
                cores: 2,
                memory_mib: 1024,
                versions: Vec::new(),
            },
            settings: Settings {
                date: "2026-10-17T12:00:00Z".into(),
                rounds: 2,
                connections: 10,
                rest_seconds: 5,
                threads: 2,
                certificate: Some(KeyKind::P256),
            },
            entrants: Vec::new(),
            cells: Vec::new(),
            rows: Vec::new(),
            interrupted: false,
        };
        for (name, pss, slab) in growths {
            let contestant = contestants.iter().find(|c| c.name == *name).unwrap();
            report.entrants.push(Entrant::from(contestant));
            let mut cell = Cell::new(name);
            for (round, pss) in pss.iter().enumerate() {
                let (before, after) = (usage(1000, 5000), usage(1000 + pss, 5000 + slab));
                cell.add(round, Ok(Sample::new(round, &before, &after, 10)));
            }
            report.cells.push(cell);
        }
        report.summarise();
        report
    }

    #[test]
    fn growth_is_divided_by_connections_and_held_against_the_same_work() {
        let report = report(&[
            ("direct", [0, 0], 60),
            ("haproxy-copy", [20, 20], 120),
            ("haproxy-tls", [400, 400], 120),
            ("underpass-tls", [200, 300], 120),
        ]);
        let text = render(&report);
        assert!(
            text.contains(
                "| underpass-tls | 25.00 (20.00..30.00) | 25.00 (20.00..30.00) | 12.00 (12.00..12.00) | \
                 0.00 (0.00..0.00) | 37.00 (32.00..42.00) | 0.62 (0.50..0.75) | 0.71 (0.62..0.81) |"
            ),
            "{text}"
        );
        assert!(report.rows[0].process_ratio.is_none(), "no proxy, no ratio");
        assert!(report.rows[0].sum_ratio.is_none(), "no proxy, no ratio");
        assert!(text.contains("certificate EC P-256"));
        serde_json::to_string(&report).unwrap();
    }

    #[test]
    fn memory_can_shrink() {
        let sample = Sample::new(0, &usage(1000, 5000), &usage(900, 5000), 10);
        assert!((sample.pss_per_connection + 10.0 * 1024.0).abs() < 1e-9);
    }

    #[test]
    fn failures_are_told() {
        let mut report = report(&[("haproxy-copy", [20, 20], 120)]);
        report.cells[0].samples.clear();
        report.cells[0].add(1, Err(anyhow::anyhow!("connection 7 of 10:\nrefused")));
        report.summarise();
        let text = render(&report);
        assert!(text.contains("| haproxy-copy (1 failed) | – |"), "{text}");
        assert!(text.contains("- failed: haproxy-copy round 2: connection 7 of 10: refused"));
    }
}
