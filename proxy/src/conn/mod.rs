//! A connection: one socket, with a ctrl layer (how it is established and shut) under a data
//! layer (how its bytes are coded).
//!
//! A connection is either watched by its worker's runtime, or *asleep*: its socket is open but
//! nobody polls it here, because the kernel moves its bytes. Polling state is never cached: the
//! I/O is tried, and only "would block" leads to a subscription.

pub mod closing;
pub mod condition;
pub mod ctrl;
pub mod data;
pub mod end;
pub mod io;
pub mod op;
pub mod shutdown;
pub mod state;

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::sys;
use condition::Condition;
pub use ctrl::Ctrl;
use data::Data;
use data::ssl::SslSock;
use end::{Layer, Reason};
use op::{Ops, Step};
use shutdown::Sequencer;
use state::View;

/// Which side of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The side that connected to us.
    Client,
    /// The side that we connected to.
    Server,
}

impl Side {
    /// Both sides, in the order of [`Side::index`].
    pub const BOTH: [Self; 2] = [Self::Client, Self::Server];

    /// 0 for the client, 1 for the server: also the index of the direction whose source it is.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Client => 0,
            Self::Server => 1,
        }
    }

    /// The opposite side.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}

/// Who polls the socket.
#[derive(Debug)]
enum Polling {
    Runtime(AsyncFd<OwnedFd>),
    Asleep(OwnedFd),
    /// Only while ownership moves between the other two, or after a failed registration.
    Gone,
}

/// One socket of a flow.
#[derive(Debug)]
pub struct Connection {
    polling: Polling,
    ctrl: Ctrl,
    data: Data,
    condition: Condition,
    ops: Ops,
    sequencer: Sequencer,
    /// `option nolinger`: also an orderly close throws away what the peer has not taken yet.
    nolinger: bool,
}

impl Connection {
    /// Wraps a non-blocking socket that was accepted, watched by the current runtime. Its data
    /// layer is raw until [`Connection::secure`].
    ///
    /// # Errors
    /// When the runtime cannot register it.
    pub fn accepted(socket: OwnedFd, ctrl: Ctrl) -> std::io::Result<Self> {
        Self::new(socket, ctrl, Condition::accepted())
    }

    /// Wraps a non-blocking socket that is connecting.
    ///
    /// # Errors
    /// When the runtime cannot register it.
    pub fn connecting(socket: OwnedFd, ctrl: Ctrl) -> std::io::Result<Self> {
        Self::new(socket, ctrl, Condition::connecting())
    }

    fn new(socket: OwnedFd, ctrl: Ctrl, condition: Condition) -> std::io::Result<Self> {
        Ok(Self {
            polling: Polling::Runtime(register(socket)?),
            ctrl,
            data: Data::Raw,
            condition,
            ops: Ops::new(),
            sequencer: Sequencer::new(),
            nolinger: false,
        })
    }

    /// `option nolinger`.
    pub fn set_nolinger(&mut self, nolinger: bool) {
        self.nolinger = nolinger;
    }

