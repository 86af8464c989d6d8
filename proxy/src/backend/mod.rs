//! Backends and their servers, as all workers share them.

pub mod balance;
pub mod census;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::model;
use crate::tls::{Contexts, ServerContext};
use balance::{Algorithm, Ask, Load, Member};
use census::SessionRate;

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
}

impl Server {
    /// Whether it takes new streams.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        !self.config.disabled
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
    /// Servers in use: backup servers take over only when no other server may.
    group: Vec<bool>,
    balance: Mutex<Box<dyn Algorithm>>,
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
                Arc::new(Server {
                    index,
                    id: server
                        .id
                        .unwrap_or_else(|| u32::try_from(index + 1).unwrap_or(u32::MAX)),
                    config: server.clone(),
                    active: Arc::default(),
                    tls: server
                        .tls
                        .as_ref()
                        .map(|settings| contexts.server(settings)),
                })
            })
            .collect();
        let usable = |backup: bool| {
            let usable = move |server: &Arc<Server>| {
                server.is_usable() && server.config.backup == backup && server.config.weight > 0
            };
            servers.iter().map(usable).collect::<Vec<bool>>()
        };
        let mut group = usable(false);
        if !group.contains(&true) {
            group = usable(true);
            // Without `option allbackups` only the first backup server is used.
            let first = group.iter().position(|usable| *usable);
            for (at, usable) in group.iter_mut().enumerate() {
                *usable &= first == Some(at);
            }
        }
        let members = servers.iter().map(|server| Member {
            id: server.id,
            weight: u32::from(server.config.weight),
        });
        let mut balance = balance::make(&config.balance, members);
        balance.update(&loads(&servers, &group));
        Self {
            index,
            servers,
            active: Arc::default(),
            rate: SessionRate::default(),
            group,
            balance: Mutex::new(balance),
            config,
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

    /// The server that the balance chooses; `None` when there is none to choose.
    #[must_use]
    pub fn choose(&self) -> Option<Arc<Server>> {
        let loads = loads(&self.servers, &self.group);
        let ask = Ask {
            random: RandomState::new().build_hasher().finish(),
            ..Ask::default()
        };
        // The state is whole after every choice, so a panic elsewhere leaves it usable.
        let at = self
            .balance
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .choose(&loads, &ask)?;
        self.servers.get(at).cloned()
    }
}

/// What the balance sees of servers, of which `group` says who is in use.
fn loads(servers: &[Arc<Server>], group: &[bool]) -> Vec<Load> {
    let load = |(server, usable): (&Arc<Server>, &bool)| Load {
        weight: u32::from(server.config.weight) * balance::SCALE,
        usable: *usable,
        served: u32::try_from(server.active.get()).unwrap_or(u32::MAX),
        queued: 0,
        limit: u32::MAX,
    };
    servers.iter().zip(group).map(load).collect()
}
