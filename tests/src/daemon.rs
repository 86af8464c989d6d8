//! The proxy under test as a child process in a namespace.

use std::ffi::OsString;
use std::fs;
use std::os::fd::RawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::netns::Netns;
use crate::process::{Output, Process, eventually};
use crate::record::{Record, Rejection};
use crate::sys;

/// How long anything the daemon owes promptly may take on a loaded machine.
pub const BOUND: Duration = Duration::from_secs(20);

/// Open files a test process and its daemon may have: thousands of flows, each with two sockets and two pipes.
const OPEN_FILES: u64 = 65_536;

/// The binary under test: `$UNDERPASS_BIN`, or the release build of this workspace.
///
/// # Errors
/// When there is no such file.
pub fn binary() -> Result<PathBuf> {
    let path = match std::env::var_os("UNDERPASS_BIN") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/underpass"),
    };
    ensure!(
        path.is_file(),
        "{} is missing: run `cargo xtask build`, or point UNDERPASS_BIN at a built daemon",
        path.display()
    );
    Ok(path)
}

/// Whether `program` is the peer that some tests can be tried against, which has neither our words nor our lines.
#[must_use]
pub fn is_haproxy(program: &Path) -> bool {
    program
        .file_name()
        .is_some_and(|name| name.to_string_lossy().contains("haproxy"))
}

/// How to start a daemon.
pub struct Launch {
    program: PathBuf,
    wrapper: Vec<OsString>,
    arguments: Vec<OsString>,
    environment: Vec<(String, String)>,
    inherited: Vec<RawFd>,
    config: String,
}

impl Launch {
    /// The binary under test with the configuration text `config`.
    ///
    /// # Errors
    /// When the binary is missing.
    pub fn new(config: impl Into<String>) -> Result<Self> {
        Ok(Self::program(binary()?, config))
    }

    /// Any program that takes `-f FILE`.
    pub fn program(program: impl Into<PathBuf>, config: impl Into<String>) -> Self {
        let program = program.into();
        // The peer's -d prints every byte's way; its plain foreground mode is what is meant here.
        let foreground = if is_haproxy(&program) { "-db" } else { "-d" };
        Self {
            program,
            wrapper: Vec::new(),
            arguments: vec![foreground.into()],
            environment: Vec::new(),
            inherited: Vec::new(),
            config: config.into(),
        }
    }

    /// Runs the daemon by way of another program, for example `setpriv` with its flags.
    #[must_use]
    pub fn wrapper<I: Into<OsString>>(mut self, words: impl IntoIterator<Item = I>) -> Self {
        self.wrapper = words.into_iter().map(Into::into).collect();
        self
    }

    /// One more argument, before `-f`.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Hands the open descriptor `fd` to the daemon under the same number.
    #[must_use]
    pub fn inherit(mut self, fd: RawFd) -> Self {
        self.inherited.push(fd);
        self
    }

    /// Starts it in `ns` without waiting for its listeners.
    ///
    /// # Errors
    /// When the configuration cannot be written or the program not started.
    pub fn spawn(self, ns: &Netns) -> Result<Daemon> {
        sys::raise_open_files(OPEN_FILES).context("raise the limit of open files")?;
        let dir = tempfile::Builder::new()
            .prefix("underpass-test-")
            .tempdir()?;
        // An unprivileged daemon must be able to read its configuration.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        let file = dir.path().join("x.cfg");
        fs::write(&file, &self.config)?;

        let mut words = self
            .wrapper
            .iter()
            .cloned()
            .chain([self.program.clone().into_os_string()]);
        let mut command: Command = ns.command(words.next().context("a program")?);
        command
            .args(words)
            .args(&self.arguments)
            .arg("-f")
            .arg(&file);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        for fd in &self.inherited {
            sys::inherit_fd(&mut command, *fd);
        }
        let process = Process::spawn(&mut command)?;
        Ok(Daemon {
            process,
            config: self.config,
            haproxy: is_haproxy(&self.program),
            _dir: dir,
        })
    }

    /// Starts it in `ns` and waits until its listeners are open.
    ///
    /// # Errors
    /// As [`Launch::spawn`], and when the daemon ends or does not get ready in time.
    pub fn start(self, ns: &Netns) -> Result<Daemon> {
        let daemon = self.spawn(ns)?;
        daemon
            .wait_ready()
            .with_context(|| format!("with the configuration\n{}", daemon.config))?;
        Ok(daemon)
    }
}

