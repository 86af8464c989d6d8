//! `cargo xtask test`: every test, against the daemon as it is built for release.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::setup::Need;
use crate::workspace::{Workspace, find_program, status};
use crate::{build, fuzz, progress};

/// Sets up, builds and runs the tests that `arguments` (the test runner's) select.
///
/// # Errors
///
/// If a step, the fuzzing or a test fails, or a network namespace is left behind.
pub(crate) fn test(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!(
            "the end-to-end tests make network namespaces and load eBPF programs: run \
             `cargo xtask test` as root (`cargo test --lib --bins` runs the others)"
        );
    }
    let daemon = build::build(workspace, Need::Test)?;
    // Before the runner, whose summary is to be the last; and not for who wants some tests only.
    let fuzzed = if arguments.is_empty() {
        fuzz::fuzz(workspace, fuzz::DURING_TESTS)
    } else {
        Ok(())
    };
    if let Err(error) = &fuzzed {
        progress("fuzz", &format!("failed: {error:#}"));
    }
    let before = abandoned_namespaces();
    let passed = if find_program("cargo-nextest").is_some() {
        progress("test", "with cargo-nextest");
        let mut nextest = workspace.cargo();
        nextest
            .args([
                "nextest",
                "run",
                "--workspace",
                "--exclude",
                "underpass-ebpf",
            ])
            .args(arguments);
        succeeds(&mut nextest, &daemon)?
    } else {
        progress("test", "with cargo test");
        with_cargo_test(workspace, arguments, &daemon)?
    };
    let left = left_behind(&before);
    if !left.is_empty() {
        bail!("tests left network namespaces behind: {}", left.join(" "));
    }
    if !passed {
        bail!("tests failed");
    }
    fuzzed.context("fuzzing failed")
}

/// The runner that is always there. It cannot run some tests alone, so that all end-to-end tests
/// run one after the other.
fn with_cargo_test(workspace: &Workspace, arguments: &[OsString], daemon: &Path) -> Result<bool> {
    // Without documentation tests, whose empty summary would be the last.
    const KINDS: [&str; 4] = ["--no-fail-fast", "--lib", "--bins", "--tests"];

    let mut rest = workspace.cargo();
    rest.args(["test", "--workspace"])
        .args([
            "--exclude",
            "underpass-ebpf",
            "--exclude",
            "underpass-tests",
        ])
        .args(KINDS)
        .args(arguments);
    let rest = succeeds(&mut rest, daemon)?;
    let mut end_to_end = workspace.cargo();
    end_to_end
        .args(["test", "--package", "underpass-tests"])
        .args(KINDS)
        .args(arguments)
        .env("RUST_TEST_THREADS", "1");
    Ok(succeeds(&mut end_to_end, daemon)? && rest)
}

fn succeeds(command: &mut Command, daemon: &Path) -> Result<bool> {
    Ok(status(command.env("UNDERPASS_BIN", daemon))?.success())
}

/// The namespaces that the tests left. A test that was ended hard takes a moment to go, so that
/// this one waits for that, with a bound.
fn left_behind(before: &BTreeSet<String>) -> Vec<String> {
    const PATIENCE: Duration = Duration::from_secs(5);

    let start = Instant::now();
    loop {
        let left: Vec<_> = abandoned_namespaces().difference(before).cloned().collect();
        if left.is_empty() || start.elapsed() > PATIENCE {
            return left;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Named network namespaces of tests whose process is gone; one that runs beside this is none of
/// ours.
fn abandoned_namespaces() -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir("/run/netns") else {
        // Nothing on this machine ever made a named one.
        return BTreeSet::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| owner(name).is_some_and(|pid| !Path::new("/proc").join(pid).exists()))
        .collect()
}

/// The process that made the namespace: the tests name theirs `up-<pid>-…`.
fn owner(name: &str) -> Option<&str> {
    let pid = name.strip_prefix("up-")?.split('-').next()?;
    pid.bytes().all(|byte| byte.is_ascii_digit()).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::owner;

    #[test]
    fn owner_is_in_the_name_of_a_tests_namespace() {
        assert_eq!(owner("up-123-0-client"), Some("123"));
        assert_eq!(owner("up-link"), None);
        assert_eq!(owner("other"), None);
    }
}
