//! REMOTE: asks an agent for the connection, and waits for its answer.

use std::io::{self, ErrorKind};

use super::Outcome;
use crate::conn::Connection;
use crate::conn::ctrl::remote::codec::{Answer, Progress, Status};
use crate::conn::end::{Detail, Reason};
use crate::conn::op::Step;
use crate::sys::socket;

/// What an agent is asked, and how far that is.
#[derive(Debug)]
pub struct Errand {
    request: Vec<u8>,
    sent: usize,
    answer: Vec<u8>,
}

impl Errand {
    /// Asks this.
    #[must_use]
    pub fn new(request: Vec<u8>) -> Self {
        Self {
            request,
            sent: 0,
            answer: Vec::new(),
        }
    }
}

/// Sends what is left of the request, then reads as far as the answer goes, and no further: what
/// follows it is the server's.
pub(super) fn step(connection: &mut Connection, errand: &mut Errand) -> Result<Outcome, Reason> {
    connection.start(Step::RemoteConnect);
    while errand.sent < errand.request.len() {
        match socket::send(connection.fd(), &errand.request[errand.sent..], false) {
            Ok(count) => errand.sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Outcome::Output),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Reason::from(&error)),
        }
    }
    loop {
        let bad = |refusal: String| Reason::BadHeader(refusal.into());
        let wanted = match Answer::read(&errand.answer).map_err(|e| bad(e.to_string()))? {
            Progress::Complete { message, .. } => {
                judge(&message)?;
                tracing::debug!(local = ?message.local, "an agent has made a connection");
                connection.finish(Step::RemoteConnect);
                return Ok(Outcome::DONE);
            }
            Progress::Partial { at_least } => at_least,
        };
        match receive(connection, &mut errand.answer, wanted) {
            Ok(0) => return Err(Reason::PeerClosed),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Outcome::Input),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Reason::from(&error)),
        }
    }
}

/// Receives until `into` has at most `wanted` bytes.
fn receive(connection: &Connection, into: &mut Vec<u8>, wanted: usize) -> io::Result<usize> {
    let held = into.len();
    into.resize(wanted, 0);
    let got = socket::recv(connection.fd(), &mut into[held..]);
    into.truncate(held + got.as_ref().copied().unwrap_or(0));
    got
}

/// What a refused connection would have said here, where there is such a thing.
fn judge(answer: &Answer) -> Result<(), Reason> {
    let detail = || Detail::from(answer.reason.as_str());
    Err(match answer.status {
        Status::Connected => return Ok(()),
        Status::Refused => Reason::Refused,
        Status::Unreachable => Reason::Unreachable,
        Status::Timeout => Reason::Timeout,
        Status::NotAllowed => Reason::NotAllowed(detail()),
        Status::BadRequest => Reason::BadRequest(detail()),
        Status::TlsFailed | Status::Failed => Reason::Agent(detail()),
    })
}
