//! A stream's line before it is written out, and HAProxy's TCP line.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::format::Formats;
use super::notes::Notes;
use super::{LEVEL_INFO, time};
use crate::config::model::LogOptions;
use crate::conn::Side;
use crate::observe::record::{
    DirectionRecord, Endpoint, FlowRecord, LogLevel, Path, Termination, Why,
};

/// Connections at the end of a stream as HAProxy's log shows them: the stream itself counts with the
/// process and with the frontend, and no more with the backend and the server.
#[derive(Debug, Clone, Copy, Default)]
pub struct Concurrency {
    /// Of the process.
    pub process: u64,
    /// Of the frontend.
    pub frontend: u64,
    /// Of the backend.
    pub backend: u64,
    /// Of the server.
    pub server: u64,
}

/// What a direction's part of the line says.
#[derive(Debug, Clone, Copy)]
pub struct Moved {
    pub(super) bytes: u64,
    pub(super) kernel: u64,
    pub(super) flips: u64,
    pub(super) path: Path,
}

impl Moved {
    fn of(direction: &DirectionRecord) -> Self {
        Self {
            bytes: direction.bytes(),
            kernel: direction.kernel_bytes(),
            flips: direction.flips(),
            path: direction.path.get(),
        }
    }
}

/// A stream's line before it is written out.
#[derive(Debug)]
pub struct StreamLine {
    pub(super) id: u64,
    pub(super) client: Endpoint,
    pub(super) accepted_at: SystemTime,
    pub(super) frontend: Arc<str>,
    /// Its client speaks TLS.
    pub(super) secure: bool,
    pub(super) backend: Option<Arc<str>>,
    pub(super) server: Option<Arc<str>>,
    /// From the accept to the end of the client's handshakes.
    pub(super) handshake: Duration,
    /// Waiting and connecting; `None` where that point was not reached.
    pub(super) wait: Option<Duration>,
    pub(super) connect: Option<Duration>,
    pub(super) total: Duration,
    pub(super) up: Moved,
    pub(super) down: Moved,
    pub(super) termination: Option<Termination>,
    pub(super) concurrency: Concurrency,
    pub(super) retries: u32,
    pub(super) redispatched: bool,
    /// Streams before it in the queues of the server and of the backend.
    pub(super) queued: [u32; 2],
    pub(super) why: Option<Why>,
    /// What ended, layer by layer; `None` where everything ended in order.
    pub(super) ends: Option<String>,
    /// `option logasap`: what may still grow gets a `+`.
    pub(super) early: bool,
    pub(super) level: u8,
    pub(super) formats: Option<Arc<Formats>>,
    pub(super) is_error: bool,
    pub(super) count: u64,
    pub(super) notes: Option<Box<Notes>>,
}

impl StreamLine {
    /// Reads everything that the line needs from the record. `termination` is `None` for a stream
    /// that still lives.
    #[must_use]
    pub fn new(
        record: &FlowRecord,
        termination: Option<Termination>,
        concurrency: Concurrency,
        now: Instant,
    ) -> Self {
        let times = record.times.get();
        let gone = u64::from(termination.is_some());
        Self {
            id: record.id,
            client: record.client,
            accepted_at: times.accepted_at,
            frontend: record.frontend.clone(),
            secure: record.secure,
            backend: record.backend.get().cloned(),
            server: record.server.borrow().clone(),
            handshake: times.ready.saturating_duration_since(times.accepted),
            wait: times.connecting.map(|at| at - times.accepted),
            connect: times
                .connecting
                .zip(times.connected)
                .map(|(from, to)| to - from),
            total: now - times.accepted,
            up: Moved::of(&record.up),
            down: Moved::of(&record.down),
            termination,
            concurrency: Concurrency {
                backend: concurrency.backend.saturating_sub(gone),
                server: concurrency.server.saturating_sub(gone),
                ..concurrency
            },
            retries: record.retries.get(),
            redispatched: record.redispatched.get(),
            queued: record.queued.get(),
            why: record.why.get(),
            ends: ends(record),
            early: false,
            level: match record.log_level.get() {
                LogLevel::Level(level) => level,
                LogLevel::Usual | LogLevel::Silent => LEVEL_INFO,
            },
            formats: None,
            is_error: false,
            count: 0,
            notes: None,
        }
    }

    /// Written as its frontend wants it. Counts it among the frontend's lines.
    #[must_use]
    pub fn formatted(mut self, options: &LogOptions, record: &FlowRecord) -> Self {
        self.early = options.logasap;
        if let Some(formats) = &options.formats {
            self.count = formats.count();
            self.formats = Some(Arc::clone(formats));
            self.notes = record.notes.borrow().clone();
        }
        self
    }

    /// With what was noted of its stream so far.
    #[must_use]
    pub fn noting(mut self, record: &FlowRecord) -> Self {
        self.notes = record.notes.borrow().clone();
        self
    }

    /// At this level, where no rule says another.
    #[must_use]
    pub fn at(mut self, level: u8) -> Self {
        self.level = level;
        self
    }

