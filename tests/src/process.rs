//! A child process whose output lines can be waited for, and that is gone when its handle is dropped.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::sys;

/// Lines of one output, as they come.
#[derive(Default)]
struct Lines {
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default)]
struct Seen {
    lines: Vec<String>,
    closed: bool,
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn collect(self: Arc<Self>, from: impl Read + Send + 'static) -> JoinHandle<()> {
        thread::spawn(move || {
            for line in BufReader::new(from).split(b'\n') {
                let Ok(line) = line else { break };
                self.lock()
                    .lines
                    .push(String::from_utf8_lossy(&line).into_owned());
                self.changed.notify_all();
            }
            self.lock().closed = true;
            self.changed.notify_all();
        })
    }

    /// Waits until `enough` gives a value for the lines so far; `None` at the bound or when no more can come.
    fn wait<T>(
        &self,
        bound: Duration,
        mut enough: impl FnMut(&[String]) -> Option<T>,
    ) -> Option<T> {
        let end = Instant::now() + bound;
        let mut seen = self.lock();
        loop {
            if let Some(value) = enough(&seen.lines) {
                return Some(value);
            }
            let left = end.saturating_duration_since(Instant::now());
            if seen.closed || left.is_zero() {
                return None;
            }
            seen = self
                .changed
                .wait_timeout(seen, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

/// Which of the two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A running child process. Dropping it kills it, by its pid, and reaps it.
pub struct Process {
    child: Child,
    stdout: Arc<Lines>,
    stderr: Arc<Lines>,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `command`, collecting both outputs.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        Self::with_input(command, Stdio::null()).map(|(process, _)| process)
    }

    /// Starts `command`, collecting both outputs; gives the writing end of its standard input besides.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn_piped(command: &mut Command) -> Result<(Self, ChildStdin)> {
        let (process, input) = Self::with_input(command, Stdio::piped())?;
        Ok((process, input.context("stdin")?))
    }

    fn with_input(command: &mut Command, stdin: Stdio) -> Result<(Self, Option<ChildStdin>)> {
        let mut child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {:?}", command.get_program()))?;
        let (stdout, stderr) = (Arc::new(Lines::default()), Arc::new(Lines::default()));
        // The collectors end by themselves when the child's ends of the pipes are closed.
        Arc::clone(&stdout).collect(child.stdout.take().context("stdout")?);
        Arc::clone(&stderr).collect(child.stderr.take().context("stderr")?);
        let input = child.stdin.take();
        let process = Self {
            child,
            stdout,
            stderr,
            status: None,
        };
        Ok((process, input))
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn output(&self, output: Output) -> &Lines {
        match output {
            Output::Stdout => &self.stdout,
            Output::Stderr => &self.stderr,
        }
    }

    /// The lines written so far.
    #[must_use]
    pub fn lines(&self, output: Output) -> Vec<String> {
        self.output(output).lock().lines.clone()
    }

    /// Waits until `enough` gives a value for the lines written so far.
    ///
    /// # Errors
    /// When `bound` passes, or the output closes, without one: the message quotes both outputs.
    pub fn wait_lines<T>(
        &self,
        output: Output,
        bound: Duration,
        what: &str,
        enough: impl FnMut(&[String]) -> Option<T>,
    ) -> Result<T> {
        match self.output(output).wait(bound, enough) {
            Some(value) => Ok(value),
            None => bail!(
                "no {what} on {output:?} within {bound:?}\n{}",
                self.transcript()
            ),
        }
    }

    /// Whether the process has closed its standard error: it has ended, or is about to.
    #[must_use]
    pub fn is_silenced(&self) -> bool {
        self.stderr.lock().closed
    }

    /// Sends `signal`.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: i32) -> Result<()> {
        sys::signal(self.pid(), signal)
            .with_context(|| format!("signal {signal} to {}", self.pid()))
    }

    /// Waits for the end of the process.
    ///
    /// # Errors
    /// When it still runs after `bound`.
    pub fn wait_exit(&mut self, bound: Duration) -> Result<ExitStatus> {
        let end = Instant::now() + bound;
        loop {
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            if Instant::now() >= end {
                bail!(
                    "process {} still runs after {bound:?}\n{}",
                    self.pid(),
                    self.transcript()
                );
            }
            thread::sleep(POLL);
        }
    }

    /// The exit status, if the process has ended.
    ///
    /// # Errors
    /// When the kernel does not know the child.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait()?;
        }
        Ok(self.status)
    }

    /// Both outputs, for failure messages: at most the last lines of each.
    #[must_use]
    pub fn transcript(&self) -> String {
        let tail = |output| {
            let lines = self.lines(output);
            lines[lines.len().saturating_sub(40)..].join("\n")
        };
        format!(
            "--- stdout\n{}\n--- stderr\n{}",
            tail(Output::Stdout),
            tail(Output::Stderr)
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.status.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if thread::panicking() {
            eprintln!("process {}:\n{}", self.pid(), self.transcript());
        }
    }
}

/// How often a condition without a notification is looked at.
pub const POLL: Duration = Duration::from_millis(5);

/// Looks at `condition` until it holds; false when it still does not after `bound`.
pub fn eventually(bound: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + bound;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(POLL);
    }
}
