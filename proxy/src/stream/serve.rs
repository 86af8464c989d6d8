//! One stream from the accepted socket to its log line.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use socket2::SockAddr;
use tokio::sync::OwnedSemaphorePermit;

use super::{connect, transfer};
use crate::backend::{Backend, Held};
use crate::channel::buffer::Buffer;
use crate::conn::ctrl::tcp;
use crate::conn::data::Status;
use crate::conn::data::raw::raw_sock_to_buf;
use crate::conn::{Connection, Ctrl};
use crate::observe::log::{Concurrency, LEVEL_INFO, StreamLine};
use crate::observe::record::{DirectionRecord, Endpoint, FlowRecord, Termination, Times};
use crate::offload::path::Policy;
use crate::stream::idle::IdleLimits;
use crate::sys::socket;
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
    /// Its place within the limits of the process, the frontend and the listening address.
    pub permits: [Option<OwnedSemaphorePermit>; 3],
}

/// Serves one stream to its end.
pub async fn stream(worker: Rc<Worker>, accepted: Accepted) {
    let frontend = accepted.frontend.clone();
    let process_held = worker.shared.active.hold();
    let frontend_held = frontend.active.hold();
    let now = Instant::now();
    let record = Rc::new(FlowRecord {
        id: worker.next_flow_id(),
        client: accepted
            .peer
            .as_socket()
            .map_or(Endpoint::Unix, Endpoint::Inet),
        frontend: frontend.config.name.clone(),
        backend: std::cell::OnceCell::new(),
        server: std::cell::RefCell::new(None),
        times: std::cell::Cell::new(Times {
            accepted_at: SystemTime::now(),
            accepted: now,
            connecting: None,
            connected: None,
        }),
        up: Rc::new(DirectionRecord::default()),
        down: Rc::new(DirectionRecord::default()),
        retries: std::cell::Cell::new(0),
        why: std::cell::Cell::new(None),
    });
    let living = worker.living.enter(&record, &frontend);
    let mut counted = Counted {
        worker: &worker,
        frontend: &frontend,
        backend: None,
        server: None,
    };
    let permits = accepted.permits;
    let termination = match prepare(
        accepted.socket,
        accepted.ctrl,
        accepted.prepared,
        frontend.config.socket.keepalive,
    ) {
        Ok(client) => {
            greet(&worker, &frontend, &client, &record);
            run(&worker, &frontend, client, &record, &mut counted).await
        }
        Err(error) => {
            tracing::debug!(flow = record.id, %error, "the client was gone at once");
            Termination::CLIENT_GONE_CONNECTING
        }
    };
    drop(living);
    log(&worker, &frontend, &record, termination, &counted);
    drop((permits, process_held, frontend_held));
}

/// The gauges that a stream is counted in, for its log line.
struct Counted<'a> {
    worker: &'a Worker,
    frontend: &'a FrontendState,
    backend: Option<(Arc<Backend>, Held)>,
    server: Option<(Arc<crate::backend::Server>, Held)>,
}

impl Counted<'_> {
    fn now(&self) -> Concurrency {
        Concurrency {
            process: self.worker.shared.active.get(),
            frontend: self.frontend.active.get(),
            backend: self.backend.as_ref().map_or(0, |(b, _)| b.active.get()),
            server: self.server.as_ref().map_or(0, |(s, _)| s.active.get()),
        }
    }
}

fn prepare(socket: OwnedFd, ctrl: Ctrl, prepared: bool, keepalive: bool) -> io::Result<Connection> {
    if ctrl == Ctrl::Tcp && !prepared {
        tcp::prepare(socket.as_fd(), keepalive)?;
    }
    Connection::new(socket, ctrl)
}

