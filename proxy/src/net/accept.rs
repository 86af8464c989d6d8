//! Accepts connections of one listening socket until told to stop.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockAddr;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::listen::Listening;
use super::places::Places;
use crate::conn::Ctrl;
use crate::conn::state::{SocketMove, SocketState};
use crate::sys::socket;
use crate::sys::watch::watch;

/// Pause after running out of descriptors or memory: the connection stays in the backlog.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Connections accepted before the worker's other tasks get a turn.
const BURST: usize = 64;

/// One listening socket, watched by the current runtime.
#[derive(Debug)]
pub struct Acceptor {
    socket: AsyncFd<OwnedFd>,
    state: SocketState,
    burst: usize,
    /// What its connections are.
    pub ctrl: Ctrl,
    /// Whether accepted sockets inherit their options from the listener.
    pub prepared: bool,
    /// Index of its frontend.
    pub frontend: usize,
    /// Index of its `bind` address within the frontend.
    pub bind: usize,
    /// The address's own `maxconn`, shared by all workers.
    pub places: Option<Arc<Places>>,
    backlog: Option<i32>,
}

impl Acceptor {
    /// Watches a listening socket.
    ///
    /// # Errors
    /// When the runtime cannot register it.
    pub fn new(listening: Listening) -> io::Result<Self> {
        Ok(Self {
            socket: watch(listening.socket, Interest::READABLE)?,
            state: SocketState::Listen,
            burst: 0,
            ctrl: listening.ctrl,
            prepared: listening.prepared,
            frontend: listening.frontend,
            bind: listening.bind,
            places: listening.places,
            backlog: listening.backlog,
        })
    }

    /// Watches the socket no longer.
    #[must_use]
    pub fn into_listening(self) -> Listening {
        Listening {
            socket: self.socket.into_inner(),
            ctrl: self.ctrl,
            prepared: self.prepared,
            frontend: self.frontend,
            bind: self.bind,
            places: self.places,
            backlog: self.backlog,
        }
    }

    /// Waits until a connection may be there.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub async fn ready(&mut self) -> io::Result<()> {
        self.burst += 1;
        if self.burst > BURST {
            self.burst = 0;
            tokio::task::yield_now().await;
        }
        self.socket.readable().await?.retain_ready();
        Ok(())
    }

    /// The next connection; `None`: there is none any more. Failures of a single connection, and shortages, are waited
    /// out.
    ///
    /// # Errors
    /// When the runtime is shutting down or the socket is no listening socket any more, and ever
    /// after.
    pub async fn accept(&mut self) -> io::Result<Option<(OwnedFd, SockAddr)>> {
        if self.state != SocketState::Listen {
            let state = self.state;
            return Err(io::Error::other(format!("the listening socket is {state}")));
        }
        loop {
            let mut guard = self.socket.readable().await?;
            match socket::accept(self.socket.as_fd()) {
                Ok(accepted) => return Ok(Some(accepted)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    guard.clear_ready();
                    return Ok(None);
                }
                Err(error) if socket::is_shortage(&error) => {
                    tracing::warn!(%error, "cannot accept for now");
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::EBADF | libc::EINVAL | libc::ENOTSOCK | libc::EOPNOTSUPP) => {
                        if let Ok(state) = self.state.after(SocketMove::Fail) {
                            self.state = state;
                        }
                        return Err(error);
                    }
                    // The connection was gone before it was accepted; accept(2) lists what the
                    // network may report here.
                    _ => tracing::debug!(%error, "a connection was gone before it was accepted"),
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_that_failed_accepts_no_more() {
        let (socket, peer) = std::os::unix::net::UnixStream::pair().unwrap();
        socket.set_nonblocking(true).unwrap();
        // A FIN makes it readable, so that an accept is tried.
        drop(peer);
        let mut acceptor = Acceptor::new(Listening {
            socket: socket.into(),
            ctrl: Ctrl::Unix,
            prepared: false,
            frontend: 0,
            bind: 0,
            places: None,
            backlog: None,
        })
        .unwrap();
        let error = acceptor.accept().await.unwrap_err();
        assert!(error.raw_os_error().is_some(), "{error}");
        assert_eq!(acceptor.state, SocketState::Error);
        let error = acceptor.accept().await.unwrap_err();
        assert!(error.to_string().contains("ERROR"), "{error}");
    }
}
