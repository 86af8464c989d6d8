//! Health checks: finds out whether servers serve.
//!
//! What a check does is a script, run by a machine without I/O ([`script`]); [`visit`] does the
//! I/O for it. What its outcome means for the server is decided by
//! [`Standing`](super::standing::Standing), and
//! [`Operator`](crate::admin::operator::Operator) does what follows.

pub mod agent;
pub mod meter;
pub mod observe;
pub mod schedule;
pub mod script;
pub mod status;
pub mod visit;
pub mod wording;

use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::standing::probe::Probe;
use super::standing::{Admin, Which};
use super::{Backend, Server};
use crate::admin::operator::{Change, Operator};
use crate::channel::pool::Pool;
use crate::config::model::check::Script;
use crate::handshake::turns::Turns;
use crate::stream::living::ServerAt;
use agent::{Said, Wish};
use visit::{Means, Visit};

/// Pipes are not used by checks.
const NO_PIPES: usize = 4096;

/// Checks servers for as long as the process serves.
pub async fn run(operator: Rc<Operator>) {
    let means = Rc::new(Means {
        pool: Rc::new(Pool::new(NO_PIPES)),
        turns: Turns::default(),
    });
    let global = &operator.shared.global;
    let rounds = rounds(&operator);
    let intervals: Vec<_> = rounds.iter().map(|round| round.interval).collect();
    let starts = schedule::starts(&intervals, global.max_spread_checks);
    let mut tasks = JoinSet::new();
    for (round, start) in rounds.into_iter().zip(starts) {
        let operator = Rc::clone(&operator);
        let means = Rc::clone(&means);
        tasks.spawn_local(async move { round.go(&operator, &means, start).await });
    }
    tokio::join!(operator.warm_up(), async {
        while tasks.join_next().await.is_some() {}
    });
}

/// The checks to make, in the order of the configuration.
fn rounds(operator: &Operator) -> Vec<Round> {
    let mut rounds = Vec::new();
    for at in operator.servers() {
        let Some((backend, server)) = operator.server(at) else {
            continue;
        };
        if backend.config.disabled {
            continue;
        }
        let health = &server.config.health;
        let mut add = |which, interval, script| {
            rounds.push(Round {
                at,
                which,
                backend: Arc::clone(backend),
                server: Arc::clone(server),
                interval,
                script,
            });
        };
        if let Some(check) = &health.check {
            let script = Arc::clone(&backend.config.health.script);
            add(Which::Server, check.intervals.usual, script);
        }
        if let Some(agent) = &health.agent {
            add(Which::Agent, agent.interval, visit::agent_script(agent));
        }
    }
    rounds
}

/// A check that is made again and again.
struct Round {
    at: ServerAt,
    which: Which,
    backend: Arc<Backend>,
    server: Arc<Server>,
    interval: Duration,
    script: Arc<Script>,
}

impl Round {
    async fn go(&self, operator: &Operator, means: &Means, start: Duration) {
        let random = RandomState::new();
        let mut count = 0_u64;
        let mut next = Instant::now() + start;
        loop {
            tokio::select! {
                () = sleep_until(next) => {}
                errors = self.tripped() => {
                    next = next.min(self.observed(operator, errors));
                    continue;
                }
            }
            if !self.runs() {
                // As often as it would be made.
                next = Instant::now() + self.interval;
                continue;
            }
            let visit = Visit {
                backend: &self.backend.config,
                server: &self.server,
                script: &self.script,
                of_agent: self.which == Which::Agent,
                interval: self.interval,
            };
            let making = visit::make(&visit, means);
            tokio::pin!(making);
            let (verdict, said) = loop {
                tokio::select! {
                    found = &mut making => break found,
                    // What streams find out meanwhile counts too.
                    errors = self.tripped() => { self.observed(operator, errors); }
                }
            };
            self.obey(operator, &said);
            operator.checked(self.at, self.which, verdict);
            count += 1;
            let percent = operator.shared.global.spread_checks;
            let wait = schedule::spread(self.wait(), percent, random.hash_one(count));
            next = Instant::now() + wait;
        }
    }

    /// Waits until too many streams have failed, where that is watched.
    async fn tripped(&self) -> u32 {
        match &self.server.observer {
            Some(observer) if self.which == Which::Server => observer.tripped().await,
            _ => std::future::pending().await,
        }
    }

    /// Acts on that. Returns when the next check should be made.
    fn observed(&self, operator: &Operator, errors: u32) -> Instant {
        operator.observed(self.at, errors);
        let standing = self.server.standing();
        let fast = standing.probe(self.which).and_then(Probe::fast_interval);
        Instant::now() + fast.map_or(Duration::MAX / 4, Duration::from_millis)
    }

    fn runs(&self) -> bool {
        let standing = self.server.standing();
        standing.probe(self.which).is_some_and(Probe::runs)
    }

    fn wait(&self) -> Duration {
        let standing = self.server.standing();
        Duration::from_millis(standing.interval(self.which))
    }

    /// Does what an agent asks for, in HAProxy's order: state, weight, limit.
    fn obey(&self, operator: &Operator, said: &Said) {
        let admin = |set, clear| Change::Admin {
            set,
            clear,
            why: String::new(),
        };
        match said.wish {
            None => {}
            Some(Wish::Ready) => {
                let all = Admin::FORCED_MAINT | Admin::FORCED_DRAIN;
                operator.change(self.at, &admin(Admin::empty(), all));
            }
            Some(Wish::Drain) => {
                // Not both: a server that is drained is not in maintenance.
                operator.change(self.at, &admin(Admin::FORCED_DRAIN, Admin::FORCED_MAINT));
            }
            Some(Wish::Maint) => {
                operator.change(self.at, &admin(Admin::FORCED_MAINT, Admin::FORCED_DRAIN));
            }
        }
        if let Some(percent) = said.percent {
            let line = u64::from(self.server.config.weight);
            let weight = (line * u64::from(percent) / 100).min(256);
            let weight = u16::try_from(weight).unwrap_or(256);
            operator.change(self.at, &Change::Weight(weight));
        }
        if let Some(limit) = said.maxconn {
            operator.limit(self.at, limit);
        }
    }
}
