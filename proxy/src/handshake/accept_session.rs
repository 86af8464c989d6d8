//! ACCEPT_SESSION: the connection has got through; from here on it is a stream's client.

use super::incoming::Incoming;

/// Leaves nothing behind that only handshakes need.
pub(super) fn step(incoming: &mut Incoming) {
    incoming.connection.established();
}
