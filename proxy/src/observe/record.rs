//! The record of one flow: what is known of it while it lives and what is logged at its end.
//!
//! The record outlives every path: a promotion changes who fills in its counters, never who owns
//! it. Counters are live; whoever reads them sees what has been moved up to now.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::conn::Side;
use crate::conn::end::{EndHistory, Layer, Reason};
use crate::observe::log::Notes;
use crate::offload::relay;
use crate::stream::interface::State;
use crate::stream::living::{KillSwitch, ServerAt};

/// What moves a direction's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Path {
    /// Nothing has moved yet.
    #[default]
    None,
    /// A user-space buffer.
    Buffer,
    /// `splice(2)` through a pipe.
    Pipe,
    /// The sockmap redirect.
    Redirect,
    /// The packet relay.
    Relay,
}

impl Path {
    /// Its name in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "-",
            Self::Buffer => "buffer",
            Self::Pipe => "pipe",
            Self::Redirect => "redirect",
            Self::Relay => "relay",
        }
    }
}

/// Why a flow is not on the path that was asked for. The names are part of the log format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// The kernel, the privileges or the build do not allow the engine.
    Unavailable,
    /// All of the engine's slots are taken.
    Full,
    /// One side is not a TCP socket.
    NotTcp,
    /// One side speaks TLS: its bytes have to be encrypted in user space.
    Tls,
    /// One side had ended or failed before the promotion.
    NotEstablished,
    /// The kernel refused the socket.
    Refused,
    /// The flow moved too fast to be handed over at a clean point.
    Busy,
    /// It ended before it could be handed over.
    Early,
    /// No interface leads to one side.
    NoRoute,
    /// Another daemon had it before, and has relayed it.
    Adopted,
    /// Its two connections cannot be translated into one another.
    Relay(relay::eligible::Refusal),
}

impl Why {
    /// Its name in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Full => "full",
            Self::NotTcp => "not-tcp",
            Self::Tls => "tls",
            Self::NotEstablished => "not-established",
            Self::Refused => "refused",
            Self::Busy => "busy",
            Self::Early => "early",
            Self::NoRoute => "no-route",
            Self::Adopted => "adopted",
            Self::Relay(refusal) => refusal.name(),
        }
    }
}

/// Live counters of a direction that the kernel moves.
pub trait KernelCounter: fmt::Debug {
    /// Bytes that the kernel has moved.
    fn bytes(&self) -> u64;
    /// Times that the direction changed hands between the kernel and user space.
    fn flips(&self) -> u64;
    /// Whether the kernel goes on if the daemon ends now.
    fn outlives(&self) -> bool {
        false
    }
}

/// Counters of one direction.
#[derive(Debug, Default)]
pub struct DirectionRecord {
    /// What moves its bytes now.
    pub path: Cell<Path>,
    user: Cell<u64>,
    kernel: RefCell<Option<Rc<dyn KernelCounter>>>,
    settled: Cell<(u64, u64)>,
}

impl DirectionRecord {
    /// User space wrote `bytes` more to the target.
    pub fn add_user(&self, bytes: usize) {
        self.user.set(self.user.get() + bytes as u64);
    }

    /// Bytes that user space has written to the target.
    #[must_use]
    pub fn user_bytes(&self) -> u64 {
        self.user.get()
    }

    /// Whether the kernel goes on if the daemon ends now.
    #[must_use]
    pub fn outlives(&self) -> bool {
        self.kernel
            .borrow()
            .as_ref()
            .is_some_and(|counter| counter.outlives())
    }

    /// From now on the kernel moves bytes too, and `counter` knows how many.
    pub fn attach_kernel(&self, counter: Rc<dyn KernelCounter>) {
        *self.kernel.borrow_mut() = Some(counter);
    }

    /// Takes the last reading of the kernel's counters, before its slot is given back.
    pub fn settle_kernel(&self) {
        if let Some(counter) = self.kernel.borrow_mut().take() {
            self.settled.set((counter.bytes(), counter.flips()));
        }
    }

