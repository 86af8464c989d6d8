//! What a load generator saw, and how the generators' words are understood.
//!
//! Both generators (wrk with [`WRK_SCRIPT`], and this program's own bulk sink)
//! end with one line of `name=value` words, so that one parser serves both.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, Result, bail};

/// First word of the result line.
pub(crate) const RESULT_MARK: &str = "bench-result";

/// Script for `wrk -s`: prints exact figures when the run is done. It defines
/// neither `request` nor `response`, which would slow wrk's hot path.
pub(crate) const WRK_SCRIPT: &str = r#"done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    "bench-result duration_us=%d requests=%d bytes=%d p50_us=%d p99_us=%d connect=%d read=%d write=%d status=%d timeout=%d\n",
    summary.duration, summary.requests, summary.bytes,
    latency:percentile(50), latency:percentile(99),
    e.connect, e.read, e.write, e.status, e.timeout))
end
"#;

/// One run of a load generator.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outcome {
    /// The generator's own measure of how long it ran.
    pub(crate) duration: Duration,
    /// Requests answered; for the bulk sink, transfers begun.
    pub(crate) requests: u64,
    /// Bytes received.
    pub(crate) bytes: u64,
    /// Median and 99th percentile of the response times in microseconds.
    pub(crate) latency_us: Option<(f64, f64)>,
    /// Connections, reads, writes, statuses and deadlines that failed, summed.
    pub(crate) errors: u64,
    /// Where handshakes are counted by kind: the share, 0 to 1, that was of the kind asked for.
    pub(crate) as_asked: Option<f64>,
}

/// Finds the result line in a generator's output.
///
/// # Errors
/// When there is none, or a number in it is missing or malformed.
pub(crate) fn parse(output: &str) -> Result<Outcome> {
    let line = output
        .lines()
        .find_map(|l| l.strip_prefix(RESULT_MARK))
        .context("the load generator printed no result")?;
    let mut fields: HashMap<&str, u64> = HashMap::new();
    for word in line.split_ascii_whitespace() {
        let Some((name, value)) = word.split_once('=') else {
            bail!("stray word {word:?} in the load generator's result");
        };
        let value = value
            .parse()
            .with_context(|| format!("{name} in the load generator's result"))?;
        fields.insert(name, value);
    }
    let need = |name: &str| {
        fields
            .get(name)
            .copied()
            .with_context(|| format!("no {name} in the load generator's result"))
    };
    let latency_us = match (fields.get("p50_us"), fields.get("p99_us")) {
        (Some(&p50), Some(&p99)) => Some((to_f64(p50), to_f64(p99))),
        _ => None,
    };
    Ok(Outcome {
        duration: Duration::from_micros(need("duration_us")?),
        requests: need("requests")?,
        bytes: need("bytes")?,
        latency_us,
        errors: ["connect", "read", "write", "status", "timeout"]
            .iter()
            .filter_map(|name| fields.get(name))
            .sum(),
        as_asked: None,
    })
}

/// A count as a float, for division.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of one run stay far below 2^52"
)]
pub(crate) fn to_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrk_result_amid_its_report() {
        let output = "Running 1s test @ http://127.0.0.1:80/\n  1 threads and 8 connections\n\
            Requests/sec:  74624.90\nTransfer/sec:     11.24MB\n\
            bench-result duration_us=1000390 requests=74654 bytes=11795332 p50_us=83 p99_us=373 \
            connect=0 read=1 write=0 status=2 timeout=3\n";
        let outcome = parse(output).unwrap();
        assert_eq!(outcome.duration, Duration::from_micros(1_000_390));
        assert_eq!(outcome.requests, 74_654);
        assert_eq!(outcome.bytes, 11_795_332);
        assert_eq!(outcome.latency_us, Some((83.0, 373.0)));
        assert_eq!(outcome.errors, 6);
    }

    #[test]
    fn sink_result_has_no_latency() {
        let outcome = parse("bench-result duration_us=5 requests=1 bytes=9 read=0\n").unwrap();
        assert_eq!(outcome.latency_us, None);
        assert_eq!(outcome.errors, 0);
    }

    #[test]
    fn refuses_what_it_cannot_trust() {
        assert!(parse("Requests/sec: 12\n").is_err());
        assert!(parse("bench-result duration_us=5 bytes=9\n").is_err());
        assert!(parse("bench-result duration_us=5 requests=-nan bytes=9\n").is_err());
        assert!(parse("bench-result junk\n").is_err());
    }

    #[test]
    fn script_and_parser_agree_on_the_mark() {
        assert!(WRK_SCRIPT.contains(RESULT_MARK));
    }
}
