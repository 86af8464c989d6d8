//! One stream from the accepted socket to its log line.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Instant, SystemTime};

use socket2::SockAddr;
use tokio::sync::OwnedSemaphorePermit;

use super::interface::{Move, State};
use super::logging::Logging;
use super::open::{self, Open};
use super::{tally, transfer};
use crate::backend::place::Place;
use crate::backend::{Backend, Held};
use crate::config::model::SocketOptions;
use crate::conn::ctrl::tcp;
use crate::conn::end::Handler;
use crate::conn::{Connection, Ctrl};
use crate::handshake::incoming::{self, Begun, Ended, Entrance, Incoming};
use crate::handshake::tcp_rules::Rules;
use crate::observe;
use crate::observe::log::{Concurrency, LEVEL_ERR, LEVEL_INFO};
use crate::observe::record::{DirectionRecord, Endpoint, FlowRecord, Termination, Times};
use crate::worker::{FrontendState, Worker};

/// An accepted connection on its way to becoming a stream.
#[derive(Debug)]
pub struct Accepted {
    /// The socket.
    pub socket: OwnedFd,
    /// Its peer.
    pub peer: SockAddr,
    /// What it is.
    pub ctrl: Ctrl,
    /// Whether it has inherited its options from the listener.
    pub prepared: bool,
    /// Its frontend.
    pub frontend: Arc<FrontendState>,
    /// Index of the `bind` address that it came to.
    pub bind: usize,
    /// Its place within the limits of the process, the frontend and the listening address.
    pub permits: [Option<OwnedSemaphorePermit>; 3],
}

/// Serves one connection to its end: its handshakes, then its stream.
///
/// Most connections are idle most of the time, so that their tasks shall hold little: what only a
/// handshake or the way to a server needs is in boxes that go with it, and this is no `async fn`,
/// whose future would keep room for its arguments to the end.
pub fn stream(worker: Rc<Worker>, accepted: Accepted) -> impl Future<Output = ()> {
    let Accepted {
        socket,
        peer,
        ctrl,
        prepared,
        frontend,
        bind,
        permits,
    } = accepted;
    let held = (
        worker.shared.active.hold(),
        frontend.active.hold(),
        frontend.binds[bind].active.hold(),
        permits,
    );
    let arrival = Arrival {
        at: SystemTime::now(),
        instant: Instant::now(),
    };
    let source = peer.as_socket().map_or(Endpoint::Unix, Endpoint::Inet);
    let incoming = prepare(socket, ctrl, prepared, &frontend.config.socket)
        .map(|connection| Box::new(Incoming::new(connection, source)))
        .map_err(|error| {
            tracing::debug!(%error, "the client was gone at once");
            source
        });
    async move {
        match incoming {
            Ok(incoming) => {
                let place = Arrived {
                    frontend: &frontend,
                    bind,
                    arrival,
                };
                enter(&worker, place, incoming).await;
            }
            Err(source) => gone(&worker, &frontend, bind, arrival, source),
        }
        drop(held);
    }
}

/// The connection's handshakes, then its stream.
async fn enter(worker: &Rc<Worker>, place: Arrived<'_>, incoming: Box<Incoming>) {
    let frontend = place.frontend;
    let bind = &frontend.binds[place.bind];
    let outcome = {
        let rules = frontend.has_rules().then(|| Rules {
            front: &frontend.config.rules,
            setting: worker.setting(frontend, place.bind),
        });
        let entrance = Entrance::new(
            &frontend.config,
            rules,
            bind.accept_proxy,
            bind.tls.as_deref(),
            &worker.pool,
            worker.shared.global.bufsize,
            &worker.turns,
        );
        match incoming::begin(&entrance, incoming) {
            Begun::Over(outcome) => outcome,
            Begun::Owes(incoming, owed) => {
                Box::pin(incoming::finish(&entrance, incoming, owed)).await
            }
        }
    };
    match outcome {
        Ok(incoming) => serve(worker, place, incoming).await,
        Err(ended) => refused(worker, place, &ended),
    }
}