/// A running daemon. Dropping it kills it.
pub struct Daemon {
    process: Process,
    config: String,
    haproxy: bool,
    _dir: TempDir,
}

impl Daemon {
    /// Waits until the listeners are open.
    ///
    /// # Errors
    /// When that does not happen in time.
    pub fn wait_ready(&self) -> Result<()> {
        if self.haproxy {
            return self.wait_listening();
        }
        self.process
            .wait_lines(Output::Stderr, BOUND, "line with `ready`", |lines| {
                lines
                    .iter()
                    .any(|line| line.contains("ready"))
                    .then_some(())
            })
    }

    /// The peer does not say when it is ready: look for the sockets of its `bind` lines.
    fn wait_listening(&self) -> Result<()> {
        let binds = self
            .config
            .lines()
            .filter_map(|line| line.trim().strip_prefix("bind "));
        for address in binds.filter_map(|rest| rest.split_whitespace().next()) {
            let bound = || match address.strip_prefix("unix@") {
                Some(path) => Path::new(path).exists(),
                None => match address.rsplit(':').next().map(str::parse) {
                    Some(Ok(port)) => self.listens_on(port),
                    _ => true,
                },
            };
            let mut found = false;
            eventually(BOUND, || {
                found = bound();
                found || self.process.is_silenced()
            });
            ensure!(
                found,
                "{address} not bound within {BOUND:?}\n{}",
                self.process.transcript()
            );
        }
        Ok(())
    }

    /// Whether a TCP socket of the daemon's namespace listens on `port`.
    #[must_use]
    pub fn listens_on(&self, port: u16) -> bool {
        let suffix = format!(":{port:04X}");
        self.any_socket(|local, state| state == "0A" && local.ends_with(&suffix))
    }

    /// Whether a TCP socket of the daemon's namespace waits for the answer to its SYN.
    #[must_use]
    pub fn is_connecting(&self) -> bool {
        self.any_socket(|_, state| state == "02")
    }

    fn any_socket(&self, is: impl Fn(&str, &str) -> bool) -> bool {
        // Columns: number, local address as HEX:PORT, remote address, state.
        ["tcp", "tcp6"].iter().any(|table| {
            let path = format!("/proc/{}/net/{table}", self.pid());
            fs::read_to_string(path)
                .unwrap_or_default()
                .lines()
                .any(|line| {
                    let columns: Vec<&str> = line.split_whitespace().take(4).collect();
                    matches!(columns[..], [_, local, _, state] if is(local, state))
                })
        })
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The child process: its lines, its end.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What it has said so far.
    #[must_use]
    pub fn lines(&self, output: Output) -> Vec<String> {
        self.process.lines(output)
    }

    /// Sends `signal`.
    ///
    /// # Errors
    /// When the daemon is gone.
    pub fn signal(&self, signal: i32) -> Result<()> {
        self.process.signal(signal)
    }

    /// The streams logged so far.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        parse(&self.process.lines(Output::Stdout))
    }

    /// Waits for at least `count` logged streams.
    ///
    /// # Errors
    /// When there are fewer after the bound.
    pub fn wait_records(&self, count: usize) -> Result<Vec<Record>> {
        let what = format!("{count} stream records");
        self.process
            .wait_lines(Output::Stdout, BOUND, &what, |lines| {
                // Parsing on every new line is quadratic; a line is at most one record.
                if lines.len() < count {
                    return None;
                }
                let records = parse(lines);
                (records.len() >= count).then_some(records)
            })
    }

    /// The connections logged so far that ended before they were streams.
    #[must_use]
    pub fn rejections(&self) -> Vec<Rejection> {
        parse_rejections(&self.process.lines(Output::Stdout))
    }

    /// Waits for at least `count` of them.
    ///
    /// # Errors
    /// When there are fewer after the bound.
    pub fn wait_rejections(&self, count: usize) -> Result<Vec<Rejection>> {
        let what = format!("{count} rejections");
        self.process
            .wait_lines(Output::Stdout, BOUND, &what, |lines| {
                let rejections = parse_rejections(lines);
                (rejections.len() >= count).then_some(rejections)
            })
    }

