//! Backends and their servers, as all workers share them.

pub mod balance;
pub mod census;
pub mod dispatch;
pub mod health;
pub mod names;
pub mod place;
pub mod standing;
pub mod wary;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::config::model::names::HostName;
use crate::config::model::{self, ServerAddress};
use crate::observe::counters::Counters;
use crate::tls::{Contexts, ServerContext};
use balance::{Load, Member};
use census::SessionRate;
use dispatch::{Dispatcher, Grant, Limits};
use health::observe::Observer;
use place::Waiter;
use standing::{Standing, Takes};
use wary::Wary;

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
    /// The host that it stands for now.
    fqdn: RwLock<Option<Arc<str>>>,
    /// Its state. Only [`crate::admin::operator::Operator`] changes it.
    standing: Mutex<Standing>,
    /// The streams that it gets.
    pub rate: SessionRate,
    /// Its counters.
    pub counters: Counters,
    /// `observe`.
    pub observer: Option<Observer>,
    /// Whether it resets connections at once.
    pub wary: Wary,
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

    /// Its state, locked. It is whole after every change, so a panic elsewhere leaves it usable.
    pub fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it is now.
    #[must_use]
    pub fn address(&self) -> ServerAddress {
        let address = self.address.read();
        address.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The host name that it stands for now: that of its line, or of the SRV record that it has.
    #[must_use]
    pub fn fqdn(&self) -> Option<Arc<str>> {
        let fqdn = self.fqdn.read();
        fqdn.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The service whose records it gets, as `_service._protocol.domain`.
    #[must_use]
    pub fn srv_record(&self) -> Option<Arc<str>> {
        match &self.config.naming.host {
            Some(HostName::Service(name)) => Some(name.clone()),
            _ => None,
        }
    }

    pub(crate) fn set_fqdn(&self, to: Option<Arc<str>>) {
        *self.fqdn.write().unwrap_or_else(PoisonError::into_inner) = to;
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
    /// The streams at which its servers take their `maxconn`.
    pub full: u32,
    dispatcher: Mutex<Dispatcher<Waiter>>,
}

impl Backend {
    /// Prepares a backend for use. `full`: the streams at which servers take their `maxconn`.
    #[must_use]
    pub fn new(index: usize, config: model::Backend, contexts: &Contexts, full: u32) -> Self {
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
                    fqdn: RwLock::new(server.naming.fqdn()),
                    rate: SessionRate::default(),
                    counters: Counters::default(),
                    index,
                    id: server
                        .id
                        .unwrap_or_else(|| u32::try_from(index + 1).unwrap_or(u32::MAX)),
                    config: server.clone(),
                    active: Arc::default(),
                    observer: server.health.observe.map(Observer::new),
                    wary: Wary::default(),
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
        let members = servers.iter().map(|server| Member {
            id: server.id,
            weight: u32::from(server.config.weight),
        });
        let recruits = servers.iter().map(|server| {
            let takes = server.standing().takes();
            (Limits::new(&server.config), server.config.backup, takes)
        });
        let dispatcher = Dispatcher::new(
            balance::make(&config.balance, members),
            recruits,
            full,
            config.all_backups,
        );
        Self {
            index,
            servers,
            active: Arc::default(),
            rate: SessionRate::default(),
            counters: Counters::default(),
            full,
            dispatcher: Mutex::new(dispatcher),
            config,
        }
    }

    /// From now on a server takes this; those who wait for it are told. Returns how many: they
    /// are served now, or have to ask again.
    pub fn apply(self: &Arc<Self>, server: usize, takes: Takes) -> u64 {
        let Some(state) = self.servers.get(server) else {
            return 0;
        };
        state.open.store(takes.open, Ordering::Relaxed);
        let (mut grants, more) = self.dispatch(|dispatcher| dispatcher.set_takes(server, takes));
        grants.extend(more);
        let told = grants.len() as u64;
        self.deliver(grants);
        told
    }

    /// Another limit of streams for a server; `None`: no limit.
    pub fn set_limit(self: &Arc<Self>, server: usize, most: Option<u32>) {
        if server < self.servers.len() {
            let ((), grants) = self.dispatch(|dispatcher| dispatcher.set_limit(server, most));
            self.deliver(grants);
        }
    }

    /// Streams that wait in the backend's own queue, and in all of its queues.
    #[must_use]
    pub fn queued(&self) -> (u32, u32) {
        self.look(Dispatcher::queued)
    }

    /// What a server has to do.
    #[must_use]
    pub fn load(&self, server: usize) -> Option<Load> {
        self.look(|dispatcher| dispatcher.load(server))
    }

    /// How many servers balance chooses from: those that are no backups, and backups.
    #[must_use]
    pub fn in_force(&self) -> (usize, usize) {
        self.look(|dispatcher| {
            let backup = |server: &usize| self.servers[*server].config.backup;
            let backups = dispatcher.in_force().filter(backup).count();
            (dispatcher.in_force().count() - backups, backups)
        })
    }

    fn look<T>(&self, look: impl FnOnce(&Dispatcher<Waiter>) -> T) -> T {
        look(&self.dispatcher())
    }

    /// Places and queues, locked. They are whole after every call, so a panic elsewhere leaves them
    /// usable.
    fn dispatcher(&self) -> MutexGuard<'_, Dispatcher<Waiter>> {
        self.dispatcher
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with places and queues. Whose turn that makes it is to be told once nothing
    /// is locked any more.
    fn dispatch<T>(
        &self,
        act: impl FnOnce(&mut Dispatcher<Waiter>) -> T,
    ) -> (T, Vec<Grant<Waiter>>) {
        let mut dispatcher = self.dispatcher();
        let outcome = act(&mut dispatcher);
        let grants = std::iter::from_fn(|| dispatcher.pump()).collect();
        (outcome, grants)
    }

    /// The server that stick tables know by this number.
    #[must_use]
    pub fn by_id(&self, id: u64) -> Option<Arc<Server>> {
        self.servers
            .iter()
            .find(|server| u64::from(server.id) == id)
            .cloned()
    }
}