async fn run(
    worker: &Worker,
    frontend: &FrontendState,
    client: Connection,
    record: &Rc<FlowRecord>,
    counted: &mut Counted<'_>,
) -> Termination {
    let Some(backend) = frontend
        .config
        .default_backend
        .and_then(|id| worker.shared.backends.get(id.0))
    else {
        client.reset();
        return Termination::SERVER_REFUSED;
    };
    // The cell is set here and nowhere else.
    let _ = record.backend.set(backend.config.name.clone());
    counted.backend = Some((backend.clone(), backend.active.hold()));
    let follows = backend.config.servers.iter().any(connect::follows);
    let destination = follows.then(|| local_address(&client)).flatten();
    let policy = Policy::new(&frontend.config, &backend.config, worker.shared.no_splice);
    let early = match read_early(worker, &policy, &client) {
        Ok(early) => early,
        Err(error) => {
            tracing::debug!(flow = record.id, %error, "the client left before it was served");
            return Termination::CLIENT_GONE_CONNECTING;
        }
    };
    let wanted = connect::Wanted {
        destination,
        data_follows: !early.held().is_empty(),
    };
    let reached = match connect::reach(backend, &client, wanted, record).await {
        Ok(reached) => reached,
        Err(termination) => {
            client.reset();
            return termination;
        }
    };
    counted.server = Some((reached.server, reached.held));
    if frontend.config.log.logasap {
        worker.logger.stream(
            &frontend.logs,
            StreamLine::new(record, None, counted.now(), Instant::now()),
        );
    }
    let setup = transfer::Setup {
        pool: worker.pool.clone(),
        smallest_buffer: worker.shared.global.bufsize,
        policy,
        early,
        availability: worker.shared.availability.clone(),
        limits: IdleLimits::new(&frontend.config.timeouts, &backend.config.timeouts),
        independent_streams: frontend.config.independent_streams
            || backend.config.independent_streams,
        nolinger: [
            frontend.config.socket.nolinger,
            backend.config.socket.nolinger,
        ],
    };
    transfer::run(setup, client, reached.connection, record.clone()).await
}

/// Reads what the client has sent already, before the server is reached: the request then goes out
/// with the acknowledgement that ends the server's handshake, and the client's acknowledgement
/// with the reply, which spares both connections a packet. Empty where nothing has come yet, or
/// where the flow is to leave user space before its first byte.
fn read_early(worker: &Worker, policy: &Policy, client: &Connection) -> io::Result<Buffer> {
    if !policy.starts_in_buffer() {
        return Ok(Buffer::empty());
    }
    let mut buffer = worker.pool.get_buffer(worker.shared.global.bufsize);
    let transfer = raw_sock_to_buf(client.fd(), &mut buffer);
    if let Some(error) = transfer.error {
        return Err(error);
    }
    if transfer.bytes == 0 {
        // Nothing yet, or the end, which will be seen again.
        worker.pool.put_buffer(buffer);
        return Ok(Buffer::empty());
    }
    if transfer.status.contains(Status::EMPTY_IN) && client.ctrl() == Ctrl::Tcp {
        // A short request, not a stream: its sender waits for no acknowledgement. A refusal only
        // costs the packet.
        let _ = socket::delay_ack(client.fd());
    }
    Ok(buffer)
}

/// The address that the client connected to; `None` where it is no IP address.
fn local_address(client: &Connection) -> Option<SocketAddr> {
    socket2::SockRef::from(&client.fd())
        .local_addr()
        .ok()?
        .as_socket()
}

/// Without `option tcplog` a connection is logged when it comes, as HAProxy does.
fn greet(worker: &Worker, frontend: &FrontendState, client: &Connection, record: &FlowRecord) {
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
        name(local_address(client)),
        frontend.config.name
    );
    worker.logger.text(&frontend.logs, LEVEL_INFO, text);
}

fn log(
    worker: &Worker,
    frontend: &FrontendState,
    record: &FlowRecord,
    termination: Termination,
    counted: &Counted<'_>,
) {
    let options = &frontend.config.log;
    let moved = record.up.bytes() + record.down.bytes();
    let normal = termination == Termination::NORMAL && record.retries.get() == 0;
    // `logasap` has logged a stream that got as far as its server.
    let logged = options.logasap && record.times.get().connected.is_some();
    if !options.tcplog
        || logged
        || (options.dontlognull && moved == 0)
        || (options.dontlog_normal && normal)
    {
        return;
    }
    worker.logger.stream(
        &frontend.logs,
        StreamLine::new(record, Some(termination), counted.now(), Instant::now()),
    );
}
