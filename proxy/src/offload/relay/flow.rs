//! One flow on its way to the relay, and in it.
//!
//! *Tracking*: the programs look at its segments, and user space goes on as before. *Both*: segments
//! are relayed, and what the sockets had taken before is still brought to its end in user space.
//! *Settled*: the sockets sleep. `docs/relay.md` says why each step loses nothing.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;
use underpass_common::relay::{
    Flow, Half, Key, Phase, TERMS_MORTAL, TERMS_NO_ECN, TERMS_TIMESTAMPS, TERMS_V6, Terms, after,
    join,
};

use super::adopt::describe;
use super::eligible::{self, Facts};
use super::engine::{Addresses, Engine, Refusal};
use super::grace::IsNoted;
use super::records::{Known, Switched, address, key};
use crate::conn::{Connection, Side};
use crate::observe::record::{FlowRecord, KernelCounter, Path, Why};
use crate::sys::tcp::{self, Info};
use crate::sys::{process, repair, socket};

/// What a relayed time stamp is ahead of the one that the proxy's own socket would send at that moment,
/// in units of the sender's clock (mostly milliseconds). A receiver throws away what is stamped older
/// than what it has seen: relayed segments must not be the older ones by the tick of a clock, and what
/// the socket still has to repeat comes much later than this.
const AHEAD: u32 = 8;

/// Longest time since an end's last segment for which its clock is taken to have gone on in
/// milliseconds. Some clocks are slower, and the error would grow with the time.
const MOST_SILENCE: Duration = Duration::from_secs(1);

/// First and longest pause between looks at sockets that still have to bring something to its end.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(256));

/// Readings of a socket before it is given up as too busy to be read.
const MOST_READINGS: u32 = 8;

/// What has become of a flow that is not settled yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// User space goes on moving it.
    Waiting,
    /// Its sockets have nothing left to do.
    Settled,
    /// It ended before it could be relayed: user space has it.
    Gone,
    /// This side has reset it.
    Reset(Side),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Tracking,
    Both,
    Settled,
}

/// Where the counts of one end's socket stood when both streams were at the same byte.
#[derive(Debug, Clone, Copy)]
struct Base {
    /// Next sequence number that it expects, less the payload bytes that it has received.
    expected: u32,
    /// Payload bytes received that have been written to the other socket.
    passed: u64,
    /// Payload bytes written.
    written: u64,
    /// Number of the next byte that is written, less the payload bytes written.
    writes: u32,
    /// How far its far host might send when the programs first saw everything. What it has put aside
    /// because something was missing before it reaches no further, if it came before that.
    edge: u32,
}

/// A flow that the engine knows.
#[derive(Debug)]
pub struct RelayFlow {
    engine: Arc<Engine>,
    slot: u32,
    keys: [Key; 2],
    terms: [Terms; 2],
    bases: [Base; 2],
    stage: Stage,
    /// The programs see all that its sockets get.
    is_noted: IsNoted,
    /// [`Base::edge`] is that of a moment when they did.
    is_marked: bool,
    looks: u32,
    timer: Option<Pin<Box<Sleep>>>,
    /// What becomes of its records has been said.
    concluded: bool,
}

/// One end as it is read from its socket.
struct End {
    facts: Facts,
    base: Base,
    sequences: repair::Sequences,
}

