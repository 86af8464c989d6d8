//! SEND_LAST_CHUNK: sends a connection's last words. Nothing else runs after it.

use std::io::ErrorKind;

use super::Outcome;
use super::incoming::Incoming;
use crate::conn::end::Reason;
use crate::conn::op::Step;
use crate::sys::socket;

/// What monitors are told, in HAProxy's words before version 2.3.
pub(super) fn answer(http: bool) -> &'static [u8] {
    if http {
        b"HTTP/1.0 200 OK\r\n\r\n"
    } else {
        b"OK\n"
    }
}

/// Sends what is left.
pub(super) fn step(incoming: &mut Incoming) -> Result<Outcome, Reason> {
    let (chunk, sent) = &mut incoming.last_chunk;
    incoming.connection.start(Step::ResponseHeader);
    while *sent < chunk.len() {
        match socket::send(incoming.connection.fd(), &chunk[*sent..], false) {
            Ok(count) => *sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Outcome::Output),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Reason::from(&error)),
        }
    }
    incoming.connection.finish(Step::ResponseHeader);
    Ok(Outcome::Over)
}
