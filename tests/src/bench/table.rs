//! The report as Markdown.

use std::fmt::Write as _;

use crate::{
    report::{Group, Report, Row},
    stats::{Ratio, Spread},
    tls,
    workload::Unit,
};

/// Fewer log lines per stream are lines that are missing.
const ALL_LOGGED: f64 = 0.99;

/// Absent figure.
const NONE: &str = "–";

/// The whole report.
pub(crate) fn render(report: &Report) -> String {
    let mut text = String::new();
    head(report, &mut text);
    overview(report, &mut text);
    against_raw(report, &mut text);
    below(report, &mut text);
    for group in &report.groups {
        detail(group, &mut text);
    }
    remarks(report, &mut text);
    text
}

/// Adds a line.
pub(crate) fn line(text: &mut String, content: &str) {
    text.push_str(content);
    text.push('\n');
}

fn head(report: &Report, text: &mut String) {
    let (machine, settings) = (&report.machine, &report.settings);
    line(text, "# Benchmark\n");
    line(
        text,
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
        line(text, &format!("- {name}: {version}"));
    }
    line(
        text,
        &format!(
            "- {} rounds of {} s each after {} s of warm-up, contestants interleaved; \
             {:.0} % of the machine was busy before the run",
            settings.rounds,
            settings.seconds,
            settings.warm_up_seconds,
            settings.background_busy * 100.0
        ),
    );
    if let Some(certificate) = settings.certificate {
        line(
            text,
            &format!(
                "- TLS rows: terminated by the proxy, raw to the server; TLS 1.3, {}, certificate {}; \
                 clients verify nothing",
                tls::CIPHER_SUITE,
                certificate.name()
            ),
        );
    }
    if report.interrupted {
        line(text, "- **Interrupted: later rounds are missing.**");
    }
    line(
        text,
        "- Medians (lowest..highest). CPU: busy seconds of the whole machine, generator and server included. \
         Ratios: against haproxy's better mode for that figure, TLS against TLS; of the medians, and (lowest..highest) of the \
         pairs of one round. A rate's ratio wants to be high, a CPU ratio low.\n",
    );
}

/// One line per contestant, one column per load: the rates' ratios.
fn overview(report: &Report, text: &mut String) {
    for topology in topologies(report) {
        let groups: Vec<&Group> = report
            .groups
            .iter()
            .filter(|g| g.topology == topology)
            .collect();
        line(
            text,
            &format!("## {topology}: rate / CPU, against haproxy's better mode\n"),
        );
        let mut titles = vec!["contestant".to_owned()];
        titles.extend(groups.iter().map(|g| g.workload.clone()));
        table_head(text, &titles);
        for entrant in &report.entrants {
            let mut columns = vec![entrant.name.clone()];
            columns.extend(groups.iter().map(|g| {
                g.rows
                    .iter()
                    .find(|r| r.contestant == entrant.name)
                    .map_or_else(
                        || NONE.to_owned(),
                        |row| short_ratios(row.rate_ratio, row.cpu_ratio),
                    )
            }));
            table_row(text, &columns);
        }
        text.push('\n');
    }
}

/// What TLS costs each program, one line per program, one column per load.
fn against_raw(report: &Report, text: &mut String) {
    let compared = |row: &Row| row.raw_rate_ratio.is_some();
    for topology in topologies(report) {
        let groups: Vec<&Group> = report
            .groups
            .iter()
            .filter(|g| g.topology == topology && g.rows.iter().any(compared))
            .collect();
        if groups.is_empty() {
            continue;
        }
        line(
            text,
            &format!("## {topology}: TLS, rate / CPU, against the same program without\n"),
        );
        let mut titles = vec!["contestant".to_owned(), "without TLS".to_owned()];
        titles.extend(groups.iter().map(|g| g.workload.clone()));
        table_head(text, &titles);
        for entrant in &report.entrants {
            let Some(raw) = &entrant.raw else { continue };
            let mut columns = vec![entrant.name.clone(), raw.clone()];
            columns.extend(groups.iter().map(|g| {
                g.rows
                    .iter()
                    .find(|r| r.contestant == entrant.name)
                    .map_or_else(
                        || NONE.to_owned(),
                        |row| short_ratios(row.raw_rate_ratio, row.raw_cpu_ratio),
                    )
            }));
            table_row(text, &columns);
        }
        text.push('\n');
    }
}

fn short_ratios(rate: Option<Ratio>, cpu: Option<Ratio>) -> String {
    match (rate, cpu) {
        (Some(rate), Some(cpu)) => format!("{:.2} / {:.2}", rate.of_medians, cpu.of_medians),
        _ => NONE.to_owned(),
    }
}