impl RelayFlow {
    /// Has the programs look at a flow. `held` is what user space has read of each direction and not
    /// written yet, bytes.
    ///
    /// # Errors
    /// Why it cannot be relayed; it is as it was.
    pub fn enrol(
        engine: &Arc<Engine>,
        connections: &[Connection; 2],
        held: [usize; 2],
    ) -> Result<Self, Refusal> {
        if !engine.has_room() {
            return Err(Refusal::new(Why::Full, "the relay's table is full"));
        }
        let ends = [
            read(&connections[0], held[0])?,
            read(&connections[1], held[1])?,
        ];
        let agreed = eligible::check(&ends[0].facts, &ends[1].facts)
            .map_err(|refusal| Refusal::new(Why::Relay(refusal), refusal.to_string()))?;
        let mut flow = Flow::default();
        for end in 0..2 {
            let other = &ends[1 - end];
            let Facts {
                info,
                local,
                remote,
            } = &ends[end].facts;
            let route = engine
                .reach(local.ip(), remote.ip())
                .map_err(|error| Refusal {
                    why: Why::NoRoute,
                    error,
                })?;
            let inet = address(remote.ip());
            let mut flags = TERMS_MORTAL;
            if agreed.ipv6 {
                flags |= TERMS_V6;
            }
            if agreed.timestamps {
                flags |= TERMS_TIMESTAMPS;
            }
            if agreed.clear_ecn {
                flags |= TERMS_NO_ECN;
            }
            // What the other socket's next byte is to this one's stream.
            let written_up_to = ends[end]
                .base
                .expected
                .wrapping_add(ends[end].base.passed as u32);
            flow.terms[end] = Terms {
                remote: inet,
                local: address(local.ip()),
                ports: underpass_common::relay::ports(local.port(), remote.port()),
                interface: route.interface,
                shift: other.sequences.write.wrapping_sub(written_up_to),
                clock: 0,
                oldest_echo: 0,
                announced_scale: if info.wscale { info.snd_wscale } else { 0 },
                granted_scale: if info.wscale { info.rcv_wscale } else { 0 },
                flags,
                reserved: 0,
            };
            let received = ends[end].sequences.received;
            flow.halves[end] = Half {
                phase: join(Phase::Track as u32, received),
                told: join(ends[end].base.edge, received),
                seen: join(ends[end].base.sent(info), received),
                last_ns: process::monotonic_ns(),
                ..Half::default()
            };
            let may_send = other.base.may_send(&other.facts.info);
            flow.offered[end] = u64::from(may_send.wrapping_sub(flow.terms[end].shift));
        }
        let keys = ends
            .each_ref()
            .map(|end| key(end.facts.remote, end.facts.local));
        let (slot, is_noted) = engine.enter(&flow, keys)?;
        Ok(Self {
            engine: engine.clone(),
            slot,
            keys,
            terms: flow.terms,
            bases: ends.map(|end| end.base),
            stage: Stage::Tracking,
            is_noted,
            is_marked: false,
            looks: 0,
            timer: None,
            concluded: false,
        })
    }

