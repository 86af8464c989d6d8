//! ACCEPT_PROXY: waits for a PROXY header. What follows it in the same read is the next handler's,
//! or the stream's.

use super::Outcome;
use super::incoming::{Entrance, Incoming};
use super::proxy_protocol::{Addresses, Progress, read};
use crate::conn::data::Status;
use crate::conn::data::raw::raw_sock_to_buf;
use crate::conn::end::Reason;
use crate::conn::op::Step;
use crate::observe::record::Endpoint;

/// Reads as far as the header goes.
pub(super) fn step(entrance: &Entrance<'_>, incoming: &mut Incoming) -> Result<Outcome, Reason> {
    incoming.connection.start(Step::AcceptHeader);
    if incoming.received.capacity() == 0 {
        incoming.received = entrance.pool.get_buffer(entrance.room);
    }
    loop {
        match read(incoming.received.held()) {
            Err(refusal) => return Err(Reason::BadHeader(refusal.to_string().into())),
            Ok(Progress::Complete { header, length }) => {
                incoming.received.taken(length);
                match header.addresses {
                    Addresses::Inet {
                        source,
                        destination,
                    } => {
                        incoming.session.source = Endpoint::Inet(source);
                        incoming.session.destination = Some(destination);
                    }
                    Addresses::Unix { .. } => incoming.session.source = Endpoint::Unix,
                    // The connection's own addresses hold.
                    Addresses::Unknown => {}
                }
                incoming.proxy = Some(header);
                incoming.connection.finish(Step::AcceptHeader);
                return Ok(Outcome::DONE);
            }
            Ok(Progress::Partial { at_least }) => incoming.received.reserve(at_least.max(1)),
        }
        let got = raw_sock_to_buf(incoming.connection.fd(), &mut incoming.received);
        if let Some(error) = got.error {
            return Err(Reason::from(&error));
        }
        if got.status.contains(Status::SHUT_IN) {
            return Err(Reason::PeerClosed);
        }
        if got.bytes == 0 && got.status.contains(Status::EMPTY_IN) {
            return Ok(Outcome::Input);
        }
    }
}
