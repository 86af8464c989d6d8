//! The order in which a connection is shut and closed, without any I/O.
//!
//! The layers above ask ([`Sequencer::shut_write`], [`Sequencer::shut_read`],
//! [`Sequencer::close`], [`Sequencer::abort_read`], [`Sequencer::reset`]); the layers below tell
//! what the peer did. [`Sequencer::next`] says what to try now; whoever tries it
//! [reports](Sequencer::report) the outcome. A step that has to wait is postponed and offered again
//! after [`Sequencer::resume`]; what it was a part of is kept here, so that nobody has to remember.
//!
//! ```text
//!  one direction, the other open:   data shut ── ctrl shut ── socket shut
//!  the second direction:            data shut ── data close ── ctrl shut ── ctrl close ── socket close
//!  after a failure, both shut:      data close ── ctrl close ── socket close with a reset
//! ```
//!
//! A failure alone closes nothing: what was received before it may still be read. The closes begin
//! once both directions are shut, by whomever.

mod abort;

use std::time::Instant;

use super::end::{End, EndHistory, Layer, Reason};
use super::state::View;
use abort::Abort;
pub use abort::AbortLimits;

bitflags::bitflags! {
    /// Close operations: a set of them that is wanted, a set that is done.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
    pub struct Closes: u16 {
        /// Shut the data layer's read side.
        const DSHR = 0x001;
        /// Shut the data layer's write side.
        const DSHW = 0x002;
        /// Shut the ctrl layer's read side.
        const CSHR = 0x004;
        /// Shut the ctrl layer's write side.
        const CSHW = 0x008;
        /// Shut the socket's read side.
        const SSHR = 0x010;
        /// Shut the socket's write side: a FIN.
        const SSHW = 0x020;
        /// Release the data layer.
        const DATA_CLOSE = 0x040;
        /// Release the ctrl layer.
        const CTRL_CLOSE = 0x080;
        /// Give the descriptor back.
        const SOCKET_CLOSE = 0x100;

        /// The read side, through all layers.
        const READ = Self::DSHR.bits() | Self::CSHR.bits() | Self::SSHR.bits();
        /// The write side, through all layers.
        const WRITE = Self::DSHW.bits() | Self::CSHW.bits() | Self::SSHW.bits();
        /// The releases.
        const RELEASES =
            Self::DATA_CLOSE.bits() | Self::CTRL_CLOSE.bits() | Self::SOCKET_CLOSE.bits();
    }
}

/// What to try now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Read no more from the data layer.
    DataShutRead,
    /// Say in the data layer's terms that nothing follows (TLS: `close_notify`).
    DataShutWrite,
    /// The same at the ctrl layer.
    CtrlShutRead,
    /// The same at the ctrl layer.
    CtrlShutWrite,
    /// Stop the socket's reading side.
    SocketShutRead,
    /// Send a FIN behind everything that was written.
    SocketShutWrite,
    /// Release the data layer.
    DataClose,
    /// Release the ctrl layer.
    CtrlClose,
    /// Close the socket.
    SocketClose {
        /// What is queued is still sent, then a FIN; otherwise the peer sees a reset.
        graceful: bool,
    },
    /// Read and throw away what has come. Besides the outcome, tell how much it was
    /// ([`Sequencer::drained`]) and whether the end was seen ([`Sequencer::peer_ended`]).
    Drain,
}

impl Action {
    /// The close operation that it is; `None`: it is none.
    #[must_use]
    pub const fn closes(self) -> Option<Closes> {
        match self {
            Self::DataShutRead => Some(Closes::DSHR),
            Self::DataShutWrite => Some(Closes::DSHW),
            Self::CtrlShutRead => Some(Closes::CSHR),
            Self::CtrlShutWrite => Some(Closes::CSHW),
            Self::SocketShutRead => Some(Closes::SSHR),
            Self::SocketShutWrite => Some(Closes::SSHW),
            Self::DataClose => Some(Closes::DATA_CLOSE),
            Self::CtrlClose => Some(Closes::CTRL_CLOSE),
            Self::SocketClose { .. } => Some(Closes::SOCKET_CLOSE),
            Self::Drain => None,
        }
    }

    /// The layer that it is tried on.
    #[must_use]
    pub const fn layer(self) -> Layer {
        match self {
            Self::DataShutRead | Self::DataShutWrite | Self::DataClose => Layer::Data,
            Self::CtrlShutRead | Self::CtrlShutWrite | Self::CtrlClose => Layer::Ctrl,
            Self::SocketShutRead
            | Self::SocketShutWrite
            | Self::SocketClose { .. }
            | Self::Drain => Layer::Socket,
        }
    }
}

/// How an action went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is done; a drain has read something, or the end.
    Done,
    /// It has to wait; a drain found nothing to read.
    Postponed,
    /// It failed. What it was to release counts as released all the same.
    Failed(Reason),
}

bitflags::bitflags! {
    /// What else has happened.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    struct Events: u8 {
        /// Everything the peer sent was read, then its end.
        const PEER_ENDED = 0x01;
        /// A drain found nothing, and was not resumed.
        const DRAIN_WAITS = 0x02;
        /// A delayed abort reached its aim.
        const DRAINED = 0x04;
        /// Our FIN was acknowledged.
        const FIN_ACKED = 0x08;
    }
}