    /// Of a connection that failed before it was a stream.
    #[must_use]
    pub fn of_an_error(mut self) -> Self {
        self.is_error = true;
        self
    }

    /// Writes the line as it was asked for.
    pub fn render(&self, host: &str, out: &mut Vec<u8>) {
        let format = self.formats.as_ref().and_then(|formats| {
            if self.is_error {
                formats.error.as_ref()
            } else {
                formats.stream.as_ref()
            }
        });
        match format {
            Some(format) => self.write(format, host, out),
            None => self.tcp(out),
        }
    }

    /// Writes the structured data of RFC 5424; `false`: there is none.
    pub fn structured(&self, host: &str, out: &mut Vec<u8>) -> bool {
        let format = self
            .formats
            .as_ref()
            .and_then(|formats| formats.structured.as_ref());
        if let Some(format) = format {
            self.write(format, host, out);
        }
        format.is_some()
    }

    /// The `+` before what may still grow.
    pub(super) fn plus(&self) -> &'static str {
        if self.early { "+" } else { "" }
    }

    /// What stands behind a frontend that speaks TLS.
    pub(super) fn tilde(&self) -> &'static str {
        if self.secure { "~" } else { "" }
    }

    /// The `+` before the retries of a stream that another server got.
    pub(super) fn redispatch(&self) -> &'static str {
        if self.redispatched { "+" } else { "" }
    }

    pub(super) fn backend_name(&self) -> &str {
        // A stream that got no further than its frontend is served by that.
        self.backend.as_deref().unwrap_or(&self.frontend)
    }

    pub(super) fn server_name(&self) -> &str {
        self.server.as_deref().unwrap_or("<NOSRV>")
    }

    /// HAProxy's TCP log line, followed by ours: bytes from the client, paths (client to server /
    /// server to client), bytes moved by the kernel, changes of hands, and why not the path asked
    /// for, and what ended, layer by layer. What [`super::format::TCPLOG`] says, without the way
    /// through its pieces.
    pub fn tcp(&self, out: &mut Vec<u8>) {
        out.reserve(256);
        // Writing to memory cannot fail, here and below.
        let _ = match self.client {
            Endpoint::Inet(address) => write!(out, "{}:{}", plain(address.ip()), address.port()),
            Endpoint::Unix => write!(out, "unix:0"),
        };
        out.extend_from_slice(b" [");
        time::date(out, self.accepted_at);
        let _ = write!(
            out,
            "] {}{} {}/{} ",
            self.frontend,
            self.tilde(),
            self.backend_name(),
            self.server_name(),
        );
        for time in [self.wait, self.connect] {
            let _ = match time {
                Some(time) => write!(out, "{}/", time.as_millis()),
                None => write!(out, "-1/"),
            };
        }
        let c = &self.concurrency;
        let plus = self.plus();
        let _ = write!(
            out,
            "{plus}{} {plus}{} {} {}/{}/{}/{}/{}{} {}/{}",
            self.total.as_millis(),
            self.down.bytes,
            self.termination.unwrap_or(Termination::NORMAL),
            c.process,
            c.frontend,
            c.backend,
            c.server,
            self.redispatch(),
            self.retries,
            self.queued[0],
            self.queued[1],
        );
        let _ = write!(
            out,
            " up={} path={}/{} kernel={}/{} flips={}/{} why={} end={}",
            self.up.bytes,
            self.up.path.name(),
            self.down.path.name(),
            self.up.kernel,
            self.down.kernel,
            self.up.flips,
            self.down.flips,
            self.why.map_or("-", Why::name),
            self.ends.as_deref().unwrap_or("-"),
        );
    }
}

/// The line of a connection that became no stream.
#[must_use]
pub fn refusal(
    source: Endpoint,
    accepted_at: SystemTime,
    frontend: &str,
    bind: &str,
    why: &impl std::fmt::Display,
) -> String {
    let source = match source {
        Endpoint::Inet(address) => format!("{}:{}", plain(address.ip()), address.port()),
        Endpoint::Unix => "unix:0".to_owned(),
    };
    let mut date = Vec::new();
    time::date(&mut date, accepted_at);
    format!(
        "{source} [{}] {frontend}/{bind}: {why}",
        String::from_utf8_lossy(&date)
    )
}

/// What ended in both connections, each entry behind its side; `None` where nothing has.
fn ends(record: &FlowRecord) -> Option<String> {
    let mut text = String::new();
    for side in Side::BOTH {
        for end in record.ends[side.index()].borrow().iter() {
            if !text.is_empty() {
                text.push(',');
            }
            // Writing to a string cannot fail.
            let _ = write!(text, "{side}:{end}");
        }
    }
    (!text.is_empty()).then_some(text)
}

/// An IPv4 client of an IPv6 listener is logged as IPv4.
pub(super) fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// An address and a port that may be missing.
pub(super) fn inet(endpoint: Endpoint) -> Option<SocketAddr> {
    match endpoint {
        Endpoint::Inet(address) => Some(address),
        Endpoint::Unix => None,
    }
}
