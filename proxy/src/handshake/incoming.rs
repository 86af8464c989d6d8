//! Runs the handlers of an accepted connection.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::turns::{Turn, Turns};
use super::{
    DEFAULT_TIMEOUT, Failure, Handlers, Outcome, accept_proxy, accept_remote, accept_session,
    health, monitor_in, send_last_chunk, ssl, tcp_rules,
};
use crate::channel::buffer::Buffer;
use crate::channel::pool::Pool;
use crate::config::model::remote::Agent;
use crate::config::model::{Frontend, Mode};
use crate::conn::Connection;
use crate::conn::ctrl::remote::codec::Request;
use crate::conn::end::{EndHistory, Handler, Reason};
use crate::conn::op::Step;
use crate::conn::shutdown::AbortLimits;
use crate::handshake::proxy_protocol::Header;
use crate::observe::record::Endpoint;
use crate::rules::action::Ruling;
use crate::rules::scene::ClientTcp;
use crate::rules::session::Session;
use crate::tls::BindContext;

/// How much a client may still send, and for how long, once it was told its last words.
const LAST_WORDS: AbortLimits = AbortLimits {
    bytes: 1 << 20,
    time: Duration::from_secs(5),
};

/// What handlers need to know of the place where the connection came in.
#[derive(Debug)]
pub struct Entrance<'a> {
    /// `mode`.
    pub mode: Mode,
    /// `monitor-net`.
    pub monitor_net: &'a [IpNet],
    /// `option httpchk`.
    pub http_check: bool,
    /// `accept-proxy`.
    pub accept_proxy: bool,
    /// Of an agent: what it does for whom.
    pub agent: Option<&'a Agent>,
    /// The frontend's rules; `None`: it has none.
    pub rules: Option<tcp_rules::Rules<'a>>,
    /// `ssl`.
    pub tls: Option<&'a BindContext>,
    /// `timeout client`: how long all of it may take.
    pub timeout: Option<Duration>,
    /// The worker's buffers.
    pub pool: &'a Rc<Pool>,
    /// Bytes to receive at a time.
    pub room: usize,
    /// The worker's queue for cryptography.
    pub turns: &'a Turns,
}

impl<'a> Entrance<'a> {
    /// The handlers that a new connection owes here.
    #[must_use]
    pub fn owed(&self) -> Handlers {
        let mut owed = Handlers::ACCEPT_SESSION;
        owed.set(Handlers::MONITOR_IN, !self.monitor_net.is_empty());
        owed.set(Handlers::HEALTH, self.mode == Mode::Health);
        owed.set(Handlers::ACCEPT_PROXY, self.accept_proxy);
        owed.set(
            Handlers::TCP_RULES,
            self.rules
                .is_some_and(|rules| !rules.front.connection.is_empty()),
        );
        owed.set(Handlers::ACCEPT_REMOTE, self.agent.is_some());
        owed.set(Handlers::SSL_HS, self.tls.is_some());
        owed
    }

    /// What a frontend's section says.
    #[must_use]
    pub fn new(
        frontend: &'a Frontend,
        rules: Option<tcp_rules::Rules<'a>>,
        accept_proxy: bool,
        tls: Option<&'a BindContext>,
        pool: &'a Rc<Pool>,
        room: usize,
        turns: &'a Turns,
    ) -> Self {
        Self {
            mode: frontend.mode,
            monitor_net: &frontend.monitor_net,
            http_check: frontend.http_check,
            accept_proxy,
            agent: frontend.agent.as_ref(),
            rules,
            tls,
            timeout: frontend.timeouts.client,
            pool,
            room,
            turns,
        }
    }
}

/// A connection on its way through its handlers.
#[derive(Debug)]
pub struct Incoming {
    /// It.
    pub connection: Connection,
    /// Who it comes from and where it goes, and what rules have made of it.
    pub session: Session,
    /// The PROXY header.
    pub proxy: Option<Box<Header>>,
    /// The connection that an agent was asked for.
    pub asked: Option<Box<Request>>,
    /// Read, and for whoever comes next.
    pub received: Buffer,
    /// The last words to send, and how many bytes of them are out.
    pub last_chunk: (&'static [u8], usize),
}

impl Incoming {
    /// A connection that was just accepted.
    #[must_use]
    pub fn new(connection: Connection, source: Endpoint) -> Self {
        Self {
            connection,
            session: Session::new(source),
            proxy: None,
            asked: None,
            received: Buffer::empty(),
            last_chunk: (&[], 0),
        }
    }
}

impl Incoming {
    /// Itself; its box is given back at once, and not when the caller ends.
    #[must_use]
    pub fn unboxed(self: Box<Self>) -> Self {
        *self
    }