    /// Whether segments are relayed already.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.stage != Stage::Tracking
    }

    /// Takes the flow as far as it goes. Call after user space has moved what there was.
    ///
    /// # Errors
    /// When a socket cannot be read.
    pub fn advance(
        &mut self,
        connections: &[Connection; 2],
        record: &FlowRecord,
        cx: &mut Context<'_>,
    ) -> io::Result<Progress> {
        if self.stage == Stage::Tracking && self.engine.has_let_go() {
            return Ok(Progress::Gone);
        }
        if self.stage == Stage::Tracking {
            self.engine.slots.register(self.slot, cx.waker());
            if !self.is_noted.load(Ordering::Acquire) {
                return Ok(Progress::Waiting);
            }
            match self.open(connections, record)? {
                Progress::Settled => {}
                other => return Ok(other),
            }
        }
        self.engine.slots.register(self.slot, cx.waker());
        if self.is_done() {
            // Both ends have all of it: the sockets have nothing left to do, even if they do not know.
            self.stage = Stage::Settled;
            self.timer = None;
            return Ok(Progress::Settled);
        }
        if let Some(side) = self.reset_by() {
            return Ok(Progress::Reset(side));
        }
        if let Some(timer) = &mut self.timer
            && timer.as_mut().poll(cx).is_pending()
        {
            return Ok(Progress::Waiting);
        }
        if self.settle(connections, record)? {
            self.stage = Stage::Settled;
            self.timer = None;
            return Ok(Progress::Settled);
        }
        let pause = LOOK_AGAIN.0 * 2u32.saturating_pow(self.looks.min(16));
        self.looks += 1;
        let mut timer = Box::pin(tokio::time::sleep(pause.min(LOOK_AGAIN.1)));
        if timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        self.timer = Some(timer);
        Ok(Progress::Waiting)
    }

    /// Has segments relayed from now on, if everything that takes is known.
    fn open(&mut self, connections: &[Connection; 2], record: &FlowRecord) -> io::Result<Progress> {
        let records = &self.engine.records;
        let phases = [0, 1].map(|end| records.phase(self.slot, end).0);
        if phases.contains(&Phase::Over) {
            return Ok(Progress::Gone);
        }
        if self.terms[0].flags & TERMS_TIMESTAMPS != 0 {
            let clocks = [0, 1].map(|end| records.clock(self.slot, end));
            let [Some(first), Some(second)] = clocks else {
                return Ok(Progress::Waiting);
            };
            let last = [first, second];
            let silent = self.last_active(Instant::now()).map(|at| at.elapsed());
            for end in 0..2 {
                let own = repair::timestamp(connections[1 - end].fd())?;
                let since = if silent[end] <= MOST_SILENCE {
                    silent[end].as_millis() as u32
                } else {
                    0
                };
                let now = last[end].wrapping_add(since);
                self.terms[end].clock = own.wrapping_add(AHEAD).wrapping_sub(now);
                self.terms[end].oldest_echo = last[end];
            }
        }
        let infos = [
            tcp::info(connections[0].fd())?,
            tcp::info(connections[1].fd())?,
        ];
        for (end, info) in infos.iter().enumerate() {
            if info.state != tcp::ESTABLISHED {
                return Ok(Progress::Gone);
            }
            if !self.is_marked {
                // What was put aside before the programs saw everything reaches no further.
                let base = &mut self.bases[end];
                base.edge = base.expects(info).wrapping_add(info.rcv_wnd.unwrap_or(0));
                records.grant(self.slot, end, base.edge);
            }
        }
        self.is_marked = true;
        for (end, info) in infos.iter().enumerate() {
            let base = &self.bases[end];
            let expects = base.expects(info);
            if info.rcv_ooopack != Some(0) && after(base.edge, expects) {
                return Ok(Progress::Waiting);
            }
            // Between the reading of the sockets and the first look of the programs, segments may have
            // passed.
            let known = Known {
                expected: expects,
                edge: expects.wrapping_add(info.rcv_wnd.unwrap_or(0)),
                sent: base.sent(info),
                offered: self.bases[1 - end]
                    .may_send(&infos[1 - end])
                    .wrapping_sub(self.terms[end].shift),
            };
            records.raise(self.slot, end, &known);
        }
        for end in 0..2 {
            records.write_terms(self.slot, end, &self.terms[end]);
        }
        if records.open(self.slot) != Switched::Done {
            return Ok(Progress::Gone);
        }
        self.stage = Stage::Both;
        for end in 0..2 {
            let direction = record.direction(end);
            direction.path.set(Path::Relay);
            direction.attach_kernel(Rc::new(Counter {
                engine: self.engine.clone(),
                slot: self.slot,
                end,
            }));
        }
        Ok(Progress::Settled)
    }

    /// Puts the sockets to sleep, if both have brought to its end what they had taken.
    fn settle(&self, connections: &[Connection; 2], record: &FlowRecord) -> io::Result<bool> {
        let infos = [
            tcp::info(connections[0].fd())?,
            tcp::info(connections[1].fd())?,
        ];
        let given = [0, 1].map(|end| self.engine.records.phase(self.slot, end).1);
        for end in 0..2 {
            let (from, to) = (&infos[end], &infos[1 - end]);
            let (base, target) = (&self.bases[end], &self.bases[1 - end]);
            let is_out = to.not_sent == 0 && to.unacked == 0;
            let is_written = to.written - target.written == from.received - base.passed;
            if !is_out || !is_written || after(given[end], base.expects(from)) {
                return Ok(false);
            }
        }
        if self.engine.outlives() {
            // Before the sockets may die without a sound.
            self.engine.describe(self.slot, &describe(record));
        }
        if self.engine.records.settle(self.slot, given) != Switched::Done {
            return Ok(false);
        }
        if self.engine.outlives() {
            // Until here, sockets that die are heard, at both ends or at none.
            self.engine.records.outlive(self.slot);
        }
        for connection in connections {
            // Its probes would go unanswered, and it would give the connection up.
            socket::clear_keepalive(connection.fd())?;
        }
        Ok(true)
    }

    /// Waits for the end of a settled flow. Ready with the side that reset it, or with none when both
    /// directions have ended in order.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Side>> {
        self.engine.slots.register(self.slot, cx.waker());
        if self.is_done() {
            return Poll::Ready(None);
        }
        self.reset_by()
            .map_or(Poll::Pending, |side| Poll::Ready(Some(side)))
    }

    /// Whether both directions have ended in order, and both far hosts know.
    fn is_done(&self) -> bool {
        (0..2).all(|end| self.engine.records.is_done(self.slot, end))
    }

    /// Whether it is to be left to another daemon. [`Self::poll`] sees to it that this is asked.
    #[must_use]
    pub fn is_to_be_left(&self) -> bool {
        // What has ended is still ours to log.
        self.stage == Stage::Settled && self.engine.has_let_go() && !self.is_done()
    }

    /// Leaves it to another daemon. Call when its sockets are closed, without a packet.
    pub fn leave(self) {
        self.engine.leave(self.slot);
    }

    /// The side whose far host has reset the flow.
    fn reset_by(&self) -> Option<Side> {
        let was_reset = |side: &Side| self.engine.records.was_reset(self.slot, side.index());
        Side::BOTH.into_iter().find(was_reset)
    }

    /// Whether the far host of this end has sent its FIN.
    #[must_use]
    pub fn has_ended(&self, end: usize) -> bool {
        self.is_open() && self.engine.records.has_ended(self.slot, end)
    }

    /// When each end last sent something.
    #[must_use]
    pub fn last_active(&self, now: Instant) -> [Instant; 2] {
        let now_ns = process::monotonic_ns();
        [0, 1].map(|end| {
            let last = self.engine.records.last_ns(self.slot, end);
            let ago = Duration::from_nanos(now_ns.saturating_sub(last));
            now.checked_sub(ago).unwrap_or(now)
        })
    }

    /// Call before its sockets are closed. True: it has ended by itself, and they are to be closed
    /// without a packet; what the ends may repeat is still relayed. False: the stack has it again, and
    /// closing them tells both ends, with numbers that they accept even if segments were relayed.
    #[must_use]
    pub fn conclude(&mut self) -> bool {
        self.concluded = true;
        let records = &self.engine.records;
        let has_ended = self.stage == Stage::Settled
            && (self.is_done() || (0..2).any(|end| records.was_reset(self.slot, end)));
        if has_ended {
            records.linger(self.slot);
        } else {
            records.abandon(self.slot);
        }
        has_ended
    }

    /// Nothing was relayed, and nothing will be.
    pub fn withdraw(mut self) {
        self.concluded = true;
        self.engine.records.abandon(self.slot);
        self.engine.release(self.slot, self.keys, false);
    }

    /// Gives the slot back. Call after both sockets have been closed.
    pub fn release(self) {
        let lingers = self.engine.records.phase(self.slot, 0).0 == Phase::Linger;
        self.engine.release(self.slot, self.keys, lingers);
    }
}