    /// Bytes that the kernel has moved up to now.
    #[must_use]
    pub fn kernel_bytes(&self) -> u64 {
        self.kernel
            .borrow()
            .as_ref()
            .map_or(self.settled.get().0, |counter| counter.bytes())
    }

    /// Changes of hands up to now.
    #[must_use]
    pub fn flips(&self) -> u64 {
        self.kernel
            .borrow()
            .as_ref()
            .map_or(self.settled.get().1, |counter| counter.flips())
    }

    /// Bytes moved up to now, by whomever.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.user.get() + self.kernel_bytes()
    }
}

/// One end of a connection, as it is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// An IP address and port.
    Inet(SocketAddr),
    /// A UNIX socket: it has no address worth a name.
    Unix,
}

/// How a stream ended: HAProxy's two letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Termination(pub char, pub char);

impl Termination {
    /// Both sides closed in order.
    pub const NORMAL: Self = Self('-', '-');
    /// The client reset the connection.
    pub const CLIENT_RESET: Self = Self('C', 'D');
    /// The server reset the connection.
    pub const SERVER_RESET: Self = Self('S', 'D');
    /// The client, or the whole tunnel, was idle too long.
    pub const CLIENT_IDLE: Self = Self('c', 'D');
    /// The server was idle too long.
    pub const SERVER_IDLE: Self = Self('s', 'D');
    /// The server refused and retries are used up, or there is no server.
    pub const SERVER_REFUSED: Self = Self('S', 'C');
    /// The server did not answer the connection in time.
    pub const CONNECT_TIMEOUT: Self = Self('s', 'C');
    /// A rule refused what the client sent.
    pub const REQUEST_REFUSED: Self = Self('P', 'R');
    /// A rule refused what the server sent.
    pub const RESPONSE_REFUSED: Self = Self('P', 'D');
    /// No place was free in time.
    pub const QUEUE_TIMEOUT: Self = Self('s', 'Q');
    /// The client left while it waited for a place.
    pub const CLIENT_GONE_QUEUED: Self = Self('C', 'Q');
    /// The client was idle for too long while it waited for a place.
    pub const CLIENT_IDLE_QUEUED: Self = Self('c', 'Q');
    /// The queue was full.
    pub const QUEUE_FULL: Self = Self('S', 'Q');
    /// The client waited too long for another attempt.
    pub const CLIENT_IDLE_RETRYING: Self = Self('c', 'C');
    /// The server was marked down, and its streams are not to outlive that.
    pub const SERVER_DOWN: Self = Self('D', '-');
    /// A server of the main group came back, and backup servers' streams are to move.
    pub const BACKUP_LEFT: Self = Self('U', '-');
    /// The client left during the connection to the server.
    pub const CLIENT_GONE_CONNECTING: Self = Self('C', 'C');
    /// The proxy itself ended it: it was stopped.
    pub const KILLED: Self = Self('K', 'D');
    /// It was ended by the runtime API.
    pub const SHUT_DOWN: Self = Self('K', '-');
    /// The proxy ran out of something, or its kernel hand-over failed.
    pub const INTERNAL: Self = Self('I', 'D');
    /// As [`Termination::INTERNAL`], before the server was reached.
    pub const INTERNAL_CONNECTING: Self = Self('I', 'C');
    /// The proxy ran out of something (ports, descriptors) connecting to the server.
    pub const RESOURCE_CONNECTING: Self = Self('R', 'C');
}

impl Termination {
    /// The same cause, when the server's side was in `state`.
    #[must_use]
    pub const fn during(self, state: State) -> Self {
        let phase = match state {
            State::Ini => 'R',
            State::Que => 'Q',
            State::Req | State::Tar | State::Ass | State::Con | State::Cer => 'C',
            State::Est => 'D',
            State::Dis | State::Clo => 'L',
        };
        Self(self.0, phase)
    }
}

