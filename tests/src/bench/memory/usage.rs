//! What a process and the kernel use, from `/proc`.

use std::{fs, thread, time::Duration};

use anyhow::{Context, Result};
use underpass_tests::netns::Netns;

/// Change of the kernel's memory between two looks that counts as none, in bytes.
const STILL: u64 = 512 * 1024;

/// Time between two looks, and how many there are at most.
const LOOK: Duration = Duration::from_millis(500);
const LOOKS: usize = 40;

/// Memory in use at one moment, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Of the process: resident pages.
    pub(super) rss: u64,
    /// Of the process: the same, shared pages divided among those who share them.
    pub(super) pss: u64,
    /// Of the kernel: its objects (sockets, inodes, buffers' heads), whoever they are for.
    pub(super) slab: u64,
    /// Of the kernel: what TCP accounts to sockets' queues.
    pub(super) sockets: u64,
}

impl Usage {
    /// Reads both; without a process, its figures are zero.
    ///
    /// # Errors
    /// When the process is gone, or `/proc` is not as expected.
    pub(super) fn read(pid: Option<u32>) -> Result<Self> {
        let (rss, pss) = match pid {
            None => (0, 0),
            Some(pid) => {
                let text = read(&format!("/proc/{pid}/smaps_rollup"))?;
                (kib(&text, "Rss:")?, kib(&text, "Pss:")?)
            }
        };
        Ok(Self {
            rss,
            pss,
            slab: slab()?,
            // The sum is the kernel's, not the namespace's.
            sockets: word_after(&read("/proc/net/sockstat")?, "TCP:", "mem")? * page_size()?,
        })
    }
}

/// Waits until the kernel's memory stands still, or has not for long.
///
/// # Errors
/// When `/proc` is not as expected.
pub(super) fn settle() -> Result<()> {
    let mut before = slab()?;
    for _ in 0..LOOKS {
        thread::sleep(LOOK);
        let now = slab()?;
        if now.abs_diff(before) < STILL {
            break;
        }
        before = now;
    }
    Ok(())
}

/// TCP sockets of `ns`.
///
/// # Errors
/// When `/proc` is not as expected.
pub(super) fn tcp_sockets(ns: &Netns) -> Result<u64> {
    // Plain /proc/net is that of the process's first thread.
    let text = ns.run(|| read("/proc/thread-self/net/sockstat"))?;
    word_after(&text, "TCP:", "inuse")
}

/// How many open files this process may have.
///
/// # Errors
/// When `/proc` is not as expected.
pub(super) fn open_files() -> Result<u64> {
    soft_limit(&read("/proc/self/limits")?).context("no limit of open files in /proc/self/limits")
}

fn soft_limit(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|l| l.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

fn slab() -> Result<u64> {
    kib(&read("/proc/meminfo")?, "Slab:")
}

fn page_size() -> Result<u64> {
    kib(&read("/proc/self/smaps")?, "KernelPageSize:")
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {path}"))
}

/// The figure of the first line that begins with `name`, given in kB, in bytes.
fn kib(text: &str, name: &str) -> Result<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .map(|kib| kib * 1024)
        .with_context(|| format!("no {name} N kB"))
}

/// The number behind the word `name` in the line that begins with `line`.
fn word_after(text: &str, line: &str, name: &str) -> Result<u64> {
    text.lines()
        .find_map(|l| l.strip_prefix(line))
        .and_then(|rest| {
            let mut words = rest.split_whitespace();
            words.find(|word| *word == name)?;
            words.next()?.parse().ok()
        })
        .with_context(|| format!("no {name} in {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLLUP: &str = "55d000-7ffe00 ---p 00000000 00:00 0    [rollup]\n\
                          Rss:                3720 kB\nPss:                1163 kB\n\
                          Pss_Dirty:           340 kB\n";
    const SOCKSTAT: &str = "sockets: used 17\nTCP: inuse 4 orphan 0 tw 0 alloc 13 mem 679\n\
                            UDP: inuse 9 mem 8\n";

    #[test]
    fn figures_are_found_by_their_whole_name() {
        assert_eq!(kib(ROLLUP, "Rss:").unwrap(), 3720 * 1024);
        assert_eq!(kib(ROLLUP, "Pss:").unwrap(), 1163 * 1024);
        assert!(kib(ROLLUP, "Swap:").is_err());
        assert!(kib("Slab: many kB\n", "Slab:").is_err());
        assert_eq!(word_after(SOCKSTAT, "TCP:", "mem").unwrap(), 679);
        assert_eq!(word_after(SOCKSTAT, "TCP:", "inuse").unwrap(), 4);
        assert!(word_after(SOCKSTAT, "TCP6:", "inuse").is_err());
    }

    #[test]
    fn limits() {
        let text = "Max processes   100  100  processes\nMax open files   20000   30000   files\n";
        assert_eq!(soft_limit(text), Some(20_000));
        assert_eq!(
            soft_limit("Max open files unlimited unlimited files\n"),
            Some(u64::MAX)
        );
        assert_eq!(soft_limit(""), None);
    }

    #[test]
    fn this_machine_tells() {
        let own = Usage::read(Some(std::process::id())).unwrap();
        assert!(own.rss >= own.pss && own.pss > 0 && own.slab > 0);
        assert_eq!(Usage::read(None).unwrap().rss, 0);
        assert!(open_files().unwrap() > 0);
        assert!(page_size().unwrap() >= 4096);
    }
}
