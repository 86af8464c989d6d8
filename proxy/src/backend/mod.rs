//! Backends and their servers, as all workers share them.

pub mod balance;
pub mod census;
pub mod health;
pub mod names;
pub mod standing;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::config::model::{self, ServerAddress};
use crate::observe::counters::Counters;
use crate::tls::{Contexts, ServerContext};
use balance::roundrobin::RoundRobin;
use census::SessionRate;
use health::observe::Observer;
use standing::{Standing, Takes};

/// Counts living things; a [`Held`] takes its one back when it is dropped.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// One more, until the guard is dropped.
    #[must_use]
    pub fn hold(self: &Arc<Self>) -> Held {
        self.0.fetch_add(1, Ordering::Relaxed);
        Held(self.clone())
    }

    /// How many there are.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One unit of a [`Gauge`].
#[derive(Debug)]
pub struct Held(Arc<Gauge>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A server and its connections.
#[derive(Debug)]
pub struct Server {
    /// Its line.
    pub config: model::Server,
    /// Streams that it serves or is being connected for.
    pub active: Arc<Gauge>,
    /// `ssl`.
    pub tls: Option<Arc<ServerContext>>,
    /// Its `id`, or its number in its backend, from 1: what stick tables remember.
    pub id: u32,
    /// Its place in its backend.
    pub index: usize,
    /// Where it is now.
    pub address: RwLock<ServerAddress>,
    /// Its state. Only [`crate::admin::operator::Operator`] changes it.
    pub standing: Mutex<Standing>,
    /// The streams that it gets.
    pub rate: SessionRate,
    /// Its counters.
    pub counters: Counters,
    /// `observe`.
    pub observer: Option<Observer>,
    /// How its checks speak TLS.
    pub check_tls: Option<Arc<ServerContext>>,
    /// What its standing comes to, for workers.
    open: AtomicBool,
}

impl Server {
    /// Whether streams that have to go there may.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Where it is now.
    #[must_use]
    pub fn address(&self) -> ServerAddress {
        let address = self.address.read();
        address.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A backend and its connections.
#[derive(Debug)]
pub struct Backend {
    /// Its index among the backends.
    pub index: usize,
    /// Its section.
    pub config: model::Backend,
    /// Its servers.
    pub servers: Vec<Arc<Server>>,
    /// Streams that it serves.
    pub active: Arc<Gauge>,
    /// The sessions that it gets.
    pub rate: SessionRate,
    /// Its counters.
    pub counters: Counters,
    balance: Mutex<RoundRobin>,
}

impl Backend {
    /// Prepares a backend for use.
    #[must_use]
    pub fn new(index: usize, config: model::Backend, contexts: &Contexts) -> Self {
        let servers: Vec<_> = config
            .servers
            .iter()
            .enumerate()
            .map(|(index, server)| {
                let standing = Standing::new(server);
                Arc::new(Server {
                    open: AtomicBool::new(standing.takes().open),
                    standing: Mutex::new(standing),
                    address: RwLock::new(server.address.clone()),
                    rate: SessionRate::default(),
                    counters: Counters::default(),
                    index,
                    id: server
                        .id
                        .unwrap_or_else(|| u32::try_from(index + 1).unwrap_or(u32::MAX)),
                    config: server.clone(),
                    active: Arc::default(),
                    observer: server.health.observe.map(Observer::new),
                    check_tls: server
                        .health
                        .check
                        .as_ref()
                        .and_then(|check| check.tls.as_ref())
                        .map(|settings| contexts.server(settings)),
                    tls: server
                        .tls
                        .as_ref()
                        .map(|settings| contexts.server(settings)),
                })
            })
            .collect();
        // Backup servers take over only when no other server may.
        let usable = |backup: bool| {
            config
                .servers
                .iter()
                .enumerate()
                .filter(move |(_, server)| !server.disabled && server.backup == backup)
                .map(|(at, server)| (at, u32::from(server.weight)))
        };
        let mut weights: Vec<(usize, u32)> = usable(false).collect();
        if weights.iter().all(|(_, weight)| *weight == 0) {
            // Without `option allbackups` only the first backup server is used.
            weights = usable(true).take(1).collect();
        }
        Self {
            index,
            servers,
            active: Arc::default(),
            rate: SessionRate::default(),
            counters: Counters::default(),
            balance: Mutex::new(RoundRobin::new(weights)),
            config,
        }
    }

    /// From now on a server takes this.
    pub fn apply(&self, server: usize, takes: Takes) {
        if let Some(server) = self.servers.get(server) {
            server.open.store(takes.open, Ordering::Relaxed);
        }
    }

    /// The server that stick tables know by this number.
    #[must_use]
    pub fn by_id(&self, id: u64) -> Option<Arc<Server>> {
        self.servers
            .iter()
            .find(|server| u64::from(server.id) == id)
            .cloned()
    }

    /// The next server in turn; `None` when there is none to choose.
    #[must_use]
    pub fn choose(&self) -> Option<Arc<Server>> {
        // The state is whole after every choice, so a panic elsewhere leaves it usable.
        let at = self
            .balance
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next()?;
        self.servers.get(at).cloned()
    }
}
