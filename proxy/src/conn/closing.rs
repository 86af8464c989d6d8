//! Carries out what the [sequencer](super::shutdown) decides.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Instant;

use super::data::{Data, ssl};
use super::end::{EndHistory, Reason};
use super::shutdown::{AbortLimits, Action, Closes, Outcome};
use super::{Connection, Polling};
use crate::sys::socket::{self, Half, Linger};
use crate::sys::tcp;

/// Bytes thrown away at a time.
const SCRATCH: usize = 16 << 10;

impl Connection {
    /// Says that nothing more will be written, through all layers; closes the connection if
    /// nothing more is wanted of it either. Pending while the socket has no room for what the
    /// data layer has to say.
    ///
    /// # Errors
    /// When the connection is gone already.
    pub fn poll_shut_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.sequencer.shut_write();
        self.sequencer.resume();
        if let Err(error) = self.advance(Some(cx)) {
            return Poll::Ready(Err(error));
        }
        if self.sequencer.is_closed() || self.sequencer.done().contains(Closes::WRITE) {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }

    /// Nothing more is wanted of what the peer sends: everything it sent, and its end, has been
    /// passed on. Closes the connection if nothing more is to be written either.
    pub fn shut_read(&mut self) {
        self.sequencer.peer_ended();
        self.sequencer.shut_read();
        self.advance_at_end();
    }

    /// Closes it in order: queued bytes are still sent. What the data layer could not hand to the
    /// socket is lost; [`Connection::poll_shut_write`] waits for it.
    pub fn close(mut self) {
        self.sequencer.close();
        self.sequencer.resume();
        self.advance_at_end();
    }

    /// Closes it without a packet: its peer is left to find out by itself. For `silent-drop`.
    pub fn vanish(self) {
        if self.ctrl.is_tcp()
            && let Err(error) = socket::silence(self.fd())
        {
            tracing::debug!(%error, "a connection could not be dropped in silence");
        }
        self.reset();
    }

    fn advance_at_end(&mut self) {
        if let Err(error) = self.advance(None) {
            tracing::debug!(%error, "a connection could not be closed in order");
        }
    }

    /// Sends what is queued, then a FIN, and throws away what the peer still sends, until it has
    /// ended or has everything: closing while something is unread would reset the connection, and
    /// the peer could lose what it was sent last. Past `limits` it is reset. Of a connection that
    /// is closed already nothing is left to do but its history.
    pub async fn abort_read(mut self, limits: AbortLimits, history: &mut EndHistory) {
        if matches!(self.polling, Polling::Gone) {
            self.sequencer.conclude(history);
            return;
        }
        self.sequencer.abort_read(Instant::now(), limits);
        let mut scratch = vec![0; SCRATCH];
        loop {
            self.sequencer.time(Instant::now());
            self.sequencer.resume();
            if let Some(error) = self.flush_data() {
                self.sequencer
                    .peer_failed(super::end::Layer::Data, Reason::from(&error));
            } else if !self.owes_output() {
                self.sequencer.output_done();
            }
            self.drain(&mut scratch);
            if self.sequencer.is_closed() {
                break;
            }
            if self.sequencer.done().contains(Closes::SSHW) && self.is_fin_acknowledged() {
                self.sequencer.fin_acknowledged();
                continue;
            }
            let mut tried = true;
            let happened = poll_fn(|cx| self.poll_anything(cx, std::mem::take(&mut tried)));
            match self.sequencer.deadline() {
                // The runtime stopping is the only error; the connection goes with it.
                None => _ = happened.await,
                Some(deadline) => {
                    let _ = tokio::time::timeout_at(deadline.into(), happened).await;
                }
            }
        }
        self.sequencer.conclude(history);
    }

    fn flush_data(&mut self) -> Option<io::Error> {
        match self.ssl_mut() {
            Some((ssl, socket)) => ssl.flush(socket).error,
            None => None,
        }
    }

