//! TCP: opening connections and preparing accepted ones.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::conn::{Connection, Ctrl};
use crate::sys::socket::{self, Linger};

/// How to open a TCP connection.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConnectOptions {
    /// Local address to connect from.
    pub source: Option<SocketAddr>,
    /// Send keep-alives.
    pub keepalive: bool,
    /// There is data to send as soon as the connection is established.
    pub data_follows: bool,
    /// The MSS to announce, bytes, if it is to be less than the route allows.
    pub announced: Option<u32>,
}

/// Starts to connect; [`Connection::connected`] tells the outcome.
///
/// # Errors
/// What fails at once: no route, no local port or no descriptor left.
pub fn connect(address: SocketAddr, options: ConnectOptions) -> io::Result<Connection> {
    let socket = Socket::new_raw(
        Domain::for_address(address),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    if let Some(source) = options.source {
        // Port 0 is chosen at connect, per destination, so that ports do not run out early.
        if source.port() == 0 {
            socket::set_bind_address_no_port(socket.as_fd())?;
        } else {
            socket.set_reuse_address(true)?;
        }
        socket.bind(&source.into())?;
    }
    if options.data_follows {
        // A refusal only costs a packet.
        let _ = socket::delay_ack(socket.as_fd());
    }
    if let Some(announced) = options.announced {
        // A refusal only costs the relay.
        let _ = socket.set_tcp_mss(announced);
    }
    match socket.connect(&SockAddr::from(address)) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
        _ => {}
    }
    if options.announced.is_some() {
        // The SYN has said it. What this end sends need not be as short; if the server has answered
        // already, it is.
        let _ = socket.set_tcp_mss(0);
    }
    let socket = OwnedFd::from(socket);
    prepare(socket.as_fd(), options.keepalive)?;
    Connection::connecting(socket, Ctrl::Tcp)
}

/// Sets the options that every TCP socket of a flow has. On a listening socket they are what
/// accepted sockets inherit.
///
/// # Errors
/// What the kernel says.
pub fn prepare(socket: BorrowedFd<'_>, keepalive: bool) -> io::Result<()> {
    // What one side sent in one piece goes on at once: the proxy adds no Nagle delay of its own.
    socket::set_nodelay(socket)?;
    // Until it is closed on purpose, closing it (also by the death of the process) resets the
    // peer, so that a stream that was cut short cannot look complete.
    socket::set_linger(socket, Linger::Reset)?;
    if keepalive {
        socket::set_keepalive(socket)?;
    }
    Ok(())
}
