//! Looks after relayed flows that another daemon has left: waits for their ends, applies idle
//! timeouts, counts their bytes, writes their log lines. One task for all of them.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::MissedTickBehavior;
use underpass_common::relay::Key;
use underpass_common::relay::details::{Details, NEVER, Name, name};

use super::engine::{Addresses, Engine};
use crate::backend::{Backend, Server};
use crate::config::model::{LogOptions, LogTarget, Timeouts};
use crate::conn::Side;
use crate::conn::end::{Layer, Reason};
use crate::observe::counters::Counters;
use crate::observe::log::{self, Concurrency, LEVEL_NOTICE, Logger, Notes, StreamLine};
use crate::observe::record::{
    DirectionRecord, Endpoint, FlowRecord, KernelCounter, Path, Termination, Times, Why,
};
use crate::stream::idle::IdleLimits;
use crate::stream::living::ServerAt;
use crate::stream::tally;
use crate::sys::process;
use crate::sys::repair::{self, Sequences};
use crate::worker::{FrontendState, Shared};

/// How often all flows are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often, while a daemon before this one still has the relay or may leave more flows.
const RETRY: Duration = Duration::from_millis(50);

/// A flow of another daemon.
#[derive(Debug)]
struct Adopted {
    details: Details,
    ends: [Addresses; 2],
    keys: [Key; 2],
    frontend: Option<Arc<FrontendState>>,
    backend: Option<Arc<Backend>>,
    server: Option<usize>,
    limits: IdleLimits,
    /// Keeps the address pair towards the server out of use.
    held: Option<OwnedFd>,
    /// Bytes that are in our counters, or were there before us.
    counted: [u64; 2],
    bell: Waker,
}

/// Tells whose slot it was that was woken.
struct Bell {
    slot: u32,
    sender: UnboundedSender<u32>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // Nobody listens once the process ends.
        let _ = self.sender.send(self.slot);
    }
}

/// Bytes of a direction that are final.
#[derive(Debug)]
struct Final(u64);

impl KernelCounter for Final {
    fn bytes(&self) -> u64 {
        self.0
    }

    fn flips(&self) -> u64 {
        1
    }
}

/// Looks after flows of other daemons.
pub struct Adopter {
    shared: Arc<Shared>,
    logger: Logger,
    engine: Arc<Engine>,
    flows: HashMap<u32, Adopted>,
    sender: UnboundedSender<u32>,
    woken: UnboundedReceiver<u32>,
    /// A daemon may leave more.
    more: bool,
}

/// Takes over what is there, if the relay is ours already. Before this process connects to servers: the
/// kernel must not give it the address pairs of flows that live.
#[must_use]
pub fn begin(shared: &Arc<Shared>, logger: &Logger) -> Option<Adopter> {
    let engine = shared.availability.relay()?;
    Adopter::new(shared, logger, engine)
}

/// Looks after flows of other daemons until the process ends; takes the relay first, if the daemon before this
/// one still has it.
pub async fn run(begun: Option<Adopter>, shared: Arc<Shared>, logger: Logger) {
    if let Some(adopter) = begun {
        return adopter.run().await;
    }
    while shared.availability.start_late(&shared.global) {
        if let Some(adopter) = begin(&shared, &logger) {
            return adopter.run().await;
        }
        tokio::time::sleep(RETRY).await;
    }
}

impl Adopter {
    fn new(shared: &Arc<Shared>, logger: &Logger, engine: Arc<Engine>) -> Option<Self> {
        if !engine.outlives() {
            return None;
        }
        let (sender, woken) = mpsc::unbounded_channel();
        let mut adopter = Self {
            shared: shared.clone(),
            logger: logger.clone(),
            engine,
            flows: HashMap::new(),
            sender,
            woken,
            more: true,
        };
        adopter.inherit();
        Some(adopter)
    }

