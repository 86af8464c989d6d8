//! Path choice: what moves a flow, decided from the configuration and from what the flow has
//! shown so far. Pure; the engines say no for reasons of their own.

use std::time::Duration;

use crate::channel::UserPath;
use crate::config::model::{Backend, Frontend, OffloadAfter, OffloadMode, SpliceHint};

/// How much a flow must have moved before the redirect is worth it, unless configured.
const BEFORE_REDIRECT: OffloadAfter = OffloadAfter::Bytes(256 * 1024);

/// Bytes that cost user space as much as a turn: being woken to move what there is, or to find that it
/// is less.
const BYTES_PER_TURN: u64 = 8 * 1024;

/// Turns that cost user space as much as a promotion to the relay does. `docs/relay.md` has the figures.
const TURNS_PER_PROMOTION: u64 = 16;

/// The engine that a flow may be promoted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// None: it stays in user space.
    None,
    /// The sockmap redirect.
    Redirect,
    /// The packet relay.
    Relay,
    /// The packet relay, where it can be had.
    Best,
}

/// What a flow's frontend and backend allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    mode: OffloadMode,
    /// `offload-after`; `None`: as is best for the engine.
    after: Option<OffloadAfter>,
    splice: SpliceHint,
    no_splice: bool,
}

/// What a flow has cost user space so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Bytes moved, both directions together.
    pub bytes: u64,
    /// How often it was woken and moved something.
    pub turns: u32,
    /// Since it began.
    pub age: Duration,
}

impl Policy {
    /// The frontend's words hold; where it is silent, the backend's. `no_splice` rules pipes out.
    #[must_use]
    pub fn new(frontend: &Frontend, backend: &Backend, no_splice: bool) -> Self {
        Self {
            no_splice,
            mode: frontend.offload.or(backend.offload).unwrap_or_default(),
            after: frontend.offload_after.or(backend.offload_after),
            splice: SpliceHint {
                auto: frontend.splice.auto || backend.splice.auto,
                request: frontend.splice.request || backend.splice.request,
                response: frontend.splice.response || backend.splice.response,
            },
        }
    }

    /// The user-space path of the direction whose source is side `source` (0 client, 1 server).
    #[must_use]
    pub fn user_path(&self, source: usize) -> UserPath {
        let asked = if source == 0 {
            self.splice.request
        } else {
            self.splice.response
        };
        match self.mode {
            _ if self.no_splice => UserPath::Buffer,
            OffloadMode::Buffer => UserPath::Buffer,
            OffloadMode::Pipe => UserPath::Pipe,
            _ if asked => UserPath::Pipe,
            OffloadMode::Off if !self.splice.auto => UserPath::Buffer,
            _ => UserPath::Adaptive,
        }
    }

    /// The engine to promote to.
    #[must_use]
    pub fn engine(&self) -> Engine {
        match self.mode {
            OffloadMode::Redirect => Engine::Redirect,
            OffloadMode::Relay => Engine::Relay,
            // The redirect loses to user space on every workload of the bench, so that `auto` does
            // not take it.
            OffloadMode::Auto => Engine::Best,
            _ => Engine::None,
        }
    }

    /// Whether a flow's first bytes from the client go through a buffer.
    #[must_use]
    pub fn starts_in_buffer(&self) -> bool {
        let can_leave = !matches!(self.engine(), Engine::None | Engine::Best);
        let leaves_at_once = can_leave && self.is_due(&Spent::default());
        self.user_path(0) != UserPath::Pipe && !leaves_at_once
    }

    /// Whether a flow is worth promoting. Unless it is configured, it goes to the relay when it has cost as
    /// much as that does: no flow then costs more than twice of what it would have if all had been known.
    #[must_use]
    pub fn is_due(&self, spent: &Spent) -> bool {
        let usual = (self.mode == OffloadMode::Redirect).then_some(BEFORE_REDIRECT);
        match self.after.or(usual) {
            Some(OffloadAfter::Bytes(least)) => spent.bytes >= least,
            Some(OffloadAfter::Age(least)) => spent.age >= least,
            None => u64::from(spent.turns) + spent.bytes / BYTES_PER_TURN >= TURNS_PER_PROMOTION,
        }
    }

    /// How long until [`Policy::is_due`] becomes true without a byte moving; `None` also when it is.
    #[must_use]
    pub fn due_in(&self, age: Duration) -> Option<Duration> {
        match self.after {
            None | Some(OffloadAfter::Bytes(_)) => None,
            Some(OffloadAfter::Age(least)) => least.checked_sub(age).filter(|left| !left.is_zero()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(mode: OffloadMode, after: Option<OffloadAfter>) -> Policy {
        Policy {
            mode,
            after,
            splice: SpliceHint::default(),
            no_splice: false,
        }
    }

    fn spent(bytes: u64, turns: u32, ms: u64) -> Spent {
        Spent {
            bytes,
            turns,
            age: Duration::from_millis(ms),
        }
    }

    #[test]
    fn a_flow_goes_to_the_relay_when_it_has_cost_as_much_as_that() {
        for mode in [OffloadMode::Auto, OffloadMode::Relay] {
            let usual = policy(mode, None);
            for (bytes, turns, is_due) in [
                (0, 0, false),
                (1600, 15, false),
                (1600, 16, true),
                (120 << 10, 0, false),
                (120 << 10, 1, true),
                (128 << 10, 0, true),
            ] {
                assert_eq!(
                    usual.is_due(&spent(bytes, turns, 1000)),
                    is_due,
                    "{bytes} {turns}"
                );
            }
        }
    }

    #[test]
    fn what_is_configured_holds() {
        let bytes = Some(OffloadAfter::Bytes(1000));
        let age = Some(OffloadAfter::Age(Duration::from_millis(20)));
        for mode in [OffloadMode::Auto, OffloadMode::Redirect, OffloadMode::Relay] {
            assert!(!policy(mode, bytes).is_due(&spent(999, 50, 50)));
            assert!(policy(mode, bytes).is_due(&spent(1000, 1, 0)));
            assert!(!policy(mode, age).is_due(&spent(1 << 30, 50, 19)));
            assert!(policy(mode, age).is_due(&spent(0, 0, 20)));
        }
        let redirect = policy(OffloadMode::Redirect, None);
        assert!(!redirect.is_due(&spent(200 << 10, 50, 50)));
        assert!(redirect.is_due(&spent(256 << 10, 0, 0)));
    }

    #[test]
    fn nothing_is_waited_for_that_has_come() {
        let after = |time| Some(OffloadAfter::Age(Duration::from_millis(time)));
        let at = Duration::from_millis(20);
        let relay = |after| policy(OffloadMode::Relay, after).due_in(at);
        assert_eq!(relay(after(50)), Some(Duration::from_millis(30)));
        assert_eq!(relay(after(20)), None);
        assert_eq!(relay(None), None);
    }
}
