//! The DATA phase of a stream: both channels, on whatever path, until the flow ends.

mod promote;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::time::Sleep;

use crate::channel::buffer::Buffer;
use crate::channel::pool::Pool;
use crate::channel::pump::{self, Stop};
use crate::channel::sizing::Sizing;
use crate::channel::{Channel, Flags, UserPath};
use crate::conn::data::ssl;
use crate::conn::end::{Layer, Reason};
use crate::conn::state::View;
use crate::conn::{Connection, Side};
use crate::observe::record::{FlowRecord, Path, Termination, Why};
use crate::offload::Availability;
use crate::offload::path::{Engine as PathEngine, Policy};
use crate::offload::redirect::flow::{Failure, RedirectFlow};
use crate::offload::relay::flow::RelayFlow;
use crate::stream::gate::{Gate, Opened};
use crate::stream::idle::IdleLimits;
use promote::{Wanted, wanted};

/// What the DATA phase needs besides the two connections.
#[derive(Debug)]
pub struct Setup {
    /// The worker's buffers and pipes.
    pub pool: Rc<Pool>,
    /// Smallest buffer, bytes.
    pub smallest_buffer: usize,
    /// What may move the flow.
    pub policy: Policy,
    /// What was read of the client before the server was reached.
    pub early: Buffer,
    /// What the server sends first has to pass here.
    pub gate: Option<Box<Gate>>,
    /// Which engines there are.
    pub availability: Arc<Availability>,
    /// How long it may be idle.
    pub limits: IdleLimits,
    /// `option independent-streams`: what a side is sent does not keep it from being idle.
    pub independent_streams: bool,
}

/// Who moves the bytes at the moment.
#[derive(Debug)]
enum Mover {
    User,
    Redirect(Box<RedirectFlow>),
    Relay(Box<RelayFlow>),
}

/// The DATA phase of one stream.
#[derive(Debug)]
struct DataPhase {
    setup: Setup,
    // An engine's part is dropped before the sockets: it says what becomes of them.
    mover: Mover,
    /// It is on its way to the relay, while user space goes on.
    relay: Option<Box<RelayFlow>>,
    connections: [Connection; 2],
    channels: [Channel; 2],
    record: Rc<FlowRecord>,
    /// The engine that the flow still wants; `None` once it is there or will never be.
    wanted: Option<Wanted>,
    attempts: u32,
    /// How often something was moved in user space.
    turns: u32,
    untouched: bool,
    /// A connection was lost to a failed registration: the flow cannot go on.
    unwatched: bool,
    started: Instant,
    active: [Instant; 2],
    /// Who failed first as a target; the other direction goes on until it has brought what it can.
    failed: Option<Side>,
    idle: Option<Pin<Box<Sleep>>>,
    /// A rule wants the client dropped without a packet.
    silent: bool,
    /// The kernel goes on, and another daemon looks after it.
    left: bool,
    /// A side that was found to have failed while it was read ahead.
    lost: Option<(Side, io::Error)>,
}

/// Moves the flow until it ends; closes or resets both connections. Returns how it ended.
///
/// No `async fn`, whose future would keep room for its arguments beside the phase made of them.
pub fn run(
    setup: Setup,
    client: Connection,
    server: Connection,
    record: Rc<FlowRecord>,
) -> impl Future<Output = Termination> {
    let mut phase = DataPhase::new(setup, [client, server], record);
    async move {
        let kill = Rc::clone(&phase.record);
        let termination = poll_fn(|cx| match kill.kill.poll(cx) {
            Poll::Ready(killed) => Poll::Ready(killed),
            Poll::Pending => phase.poll(cx),
        })
        .await;
        phase.close(termination);
        termination
    }
}