/// Where this project is slower than the reference, said in so many words.
fn below(report: &Report, text: &mut String) {
    line(text, "## Below haproxy's better mode (rate)\n");
    let mut any = false;
    for group in &report.groups {
        for row in group.rows.iter().filter(|r| r.ours) {
            if let Some(ratio) = row.rate_ratio.filter(|r| r.of_medians < 1.0) {
                any = true;
                line(
                    text,
                    &format!(
                        "- {} {}: {} {}",
                        group.topology,
                        group.workload,
                        row.contestant,
                        long_ratio(Some(ratio))
                    ),
                );
            }
        }
    }
    if !any {
        line(text, "Nowhere.");
    }
    text.push('\n');
}

fn detail(group: &Group, text: &mut String) {
    line(
        text,
        &format!(
            "## {} {}: {}\n",
            group.topology, group.workload, group.about
        ),
    );
    let latency = group.rows.iter().any(|r| r.p50_us.is_some());
    let mut titles = vec!["contestant".to_owned(), group.unit.rate_name().to_owned()];
    if latency {
        titles.extend(["p50 µs".to_owned(), "p99 µs".to_owned()]);
    }
    titles.extend([
        format!("CPU s / {}", group.unit.cpu_per_name()),
        "rate ratio".to_owned(),
        "CPU ratio".to_owned(),
    ]);
    table_head(text, &titles);
    for row in &group.rows {
        let mut name = row.contestant.clone();
        if row.errors > 0 {
            let _ = write!(name, " ({} errors)", row.errors);
        }
        if row.failures > 0 {
            let _ = write!(name, " ({} failed)", row.failures);
        }
        let mut columns = vec![name, rate(group.unit, row.rate)];
        if latency {
            columns.extend([latencies(row.p50_us), latencies(row.p99_us)]);
        }
        columns.extend([
            cpu(row.cpu_per_unit),
            long_ratio(row.rate_ratio),
            long_ratio(row.cpu_ratio),
        ]);
        table_row(text, &columns);
    }
    text.push('\n');
    let shares: Vec<String> = group
        .rows
        .iter()
        .filter_map(|row| {
            let percent = row.as_asked? * 100.0;
            Some(format!("{} {percent:.2} %", row.contestant))
        })
        .collect();
    if !shares.is_empty() {
        line(
            text,
            &format!(
                "Handshakes that were what the load asks for, lowest share of a round: {}.\n",
                shares.join(", ")
            ),
        );
    }
    logged(group, text);
}

/// Log lines per stream, where lines are counted.
fn logged(group: &Group, text: &mut String) {
    let shares: Vec<String> = group
        .rows
        .iter()
        .filter_map(|row| {
            let share = row.logged?;
            let words = format!(
                "{} {:.3} ({:.3}..{:.3})",
                row.contestant, share.median, share.min, share.max
            );
            Some(if share.min < ALL_LOGGED {
                format!("**{words}**")
            } else {
                words
            })
        })
        .collect();
    if !shares.is_empty() {
        line(
            text,
            &format!("Log lines per stream: {}.\n", shares.join(", ")),
        );
    }
}

/// Paths seen in the trials, and what went wrong.
fn remarks(report: &Report, text: &mut String) {
    if !report.trials.is_empty() {
        line(
            text,
            "## Paths in a trial transfer, by the daemon's own log\n",
        );
    }
    for trial in &report.trials {
        let path = match (&trial.failure, &trial.path) {
            (Some(failure), _) => format!("takes no part: {}", one_line(failure)),
            (None, Some([up, down])) => format!("{up} up, {down} down"),
            (None, None) => "not stated".to_owned(),
        };
        let mut entry = format!("- {} {}: {path}", trial.topology, trial.contestant);
        for remark in &trial.remarks {
            let _ = write!(entry, "; {}", one_line(remark));
        }
        line(text, &entry);
    }
    let failed: Vec<_> = report
        .cells
        .iter()
        .filter(|c| !c.failures.is_empty())
        .collect();
    if !failed.is_empty() {
        line(text, "\n## Failed measurements\n");
    }
    for cell in failed {
        for failure in &cell.failures {
            line(
                text,
                &format!(
                    "- {} {} {}: {}",
                    cell.topology,
                    cell.workload,
                    cell.contestant,
                    one_line(failure)
                ),
            );
        }
    }
}

fn topologies(report: &Report) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for group in &report.groups {
        if !names.contains(&group.topology.as_str()) {
            names.push(&group.topology);
        }
    }
    names
}

/// The titles of a table's columns, the first of which holds names.
pub(crate) fn table_head(text: &mut String, titles: &[String]) {
    table_row(text, titles);
    let rule: Vec<String> = (0..titles.len())
        .map(|i| if i == 0 { "---" } else { "---:" }.to_owned())
        .collect();
    table_row(text, &rule);
}

/// One line of a table.
pub(crate) fn table_row(text: &mut String, columns: &[String]) {
    line(text, &format!("| {} |", columns.join(" | ")));
}

