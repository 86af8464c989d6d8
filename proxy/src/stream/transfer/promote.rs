//! Handing a flow over to an engine of the kernel.

use std::io;
use std::sync::Arc;
use std::task::Context;

use super::{DataPhase, Mover, has_failed, note_failure, reset_by};
use crate::channel::buffer::Buffer;
use crate::conn::end::{Layer, Reason};
use crate::conn::{Connection, Side};
use crate::observe::record::{Path, Termination, Why};
use crate::offload::path::{Engine as PathEngine, Spent};
use crate::offload::redirect::flow::RedirectFlow;
use crate::offload::relay::flow::{Progress, RelayFlow};
use crate::offload::{Availability, Demand};
use crate::offload::{redirect, relay};
use crate::sys;

/// Bytes that may be read ahead to reach a clean point for the hand-over. A sender that outruns
/// this is asked again later.
const MOST_READ_AHEAD: usize = 1 << 20;

/// Attempts to reach a clean point before a flow stays where it is.
const MOST_ATTEMPTS: u32 = 16;

/// The engine that a flow is to go to.
#[derive(Debug, Clone)]
pub(super) enum Wanted {
    Redirect(Arc<redirect::engine::Engine>),
    Relay(Arc<relay::engine::Engine>),
    /// The relay, where it can be had.
    Best,
}

impl DataPhase {
    /// Whether the flow is worth an engine that it has not got.
    pub(super) fn is_due(&self) -> bool {
        self.wanted.is_some()
            && self.setup.gate.is_none()
            && !self.connections.iter().any(has_failed)
            && matches!(self.mover, Mover::User)
            && self.relay.is_none()
            && self.setup.policy.is_due(&Spent {
                bytes: self.record.up.bytes() + self.record.down.bytes(),
                turns: self.turns,
                age: self.started.elapsed(),
            })
    }

    /// Tries to hand the flow over. `untouched`: nothing was ever read from either socket. Returns
    /// whether the kernel has it now.
    pub(super) fn promote(&mut self, cx: &mut Context<'_>, untouched: bool) -> bool {
        let engine = match self.wanted.clone() {
            None => return false,
            Some(Wanted::Redirect(engine)) => engine,
            Some(Wanted::Relay(engine)) => {
                self.enrol_in_relay(&engine);
                return false;
            }
            Some(Wanted::Best) => {
                match self.setup.availability.demand_relay() {
                    Demand::Met(engine) => self.enrol_in_relay(&engine),
                    Demand::Pending => {}
                    Demand::Denied => {
                        self.stay(Why::Unavailable);
                    }
                }
                return false;
            }
        };
        let ended = self.channels.iter().any(|c| !c.flags().is_empty());
        if ended {
            return self.stay(Why::NotEstablished);
        }
        if !engine.slots.has_free() {
            return self.stay(Why::Full);
        }
        let held = if untouched {
            [Buffer::empty(), Buffer::empty()]
        } else {
            self.attempts += 1;
            if self.attempts > MOST_ATTEMPTS {
                return self.stay(Why::Busy);
            }
            match self.read_ahead(cx) {
                Some(held) => held,
                None => return false,
            }
        };
        for connection in &mut self.connections {
            connection.sleep();
        }
        match RedirectFlow::enrol(&engine, &self.connections, held, &self.record) {
            Ok(flow) => {
                self.wanted = None;
                self.mover = Mover::Redirect(Box::new(flow));
                true
            }
            Err((refusal, held)) => {
                tracing::debug!(flow = self.record.id, error = %refusal.error, "not promoted");
                self.put_back(held);
                for connection in &mut self.connections {
                    if let Err(error) = connection.wake() {
                        tracing::warn!(%error, "a socket could not be watched again");
                        self.unwatched = true;
                    }
                }
                self.stay(refusal.why);
                cx.waker().wake_by_ref();
                false
            }
        }
    }

    /// Has the relay look at the flow.
    fn enrol_in_relay(&mut self, engine: &Arc<relay::engine::Engine>) {
        if self.channels.iter().any(|c| !c.flags().is_empty()) {
            self.wanted = None;
            return;
        }
        let held = [self.channels[0].held(), self.channels[1].held()];
        match RelayFlow::enrol(engine, &self.connections, held) {
            Ok(flow) => {
                self.wanted = None;
                self.relay = Some(Box::new(flow));
            }
            Err(refusal) => {
                tracing::debug!(flow = self.record.id, error = %refusal.error, "not relayed");
                self.attempts += 1;
                if refusal.why != Why::Busy || self.attempts > MOST_ATTEMPTS {
                    self.stay(refusal.why);
                }
            }
        }
    }

