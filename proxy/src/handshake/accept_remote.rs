//! ACCEPT_REMOTE: waits for a request for a connection, and refuses what the agent does not do. What
//! follows the request in the same read is the stream's.

use std::net::SocketAddr;

use super::Outcome;
use super::incoming::{Entrance, Incoming};
use crate::config::model::remote::Agent;
use crate::conn::ctrl::remote::codec::{Answer, Progress, Request, Status, Target};
use crate::conn::data::Status as Found;
use crate::conn::data::raw::raw_sock_to_buf;
use crate::conn::end::Reason;
use crate::conn::op::Step;
use crate::observe::record::Endpoint;
use crate::sys::socket;

/// Reads as far as the request goes.
pub(super) fn step(entrance: &Entrance<'_>, incoming: &mut Incoming) -> Result<Outcome, Reason> {
    let Some(agent) = entrance.agent else {
        return Ok(Outcome::DONE);
    };
    incoming.connection.start(Step::RemoteAccept);
    if incoming.received.capacity() == 0 {
        incoming.received = entrance.pool.get_buffer(entrance.room);
    }
    loop {
        match Request::read(incoming.received.held()) {
            Err(refusal) => {
                let why = refusal.to_string();
                if refusal.may_be_answered() {
                    answer(incoming, Status::BadRequest, &why);
                }
                return Err(Reason::BadRequest(why.into()));
            }
            Ok(Progress::Complete { message, length }) => {
                incoming.received.taken(length);
                let target = match judge(agent, &message) {
                    Ok(target) => target,
                    Err(why) => {
                        answer(incoming, Status::NotAllowed, &why);
                        return Err(Reason::NotAllowed(why.into()));
                    }
                };
                // As rules and logs are to see it.
                if let Some(source) = message.source {
                    incoming.session.source = Endpoint::Inet(source);
                }
                incoming.session.destination = Some(target);
                incoming.asked = Some(Box::new(message));
                incoming.connection.finish(Step::RemoteAccept);
                return Ok(Outcome::DONE);
            }
            Ok(Progress::Partial { at_least }) => {
                let missing = at_least.saturating_sub(incoming.received.held().len());
                incoming.received.reserve(missing.max(1));
            }
        }
        let got = raw_sock_to_buf(incoming.connection.fd(), &mut incoming.received);
        if let Some(error) = got.error {
            return Err(Reason::from(&error));
        }
        if got.status.contains(Found::SHUT_IN) {
            return Err(Reason::PeerClosed);
        }
        if got.bytes == 0 && got.status.contains(Found::EMPTY_IN) {
            return Ok(Outcome::Input);
        }
    }
}

/// Where the request goes to, if the agent goes there.
fn judge(agent: &Agent, request: &Request) -> Result<SocketAddr, String> {
    let target = match &request.target {
        Target::Inet(address) => SocketAddr::new(address.ip().to_canonical(), address.port()),
        other => return Err(format!("{other} is no IP address")),
    };
    if !agent.allows(target) {
        return Err(format!("{target} is not among what is allowed"));
    }
    let verify = request.tls.as_ref().is_some_and(|tls| tls.verify);
    if verify && !agent.verifies {
        return Err("there are no authorities to verify a certificate with".to_owned());
    }
    Ok(target)
}

/// Says no. A new connection has room for it; where it has not, its peer sees the end without a word.
fn answer(incoming: &Incoming, status: Status, why: &str) {
    let answer = Answer {
        status,
        local: None,
        reason: why.to_owned(),
    };
    if let Err(error) = socket::send(incoming.connection.fd(), &answer.encode(), false) {
        tracing::debug!(%error, "a refusal could not be sent");
    }
}
