//! ACCEPT_SESSION: the connection has got through; from here on it is a stream's client.

use super::incoming::{Entrance, Incoming};
use super::{Outcome, tcp_rules};

/// Asks the rules of the session, and leaves nothing behind that only handshakes need.
pub(super) fn step(entrance: &Entrance<'_>, incoming: &mut Incoming) -> Outcome {
    let outcome = tcp_rules::session(entrance, incoming);
    if matches!(outcome, Outcome::Done(_)) {
        incoming.connection.established();
    }
    outcome
}