    /// Takes a flow that is on its way to the relay further.
    pub(super) fn advance_relay(&mut self, cx: &mut Context<'_>) -> Result<(), Termination> {
        let Some(flow) = &mut self.relay else {
            return Ok(());
        };
        let ended = self.channels.iter().any(|c| !c.flags().is_empty());
        if ended && flow.is_open() {
            // Ends are relayed, and never told to the sockets: what is this?
            tracing::warn!(flow = self.record.id, "a relayed flow's socket has ended");
            return Err(Termination::INTERNAL);
        }
        let progress = if ended {
            Progress::Gone
        } else {
            match flow.advance(&self.connections, &self.record, cx) {
                Ok(progress) => progress,
                Err(error) => {
                    tracing::warn!(flow = self.record.id, %error, "a flow was given up");
                    return Err(Termination::INTERNAL);
                }
            }
        };
        match progress {
            Progress::Waiting => {}
            Progress::Reset(side) => {
                note_failure(
                    &self.record,
                    &mut self.connections,
                    side,
                    Layer::Socket,
                    Reason::PeerReset,
                );
                return Err(reset_by(side));
            }
            Progress::Gone => {
                if let Some(flow) = self.relay.take() {
                    flow.withdraw();
                    self.stay(Why::Early);
                }
            }
            Progress::Settled => {
                if let Some(flow) = self.relay.take() {
                    for (connection, channel) in self.connections.iter_mut().zip(&mut self.channels)
                    {
                        connection.sleep();
                        channel.release(&self.setup.pool);
                    }
                    for direction in [&self.record.up, &self.record.down] {
                        direction.path.set(Path::Relay);
                    }
                    self.mover = Mover::Relay(flow);
                    // It has to be polled once, to be subscribed to.
                    cx.waker().wake_by_ref();
                }
            }
        }
        Ok(())
    }

    fn stay(&mut self, why: Why) -> bool {
        self.wanted = None;
        self.record.why.set(Some(why));
        false
    }

    /// Reads both sources until they would block, since a segment that is partly read at the
    /// hand-over would be forwarded whole. `None`: no clean point was reached, or the flow is
    /// ending; everything read is in the channels.
    fn read_ahead(&mut self, cx: &mut Context<'_>) -> Option<[Buffer; 2]> {
        let first = self.channels[0].take_held(&self.setup.pool)?;
        let Some(second) = self.channels[1].take_held(&self.setup.pool) else {
            self.channels[0].put_held(first);
            return None;
        };
        let mut held = [first, second];
        let mut clean = true;
        for side in Side::BOTH {
            let at = side.index();
            match read_until_empty(&mut held[at], &self.connections[at]) {
                Ok(empty) => clean &= empty,
                Err(error) => {
                    clean = false;
                    self.lost.get_or_insert((side, error));
                }
            }
        }
        if clean {
            return Some(held);
        }
        self.put_back(held);
        cx.waker().wake_by_ref();
        None
    }

    fn put_back(&mut self, held: [Buffer; 2]) {
        for (channel, buffer) in self.channels.iter_mut().zip(held) {
            channel.put_held(buffer);
        }
    }
}

/// The engine that a flow of such connections can go to.
pub(super) fn wanted(
    engine: PathEngine,
    is_tcp: bool,
    is_raw: bool,
    availability: &Availability,
) -> Result<Wanted, Why> {
    if !is_tcp {
        return Err(Why::NotTcp);
    }
    if !is_raw {
        return Err(Why::Tls);
    }
    match engine {
        PathEngine::None => None,
        PathEngine::Redirect => availability.redirect.clone().map(Wanted::Redirect),
        PathEngine::Relay => availability.relay().map(Wanted::Relay),
        PathEngine::Best => Some(Wanted::Best),
    }
    .ok_or(Why::Unavailable)
}

/// True once the socket has nothing left to read; false if it ended, which the pump will see again,
/// or outran us.
///
/// # Errors
/// When it failed. A socket tells that once: whoever reads after this would see an orderly end.
fn read_until_empty(buffer: &mut Buffer, connection: &Connection) -> io::Result<bool> {
    while buffer.held().len() < MOST_READ_AHEAD {
        buffer.reserve(64 * 1024);
        match sys::socket::recv(connection.fd(), buffer.room()) {
            Ok(0) => return Ok(false),
            Ok(got) => buffer.filled(got),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}
