//! What the sections say of health checks.

use super::super::model::check::{BackendHealth, ServerHealth};

/// The words of `server` and `default-server` lines.
#[derive(Debug, Clone, Default)]
pub(crate) struct CheckWords {}

/// The lines of a proxy.
#[derive(Debug, Clone, Default)]
pub(crate) struct CheckSettings {}

impl CheckWords {
    /// What they come to.
    #[expect(clippy::unused_self, reason = "there are no words yet")]
    pub(crate) fn health(&self) -> ServerHealth {
        ServerHealth::default()
    }
}

impl CheckSettings {
    /// What they come to.
    #[expect(clippy::unused_self, reason = "there are no lines yet")]
    pub(crate) fn health(&self) -> BackendHealth {
        BackendHealth::default()
    }
}
