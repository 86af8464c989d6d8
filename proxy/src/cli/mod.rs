//! The command line: HAProxy's flags for running, subcommands for people.
//!
//! [`parse`] gives data; `main` acts on it. HAProxy's flags (`-db`, `-sf 1 2`, `-dM50`) are not
//! what clap can describe and are read by [`flags`]; the subcommands and the help are clap's.

pub mod check;
pub mod flags;
pub mod version;

mod render;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, CommandFactory, Parser, Subcommand};

use crate::config::model::{Environment, Global};

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// Run, or with [`Run::check`] only check: HAProxy's flags.
    Run(Box<Run>),
    /// `-cc`: evaluate a condition; the exit code is the answer.
    Condition(String),
    /// `-v`, or with `verbose` `-vv`.
    Version {
        /// Name the features as well.
        verbose: bool,
    },
    /// `underpass check`.
    Check(CheckArgs),
    /// `underpass probe`.
    Probe(ProbeArgs),
    /// `underpass why`.
    Why(WhyArgs),
    /// `underpass clean`, or `--clean`.
    Clean(CleanArgs),
}

/// What HAProxy's flags say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Run {
    /// `-f` and what follows `--`: files and directories, in order.
    pub files: Vec<PathBuf>,
    /// `-c`: check the configuration and leave.
    pub check: bool,
    /// `-C`: change to this directory before anything is read.
    pub chdir: Option<PathBuf>,
    /// `-db` or `-d`: stay in the foreground whatever the configuration says.
    pub foreground: bool,
    /// `-D`: go to the background; `foreground` wins over it.
    pub daemon: bool,
    /// `-d`: tell what happens.
    pub debug: bool,
    /// `-dD`: show diagnostic remarks too.
    pub diagnostic: bool,
    /// `-dS`: no splice.
    pub no_splice: bool,
    /// `-dW`: warnings are errors.
    pub warnings_are_errors: bool,
    /// `-V`: more words.
    pub verbose: bool,
    /// `-q`: fewer words.
    pub quiet: bool,
    /// `-L`: the name of the local peer.
    pub local_peer: Option<String>,
    /// `-n`: overrides `maxconn` of the `global` section.
    pub maxconn: Option<usize>,
    /// `-N`: `maxconn` of the proxies that set none.
    pub default_maxconn: Option<usize>,
    /// `-p`: overrides `pidfile`.
    pub pidfile: Option<PathBuf>,
    /// `-sf`: processes that shall finish (SIGUSR1) once this one is up.
    pub finish: Vec<i32>,
    /// `-st`: processes that shall stop (SIGTERM) once this one is up.
    pub terminate: Vec<i32>,
    /// Flags taken for HAProxy's sake that change nothing here: shown with `-V`.
    pub ignored: Vec<String>,
}

impl Run {
    /// Lets the flags override the `global` section, as HAProxy does.
    pub fn apply(&self, global: &mut Global) {
        if self.maxconn.is_some() {
            global.maxconn = self.maxconn;
        }
        if self.pidfile.is_some() {
            global.pidfile.clone_from(&self.pidfile);
        }
        global.daemon = (global.daemon || self.daemon) && !self.foreground;
    }

    /// The variables that the configuration may use: the process's own (those that are UTF-8) and
    /// `HAPROXY_LOCALPEER` where `-L` names one.
    pub fn environment(
        &self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Environment {
        let mut environment: BTreeMap<String, String> = variables
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        if let Some(peer) = &self.local_peer {
            environment.insert("HAPROXY_LOCALPEER".to_owned(), peer.clone());
        }
        environment
    }

    /// One line per flag that was given and changes nothing here.
    pub fn ignored_notes(&self) -> Vec<String> {
        self.ignored
            .iter()
            .map(|flag| format!("'{flag}' is accepted for compatibility and changes nothing here"))
            .collect()
    }
}

/// Arguments of `underpass check`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct CheckArgs {
    /// Configuration file, or directory of *.cfg files (may repeat)
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Fail on warnings too
    #[arg(long)]
    pub deny_warnings: bool,
}

/// Arguments of `underpass probe`.
#[derive(Debug, Clone, PartialEq, Eq, Default, clap::Args)]
pub struct ProbeArgs {
    /// Print the findings as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `underpass clean`.
#[derive(Debug, Clone, PartialEq, Eq, Default, clap::Args)]
pub struct CleanArgs {
    /// Configuration whose `offload-pins` is meant (may repeat)
    #[arg(short, long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The directory of `offload-pins`; the usual one unless it or FILE is given
    #[arg(conflicts_with = "files")]
    pub directory: Option<PathBuf>,
}

/// Arguments of `underpass why`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct WhyArgs {
    /// The source that is asked about
    pub address: std::net::IpAddr,
}

