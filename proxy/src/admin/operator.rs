//! What those beside the workers can do to the running proxy: look at its streams, end them, and
//! change the standing of servers. All changes of servers are made here, on one thread.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, broadcast, mpsc};

use crate::backend::health::status::{Outcome, Verdict};
use crate::backend::health::wording::{self, Cause, LEVEL_EMERGENCY, Left, Title};
use crate::backend::names::machine::errand::Errand;
use crate::backend::standing::{Admin, Effects, Finding, Op, Order, Which};
use crate::backend::{Backend, Server};
use crate::config::model::{LogTarget, ServerAddress};
use crate::observe::log::{LEVEL_NOTICE, Logger};
use crate::observe::record::Termination;
use crate::observe::session_view::SessionView;
use crate::rules::scene::Millis;
use crate::stream::living::{ServerAt, Whom};
use crate::worker::{Request, Shared};

/// A change of a server's standing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Its operational state is another, whatever its checks have found; `why` is the middle of
    /// the log line.
    Op {
        /// The state.
        op: Op,
        /// Why, in HAProxy's words and without the server's name.
        why: String,
    },
    /// As [`Change::Op`], in the place of its agent.
    AgentOp {
        /// The state.
        op: Op,
        /// Why, in HAProxy's words and without the server's name.
        why: String,
    },
    /// Bits of the administrative state.
    Admin {
        /// To set.
        set: Admin,
        /// To clear.
        clear: Admin,
        /// What is said of why; may be empty.
        why: String,
    },
    /// One of its checks is made, or not.
    Checks(Which, bool),
    /// Another weight, 0 to 256.
    Weight(u16),
    /// Another address.
    Address(SocketAddr),
}

/// Since when a backend has, or has not, had a server, and how long it had none before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Availability {
    /// When that last changed.
    pub changed: Millis,
    /// How long it had none, milliseconds, until it last had one again.
    pub down_before: u64,
    /// Whether it has one.
    pub down: bool,
}

impl Availability {
    /// How long it has had no server, milliseconds.
    #[must_use]
    pub fn downtime(&self, now: Millis) -> u64 {
        let current = if self.down {
            now.0.saturating_sub(self.changed.0)
        } else {
            0
        };
        self.down_before + current
    }
}

/// A backend, as its servers' changes are told.
#[derive(Debug)]
struct Telling {
    targets: Arc<[LogTarget]>,
    /// HAProxy's word for its section.
    kind: &'static str,
    availability: Cell<Availability>,
}

/// Reaches the running proxy.
#[derive(Debug)]
pub struct Operator {
    /// What the workers share.
    pub shared: Arc<Shared>,
    /// Takes log lines.
    pub logger: Logger,
    /// When the process was ready.
    pub started: Instant,
    requests: broadcast::Sender<Request>,
    /// By backend.
    telling: Vec<Telling>,
    /// Who tracks a server.
    followers: HashMap<ServerAt, Vec<ServerAt>>,
    /// Servers that warm up.
    warming: RefCell<Vec<ServerAt>>,
    warming_began: Notify,
    errands: mpsc::UnboundedSender<Errand>,
    /// Until somebody resolves names.
    pending_errands: RefCell<Option<mpsc::UnboundedReceiver<Errand>>>,
}

impl Operator {
    /// Reaches workers by `requests`.
    #[must_use]
    pub fn new(shared: Arc<Shared>, logger: Logger, requests: broadcast::Sender<Request>) -> Self {
        let mut followers: HashMap<ServerAt, Vec<ServerAt>> = HashMap::new();
        for at in places(&shared) {
            let health = &shared.backends[at.backend].servers[at.server].config.health;
            if let Some(track) = &health.track {
                let leader = ServerAt {
                    backend: track.backend.0,
                    server: track.server,
                };
                followers.entry(leader).or_default().push(at);
            }
        }
        let telling = shared.backends.iter().map(|backend| {
            let mut fronts = shared.frontends.iter();
            let listen = fronts.any(|front| {
                let own = front.config.own_backend;
                own.is_some_and(|own| own.0 == backend.index)
            });
            Telling {
                targets: backend.config.log.targets.clone().into(),
                kind: if listen { "proxy" } else { "backend" },
                availability: Cell::new(Availability {
                    down: servers_left(backend) == (0, 0),
                    ..Availability::default()
                }),
            }
        });
        let (errands, pending_errands) = mpsc::unbounded_channel();
        Self {
            errands,
            pending_errands: RefCell::new(Some(pending_errands)),
            telling: telling.collect(),
            followers,
            shared,
            logger,
            started: Instant::now(),
            requests,
            warming: RefCell::default(),
            warming_began: Notify::new(),
        }
    }

