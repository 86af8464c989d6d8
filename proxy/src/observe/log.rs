//! Log lines, one per stream, written by a thread of their own so that no worker ever waits for
//! a terminal, a file or a syslog server.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crate::config::model::{LogAddress, LogFormat, LogTarget};
use crate::conn::Side;
use crate::observe::record::{Endpoint, FlowRecord, LogLevel, Path, Termination, Why};
use crate::sys::process::{LocalTime, local_time};

/// Lines that may wait for the writer, over all workers. Beyond it lines are dropped and counted.
const WAITING_LINES: usize = 16 * 1024;

/// Connections at the end of a stream, itself included, as HAProxy's log shows them.
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
    bytes: u64,
    kernel: u64,
    flips: u64,
    path: Path,
}

/// A stream's line before it is written out.
#[derive(Debug)]
pub struct StreamLine {
    client: Endpoint,
    accepted_at: SystemTime,
    frontend: Arc<str>,
    backend: Option<Arc<str>>,
    server: Option<Arc<str>>,
    /// Waiting, connecting, total; `None` where that point was not reached.
    wait: Option<Duration>,
    connect: Option<Duration>,
    total: Duration,
    up: Moved,
    down: Moved,
    termination: Option<Termination>,
    concurrency: Concurrency,
    retries: u32,
    why: Option<Why>,
    /// What ended, layer by layer; `None` where everything ended in order.
    ends: Option<String>,
    level: u8,
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
        let moved = |direction: &crate::observe::record::DirectionRecord| Moved {
            bytes: direction.bytes(),
            kernel: direction.kernel_bytes(),
            flips: direction.flips(),
            path: direction.path.get(),
        };
        Self {
            client: record.client,
            accepted_at: times.accepted_at,
            frontend: record.frontend.clone(),
            backend: record.backend.get().cloned(),
            server: record.server.borrow().clone(),
            wait: times.connecting.map(|at| at - times.accepted),
            connect: times
                .connecting
                .zip(times.connected)
                .map(|(from, to)| to - from),
            total: now - times.accepted,
            up: moved(&record.up),
            down: moved(&record.down),
            termination,
            concurrency,
            retries: record.retries.get(),
            why: record.why.get(),
            ends: ends(record),
            level: match record.log_level.get() {
                LogLevel::Level(level) => level,
                LogLevel::Usual | LogLevel::Silent => LEVEL_INFO,
            },
        }
    }

    /// HAProxy's TCP log line, followed by ours: bytes from the client, paths (client to server /
    /// server to client), bytes moved by the kernel, changes of hands, and why not the path asked
    /// for, and what ended, layer by layer.
    #[must_use]
    pub fn render(&self) -> String {
        let mut line = String::with_capacity(200);
        // Writing to a string cannot fail.
        let _ = match self.client {
            Endpoint::Inet(address) => write!(line, "{}:{}", plain(address.ip()), address.port()),
            Endpoint::Unix => write!(line, "unix:0"),
        };
        let _ = write!(
            line,
            " [{}] {} {}/{} ",
            date(self.accepted_at),
            self.frontend,
            // A stream that got no further than its frontend is served by that.
            self.backend.as_deref().unwrap_or(&self.frontend),
            self.server.as_deref().unwrap_or("<NOSRV>"),
        );
        for time in [self.wait, self.connect] {
            let _ = match time {
                Some(time) => write!(line, "{}/", time.as_millis()),
                None => write!(line, "-1/"),
            };
        }
        let c = &self.concurrency;
        let _ = write!(
            line,
            "{} {} {} {}/{}/{}/{}/{} 0/0",
            self.total.as_millis(),
            self.down.bytes,
            self.termination.unwrap_or(Termination::NORMAL),
            c.process,
            c.frontend,
            c.backend,
            c.server,
            self.retries,
        );
        let _ = write!(
            line,
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
        line
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
    format!("{source} [{}] {frontend}/{bind}: {why}", date(accepted_at))
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
fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// HAProxy's accept date: `23/Nov/2026:05:55:55.123`, local time.
pub(crate) fn date(at: SystemTime) -> String {
    let millis = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.subsec_millis());
    let t = local(at);
    format!(
        "{:02}/{}/{}:{:02}:{:02}:{:02}.{:03}",
        t.day, MONTHS[t.month], t.year, t.hour, t.minute, t.second, millis
    )
}

fn local(at: SystemTime) -> LocalTime {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    local_time(since.as_secs() as i64)
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// A message on its way to the writer.
#[derive(Debug)]
enum Message {
    Stream {
        targets: Arc<[LogTarget]>,
        level: u8,
        line: Box<StreamLine>,
    },
    Text {
        targets: Arc<[LogTarget]>,
        level: u8,
        text: String,
    },
    Live(Box<StreamLine>),
}

/// Gives lines to the writer. Cheap to clone; the writer ends when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Logger {
    sender: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

/// Urgency of a stream's line.
pub const LEVEL_INFO: u8 = 6;
/// Urgency of news about the process.
pub const LEVEL_NOTICE: u8 = 5;

impl Logger {
    /// Starts the writer. `tag` is the program's name in syslog headers.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(tag: String) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (sender, receiver) = sync_channel(WAITING_LINES);
        let thread = std::thread::Builder::new()
            .name("log".into())
            .spawn(move || Writer::new(tag).run(&receiver))?;
        let logger = Self {
            sender,
            dropped: Arc::default(),
        };
        Ok((logger, thread))
    }

    fn send(&self, message: Message) {
        match self.sender.try_send(message) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Logs a stream.
    pub fn stream(&self, targets: &Arc<[LogTarget]>, line: StreamLine) {
        if !targets.is_empty() {
            self.send(Message::Stream {
                targets: targets.clone(),
                level: line.level,
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

    /// Lines that were dropped because the writer was behind.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// The writer's sockets, opened when first needed.
struct Writer {
    tag: String,
    pid: u32,
    udp4: Option<UdpSocket>,
    udp6: Option<UdpSocket>,
    unix: Option<UnixDatagram>,
    out: Vec<u8>,
}

impl Writer {
    fn new(tag: String) -> Self {
        Self {
            tag,
            pid: std::process::id(),
            udp4: None,
            udp6: None,
            unix: None,
            out: Vec::new(),
        }
    }

    fn run(mut self, receiver: &Receiver<Message>) {
        while let Ok(first) = receiver.recv() {
            self.handle(first);
            // Whatever else waits goes out with the same write.
            while self.out.len() < 64 * 1024 {
                match receiver.try_recv() {
                    Ok(next) => self.handle(next),
                    Err(_) => break,
                }
            }
            self.flush();
        }
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Stream {
                targets,
                level,
                line,
            } => self.deliver(&targets, level, &line.render()),
            Message::Text {
                targets,
                level,
                text,
            } => self.deliver(&targets, level, &text),
            Message::Live(line) => {
                // A closed standard error has no reader who would miss it.
                let _ = writeln!(std::io::stderr(), "live {}", line.render());
            }
        }
    }

    fn flush(&mut self) {
        if !self.out.is_empty() {
            // A closed standard output has no reader who would miss it.
            let _ = std::io::stdout().write_all(&self.out);
            let _ = std::io::stdout().flush();
            self.out.clear();
        }
    }

    fn deliver(&mut self, targets: &[LogTarget], level: u8, text: &str) {
        for target in targets.iter().filter(|target| level <= target.max_level) {
            let level = level.max(target.min_level);
            let mut line = frame(target, level, &self.tag, self.pid, SystemTime::now(), text);
            line.truncate(usize::from(target.max_len));
            // Syslog over datagrams is best effort by nature: a refused datagram is not retried.
            let _ = match &target.address {
                LogAddress::Stdout => {
                    self.out.extend_from_slice(line.as_bytes());
                    self.out.push(b'\n');
                    Ok(0)
                }
                LogAddress::Stderr => writeln!(std::io::stderr(), "{line}").map(|()| 0),
                LogAddress::Udp(address) => self.udp(*address, line.as_bytes()),
                LogAddress::Unix(path) => {
                    if self.unix.is_none() {
                        self.unix = UnixDatagram::unbound().ok();
                    }
                    self.unix
                        .as_ref()
                        .map_or(Ok(0), |socket| socket.send_to(line.as_bytes(), path))
                }
                LogAddress::Fd(fd) => std::fs::OpenOptions::new()
                    .append(true)
                    .open(format!("/proc/self/fd/{fd}"))
                    .and_then(|mut file| writeln!(file, "{line}").map(|()| 0)),
            };
        }
    }

    fn udp(&mut self, to: SocketAddr, line: &[u8]) -> std::io::Result<usize> {
        let (socket, any): (_, IpAddr) = match to {
            SocketAddr::V4(_) => (&mut self.udp4, Ipv4Addr::UNSPECIFIED.into()),
            SocketAddr::V6(_) => (&mut self.udp6, Ipv6Addr::UNSPECIFIED.into()),
        };
        if socket.is_none() {
            *socket = UdpSocket::bind((any, 0)).ok();
        }
        socket
            .as_ref()
            .map_or(Ok(0), |socket| socket.send_to(line, to))
    }
}

/// Puts the target's framing around a text.
fn frame(
    target: &LogTarget,
    level: u8,
    tag: &str,
    pid: u32,
    now: SystemTime,
    text: &str,
) -> String {
    let priority = u32::from(target.facility) * 8 + u32::from(level);
    match target.format {
        LogFormat::Raw => text.to_owned(),
        LogFormat::Short => format!("<{level}>{text}"),
        LogFormat::Rfc3164 => {
            let t = local(now);
            format!(
                "<{priority}>{} {:2} {:02}:{:02}:{:02} {tag}[{pid}]: {text}",
                MONTHS[t.month], t.day, t.hour, t.minute, t.second
            )
        }
        LogFormat::Rfc5424 => {
            let t = local(now);
            format!(
                "<{priority}>1 {}-{:02}-{:02}T{:02}:{:02}:{:02} - {tag} {pid} - - {text}",
                t.year,
                t.month + 1,
                t.day,
                t.hour,
                t.minute,
                t.second
            )
        }
    }
}
