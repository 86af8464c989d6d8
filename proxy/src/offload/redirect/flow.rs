//! Runs the protocol of both directions of a redirected flow: does what the machines ask for.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

use super::direction::{Direction, Peeked, Step};
use super::engine::{Counter, Engine, Enrolled, Refusal, index};
use crate::channel::buffer::Buffer;
use crate::conn::{Connection, Side};
use crate::observe::record::{DirectionRecord, FlowRecord, Path};
use crate::offload::slots::Happened;
use crate::sys::{process, socket, tcp};

/// Bytes that user space peeks at, and writes, at a time: more than a source may send whose window
/// is kept small, so that one chunk can be all there is.
const CHUNK: usize = 256 * 1024;

/// The window that a source is held to while user space catches up with it, bytes. More than two
/// of loopback's segments: below one segment a sender waits for its persist timer.
const SMALL_WINDOW: i32 = 160 * 1024;
/// Lifts that hold: the window is then what the receive buffer allows.
const FULL_WINDOW: i32 = i32::MAX;

/// First and longest pause before looking again at a queue that the kernel drains in its own
/// time; no event tells when it is done.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(16));

/// Looks in a row that only let the worker's other flows run first: a kernel worker that is under
/// way needs microseconds.
const QUICK_LOOKS: u32 = 3;

/// How long redirected bytes may be missing from a target that has nothing left to send before
/// they are given up as lost, which resets both ends.
const LOST_AFTER: Duration = Duration::from_secs(5);

/// How long what a failed side sent before its failure may take to reach the other side.
const FAILED_GRACE: Duration = Duration::from_secs(1);

/// How a redirected flow failed.
#[derive(Debug)]
pub enum Failure {
    /// The connection of this side failed.
    Side(Side, io::Error),
    /// Bytes did not come out of the kernel, or a call that cannot fail did.
    Internal(io::Error),
}

thread_local! {
    /// Where bytes go that were written already and are only taken out of a queue.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; CHUNK]);
}

/// Progress of a target while its queue is being drained.
#[derive(Debug, Clone, Copy)]
struct Drain {
    written: u64,
    since: Instant,
}

/// A flow in the hands of the redirect engine.
#[derive(Debug)]
pub struct RedirectFlow {
    engine: Arc<Engine>,
    enrolled: Enrolled,
    /// Per direction: what is held, or a copy of what was peeked at.
    held: [Buffer; 2],
    drains: [Option<Drain>; 2],
    awaiting_room: [bool; 2],
    small_window: [bool; 2],
    failed: [Option<(io::Error, Instant)>; 2],
    /// Payload acknowledged by each side's peer at the last look, and when it last moved.
    acked: [(u64, Instant); 2],
    looks: u32,
    timer: Option<Pin<Box<Sleep>>>,
}

impl RedirectFlow {
    /// Takes the sleeping connections of a flow over, with what was read of each direction and
    /// not written.
    ///
    /// # Errors
    /// Why not, with the held bytes back; the connections are as they were.
    pub fn enrol(
        engine: &Arc<Engine>,
        connections: &[Connection; 2],
        held: [Buffer; 2],
        record: &FlowRecord,
    ) -> Result<Self, (Refusal, [Buffer; 2])> {
        let sockets = [connections[0].fd(), connections[1].fd()];
        let sizes = [held[0].held().len(), held[1].held().len()];
        let enrolled = match engine.enrol(sockets, sizes) {
            Ok(enrolled) => enrolled,
            Err(refusal) => return Err((refusal, held)),
        };
        for source in 0..2 {
            let direction: &DirectionRecord = record.direction(source);
            let at = index(enrolled.slot, source);
            direction.attach_kernel(Rc::new(Counter::new(engine.clone(), at)));
            direction.path.set(Path::Redirect);
        }
        let now = Instant::now();
        Ok(Self {
            engine: engine.clone(),
            enrolled,
            held,
            drains: [None; 2],
            awaiting_room: [false; 2],
            small_window: [false; 2],
            failed: [None, None],
            acked: [(0, now); 2],
            looks: 0,
            timer: None,
        })
    }