impl fmt::Display for Termination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.0, self.1)
    }
}

/// How urgent the line of a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// As streams are.
    #[default]
    Usual,
    /// As a rule says, 0 (emerg) to 7 (debug).
    Level(u8),
    /// A rule says that there shall be none.
    Silent,
}

/// When things happened, counted from the accept.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Wall clock at the accept.
    pub accepted_at: SystemTime,
    /// The accept.
    pub accepted: Instant,
    /// The client's handshakes were done.
    pub ready: Instant,
    /// The first attempt to connect began.
    pub connecting: Option<Instant>,
    /// The server connection was established.
    pub connected: Option<Instant>,
}

/// The record of one flow. Lives on its worker's thread.
#[derive(Debug)]
pub struct FlowRecord {
    /// Unique in this process.
    pub id: u64,
    /// The client.
    pub client: Endpoint,
    /// The frontend's name.
    pub frontend: Arc<str>,
    /// Whether the address that its client came to speaks TLS.
    pub secure: bool,
    /// The backend's name, once chosen.
    pub backend: OnceCell<Arc<str>>,
    /// The server's name, once chosen.
    pub server: RefCell<Option<Arc<str>>>,
    /// When things happened.
    pub times: Cell<Times>,
    /// Client to server.
    pub up: Rc<DirectionRecord>,
    /// Server to client.
    pub down: Rc<DirectionRecord>,
    /// Connection attempts beyond the first.
    pub retries: Cell<u32>,
    /// Its backend's index, once chosen.
    pub backend_index: Cell<Option<usize>>,
    /// Bytes of the client and of the server that are in the counters of others already.
    pub counted: Cell<[u64; 2]>,
    /// Its server, once chosen.
    pub place: Cell<Option<ServerAt>>,
    /// How many streams it found before it in the queues of its server and of its backend.
    pub queued: Cell<[u32; 2]>,
    /// It was sent to another server than the one it was meant for.
    pub redispatched: Cell<bool>,
    /// Where its server's side stands.
    pub state: Cell<State>,
    /// Ends it from outside.
    pub kill: KillSwitch,
    /// How urgent its line is.
    pub log_level: Cell<LogLevel>,
    /// The client has said something, although nothing of it may have been passed on. Looked at only
    /// where `option dontlognull` asks.
    pub heard: Cell<bool>,
    /// It has been logged, and is not to be logged again at its end.
    pub logged: Cell<bool>,
    /// What only formats show; `None`: its frontend has none.
    pub notes: RefCell<Option<Box<Notes>>>,
    /// Why it is not on the path that was asked for.
    pub why: Cell<Option<Why>>,
    /// What ended in the client's connection and in the server's, layer by layer.
    pub ends: [RefCell<EndHistory>; 2],
}

impl FlowRecord {
    /// The direction whose source is side `index` (0 client, 1 server).
    #[must_use]
    pub fn direction(&self, index: usize) -> &Rc<DirectionRecord> {
        if index == 0 { &self.up } else { &self.down }
    }

    /// Notes that something ended in a connection.
    pub fn note_end(&self, side: Side, layer: Layer, reason: Reason) {
        self.ends[side.index()].borrow_mut().push(layer, reason);
    }

    /// A text that no other flow of this host has: the process, when it accepted the flow, and the
    /// flow's number; or what the frontend's `unique-id-format` says.
    #[must_use]
    pub fn unique_id(&self) -> String {
        let notes = self.notes.borrow();
        if let Some(id) = notes.as_ref().and_then(|notes| notes.unique_id.clone()) {
            return id;
        }
        let accepted = self
            .times
            .get()
            .accepted_at
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        format!(
            "{:X}-{:X}-{:X}",
            std::process::id(),
            accepted.as_micros(),
            self.id
        )
    }

    /// Changes the times.
    pub fn note_time(&self, change: impl FnOnce(&mut Times)) {
        let mut times = self.times.get();
        change(&mut times);
        self.times.set(times);
    }
}