    /// The address that the client connected to; `None` where it is no IP address.
    #[must_use]
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.session
            .destination
            .or_else(|| self.connection.local_address())
    }
}

/// How a connection ended that became no session.
#[derive(Debug)]
pub enum Ended {
    /// It got its answer.
    Answered,
    /// A rule refused it: of this handler, TCP_RULES or ACCEPT_SESSION.
    Denied(Handler),
    /// It failed. `silent`: its client never sent anything, as port scanners and checks do.
    Failed {
        /// Why.
        failure: Failure,
        /// Nothing was received of it.
        silent: bool,
        /// Who it came from, as far as it is known.
        source: Endpoint,
    },
}

/// How far a connection gets without waiting.
#[derive(Debug)]
pub enum Begun {
    /// To the end: it is ready for its data, or has ended.
    Over(Result<Box<Incoming>, Ended>),
    /// These are left, and the first of them may have to wait: [`finish`].
    Owes(Box<Incoming>, Handlers),
}

/// Runs what the connection owes up to the first handler that may have to wait for its peer. Most
/// connections owe none of these, and need neither a future of their own nor a deadline.
#[must_use]
pub fn begin(entrance: &Entrance<'_>, mut incoming: Box<Incoming>) -> Begun {
    let mut owed = entrance.owed();
    note_owed(&mut incoming.connection, owed);
    while let Some(handler) = owed.first() {
        let outcome = match handler {
            Handler::MonitorIn => monitor_in::step(entrance, &mut incoming),
            Handler::TcpRules => tcp_rules::connection(entrance, &mut incoming),
            Handler::AcceptSession => accept_session::step(entrance, &mut incoming),
            _ => return Begun::Owes(incoming, owed),
        };
        match outcome {
            Outcome::Done(more) => owe(&mut incoming.connection, &mut owed, handler, more),
            Outcome::Denied(ruling) => {
                return Begun::Over(Err(denied(*incoming, handler, ruling)));
            }
            Outcome::Input | Outcome::Output | Outcome::Over => {
                return Begun::Owes(incoming, owed);
            }
        }
    }
    Begun::Over(Ok(incoming))
}

/// Runs what [`begin`] has left. Gives the connection back ready for its data.
///
/// # Errors
/// When it ended instead; it is closed then.
pub async fn finish(
    entrance: &Entrance<'_>,
    mut incoming: Box<Incoming>,
    mut owed: Handlers,
) -> Result<Box<Incoming>, Ended> {
    let timeout = entrance.timeout.unwrap_or(DEFAULT_TIMEOUT);
    let deadline = Instant::now() + timeout;
    let outcome = {
        let handlers = work(entrance, &mut incoming, &mut owed);
        match tokio::time::timeout_at(deadline.into(), handlers).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(Failure {
                handler: owed.first().unwrap_or(Handler::AcceptSession),
                reason: Reason::Timeout,
            }),
        }
    };
    match outcome {
        Ok(Outcome::Over) => {
            let mut history = EndHistory::new();
            incoming
                .connection
                .abort_read(LAST_WORDS, &mut history)
                .await;
            tracing::debug!(%history, "a connection got its answer");
            Err(Ended::Answered)
        }
        Ok(Outcome::Denied(ruling)) => {
            // The handler that refused is the one that is still owed.
            let handler = owed.first().unwrap_or(Handler::AcceptSession);
            Err(denied(*incoming, handler, ruling))
        }
        Ok(_) => Ok(incoming),
        Err(failure) => {
            let source = incoming.session.source;
            let silent = failure.reason == Reason::PeerClosed
                && incoming.received.held().is_empty()
                && incoming
                    .connection
                    .ssl()
                    .is_none_or(|ssl| !ssl.has_received());
            let told = incoming.connection.ssl().is_some()
                || matches!(
                    failure.reason,
                    Reason::BadRequest(_) | Reason::NotAllowed(_)
                );
            if told && failure.reason != Reason::Timeout {
                // What says why must not be lost to the reset which unread bytes cause.
                let mut history = EndHistory::new();
                incoming
                    .connection
                    .abort_read(LAST_WORDS, &mut history)
                    .await;
            } else {
                let connection = &mut incoming.connection;
                connection.fail(failure.layer(), failure.reason.clone());
                tracing::debug!(condition = %connection.condition(), "a client was given up");
            }
            Err(Ended::Failed {
                failure,
                silent,
                source,
            })
        }
    }
}

