//! What the run's figures hold for.

use std::{fs, process::Command};

use anyhow::{Context, Result};

use crate::{
    contestant::{Contestant, Kind},
    report::Machine,
    service::Programs,
    site::version,
};

/// Asks the kernel, and every program that takes part for its version: the contestants' own, and `others`.
///
/// # Errors
/// When `/proc` cannot be read or a program cannot be run.
pub(crate) fn describe(
    programs: &Programs,
    contestants: &[Contestant],
    others: &[&str],
) -> Result<Machine> {
    let has = |kind| contestants.iter().any(|c| c.kind == kind);
    let mut versions = Vec::new();
    if has(Kind::Underpass) {
        versions.push(("underpass".to_owned(), version(&programs.underpass, "-v")?));
    }
    if has(Kind::Haproxy) {
        versions.push(("haproxy".to_owned(), version(&programs.haproxy, "-v")?));
    }
    for &name in others {
        versions.push((name.to_owned(), version(name.as_ref(), "-v")?));
    }
    if contestants.iter().any(Contestant::tls) {
        // The library of haproxy and wrk, where they are the distribution's.
        versions.push((
            "openssl".to_owned(),
            version("openssl".as_ref(), "version")?,
        ));
    }
    let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
    Ok(Machine {
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?
            .trim()
            .to_owned(),
        cpu: cpu_model(&cpuinfo),
        cores: cores(&cpuinfo),
        memory_mib: memory_kib(&fs::read_to_string("/proc/meminfo")?) / 1024,
        versions,
    })
}

/// The date and time, for the report.
///
/// # Errors
/// When the program `date` cannot be run.
pub(crate) fn date() -> Result<String> {
    let out = Command::new("date")
        .args(["-u", "+%Y-%m-%dT%H:%M:%SZ"])
        .output()
        .context("run date")?;
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

/// Model name of the first CPU; other architectures than x86 may name none.
fn cpu_model(cpuinfo: &str) -> String {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == "model name")
        .map_or_else(
            || std::env::consts::ARCH.to_owned(),
            |(_, model)| model.trim().to_owned(),
        )
}

/// CPUs of the machine, not only those this process may use.
fn cores(cpuinfo: &str) -> usize {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(key, _)| key.trim() == "processor")
        .count()
}

fn memory_kib(meminfo: &str) -> u64 {
    meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPUINFO: &str = "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC\n\n\
                           processor\t: 1\nmodel name\t: AMD EPYC\n";

    #[test]
    fn reads_cpuinfo() {
        assert_eq!(cpu_model(CPUINFO), "AMD EPYC");
        assert_eq!(cores(CPUINFO), 2);
        assert_eq!(cpu_model("BogoMIPS : 50.00\n"), std::env::consts::ARCH);
    }

    #[test]
    fn reads_meminfo() {
        assert_eq!(
            memory_kib("MemTotal:       24684000 kB\nMemFree: 1 kB\n"),
            24_684_000
        );
        assert_eq!(memory_kib(""), 0);
    }
}
