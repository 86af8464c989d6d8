//! Health checks.

/// How a server's health is found out.
#[derive(Debug, Clone, Default)]
pub struct ServerHealth {}

/// What a backend says of its servers' checks.
#[derive(Debug, Clone, Default)]
pub struct BackendHealth {}