impl Drop for RelayFlow {
    fn drop(&mut self) {
        // The process stops: its sockets, which are closed next, are to be heard, unless the flow goes
        // on without them.
        let goes_on = self.stage == Stage::Settled && self.engine.outlives();
        if !self.concluded && !goes_on {
            self.engine.records.abandon(self.slot);
        }
    }
}

impl Base {
    /// End of what the socket has sent.
    fn sent(&self, info: &Info) -> u32 {
        self.writes
            .wrapping_add(info.written as u32)
            .wrapping_sub(info.not_sent)
    }

    /// How far the socket may send, as its far host has told it, or a byte less: the kernel counts its SYN
    /// among the bytes that are acknowledged where it has sent the first one.
    fn may_send(&self, info: &Info) -> u32 {
        self.writes
            .wrapping_add(info.acked as u32)
            .wrapping_sub(1)
            .wrapping_add(info.snd_wnd.unwrap_or(0))
    }

    /// The next sequence number that the socket expects.
    fn expects(&self, info: &Info) -> u32 {
        self.expected.wrapping_add(info.received as u32)
    }
}

/// Reads a socket, whose peer may be sending: all of it belongs to one moment.
fn read(connection: &Connection, held: usize) -> Result<End, Refusal> {
    let io = |error| Refusal {
        why: Why::Refused,
        error,
    };
    let fd = connection.fd();
    let Addresses { local, remote } = addresses(connection).map_err(io)?;
    let mut info = tcp::info(fd).map_err(io)?;
    for _ in 0..MOST_READINGS {
        let unread = socket::unread(fd).map_err(io)?;
        let sequences = repair::sequences(fd).map_err(io)?;
        let now = tcp::info(fd).map_err(io)?;
        let is_one_moment = now.received == info.received;
        info = now;
        if !is_one_moment {
            continue;
        }
        return Ok(End {
            base: Base {
                expected: sequences.received.wrapping_sub(info.received as u32),
                passed: info.received - u64::from(unread) - held as u64,
                written: info.written,
                writes: sequences.write.wrapping_sub(info.written as u32),
                edge: sequences
                    .received
                    .wrapping_add(info.rcv_wnd.unwrap_or(u32::MAX >> 2)),
            },
            sequences,
            facts: Facts {
                info,
                local,
                remote,
            },
        });
    }
    Err(Refusal::new(Why::Busy, "more came at every look"))
}

