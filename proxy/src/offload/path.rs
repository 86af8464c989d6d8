//! Path choice: what moves a flow, decided from the configuration and from what the flow has
//! shown so far. Pure; the engines say no for reasons of their own.

use std::time::Duration;

use crate::channel::UserPath;
use crate::config::model::{Backend, Frontend, OffloadAfter, OffloadMode, SpliceHint};

/// How much a flow must have moved before it is worth promoting, unless configured.
pub const DEFAULT_AFTER: OffloadAfter = OffloadAfter::Bytes(256 * 1024);

/// The engine that a flow may be promoted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// None: it stays in user space.
    None,
    /// The sockmap redirect.
    Redirect,
    /// The packet relay.
    Relay,
}

/// What a flow's frontend and backend allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    mode: OffloadMode,
    after: OffloadAfter,
    splice: SpliceHint,
    no_splice: bool,
}

impl Policy {
    /// The frontend's words hold; where it is silent, the backend's. `no_splice` rules pipes out.
    #[must_use]
    pub fn new(frontend: &Frontend, backend: &Backend, no_splice: bool) -> Self {
        Self {
            no_splice,
            mode: frontend.offload.or(backend.offload).unwrap_or_default(),
            after: frontend
                .offload_after
                .or(backend.offload_after)
                .unwrap_or(DEFAULT_AFTER),
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
            // The bench's verdict on this engine: it loses to user space on every workload, so
            // that `auto` does not take it.
            _ => Engine::None,
        }
    }

    /// Whether a flow's first bytes from the client go through a buffer.
    #[must_use]
    pub fn starts_in_buffer(&self) -> bool {
        let leaves_at_once = self.engine() != Engine::None && self.is_due(0, Duration::ZERO);
        self.user_path(0) != UserPath::Pipe && !leaves_at_once
    }

    /// Whether a flow that has moved `bytes` in `age` is worth promoting.
    #[must_use]
    pub fn is_due(&self, bytes: u64, age: Duration) -> bool {
        match self.after {
            OffloadAfter::Bytes(least) => bytes >= least,
            OffloadAfter::Age(least) => age >= least,
        }
    }

    /// How long until [`Policy::is_due`] can become true without a byte moving.
    #[must_use]
    pub fn due_in(&self, age: Duration) -> Option<Duration> {
        match self.after {
            OffloadAfter::Bytes(_) => None,
            OffloadAfter::Age(least) => Some(least.saturating_sub(age)),
        }
    }
}
