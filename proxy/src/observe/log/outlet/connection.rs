//! Lines over a connection to a syslog server, made again when it breaks.

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use socket2::{SockAddr, Socket, Type};

use super::backlog::Backlog;

/// How long after a failure the next connection is tried.
const RETRY: Duration = Duration::from_secs(1);

/// Bytes handed to the kernel at once.
const CHUNK: usize = 64 << 10;

/// A connection to a syslog server.
#[derive(Debug)]
pub(super) struct Connection {
    /// `None`: a name that no socket can have.
    to: Option<SockAddr>,
    socket: Option<Socket>,
    retry_at: Option<Instant>,
}

impl Connection {
    /// To an IP syslog server.
    pub(super) fn tcp(to: SocketAddr) -> Self {
        Self::new(Some(to.into()))
    }

    /// To a UNIX syslog socket.
    pub(super) fn unix(path: &Path) -> Self {
        Self::new(SockAddr::unix(path).ok())
    }

    fn new(to: Option<SockAddr>) -> Self {
        Self {
            to,
            socket: None,
            retry_at: None,
        }
    }

    /// Sends what can be sent now. What the server did not get stays, and a line that it got in part
    /// goes again from its beginning.
    pub(super) fn flush(&mut self, backlog: &mut Backlog, now: Instant) {
        if self.socket.is_none() && self.retry_at.is_some_and(|at| now < at) {
            return;
        }
        if self.send(backlog).is_err() {
            self.socket = None;
            self.retry_at = Some(now + RETRY);
            backlog.rewind();
        }
    }

    fn send(&mut self, backlog: &mut Backlog) -> io::Result<()> {
        if self.socket.as_ref().is_some_and(has_ended) {
            // The server went away in order, perhaps long ago: it may be back.
            self.socket = None;
            backlog.rewind();
        }
        let socket = match &mut self.socket {
            Some(socket) => socket,
            none => none.insert(connect(self.to.as_ref())?),
        };
        while let Some(chunk) = backlog.chunk(CHUNK) {
            match socket.send(chunk) {
                Ok(sent) => backlog.advance(sent),
                // Its queue is full, or it is not connected yet.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether the server has ended the connection; what it says is not listened to.
fn has_ended(socket: &Socket) -> bool {
    let mut ignored = [MaybeUninit::uninit(); 512];
    loop {
        match socket.recv(&mut ignored) {
            Ok(0) => return true,
            Ok(_) => {}
            // A failure shows itself again when something is sent.
            Err(_) => return false,
        }
    }
}

/// Begins a connection, and does not wait for it.
fn connect(to: Option<&SockAddr>) -> io::Result<Socket> {
    let to = to.ok_or(io::ErrorKind::InvalidInput)?;
    let socket = Socket::new(to.domain(), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(to) {
        Err(error) if !is_under_way(&error) => Err(error),
        _ => Ok(socket),
    }
}

fn is_under_way(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::EINPROGRESS)
}
