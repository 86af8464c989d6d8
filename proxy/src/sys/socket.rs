//! Sockets: the calls of the byte path, and the options that `socket2` does not know.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::{check, check_len};

/// Receives up to `buf.len()` bytes without waiting; 0 is end of stream.
///
/// # Errors
/// `WouldBlock` when nothing is queued, else the socket's error.
pub fn recv(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    recv_flags(fd, buf, 0)
}

/// As [`recv`], leaving the bytes in the queue.
///
/// # Errors
/// As [`recv`].
pub fn peek(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    recv_flags(fd, buf, libc::MSG_PEEK)
}

fn recv_flags(fd: BorrowedFd<'_>, buf: &mut [u8], flags: libc::c_int) -> io::Result<usize> {
    // SAFETY: `buf` is writable for its whole length during the call.
    check_len(unsafe {
        libc::recv(
            fd.as_raw_fd(),
            buf.as_mut_ptr().cast(),
            buf.len(),
            flags | libc::MSG_DONTWAIT,
        )
    })
}

/// Sends up to `buf.len()` bytes without waiting and without SIGPIPE. `more` tells TCP that more
/// follows at once, so that it need not send a small segment now.
///
/// # Errors
/// `WouldBlock` when the send queue is full, else the socket's error.
pub fn send(fd: BorrowedFd<'_>, buf: &[u8], more: bool) -> io::Result<usize> {
    let more = if more { libc::MSG_MORE } else { 0 };
    // SAFETY: `buf` is readable for its whole length during the call.
    check_len(unsafe {
        libc::send(
            fd.as_raw_fd(),
            buf.as_ptr().cast(),
            buf.len(),
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL | more,
        )
    })
}

/// Which half of a connection to shut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// No more reading.
    Read,
    /// No more writing: TCP sends a FIN behind what is queued.
    Write,
}

/// `shutdown(2)`.
///
/// # Errors
/// `NotConnected` when the peer has reset the connection, else what the kernel says.
pub fn shutdown(fd: BorrowedFd<'_>, half: Half) -> io::Result<()> {
    let how = match half {
        Half::Read => libc::SHUT_RD,
        Half::Write => libc::SHUT_WR,
    };
    // SAFETY: no memory is passed.
    check(unsafe { libc::shutdown(fd.as_raw_fd(), how) }).map(drop)
}

/// Sets an option; `T` is what the kernel expects of it, an integer or a C struct of integers.
pub(super) fn set_option<T>(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: `value` is readable for `size_of::<T>()` bytes, and only integers and C structs of
    // integers are passed by the callers in `sys`.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    })
    .map(drop)
}

/// Reads an option; `T` is the integer that the kernel returns.
pub(super) fn get_option<T: Default>(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
) -> io::Result<T> {
    let mut value = T::default();
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is writable for `len` bytes; the callers in `sys` ask for integers, of which
    // every bit pattern is valid.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            level,
            name,
            std::ptr::from_mut(&mut value).cast(),
            &raw mut len,
        )
    })?;
    Ok(value)
}

/// What `close` does with a connection that is still open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linger {
    /// Queued bytes are sent, then a FIN.
    Graceful,
    /// Queued bytes are dropped and the peer sees a reset.
    Reset,
}

/// Sets `SO_LINGER`.
///
/// # Errors
/// What the kernel says.
pub fn set_linger(fd: BorrowedFd<'_>, linger: Linger) -> io::Result<()> {
    let value = libc::linger {
        l_onoff: libc::c_int::from(linger == Linger::Reset),
        l_linger: 0,
    };
    set_option(fd, libc::SOL_SOCKET, libc::SO_LINGER, &value)
}

/// Sets `SO_MARK`, which wants CAP_NET_ADMIN.
///
/// # Errors
/// What the kernel says.
pub fn set_mark(fd: BorrowedFd<'_>, mark: u32) -> io::Result<()> {
    socket2::SockRef::from(&fd).set_mark(mark)
}

/// Sets `IP_TOS`, on an IPv6 socket `IPV6_TCLASS` too.
///
/// # Errors
/// What the kernel says.
pub fn set_tos(fd: BorrowedFd<'_>, tos: u8) -> io::Result<()> {
    let socket = socket2::SockRef::from(&fd);
    if socket.domain()? == socket2::Domain::IPV6 {
        socket.set_tclass_v6(u32::from(tos))?;
    }
    socket.set_tos_v4(u32::from(tos))
}

/// Lets the close that follows end a TCP connection without a packet: by repair mode, which wants
/// CAP_NET_ADMIN; else by a reset that does not get past the first router.
///
/// # Errors
/// What the kernel says of the second way.
pub fn silence(fd: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    if set_option(fd, libc::IPPROTO_TCP, libc::TCP_REPAIR, &on).is_ok() {
        return Ok(());
    }
    let socket = socket2::SockRef::from(&fd);
    if socket.domain()? == socket2::Domain::IPV6 {
        socket.set_unicast_hops_v6(1)?;
    }
    socket.set_ttl_v4(1)
}

/// Sets `TCP_NODELAY`.
///
/// # Errors
/// What the kernel says.
pub fn set_nodelay(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_option::<libc::c_int>(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, &1)
}

