//! UNIX stream sockets: opening connections.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::conn::{Connection, Ctrl};

/// The address of an abstract socket: a NUL, then the name.
///
/// # Errors
/// When the name is longer than the kernel allows (107 bytes).
pub fn abstract_address(name: &[u8]) -> io::Result<SockAddr> {
    let mut path = Vec::with_capacity(name.len() + 1);
    path.push(0);
    path.extend_from_slice(name);
    SockAddr::unix(Path::new(OsStr::from_bytes(&path)))
}

/// Starts to connect; [`Connection::connected`] tells the outcome.
///
/// # Errors
/// What fails at once: no such socket, refused, or its backlog is full (`WouldBlock`).
pub fn connect(address: &SockAddr) -> io::Result<Connection> {
    let socket = Socket::new_raw(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    socket.connect(address)?;
    Connection::connecting(OwnedFd::from(socket), Ctrl::Unix)
}
