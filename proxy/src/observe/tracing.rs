//! The daemon's own diagnostics: levels per room, on standard error.

use std::io;

use tracing_subscriber::EnvFilter;

/// Environment variable that sets the levels, such as `warn,underpass::offload=debug`.
pub const VARIABLE: &str = "UNDERPASS_LOG";

/// Starts diagnostics. Without the variable, warnings and worse are shown, or with `debug` also
/// what the daemon does.
pub fn start(debug: bool) {
    let default = if debug { "info" } else { "warn" };
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        .init();
}

/// Whether the eBPF programs shall speak: only when someone asked for the offload room at debug.
#[must_use]
pub fn wants_programs() -> bool {
    ::tracing::enabled!(target: "underpass_ebpf", ::tracing::Level::DEBUG)
}
