//! What a connection owes before its data flow: one file per handler, in the order in which they
//! run.
//!
//! A connection has a map of the handlers that it still owes ([`Handlers`]). The first of them is
//! tried: it removes itself when it is done, waits for its socket and is tried again, ends the
//! connection, or fails it. The whole of it is bounded by one deadline. `monitor-net` and
//! `mode health` come before everything else.

pub mod accept_proxy;
pub mod accept_remote;
pub mod accept_session;
pub mod health;
pub mod incoming;
pub mod monitor_in;
pub mod outgoing;
pub mod proxy_protocol;
pub mod remote;
pub mod send_last_chunk;
pub mod send_proxy;
pub mod ssl;
pub mod tcp_rules;
pub mod turns;

use std::time::Duration;

use crate::conn::end::{Handler, Layer, Reason};
use crate::rules::action::Ruling;

bitflags::bitflags! {
    /// The handlers that a connection owes. The lowest bit runs first.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
    pub struct Handlers: u16 {
        /// Finds out whether a monitor connected.
        const MONITOR_IN = 0x001;
        /// Answers in the place of a stream.
        const HEALTH = 0x002;
        /// Sends the connection's last words.
        const SEND_LAST_CHUNK = 0x004;
        /// Applies the rules of the connection level.
        const TCP_RULES = 0x008;
        /// Waits for a PROXY header.
        const ACCEPT_PROXY = 0x010;
        /// Waits for a request for a connection.
        const ACCEPT_REMOTE = 0x020;
        /// Asks an agent for a connection.
        const REMOTE = 0x040;
        /// Sends a PROXY header.
        const SEND_PROXY = 0x080;
        /// The TLS handshake.
        const SSL_HS = 0x100;
        /// Makes a session of the connection.
        const ACCEPT_SESSION = 0x200;
    }
}

impl Handlers {
    /// The one whose turn it is.
    #[must_use]
    pub fn first(self) -> Option<Handler> {
        let handler = match 1 << self.bits().trailing_zeros().min(15) {
            0x001 => Handler::MonitorIn,
            0x002 => Handler::Health,
            0x004 => Handler::SendLastChunk,
            0x008 => Handler::TcpRules,
            0x010 => Handler::AcceptProxy,
            0x020 => Handler::AcceptRemote,
            0x040 => Handler::Remote,
            0x080 => Handler::SendProxy,
            0x100 => Handler::Ssl,
            0x200 => Handler::AcceptSession,
            _ => return None,
        };
        Some(handler)
    }

    /// The bit of one handler.
    #[must_use]
    pub const fn only(handler: Handler) -> Self {
        match handler {
            Handler::MonitorIn => Self::MONITOR_IN,
            Handler::Health => Self::HEALTH,
            Handler::SendLastChunk => Self::SEND_LAST_CHUNK,
            Handler::AcceptProxy => Self::ACCEPT_PROXY,
            Handler::TcpRules => Self::TCP_RULES,
            Handler::AcceptRemote => Self::ACCEPT_REMOTE,
            Handler::Remote => Self::REMOTE,
            Handler::SendProxy => Self::SEND_PROXY,
            Handler::Ssl => Self::SSL_HS,
            Handler::AcceptSession => Self::ACCEPT_SESSION,
        }
    }
}

/// How one try of a handler went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is done; these are owed besides what was owed before.
    Done(Handlers),
    /// It waits for its peer.
    Input,
    /// It waits for room in the socket.
    Output,
    /// The connection has done all that it was for: nothing else runs.
    Over,
    /// A rule refused it.
    Denied(Ruling),
}

impl Outcome {
    /// Done, and nothing else is owed for it.
    pub const DONE: Self = Self::Done(Handlers::empty());
}

/// Why a connection did not get through its handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which step failed.
    pub handler: Handler,
    /// Why.
    pub reason: Reason,
}

impl Failure {
    /// Its entry in a connection's history.
    #[must_use]
    pub fn layer(&self) -> Layer {
        Layer::Handshake(self.handler)
    }
}

/// In words, for the log line that names the source and the listener.
impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let step = match self.handler {
            Handler::AcceptProxy => "waiting for the PROXY header",
            Handler::AcceptRemote => "waiting for a request",
            Handler::Remote => "waiting for the agent's answer",
            Handler::SendProxy => "sending the PROXY header",
            Handler::Ssl => "in the TLS handshake",
            Handler::SendLastChunk => "answering",
            Handler::TcpRules => "in the connection rules",
            Handler::MonitorIn | Handler::Health | Handler::AcceptSession => "at the start",
        };
        match &self.reason {
            Reason::BadHeader(detail) if self.handler == Handler::Remote => {
                write!(f, "the agent's answer is none: {}", detail.as_str())
            }
            Reason::BadHeader(detail) => write!(f, "PROXY header refused: {}", detail.as_str()),
            Reason::BadRequest(detail) => write!(f, "bad request: {}", detail.as_str()),
            Reason::NotAllowed(detail) => write!(f, "not allowed: {}", detail.as_str()),
            Reason::Agent(detail) => write!(f, "the agent could not: {}", detail.as_str()),
            Reason::Protocol(detail) => write!(f, "TLS handshake failed: {}", detail.as_str()),
            Reason::Certificate(detail) => {
                write!(
                    f,
                    "TLS handshake failed: certificate refused: {}",
                    detail.as_str()
                )
            }
            Reason::Alert(number) => {
                write!(f, "TLS handshake failed: alert {number} from the peer")
            }
            Reason::Timeout => write!(f, "timeout {step}"),
            Reason::PeerClosed => write!(f, "connection closed {step}"),
            Reason::PeerReset => write!(f, "connection reset {step}"),
            Reason::Local(word) => write!(f, "{word} {step}"),
            reason => write!(f, "{reason} {step}"),
        }
    }
}

/// How long a handshake may take where no timeout is configured: a client must not be able to hold
/// a place for ever by sending nothing.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_run_in_the_order_of_their_bits() {
        let mut owed = Handlers::all();
        let mut order = Vec::new();
        while let Some(handler) = owed.first() {
            assert!(owed.contains(Handlers::only(handler)));
            owed.remove(Handlers::only(handler));
            order.push(handler);
        }
        assert_eq!(
            order,
            [
                Handler::MonitorIn,
                Handler::Health,
                Handler::SendLastChunk,
                Handler::TcpRules,
                Handler::AcceptProxy,
                Handler::AcceptRemote,
                Handler::Remote,
                Handler::SendProxy,
                Handler::Ssl,
                Handler::AcceptSession,
            ]
        );
        assert_eq!(Handlers::empty().first(), None);
    }
}
