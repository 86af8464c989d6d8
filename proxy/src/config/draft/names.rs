//! What the sections say of servers by host name.

use super::super::model::names::ServerName;

/// The words of `server` and `default-server` lines.
#[derive(Debug, Clone, Default)]
pub(crate) struct NameWords {}

impl NameWords {
    /// What they come to.
    #[expect(clippy::unused_self, reason = "there are no words yet")]
    pub(crate) fn naming(&self) -> ServerName {
        ServerName::default()
    }
}