/// Logs a client that left before it was a connection.
fn gone(
    worker: &Worker,
    frontend: &FrontendState,
    bind: usize,
    arrival: Arrival,
    source: Endpoint,
) {
    let record = record(worker, frontend, bind, arrival, source);
    let counted = Counted::new(worker, frontend);
    let ending = Termination::CLIENT_GONE_CONNECTING;
    Logging::new(worker, frontend, bind, &record).log(ending, counted.now());
}

/// Where and when a session began.
#[derive(Debug, Clone, Copy)]
struct Arrived<'a> {
    frontend: &'a Arc<FrontendState>,
    bind: usize,
    arrival: Arrival,
}

/// When a connection was accepted.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    at: SystemTime,
    instant: Instant,
}

fn record(
    worker: &Worker,
    frontend: &FrontendState,
    bind: usize,
    arrival: Arrival,
    client: Endpoint,
) -> FlowRecord {
    let bind = frontend.binds.get(bind);
    FlowRecord {
        id: worker.next_flow_id(),
        client,
        frontend: frontend.config.name.clone(),
        secure: bind.is_some_and(|bind| bind.tls.is_some()),
        backend: std::cell::OnceCell::new(),
        server: RefCell::new(None),
        times: std::cell::Cell::new(Times {
            accepted_at: arrival.at,
            accepted: arrival.instant,
            ready: Instant::now(),
            connecting: None,
            connected: None,
        }),
        up: Rc::new(DirectionRecord::default()),
        down: Rc::new(DirectionRecord::default()),
        retries: std::cell::Cell::new(0),
        backend_index: Default::default(),
        counted: Default::default(),
        place: std::cell::Cell::new(None),
        queued: Default::default(),
        redispatched: Default::default(),
        state: Default::default(),
        kill: Default::default(),
        log_level: Default::default(),
        heard: Default::default(),
        logged: Default::default(),
        notes: Default::default(),
        why: std::cell::Cell::new(None),
        ends: Default::default(),
    }
}

/// Serves a stream, from the session that its client's connection has become to its log line.
async fn serve(worker: &Rc<Worker>, place: Arrived<'_>, mut incoming: Box<Incoming>) {
    let Arrived {
        frontend, arrival, ..
    } = place;
    let source = incoming.session.source;
    let record = Rc::new(record(worker, frontend, place.bind, arrival, source));
    tally::taken(&worker.shared, frontend);
    let living = worker.living.enter(&record, frontend);
    let mut counted = Counted::new(worker, frontend);
    greet(worker, frontend, &incoming, &record);
    Logging::new(worker, frontend, place.bind, &record).begin(&mut incoming);
    let termination = {
        let mut whole = pin!(run(worker, place, incoming, &record, &mut counted));
        // Before it has a server, a stream that is killed is dropped where it is: its socket resets,
        // its place in a queue is free. Later its transfer sees to it.
        poll_fn(|cx| match record.state.get() {
            State::Est => whole.as_mut().poll(cx),
            state => match record.kill.poll(cx) {
                Poll::Ready(killed) => Poll::Ready(killed.during(state)),
                Poll::Pending => whole.as_mut().poll(cx),
            },
        })
        .await
    };
    drop(living);
    tally::ended(&worker.shared, frontend, &record, termination);
    Logging::new(worker, frontend, place.bind, &record).log(termination, counted.now());
}

/// Says why a connection became no stream: who it came from, where it came to, and what was wrong.
fn refused(worker: &Worker, place: Arrived<'_>, ended: &Ended) {
    let Arrived {
        frontend, arrival, ..
    } = place;
    // What a rule refuses is counted, and not logged.
    match ended {
        Ended::Denied(Handler::TcpRules) => frontend.counters.denied_connections.one(),
        Ended::Denied(_) => frontend.counters.denied_sessions.one(),
        _ => {}
    }
    let Ended::Failed {
        failure,
        silent,
        source,
    } = ended
    else {
        return;
    };
    if *silent && frontend.config.log.dontlognull {
        return;
    }
    let level = if frontend.config.log.separate_errors {
        LEVEL_ERR
    } else {
        LEVEL_INFO
    };
    let record = record(worker, frontend, place.bind, arrival, *source);
    let logging = Logging::new(worker, frontend, place.bind, &record);
    if logging.failed(level, Counted::new(worker, frontend).now()) {
        return;
    }
    let text = observe::log::refusal(
        *source,
        arrival.at,
        &frontend.config.name,
        &frontend.binds[place.bind].label,
        failure,
    );
    worker.logger.text(&frontend.logs, level, text);
}

