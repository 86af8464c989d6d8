//! What the fuzz targets check, and the daemon's files that they check.

#[path = "../../../proxy/src/handshake/proxy_protocol/tests/laws.rs"]
mod laws;
#[path = "../../../proxy/src/handshake/proxy_protocol/mod.rs"]
pub mod proxy_protocol;

/// Checks what holds for any bytes as the beginning of a connection that owes a PROXY header.
///
/// # Panics
///
/// If something does not hold.
pub fn check_proxy_protocol(bytes: &[u8]) {
    laws::check(bytes);
}
