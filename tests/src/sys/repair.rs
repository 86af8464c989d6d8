//! Where a connection is in its sequence numbers.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::check;

/// The numbers of the two directions, as they are on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sequences {
    /// The number of the next byte that the socket is given to send.
    pub write: u32,
    /// The number of the next byte that it expects.
    pub received: u32,
}

/// Reads the numbers of a connection on which nothing is under way; nothing is sent for it.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN in the socket's namespace.
pub fn sequences(socket: BorrowedFd<'_>) -> io::Result<Sequences> {
    const ON: libc::c_int = 1;
    const OFF_WITHOUT_PROBE: libc::c_int = -1;
    const RECEIVE_QUEUE: libc::c_int = 1;
    const SEND_QUEUE: libc::c_int = 2;
    set(socket, libc::TCP_REPAIR, ON)?;
    let read = || {
        Ok(Sequences {
            write: sequence(socket, SEND_QUEUE)?,
            received: sequence(socket, RECEIVE_QUEUE)?,
        })
    };
    let sequences = read();
    set(socket, libc::TCP_REPAIR, OFF_WITHOUT_PROBE)?;
    sequences
}

fn sequence(socket: BorrowedFd<'_>, queue: libc::c_int) -> io::Result<u32> {
    set(socket, libc::TCP_REPAIR_QUEUE, queue)?;
    let mut value = 0_u32;
    let mut length: libc::socklen_t = 4;
    // SAFETY: `value` and `length` live through the call, and `length` says how much of `value` may be written.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_QUEUE_SEQ,
            (&raw mut value).cast(),
            &raw mut length,
        )
    })?;
    Ok(value)
}

fn set(socket: BorrowedFd<'_>, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let length: libc::socklen_t = 4;
    // SAFETY: `value` is an int that lives through the call, which reads as much of it.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            option,
            (&raw const value).cast(),
            length,
        )
    })
}
