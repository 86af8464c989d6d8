//! `tcp-response content`, `stick store-response`: look at a server's first bytes before the client
//! gets them, while the client's go on to the server.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::time::Sleep;

use super::route;
use crate::backend::{Backend, Server};
use crate::channel::buffer::Buffer;
use crate::conn::Connection;
use crate::conn::data::Status;
use crate::handshake::proxy_protocol::Header;
use crate::handshake::tcp_rules::carry_out;
use crate::rules::action::Ruling;
use crate::rules::ruleset::Progress;
use crate::rules::run::{Reached, Sight};
use crate::rules::scene::{Payload, Place};
use crate::rules::session::Session;
use crate::worker::{FrontendState, Worker};

/// A response that rules still look at.
pub struct Gate {
    worker: Rc<Worker>,
    frontend: Arc<FrontendState>,
    bind: usize,
    backend: Arc<Backend>,
    server: Arc<Server>,
    session: Rc<RefCell<Session>>,
    proxy: Option<Box<Header>>,
    progress: Progress,
    received: Buffer,
    ended: bool,
    tried: bool,
    /// The end of `inspect-delay`; `None`: nothing is waited for.
    deadline: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

/// What a gate lets through.
#[derive(Debug)]
pub enum Opened {
    /// Everything: these bytes first.
    Pass(Buffer),
    /// These bytes, and no more: the server's connection is to be closed.
    Last(Buffer),
    /// Nothing: both sides are ended, the client in silence where a rule says so.
    Refused {
        /// `silent-drop`
        silent: bool,
    },
    /// The server failed.
    Failed(io::Error),
}

/// Where a gate stands.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// The worker.
    pub worker: &'a Rc<Worker>,
    /// The frontend.
    pub frontend: &'a Arc<FrontendState>,
    /// The index of the listening address.
    pub bind: usize,
    /// The backend.
    pub backend: &'a Arc<Backend>,
    /// The server.
    pub server: &'a Arc<Server>,
}

impl Gate {
    /// A gate, where the backend has something to look at in responses.
    #[must_use]
    pub fn new(
        site: Site<'_>,
        session: &Rc<RefCell<Session>>,
        proxy: Option<Box<Header>>,
    ) -> Option<Box<Self>> {
        let rules = &site.backend.config.rules;
        if rules.response.is_empty() && rules.storing.is_empty() {
            return None;
        }
        let deadline = rules.response_delay.map(|delay| {
            let at = Instant::now() + delay;
            (at, Box::pin(tokio::time::sleep_until(at.into())))
        });
        Some(Box::new(Self {
            worker: Rc::clone(site.worker),
            frontend: Arc::clone(site.frontend),
            bind: site.bind,
            backend: Arc::clone(site.backend),
            server: Arc::clone(site.server),
            session: Rc::clone(session),
            proxy,
            progress: Progress::default(),
            received: Buffer::empty(),
            ended: false,
            tried: false,
            deadline,
        }))
    }

    /// Goes on as far as what the server has sent allows.
    pub fn poll(
        &mut self,
        client: &Connection,
        server: &mut Connection,
        cx: &mut Context<'_>,
    ) -> Poll<Opened> {
        let room = self.worker.shared.global.bufsize;
        loop {
            if let Some(opened) = self.judge(client, room) {
                return Poll::Ready(opened);
            }
            if let Some((_, timer)) = &mut self.deadline
                && timer.as_mut().poll(cx).is_ready()
            {
                // The next judgement sees that time is over.
                self.tried = true;
                continue;
            }
            if self.received.capacity() == 0 {
                self.received = self.worker.pool.get_buffer(room);
            }
            let received = &mut self.received;
            let polled = server.poll_in(cx, |data, socket| data.to_buf(socket, received));
            if self.deadline.is_none() && polled.is_pending() {
                // Nothing is waited for, and nothing has come.
                self.tried = true;
                continue;
            }
            let transfer = match ready!(polled) {
                Ok(transfer) => transfer,
                Err(error) => return Poll::Ready(Opened::Failed(error)),
            };
            self.tried = true;
            if let Some(error) = transfer.error {
                return Poll::Ready(Opened::Failed(error));
            }
            self.ended |= transfer.status.contains(Status::SHUT_IN);
        }
    }

    /// Asks the rules about what has come.
    fn judge(&mut self, client: &Connection, room: usize) -> Option<Opened> {
        let over = self
            .deadline
            .as_ref()
            .is_none_or(|(deadline, _)| Instant::now() >= *deadline);
        let complete = self.ended || self.received.held().len() >= room;
        let last_look = self.tried && (over || complete);
        let setting = self.worker.setting(&self.frontend, self.bind);
        let sight = Sight {
            last_look,
            client_tcp: Some(client),
            proxy: self.proxy.as_deref(),
            tls: client.ssl(),
            backend: Some(Place {
                index: self.backend.index,
                name: &self.backend.config.name,
            }),
            server: Some(Place {
                index: self.server.index,
                name: &self.server.config.name,
            }),
            response: Some(Payload {
                bytes: self.received.held(),
                complete,
            }),
            ..Sight::default()
        };
        let reached = setting.run(
            &self.backend.config.rules.response,
            &mut self.progress,
            &mut self.session.borrow_mut(),
            sight,
            |effect| {
                carry_out(client, effect);
            },
        );
        let passes = match reached {
            Reached::Ruling(ruling, _) => matches!(ruling, Ruling::Accept | Ruling::Close),
            Reached::Waits => last_look,
        };
        let storing = &self.backend.config.rules.storing;
        if passes && !storing.is_empty() {
            let sight = Sight {
                last_look: true,
                ..sight
            };
            let session = self.session.borrow();
            let stores = setting.look(&session, sight, |scene| {
                route::stick_of_response(storing, scene)
            });
            route::store(
                &stores,
                &self.server,
                &self.worker.shared.tables,
                setting.now,
            );
        }
        let take = |received: &mut Buffer| std::mem::replace(received, Buffer::empty());
        match reached {
            Reached::Ruling(Ruling::Accept, _) => Some(Opened::Pass(take(&mut self.received))),
            Reached::Ruling(Ruling::Close, _) => Some(Opened::Last(take(&mut self.received))),
            Reached::Ruling(ruling, _) => Some(Opened::Refused {
                silent: ruling == Ruling::SilentDrop,
            }),
            Reached::Waits if last_look => Some(Opened::Pass(take(&mut self.received))),
            Reached::Waits => None,
        }
    }
}
