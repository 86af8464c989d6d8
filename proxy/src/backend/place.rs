//! A stream's place at a server, or in a queue before one. Both are given back by being dropped.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::balance::Ask;
use super::dispatch::{Grant, Ticket, Turn, Verdict};
use super::{Backend, Held, Server};

/// A stream's place at a server.
#[derive(Debug)]
pub struct Place {
    backend: Arc<Backend>,
    server: Arc<Server>,
    _active: Held,
}

impl Place {
    fn new(backend: &Arc<Backend>, server: usize) -> Option<Self> {
        let server = backend.servers.get(server)?;
        Some(Self {
            backend: Arc::clone(backend),
            _active: server.active.hold(),
            server: Arc::clone(server),
        })
    }

    /// The server.
    #[must_use]
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.backend.release(self.server.index);
    }
}

/// What whoever waits is sent.
#[derive(Debug)]
pub enum Call {
    /// A place.
    Serve(Place),
    /// To ask again.
    Again,
}

/// Whom to tell that its turn has come.
pub type Waiter = oneshot::Sender<Call>;

/// A stream's place in a queue.
#[derive(Debug)]
pub struct Waiting {
    backend: Arc<Backend>,
    ticket: Ticket,
    call: oneshot::Receiver<Call>,
    /// How many were before it in the server's queue and in the backend's.
    pub before: [u32; 2],
}

impl Waiting {
    /// Waits for its turn.
    pub async fn turn(&mut self) -> Call {
        // A waiter is only let go of with its turn.
        (&mut self.call).await.unwrap_or(Call::Again)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.backend.abandon(self.ticket);
    }
}

/// What becomes of a stream that needs a server.
#[derive(Debug)]
pub enum Assigned {
    /// It has a place.
    Place(Place),
    /// It waits.
    Queue(Waiting),
    /// No server takes it.
    NoServer,
    /// The queue of the server that it has to go to is full.
    QueueFull(usize),
}

impl Backend {
    /// Finds a server for a stream. `wanted`: the server that it has to go to.
    #[must_use]
    pub fn assign(self: &Arc<Self>, wanted: Option<usize>, ask: &Ask<'_>) -> Assigned {
        let (waiter, call) = oneshot::channel();
        let (verdict, grants) = self.dispatch(|dispatcher| dispatcher.assign(wanted, ask, waiter));
        let assigned = match verdict {
            Verdict::Serve(server, _) => {
                Place::new(self, server).map_or(Assigned::NoServer, Assigned::Place)
            }
            Verdict::Wait { ticket, before } => {
                if let Some(server) = ticket.server().and_then(|at| self.servers.get(at)) {
                    server.counters.queued_max.raise(u64::from(before[0]) + 1);
                }
                let waiting = u64::from(before[0]) + u64::from(before[1]) + 1;
                self.counters.queued_max.raise(waiting);
                Assigned::Queue(Waiting {
                    backend: Arc::clone(self),
                    ticket,
                    call,
                    before,
                })
            }
            Verdict::NoServer => Assigned::NoServer,
            Verdict::QueueFull(server) => Assigned::QueueFull(server),
        };
        self.deliver(grants);
        assigned
    }

    fn release(self: &Arc<Self>, server: usize) {
        let ((), grants) = self.dispatch(|dispatcher| dispatcher.release(server));
        self.deliver(grants);
    }

    fn abandon(self: &Arc<Self>, ticket: Ticket) {
        let (_, grants) = self.dispatch(|dispatcher| dispatcher.abandon(ticket));
        self.deliver(grants);
    }

    /// Tells those whose turn has come. A place that nobody takes any more goes to the next.
    pub(super) fn deliver(self: &Arc<Self>, grants: Vec<Grant<Waiter>>) {
        for Grant { waiter, turn } in grants {
            let call = match turn {
                Turn::Again => Call::Again,
                Turn::Serve(server) => match Place::new(self, server) {
                    Some(place) => Call::Serve(place),
                    None => continue,
                },
            };
            // What comes back is dropped here, and with it the place is given back.
            drop(waiter.send(call));
        }
    }
}
