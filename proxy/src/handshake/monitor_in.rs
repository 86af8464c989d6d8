//! MONITOR_IN: whether the client is a monitor (`monitor-net`), judged by the address of its socket
//! before anything is read.

use super::incoming::{Entrance, Incoming};
use super::send_last_chunk::answer;
use super::{Handlers, Outcome};
use crate::conn::op::Step;
use crate::observe::record::Endpoint;

/// A monitor is owed an answer and nothing else.
pub(super) fn step(entrance: &Entrance<'_>, incoming: &mut Incoming) -> Outcome {
    let Endpoint::Inet(source) = incoming.session.source else {
        return Outcome::DONE;
    };
    let ip = source.ip().to_canonical();
    if !entrance.monitor_net.iter().any(|net| net.contains(&ip)) {
        return Outcome::DONE;
    }
    incoming.last_chunk = (answer(entrance.http_check), 0);
    incoming.connection.want(Step::ResponseHeader);
    Outcome::Done(Handlers::SEND_LAST_CHUNK)
}