/// Sets `SO_RCVLOWAT`, bytes. Setting 1 also makes the kernel call the socket's data-ready
/// callback, which runs a sockmap verdict on what is already queued.
///
/// # Errors
/// What the kernel says.
pub fn set_rcvlowat(fd: BorrowedFd<'_>, bytes: i32) -> io::Result<()> {
    set_option::<libc::c_int>(fd, libc::SOL_SOCKET, libc::SO_RCVLOWAT, &bytes)
}

/// Stops keep-alives.
///
/// # Errors
/// What the kernel says.
pub fn clear_keepalive(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_option(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, &0_i32)
}

/// Payload bytes that a TCP socket has received and nobody has read.
///
/// # Errors
/// What the kernel says.
pub fn unread(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the kernel writes one int.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut bytes) })?;
    Ok(bytes.unsigned_abs())
}

/// Sets `SO_KEEPALIVE`.
///
/// # Errors
/// What the kernel says.
pub fn set_keepalive(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_option::<libc::c_int>(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, &1)
}

/// Sets `TCP_DEFER_ACCEPT` on a listening socket: connections are accepted when their first data
/// comes, or after `seconds`.
///
/// # Errors
/// What the kernel says.
pub fn set_defer_accept(fd: BorrowedFd<'_>, seconds: i32) -> io::Result<()> {
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, &seconds)
}

/// Sets `TCP_FASTOPEN` on a listening socket: up to `pending` connections may bring data with
/// their SYN.
///
/// # Errors
/// What the kernel says.
pub fn set_fastopen(fd: BorrowedFd<'_>, pending: i32) -> io::Result<()> {
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, &pending)
}

/// Clears `TCP_QUICKACK`: the next acknowledgement waits for data to travel with, up to the delayed
/// acknowledgement's limit. Before connect: the handshake's last acknowledgement.
///
/// # Errors
/// What the kernel says.
pub fn delay_ack(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_option::<libc::c_int>(fd, libc::IPPROTO_TCP, libc::TCP_QUICKACK, &0)
}

/// Sets `TCP_WINDOW_CLAMP`: the largest window that is advertised from now on, bytes.
///
/// # Errors
/// What the kernel says.
pub fn set_window_clamp(fd: BorrowedFd<'_>, bytes: i32) -> io::Result<()> {
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP, &bytes)
}

/// Sets `IP_BIND_ADDRESS_NO_PORT`: a bind to port 0 leaves the choice of the port to connect.
///
/// # Errors
/// What the kernel says.
pub fn set_bind_address_no_port(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_option::<libc::c_int>(fd, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, &1)
}

/// The socket's cookie, unique for the life of the kernel.
///
/// # Errors
/// What the kernel says.
pub fn cookie(fd: BorrowedFd<'_>) -> io::Result<u64> {
    get_option(fd, libc::SOL_SOCKET, libc::SO_COOKIE)
}

/// Takes the socket's pending error, if any.
///
/// # Errors
/// What the kernel says about the call itself.
pub fn take_error(fd: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
    let code: libc::c_int = get_option(fd, libc::SOL_SOCKET, libc::SO_ERROR)?;
    Ok((code != 0).then(|| io::Error::from_raw_os_error(code)))
}

/// Whether the process, or the machine, has run out of what sockets are made of.
#[must_use]
pub fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}

/// Accepts one connection, non-blocking and close-on-exec, with its peer's address.
///
/// # Errors
/// `WouldBlock` when none waits, else what the kernel says.
pub fn accept(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, socket2::SockAddr)> {
    let mut accepted: RawFd = -1;
    // SAFETY: `try_init` hands a zeroed address storage and its length; `accept4` writes at most
    // that many bytes and the true length, as `try_init` asks.
    let ((), address) = unsafe {
        socket2::SockAddr::try_init(|storage, len| {
            accepted = check(libc::accept4(
                fd.as_raw_fd(),
                storage.cast(),
                len,
                libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
            ))?;
            Ok(())
        })
    }?;
    // SAFETY: the kernel just made this descriptor and nobody else knows it.
    Ok((unsafe { OwnedFd::from_raw_fd(accepted) }, address))
}

/// Takes over a descriptor that the process inherited, after checking that it is a listening
/// stream socket, and duplicates it close-on-exec.
///
/// # Errors
/// `InvalidInput` when it is not a listening stream socket, else what the kernel says.
pub fn inherit_listener(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed; a bad descriptor is an error of the call.
    let copy = check(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) })?;
    // SAFETY: the kernel just made this descriptor and nobody else knows it.
    let copy = unsafe { OwnedFd::from_raw_fd(copy) };
    let borrowed = std::os::fd::AsFd::as_fd(&copy);
    let listening: libc::c_int = get_option(borrowed, libc::SOL_SOCKET, libc::SO_ACCEPTCONN)?;
    let kind: libc::c_int = get_option(borrowed, libc::SOL_SOCKET, libc::SO_TYPE)?;
    if listening == 0 || kind != libc::SOCK_STREAM {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a listening stream socket",
        ));
    }
    Ok(copy)
}
