//! Does what [`Pursuit`] says until a server is reached: assigns, waits, connects.

use std::sync::Arc;
use std::time::Instant;

use super::connect::{self, Approach, Trouble};
use super::interface::StreamInterface;
use super::living::ServerAt;
use super::pursuit::{Event, Manner, Outlook, Pursuit, Todo};
use super::tally;
use crate::backend::balance::Ask;
use crate::backend::place::{Assigned, Call, Place, Waiting};
use crate::backend::{Backend, Server};
use crate::conn::end::{Layer, Reason};
use crate::conn::{Connection, Side};
use crate::observe::record::Termination;

/// A connected server.
#[derive(Debug)]
pub struct Reached {
    /// The connection.
    pub connection: Connection,
    /// The stream's place at the server.
    pub place: Place,
    /// The server's side of the stream, established.
    pub side: StreamInterface,
}

/// Where a stream is to go.
#[derive(Debug, Default)]
pub struct Wish {
    /// The server that rules or a stick table chose; `None`: balance chooses.
    pub server: Option<usize>,
    /// What balance hashes the stream by.
    pub key: Option<Box<[u8]>>,
    /// When the client has been idle for too long.
    pub patience: Option<Instant>,
}

/// What the stream holds on its way.
#[derive(Debug)]
enum Holding {
    Nothing,
    Turn(Waiting),
    Place(Place),
}

/// Connects to a server of the backend, as often as its retries allow.
///
/// # Errors
/// How the stream ends when no server was reached.
pub async fn reach(approach: &Approach<'_>, wish: Wish) -> Result<Reached, Termination> {
    let backend = approach.backend;
    let record = approach.record;
    let mut way = Pursuit::new(Manner::new(&backend.config), wish.server);
    let mut holding = Holding::Nothing;
    let mut todo = way.start();
    loop {
        record.state.set(way.state());
        let event = match todo {
            Todo::Assign { wanted, avoid } => {
                // Whoever waits may have the place that this stream gives up.
                drop(std::mem::replace(&mut holding, Holding::Nothing));
                let ask = Ask {
                    key: wish.key.as_deref(),
                    avoid,
                    random: approach.random.random(),
                };
                match backend.assign(wanted, &ask) {
                    Assigned::Place(place) => {
                        let server = place.server().index;
                        if wanted.is_none() {
                            backend.counters.balanced.one();
                            place.server().counters.balanced.one();
                        }
                        holding = Holding::Place(place);
                        Event::Assigned(server)
                    }
                    Assigned::Queue(waiting) => {
                        record.queued.set(waiting.before);
                        holding = Holding::Turn(waiting);
                        Event::Queued
                    }
                    Assigned::NoServer => {
                        backend.counters.failed_connections.one();
                        Event::NoServer
                    }
                    Assigned::QueueFull(server) => {
                        backend.counters.failed_connections.one();
                        backend.servers[server].counters.failed_connections.one();
                        Event::QueueFull
                    }
                }
            }
            Todo::Wait(until) => {
                let Holding::Turn(waiting) = &mut holding else {
                    return Err(Termination::INTERNAL_CONNECTING);
                };
                let call = tokio::select! {
                    biased;
                    call = waiting.turn() => Ok(call),
                    event = interruption(approach, &wish, until) => Err(event),
                };
                match call {
                    Ok(Call::Serve(place)) => {
                        let server = place.server().index;
                        holding = Holding::Place(place);
                        Event::Assigned(server)
                    }
                    Ok(Call::Again) => Event::SentAway,
                    Err(event) => event,
                }
            }
            Todo::Connect(until) => {
                let Holding::Place(place) = &holding else {
                    return Err(Termination::INTERNAL_CONNECTING);
                };
                let server = Arc::clone(place.server());
                begin(approach, &way, backend, &server);
                let outcome = tokio::select! {
                    // A server that answered is worth more than a client that has just left.
                    biased;
                    outcome = connect::attempt(approach, &server) => outcome.map_err(Some),
                    event = interruption(approach, &wish, until) => match event {
                        Event::Elapsed => Err(None),
                        event => {
                            todo = way.on(event, Instant::now());
                            continue;
                        }
                    },
                };
                match outcome {
                    Ok(connection) => {
                        record.note_time(|times| times.connected = Some(Instant::now()));
                        let _ = way.on(Event::Connected, Instant::now());
                        record.state.set(way.state());
                        let Holding::Place(place) = holding else {
                            return Err(Termination::INTERNAL_CONNECTING);
                        };
                        server.observe(true);
                        return Ok(Reached {
                            connection,
                            place,
                            side: way.into_side(),
                        });
                    }
                    Err(trouble) => failed(approach, &server, trouble),
                }
            }
            Todo::Pause(until) => interruption(approach, &wish, Some(until)).await,
            // The way ends here where an attempt has succeeded, above.
            Todo::Reached => return Err(Termination::INTERNAL_CONNECTING),
            Todo::Over(ending) => {
                if let Holding::Place(place) = &holding
                    && matches!(ending.0, 'S' | 's' | 'R')
                {
                    place.server().counters.failed_connections.one();
                    backend.counters.failed_connections.one();
                }
                return Err(ending);
            }
        };
        let before = way.retries();
        todo = way.on(event, Instant::now());
        if way.retries() > before && !matches!(todo, Todo::Assign { .. }) {
            backend.counters.retries.one();
            if let Holding::Place(place) = &holding {
                place.server().counters.retries.one();
            }
        }
        record.retries.set(way.retries());
    }
}