    /// Waits for a diagnostic that contains all of `words`, after the first `after` lines of standard error.
    ///
    /// # Errors
    /// When there is none after the bound.
    pub fn wait_diagnostic(&self, after: usize, words: &[&str]) -> Result<String> {
        let what = format!("line with {words:?}");
        self.process
            .wait_lines(Output::Stderr, BOUND, &what, |lines| {
                lines
                    .iter()
                    .skip(after)
                    .find(|line| words.iter().all(|word| line.contains(word)))
                    .cloned()
            })
    }

    /// How many lines it has written to standard error.
    #[must_use]
    pub fn diagnostic_count(&self) -> usize {
        self.process.lines(Output::Stderr).len()
    }

    /// Asks for the counters of the live streams and waits for at least `count` of them.
    ///
    /// # Errors
    /// When there are fewer after the bound.
    pub fn live(&self, count: usize) -> Result<Vec<Record>> {
        let before = self.process.lines(Output::Stderr).len();
        self.signal(libc::SIGHUP)?;
        self.process.wait_lines(
            Output::Stderr,
            BOUND,
            &format!("{count} live records"),
            |lines| {
                let records: Vec<Record> = lines[before..]
                    .iter()
                    .filter_map(|line| Record::parse_live(line))
                    .collect();
                (records.len() >= count).then_some(records)
            },
        )
    }

    /// Waits until `count` streams live; some may have come only after the daemon was first asked.
    ///
    /// # Errors
    /// When there are fewer after the bound.
    pub fn wait_live(&self, count: usize) -> Result<()> {
        let deadline = Instant::now() + BOUND;
        loop {
            let before = self.process.lines(Output::Stderr).len();
            self.signal(libc::SIGHUP)?;
            let answer = self.process.wait_lines(
                Output::Stderr,
                Duration::from_millis(300),
                &format!("{count} live records"),
                |lines| {
                    let live = lines[before..].iter();
                    let live = live.filter_map(|line| Record::parse_live(line)).count();
                    (live >= count).then_some(())
                },
            );
            if answer.is_ok() || Instant::now() > deadline {
                return answer;
            }
        }
    }

    /// Lines on standard error, but for empty ones and the one that says that it is ready.
    #[must_use]
    pub fn diagnostics(&self) -> Vec<String> {
        let lines = self.process.lines(Output::Stderr);
        lines
            .into_iter()
            .filter(|line| !line.is_empty() && !line.contains("ready"))
            .collect()
    }

    /// Diagnostics that are warnings.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let lines = self.diagnostics();
        lines
            .into_iter()
            .filter(|line| line.to_lowercase().contains("warn"))
            .collect()
    }

    /// Open descriptors of the daemon, by what they refer to (as `/proc/<pid>/fd` shows it).
    ///
    /// # Errors
    /// When the daemon is gone.
    pub fn descriptors(&self) -> Result<Vec<String>> {
        let dir = format!("/proc/{}/fd", self.pid());
        let entries = fs::read_dir(&dir).with_context(|| dir.clone())?;
        // An entry may vanish between the listing and the look at it.
        Ok(entries
            .flatten()
            .filter_map(|fd| fs::read_link(fd.path()).ok())
            .map(|to| to.display().to_string())
            .collect())
    }

    /// Resident memory of the daemon in bytes.
    ///
    /// # Errors
    /// When the daemon is gone.
    pub fn resident(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line
            .and_then(|line| line.split_whitespace().next())
            .context("VmRSS")?;
        Ok(kilobytes.parse::<u64>()? << 10)
    }

    /// Stops it at once and gives its exit status.
    ///
    /// # Errors
    /// When it does not stop in time.
    pub fn stop(mut self) -> Result<ExitStatus> {
        self.signal(libc::SIGTERM)?;
        self.process.wait_exit(BOUND)
    }
}

fn parse(lines: &[String]) -> Vec<Record> {
    lines
        .iter()
        .filter_map(|line| Record::parse(line))
        .collect()
}

fn parse_rejections(lines: &[String]) -> Vec<Rejection> {
    lines
        .iter()
        .filter_map(|line| Rejection::parse(line))
        .collect()
}
