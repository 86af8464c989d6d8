//! A worker: one thread, one runtime, its own listening sockets. A connection lives and dies on
//! the worker that accepted it.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::broadcast;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::LocalSet;
use tokio::time::MissedTickBehavior;

use crate::backend::census::SessionRate;
use crate::backend::names::state::SectionState;
use crate::backend::{Backend, Gauge};
use crate::channel::pool::Pool;
use crate::config::model::{self, LogTarget};
use crate::drain::{Drain, Phase};
use crate::handshake::turns::Turns;
use crate::net::accept::Acceptor;
use crate::net::listen::Listening;
use crate::net::places::Places;
use crate::net::valve::{Order, Tap, Valve};
use crate::observe::counters::Counters;
use crate::observe::log::{Concurrency, Logger, StreamLine};
use crate::observe::record::Termination;
use crate::observe::session_view::SessionView;
use crate::offload::Availability;
use crate::rules::run::{Scratch, Setting};
use crate::rules::scene::{Millis, Place};
use crate::rules::table::Tables;
use crate::rules::vars::ProcessVars;
use crate::stream::account::{self, Accounts};
use crate::stream::living::{Living, LivingStream, Whom};
use crate::stream::serve::{self, Accepted};
use crate::stream::tally;
use crate::tls::{BindContext, Contexts};

/// Size of a pipe unless configured. Measured on loopback: 64 KiB costs system calls, 1 MiB leaves
/// the core's cache; both move fewer bytes per second.
const DEFAULT_PIPE: usize = 256 << 10;

/// How often a worker wakes up where nothing else makes it. A timer that is set for a later moment
/// than the next one at which the runtime wakes up anyway costs no system call; an earlier one makes
/// the runtime interrupt itself. As most timeouts are longer than this, nearly no connection does.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// A frontend, as all workers share it.
#[derive(Debug)]
pub struct FrontendState {
    /// Its index among the frontends.
    pub index: usize,
    /// Its section.
    pub config: Arc<model::Frontend>,
    /// Its log targets.
    pub logs: Arc<[LogTarget]>,
    /// Its streams.
    pub active: Arc<Gauge>,
    /// Its `maxconn`.
    pub places: Places,
    /// Opens and closes its addresses.
    pub valve: Valve,
    /// Its `bind` addresses, in order.
    pub binds: Vec<BindState>,
    /// The sessions that it accepts.
    pub rate: SessionRate,
    /// The connections that `rate-limit sessions` has let in.
    pub accepts: SessionRate,
    /// Its counters.
    pub counters: Counters,
}

/// A `bind` address, as all workers share it.
#[derive(Debug)]
pub struct BindState {
    /// Its name in logs: `name`, else its number among the frontend's addresses, from 1.
    pub label: Arc<str>,
    /// `id`, else that number.
    pub id: u32,
    /// Its streams.
    pub active: Arc<Gauge>,
    /// `accept-proxy`.
    pub accept_proxy: bool,
    /// `ssl`.
    pub tls: Option<Arc<BindContext>>,
}

impl FrontendState {
    /// Whether connections have to be looked at by rules.
    #[must_use]
    pub fn has_rules(&self) -> bool {
        let rules = &self.config.rules;
        !(rules.connection.is_empty() && rules.session.is_empty())
    }

    /// Prepares a frontend for use.
    #[must_use]
    pub fn new(index: usize, config: Arc<model::Frontend>, contexts: &Contexts) -> Self {
        let binds = config
            .binds
            .iter()
            .enumerate()
            .map(|(index, bind)| BindState {
                label: bind
                    .name
                    .clone()
                    .unwrap_or_else(|| (index + 1).to_string().into()),
                id: bind
                    .id
                    .unwrap_or_else(|| u32::try_from(index + 1).unwrap_or(u32::MAX)),
                active: Arc::default(),
                accept_proxy: bind.accept_proxy,
                tls: bind.tls.as_ref().map(|settings| contexts.bind(settings)),
            });
        Self {
            index,
            rate: SessionRate::default(),
            accepts: SessionRate::default(),
            counters: Counters::default(),
            binds: binds.collect(),
            logs: config.log.targets.clone().into(),
            active: Arc::default(),
            places: Places::new(config.maxconn),
            valve: Valve::default(),
            config,
        }
    }
}

/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    /// The merged global sections.
    pub global: model::Global,
    /// Frontends, by index.
    pub frontends: Vec<Arc<FrontendState>>,
    /// Backends, by index.
    pub backends: Vec<Arc<Backend>>,
    /// Kernel engines.
    pub availability: Arc<Availability>,
    /// `-dS`: no user-space direction takes a pipe.
    pub no_splice: bool,
    /// Streams of the process.
    pub active: Arc<Gauge>,
    /// The process's `maxconn`.
    pub places: Places,
    /// Its `maxconn` at the start.
    pub most: usize,
    /// How many descriptors the process may have.
    pub files: u64,
    /// How many workers there are.
    pub workers: usize,
    /// The stick tables.
    pub tables: Tables,
    /// The variables of the process.
    pub vars: ProcessVars,
    /// `resolvers` sections.
    pub resolvers: Vec<SectionState>,
    /// The clock of counters and expiry.
    pub clock: Clock,
}

