//! What stands between a session and its server: the rules that look at its first bytes, and the
//! choices of a backend and a server.

use std::rc::Rc;
use std::sync::Arc;

use super::inspect::{self, Inspection, Refused};
use super::route::{self, ToStore};
use crate::backend::balance::key;
use crate::backend::{Backend, Server};
use crate::config::model::balance::Key;
use crate::conn::data::ssl;
use crate::conn::end::Layer;
use crate::conn::{Connection, Side};
use crate::handshake::incoming::Incoming;
use crate::observe::record::{FlowRecord, Termination};
use crate::rules::action::Ruling;
use crate::rules::run::Sight;
use crate::rules::scene::{Payload, Place, Scene};
use crate::worker::{FrontendState, Worker};

/// Where a stream is admitted.
#[derive(Debug, Clone, Copy)]
pub struct Admission<'a> {
    /// The worker.
    pub worker: &'a Rc<Worker>,
    /// The frontend.
    pub frontend: &'a FrontendState,
    /// The index of the listening address.
    pub bind: usize,
}

/// Where it goes.
#[derive(Debug)]
pub struct Admitted {
    /// The backend.
    pub backend: Arc<Backend>,
    /// The server that rules or a stick table chose.
    pub server: Option<Arc<Server>>,
    /// What balance hashes the stream by.
    pub key: Option<Box<[u8]>>,
    /// The entries that are to remember its server.
    pub stores: Vec<ToStore>,
}

/// Why it goes nowhere.
#[derive(Debug)]
pub enum Declined {
    /// A rule refused it, or the client failed.
    Refused(Refused),
    /// No rule says where it goes.
    NoBackend,
}

impl From<Refused> for Declined {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl Declined {
    /// Ends the client's connection as the reason wants it.
    pub fn end(self, client: Connection, record: &FlowRecord) -> Termination {
        match self {
            Self::NoBackend => {
                client.reset();
                Termination::SERVER_REFUSED
            }
            Self::Refused(Refused::Client(error)) => {
                tracing::debug!(flow = record.id, %error, "the client left before it was served");
                record.note_end(Side::Client, Layer::Data, ssl::reason(&error));
                client.reset();
                Termination::CLIENT_GONE_CONNECTING
            }
            Self::Refused(Refused::Rule(ruling)) => {
                if ruling == Ruling::SilentDrop {
                    client.vanish();
                } else {
                    client.close();
                }
                Termination::REQUEST_REFUSED
            }
        }
    }
}

impl Admission<'_> {
    /// Asks all rules and makes all choices. `chosen` hears of the backend before its own rules are
    /// asked.
    ///
    /// # Errors
    /// Why the stream goes nowhere.
    pub async fn admit(
        &self,
        incoming: &mut Incoming,
        chosen: impl FnOnce(&Arc<Backend>),
    ) -> Result<Admitted, Declined> {
        let front = &self.frontend.config.rules;
        let inspection = Inspection {
            worker: self.worker,
            frontend: self.frontend,
            bind: self.bind,
            backend: None,
            rules: &front.request,
            delay: front.request_delay,
        };
        inspect::request(inspection, incoming).await?;
        let shared = &self.worker.shared;
        let mut target = None;
        if !front.routes.is_empty() {
            target = self.look(incoming, None, |scene| {
                route::backend(&front.routes, scene, |name| shared.backend_by_name(name))
            });
        }
        let target = target.or(self.frontend.config.default_backend);
        let backend = target
            .and_then(|id| shared.backends.get(id.0))
            .ok_or(Declined::NoBackend)?
            .clone();
        chosen(&backend);
        let rules = &backend.config.rules;
        let place = target.map(|id| Place {
            index: id.0,
            name: &backend.config.name,
        });
        if target != self.frontend.config.own_backend {
            let inspection = Inspection {
                backend: place,
                rules: &rules.request,
                delay: rules.request_delay,
                ..inspection
            };
            inspect::request(inspection, incoming).await?;
        }
        let mut admitted = Admitted {
            server: None,
            key: None,
            stores: Vec::new(),
            backend: backend.clone(),
        };
        let balance = &backend.config.balance;
        let hashes = !matches!(balance.key(), Key::None);
        if hashes || !(rules.servers.is_empty() && rules.sticking.is_empty()) {
            self.look(incoming, place, |scene| {
                let server = route::server(&rules.servers, scene, &backend);
                let (matched, stores) = route::stick(&rules.sticking, scene, &backend);
                admitted.server = server.or(matched);
                admitted.stores = stores;
                admitted.key = key::key(balance, scene).map(Box::from);
            });
        }
        Ok(admitted)
    }

    /// Looks at what there is, without waiting for more.
    fn look<T>(
        &self,
        incoming: &Incoming,
        backend: Option<Place<'_>>,
        look: impl FnOnce(&Scene<'_>) -> T,
    ) -> T {
        let setting = self.worker.setting(self.frontend, self.bind);
        let sight = Sight {
            last_look: true,
            client_tcp: Some(&incoming.connection),
            proxy: incoming.proxy.as_deref(),
            tls: incoming.connection.ssl(),
            backend,
            request: Some(Payload {
                bytes: incoming.received.held(),
                complete: false,
            }),
            ..Sight::default()
        };
        setting.look(&incoming.session, sight, look)
    }
}