const RUN_HELP: &str = "\
Running (HAProxy's flags):
  underpass -f FILE [-f FILE]... [flags] [-- FILE...]

  -f FILE        configuration file, or directory of *.cfg files
  -c             check the configuration and leave: exit code 0 or 1
  -cc COND       evaluate a condition as .if does and leave
  -C DIR         change to DIR first
  -D / -db       go to the background / stay in the foreground
  -d             foreground, and tell what happens
  -dD / -dW      show diagnostic remarks / treat warnings as errors
  -dS            do not use splice
  -L NAME        name of the local peer
  -n N / -N N    connections of the process / of a proxy that sets none
  -p FILE        write the process id to FILE
  -q / -V        fewer words / more words
  -sf PID...     ask these processes to finish once this one is up
  -st PID...     stop these processes once this one is up
  -v / -vv       version / version and features
  --clean [DIR]  remove what relayed flows need to outlive daemons: in DIR,
                 or with -f FILE in its 'offload-pins', or in the usual place

  -dI -dM[BYTE] -dR -dV -dZ -de -dp -dr -m MB -s -S BIND -W -Ws -x SOCKET
                 accepted for compatibility; -V tells which change nothing";

/// A TCP (layer 4) proxy that moves established flows in the kernel.
#[derive(Debug, Parser)]
#[command(name = "underpass", version, disable_version_flag = true, after_help = RUN_HELP)]
struct Cli {
    /// Print the version (`-V` means "more words", as in HAProxy)
    #[arg(long, action = ArgAction::Version)]
    version: (),
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check configuration files and show each mistake in its line
    Check(CheckArgs),
    /// Tell what this machine offers for moving flows in the kernel
    Probe(ProbeArgs),
    /// Tell why the guards of this machine refuse connections from an address
    Why(WhyArgs),
    /// Remove what outlived daemons: relayed flows lose their proxy
    Clean(CleanArgs),
}

/// Why a command line is not an [`Invocation`].
#[derive(Debug)]
pub struct UsageError {
    /// What to print; ends with a line feed.
    pub message: String,
    /// Whether it belongs on standard error (a mistake) or standard output (asked-for help).
    pub to_stderr: bool,
    /// Exit code.
    pub code: u8,
}

impl UsageError {
    fn mistake(message: impl Into<String>) -> Self {
        let mut message = message.into();
        message.push('\n');
        Self {
            message,
            to_stderr: true,
            code: 1,
        }
    }
}

impl From<clap::Error> for UsageError {
    fn from(error: clap::Error) -> Self {
        Self {
            message: error.render().to_string(),
            to_stderr: error.use_stderr(),
            code: u8::try_from(error.exit_code()).unwrap_or(1),
        }
    }
}

/// The definitions behind the subcommands and the help, for completions and a man page.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Reads the command line, program name first.
///
/// # Errors
/// A mistake, or the text that `--help` and the like ask for.
pub fn parse<I>(argv: I) -> Result<Invocation, UsageError>
where
    I: IntoIterator<Item = OsString>,
{
    let argv: Vec<OsString> = argv.into_iter().collect();
    let first = argv.get(1).map(|word| word.to_string_lossy());
    match first.as_deref() {
        None => Err(UsageError::mistake(
            "missing configuration file: underpass -f FILE\nFor more information, try '--help'.",
        )),
        Some("-h" | "--help" | "--version") => subcommand(&argv),
        Some("--") => flags::parse(&argv[1..]),
        Some(word) if word.starts_with("--") || !word.starts_with('-') => subcommand(&argv),
        Some(_) => flags::parse(&argv[1..]),
    }
}

fn subcommand(argv: &[OsString]) -> Result<Invocation, UsageError> {
    // `--clean` is `clean`.
    let argv = argv
        .iter()
        .enumerate()
        .map(|(at, word)| match word.to_str() {
            Some("--clean") if at == 1 => "clean".into(),
            _ => word.clone(),
        });
    Ok(match Cli::try_parse_from(argv)?.command {
        Command::Check(args) => Invocation::Check(args),
        Command::Probe(args) => Invocation::Probe(args),
        Command::Why(args) => Invocation::Why(args),
        Command::Clean(args) => Invocation::Clean(args),
    })
}

#[cfg(test)]
mod tests;
