//! The thread that renders lines and gives them to their targets.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use super::frame::{self, Line};
use super::outlet::Outlet;
use super::{Dropped, Identity, Message, StreamLine};
use crate::config::model::{LogAddress, LogFormat, LogTarget};

/// How soon an outlet that could not take everything is tried again.
const RETRY: Duration = Duration::from_millis(10);

/// How long the writer leaves lines alone once it has written some.
const GATHERING: Duration = Duration::from_millis(4);

/// Lines that are rendered before outlets are flushed.
const BATCH: usize = 256;

/// At most one warning about dropped lines in this time.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(10);

/// How long the last lines may take to make some way, when the process ends.
const LAST_PATIENCE: Duration = Duration::from_millis(500);

/// Where the lines of all proxies come together.
pub(super) struct Writer {
    identity: Identity,
    dropped: Arc<Dropped>,
    /// Targets with one address share an outlet, so that their lines keep their order.
    outlets: Vec<(LogAddress, String, Outlet)>,
    /// By the target's number.
    targets: HashMap<usize, TargetState>,
    text: Vec<u8>,
    structured: Vec<u8>,
    framed: Vec<u8>,
    warned: (u64, Option<Instant>),
}

struct TargetState {
    outlet: usize,
    /// Lines so far, for `sample`.
    lines: u64,
}

impl Writer {
    pub(super) fn new(identity: Identity, dropped: Arc<Dropped>) -> Self {
        Self {
            identity,
            dropped,
            outlets: Vec::new(),
            targets: HashMap::new(),
            text: Vec::new(),
            structured: Vec::new(),
            framed: Vec::new(),
            warned: (0, None),
        }
    }

    /// Writes until nobody can send any more, and the last lines are out.
    pub(super) fn run(mut self, receiver: &Receiver<Message>) {
        loop {
            let restless = self.is_waiting() || self.warned.0 != self.dropped.total();
            let next = if restless {
                receiver.recv_timeout(RETRY)
            } else {
                receiver.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            let mut handled = 0;
            match next {
                Ok(first) => {
                    self.handle(first);
                    handled = 1;
                    // Whatever else waits goes out with the same write.
                    for next in receiver.try_iter().take(BATCH) {
                        self.handle(next);
                        handled += 1;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let now = Instant::now();
            self.flush(now);
            self.warn(now);
            // Lines gather meanwhile: a worker that finds the writer asleep has to wake it, which
            // costs both a system call, and the worker its core.
            if handled < BATCH {
                std::thread::sleep(GATHERING);
            }
        }
        self.finish();
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Stream { targets, line } => self.stream(&targets, &line),
            Message::Text {
                targets,
                level,
                text,
            } => {
                self.text.clear();
                self.text.extend_from_slice(text.as_bytes());
                self.deliver(&targets, level, false);
            }
            Message::Live(line) => {
                self.text.clear();
                line.tcp(&mut self.text);
                // A closed standard error has no reader who would miss it.
                let line = String::from_utf8_lossy(&self.text);
                let _ = writeln!(std::io::stderr(), "live {line}");
            }
        }
    }

    fn stream(&mut self, targets: &[LogTarget], line: &StreamLine) {
        self.text.clear();
        line.render(&self.identity.host, &mut self.text);
        let wanted = targets
            .iter()
            .any(|target| target.format == Some(LogFormat::Rfc5424));
        self.structured.clear();
        let structured = wanted && line.structured(&self.identity.host, &mut self.structured);
        self.deliver(targets, line.level, structured);
    }

    /// Gives what was rendered to those who want it.
    fn deliver(&mut self, targets: &[LogTarget], level: u8, structured: bool) {
        let now = SystemTime::now();
        for target in targets.iter().filter(|target| level <= target.max_level) {
            let outlet = self.target(target);
            let Some((_, name, outlet)) = self.outlets.get_mut(outlet) else {
                continue;
            };
            if let Some(sample) = &target.sample {
                let state = self.targets.get_mut(&target.id);
                let number = state.map_or(0, |state| {
                    state.lines += 1;
                    state.lines - 1
                });
                if !sample.takes(number) {
                    continue;
                }
            }
            let line = Line {
                level: level.max(target.min_level),
                now,
                text: &self.text,
                structured: structured.then_some(&self.structured[..]),
            };
            self.framed.clear();
            frame::frame(target, &self.identity, line, &mut self.framed);
            if !outlet.put(&mut self.framed) {
                self.dropped.add(name, 1);
            }
        }
    }

    /// The outlet of a target.
    fn target(&mut self, target: &LogTarget) -> usize {
        if let Some(state) = self.targets.get(&target.id) {
            return state.outlet;
        }
        let known = self
            .outlets
            .iter()
            .position(|(address, _, _)| *address == target.address);
        let outlet = known.unwrap_or_else(|| {
            let address = target.address.clone();
            let outlet = Outlet::new(&address);
            self.outlets
                .push((address, target.address.to_string(), outlet));
            self.outlets.len() - 1
        });
        let state = TargetState { outlet, lines: 0 };
        self.targets.insert(target.id, state);
        outlet
    }

    fn is_waiting(&self) -> bool {
        self.outlets
            .iter()
            .any(|(_, _, outlet)| outlet.waiting() > 0)
    }

    fn flush(&mut self, now: Instant) {
        for (_, name, outlet) in &mut self.outlets {
            let lost = outlet.flush(now);
            if lost > 0 {
                self.dropped.add(name, lost);
            }
        }
    }

    fn warn(&mut self, now: Instant) {
        let total = self.dropped.total();
        let (before, at) = self.warned;
        if total == before || at.is_some_and(|at| now < at + BETWEEN_WARNINGS) {
            return;
        }
        tracing::warn!(lines = total - before, total, "log lines were dropped");
        self.warned = (total, Some(now));
    }

    /// Waits for the last lines as long as they make some way.
    fn finish(&mut self) {
        let size = |writer: &Self| -> usize {
            let outlets = writer.outlets.iter();
            outlets.map(|(_, _, outlet)| outlet.waiting()).sum()
        };
        let mut left = size(self);
        let mut moved = Instant::now();
        while left > 0 && moved.elapsed() < LAST_PATIENCE {
            std::thread::sleep(RETRY);
            self.flush(Instant::now());
            let now_left = size(self);
            if now_left < left {
                moved = Instant::now();
            }
            left = now_left;
        }
        self.warned.1 = None;
        self.warn(Instant::now());
    }
}
