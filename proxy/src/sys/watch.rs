//! Hands a descriptor to the current runtime's poller.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers `fd`, edge-triggered, with the current runtime.
///
/// # Errors
/// When the runtime cannot register it; the descriptor is then closed.
pub fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` always names the same open descriptor and closes it only when dropped,
    // which `AsyncFd` does after it has deregistered it.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(io::Error::from)
}
