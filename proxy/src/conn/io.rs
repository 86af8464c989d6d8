//! Waiting for a connection's socket, and trying its transfer operations when they may succeed.

use std::future::poll_fn;
use std::io;
use std::os::fd::BorrowedFd;
use std::task::{Context, Poll, Waker};

use tokio::io::Interest;

use super::data::{Data, Status, Transfer};
use super::{Connection, fd_of, watched};
use crate::sys::socket;

impl Connection {
    /// Tries `operation` once the socket may be readable or the data layer holds something, and
    /// subscribes where it found the socket empty: the next call is then pending.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub fn poll_in(
        &mut self,
        cx: &mut Context<'_>,
        operation: impl FnOnce(&mut Data, BorrowedFd<'_>) -> Transfer,
    ) -> Poll<io::Result<Transfer>> {
        let held = match &self.data {
            Data::Raw => false,
            Data::Ssl(ssl) => ssl.has_input(),
        };
        let guard = match watched(&self.polling).poll_read_ready(cx) {
            Poll::Ready(guard) => Some(guard?),
            Poll::Pending if held => None,
            Poll::Pending => return Poll::Pending,
        };
        let transfer = operation(&mut self.data, fd_of(&self.polling));
        if transfer.status.contains(Status::EMPTY_IN)
            && let Some(mut guard) = guard
        {
            guard.clear_ready();
        }
        Poll::Ready(Ok(transfer))
    }

    /// Tries `operation` at once, without a subscription: a socket nearly always has room.
    pub fn try_now(
        &mut self,
        operation: impl FnOnce(&mut Data, BorrowedFd<'_>) -> Transfer,
    ) -> Transfer {
        operation(&mut self.data, fd_of(&self.polling))
    }

    /// Waits until a read may succeed. `empty`: the socket was found empty in this turn of the task,
    /// in which the runtime has read no events, so that what it remembers is older than that.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub fn poll_readable(&self, cx: &mut Context<'_>, empty: bool) -> Poll<io::Result<()>> {
        if empty {
            self.found_empty();
        }
        self.watched().poll_read_ready(cx).map_ok(|_still_ready| ())
    }

    /// Waits until a write may succeed. `full`: the socket was found full in this turn of the task.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub fn poll_room(&self, cx: &mut Context<'_>, full: bool) -> Poll<io::Result<()>> {
        if full {
            self.found_full();
        }
        self.watched()
            .poll_write_ready(cx)
            .map_ok(|_still_ready| ())
    }

    /// The socket was just found empty: what the runtime remembers of it is older than that. To be
    /// said before the task waits for anything else, for meanwhile the runtime may learn better.
    pub fn found_empty(&self) {
        let mut nobody = Context::from_waker(Waker::noop());
        if let Poll::Ready(Ok(mut guard)) = self.watched().poll_read_ready(&mut nobody) {
            guard.clear_ready();
        }
    }

    /// The socket was just found full, as [`Connection::found_empty`].
    pub fn found_full(&self) {
        let mut nobody = Context::from_waker(Waker::noop());
        if let Poll::Ready(Ok(mut guard)) = self.watched().poll_write_ready(&mut nobody) {
            guard.clear_ready();
        }
    }

    /// Waits until the socket may be readable.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub async fn readable(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_readable(cx, false)).await
    }

    /// Waits until the socket may be writable.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub async fn writable(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_room(cx, false)).await
    }

    /// Whether the data layer holds bytes that the socket has not taken.
    #[must_use]
    pub fn owes_output(&self) -> bool {
        match &self.data {
            Data::Raw => false,
            Data::Ssl(ssl) => ssl.owes_output(),
        }
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
    pub async fn connected(&mut self) -> io::Result<()> {
        let guard = self.watched().writable().await?;
        // Only a failed attempt makes both halves look closed: in all other cases the call is
        // saved.
        if guard.ready().is_write_closed()
            && let Some(error) = socket::take_error(self.fd())?
        {
            return Err(error);
        }
        drop(guard);
        self.condition.ctrl_connected();
        Ok(())
    }
}