/// The steps in the order in which they are looked at. What each waits for is in [`after`].
const ORDER: [(Closes, Action); 8] = [
    (Closes::DSHW, Action::DataShutWrite),
    (Closes::DSHR, Action::DataShutRead),
    (Closes::DATA_CLOSE, Action::DataClose),
    (Closes::CSHW, Action::CtrlShutWrite),
    (Closes::CSHR, Action::CtrlShutRead),
    (Closes::SSHW, Action::SocketShutWrite),
    (Closes::SSHR, Action::SocketShutRead),
    (Closes::CTRL_CLOSE, Action::CtrlClose),
];

/// What has to be done before `step`, of what is wanted at all.
const fn after(step: Closes) -> Closes {
    match step {
        Closes::DATA_CLOSE => Closes::DSHR.union(Closes::DSHW),
        Closes::CSHR => Closes::DSHR.union(Closes::DATA_CLOSE),
        Closes::CSHW => Closes::DSHW.union(Closes::DATA_CLOSE),
        Closes::SSHR => Closes::CSHR,
        Closes::SSHW => Closes::CSHW,
        Closes::CTRL_CLOSE => Closes::DATA_CLOSE.union(Closes::CSHR).union(Closes::CSHW),
        Closes::SOCKET_CLOSE => Closes::CTRL_CLOSE,
        _ => Closes::empty(),
    }
}

/// The shutdown of one connection. See the module's documentation.
#[derive(Debug)]
pub struct Sequencer {
    /// The shuts that were asked for; what follows from them is computed.
    asked: Closes,
    done: Closes,
    /// Tried, and not to be tried again before something has happened.
    postponed: Closes,
    events: Events,
    abort: Option<Abort>,
    /// The first failure.
    error: Option<End>,
}

impl Default for Sequencer {
    fn default() -> Self {
        Self::new()
    }
}