fn addresses(connection: &Connection) -> io::Result<Addresses> {
    let fd = connection.fd();
    let socket = socket2::SockRef::from(&fd);
    let inet = |address: socket2::SockAddr| {
        let address = address.as_socket().ok_or(io::ErrorKind::Unsupported)?;
        Ok::<_, io::Error>(std::net::SocketAddr::new(
            address.ip().to_canonical(),
            address.port(),
        ))
    };
    Ok(Addresses {
        local: inet(socket.local_addr()?)?,
        remote: inet(socket.peer_addr()?)?,
    })
}

/// Live counter of one relayed direction.
#[derive(Debug)]
struct Counter {
    engine: Arc<Engine>,
    slot: u32,
    end: usize,
}

impl KernelCounter for Counter {
    fn bytes(&self) -> u64 {
        let records = &self.engine.records;
        let bytes = records.bytes(self.slot, self.end);
        match records.acked_end(self.slot, self.end) {
            // Sequence numbers of damaged segments may have been counted. Where the FIN stands is sure once
            // it is acknowledged.
            Some(end) => {
                let exact = end.wrapping_sub(records.phase(self.slot, self.end).1);
                let error = exact.wrapping_sub(bytes as u32).cast_signed();
                bytes.saturating_add_signed(i64::from(error))
            }
            None => bytes,
        }
    }

    fn flips(&self) -> u64 {
        1
    }

    fn outlives(&self) -> bool {
        self.engine.outlives() && self.engine.records.phase(self.slot, self.end).0 == Phase::Settled
    }
}
