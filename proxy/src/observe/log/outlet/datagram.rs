//! Lines as datagrams: UDP and UNIX sockets.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use socket2::{SockAddr, Socket, Type};

use super::backlog::Backlog;
use crate::conn::ctrl::unix::abstract_address;

/// A socket for datagrams, and where they go.
#[derive(Debug)]
pub(super) struct Datagrams {
    /// `None`: a name that no socket can have.
    to: Option<SockAddr>,
    socket: Option<Socket>,
}

impl Datagrams {
    /// To an IP syslog server.
    pub(super) fn udp(to: SocketAddr) -> Self {
        Self::new(Some(to.into()))
    }

    /// To a UNIX syslog socket.
    pub(super) fn unix(path: &Path) -> Self {
        Self::new(SockAddr::unix(path).ok())
    }

    /// To a UNIX syslog socket in the abstract name space.
    pub(super) fn abstract_unix(name: &[u8]) -> Self {
        Self::new(abstract_address(name).ok())
    }

    fn new(to: Option<SockAddr>) -> Self {
        Self { to, socket: None }
    }

    /// Sends what can be sent now; gives how many lines were lost.
    pub(super) fn flush(&mut self, backlog: &mut Backlog) -> u64 {
        let mut lost = 0;
        while let Some(line) = backlog.first() {
            match self.send(line) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Nobody is there, or it is too long: the next one may fare better.
                Err(_) => lost += 1,
            }
            backlog.skip();
        }
        lost
    }

    fn send(&mut self, line: &[u8]) -> io::Result<usize> {
        let to = self.to.as_ref().ok_or(io::ErrorKind::InvalidInput)?;
        let socket = match &mut self.socket {
            Some(socket) => socket,
            none => {
                let socket = Socket::new(to.domain(), Type::DGRAM, None)?;
                socket.set_nonblocking(true)?;
                none.insert(socket)
            }
        };
        socket.send_to(line, to)
    }
}
