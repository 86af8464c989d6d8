//! Log lines, written by a thread of their own, so that no worker ever waits for a terminal, a file
//! or a syslog server.
//!
//! A worker copies what a line needs ([`StreamLine`]) and goes on. The writer renders it, puts a
//! header before it ([`frame`]) and gives it to its targets' outlets ([`outlet`]). What cannot be
//! taken in is dropped and counted, on the way to the writer and at each outlet.

mod decide;
pub mod format;
mod frame;
mod line;
mod notes;
mod outlet;
mod render;
mod time;
mod writer;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

pub use decide::{at_the_beginning, at_the_end, is_error};
pub use line::{Concurrency, Moved, StreamLine, refusal};
pub use notes::Notes;

use std::time::SystemTime;

use crate::config::model::{Global, LogTarget};
use crate::sys::process;
use writer::Writer;

/// Lines that may wait for the writer, over all workers. Beyond it lines are dropped and counted.
const WAITING_LINES: usize = 16 * 1024;

/// The date of a log line, as HAProxy writes it: `23/Nov/2026:05:55:55.123`, local time.
#[must_use]
pub fn date(at: SystemTime) -> String {
    let mut out = Vec::new();
    time::date(&mut out, at);
    String::from_utf8_lossy(&out).into_owned()
}

/// Urgency of what went wrong.
pub const LEVEL_ERR: u8 = 3;
/// Urgency of what takes something out of service.
pub const LEVEL_WARNING: u8 = 4;
/// Urgency of news about the process.
pub const LEVEL_NOTICE: u8 = 5;
/// Urgency of a stream's line.
pub const LEVEL_INFO: u8 = 6;

/// What the process says of itself in headers.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The program's name.
    pub tag: String,
    /// The host's name.
    pub host: String,
    /// The name that `log-send-hostname` puts into headers.
    pub sent_host: Option<String>,
}

impl Identity {
    /// As the configuration wants it.
    #[must_use]
    pub fn new(global: &Global) -> Self {
        Self {
            tag: global
                .log_tag
                .clone()
                .unwrap_or_else(|| "underpass".to_owned()),
            host: process::hostname(),
            sent_host: global.log_send_hostname.clone(),
        }
    }
}

/// A message on its way to the writer.
#[derive(Debug)]
enum Message {
    Stream {
        targets: Arc<[LogTarget]>,
        line: Box<StreamLine>,
    },
    Text {
        targets: Arc<[LogTarget]>,
        level: u8,
        text: String,
    },
    Live(Box<StreamLine>),
}

/// Lines that nobody got.
#[derive(Debug, Default)]
struct Dropped {
    /// On the way to the writer.
    waiting: AtomicU64,
    /// By target.
    targets: Mutex<BTreeMap<String, u64>>,
}

impl Dropped {
    fn total(&self) -> u64 {
        let targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting.load(Ordering::Relaxed) + targets.values().sum::<u64>()
    }

    fn add(&self, target: &str, lines: u64) {
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        match targets.get_mut(target) {
            Some(count) => *count += lines,
            None => drop(targets.insert(target.to_owned(), lines)),
        }
    }
}

/// Gives lines to the writer. Cheap to clone; the writer ends when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Logger {
    sender: SyncSender<Message>,
    dropped: Arc<Dropped>,
    noted: Arc<AtomicU64>,
}

impl Logger {
    /// Starts the writer.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(identity: Identity) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (sender, receiver) = sync_channel(WAITING_LINES);
        let dropped = Arc::new(Dropped::default());
        let writer_dropped = Arc::clone(&dropped);
        let thread = std::thread::Builder::new()
            .name("log".into())
            .spawn(move || Writer::new(identity, writer_dropped).run(&receiver))?;
        let logger = Self {
            sender,
            dropped,
            noted: Arc::default(),
        };
        Ok((logger, thread))
    }

    fn send(&self, message: Message) {
        match self.sender.try_send(message) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.dropped.waiting.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Logs a stream.
    pub fn stream(&self, targets: &Arc<[LogTarget]>, line: StreamLine) {
        if !targets.is_empty() {
            self.send(Message::Stream {
                targets: targets.clone(),
                line: Box::new(line),
            });
        }
    }

    /// Logs a text.
    pub fn text(&self, targets: &Arc<[LogTarget]>, level: u8, text: String) {
        if !targets.is_empty() {
            self.send(Message::Text {
                targets: targets.clone(),
                level,
                text,
            });
        }
    }

    /// Writes a living stream's line to standard error.
    pub fn live(&self, line: StreamLine) {
        self.send(Message::Live(Box::new(line)));
    }

    /// A number for a stream that a format is to show, from 0.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.noted.fetch_add(1, Ordering::Relaxed)
    }

    /// Lines that were dropped because the writer was behind, or one of its targets.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.total()
    }

    /// Lines that were dropped because a target was behind or out of reach, by target.
    #[must_use]
    pub fn dropped_by_target(&self) -> BTreeMap<String, u64> {
        let targets = &self.dropped.targets;
        targets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
