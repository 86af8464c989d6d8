//! What the daemon says about its flows: the per-flow record, log lines, diagnostics.

pub mod log;
pub mod record;
pub mod tracing;