    async fn run(mut self) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                slot = self.woken.recv() => {
                    if let Some(slot) = slot {
                        self.look(slot);
                    }
                }
                _ = look.tick() => {
                    let slots: Vec<u32> = self.flows.keys().copied().collect();
                    for slot in slots {
                        self.look(slot);
                    }
                }
                () = tokio::time::sleep(RETRY), if self.more => self.inherit(),
            }
        }
    }

    /// Takes what has been left by now.
    fn inherit(&mut self) {
        let (slots, more) = self.engine.inherit();
        self.more = more;
        if slots.is_empty() {
            return;
        }
        let text = format!("{} relayed flows were taken over", slots.len());
        tracing::info!("{text}");
        let targets: Arc<[LogTarget]> = self.shared.global.logs.clone().into();
        self.logger.text(&targets, LEVEL_NOTICE, text);
        let mut loose = 0;
        for &slot in &slots {
            let flow = self.adopt(slot);
            loose += usize::from(flow.held.is_none());
            self.flows.insert(slot, flow);
        }
        if loose > 0 {
            tracing::warn!(
                "the kernel may give the source ports of {loose} relayed flows to other connections"
            );
        }
        for slot in slots {
            self.look(slot);
        }
    }

    fn adopt(&self, slot: u32) -> Adopted {
        let records = &self.engine.records;
        let details = self.engine.details(slot);
        let ends = [0, 1].map(|end| records.addresses(slot, end));
        let shared = &self.shared;
        let is = |wanted: &Name, text: &str| *wanted == name(text);
        let frontend = shared
            .frontends
            .iter()
            .find(|front| is(&details.frontend, &front.config.name));
        let backend = shared
            .backends
            .iter()
            .find(|back| is(&details.backend, &back.config.name));
        let server = backend.and_then(|back| {
            let named = |server: &Arc<Server>| is(&details.server, &server.config.name);
            back.servers.iter().position(named)
        });
        let none = Timeouts::default();
        let limits = IdleLimits::new(
            frontend.map_or(&none, |front| &front.config.timeouts),
            backend.map_or(&none, |back| &back.config.timeouts),
        );
        let Addresses { local, remote } = ends[1];
        let held = repair::occupy(local, remote)
            .inspect_err(|error| {
                tracing::debug!(%local, %remote, %error, "a relayed flow's port is not held");
            })
            .ok();
        let sender = self.sender.clone();
        let mut flow = Adopted {
            keys: [0, 1].map(|end| records.key(slot, end)),
            frontend: frontend.cloned(),
            backend: backend.cloned(),
            server,
            details,
            ends,
            limits,
            held,
            counted: [0; 2],
            bell: Arc::new(Bell { slot, sender }).into(),
        };
        flow.counted = self.moved(slot, &flow).map(|(user, kernel)| user + kernel);
        flow
    }

    /// Bytes of each end, by user space and by the kernel.
    fn moved(&self, slot: u32, flow: &Adopted) -> [(u64, u64); 2] {
        [0, 1].map(|end| {
            let kernel = self.engine.records.bytes(slot, end);
            (flow.details.user[end], kernel)
        })
    }

    /// Looks at a flow: whether it has ended or was idle for too long, and what it has moved.
    fn look(&mut self, slot: u32) {
        let Some(flow) = self.flows.get_mut(&slot) else {
            return;
        };
        let engine = &self.engine;
        if engine.has_let_go() {
            if let Some(flow) = self.flows.remove(&slot) {
                drop(flow.held);
                engine.leave(slot);
            }
            return;
        }
        engine.slots.register(slot, &flow.bell);
        let records = &engine.records;
        let reset = Side::BOTH
            .into_iter()
            .find(|side| records.was_reset(slot, side.index()));
        let ended = if (0..2).all(|end| records.is_done(slot, end)) {
            Some((None, Termination::NORMAL, Reason::PeerReset))
        } else if let Some(side) = reset {
            Some((Some(side), reset_by(side), Reason::PeerReset))
        } else {
            idle(engine, slot, &flow.limits).map(|side| (Some(side), idled(side), Reason::Timeout))
        };
        match ended {
            Some((side, termination, reason)) => self.end(slot, side, termination, reason),
            None => self.count(slot),
        }
    }

    /// Brings our counters up to now.
    fn count(&mut self, slot: u32) {
        let Some(flow) = self.flows.get(&slot) else {
            return;
        };
        let moved = self.moved(slot, flow).map(|(user, kernel)| user + kernel);
        let more = [0, 1].map(|end| moved[end].saturating_sub(flow.counted[end]));
        if more == [0; 2] {
            return;
        }
        let count = |counters: &Counters| {
            counters.bytes_in.add(more[0]);
            counters.bytes_out.add(more[1]);
        };
        if let Some(front) = &flow.frontend {
            count(&front.counters);
        }
        if let Some(back) = &flow.backend {
            count(&back.counters);
            if let Some(server) = flow.server.and_then(|at| back.servers.get(at)) {
                count(&server.counters);
            }
        }
        if let Some(flow) = self.flows.get_mut(&slot) {
            flow.counted = moved;
        }
    }

    /// The flow has ended, or ends now.
    fn end(&mut self, slot: u32, side: Option<Side>, termination: Termination, reason: Reason) {
        self.count(slot);
        let Some(mut flow) = self.flows.remove(&slot) else {
            return;
        };
        drop(flow.held.take());
        let is_over = reason == Reason::PeerReset;
        if is_over {
            self.engine.records.linger(slot);
        } else {
            self.reset(slot, &flow);
        }
        self.log(slot, &flow, side, termination, reason);
        self.engine.release(slot, flow.keys, is_over);
    }

    /// Resets both ends with what they expect next.
    fn reset(&self, slot: u32, flow: &Adopted) {
        let records = &self.engine.records;
        let numbers = [0, 1].map(|end| records.sequences(slot, end));
        // What leaves from now on is the stack's.
        records.abandon(slot);
        for (end, (write, received)) in numbers.into_iter().enumerate() {
            let Addresses { local, remote } = flow.ends[end];
            if let Err(error) = repair::reset(local, remote, Sequences { write, received }) {
                tracing::debug!(%local, %remote, %error, "an end could not be reset");
            }
        }
    }

    fn log(
        &self,
        slot: u32,
        flow: &Adopted,
        side: Option<Side>,
        termination: Termination,
        reason: Reason,
    ) {
        let record = self.record(slot, flow);
        if let Some(side) = side {
            let layer = if reason == Reason::Timeout {
                Layer::Stream
            } else {
                Layer::Socket
            };
            record.note_end(side, layer, reason);
        }
        let plain = LogOptions {
            tcplog: true,
            ..LogOptions::default()
        };
        let (options, targets) = match &flow.frontend {
            Some(front) => {
                tally::ended(&self.shared, front, &record, termination);
                (&front.config.log, front.logs.clone())
            }
            None => (&plain, self.shared.global.logs.clone().into()),
        };
        if let Some(level) = log::at_the_end(options, &record, termination) {
            let concurrency = Concurrency {
                process: self.shared.active.get(),
                frontend: flow.frontend.as_ref().map_or(0, |f| f.active.get()),
                backend: flow.backend.as_ref().map_or(0, |b| b.active.get()),
                server: 0,
            };
            let line = StreamLine::new(&record, Some(termination), concurrency, Instant::now());
            let line = line.formatted(options, &record).at(level);
            self.logger.stream(&targets, line);
        }
    }

    /// The flow's record, as the daemon that accepted it would have it now.
    fn record(&self, slot: u32, flow: &Adopted) -> FlowRecord {
        let details = &flow.details;
        let since = Duration::from_nanos(details.accepted);
        let accepted_at = SystemTime::UNIX_EPOCH + since;
        let now = Instant::now();
        let age = accepted_at.elapsed().unwrap_or_default();
        let accepted = now.checked_sub(age).unwrap_or(now);
        let at = |after: u64| (after != NEVER).then(|| accepted + Duration::from_nanos(after));
        let direction = |end: usize| {
            let (user, kernel) = self.moved(slot, flow)[end];
            let direction = DirectionRecord::default();
            direction.path.set(Path::Relay);
            direction.add_user(usize::try_from(user).unwrap_or(usize::MAX));
            direction.attach_kernel(Rc::new(Final(kernel)));
            Rc::new(direction)
        };
        let id = format!(
            "{:X}-{:X}-{:X}",
            details.process,
            since.as_micros(),
            details.number
        );
        let notes = Notes {
            number: self.logger.next_number(),
            destination: Some(flow.ends[0].local),
            source: Some(flow.ends[1].local),
            server: Some(flow.ends[1].remote),
            unique_id: Some(id),
            ..Notes::default()
        };
        let server = text(&details.server);
        let backend_index = flow.backend.as_ref().map(|back| back.index);
        let place = backend_index.zip(flow.server);
        FlowRecord {
            id: details.number,
            client: Endpoint::Inet(flow.ends[0].remote),
            frontend: text(&details.frontend),
            backend: std::cell::OnceCell::from(text(&details.backend)),
            server: std::cell::RefCell::new((!server.is_empty()).then_some(server)),
            times: std::cell::Cell::new(Times {
                accepted_at,
                accepted,
                ready: accepted + Duration::from_nanos(details.ready),
                connecting: at(details.connecting),
                connected: at(details.connected),
            }),
            up: direction(0),
            down: direction(1),
            retries: std::cell::Cell::new(u32::try_from(details.retries).unwrap_or(u32::MAX)),
            backend_index: std::cell::Cell::new(backend_index),
            counted: std::cell::Cell::new(
                self.moved(slot, flow).map(|(user, kernel)| user + kernel),
            ),
            place: std::cell::Cell::new(
                place.map(|(backend, server)| ServerAt { backend, server }),
            ),
            queued: Default::default(),
            redispatched: Default::default(),
            state: Default::default(),
            kill: Default::default(),
            log_level: Default::default(),
            heard: Default::default(),
            secure: Default::default(),
            logged: Default::default(),
            notes: std::cell::RefCell::new(Some(Box::new(notes))),
            why: std::cell::Cell::new(Some(Why::Adopted)),
            ends: Default::default(),
        }
    }
}

