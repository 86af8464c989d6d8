//! `TCP_REPAIR`: what the kernel otherwise keeps to itself about a connection, and ends of
//! connections that nobody hears.
//!
//! Everything here wants CAP_NET_ADMIN in the socket's network namespace, else it is EPERM.
//!
//! What the kernel does with a socket in repair, read in its source, and measured on 6.18 by the
//! tests of this file except for the window probe:
//!
//! - It goes on receiving: packets are acknowledged, data is queued. Only what the application does
//!   is different.
//! - While the *send* queue is the chosen one, the transmit path takes what is unsent for sent: it
//!   moves to the retransmit queue and no packet leaves. It comes to that when an acknowledgement
//!   arrives, or a timer fires, between two calls of ours. Nothing is lost by it: to TCP that data
//!   is lost on the way, and it is sent again after the loss probe or the retransmission timeout,
//!   some hundred milliseconds later at worst. See [`sequences`].
//! - Turning repair on makes the socket share its port with anybody, turning it off makes it share
//!   with nobody: SO_REUSEADDR is overwritten both times, and a connection that shares with nobody
//!   keeps a later process from binding a listener to its port. So the option is put back.
//! - Turning it off with 0 sends a window probe; with -1 nothing is sent.
//! - A close while repair is on drops everything and sends nothing: neither FIN nor RST, whatever
//!   is unread, unsent or said by SO_LINGER. The end of the process is such a close too, however
//!   it ends: repair is a property of the socket.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use socket2::{Domain, SockRef, Socket, Type};

use super::socket::{get_option, set_option};

// Values of TCP_REPAIR.
const ON: libc::c_int = 1;
const OFF_WITHOUT_PROBE: libc::c_int = -1;

// Values of TCP_REPAIR_QUEUE.
const RECEIVE_QUEUE: libc::c_int = 1;
const SEND_QUEUE: libc::c_int = 2;

/// A socket in repair until this is dropped.
struct Repair<'a> {
    fd: BorrowedFd<'a>,
    reuse: bool,
}

impl<'a> Repair<'a> {
    fn begin(fd: BorrowedFd<'a>) -> io::Result<Repair<'a>> {
        let reuse = SockRef::from(&fd).reuse_address()?;
        set_option(fd, libc::IPPROTO_TCP, libc::TCP_REPAIR, &ON)?;
        Ok(Repair { fd, reuse })
    }

    fn sequence(&self, queue: libc::c_int) -> io::Result<u32> {
        set_option(self.fd, libc::IPPROTO_TCP, libc::TCP_REPAIR_QUEUE, &queue)?;
        get_option(self.fd, libc::IPPROTO_TCP, libc::TCP_QUEUE_SEQ)
    }

    fn end(&self) -> io::Result<()> {
        let off = OFF_WITHOUT_PROBE;
        set_option(self.fd, libc::IPPROTO_TCP, libc::TCP_REPAIR, &off)?;
        if self.reuse {
            SockRef::from(&self.fd).set_reuse_address(true)?;
        }
        Ok(())
    }
}

impl Drop for Repair<'_> {
    fn drop(&mut self) {
        // It was allowed to begin, so it is allowed to end.
        let ended = self.end();
        debug_assert!(ended.is_ok(), "repair does not end: {ended:?}");
    }
}

/// Where a connection's two directions are, in sequence numbers as they are on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sequences {
    /// The number that the next byte handed to the socket will have (`write_seq`): behind
    /// everything that is sent or still queued, behind our FIN if there is one.
    pub write: u32,
    /// The number that the peer's next byte in order will have (`rcv_nxt`): behind everything that
    /// waits to be read, behind the peer's FIN if it came. It equals `copied_seq` when there is
    /// nothing to read.
    pub received: u32,
}

/// Reads both sequence numbers of a connection, and sends nothing.
///
/// The two are read one after the other while packets come in, each exact for its own moment.
///
/// The send queue is chosen for one call's time only, as the last of all. Unsent data that an
/// acknowledgement would have sent in just that moment is late then (see the top of this file),
/// and not lost. Callers avoid even that by asking when `tcp::Info::not_sent` is 0.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN and for a listening socket, else what the kernel says. Repair is off
/// again in any case.
pub fn sequences(fd: BorrowedFd<'_>) -> io::Result<Sequences> {
    let repair = Repair::begin(fd)?;
    let received = repair.sequence(RECEIVE_QUEUE)?;
    let write = repair.sequence(SEND_QUEUE)?;
    Ok(Sequences { write, received })
}