    /// A backend and its server.
    #[must_use]
    pub fn server(&self, at: ServerAt) -> Option<(&Arc<Backend>, &Arc<Server>)> {
        let backend = self.shared.backends.get(at.backend)?;
        Some((backend, backend.servers.get(at.server)?))
    }

    /// Every server, in the order of the configuration.
    pub fn servers(&self) -> impl Iterator<Item = ServerAt> + '_ {
        places(&self.shared)
    }

    /// Since when a backend has had a server, or none.
    #[must_use]
    pub fn availability(&self, backend: usize) -> Availability {
        let telling = self.telling.get(backend);
        telling.map_or_else(Availability::default, |telling| telling.availability.get())
    }

    /// Changes a server's standing, and does what follows from it: balance, queues, log lines,
    /// the streams that it serves, the servers that track it. False: there is no such server.
    pub fn change(&self, at: ServerAt, change: &Change) -> bool {
        let Some((backend, server)) = self.server(at) else {
            return false;
        };
        match change {
            Change::Op { op, why } => self.overrule(at, Which::Server, *op, why),
            Change::AgentOp { op, why } => self.overrule(at, Which::Agent, *op, why),
            Change::Admin { set, clear, why } => {
                let cause = Cause::Words(why.clone());
                for flag in set.iter() {
                    self.order(at, Order::Set(flag), &cause);
                }
                // Maintenance last: what is said then is how the server comes out of it.
                let (drain, other) = (*clear & Admin::DRAIN, *clear - Admin::DRAIN);
                for flag in drain.iter().chain(other.iter()) {
                    self.order(at, Order::Clear(flag), &cause);
                }
            }
            Change::Checks(which, enabled) => {
                if let Some(probe) = server.standing().probe_mut(*which) {
                    probe.enabled = *enabled;
                }
            }
            Change::Weight(weight) => {
                let before = servers_left(backend);
                server.standing().weight = *weight;
                self.apply(at, before);
            }
            Change::Address(address) => {
                let place = server.address.write();
                *place.unwrap_or_else(PoisonError::into_inner) = ServerAddress::Inet(*address);
            }
        }
        true
    }

    /// What those who resolve names are asked for; once.
    #[must_use]
    pub fn take_errands(&self) -> mpsc::UnboundedReceiver<Errand> {
        let pending = self.pending_errands.take();
        pending.unwrap_or_else(|| mpsc::unbounded_channel().1)
    }

    /// Asks for something of those who resolve names.
    fn send(&self, errand: Errand) {
        // They end with the process.
        let _ = self.errands.send(errand);
    }

    /// A server whose name is resolved stands for another host from now on.
    pub fn rename(&self, at: ServerAt, host: Arc<str>) {
        if let Some((_, server)) = self.server(at) {
            server.set_fqdn(Some(Arc::clone(&host)));
            self.send(Errand::Rename(at, host));
        }
    }

    /// A server's agent asks for another limit of streams.
    pub fn limit(&self, at: ServerAt, limit: u32) {
        if let Some((backend, _)) = self.server(at) {
            backend.set_limit(at.server, (limit > 0).then_some(limit));
        }
    }

    fn overrule(&self, at: ServerAt, which: Which, op: Op, why: &str) {
        if let Some((_, server)) = self.server(at) {
            server.standing().overrule(which, op);
        }
        self.order(at, Order::Op(op), &Cause::Words(why.to_owned()));
    }

    /// A server's check, or its agent's, has ended.
    pub fn checked(&self, at: ServerAt, which: Which, verdict: Verdict) {
        let Some((_, server)) = self.server(at) else {
            return;
        };
        let passed = matches!(
            verdict.status.outcome(),
            Outcome::Passed | Outcome::PassedWith
        );
        if let Some(observer) = server.observer.as_ref().filter(|_| passed) {
            observer.forget();
        }
        let failed = verdict.status.outcome() == Outcome::Failed;
        if failed && which == Which::Server && server.config.naming.resolvers.is_some() {
            self.send(Errand::Doubt(at));
        }
        let finding = server.standing().found(which, verdict);
        self.follow_up(at, which, &finding);
    }

    /// Too many streams of a server have failed in a row.
    pub fn observed(&self, at: ServerAt, count: u32) {
        let Some((_, server)) = self.server(at) else {
            return;
        };
        if let Some(observer) = &server.observer {
            server.counters.observed_failures.one();
            let finding = server.standing().observed(observer.then(), count);
            self.follow_up(at, Which::Server, &finding);
        }
    }

    fn follow_up(&self, at: ServerAt, which: Which, finding: &Finding) {
        let Some((backend, server)) = self.server(at) else {
            return;
        };
        if finding.counts {
            server.counters.failed_checks.one();
            backend.counters.failed_checks.one();
        }
        let logs_checks = backend.config.health.log;
        let (line, cause) = {
            let standing = server.standing();
            let Some(probe) = standing.probe(which) else {
                return;
            };
            let line = (logs_checks && finding.told)
                .then(|| wording::check(&title(backend, server), which, probe, standing.weight));
            // A check that has a line of its own is not told again.
            let told = logs_checks || server.config.health.track.is_some();
            let cause = if told {
                Cause::Silent
            } else {
                Cause::Check(probe.verdict.clone())
            };
            (line, cause)
        };
        if let Some(line) = line {
            self.tell(at.backend, LEVEL_NOTICE, line);
        }
        let held_down = matches!(finding.order, Some(Order::Op(Op::Running)))
            && self.leader(server) == Some(Op::Stopped);
        if let Some(order) = finding.order.filter(|_| !held_down) {
            self.order(at, order, &cause);
        }
    }

    /// The state of the server that this one tracks.
    fn leader(&self, server: &Server) -> Option<Op> {
        let track = server.config.health.track.as_ref()?;
        let (_, leader) = self.server(ServerAt {
            backend: track.backend.0,
            server: track.server,
        })?;
        Some(leader.standing().op)
    }

    /// Has a server obey, and does what follows.
    fn order(&self, at: ServerAt, order: Order, cause: &Cause) {
        let Some((backend, server)) = self.server(at) else {
            return;
        };
        let leader = self.leader(server);
        let before = servers_left(backend);
        let effects = server
            .standing()
            .obey(order, self.shared.clock.now(), leader);
        if !effects.changed {
            return;
        }
        // What workers do comes first: a line tells what has happened.
        let left = self.take(at, backend, server);
        self.tell_news(at, &effects, cause, left);
        if effects.ends_streams {
            self.kill_later(Whom::Server(at), Termination::SERVER_DOWN);
        }
        if effects.ends_backup_streams {
            self.end_backup_streams(backend);
        }
        if effects.went_down {
            server.counters.went_down.one();
        }
        if effects.warms_up {
            self.warming.borrow_mut().push(at);
            self.warming_began.notify_one();
        }
        self.note_availability(backend, before);
        if let Some(order) = effects.follow {
            let cause = match (order, cause) {
                (Order::Set(_) | Order::Clear(_), Cause::Words(_)) => cause.clone(),
                _ => Cause::Silent,
            };
            // The last one in the configuration is told first, as HAProxy does.
            for follower in self.followers.get(&at).into_iter().flatten().rev() {
                self.order(*follower, order, &cause);
            }
        }
    }

    /// Brings a server's standing into effect.
    fn apply(&self, at: ServerAt, before: (usize, usize)) {
        if let Some((backend, server)) = self.server(at) {
            self.take(at, backend, server);
            self.note_availability(backend, before);
        }
    }

    /// Tells the workers what a server takes. Returns what is left of its backend.
    fn take(&self, at: ServerAt, backend: &Arc<Backend>, server: &Server) -> Left {
        let takes = server.standing().takes();
        let requeued = backend.apply(at.server, takes);
        let (active, backup) = servers_left(backend);
        let queued = backend.load(at.server).map_or(0, |load| load.queued.into());
        Left {
            active,
            backup,
            sessions: server.active.get(),
            requeued,
            queued,
        }
    }

    fn tell_news(&self, at: ServerAt, effects: &Effects, cause: &Cause, left: Left) {
        let Some((backend, server)) = self.server(at) else {
            return;
        };
        let standing = server.standing().clone();
        for news in &effects.news {
            let title = title(backend, server);
            let (level, line) = wording::change(&title, *news, &standing, cause, left);
            self.tell(at.backend, level, line);
        }
    }

    fn end_backup_streams(&self, backend: &Backend) {
        for server in backend.servers.iter().filter(|s| s.config.backup) {
            let at = ServerAt {
                backend: backend.index,
                server: server.index,
            };
            self.kill_later(Whom::Server(at), Termination::BACKUP_LEFT);
        }
    }

    /// A backend may have lost its last server, or got its first one.
    fn note_availability(&self, backend: &Backend, before: (usize, usize)) {
        let Some(telling) = self.telling.get(backend.index) else {
            return;
        };
        let after = servers_left(backend);
        let now = self.shared.clock.now();
        let mut availability = telling.availability.get();
        match (before == (0, 0), after == (0, 0)) {
            (false, true) => {
                availability.down = true;
                availability.changed = now;
                backend.counters.went_down.one();
                let line = wording::no_server(telling.kind, &backend.config.name);
                self.tell(backend.index, LEVEL_EMERGENCY, line);
            }
            (true, false) => {
                availability.down_before = availability.downtime(now);
                availability.down = false;
                availability.changed = now;
            }
            _ => return,
        }
        telling.availability.set(availability);
    }

    /// Logs a line about a server of the backend of this index.
    pub fn tell(&self, backend: usize, level: u8, line: String) {
        if let Some(telling) = self.telling.get(backend) {
            tracing::debug!("{line}");
            self.logger.text(&telling.targets, level, line);
        }
    }

    /// Warms servers up for as long as the process serves.
    pub async fn warm_up(&self) {
        loop {
            let step = {
                let warming = self.warming.borrow();
                let steps = warming.iter().filter_map(|at| {
                    let (_, server) = self.server(*at)?;
                    Some(server.standing().warm_up_step())
                });
                steps.min()
            };
            match step {
                None => self.warming_began.notified().await,
                Some(step) => {
                    tokio::select! {
                        () = tokio::time::sleep(std::time::Duration::from_millis(step)) => {}
                        () = self.warming_began.notified() => continue,
                    }
                    let all = self.warming.take();
                    let warm = all.into_iter().filter(|at| self.warm_up_a_little(*at));
                    let mut still: Vec<_> = warm.collect();
                    still.sort_unstable();
                    still.dedup();
                    self.warming.borrow_mut().append(&mut still);
                }
            }
        }
    }

    /// False: the server is not warming up any more.
    fn warm_up_a_little(&self, at: ServerAt) -> bool {
        let Some((backend, server)) = self.server(at) else {
            return false;
        };
        let before = servers_left(backend);
        let still = server.standing().warm_up(self.shared.clock.now());
        self.apply(at, before);
        still
    }

    /// Every living stream, by number.
    pub async fn sessions(&self) -> Vec<SessionView> {
        let mut all: Vec<_> = self
            .ask(Request::Sessions)
            .await
            .into_iter()
            .flatten()
            .collect();
        all.sort_unstable_by_key(|view: &SessionView| view.id);
        all
    }

    /// Ends streams. Returns how many were told to end.
    pub async fn kill(&self, whom: Whom, termination: Termination) -> usize {
        let answers = self.ask(|answer| Request::Kill(whom, termination, answer));
        answers.await.into_iter().sum()
    }

    /// As [`Operator::kill`], without waiting for it.
    pub fn kill_later(&self, whom: Whom, termination: Termination) {
        let (answer, _) = mpsc::unbounded_channel();
        // No worker: nothing lives.
        let _ = self.requests.send(Request::Kill(whom, termination, answer));
    }

    /// Brings the byte counters of living streams up to now.
    pub async fn settle(&self) {
        self.ask(Request::Settle).await;
    }

    /// Asks every worker. Those that end meanwhile do not answer.
    async fn ask<A>(&self, request: impl FnOnce(mpsc::UnboundedSender<A>) -> Request) -> Vec<A> {
        let (answer, mut answers) = mpsc::unbounded_channel();
        let mut all = Vec::new();
        // No worker: no answer.
        let _ = self.requests.send(request(answer));
        while let Some(one) = answers.recv().await {
            all.push(one);
        }
        all
    }

    /// Waits until no worker lives.
    pub async fn workers_ended(&self) {
        self.requests.closed().await;
    }
}

/// Every server.
fn places(shared: &Shared) -> impl Iterator<Item = ServerAt> + '_ {
    shared.backends.iter().flat_map(|backend| {
        let servers = 0..backend.servers.len();
        servers.map(|server| ServerAt {
            backend: backend.index,
            server,
        })
    })
}

/// Servers that take new streams: those that are no backup servers, and those that are.
fn servers_left(backend: &Backend) -> (usize, usize) {
    let mut left = (0, 0);
    for server in &backend.servers {
        let takes = server.standing().takes().weight > 0;
        match (takes, server.config.backup) {
            (true, false) => left.0 += 1,
            (true, true) => left.1 += 1,
            (false, _) => {}
        }
    }
    left
}

fn title<'a>(backend: &'a Backend, server: &'a Server) -> Title<'a> {
    let track = server.config.health.track.as_ref();
    Title {
        backend: &backend.config.name,
        server: &server.config.name,
        backup: server.config.backup,
        tracks: track.map(|track| &*track.name),
        host: server.fqdn(),
    }
}