impl Sequencer {
    /// Both directions open.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            asked: Closes::empty(),
            done: Closes::empty(),
            postponed: Closes::empty(),
            events: Events::empty(),
            abort: None,
            error: None,
        }
    }

    // What the layers above ask.

    /// Nothing more will be written. During a delayed abort this is its fourth step.
    pub fn shut_write(&mut self) {
        self.asked |= Closes::WRITE;
    }

    /// Nothing more is wanted of what the peer sends, now: acknowledges its end, or does not wait
    /// for it. Bytes that come after this may make the kernel reset the connection, which may cost
    /// the peer what it was sent last: see [`Sequencer::abort_read`].
    pub fn shut_read(&mut self) {
        self.asked |= Closes::READ;
    }

    /// Both, in order.
    pub fn close(&mut self) {
        self.asked |= Closes::READ | Closes::WRITE;
    }

    /// Closes without another word; a TCP peer sees a reset.
    pub fn reset(&mut self, reason: Reason) {
        self.fail(Layer::Stream, reason);
        self.close();
    }

    /// Nothing more is wanted of what the peer sends, but it shall get all that we send: what comes
    /// is thrown away while output goes on; then ([`Sequencer::output_done`]) the write side is
    /// shut, and once the peer has ended or acknowledged our FIN, the connection is closed. Past
    /// `limits` it is reset.
    pub fn abort_read(&mut self, now: Instant, limits: AbortLimits) {
        if self.is_closed() {
            return;
        }
        if self.error.is_some() {
            self.close();
            return;
        }
        self.abort.get_or_insert_with(|| Abort::new(now, limits));
        self.stop_draining_if_acknowledged();
    }

    /// Everything that was to be written is out. During a delayed abort the FIN follows; otherwise
    /// this says nothing.
    pub fn output_done(&mut self) {
        if self.abort.is_some() {
            self.shut_write();
        }
    }

    // What the layers below tell.

    /// Everything the peer sent was read, then its end: all layers are shut on the reading side,
    /// by the peer.
    pub fn peer_ended(&mut self) {
        self.events |= Events::PEER_ENDED;
        self.done |= Closes::READ;
        if self.abort.is_some() {
            self.events |= Events::DRAINED;
        }
    }

    /// The connection failed without our doing.
    pub fn peer_failed(&mut self, layer: Layer, reason: Reason) {
        if !self.is_closed() {
            self.fail(layer, reason);
        }
    }

    /// The peer's kernel has everything that was sent, our FIN included. Says nothing before the
    /// FIN was sent.
    pub fn fin_acknowledged(&mut self) {
        if self.done.contains(Closes::SSHW) {
            self.events |= Events::FIN_ACKED;
            self.stop_draining_if_acknowledged();
        }
    }

    fn stop_draining_if_acknowledged(&mut self) {
        if self.abort.is_some() && self.events.contains(Events::FIN_ACKED) {
            self.events |= Events::DRAINED;
            self.shut_read();
        }
    }

    /// So many bytes were read and thrown away.
    pub fn drained(&mut self, bytes: usize) {
        if let Some(abort) = &mut self.abort
            && !abort.drained(bytes)
            && !self.is_closing()
        {
            self.fail(Layer::Socket, Reason::DrainLimit);
        }
    }

    /// It is now this late.
    pub fn time(&mut self, now: Instant) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.fail(Layer::Socket, Reason::Timeout);
        }
    }

    /// When [`Sequencer::time`] will have something to say.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.error.is_some() || self.is_closed() {
            return None;
        }
        self.abort.as_ref().and_then(Abort::deadline)
    }

    /// Something has happened that postponed steps may have waited for.
    pub fn resume(&mut self) {
        self.postponed = Closes::empty();
        self.events -= Events::DRAIN_WAITS;
    }

    // What to do.

    /// What to try now; `None`: nothing before something happens.
    #[must_use]
    pub fn next(&self) -> Option<Action> {
        let wanted = self.wanted();
        for (step, action) in ORDER {
            if self.is_due(step, wanted) {
                return Some(action);
            }
        }
        if self.is_due(Closes::SOCKET_CLOSE, wanted) {
            return Some(Action::SocketClose {
                graceful: self.error.is_none(),
            });
        }
        self.drains().then_some(Action::Drain)
    }

    fn is_due(&self, step: Closes, wanted: Closes) -> bool {
        wanted.contains(step)
            && !(self.done | self.postponed).contains(step)
            && self.done.contains(after(step) & wanted)
    }

    /// How an action that [`Sequencer::next`] gave went.
    pub fn report(&mut self, action: Action, outcome: Outcome) {
        match (action.closes(), outcome) {
            (_, Outcome::Failed(reason)) => {
                if let Some(step) = action.closes() {
                    self.done |= step & Closes::RELEASES;
                }
                self.fail(action.layer(), reason);
            }
            (Some(step), Outcome::Done) => {
                debug_assert!(
                    !self.done.intersects(step & Closes::RELEASES),
                    "{step:?} twice"
                );
                self.done |= step;
            }
            (Some(step), Outcome::Postponed) => self.postponed |= step,
            (None, Outcome::Done) => {}
            (None, Outcome::Postponed) => self.events |= Events::DRAIN_WAITS,
        }
    }

    fn fail(&mut self, layer: Layer, reason: Reason) {
        if self.error.is_none() {
            self.error = Some(End { layer, reason });
            // What was waited for will not come.
            self.resume();
        }
        if self.abort.is_some() {
            // Nobody is interested any more in what it received.
            self.close();
        }
    }

    // What is known.

    fn is_read_shut(&self) -> bool {
        self.asked.contains(Closes::READ) || self.events.contains(Events::PEER_ENDED)
    }

    fn is_write_shut(&self) -> bool {
        self.asked.contains(Closes::WRITE)
    }

    /// Whether both directions are shut, so that the layers are to be released.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.is_read_shut() && self.is_write_shut()
    }

    /// Whether everything is released.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.done.contains(Closes::SOCKET_CLOSE)
    }

    fn drains(&self) -> bool {
        self.read_abort_pending() && !self.events.contains(Events::DRAIN_WAITS)
    }

    /// Whether a delayed abort is throwing away what comes.
    #[must_use]
    pub fn read_abort_pending(&self) -> bool {
        self.abort.is_some() && self.error.is_none() && !self.is_read_shut()
    }

    /// Whether the peer's end was seen. That we stopped reading is another matter.
    #[must_use]
    pub fn has_peer_ended(&self) -> bool {
        self.events.contains(Events::PEER_ENDED)
    }

    /// The close operations that have to be done, or are.
    #[must_use]
    pub fn wanted(&self) -> Closes {
        match (self.is_closing(), self.error.is_some()) {
            (false, false) => self.asked | (self.done & Closes::READ),
            (false, true) => Closes::empty(),
            // The close is what tells the peer, and spares a call.
            (true, false) => {
                ((Closes::READ | Closes::WRITE) - (Closes::SSHR | Closes::SSHW)) | Closes::RELEASES
            }
            (true, true) => Closes::RELEASES,
        }
    }

    /// Those that are done.
    #[must_use]
    pub fn done(&self) -> Closes {
        self.done
    }

    /// The first failure.
    #[must_use]
    pub fn error(&self) -> Option<&End> {
        self.error.as_ref()
    }

    /// What the layers above may know.
    #[must_use]
    pub fn view(&self) -> View {
        let mut view = View::empty();
        view.set(View::SHR, self.is_read_shut() || self.abort.is_some());
        view.set(View::SHW, self.is_write_shut());
        view.set(View::ERR, self.error.is_some());
        view
    }

    /// Adds how the connection ended to its history.
    pub fn conclude(&self, history: &mut EndHistory) {
        if let Some(error) = &self.error {
            history.push(error.layer, error.reason.clone());
        } else if self.events.contains(Events::DRAINED) {
            history.push(Layer::Socket, Reason::Drained);
        } else if self.has_peer_ended() {
            history.push(Layer::Socket, Reason::PeerClosed);
        } else if self.is_closed() {
            history.push(Layer::Socket, Reason::Closed);
        }
    }
}

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;
