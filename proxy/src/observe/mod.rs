//! What the daemon says about its flows: the per-flow record, log lines, diagnostics.

pub mod counters;
pub mod log;
pub mod record;
pub mod session_view;
pub mod tracing;
