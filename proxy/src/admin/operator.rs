//! What those beside the workers can do to the running proxy: look at its streams, end them, and
//! change the standing of servers. All changes of servers are made here, on one thread.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use tokio::sync::{broadcast, mpsc};

use crate::backend::standing::{Admin, Op};
use crate::backend::{Backend, Server};
use crate::config::model::ServerAddress;
use crate::observe::log::Logger;
use crate::observe::record::Termination;
use crate::observe::session_view::SessionView;
use crate::stream::living::{ServerAt, Whom};
use crate::worker::{Request, Shared};

/// A change of a server's standing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Its operational state is another, as checks found; `why` is the middle of the log line.
    Op {
        /// The state.
        op: Op,
        /// What was found: HAProxy's words, without the server's name.
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
    /// Another weight, 0 to 256.
    Weight(u16),
    /// Another address.
    Address(SocketAddr, &'static str),
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
}

impl Operator {
    /// Reaches workers by `requests`.
    #[must_use]
    pub fn new(shared: Arc<Shared>, logger: Logger, requests: broadcast::Sender<Request>) -> Self {
        Self {
            shared,
            logger,
            started: Instant::now(),
            requests,
        }
    }

    /// A backend and its server.
    #[must_use]
    pub fn server(&self, at: ServerAt) -> Option<(&Arc<Backend>, &Arc<Server>)> {
        let backend = self.shared.backends.get(at.backend)?;
        Some((backend, backend.servers.get(at.server)?))
    }

    /// Changes a server's standing, and does what follows from it: balance, queues, log lines,
    /// the streams that it serves, the servers that track it. False: there is no such server.
    pub fn change(&self, at: ServerAt, change: &Change) -> bool {
        let Some((backend, server)) = self.server(at) else {
            return false;
        };
        let takes = {
            let mut standing = server
                .standing
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            match change {
                Change::Op { op, .. } => standing.op = *op,
                Change::Admin { set, clear, .. } => {
                    standing.admin.insert(*set);
                    standing.admin.remove(*clear);
                }
                Change::Weight(weight) => standing.weight = *weight,
                Change::Address(address, _) => {
                    let mut place = server
                        .address
                        .write()
                        .unwrap_or_else(PoisonError::into_inner);
                    *place = ServerAddress::Inet(*address);
                }
            }
            standing.changed = self.shared.clock.now();
            standing.takes()
        };
        backend.apply(at.server, takes);
        true
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
