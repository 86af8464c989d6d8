//! `tcp-request content`: looks at a client's first bytes before a server is chosen, and waits for
//! as many of them as the rules ask for. What was looked at stays in the client's buffer.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use crate::channel::buffer::Buffer;
use crate::conn::data::{Status, Transfer};
use crate::handshake::incoming::Incoming;
use crate::handshake::tcp_rules::carry_out;
use crate::rules::action::Ruling;
use crate::rules::ruleset::{Progress, Rule};
use crate::rules::run::{Reached, Sight};
use crate::rules::scene::{Payload, Place};
use crate::worker::{FrontendState, Worker};

/// Where rules look at a request.
#[derive(Debug, Clone, Copy)]
pub struct Inspection<'a> {
    /// The worker.
    pub worker: &'a Rc<Worker>,
    /// The frontend.
    pub frontend: &'a FrontendState,
    /// The index of the listening address.
    pub bind: usize,
    /// The backend, once chosen.
    pub backend: Option<Place<'a>>,
    /// The rules.
    pub rules: &'a [Arc<Rule>],
    /// `inspect-delay`.
    pub delay: Option<Duration>,
}

/// Why a stream does not go on.
#[derive(Debug)]
pub enum Refused {
    /// A rule refused it.
    Rule(Ruling),
    /// The client failed.
    Client(io::Error),
}

/// Evaluates the rules, and waits where they have to.
///
/// # Errors
/// Why the stream does not go on.
pub async fn request(inspection: Inspection<'_>, incoming: &mut Incoming) -> Result<(), Refused> {
    let Inspection {
        worker,
        frontend,
        rules,
        ..
    } = inspection;
    if rules.is_empty() {
        return Ok(());
    }
    let room = worker.shared.global.bufsize;
    let deadline = inspection.delay.map(|delay| Instant::now() + delay);
    let mut progress = Progress::default();
    let mut ended = false;
    // Rules that look at no bytes are decided at once; others find what has come already.
    let mut tried = false;
    loop {
        let full = incoming.received.held().len() >= room;
        let over = deadline.is_none_or(|deadline| Instant::now() >= deadline);
        let complete = ended || full;
        let setting = worker.setting(frontend, inspection.bind);
        let Incoming {
            connection,
            session,
            proxy,
            received,
            ..
        } = &mut *incoming;
        let sight = Sight {
            last_look: tried && (complete || over),
            client_tcp: Some(connection),
            proxy: proxy.as_deref(),
            tls: connection.ssl(),
            backend: inspection.backend,
            request: Some(Payload {
                bytes: received.held(),
                complete,
            }),
            ..Sight::default()
        };
        let reached = setting.run(rules, &mut progress, session, sight, |effect| {
            carry_out(connection, effect);
        });
        match reached {
            Reached::Ruling(Ruling::Accept | Ruling::Close, _) => return Ok(()),
            Reached::Ruling(refused, _) => return Err(Refused::Rule(refused)),
            Reached::Waits if tried && (complete || over) => return Ok(()),
            Reached::Waits => {}
        }
        let until = if tried { deadline } else { None };
        tried = true;
        ended |= more(incoming, worker, room, until)
            .await
            .map_err(Refused::Client)?;
    }
}

/// Reads what comes next until then; without `until` only what is there already. Whether the client
/// has ended.
async fn more(
    incoming: &mut Incoming,
    worker: &Worker,
    room: usize,
    until: Option<Instant>,
) -> io::Result<bool> {
    let Incoming {
        connection,
        received,
        ..
    } = incoming;
    make_room(received, worker, room);
    let Some(until) = until else {
        return ended(connection.try_now(|data, socket| data.to_buf(socket, received)));
    };
    let read = poll_fn(|cx| {
        loop {
            let polled = connection.poll_in(cx, |data, socket| data.to_buf(socket, received));
            let transfer = ready!(polled)?;
            let nothing = transfer.bytes == 0 && transfer.error.is_none();
            if !nothing || transfer.status.contains(Status::SHUT_IN) {
                return Poll::Ready(ended(transfer));
            }
        }
    });
    tokio::time::timeout_at(until.into(), read)
        .await
        .unwrap_or(Ok(false))
}

fn ended(transfer: Transfer) -> io::Result<bool> {
    match transfer.error {
        Some(error) => Err(error),
        None => Ok(transfer.status.contains(Status::SHUT_IN)),
    }
}

/// Room for as much as rules may look at.
fn make_room(received: &mut Buffer, worker: &Worker, room: usize) {
    if received.capacity() == 0 {
        *received = worker.pool.get_buffer(room);
    }
    let held = received.held().len();
    if held < room && received.room().is_empty() {
        received.reserve(room - held);
    }
}
