//! From a session to a connected server: the rules that look at its first bytes, the choice of a
//! backend and a server, the way there, and what is told to either side on arrival.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::admit::{Admission, Admitted};
use super::gate::{self, Gate};
use super::idle::IdleLimits;
use super::interface::StreamInterface;
use super::logging::Logging;
use super::reach::{self, Reached, Wish};
use super::{answer, connect, route, transfer};
use crate::backend::Backend;
use crate::backend::place::Place;
use crate::channel::buffer::Buffer;
use crate::config::model::remote::AgentServer;
use crate::conn::data::{Status, ssl};
use crate::conn::end::{Layer, Reason};
use crate::conn::{Connection, Side};
use crate::handshake::incoming::Incoming;
use crate::observe::record::{FlowRecord, Termination};
use crate::offload::path::{Engine, Policy};
use crate::offload::relay::eligible;
use crate::rules::session::Session;
use crate::sys::{socket, tcp};
use crate::worker::{FrontendState, Worker};

/// Where a session begins.
#[derive(Debug, Clone, Copy)]
pub struct Way<'a> {
    /// The worker.
    pub worker: &'a Rc<Worker>,
    /// The frontend.
    pub frontend: &'a Arc<FrontendState>,
    /// The index of the listening address.
    pub bind: usize,
    /// The flow's record.
    pub record: &'a Rc<FlowRecord>,
}

/// A stream whose both sides are connected.
#[derive(Debug)]
pub struct Open {
    /// What its transfer needs.
    pub setup: transfer::Setup,
    /// The client's connection.
    pub client: Connection,
    /// The server's.
    pub server: Connection,
    /// The server's side, established.
    pub side: StreamInterface,
    /// What rules have made of the session.
    pub session: Rc<RefCell<Session>>,
    /// Its place at the server.
    pub place: Place,
}

/// Opens a stream. `chosen` hears of the backend.
///
/// # Errors
/// How it ended instead; the client's connection is closed then.
pub async fn open(
    way: Way<'_>,
    mut incoming: Box<Incoming>,
    chosen: impl FnOnce(&Arc<Backend>),
) -> Result<Box<Open>, Termination> {
    let Way {
        worker,
        frontend,
        bind,
        record,
    } = way;
    let admission = Admission {
        worker,
        frontend,
        bind,
    };
    let admitted = admission.admit(&mut incoming, chosen).await;
    record.log_level.set(incoming.session.log_level);
    let logging = Logging::new(worker, frontend, bind, record);
    logging.admitted(&incoming);
    let Admitted {
        backend,
        server,
        key,
        stores,
    } = match admitted {
        Ok(admitted) => admitted,
        Err(refused) => return Err(refused.end(incoming.connection, record)),
    };
    let server = asked_for(&incoming, &backend).or(server);
    let policy = Policy::new(&frontend.config, &backend.config, worker.shared.no_splice);
    if let Err(error) = read_early(worker, &policy, &mut incoming) {
        tracing::debug!(flow = record.id, %error, "the client left before it was served");
        record.note_end(Side::Client, Layer::Data, ssl::reason(&error));
        return Err(Termination::CLIENT_GONE_CONNECTING);
    }
    logging.listen(&incoming);
    let early = std::mem::replace(&mut incoming.received, Buffer::empty());
    let approach = connect::Approach {
        backend: &backend,
        client: &incoming,
        data_follows: !early.held().is_empty(),
        announced: announced(worker, &policy, &incoming.connection),
        record,
        clock: &worker.shared.clock,
        random: &worker.scratch,
        pool: &worker.pool,
        turns: &worker.turns,
    };
    let patience = frontend.config.timeouts.client;
    let wish = Wish {
        server: server.map(|server| server.index),
        key,
        patience: patience.and_then(|limit| Instant::now().checked_add(limit)),
    };
    let Reached {
        connection: server,
        place,
        side,
    } = match reach::reach(&approach, wish).await {
        Ok(reached) => reached,
        Err(termination) => {
            logging.listen(&incoming);
            let asked = incoming.asked.is_some();
            if asked && termination != Termination::CLIENT_GONE_CONNECTING {
                answer::refused(incoming.connection, record).await;
            } else {
                incoming.connection.reset();
            }
            return Err(termination);
        }
    };
    if incoming.asked.is_some()
        && let Err(error) = answer::connected(&mut incoming.connection, &server).await
    {
        tracing::debug!(flow = record.id, %error, "the answer could not be sent");
        record.note_end(Side::Client, Layer::Ctrl, Reason::from(&error));
        return Err(Termination::CLIENT_GONE_CONNECTING);
    }
    route::store(
        &stores,
        place.server(),
        &worker.shared.tables,
        worker.shared.clock.now(),
    );
    logging.reached(&incoming, place.server(), &server);
    let Incoming {
        connection: client,
        session,
        proxy,
        ..
    } = incoming.unboxed();
    let session = Rc::new(RefCell::new(session));
    let site = gate::Site {
        worker,
        frontend,
        bind,
        backend: &backend,
        server: place.server(),
    };
    let gate = Gate::new(site, &session, proxy);
    let setup = transfer::Setup {
        pool: worker.pool.clone(),
        smallest_buffer: worker.shared.global.bufsize,
        policy,
        early,
        gate,
        availability: worker.shared.availability.clone(),
        limits: IdleLimits::new(&frontend.config.timeouts, &backend.config.timeouts),
        independent_streams: frontend.config.independent_streams
            || backend.config.independent_streams,
    };
    Ok(Box::new(Open {
        setup,
        client,
        server,
        side,
        session,
        place,
    }))
}

