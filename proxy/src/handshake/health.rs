//! HEALTH: a proxy in `mode health` tells everyone that it lives, and closes.

use super::incoming::{Entrance, Incoming};
use super::send_last_chunk::answer;
use super::{Handlers, Outcome};
use crate::conn::end::Reason;
use crate::conn::op::Step;

/// Every client is owed the answer.
pub(super) fn step(entrance: &Entrance<'_>, incoming: &mut Incoming) -> Result<Outcome, Reason> {
    if incoming.last_chunk.0.is_empty() {
        incoming.last_chunk = (answer(entrance.http_check), 0);
        incoming.connection.want(Step::ResponseHeader);
    }
    Ok(Outcome::Done(Handlers::SEND_LAST_CHUNK))
}