impl Shared {
    /// The backend of this name.
    #[must_use]
    pub fn backend_by_name(&self, name: &[u8]) -> Option<model::BackendId> {
        self.backends
            .iter()
            .position(|backend| backend.config.name.as_bytes() == name)
            .map(model::BackendId)
    }
}

/// Counts milliseconds from its making.
#[derive(Debug)]
pub struct Clock(Instant);

impl Default for Clock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock {
    /// The time.
    #[must_use]
    pub fn now(&self) -> Millis {
        Millis(u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

/// A request to every worker.
#[derive(Debug, Clone)]
pub enum Request {
    /// Write a line per living stream to standard error.
    ShowLiving,
    /// Say what lives here.
    Sessions(UnboundedSender<Vec<SessionView>>),
    /// End streams; how many were ended is the answer.
    Kill(Whom, Termination, UnboundedSender<usize>),
    /// Bring all counters up to now.
    Settle(UnboundedSender<()>),
}

/// What belongs to one worker.
#[derive(Debug)]
pub struct Worker {
    /// Its number, from 0.
    pub number: usize,
    /// What it shares.
    pub shared: Arc<Shared>,
    /// Its spare buffers and pipes.
    pub pool: Rc<Pool>,
    /// Its queue for the cryptography of handshakes.
    pub turns: Turns,
    /// Takes log lines.
    pub logger: Logger,
    /// Its living streams.
    pub living: Rc<Living>,
    /// What rules are evaluated with.
    pub scratch: Scratch,
    /// The streams whose bytes stick tables count.
    pub accounts: Accounts,
    flows: Cell<u64>,
}

impl Worker {
    /// What rules of a frontend are evaluated with now; `bind`: the index of the listening address.
    #[must_use]
    pub fn setting<'a>(&'a self, frontend: &'a FrontendState, bind: usize) -> Setting<'a> {
        let listener = frontend.binds.get(bind);
        Setting {
            scratch: &self.scratch,
            now: self.shared.clock.now(),
            frontend: Place {
                index: frontend.index,
                name: &frontend.config.name,
            },
            listener: listener.map_or((0, ""), |bind| (bind.id, &*bind.label)),
            tables: &self.shared.tables,
            vars: &self.shared.vars,
            census: &*self.shared,
        }
    }

    /// A number no other flow of this process has.
    #[must_use]
    pub fn next_flow_id(&self) -> u64 {
        let count = self.flows.get();
        self.flows.set(count + 1);
        ((self.number as u64) << 48) | count
    }
}

/// Runs a worker until the process stops, or drains and its last stream has ended.
///
/// # Errors
/// When its runtime cannot be built or a listening socket cannot be watched.
pub fn run(
    number: usize,
    shared: Arc<Shared>,
    listening: Vec<Listening>,
    logger: Logger,
    drain: Drain,
    requests: broadcast::Receiver<Request>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let worker = Rc::new(Worker {
        number,
        pool: Rc::new(Pool::new(shared.global.pipesize.unwrap_or(DEFAULT_PIPE))),
        turns: Turns::default(),
        shared,
        logger,
        living: Rc::default(),
        accounts: Accounts::default(),
        scratch: Scratch::new(RandomState::new().hash_one(number)),
        flows: Cell::new(0),
    });
    let local = LocalSet::new();
    local.block_on(&runtime, supervise(&worker, listening, drain, requests))?;
    // Streams that still live are cut: their sockets reset as they are dropped.
    worker.log_killed();
    drop(local);
    Ok(())
}

async fn supervise(
    worker: &Rc<Worker>,
    listening: Vec<Listening>,
    mut drain: Drain,
    mut requests: broadcast::Receiver<Request>,
) -> io::Result<()> {
    let mut acceptors = tokio::task::JoinSet::new();
    for listening in listening {
        let acceptor = Acceptor::new(listening)?;
        acceptors.spawn_local(attend(worker.clone(), acceptor));
    }
    let mut draining = drain.clone();
    let mut is_draining = false;
    let counts = worker.shared.tables.iter().next().is_some();
    let mut heartbeat = tokio::time::interval(if counts { account::INTERVAL } else { HEARTBEAT });
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = drain.reached(Phase::Stopping) => return Ok(()),
            () = draining.reached(Phase::Draining), if !is_draining => {
                is_draining = true;
                // Closes the listening sockets; what waits in their backlog is refused.
                acceptors.shutdown().await;
            }
            () = worker.shared.idle(), if is_draining => return Ok(()),
            _ = heartbeat.tick() => {
                if counts {
                    worker.account();
                }
            }
            request = requests.recv() => match request {
                Ok(request) => worker.obey(request),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            },
        }
    }
}

impl Shared {
    /// Waits until no stream lives in the process.
    async fn idle(&self) {
        // Looked at now and then only while the process drains: not worth a notification at the
        // end of every stream.
        while self.active.get() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Worker {
    /// Lets the stick tables know of bytes that have moved, and of the time.
    fn account(&self) {
        let now = self.shared.clock.now();
        self.accounts.settle(now);
        if self.number == 0 {
            self.shared.tables.expire(now);
        }
    }

    /// Answers whose asker is gone are not missed.
    fn obey(&self, request: Request) {
        match request {
            Request::ShowLiving => self.show_living(),
            Request::Sessions(answer) => {
                let now = Instant::now();
                let living = self.living.list();
                let views = living.iter().map(|stream| SessionView::of(stream, now));
                let _ = answer.send(views.collect());
            }
            Request::Kill(whom, termination, answer) => {
                let _ = answer.send(self.living.kill(whom, termination));
            }
            Request::Settle(answer) => {
                self.accounts.settle(self.shared.clock.now());
                for LivingStream { record, frontend } in &self.living.list() {
                    tally::bytes(&self.shared, frontend, record);
                }
                let _ = answer.send(());
            }
        }
    }

    fn show_living(&self) {
        for LivingStream { record, frontend } in &self.living.list() {
            let line = StreamLine::new(record, None, self.concurrency(frontend), Instant::now());
            self.logger.live(line);
        }
    }

    fn log_killed(&self) {
        for LivingStream { record, frontend } in &self.living.list() {
            // What goes on without us is logged by whoever takes it over.
            let goes_on = record.up.outlives();
            if frontend.config.log.tcplog && !record.logged.get() && !goes_on {
                let line = StreamLine::new(
                    record,
                    Some(Termination::KILLED),
                    self.concurrency(frontend),
                    Instant::now(),
                )
                .formatted(&frontend.config.log, record);
                self.logger.stream(&frontend.logs, line);
            }
        }
    }

    fn concurrency(&self, frontend: &FrontendState) -> Concurrency {
        Concurrency {
            process: self.shared.active.get(),
            frontend: frontend.active.get(),
            ..Concurrency::default()
        }
    }
}

/// Serves one listening socket for as long as it is not cancelled, open or closed as the frontend's valve says.
async fn attend(worker: Rc<Worker>, mut acceptor: Acceptor) {
    let frontend = worker.shared.frontends[acceptor.frontend].clone();
    let mut tap = frontend.valve.tap();
    loop {
        match tap.order() {
            Order::Open => {
                tap.obeyed();
                if let Err(error) = accept(&worker, &frontend, &mut acceptor, &mut tap).await {
                    tracing::error!(frontend = %frontend.config.name, %error, "a listener failed");
                    return;
                }
            }
            Order::Paused => {
                let listening = acceptor.into_listening();
                listening.pause();
                let next = loop {
                    tap.obeyed();
                    tap.turned().await;
                    match tap.order() {
                        Order::Paused => {}
                        next => break next,
                    }
                };
                if next == Order::Stopped {
                    drop(listening);
                    tap.obeyed();
                    return;
                }
                let resumed = listening.resume().and_then(|()| Acceptor::new(listening));
                match resumed {
                    Ok(resumed) => acceptor = resumed,
                    Err(error) => {
                        let name = &frontend.config.name;
                        tracing::error!(frontend = %name, %error, "a listener did not come back");
                        return;
                    }
                }
            }
            Order::Stopped => {
                drop(acceptor);
                tap.obeyed();
                return;
            }
        }
    }
}

/// Accepts until there is another order.
async fn accept(
    worker: &Rc<Worker>,
    frontend: &Arc<FrontendState>,
    acceptor: &mut Acceptor,
    tap: &mut Tap<'_>,
) -> io::Result<()> {
    loop {
        let next = async {
            // Who has nobody to accept holds no place: the next connection may be another worker's.
            acceptor.ready().await?;
            // Over a limit connections stay in the kernel's backlog: nobody is refused. The process's places come
            // last, so that a full frontend does not hold any of them.
            let own = match &acceptor.places {
                Some(places) => places.take().await,
                None => None,
            };
            let frontends = frontend.places.take().await;
            let permits = [own, frontends, worker.shared.places.take().await];
            let accepted = acceptor.accept().await?;
            io::Result::Ok(accepted.map(|accepted| (permits, accepted)))
        };
        let next = tokio::select! {
            biased;
            () = tap.turned() => return Ok(()),
            next = next => next?,
        };
        let Some((permits, (socket, peer))) = next else {
            continue;
        };
        frontend.counters.connections.one();
        if let Some(most) = frontend.config.session_rate {
            let clock = &worker.shared.clock;
            while let Err(wait) = frontend.accepts.admit(most, clock.now()) {
                tokio::time::sleep(wait).await;
            }
        }
        let accepted = Accepted {
            socket,
            peer,
            ctrl: acceptor.ctrl,
            prepared: acceptor.prepared,
            frontend: frontend.clone(),
            bind: acceptor.bind,
            permits,
        };
        tokio::task::spawn_local(serve::stream(worker.clone(), accepted));
    }
}
