//! The only unsafe code of this package: namespaces, what a child does between fork and exec, signals, and the
//! socket queries that std and socket2 lack.

#![expect(
    unsafe_code,
    reason = "system calls without a safe wrapper in std or socket2"
)]

pub mod bpf;
pub mod repair;

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use socket2::{Domain, SockAddr, SockAddrStorage, Socket, Type};

/// Moves the calling thread, and only it, into the network namespace `ns`.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN; EINVAL when `ns` is not a network namespace.
pub fn enter_netns(ns: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: setns takes an open descriptor, which the borrow guarantees, and changes only this thread.
    check(unsafe { libc::setns(ns.as_raw_fd(), libc::CLONE_NEWNET) })
}

/// Makes the child start in the network namespace `ns`.
pub fn spawn_in_netns(command: &mut Command, ns: OwnedFd) {
    let enter = move || enter_netns(ns.as_fd());
    // SAFETY: the closure makes one system call (setns) and allocates nothing, so it may run after fork.
    unsafe { command.pre_exec(enter) };
}

/// Has the kernel kill the child when the thread that starts it ends, so that a test that is killed leaves no daemon.
///
/// Start such children from a thread that outlives them: the test's own.
pub fn die_with_parent(command: &mut Command) {
    let ask = || {
        let signal = libc::c_ulong::try_from(libc::SIGKILL).unwrap_or_default();
        // SAFETY: PR_SET_PDEATHSIG takes one integer and touches no memory.
        check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) })
    };
    // SAFETY: the closure makes one system call (prctl) and allocates nothing, so it may run after fork.
    unsafe { command.pre_exec(ask) };
}

/// Lets the child inherit `fd` under its own number. The descriptor must stay open until the child has started.
pub fn inherit_fd(command: &mut Command, fd: RawFd) {
    let keep = move || {
        // SAFETY: F_SETFD takes an integer; a descriptor that is not open gives EBADF.
        check(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) })
    };
    // SAFETY: the closure makes one system call (fcntl) and allocates nothing, so it may run after fork.
    unsafe { command.pre_exec(keep) };
}

/// Raises this process's limit of open files (children inherit it) to `limit`, or as near as the hard limit allows.
/// Never lowers it.
///
/// # Errors
/// When the kernel does not tell or take the limits.
pub fn raise_open_files(limit: u64) -> io::Result<()> {
    let mut now = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `now` is a valid rlimit for the call to fill.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut now) })?;
    if now.rlim_cur >= limit {
        return Ok(());
    }
    let wanted = libc::rlimit {
        rlim_cur: limit.min(now.rlim_max),
        rlim_max: now.rlim_max,
    };
    // SAFETY: `wanted` is a valid rlimit that the call only reads.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const wanted) })
}

/// Sends `signal` to the process `pid`.
///
/// # Errors
/// ESRCH when there is no such process.
pub fn signal(pid: u32, signal: i32) -> io::Result<()> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    // SAFETY: kill takes integers and touches no memory.
    check(unsafe { libc::kill(pid, signal) })
}

/// Waits until `socket` can be read, or written if `write`, or has failed; false when it can not within `milliseconds`.
///
/// # Errors
/// ENOMEM, or EINTR when a signal came first.
pub fn poll(
    socket: BorrowedFd<'_>,
    read: bool,
    write: bool,
    milliseconds: i32,
) -> io::Result<bool> {
    let mut entry = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: if read { libc::POLLIN } else { 0 } | if write { libc::POLLOUT } else { 0 },
        revents: 0,
    };
    // SAFETY: `entry` is one pollfd, as the count says, that lives through the call.
    let ready = unsafe { libc::poll(&raw mut entry, 1, milliseconds) };
    check(ready)?;
    Ok(ready > 0)
}

/// Bytes that `socket` has taken from its application and that its peer has not acknowledged.
///
/// # Errors
/// ENOTTY when `socket` is not a stream socket.
pub fn unacknowledged(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: TIOCOUTQ (SIOCOUTQ on sockets) writes one int to the address given, which is that of a live int.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) })?;
    Ok(u64::try_from(bytes).unwrap_or_default())
}

/// Bytes in the receive queue of `socket`, not yet read.
///
/// # Errors
/// ENOTTY when `socket` is not a stream socket.
pub fn unread(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int to the address given, which is that of a live int.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONREAD, &raw mut bytes) })?;
    Ok(u64::try_from(bytes).unwrap_or_default())
}

/// Whether the TCP connection of `socket` is over in both directions: finished both ways, or reset.
///
/// # Errors
/// EOPNOTSUPP and the like when `socket` is not a TCP socket.
pub fn is_closed(socket: BorrowedFd<'_>) -> io::Result<bool> {
    const TCP_CLOSE: u8 = 7;
    // The state is the first byte of TCP_INFO.
    let mut state = 0_u8;
    let mut length: libc::socklen_t = 1;
    // SAFETY: `state` and `length` live through the call, and `length` says how much of `state` may be written.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut state).cast(),
            &raw mut length,
        )
    })?;
    Ok(state == TCP_CLOSE)
}

/// A socket that sends whole Ethernet frames out of the interface `name` of the calling thread's network namespace, and
/// receives nothing.
///
/// # Errors
/// ENODEV when there is no such interface, EPERM without CAP_NET_RAW.
pub fn packet_socket(name: &str) -> io::Result<Socket> {
    let name = CString::new(name)?;
    // SAFETY: `name` ends with a NUL and is only read.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    let index = i32::try_from(index).map_err(io::Error::other)?;
    if index == 0 {
        return Err(io::Error::last_os_error());
    }
    let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
    let fill = |storage: *mut SockAddrStorage, length: *mut libc::socklen_t| {
        // SAFETY: the storage is zeroed, and large and aligned enough for any kind of address.
        let address = unsafe { &mut *storage.cast::<libc::sockaddr_ll>() };
        address.sll_family = libc::AF_PACKET as libc::sa_family_t;
        address.sll_ifindex = index;
        // SAFETY: `length` is valid for the call.
        unsafe { *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t };
        Ok(())
    };
    // SAFETY: the closure writes an address of the family and length that it says.
    let ((), address) = unsafe { SockAddr::try_init(fill) }?;
    socket.bind(&address)?;
    Ok(socket)
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