/// The gauges that a stream is counted in, for its log line.
struct Counted<'a> {
    worker: &'a Worker,
    frontend: &'a FrontendState,
    backend: Option<(Arc<Backend>, Held)>,
    place: Option<Place>,
}

impl<'a> Counted<'a> {
    fn new(worker: &'a Worker, frontend: &'a FrontendState) -> Self {
        Self {
            worker,
            frontend,
            backend: None,
            place: None,
        }
    }

    fn now(&self) -> Concurrency {
        Concurrency {
            process: self.worker.shared.active.get(),
            frontend: self.frontend.active.get(),
            backend: self.backend.as_ref().map_or(0, |(b, _)| b.active.get()),
            server: self.place.as_ref().map_or(0, |p| p.server().active.get()),
        }
    }
}

fn prepare(
    socket: OwnedFd,
    ctrl: Ctrl,
    prepared: bool,
    options: &SocketOptions,
) -> io::Result<Connection> {
    if ctrl.is_tcp() && !prepared {
        tcp::prepare(socket.as_fd(), options.keepalive)?;
    }
    let mut connection = Connection::accepted(socket, ctrl)?;
    connection.set_nolinger(options.nolinger);
    Ok(connection)
}

async fn run(
    worker: &Rc<Worker>,
    place: Arrived<'_>,
    incoming: Box<Incoming>,
    record: &Rc<FlowRecord>,
    counted: &mut Counted<'_>,
) -> Termination {
    let Arrived { frontend, bind, .. } = place;
    let way = open::Way {
        worker,
        frontend,
        bind,
        record,
    };
    let chosen = |backend: &Arc<Backend>| {
        // The cell is set here and nowhere else.
        let _ = record.backend.set(backend.config.name.clone());
        record.backend_index.set(Some(backend.index));
        counted.backend = Some((backend.clone(), backend.active.hold()));
        tally::admitted(&worker.shared, backend);
    };
    let Open {
        setup,
        client,
        server,
        side,
        session,
        place,
    } = match Box::pin(open::open(way, incoming, chosen)).await {
        Ok(open) => *open,
        Err(termination) => return termination,
    };
    counted.place = Some(place);
    Logging::new(worker, frontend, bind, record).begun(counted.now());
    let account = worker.accounts.open(&session, record);
    let ending = transfer::run(setup, client, server, record.clone()).await;
    account.settle(worker.shared.clock.now());
    let server = counted.place.as_ref().map(Place::server);
    if let Some(server) = server {
        let received = record.down.bytes();
        server
            .wary
            .learn(received, ending == Termination::SERVER_RESET);
    }
    Logging::new(worker, frontend, bind, record).ended(&session.borrow(), server);
    account.close(worker.shared.clock.now());
    record.log_level.set(session.borrow().log_level);
    side.passed(Move::Disconnect).pass(Move::Close);
    ending
}

/// Without `option tcplog` a connection is logged when it comes, as HAProxy does.
fn greet(worker: &Worker, frontend: &FrontendState, client: &Incoming, record: &FlowRecord) {
    if frontend.config.log.tcplog || frontend.logs.is_empty() {
        return;
    }
    let name = |address: Option<SocketAddr>| match address {
        Some(address) => format!("{}:{}", address.ip().to_canonical(), address.port()),
        None => "unix:0".to_owned(),
    };
    let from = match record.client {
        Endpoint::Inet(address) => Some(address),
        Endpoint::Unix => None,
    };
    let text = format!(
        "Connect from {} to {} ({}/TCP)",
        name(from),
        name(client.local_address()),
        frontend.config.name
    );
    worker.logger.text(&frontend.logs, LEVEL_INFO, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, F: Future>(_: impl FnOnce(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// There is one per connection, also per idle one.
    #[test]
    fn a_task_is_small() {
        let size = size_of_future(stream);
        assert!(size <= 2048, "{size} bytes");
    }
}