    /// Moves the flow on as far as it goes without waiting. Ready when both directions have ended
    /// in order, or with the first failure; the caller then closes or resets both connections and
    /// calls [`RedirectFlow::release`].
    pub fn poll(
        &mut self,
        connections: &[Connection; 2],
        record: &FlowRecord,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Failure>> {
        let slots = self.engine.slots.clone();
        slots.register(self.enrolled.slot, cx.waker());
        for side in Side::BOTH {
            let happened = slots.collect(self.enrolled.slot, side.index());
            if let Err(failure) = self.note(side, happened, connections) {
                return Poll::Ready(Err(failure));
            }
        }
        let mut look_again = false;
        for source in Side::BOTH {
            match self.advance(source, connections, record) {
                Ok(again) => look_again |= again,
                Err(failure) => return Poll::Ready(Err(failure)),
            }
        }
        if self.enrolled.directions.iter().all(Direction::is_done) {
            return Poll::Ready(match self.take_failure() {
                Some(failure) => Err(failure),
                None => Ok(()),
            });
        }
        if look_again {
            self.schedule(cx);
        } else {
            self.looks = 0;
            self.timer = None;
        }
        Poll::Pending
    }

    fn take_failure(&mut self) -> Option<Failure> {
        Side::BOTH.into_iter().find_map(|side| {
            let (error, _) = self.failed[side.index()].take()?;
            Some(Failure::Side(side, error))
        })
    }

    /// Takes note of what happened to one side's socket.
    fn note(
        &mut self,
        side: Side,
        happened: Happened,
        connections: &[Connection; 2],
    ) -> Result<(), Failure> {
        let i = side.index();
        let directions = &mut self.enrolled.directions;
        if happened.contains(Happened::FAILED) {
            match socket::take_error(connections[i].fd()) {
                Ok(Some(error)) if self.failed[i].is_none() => {
                    tracing::debug!(%side, %error, "an offloaded socket failed");
                    self.failed[i] = Some((error, Instant::now()));
                    directions[i].source_ended();
                }
                Ok(_) => {}
                Err(error) => return Err(Failure::Internal(error)),
            }
        }
        if happened.contains(Happened::ENDED) {
            directions[i].source_ended();
        }
        if happened.contains(Happened::READABLE) {
            directions[i].source_readable();
        }
        if happened.contains(Happened::WRITABLE) {
            directions[1 - i].writable();
            if std::mem::take(&mut self.awaiting_room[i]) {
                // The kernel's own sending makes room all the time; only a blocked write of ours
                // wants to know.
                self.watch(i, connections, false)?;
            }
        }
        Ok(())
    }

    /// Runs the machine of one direction until it waits. Returns whether it wants to look again.
    fn advance(
        &mut self,
        source: Side,
        connections: &[Connection; 2],
        record: &FlowRecord,
    ) -> Result<bool, Failure> {
        let s = source.index();
        let target = source.other();
        let t = target.index();
        if self.failed[t].is_some() {
            // What this direction still carries has nowhere to go; the other one may still bring
            // what the failed side sent before.
            return self.finish_failed(t);
        }
        let at = index(self.enrolled.slot, s);
        loop {
            if self.engine.is_broken(at) {
                return Err(Failure::Internal(io::Error::other(
                    "a segment does not follow the one before it",
                )));
            }
            let step = self.enrolled.directions[s].step(self.engine.counts(at));
            let machine = &mut self.enrolled.directions[s];
            match step {
                Step::Idle | Step::Done => return Ok(false),
                Step::AwaitRoom => {
                    self.await_room(t, connections)?;
                    return Ok(false);
                }
                Step::LookAgain => {
                    self.check_lost(s, &connections[t])?;
                    return Ok(true);
                }
                Step::ReadTarget => {
                    let info = tcp::info(connections[t].fd()).map_err(Failure::Internal)?;
                    if machine.target_written(info.written) {
                        self.drains[s] = None;
                    } else if self.drains[s].is_none_or(|drain| drain.written != info.written) {
                        self.drains[s] = Some(Drain {
                            written: info.written,
                            since: Instant::now(),
                        });
                        self.looks = 0;
                    }
                }
                Step::Write => {
                    let chunk = self.held[s].held();
                    match socket::send(connections[t].fd(), chunk, false) {
                        Ok(sent) => {
                            self.held[s].taken(sent);
                            machine.wrote(sent);
                            record.direction(s).add_user(sent);
                        }
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {
                            machine.write_blocked();
                        }
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        Err(error) => return Err(Failure::Side(target, error)),
                    }
                }
                Step::Peek => self.peek(source, connections)?,
                Step::Publish { forwarded, consume } => {
                    self.engine.publish(at, forwarded);
                    let small = machine.wants_small_window();
                    // Before the read, which is what tells the sender of its window.
                    self.hold_window(s, small, &connections[s])?;
                    consume_from(&connections[s], consume)
                        .map_err(|error| Failure::Side(source, error))?;
                }
                Step::Barrier => {
                    tcp::info(connections[s].fd()).map_err(Failure::Internal)?;
                    machine.barrier_passed();
                }
                Step::Shutdown => {
                    if self.failed[s].is_some() {
                        // The source did not end, it failed: no FIN may say otherwise.
                        return self.take_failure().map_or(Ok(false), Err);
                    }
                    socket::shutdown(connections[t].fd(), socket::Half::Write)
                        .map_err(|error| Failure::Side(target, error))?;
                    machine.shut();
                }
            }
        }
    }

    /// The target of a direction has failed. Ends the flow once its grace is over or the opposite
    /// direction has nothing left to bring.
    fn finish_failed(&mut self, failed: usize) -> Result<bool, Failure> {
        let over = self.failed[failed]
            .as_ref()
            .is_some_and(|(_, since)| since.elapsed() >= FAILED_GRACE);
        let idle = self.enrolled.directions[failed].is_done() || self.failed[1 - failed].is_some();
        if over || idle {
            return self.take_failure().map_or(Ok(true), Err);
        }
        Ok(true)
    }

    fn await_room(&mut self, target: usize, connections: &[Connection; 2]) -> Result<(), Failure> {
        // Asking anew each time reports room that came before the question.
        self.awaiting_room[target] = true;
        self.watch(target, connections, true)
    }

    fn watch(
        &self,
        side: usize,
        connections: &[Connection; 2],
        writable: bool,
    ) -> Result<(), Failure> {
        let readable = !self.enrolled.directions[side].is_enrolled();
        self.engine
            .watcher
            .also(
                connections[side].fd(),
                index(self.enrolled.slot, side),
                writable,
                readable,
            )
            .map_err(Failure::Internal)
    }

    fn hold_window(
        &mut self,
        source: usize,
        small: bool,
        connection: &Connection,
    ) -> Result<(), Failure> {
        if self.small_window[source] != small {
            let window = if small { SMALL_WINDOW } else { FULL_WINDOW };
            socket::set_window_clamp(connection.fd(), window).map_err(Failure::Internal)?;
            self.small_window[source] = small;
        }
        Ok(())
    }

    fn peek(&mut self, source: Side, connections: &[Connection; 2]) -> Result<(), Failure> {
        let s = source.index();
        let buffer = &mut self.held[s];
        buffer.clear();
        buffer.reserve(CHUNK);
        let room = buffer.room();
        let len = room.len().min(CHUNK);
        let found = match socket::peek(connections[s].fd(), &mut room[..len]) {
            Ok(0) => Peeked::End,
            Ok(got) => {
                buffer.filled(got);
                Peeked::Bytes(got)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Peeked::Nothing,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(error) => {
                if self.failed[s].is_none() {
                    self.failed[s] = Some((error, Instant::now()));
                }
                Peeked::End
            }
        };
        self.enrolled.directions[s].peeked(found);
        if found == Peeked::Nothing || found == Peeked::End {
            // Memory is for flows whose bytes pass through user space.
            self.held[s] = Buffer::empty();
        }
        Ok(())
    }

    /// Redirected bytes that are in no queue any more are lost: better loud than stuck.
    fn check_lost(&self, source: usize, target: &Connection) -> Result<(), Failure> {
        let Some(drain) = self.drains[source] else {
            return Ok(());
        };
        if drain.since.elapsed() < LOST_AFTER {
            return Ok(());
        }
        let info = tcp::info(target.fd()).map_err(Failure::Internal)?;
        if info.not_sent == 0 && info.unacked == 0 && info.written == drain.written {
            return Err(Failure::Internal(io::Error::other(
                "redirected bytes did not reach the target's send queue",
            )));
        }
        Ok(())
    }

    fn schedule(&mut self, cx: &mut Context<'_>) {
        self.looks += 1;
        if self.looks <= QUICK_LOOKS {
            cx.waker().wake_by_ref();
            return;
        }
        let doubled = LOOK_AGAIN.0 * 2u32.saturating_pow(self.looks - QUICK_LOOKS - 1);
        let mut timer = Box::pin(tokio::time::sleep(doubled.min(LOOK_AGAIN.1)));
        if timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        self.timer = Some(timer);
    }

    /// When each side was last active: sent something, or acknowledged something.
    pub fn last_active(&mut self, connections: &[Connection; 2], now: Instant) -> [Instant; 2] {
        let now_ns = process::monotonic_ns();
        let mut active = [self.acked[0].1, self.acked[1].1];
        for side in 0..2 {
            let received = self.engine.last_ns(index(self.enrolled.slot, side));
            if received > 0 {
                let ago = Duration::from_nanos(now_ns.saturating_sub(received));
                active[side] = active[side].max(now.checked_sub(ago).unwrap_or(now));
            }
            if let Ok(info) = tcp::info(connections[side].fd())
                && info.acked != self.acked[side].0
            {
                // Acknowledged at some time since the last look; the look's time errs on the side
                // of patience.
                self.acked[side] = (info.acked, now);
                active[side] = now;
            }
        }
        active
    }

    /// Whether the source side of a direction has ended.
    #[must_use]
    pub fn has_ended(&self, source: usize) -> bool {
        self.enrolled.directions[source].has_ended()
    }

    /// Takes the last readings into the record and gives the slot back. Call after both
    /// connections have been closed or reset.
    pub fn release(self) {
        self.engine.release(&self.enrolled);
    }
}

/// Removes `count` bytes from the socket's queue.
fn consume_from(connection: &Connection, mut count: usize) -> io::Result<()> {
    SCRATCH.with_borrow_mut(|scratch| {
        while count > 0 {
            let wanted = count.min(scratch.len());
            match socket::recv(connection.fd(), &mut scratch[..wanted]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(got) => count -= got,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // They were there a moment ago and nobody else reads this socket.
                Err(error) => return Err(error),
            }
        }
        Ok(())
    })
}