    /// All that can be done now, reading and throwing away included.
    fn drain(&mut self, scratch: &mut [u8]) {
        while let Some(action) = self.sequencer.next() {
            if action != Action::Drain {
                let (outcome, _) = self.perform(action, None);
                self.sequencer.report(action, outcome);
                continue;
            }
            let outcome = match socket::recv(self.fd(), scratch) {
                Ok(0) => {
                    self.sequencer.peer_ended();
                    Outcome::Done
                }
                Ok(got) => {
                    self.sequencer.drained(got);
                    Outcome::Done
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Outcome::Postponed,
                Err(error) => Outcome::Failed(Reason::from(&error)),
            };
            self.sequencer.report(action, outcome);
        }
        self.note_progress();
    }

    /// Whether the peer's kernel has everything, our FIN included. The kernel wakes whoever waits
    /// for the socket when that happens.
    fn is_fin_acknowledged(&self) -> bool {
        // What is written to a UNIX socket is in its peer's queue.
        !self.ctrl.is_tcp() || tcp::info(self.fd()).is_ok_and(|info| info.has_fin_acknowledged())
    }

    fn poll_anything(&self, cx: &mut Context<'_>, tried: bool) -> Poll<()> {
        let read = self.poll_readable(cx, tried);
        let write = self.poll_room(cx, tried);
        if read.is_ready() || write.is_ready() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Does what the sequencer wants until it wants nothing more for now.
    fn advance(&mut self, mut cx: Option<&mut Context<'_>>) -> io::Result<()> {
        let mut failure = Ok(());
        while let Some(action) = self.sequencer.next() {
            let (outcome, error) = self.perform(action, cx.as_deref_mut());
            self.sequencer.report(action, outcome);
            if let Some(error) = error
                && failure.is_ok()
            {
                failure = Err(error);
            }
        }
        self.note_progress();
        failure
    }

    fn perform(
        &mut self,
        action: Action,
        cx: Option<&mut Context<'_>>,
    ) -> (Outcome, Option<io::Error>) {
        let result = match action {
            Action::DataShutWrite => match self.shut_data(cx) {
                Poll::Pending => return (Outcome::Postponed, None),
                Poll::Ready(result) => result,
            },
            Action::SocketShutWrite => socket::shutdown(self.fd(), Half::Write),
            Action::DataClose => {
                self.data = Data::Raw;
                Ok(())
            }
            Action::SocketClose { graceful } => {
                self.close_socket(graceful);
                Ok(())
            }
            // The kernel has no use for a shut read side: bytes that come would be acknowledged and
            // lost without a word. No ctrl layer has a state of its own to shut: an agent learns of each
            // of these from its socket.
            Action::DataShutRead
            | Action::CtrlShutRead
            | Action::CtrlShutWrite
            | Action::SocketShutRead
            | Action::CtrlClose
            | Action::Drain => Ok(()),
        };
        match result {
            Ok(()) => (Outcome::Done, None),
            Err(error) => (Outcome::Failed(ssl::reason(&error)), Some(error)),
        }
    }

    /// The data layer's own end: TLS says close_notify.
    fn shut_data(&mut self, mut cx: Option<&mut Context<'_>>) -> Poll<io::Result<()>> {
        let Some((ssl, _)) = self.ssl_mut() else {
            return Poll::Ready(Ok(()));
        };
        ssl.shut_write()?;
        loop {
            if let Some(error) = self.flush_data() {
                return Poll::Ready(Err(error));
            }
            if !self.owes_output() {
                return Poll::Ready(Ok(()));
            }
            let Some(cx) = cx.as_deref_mut() else {
                return Poll::Pending;
            };
            match self.poll_room(cx, true) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) => {}
            }
        }
    }

    fn close_socket(&mut self, graceful: bool) {
        if graceful
            && !self.nolinger
            && self.ctrl.is_tcp()
            && let Err(error) = socket::set_linger(self.fd(), Linger::Graceful)
        {
            tracing::debug!(%error, "closing with a reset: linger could not be cleared");
        }
        self.polling = Polling::Gone;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;
    use crate::conn::Ctrl;

    /// A connection of the current runtime, and its peer.
    fn pair() -> (Connection, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (
            Connection::accepted(ours.into(), Ctrl::Unix).unwrap(),
            theirs,
        )
    }

    const LIMITS: AbortLimits = AbortLimits {
        bytes: 1 << 10,
        time: Duration::from_secs(60),
    };

    #[tokio::test]
    async fn a_closed_connection_has_nothing_to_abort() {
        let (mut connection, mut peer) = pair();
        connection.shut_read();
        poll_fn(|cx| connection.poll_shut_write(cx)).await.unwrap();
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
        let mut history = EndHistory::new();
        connection.abort_read(LIMITS, &mut history).await;
        assert_eq!(history.to_string(), "socket:peer-closed");
    }

    #[tokio::test]
    async fn what_comes_is_drained_until_the_peer_ends() {
        let (connection, peer) = pair();
        io::Write::write_all(&mut &peer, &[0; 100]).unwrap();
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        let mut history = EndHistory::new();
        connection.abort_read(LIMITS, &mut history).await;
        assert_eq!(history.to_string(), "socket:drained");
    }
}
