//! Servers by host name, and who resolves the names.

use std::sync::Arc;

/// How a server's host name becomes an address.
#[derive(Debug, Clone, Default)]
pub struct ServerName {}

/// A `resolvers` section.
#[derive(Debug, Clone)]
pub struct Resolvers {
    /// Its name.
    pub name: Arc<str>,
}