/// Closes a connection that a rule refused.
fn denied(incoming: Incoming, handler: Handler, ruling: Ruling) -> Ended {
    if ruling == Ruling::SilentDrop {
        incoming.connection.vanish();
    }
    Ended::Denied(handler)
}

/// A turn in the worker's queue for cryptography, for the handler that needs one.
pub(super) async fn turn_for(handler: Handler, turns: &Turns) -> Option<Turn<'_>> {
    match handler {
        Handler::Ssl => Some(turns.take().await),
        _ => None,
    }
}

/// Remembers what a handler found, before its task waits for anything, and passes its turn on.
pub(super) async fn after_try(
    connection: &Connection,
    outcome: &Result<Outcome, Reason>,
    turn: Option<Turn<'_>>,
) {
    match outcome {
        Ok(Outcome::Input) => connection.found_empty(),
        Ok(Outcome::Output) => connection.found_full(),
        _ => {}
    }
    if let Some(turn) = turn {
        turn.pass().await;
    }
}

fn note_owed(connection: &mut Connection, owed: Handlers) {
    for (handler, step) in [
        (Handlers::ACCEPT_PROXY, Step::AcceptHeader),
        (Handlers::ACCEPT_REMOTE, Step::RemoteAccept),
        (Handlers::SSL_HS, Step::DataAccept),
    ] {
        if owed.contains(handler) {
            connection.want(step);
        }
    }
}

/// A handler is done, and what it has found out is owed too.
fn owe(connection: &mut Connection, owed: &mut Handlers, done: Handler, more: Handlers) {
    owed.remove(Handlers::only(done));
    note_owed(connection, more);
    owed.insert(more);
}

/// Tries the handlers until none is owed, or one ends the connection.
async fn work(
    entrance: &Entrance<'_>,
    incoming: &mut Incoming,
    owed: &mut Handlers,
) -> Result<Outcome, Failure> {
    while let Some(handler) = owed.first() {
        let turn = turn_for(handler, entrance.turns).await;
        let outcome = match handler {
            Handler::MonitorIn => Ok(monitor_in::step(entrance, incoming)),
            Handler::Health => health::step(entrance, incoming),
            Handler::SendLastChunk => send_last_chunk::step(incoming),
            Handler::AcceptProxy => accept_proxy::step(entrance, incoming),
            Handler::AcceptRemote => accept_remote::step(entrance, incoming),
            Handler::TcpRules => Ok(tcp_rules::connection(entrance, incoming)),
            Handler::Ssl => ssl::accept(entrance, incoming),
            Handler::AcceptSession => Ok(accept_session::step(entrance, incoming)),
            Handler::Remote | Handler::SendProxy => Ok(Outcome::DONE),
        };
        after_try(&incoming.connection, &outcome, turn).await;
        let failed = |reason| Failure { handler, reason };
        match outcome.map_err(failed)? {
            Outcome::Done(more) => owe(&mut incoming.connection, owed, handler, more),
            Outcome::Input => {
                let waited = incoming.connection.readable().await;
                waited.map_err(|error| failed(Reason::from(&error)))?;
            }
            Outcome::Output => {
                let waited = incoming.connection.writable().await;
                waited.map_err(|error| failed(Reason::from(&error)))?;
            }
            over @ (Outcome::Over | Outcome::Denied(_)) => return Ok(over),
        }
    }
    Ok(Outcome::DONE)
}

#[cfg(test)]
mod tests;
