//! `cargo xtask fuzz`: libFuzzer on code that reads what strangers send, for a bounded time.
//!
//! The target is built by the stable compiler. The flags that make it tell the fuzzer which ways an
//! input went are those of `cargo fuzz`, without a sanitizer, which would want a nightly one; the
//! code under test has nothing unsafe.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::workspace::{Workspace, status, stdout_of};
use crate::{logged, progress};

/// How long the test command fuzzes.
pub(crate) const DURING_TESTS: Duration = Duration::from_secs(20);

/// The only target so far.
const TARGET: &str = "proxy-protocol";

/// What lets the fuzzer see the edges and the comparisons that an input takes.
const INSTRUMENTATION: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
];

/// The longest input, in bytes: UNIX addresses and some TLVs.
const MAX_INPUT: u32 = 1024;

/// Builds the target and runs it for about `time`.
///
/// # Errors
///
/// If it cannot be built, or if an input breaks what should hold for any; the message names the
/// file with that input, and how to run it again.
pub(crate) fn fuzz(workspace: &Workspace, time: Duration) -> Result<()> {
    progress("fuzz", &format!("compiling {TARGET}"));
    let program = build(workspace)?;

    let sources = workspace.root().join("tests").join("fuzz");
    let own = workspace.target("fuzz").join(TARGET);
    // What is found is kept for the next run; the seeds are only read.
    let corpus = own.join("corpus");
    let broken = own.join("broken");
    for directory in [&corpus, &broken] {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
    }
    let seconds = time.as_secs().max(1);
    progress("fuzz", &format!("{TARGET} for {seconds} s"));
    let log = workspace.log("fuzz");
    let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut run = Command::new(&program);
    run.arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={MAX_INPUT}"))
        .args(["-timeout=5", "-rss_limit_mb=1024", "-print_final_stats=1"])
        .arg(option("-dict=", &sources.join(format!("{TARGET}.dict"))))
        // A prefix of file names: a directory has to end in its separator.
        .arg(option("-artifact_prefix=", &broken.join("")))
        .arg(&corpus)
        .arg(sources.join("corpus").join(TARGET))
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    let ended = status(&mut run)?;
    let text = fs::read(&log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    if !ended.success() {
        bail!(
            "{TARGET}: {}",
            failure(&text, &program)
                .unwrap_or_else(|| format!("ended with {ended}; see {}", log.display()))
        );
    }
    let inputs = number_after(&text, "stat::number_of_executed_units:")
        .with_context(|| format!("the fuzzer counts no inputs; see {}", log.display()))?;
    if inputs == 0 {
        bail!("the fuzzer tried no input; see {}", log.display());
    }
    progress("fuzz", &format!("{inputs} inputs, all as they should be"));
    Ok(())
}

/// Compiles the target and returns its program.
fn build(workspace: &Workspace) -> Result<PathBuf> {
    let host = host_triple()?;
    let target = workspace.target("fuzz");
    logged(
        workspace,
        "fuzz-build",
        workspace
            .cargo()
            .args(["build", "--release", "--locked", "--bin", TARGET])
            .arg("--manifest-path")
            .arg(workspace.root().join("tests/fuzz/Cargo.toml"))
            // Named, so that build scripts and macros are compiled without the instrumentation.
            .args(["--target", &host])
            .arg("--target-dir")
            .arg(&target)
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env("RUSTFLAGS", INSTRUMENTATION.join(" ")),
    )
    .context("compiling the fuzz target, which wants a C++ compiler for the fuzzer itself")?;
    Ok(target.join(host).join("release").join(TARGET))
}

/// The machine that the compiler runs on and builds for.
fn host_triple() -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let version = stdout_of(Command::new(rustc).arg("-vV")).unwrap_or_default();
    version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .context("`rustc -vV` does not say for which machine it compiles")
}

fn option(name: &str, path: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push(path);
    option
}

/// What the fuzzer's output says of an input that broke something.
fn failure(output: &str, program: &Path) -> Option<String> {
    /// The panic's place and the first lines of its message.
    const SHOWN: usize = 4;

    let input = output.lines().find_map(|line| {
        line.split_once("Test unit written to ")
            .map(|(_, path)| path)
    })?;
    let mut lines: Vec<_> = output
        .lines()
        .skip_while(|line| !line.contains("panicked at") && !line.contains("ERROR: libFuzzer"))
        .take_while(|line| !line.starts_with("note:"))
        .take(SHOWN)
        .collect();
    if lines.is_empty() {
        lines.push("an input breaks it");
    }
    Some(format!(
        "{}\nThe input is {input}; to run it again:\n{} {input}",
        lines.join("\n"),
        program.display()
    ))
}

/// The number behind `name` in the fuzzer's statistics.
fn number_after(output: &str, name: &str) -> Option<u64> {
    output
        .lines()
        .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{failure, number_after};

    #[test]
    fn a_failure_names_the_panic_and_the_input() {
        let output = "\
INFO: Running with entropic power schedule\n\
\n\
thread '<unnamed>' (1) panicked at src/a.rs:1:2:\n\
it broke\n\
note: run with RUST_BACKTRACE\n\
==1== ERROR: libFuzzer: deadly signal\n\
artifact_prefix='/t/'; Test unit written to /t/crash-1\n";
        assert_eq!(
            failure(output, Path::new("/t/program")).as_deref(),
            Some(
                "thread '<unnamed>' (1) panicked at src/a.rs:1:2:\nit broke\n\
                 The input is /t/crash-1; to run it again:\n/t/program /t/crash-1"
            )
        );
        assert_eq!(failure("", Path::new("p")), None);
    }

    #[test]
    fn statistics_are_found() {
        let output = "Done\nstat::number_of_executed_units: 12345\nstat::x: 1\n";
        let number = number_after(output, "stat::number_of_executed_units:");
        assert_eq!(number, Some(12345));
        assert_eq!(number_after(output, "stat::none:"), None);
    }
}