/// Of an agent: the server that speaks to the target as it was asked to.
fn asked_for(incoming: &Incoming, backend: &Backend) -> Option<Arc<crate::backend::Server>> {
    let asked = incoming.asked.as_ref()?;
    let how = AgentServer::for_request(asked.tls.as_ref().map(|tls| tls.verify));
    backend.servers.get(how as usize).cloned()
}

/// The MSS to announce to a server, if what it sends may be relayed to the client.
fn announced(worker: &Worker, policy: &Policy, client: &Connection) -> Option<u32> {
    let is_relayed = matches!(policy.engine(), Engine::Relay | Engine::Best)
        && worker.shared.availability.relay().is_some();
    if !is_relayed || !client.is_raw() || !client.ctrl().is_tcp() {
        return None;
    }
    eligible::announce(&tcp::info(client.fd()).ok()?)
}

/// Reads what the client has sent already, before the server is reached: the request then goes out
/// with the acknowledgement that ends the server's handshake, and the client's acknowledgement
/// with the reply, which spares both connections a packet. Nothing is read where nothing has come
/// yet, or where the flow is to leave user space before its first byte.
fn read_early(worker: &Worker, policy: &Policy, incoming: &mut Incoming) -> io::Result<()> {
    let raw = incoming.connection.is_raw();
    if !incoming.received.held().is_empty() || (raw && !policy.starts_in_buffer()) {
        return Ok(());
    }
    let mut buffer = worker.pool.get_buffer(worker.shared.global.bufsize);
    let transfer = incoming
        .connection
        .try_now(|data, socket| data.to_buf(socket, &mut buffer));
    if let Some(error) = transfer.error {
        return Err(error);
    }
    if transfer.bytes == 0 {
        // Nothing yet, or the end, which will be seen again.
        worker.pool.put_buffer(buffer);
        return Ok(());
    }
    if transfer.status.contains(Status::EMPTY_IN) && incoming.connection.ctrl().is_tcp() {
        // A short request, not a stream: its sender waits for no acknowledgement. A refusal only
        // costs the packet.
        let _ = socket::delay_ack(incoming.connection.fd());
    }
    incoming.received = buffer;
    Ok(())
}