/// The value that the socket would put into a segment's timestamp option now. It counts
/// milliseconds (microseconds on a route with `features tcp_usec_ts`), from a start of its own for
/// each connection. Without timestamps on the connection it means nothing. No privilege needed.
///
/// It is no upper bound of what the socket has sent: on 6.18 every second segment or so carries a
/// value one ahead of what this says directly afterwards (measured with milliseconds; none was
/// further ahead). Who continues the count leaves room for that.
///
/// # Errors
/// What the kernel says.
pub fn timestamp(fd: BorrowedFd<'_>) -> io::Result<u32> {
    get_option(fd, libc::IPPROTO_TCP, libc::TCP_TIMESTAMP)
}

/// Closes a connection without a packet: the peer does not learn of it. What is unread or unsent is
/// dropped, and SO_LINGER is not looked at. A packet that comes afterwards finds no socket, and the
/// kernel answers it with a reset, unless something keeps it from the kernel.
///
/// While there is another descriptor of the socket (also in a child that has forked and has not
/// called exec yet) the connection stays open, in repair, and its end is as silent.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN and for a listening socket: the socket is then closed in the ordinary
/// way.
pub fn close_silently(fd: OwnedFd) -> io::Result<()> {
    set_option(fd.as_fd(), libc::IPPROTO_TCP, libc::TCP_REPAIR, &ON)?;
    drop(fd);
    Ok(())
}

/// Takes a pair of addresses and ports, so that the kernel gives it to no other connection, without
/// a packet. `local` need not be an address of this host.
///
/// What it returns is a connection in repair. It sends nothing of its own accord, and nothing when
/// it is closed, also by the death of the process; the pair is free from then on. But it is an
/// established connection to the kernel: a packet of the peer that reaches it, with numbers that it
/// cannot know, is answered with an acknowledgement. Who keeps the pair for packets that are handled
/// elsewhere has to keep them from it.
///
/// A listener on `local`'s port can be bound beside it as beside any connection: with SO_REUSEADDR
/// or SO_REUSEPORT.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN, EADDRNOTAVAIL when the pair belongs to a connection already,
/// ENETUNREACH when there is no route to `remote`, `InvalidInput` when the families differ.
pub fn occupy(local: SocketAddr, remote: SocketAddr) -> io::Result<OwnedFd> {
    make(local, remote, None).map(Into::into)
}

/// Resets the far host of a connection that has no socket, as the connection's own socket would with
/// these numbers.
///
/// # Errors
/// As [`occupy`].
pub fn reset(local: SocketAddr, remote: SocketAddr, sequences: Sequences) -> io::Result<()> {
    let socket = make(local, remote, Some(sequences))?;
    socket.set_linger(Some(std::time::Duration::ZERO))?;
    let off = OFF_WITHOUT_PROBE;
    set_option(socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_REPAIR, &off)
}

/// A connection in repair, made without a packet.
fn make(local: SocketAddr, remote: SocketAddr, at: Option<Sequences>) -> io::Result<Socket> {
    if local.is_ipv4() != remote.is_ipv4() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{local} and {remote} are not of one family"),
        ));
    }
    let kind = Type::STREAM.cloexec().nonblocking();
    let socket = Socket::new(Domain::for_address(remote), kind, None)?;
    // Before bind: in repair it shares the port with every socket that is bound to it.
    set_option(socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_REPAIR, &ON)?;
    // Allows an address that is not of this host, both to bind and to route from.
    if local.is_ipv4() {
        socket.set_ip_transparent_v4(true)?;
    } else {
        set_option::<libc::c_int>(socket.as_fd(), libc::SOL_IPV6, libc::IPV6_TRANSPARENT, &1)?;
    }
    socket.bind(&local.into())?;
    if let Some(Sequences { write, received }) = at {
        for (queue, number) in [(RECEIVE_QUEUE, received), (SEND_QUEUE, write)] {
            let fd = socket.as_fd();
            set_option(fd, libc::IPPROTO_TCP, libc::TCP_REPAIR_QUEUE, &queue)?;
            set_option(fd, libc::IPPROTO_TCP, libc::TCP_QUEUE_SEQ, &number)?;
        }
    }
    socket.connect(&remote.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests;