impl DataPhase {
    fn new(mut setup: Setup, connections: [Connection; 2], record: Rc<FlowRecord>) -> Self {
        // Only user space can turn records into bytes: with TLS on either side, buffers it is.
        let raw = connections.iter().all(Connection::is_raw);
        let mut channels = [0, 1].map(|source| {
            Channel::new(
                if raw {
                    setup.policy.user_path(source)
                } else {
                    UserPath::Buffer
                },
                Sizing::new(setup.smallest_buffer),
                record.direction(source).clone(),
            )
        });
        let early = std::mem::replace(&mut setup.early, Buffer::empty());
        let untouched = early.held().is_empty();
        if !untouched {
            channels[0].put_held(early);
        }
        if !raw
            && [0, 1]
                .map(|source| setup.policy.user_path(source))
                .contains(&UserPath::Pipe)
        {
            record.why.set(Some(Why::Tls));
        }
        let engine = setup.policy.engine();
        let wanted = if engine == PathEngine::None {
            None
        } else {
            let is_tcp = connections.iter().all(|c| c.ctrl().is_tcp());
            match wanted(engine, is_tcp, raw, &setup.availability) {
                Ok(wanted) => Some(wanted),
                Err(why) => {
                    if engine != PathEngine::Best {
                        record.why.set(Some(why));
                    }
                    None
                }
            }
        };
        let now = Instant::now();
        Self {
            setup,
            connections,
            channels,
            record,
            mover: Mover::User,
            wanted,
            relay: None,
            attempts: 0,
            turns: 0,
            untouched,
            unwatched: false,
            started: now,
            active: [now; 2],
            failed: None,
            idle: None,
            silent: false,
            left: false,
            lost: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Termination> {
        // Before the first read there is no partly read segment, and nothing has to be read ahead.
        let untouched = std::mem::take(&mut self.untouched);
        if untouched && self.is_due() {
            self.promote(cx, true);
            if self.unwatched {
                return Poll::Ready(Termination::INTERNAL);
            }
        }
        let ended = match &mut self.mover {
            Mover::User => self.poll_user(cx),
            Mover::Redirect(flow) => flow
                .poll(&self.connections, &self.record, cx)
                .map(|result| match result {
                    Ok(()) => Termination::NORMAL,
                    Err(failure) => explain(failure, &self.record, &mut self.connections),
                }),
            Mover::Relay(flow) if flow.is_to_be_left() => {
                self.left = true;
                // Who takes it over logs it.
                self.record.logged.set(true);
                Poll::Ready(Termination::NORMAL)
            }
            Mover::Relay(flow) => flow.poll(cx).map(|reset| match reset {
                None => Termination::NORMAL,
                Some(side) => {
                    let reason = Reason::PeerReset;
                    note_failure(
                        &self.record,
                        &mut self.connections,
                        side,
                        Layer::Socket,
                        reason,
                    );
                    reset_by(side)
                }
            }),
        };
        if ended.is_ready() {
            return ended;
        }
        if self.relay.is_some()
            && let Err(termination) = self.advance_relay(cx)
        {
            return Poll::Ready(termination);
        }
        let promoted = self.is_due() && self.promote(cx, false);
        if let Some((side, error)) = self.lost.take() {
            return self.failed_by(side, &error);
        }
        if promoted {
            // The engine has to be polled once, to be subscribed to.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.unwatched {
            return Poll::Ready(Termination::INTERNAL);
        }
        self.poll_idle(cx)
    }

    fn poll_user(&mut self, cx: &mut Context<'_>) -> Poll<Termination> {
        let mut yielded = false;
        let mut moved = [false; 2];
        for source in Side::BOTH {
            let s = source.index();
            let t = 1 - s;
            if self.channels[s].flags().contains(Flags::ERR_OUT) {
                continue;
            }
            let [client, server] = &mut self.connections;
            let (from, to) = match source {
                Side::Client => (client, server),
                Side::Server => (server, client),
            };
            if source == Side::Server
                && let Some(gate) = &mut self.setup.gate
            {
                let Poll::Ready(opened) = gate.poll(to, from, cx) else {
                    continue;
                };
                self.setup.gate = None;
                match opened {
                    Opened::Pass(first) => self.channels[s].put_held(first),
                    Opened::Last(first) => {
                        self.channels[s].put_held(first);
                        self.channels[s].end();
                        self.channels[t].end();
                    }
                    Opened::Failed(error) => return self.failed_by(source, &error),
                    Opened::Refused { silent } => {
                        self.silent = silent;
                        return Poll::Ready(Termination::RESPONSE_REFUSED);
                    }
                }
            }
            let turn = pump::turn(&mut self.channels[s], from, to, &self.setup.pool, cx);
            let turn = match turn {
                Ok(turn) => turn,
                Err(error) => return self.internal(&error),
            };
            moved[s] |= turn.read > 0;
            moved[t] |= turn.written > 0 && !self.setup.independent_streams;
            match turn.stop {
                Stop::Waiting | Stop::Ended => {}
                Stop::Yielded => yielded = true,
                Stop::SourceFailed(error) => return self.failed_by(source, &error),
                Stop::TargetFailed(error) => {
                    let target = source.other();
                    note_failure(
                        &self.record,
                        &mut self.connections,
                        target,
                        Layer::Data,
                        ssl::reason(&error),
                    );
                    tracing::debug!(flow = self.record.id, side = %target, %error, "the target failed");
                    // What the failed side sent before is still readable: the other direction
                    // goes on until it has brought it.
                    self.channels[t].cut();
                    self.failed.get_or_insert(target);
                }
            }
        }
        if moved[0] || moved[1] {
            self.turns = self.turns.saturating_add(1);
            let now = Instant::now();
            for side in 0..2 {
                if moved[side] {
                    self.active[side] = now;
                }
            }
        }
        if let Some(ended) = self.user_end() {
            return Poll::Ready(ended);
        }
        if yielded {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Whether the user-space directions have nothing left to do.
    fn user_end(&mut self) -> Option<Termination> {
        if let Some(side) = self.failed {
            // The direction from the failed side has brought everything, or cannot.
            let from_failed = self.channels[side.index()].flags();
            if from_failed.intersects(Flags::SHUT_OUT | Flags::ERR_OUT | Flags::ERR_IN) {
                return Some(reset_by(side));
            }
            return None;
        }
        let ended = |channel: &Channel| channel.flags().contains(Flags::SHUT_OUT);
        self.channels
            .iter()
            .all(ended)
            .then_some(Termination::NORMAL)
    }

    fn failed_by(&mut self, side: Side, error: &io::Error) -> Poll<Termination> {
        note_failure(
            &self.record,
            &mut self.connections,
            side,
            Layer::Data,
            ssl::reason(error),
        );
        tracing::debug!(flow = self.record.id, %side, %error, "the source failed");
        Poll::Ready(reset_by(side))
    }

    fn internal(&self, error: &io::Error) -> Poll<Termination> {
        tracing::warn!(flow = self.record.id, %error, "a flow was given up");
        Poll::Ready(Termination::INTERNAL)
    }

    /// Ends the flow when it has been idle too long. The timer is only set anew when it fires:
    /// activity costs nothing but a time stamp.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Termination> {
        loop {
            if let Some(timer) = &mut self.idle
                && timer.as_mut().poll(cx).is_pending()
            {
                return Poll::Pending;
            }
            let now = Instant::now();
            let (active, half_closed) = match &mut self.mover {
                Mover::User => (
                    match &self.relay {
                        Some(flow) if flow.is_open() => flow.last_active(now),
                        _ => self.active,
                    },
                    self.channels
                        .iter()
                        .any(|c| c.flags().contains(Flags::SHUT_IN)),
                ),
                Mover::Redirect(flow) => (
                    flow.last_active(&self.connections, now),
                    flow.has_ended(0) || flow.has_ended(1),
                ),
                Mover::Relay(flow) => (
                    flow.last_active(now),
                    flow.has_ended(0) || flow.has_ended(1),
                ),
            };
            let idle = self.setup.limits.deadline(active, half_closed);
            if let Some((at, side)) = idle
                && at <= now
            {
                self.record.note_end(side, Layer::Stream, Reason::Timeout);
                return Poll::Ready(match side {
                    Side::Client => Termination::CLIENT_IDLE,
                    Side::Server => Termination::SERVER_IDLE,
                });
            }
            // Half-closing may bring a shorter limit; looking at least that often finds it.
            let fin = self.setup.limits.deadline([now; 2], true);
            let promotion = self
                .wanted
                .as_ref()
                .and_then(|_| self.setup.policy.due_in(now - self.started))
                .map(|left| now + left);
            let next = [idle.map(|i| i.0), fin.map(|f| f.0), promotion]
                .into_iter()
                .flatten()
                .min();
            let Some(next) = next else {
                self.idle = None;
                return Poll::Pending;
            };
            self.idle = Some(Box::pin(tokio::time::sleep_until(next.into())));
        }
    }

    /// Closes both connections in order after a normal end; resets both otherwise, so that no
    /// stream that was cut short looks complete.
    fn close(self, termination: Termination) {
        for direction in [&self.record.up, &self.record.down] {
            direction.settle_kernel();
        }
        // What a rule refuses is ended, not cut: its client has got nothing that is incomplete.
        let in_order = termination == Termination::NORMAL;
        let refused = termination == Termination::RESPONSE_REFUSED;
        if !(in_order || refused) {
            let [client, server] = self.connections.each_ref().map(Connection::condition);
            tracing::debug!(flow = self.record.id, ?termination, %client, %server, "a flow was cut");
        }
        if self.relay.as_ref().is_some_and(|flow| flow.is_open()) {
            // User space may have moved what the sockets still had since.
            for direction in [&self.record.up, &self.record.down] {
                direction.path.set(Path::Relay);
            }
        }
        let is_early = match &self.relay {
            Some(flow) => !flow.is_open(),
            None => matches!(self.wanted, Some(Wanted::Relay(_))) && self.is_due(),
        };
        if is_early && self.record.why.get().is_none() {
            self.record.why.set(Some(Why::Early));
        }
        let (redirected, mut relayed) = match self.mover {
            Mover::User => (None, self.relay),
            Mover::Redirect(flow) => (Some(flow), None),
            Mover::Relay(flow) => (None, Some(flow)),
        };
        if let Some(flow) = relayed.take_if(|_| self.left) {
            for connection in self.connections {
                connection.vanish();
            }
            flow.leave();
            return;
        }
        let has_ended = relayed.as_mut().is_some_and(|flow| flow.conclude());
        let [client, server] = self.connections;
        if has_ended {
            // Both ends know, from one another.
            client.vanish();
            server.vanish();
            if let Some(flow) = relayed {
                flow.release();
            }
            return;
        }
        if self.silent {
            client.vanish();
        } else if in_order || refused {
            client.close();
        } else {
            client.reset();
        }
        if in_order {
            server.close();
        } else {
            server.reset();
        }
        if let Some(flow) = redirected {
            flow.release();
        }
        if let Some(flow) = relayed {
            flow.release();
        }
    }
}

fn reset_by(side: Side) -> Termination {
    match side {
        Side::Client => Termination::CLIENT_RESET,
        Side::Server => Termination::SERVER_RESET,
    }
}

fn has_failed(connection: &Connection) -> bool {
    connection.view().contains(View::ERR)
}

/// One side failed without our doing.
fn note_failure(
    record: &FlowRecord,
    connections: &mut [Connection; 2],
    side: Side,
    layer: Layer,
    reason: Reason,
) {
    record.note_end(side, layer, reason.clone());
    connections[side.index()].fail(layer, reason);
}

fn explain(
    failure: Failure,
    record: &FlowRecord,
    connections: &mut [Connection; 2],
) -> Termination {
    match failure {
        Failure::Side(side, error) => {
            tracing::debug!(flow = record.id, %side, %error, "an offloaded flow failed");
            note_failure(
                record,
                connections,
                side,
                Layer::Socket,
                Reason::from(&error),
            );
            reset_by(side)
        }
        Failure::Internal(error) => {
            tracing::warn!(flow = record.id, %error, "an offloaded flow was given up");
            Termination::INTERNAL
        }
    }
}
