//! A connection: one socket, with a ctrl layer (how it is established and shut) under a data
//! layer (how its bytes are coded).
//!
//! A connection is either watched by its worker's runtime, or *asleep*: its socket is open but
//! nobody polls it here, because the kernel moves its bytes. Polling state is never cached: the
//! I/O is tried, and only "would block" leads to a subscription.

pub mod ctrl;
pub mod data;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

use crate::sys;
use crate::sys::socket::{self, Half, Linger};
pub use ctrl::Ctrl;

/// Which side of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The side that connected to us.
    Client,
    /// The side that we connected to.
    Server,
}

impl Side {
    /// Both sides, in the order of [`Side::index`].
    pub const BOTH: [Self; 2] = [Self::Client, Self::Server];

    /// 0 for the client, 1 for the server: also the index of the direction whose source it is.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Client => 0,
            Self::Server => 1,
        }
    }

    /// The opposite side.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}

/// Who polls the socket.
#[derive(Debug)]
enum Polling {
    Runtime(AsyncFd<OwnedFd>),
    Asleep(OwnedFd),
    /// Only while ownership moves between the other two, or after a failed registration.
    Gone,
}

/// One socket of a flow.
#[derive(Debug)]
pub struct Connection {
    polling: Polling,
    ctrl: Ctrl,
}

impl Connection {
    /// Wraps a non-blocking socket, watched by the current runtime.
    ///
    /// # Errors
    /// When the runtime cannot register it.
    pub fn new(socket: OwnedFd, ctrl: Ctrl) -> io::Result<Self> {
        Ok(Self {
            polling: Polling::Runtime(register(socket)?),
            ctrl,
        })
    }

    /// How it was established.
    #[must_use]
    pub fn ctrl(&self) -> Ctrl {
        self.ctrl
    }

    /// The socket.
    ///
    /// # Panics
    /// After a failed [`Connection::wake`].
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        match &self.polling {
            Polling::Runtime(fd) => fd.get_ref().as_fd(),
            Polling::Asleep(fd) => fd.as_fd(),
            Polling::Gone => panic!("a connection was used after its registration failed"),
        }
    }

    fn watched(&self) -> &AsyncFd<OwnedFd> {
        match &self.polling {
            Polling::Runtime(fd) => fd,
            _ => panic!("a sleeping connection was polled"),
        }
    }

    /// Ready when a read may succeed. Clear the guard after a read that emptied the socket.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub fn poll_read_ready<'a>(
        &'a self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<AsyncFdReadyGuard<'a, OwnedFd>>> {
        self.watched().poll_read_ready(cx)
    }

    /// Ready when a write may succeed. Clear the guard after a write that filled the socket.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub fn poll_write_ready<'a>(
        &'a self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<AsyncFdReadyGuard<'a, OwnedFd>>> {
        self.watched().poll_write_ready(cx)
    }

    /// Waits until the socket has failed or, with `or_fin`, its peer has sent a FIN. Data is
    /// neither.
    pub async fn gone(&self, or_fin: bool) -> io::Error {
        loop {
            let interest = if or_fin {
                Interest::ERROR | Interest::READABLE
            } else {
                Interest::ERROR
            };
            match self.watched().ready(interest).await {
                Err(error) => return error,
                Ok(mut guard) => {
                    if let Ok(Some(error)) = socket::take_error(self.fd()) {
                        return error;
                    }
                    if or_fin && guard.ready().is_read_closed() {
                        return io::ErrorKind::UnexpectedEof.into();
                    }
                    guard.clear_ready();
                }
            }
        }
    }

    /// Waits for an outgoing connection to be established or refused.
    ///
    /// # Errors
    /// Why it was not established.
    pub async fn connected(&self) -> io::Result<()> {
        let guard = self.watched().writable().await?;
        // Only a failed attempt makes both halves look closed: in all other cases the call is
        // saved.
        if guard.ready().is_write_closed()
            && let Some(error) = socket::take_error(self.fd())?
        {
            return Err(error);
        }
        Ok(())
    }

    /// Takes the socket out of the runtime's poller; it stays open.
    pub fn sleep(&mut self) {
        self.polling = match std::mem::replace(&mut self.polling, Polling::Gone) {
            Polling::Runtime(fd) => Polling::Asleep(fd.into_inner()),
            other => other,
        };
    }

    /// Gives the socket back to the current runtime's poller.
    ///
    /// # Errors
    /// When the runtime cannot register it; the socket is then closed, as its linger says.
    pub fn wake(&mut self) -> io::Result<()> {
        if let Polling::Asleep(fd) = std::mem::replace(&mut self.polling, Polling::Gone) {
            self.polling = Polling::Runtime(register(fd)?);
        }
        Ok(())
    }

    /// Sends a FIN behind everything written so far.
    ///
    /// # Errors
    /// When the connection is gone already.
    pub fn shutdown_write(&self) -> io::Result<()> {
        socket::shutdown(self.fd(), Half::Write)
    }

    /// Closes it in order: queued bytes are still sent.
    pub fn close(self) {
        if self.ctrl == Ctrl::Tcp
            && let Err(error) = socket::set_linger(self.fd(), Linger::Graceful)
        {
            tracing::debug!(%error, "closing with a reset: linger could not be cleared");
        }
    }

    /// Closes it at once; a TCP peer sees a reset. UNIX sockets have none.
    pub fn reset(self) {
        drop(self);
    }
}

fn register(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    sys::watch::watch(socket, Interest::READABLE | Interest::WRITABLE)
}