    /// How far it is and what has become of it, for the debug log.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.condition
    }

    /// What the layers above decide from.
    #[must_use]
    pub fn view(&self) -> View {
        self.sequencer.view()
    }

    /// It failed without our doing: from now on it shows [`View::ERR`], no end is told to its peer,
    /// and closing it will be a reset. What was received before can still be read.
    pub fn fail(&mut self, layer: Layer, reason: Reason) {
        self.sequencer.peer_failed(layer, reason);
        self.note_progress();
    }

    /// The condition after the sequencer's steps.
    fn note_progress(&mut self) {
        if let Some(end) = self.sequencer.error() {
            self.condition.failed(end);
        }
        self.condition.closes(self.sequencer.done());
    }

    /// It owes a step.
    pub(crate) fn want(&mut self, step: Step) {
        legal(self.ops.want(step));
    }

    /// A step is being tried, for the first time or again.
    pub(crate) fn start(&mut self, step: Step) {
        if !self.ops.get(step).is_started() {
            legal(self.ops.start(step));
        }
    }

    /// A step is done.
    pub(crate) fn finish(&mut self, step: Step) {
        legal(self.ops.finish(step));
        if matches!(step, Step::DataAccept | Step::DataConnect) {
            self.condition.data_connected();
        }
    }

    /// Every step that it owed is done: data may flow.
    pub(crate) fn established(&mut self) {
        debug_assert!(!self.ops.any_pending(), "{:?}", self.ops);
        self.condition.established();
    }

    /// How it was established.
    #[must_use]
    pub fn ctrl(&self) -> Ctrl {
        self.ctrl
    }

    /// The socket goes to an agent, which is to be asked for the connection.
    pub(crate) fn go_by_agent(&mut self) {
        self.ctrl = self.ctrl.by_agent();
        self.want(Step::RemoteConnect);
    }

    /// Puts TLS on top of the socket.
    pub fn secure(&mut self, ssl: Box<SslSock>) {
        self.data = Data::Ssl(ssl);
    }

    /// The TLS session, where there is one.
    #[must_use]
    pub fn ssl(&self) -> Option<&SslSock> {
        match &self.data {
            Data::Raw => None,
            Data::Ssl(ssl) => Some(ssl),
        }
    }

    /// The socket and the TLS session, where there is one.
    pub(crate) fn ssl_mut(&mut self) -> Option<(&mut SslSock, BorrowedFd<'_>)> {
        let fd = fd_of(&self.polling);
        match &mut self.data {
            Data::Raw => None,
            Data::Ssl(ssl) => Some((ssl, fd)),
        }
    }

    /// Whether what is on the socket is the stream itself.
    #[must_use]
    pub fn is_raw(&self) -> bool {
        matches!(self.data, Data::Raw)
    }

    /// The socket.
    ///
    /// # Panics
    /// After a failed [`Connection::wake`], or once it is closed.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        fd_of(&self.polling)
    }

    fn watched(&self) -> &AsyncFd<OwnedFd> {
        watched(&self.polling)
    }

    /// Takes the socket out of the runtime's poller; it stays open.
    pub fn sleep(&mut self) {
        self.polling = match std::mem::replace(&mut self.polling, Polling::Gone) {
            Polling::Runtime(fd) => Polling::Asleep(fd.into_inner()),
            other => other,
        };
    }

    /// Gives the socket back to the current runtime's poller.
    ///
    /// # Errors
    /// When the runtime cannot register it; the socket is then closed, as its linger says.
    pub fn wake(&mut self) -> std::io::Result<()> {
        if let Polling::Asleep(fd) = std::mem::replace(&mut self.polling, Polling::Gone) {
            match register(fd) {
                Ok(fd) => self.polling = Polling::Runtime(fd),
                Err(error) => {
                    self.condition.lost();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Closes it at once; a TCP peer sees a reset. UNIX sockets have none.
    pub fn reset(self) {
        drop(self);
    }
}

/// An illegal move is a mistake of this program, which tests find; the connection can do without
/// its book-keeping.
fn legal<T, E: fmt::Debug>(result: Result<T, E>) {
    debug_assert!(result.is_ok(), "{:?}", result.err());
}

fn fd_of(polling: &Polling) -> BorrowedFd<'_> {
    match polling {
        Polling::Runtime(fd) => fd.get_ref().as_fd(),
        Polling::Asleep(fd) => fd.as_fd(),
        Polling::Gone => panic!("a connection was used after its end"),
    }
}

fn watched(polling: &Polling) -> &AsyncFd<OwnedFd> {
    match polling {
        Polling::Runtime(fd) => fd,
        _ => panic!("a connection was polled that the runtime does not watch"),
    }
}

fn register(socket: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    sys::watch::watch(socket, Interest::READABLE | Interest::WRITABLE)
}
