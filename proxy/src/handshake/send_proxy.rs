//! SEND_PROXY: sends a PROXY header to a server, before anything else.

use std::io::ErrorKind;

use super::Outcome;
use super::outgoing::Departure;
use crate::conn::Connection;
use crate::conn::end::Reason;
use crate::conn::op::Step;
use crate::sys::socket;

/// Sends what is left of the header. Where more follows at once it goes out in the same packet.
pub(super) fn step(
    connection: &mut Connection,
    departure: &mut Departure<'_>,
) -> Result<Outcome, Reason> {
    connection.start(Step::SendHeader);
    while departure.sent < departure.header.len() {
        let rest = &departure.header[departure.sent..];
        match socket::send(connection.fd(), rest, departure.more_follows) {
            Ok(count) => departure.sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Outcome::Output),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Reason::from(&error)),
        }
    }
    connection.finish(Step::SendHeader);
    Ok(Outcome::DONE)
}