/// Notes that an attempt begins.
fn begin(approach: &Approach<'_>, way: &Pursuit, backend: &Backend, server: &Server) {
    let record = approach.record;
    let at = ServerAt {
        backend: backend.index,
        server: server.index,
    };
    if record.place.replace(Some(at)) != Some(at) {
        tally::assigned(server, approach.clock.now());
        *record.server.borrow_mut() = Some(Arc::clone(&server.config.name));
    }
    backend.counters.attempts.one();
    server.counters.attempts.one();
    if way.redispatched() && !record.redispatched.replace(true) {
        server.counters.redispatches.one();
        backend.counters.redispatches.one();
    }
    record.note_time(|times| {
        times.connecting.get_or_insert_with(Instant::now);
    });
}

/// What becomes of a failed attempt; `None`: it took too long.
fn failed(approach: &Approach<'_>, server: &Server, trouble: Option<Trouble>) -> Event {
    let record = approach.record;
    let trouble =
        trouble.unwrap_or_else(|| std::io::Error::from(std::io::ErrorKind::TimedOut).into());
    tracing::debug!(flow = record.id, server = %server.config.name, error = %trouble, "connection failed");
    match &trouble {
        Trouble::Socket(error) => {
            record.note_end(Side::Server, Layer::Ctrl, Reason::from(error));
        }
        Trouble::Handshake(failure) => {
            record.note_end(Side::Server, failure.layer(), failure.reason.clone());
        }
    }
    server.observe(false);
    let (ending, try_again) = connect::judge(&trouble);
    let (main, backups) = approach.backend.in_force();
    Event::Failed {
        ending,
        hopeless: !try_again,
        outlook: Outlook {
            servers: main + backups,
            up: server.is_usable(),
        },
    }
}

/// What ends a wait before its purpose is reached.
async fn interruption(approach: &Approach<'_>, wish: &Wish, until: Option<Instant>) -> Event {
    let client = &approach.client.connection;
    tokio::select! {
        () = at(until) => Event::Elapsed,
        () = at(wish.patience) => Event::ClientIdle,
        error = client.gone(approach.backend.config.abortonclose) => {
            tracing::debug!(flow = approach.record.id, %error, "the client left on the way to a server");
            Event::ClientLeft
        }
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}