/// What another daemon has to know of a flow for its log line.
#[must_use]
pub fn describe(record: &FlowRecord) -> Details {
    let times = record.times.get();
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(NEVER);
    let after = |at: Option<Instant>| at.map_or(NEVER, |at| nanos(at - times.accepted));
    let since = times.accepted_at.duration_since(SystemTime::UNIX_EPOCH);
    Details {
        frontend: name(&record.frontend),
        backend: record.backend.get().map_or_else(Name::default, |n| name(n)),
        server: record
            .server
            .borrow()
            .as_ref()
            .map_or_else(Name::default, |n| name(n)),
        number: record.id,
        process: u64::from(std::process::id()),
        accepted: nanos(since.unwrap_or_default()),
        ready: nanos(times.ready.saturating_duration_since(times.accepted)),
        connecting: after(times.connecting),
        connected: after(times.connected),
        user: [record.up.user_bytes(), record.down.user_bytes()],
        retries: u64::from(record.retries.get()),
    }
}

/// A name as it was stored.
fn text(name: &Name) -> Arc<str> {
    let bytes: Vec<u8> = name.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let end = bytes.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into()
}

/// The side that was idle for too long.
fn idle(engine: &Engine, slot: u32, limits: &IdleLimits) -> Option<Side> {
    let records = &engine.records;
    let (now, now_ns) = (Instant::now(), process::monotonic_ns());
    let active = [0, 1].map(|end| {
        let ago = Duration::from_nanos(now_ns.saturating_sub(records.last_ns(slot, end)));
        now.checked_sub(ago).unwrap_or(now)
    });
    let half_closed = (0..2).any(|end| records.has_ended(slot, end));
    let (at, side) = limits.deadline(active, half_closed)?;
    (at <= now).then_some(side)
}

fn reset_by(side: Side) -> Termination {
    match side {
        Side::Client => Termination::CLIENT_RESET,
        Side::Server => Termination::SERVER_RESET,
    }
}

fn idled(side: Side) -> Termination {
    match side {
        Side::Client => Termination::CLIENT_IDLE,
        Side::Server => Termination::SERVER_IDLE,
    }
}
