//! Whole-machine CPU time from `/proc/stat`.
//!
//! A process's own times would miss most of what a kernel data path costs: the
//! work is done in softirq and in kworkers, and is charged to nobody or to
//! whoever was interrupted. The whole machine is the only honest account.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

/// `USER_HZ`, the unit of `/proc/stat`. It is part of the kernel's ABI and 100
/// on every architecture this project runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Times since boot, summed over all CPUs, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct CpuTimes {
    /// user + nice + system + irq + softirq. Guests' time is already in user.
    pub(crate) busy: f64,
    /// irq + softirq, a part of `busy`.
    pub(crate) interrupts: f64,
    /// idle + iowait.
    pub(crate) idle: f64,
    /// Taken by the hypervisor for others: neither busy nor idle.
    pub(crate) steal: f64,
}

impl CpuTimes {
    /// Reads `/proc/stat`.
    pub(crate) fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat").context("read /proc/stat")?;
        parse(&text).context("no cpu line in /proc/stat")
    }

    /// What passed between `earlier` and this moment.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            busy: self.busy - earlier.busy,
            interrupts: self.interrupts - earlier.interrupts,
            idle: self.idle - earlier.idle,
            steal: self.steal - earlier.steal,
        }
    }

    /// Share of the machine that was busy, 0 to 1.
    pub(crate) fn busy_share(&self) -> f64 {
        share(self.busy, self.busy + self.idle + self.steal)
    }

    /// Share of the machine that the hypervisor took away, 0 to 1.
    pub(crate) fn steal_share(&self) -> f64 {
        share(self.steal, self.busy + self.idle + self.steal)
    }
}

/// How busy the machine is over `window` while this program does nothing.
pub(crate) fn background(window: Duration) -> Result<CpuTimes> {
    let before = CpuTimes::now()?;
    std::thread::sleep(window);
    Ok(CpuTimes::now()?.since(&before))
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// Takes the summary line out of the text of `/proc/stat`. Fields that an old
/// kernel lacks count as zero.
fn parse(text: &str) -> Option<CpuTimes> {
    let line = text.lines().find_map(|l| l.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line
        .split_ascii_whitespace()
        .map(|field| field.parse().ok())
        .collect::<Option<_>>()?;
    let seconds = |indexes: &[usize]| {
        let sum: u64 = indexes.iter().filter_map(|&i| ticks.get(i)).sum();
        #[expect(
            clippy::cast_precision_loss,
            reason = "ticks since boot stay far below 2^52"
        )]
        let sum = sum as f64;
        sum / TICKS_PER_SECOND
    };
    // user nice system idle iowait irq softirq steal guest guest_nice
    (ticks.len() >= 4).then(|| CpuTimes {
        busy: seconds(&[0, 1, 2, 5, 6]),
        interrupts: seconds(&[5, 6]),
        idle: seconds(&[3, 4]),
        steal: seconds(&[7]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "cpu  33828 2 10164 147009 1382 10 312 2569 0 0\n\
                          cpu0 16000 0 5000 73000 700 0 150 1200 0 0\n\
                          intr 12345 0 0\nctxt 99\n";

    #[test]
    fn sums_the_summary_line_only() {
        let t = parse(SAMPLE).unwrap();
        assert!((t.busy - 443.16).abs() < 1e-9);
        assert!((t.interrupts - 3.22).abs() < 1e-9);
        assert!((t.idle - 1483.91).abs() < 1e-9);
        assert!((t.steal - 25.69).abs() < 1e-9);
    }

    #[test]
    fn guest_time_is_not_counted_twice() {
        let t = parse("cpu  100 0 0 100 0 0 0 0 50 0\n").unwrap();
        assert!((t.busy - 1.0).abs() < 1e-9);
    }

    #[test]
    fn short_and_broken_lines() {
        assert!(parse("cpu  1 2 3 4\n").is_some());
        assert_eq!(parse("cpu  1 2\n"), None);
        assert_eq!(parse("cpu  1 2 x 4\n"), None);
        assert_eq!(parse("cpu0 1 2 3 4\n"), None);
    }

    #[test]
    fn difference_and_shares() {
        let a = parse("cpu  100 0 0 100 0 0 0 0\n").unwrap();
        let b = parse("cpu  150 0 50 200 0 0 100 100\n").unwrap();
        let d = b.since(&a);
        assert!((d.busy - 2.0).abs() < 1e-9);
        assert!((d.busy_share() - 0.5).abs() < 1e-9);
        assert!((d.steal_share() - 0.25).abs() < 1e-9);
        assert_eq!(CpuTimes::default().busy_share(), 0.0);
    }
}
