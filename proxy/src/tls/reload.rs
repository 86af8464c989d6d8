//! All TLS of a configuration: loaded at start, and again while the daemon runs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::bind::BindContext;
use super::loader::{LoadError, LoadWarning, Loader};
use super::server::ServerContext;
use super::tickets::Sessions;
use crate::config::model::tls::{BindTls, ServerTls};
use crate::config::model::{Config, Position};

/// The TLS of every `bind` and `server` line.
#[derive(Debug)]
pub struct Contexts {
    binds: HashMap<Identity, Arc<BindContext>>,
    servers: HashMap<Identity, Arc<ServerContext>>,
    sessions: Option<Sessions>,
    warnings: ArcSwap<Vec<LoadWarning>>,
    reloading: Mutex<()>,
}

/// The address of the settings, which the contexts keep alive.
type Identity = usize;

fn identity<T>(settings: &Arc<T>) -> Identity {
    Arc::as_ptr(settings).addr()
}

impl Contexts {
    /// Reads every file that the configuration names. It blocks on the files and on keys being
    /// checked: not for a worker's thread.
    ///
    /// # Errors
    ///
    /// All faults of all lines.
    pub fn load(config: &Config) -> Result<Self, Vec<LoadError>> {
        let mut loader = Loader::new();
        let mut contexts = Self {
            binds: HashMap::new(),
            servers: HashMap::new(),
            sessions: None,
            warnings: ArcSwap::default(),
            reloading: Mutex::new(()),
        };
        let binds = config.frontends.iter().flat_map(|frontend| &frontend.binds);
        for bind in binds {
            if let Some(settings) = &bind.tls {
                let cached = config.global.tls_session_cache;
                contexts.add_bind(settings, &bind.position, cached, &mut loader);
            }
        }
        let servers = config.backends.iter().flat_map(|backend| &backend.servers);
        // A server's streams and its checks may speak differently.
        let settings = servers.flat_map(|server| {
            let check = server.health.check.as_ref();
            [
                server.tls.as_ref(),
                check.and_then(|check| check.tls.as_ref()),
            ]
        });
        for settings in settings.flatten() {
            let identity = identity(settings);
            if !contexts.servers.contains_key(&identity)
                && let Some(context) = ServerContext::load(settings, &mut loader)
            {
                contexts.servers.insert(identity, Arc::new(context));
            }
        }
        let loaded = loader.finish()?;
        contexts.warnings.store(Arc::new(loaded.warnings));
        Ok(contexts)
    }

    fn add_bind(
        &mut self,
        settings: &Arc<BindTls>,
        position: &Position,
        cached: usize,
        loader: &mut Loader,
    ) {
        let identity = identity(settings);
        if self.binds.contains_key(&identity) {
            return;
        }
        // Made with the first `bind` that needs it: its cache takes memory.
        let sessions = match &self.sessions {
            Some(sessions) => sessions.clone(),
            None => match Sessions::new(cached) {
                Ok(sessions) => self.sessions.insert(sessions).clone(),
                Err(error) => {
                    loader.error(position, format!("no keys for tickets: {error}"));
                    return;
                }
            },
        };
        if let Some(context) = BindContext::load(settings, position, loader, &sessions) {
            self.binds.insert(identity, Arc::new(context));
        }
    }

    /// The context of a `bind` line.
    ///
    /// # Panics
    ///
    /// If the settings are not of the configuration that was loaded.
    pub fn bind(&self, settings: &Arc<BindTls>) -> Arc<BindContext> {
        let context = self.binds.get(&identity(settings));
        Arc::clone(context.expect("every bind line of the configuration is loaded"))
    }

    /// The context of a `server` line.
    ///
    /// # Panics
    ///
    /// If the settings are not of the configuration that was loaded.
    pub fn server(&self, settings: &Arc<ServerTls>) -> Arc<ServerContext> {
        let context = self.servers.get(&identity(settings));
        Arc::clone(context.expect("every server line of the configuration is loaded"))
    }

    /// What the last successful loading found worth a remark.
    pub fn warnings(&self) -> Arc<Vec<LoadWarning>> {
        self.warnings.load_full()
    }

    /// Reads all files again and uses them for handshakes that start from now on; handshakes under
    /// way keep what they have, and sessions can still be resumed. The number of certificates of
    /// ours that were read. It blocks, as [`Contexts::load`] does.
    ///
    /// # Errors
    ///
    /// All faults of all lines; then everything stays as it was.
    pub fn reload(&self) -> Result<usize, Vec<LoadError>> {
        // One at a time: a slow one must not overwrite what a later one has read.
        let _alone = self
            .reloading
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut loader = Loader::new();
        let mut binds = Vec::new();
        if let Some(sessions) = &self.sessions {
            for context in self.binds.values() {
                binds.push((context, context.prepare(&mut loader, sessions)));
            }
        }
        let servers: Vec<_> = self
            .servers
            .values()
            .map(|context| (context, context.prepare(&mut loader)))
            .collect();
        let loaded = loader.finish()?;
        // Without a fault everything is there.
        for (context, state) in binds {
            if let Some(state) = state {
                context.install(state);
            }
        }
        for (context, state) in servers {
            if let Some(state) = state {
                context.install(state);
            }
        }
        self.warnings.store(Arc::new(loaded.warnings));
        Ok(loaded.certificates)
    }
}
