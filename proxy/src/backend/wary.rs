//! Whether a server is to be trusted with a client's bytes as soon as it is connected.
//!
//! A program that resets connections as soon as it has them is up by any check that only connects, and a stream that it
//! resets is lost once a byte was sent: nobody can tell what became of that byte. So whoever has just done so is given
//! a moment to do it again before the next client's bytes go out. A reset in this moment is a failed attempt to
//! connect, and another server may be tried. Servers that behave pay nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long a connection that is suspected waits for its reset.
pub const MOMENT: Duration = Duration::from_millis(1);

/// What is thought of a server, after its last streams.
#[derive(Debug, Default)]
pub struct Wary(AtomicBool);

impl Wary {
    /// Whether its next connection has to wait for [`MOMENT`].
    #[must_use]
    pub fn is(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// A stream has ended. `received`: bytes that the server sent; `reset`: it was the server who reset.
    pub fn learn(&self, received: u64, reset: bool) {
        let now = match (received, reset) {
            (0, true) => true,
            (0, false) => return,
            _ => false,
        };
        // Workers share the cache line: it is written to when something changes.
        if self.is() != now {
            self.0.store(now, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_without_a_byte_is_remembered_until_there_is_an_answer() {
        let wary = Wary::default();
        assert!(!wary.is());
        wary.learn(7, true);
        assert!(!wary.is(), "it had answered");
        wary.learn(0, true);
        assert!(wary.is());
        wary.learn(0, false);
        assert!(wary.is(), "silence says nothing");
        wary.learn(1, false);
        assert!(!wary.is());
    }
}