/// Median and range.
pub(crate) fn spread(value: Option<Spread>, show: impl Fn(f64) -> String) -> String {
    value.map_or_else(
        || NONE.to_owned(),
        |s| format!("{} ({}..{})", show(s.median), show(s.min), show(s.max)),
    )
}

fn rate(unit: Unit, value: Option<Spread>) -> String {
    spread(value, |v| match unit {
        Unit::Bytes => format!("{:.2}", v / 1e9),
        Unit::Requests | Unit::Connections => thousands(v),
    })
}

/// `51.2 k`, or the plain number below a thousand.
fn thousands(value: f64) -> String {
    if value >= 1000.0 {
        format!("{:.1} k", value / 1000.0)
    } else {
        format!("{value:.0}")
    }
}

fn latencies(value: Option<Spread>) -> String {
    spread(value, |v| format!("{v:.0}"))
}

fn cpu(value: Option<Spread>) -> String {
    spread(value, |v| format!("{v:.2}"))
}

/// Ratio of the medians, and range of the pairs.
pub(crate) fn long_ratio(value: Option<Ratio>) -> String {
    value.map_or_else(
        || NONE.to_owned(),
        |r| {
            format!(
                "{:.2} ({:.2}..{:.2})",
                r.of_medians, r.paired.min, r.paired.max
            )
        },
    )
}

/// Text of others, made fit for a list item.
pub(crate) fn one_line(text: &str) -> String {
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut short: String = joined.chars().take(300).collect();
    if short.len() < joined.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{
        Trial,
        tests::{report, report_with_tls},
    };

    #[test]
    fn states_machine_and_versions() {
        let text = render(&report());
        assert!(text.contains("Linux 6.18.0; Some CPU, 2 cores"));
        assert!(text.contains("- haproxy: HAProxy 2.6.12"));
        assert!(!text.contains("Interrupted"));
    }

    #[test]
    fn overview_and_detail_rows() {
        let text = render(&report());
        assert!(
            text.contains("| contestant | small-32 |\n| --- | ---: |\n"),
            "{text}"
        );
        assert!(text.contains("| underpass-pipe | 0.95 / 1.00 |"), "{text}");
        assert!(
            text.contains(
                "| underpass-pipe | 48.5 k (45.0 k..52.0 k) | 100 (100..100) | 2000 (2000..2000) | \
                 2.00 (1.00..3.00) | 0.95 (0.90..1.00) | 1.00 (0.50..1.50) |"
            ),
            "{text}"
        );
    }

    #[test]
    fn names_where_we_are_slower() {
        let mut report = report();
        assert!(render(&report).contains("- hosts small-32: underpass-pipe 0.95 (0.90..1.00)"));
        report
            .cells
            .retain(|c| !c.contestant.starts_with("underpass"));
        report.summarise();
        assert!(render(&report).contains("Nowhere."));
    }

    #[test]
    fn tls_is_told_apart_and_compared_with_raw() {
        assert!(!render(&report()).contains("TLS 1.3"));
        let text = render(&report_with_tls());
        assert!(text.contains("TLS 1.3, TLS_AES_128_GCM_SHA256, certificate EC P-256"));
        assert!(
            text.contains("| underpass-tls | underpass-pipe | 0.63 / 1.75 |"),
            "{text}"
        );
        assert!(text.contains("haproxy-tls 99.50 %, underpass-tls 99.50 %."));
    }

    #[test]
    fn every_row_has_as_many_columns_as_its_head() {
        let text = render(&report_with_tls());
        let mut width = None;
        for l in text.lines() {
            if !l.starts_with('|') {
                width = None;
                continue;
            }
            let columns = l.matches('|').count();
            assert_eq!(*width.get_or_insert(columns), columns, "{l}");
        }
    }

    #[test]
    fn failures_and_trials_are_told() {
        let mut report = report();
        report.cells[3].failures.push("stalled\n\nfor 5 s".into());
        report.cells[3].samples.clear();
        report.trials.push(Trial {
            topology: "hosts".into(),
            contestant: "underpass-pipe".into(),
            path: Some(["pipe".into(), "buffer".into()]),
            remarks: vec!["warning: no CAP_BPF".into()],
            failure: None,
        });
        report.interrupted = true;
        report.summarise();
        let text = render(&report);
        assert!(text.contains("- hosts small-32 underpass-pipe: stalled for 5 s"));
        assert!(text.contains("- hosts underpass-pipe: pipe up, buffer down; warning: no CAP_BPF"));
        assert!(text.contains("Interrupted"));
        assert!(text.contains("| underpass-pipe (1 failed) | – |"), "{text}");
    }

    #[test]
    fn long_words_of_others_are_cut() {
        assert_eq!(one_line(&"x ".repeat(400)).chars().count(), 301);
        assert_eq!(thousands(999.0), "999");
        assert_eq!(thousands(51_234.0), "51.2 k");
    }
}
