//! The only unsafe code of the daemon: thin, typed wrappers of one system call each.
//!
//! Nothing here decides anything. Every wrapper returns `io::Result`, retries nothing, and keeps
//! the kernel's meaning of "would block".
#![expect(
    unsafe_code,
    reason = "this room exists to hold the system calls, each with its argument"
)]

pub mod bpffs;
pub mod epoll;
pub mod fd;
pub mod interface;
pub mod mmap;
pub mod pipe;
pub mod process;
pub mod rcu;
pub mod repair;
pub mod route;
pub mod socket;
pub mod tcp;
#[cfg(test)]
mod testing;
pub mod watch;

use std::io;

/// Turns the C convention (-1 and errno) into a `Result`.
fn check(value: libc::c_int) -> io::Result<libc::c_int> {
    if value == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(value)
    }
}

/// As [`check`], for calls that return a byte count.
fn check_len(value: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(value).map_err(|_| io::Error::last_os_error())
}
