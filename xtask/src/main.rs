//! Tasks of the workspace: `cargo xtask <task>`.

mod apt;
mod bench;
mod build;
mod demo_server;
mod ebpf;
mod fuzz;
mod http;
mod lint;
mod run;
mod setup;
mod signals;
mod test;
mod toolchain;
mod workspace;

use std::ffi::OsString;
use std::fs::{self, File};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};

use crate::setup::Need;
use crate::workspace::{Workspace, status};

/// Sets up, builds, runs, tests and measures Underpass.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Install what building, testing and measuring need (as root), where it is missing.
    Setup {
        /// Only what building and running need.
        #[arg(long)]
        build_only: bool,
    },
    /// Build target/release/underpass with its eBPF programs embedded.
    Build {
        /// Only the eBPF programs, which the next compilation of the daemon embeds.
        #[arg(long)]
        programs: bool,
    },
    /// Build, then run the quickstart with a small HTTP server behind it, or the daemon with the
    /// arguments after `--`.
    Run {
        /// The daemon's arguments, such as `-f my.cfg`.
        #[arg(last = true)]
        arguments: Vec<OsString>,
    },
    /// Build, then run every test (as root).
    Test {
        /// A filter, or other arguments of the test runner.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Try inputs on what reads PROXY headers, guided by the ways that they take through it.
    Fuzz {
        /// For how long.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Check formatting and run clippy with warnings as errors.
    Lint,
    /// Build, then measure against HAProxy and against no proxy at all (as root).
    Bench {
        /// Arguments of the bench.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    match perform(&Arguments::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: &Task) -> Result<ExitCode> {
    let workspace = Workspace::find();
    match task {
        Task::Setup { build_only } => {
            let need = if *build_only {
                Need::Build
            } else {
                Need::Bench
            };
            setup::run(&workspace, need)?;
        }
        Task::Build { programs } => {
            let built = if *programs {
                build::programs(&workspace, Need::Build)?
            } else {
                build::build(&workspace, Need::Build)?
            };
            println!("{}", built.display());
        }
        Task::Run { arguments } => return run::run(&workspace, arguments),
        Task::Test { arguments } => test::test(&workspace, arguments)?,
        Task::Fuzz { seconds } => fuzz::fuzz(&workspace, Duration::from_secs(*seconds))?,
        Task::Lint => lint::lint(&workspace)?,
        Task::Bench { arguments } => bench::bench(&workspace, arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints one line about what is being done.
fn progress(step: &str, what: &str) {
    eprintln!("{step:>8}  {what}");
}

/// Runs a talkative command with its output in a log file, and shows the end of that on failure.
///
/// # Errors
///
/// If the command cannot be started or fails.
fn logged(workspace: &Workspace, step: &str, command: &mut Command) -> Result<()> {
    /// Lines of the log that a failure shows.
    const SHOWN: usize = 12;

    let path = workspace.log(step);
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let log = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let status = status(command)?;
    if !status.success() {
        let text = fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        let end = lines[lines.len().saturating_sub(SHOWN)..].join("\n");
        bail!(
            "{} failed ({status}); its last lines, from {}:\n{end}",
            command.get_program().display(),
            path.display()
        );
    }
    Ok(())
}
