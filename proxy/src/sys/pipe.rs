//! Pipes and `splice(2)`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{check, check_len};

/// Makes a non-blocking pipe: read end, write end.
///
/// # Errors
/// What the kernel says, such as too many open files.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    // SAFETY: `fds` has room for the two descriptors.
    check(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_NONBLOCK | libc::O_CLOEXEC) })?;
    // SAFETY: the kernel just made both descriptors and nobody else knows them.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// Asks for a capacity of `bytes` and returns what the kernel gave.
///
/// # Errors
/// `PermissionDenied` above the system's limit for users without CAP_SYS_RESOURCE.
pub fn set_capacity(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<usize> {
    let wanted = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    // SAFETY: no memory is passed.
    let got = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETPIPE_SZ, wanted) })?;
    Ok(got as usize)
}

/// The pipe's capacity in bytes.
///
/// # Errors
/// What the kernel says.
pub fn capacity(fd: BorrowedFd<'_>) -> io::Result<usize> {
    // SAFETY: no memory is passed.
    let got = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETPIPE_SZ) })?;
    Ok(got as usize)
}

/// Moves up to `len` bytes from `from` to `to`, one of which is a pipe, without waiting. `more`
/// tells a socket that more follows at once. 0 is end of stream.
///
/// # Errors
/// `WouldBlock` when `from` is empty or `to` is full: the kernel does not say which.
pub fn splice(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    len: usize,
    more: bool,
) -> io::Result<usize> {
    let more = if more { libc::SPLICE_F_MORE } else { 0 };
    // SAFETY: null offsets are what pipes and sockets require; no other memory is passed.
    check_len(unsafe {
        libc::splice(
            from.as_raw_fd(),
            std::ptr::null_mut(),
            to.as_raw_fd(),
            std::ptr::null_mut(),
            len,
            libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK | more,
        )
    })
}
