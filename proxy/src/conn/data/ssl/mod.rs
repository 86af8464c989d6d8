//! SSL (TLS) under a connection: the session, its two buffers of records, and the four transfer
//! operations, of which the two with pipes cannot be called.
//!
//! Records wait in `input` until the channel has room for what they hold, and in `output` until the
//! socket takes them. Both buffers come from the worker's pool and go back to it when they run
//! empty, so that an idle connection holds neither.

mod session;

use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls::server::ClientHello;

use super::{Status, Transfer};
use crate::channel::buffer::Buffer;
use crate::channel::pool::Pool;
use crate::channel::sizing::Sizing;
use crate::conn::end::Reason;
use crate::tls::pem::Certificate;
use crate::tls::{Choice, SessionFacts};
pub use session::Session;
use session::{Job, Step};

/// Room for one record of the largest size (16 KiB, and what RFC 8446 section 5.2 lets encryption
/// add to it).
const SMALLEST_INPUT: usize = 20 << 10;

/// Most bytes of records that may wait for the rest of a handshake message: rustls' own bound on
/// such a message is 64 KiB.
const MOST_INPUT: usize = 256 << 10;

/// Most plain bytes that are encrypted before they are given to the socket: further on the records
/// would leave the core's cache before they are sent.
const MOST_AT_ONCE: usize = 64 << 10;

/// Largest share of a record that is not payload, in whichever version.
const RECORD_OVERHEAD: usize = 64;

/// Payload of a full record.
const FULL_RECORD: usize = 16 << 10;

/// The alert "unrecognized_name" (RFC 6066 section 3).
pub const UNRECOGNIZED_NAME: u8 = 112;

/// What a handshake waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// It is complete. Records may still wait to be sent.
    Done,
    /// The client's first message is there; [`SslSock::serve`] goes on.
    Hello,
    /// The peer's next records.
    Input,
    /// Room in the socket.
    Output,
}

/// The TCP stream ended without close_notify: someone may have cut it.
#[derive(Debug, thiserror::Error)]
#[error("the TLS stream ended without close_notify")]
pub struct Truncated;

/// What an error of the data layer, or of the socket below it, says of the end of a connection.
#[must_use]
pub fn reason(error: &io::Error) -> Reason {
    let Some(inner) = error.get_ref() else {
        return Reason::from(error);
    };
    if inner.is::<Truncated>() {
        return Reason::Truncated;
    }
    match inner.downcast_ref::<rustls::Error>() {
        None => Reason::from(error),
        Some(rustls::Error::AlertReceived(alert)) => Reason::Alert(u8::from(*alert)),
        Some(rustls::Error::InvalidCertificate(error)) => {
            Reason::Certificate(format!("{error:?}").into())
        }
        Some(error) => Reason::Protocol(error.to_string().into()),
    }
}

/// A TLS session on its socket.
#[derive(Debug)]
pub struct SslSock {
    session: Session,
    /// Records received and not processed.
    input: Buffer,
    /// How large `input` should be.
    sizing: Sizing,
    /// Records not sent yet.
    output: Buffer,
    /// Decrypted, and not taken by a channel yet.
    plain: Buffer,
    pool: Rc<Pool>,
    /// The peer's close_notify was read: what it sent is complete.
    ended: bool,
    /// Our close_notify is in `output`, or gone.
    closing: bool,
    /// The name that the client asked for.
    server_name: Option<Box<str>>,
    /// The certificate that it was shown.
    certificate: Option<Arc<Certificate>>,
    /// Something was received.
    received: bool,
    /// What `input` holds is the beginning of a record: without more there is nothing to do.
    starved: bool,
    /// A failure that was found behind bytes which go first.
    failed: Option<io::Error>,
}

impl SslSock {
    /// The server's side of a session, for a client that has sent `received` so far.
    #[must_use]
    pub fn server(pool: Rc<Pool>, received: Buffer) -> Self {
        Self::new(Session::hello(), pool, received)
    }

    /// The client's side of a session.
    ///
    /// # Errors
    /// When the configuration cannot be used with this name.
    pub fn client(
        pool: Rc<Pool>,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, rustls::Error> {
        Ok(Self::new(
            Session::client(config, name)?,
            pool,
            Buffer::empty(),
        ))
    }

    fn new(session: Session, pool: Rc<Pool>, input: Buffer) -> Self {
        Self {
            session,
            received: !input.held().is_empty(),
            starved: false,
            input,
            sizing: Sizing::new(SMALLEST_INPUT),
            output: Buffer::empty(),
            plain: Buffer::empty(),
            pool,
            ended: false,
            closing: false,
            failed: None,
            server_name: None,
            certificate: None,
        }
    }

    /// What the client asks for, while its first message waits for an answer.
    #[must_use]
    pub fn client_hello(&self) -> Option<ClientHello<'_>> {
        self.session.client_hello()
    }

    /// Answers the client's first message as `choice` says.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn serve(&mut self, choice: Choice) -> Result<(), rustls::Error> {
        self.server_name = self
            .client_hello()
            .and_then(|hello| hello.server_name().map(Into::into));
        self.certificate = Some(choice.certificate);
        self.session.serve(choice.config)
    }

    /// The name that the client asked for (SNI).
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// What the handshake agreed upon; `None` before it is over.
    #[must_use]
    pub fn facts(&self) -> Option<SessionFacts> {
        SessionFacts::of(self.session.common()?, self.certificate.as_deref())
    }

    /// The session's facts; `None` before a server has chosen its configuration.
    #[must_use]
    pub fn common(&self) -> Option<&rustls::CommonState> {
        self.session.common()
    }

    /// Whether something can be read without asking the socket.
    #[must_use]
    pub fn has_input(&self) -> bool {
        self.ended
            || self.failed.is_some()
            || !self.plain.held().is_empty()
            || (!self.starved && !self.input.held().is_empty())
    }

    /// Whether records wait for the socket.
    #[must_use]
    pub fn owes_output(&self) -> bool {
        !self.output.held().is_empty()
    }

    /// Goes on with the handshake as far as it goes without waiting. Each call does at most one
    /// expensive step of cryptography per message that has arrived.
    ///
    /// # Errors
    /// A failed handshake as `InvalidData` with the session's error inside; the alert for the peer
    /// is in the output then. The socket's own errors, and `UnexpectedEof` when the peer left.
    pub fn handshake(&mut self, socket: BorrowedFd<'_>) -> io::Result<Handshake> {
        loop {
            let step = match self.step(Job::None) {
                Ok(step) => step,
                Err(error) => {
                    self.flush_quietly(socket);
                    return Err(error);
                }
            };
            match step {
                Step::Again | Step::Plain | Step::Ended => {}
                Step::Hello => return Ok(Handshake::Hello),
                Step::Open => {
                    let flushed = self.flush(socket);
                    if let Some(error) = flushed.error {
                        return Err(error);
                    }
                    return Ok(Handshake::Done);
                }
                Step::NeedsInput => {
                    let flushed = self.flush(socket);
                    if let Some(error) = flushed.error {
                        return Err(error);
                    }
                    if self.owes_output() {
                        return Ok(Handshake::Output);
                    }
                    let received = self.receive(socket);
                    if let Some(error) = received.error {
                        return Err(error);
                    }
                    if received.status.contains(Status::SHUT_IN) {
                        return Err(ErrorKind::UnexpectedEof.into());
                    }
                    if received.bytes == 0 {
                        return Ok(Handshake::Input);
                    }
                }
            }
        }
    }

    /// One step of the session on what was received so far.
    fn step(&mut self, job: Job<'_>) -> io::Result<Step> {
        let step = self
            .session
            .step(&mut self.input, &mut self.output, &mut self.plain, job);
        if self.input.held().is_empty() {
            self.give_back_input();
        }
        match step {
            Ok(step) => {
                self.ended |= step == Step::Ended;
                self.starved = matches!(step, Step::Open | Step::NeedsInput);
                Ok(step)
            }
            Err(error) => {
                self.closing = true;
                // The session has an alert for the peer, which is worth sending. No step more than
                // that: it would read the bad records again.
                while self
                    .session
                    .common()
                    .is_some_and(rustls::CommonState::wants_write)
                {
                    let told = self.session.step(
                        &mut self.input,
                        &mut self.output,
                        &mut self.plain,
                        Job::None,
                    );
                    if told != Ok(Step::Again) {
                        break;
                    }
                }
                Err(io::Error::new(ErrorKind::InvalidData, error))
            }
        }
    }

    fn give_back_input(&mut self) {
        let input = std::mem::replace(&mut self.input, Buffer::empty());
        self.pool.put_buffer(input);
    }

    /// Receives records. `bytes` are those received.
    fn receive(&mut self, socket: BorrowedFd<'_>) -> Transfer {
        if self.input.capacity() == 0 {
            self.input = self.pool.get_buffer(self.sizing.size());
        }
        self.input.compact();
        if self.input.room().is_empty() {
            if self.input.held().len() >= MOST_INPUT {
                let error = io::Error::new(ErrorKind::InvalidData, "a record has no end");
                return Transfer::failed(Status::ERR_IN, error);
            }
            self.input.reserve(SMALLEST_INPUT);
        }
        let whole = self.input.held().is_empty();
        let transfer = super::raw::raw_sock_to_buf(socket, &mut self.input);
        if transfer.bytes > 0 {
            self.received = true;
            self.starved = false;
        }
        if whole && transfer.bytes > 0 {
            self.sizing.observe(transfer.bytes);
        }
        if self.input.held().is_empty() {
            self.give_back_input();
        }
        transfer
    }

    /// Sends the records that wait.
    pub fn flush(&mut self, socket: BorrowedFd<'_>) -> Transfer {
        let mut sent = 0;
        while !self.output.held().is_empty() {
            let transfer = super::raw::raw_sock_from_buf(socket, &mut self.output, false);
            sent += transfer.bytes;
            if transfer.error.is_some() || transfer.status.contains(Status::FULL_OUT) {
                return transfer;
            }
        }
        let output = std::mem::replace(&mut self.output, Buffer::empty());
        self.pool.put_buffer(output);
        Transfer::moved(sent).with(Status::EMPTY_IN)
    }

    /// Sends what it can of the records that wait, for a session that has failed already.
    fn flush_quietly(&mut self, socket: BorrowedFd<'_>) {
        if let Some(error) = self.flush(socket).error {
            tracing::debug!(%error, "the peer could not be told why the session failed");
        }
    }

    /// Puts a close_notify behind everything written so far. Sending it is [`SslSock::flush`]'s.
    /// A session that has failed has had its last word.
    ///
    /// # Errors
    /// When it fails now.
    pub fn shut_write(&mut self) -> io::Result<()> {
        while !self.closing {
            match self.step(Job::CloseNotify)? {
                // Before the handshake is over there is nothing to close.
                Step::Open | Step::Hello | Step::NeedsInput => self.closing = true,
                Step::Again | Step::Plain | Step::Ended => {}
            }
        }
        Ok(())
    }

    /// Ends a handshake with a fatal alert of ours.
    pub fn refuse(&mut self, socket: BorrowedFd<'_>, alert: u8) {
        // A plain record of TLS 1.2, which every client understands before there are keys.
        self.output.push(&[21, 3, 3, 0, 2, 2, alert]);
        self.closing = true;
        self.flush_quietly(socket);
    }

    /// Whether the peer has sent anything.
    #[must_use]
    pub fn has_received(&self) -> bool {
        self.received
    }

    /// Reports a failure, behind the bytes that were moved before it.
    fn fail_after(&mut self, moved: usize, error: io::Error) -> Transfer {
        if moved == 0 {
            return Transfer::failed(Status::ERR_IN, error);
        }
        self.failed = Some(error);
        Transfer::moved(moved)
    }

    /// Moves decrypted bytes into the channel's buffer.
    fn take_plain(&mut self, buffer: &mut Buffer) -> usize {
        let count = self.plain.held().len().min(buffer.room().len());
        if count > 0 {
            buffer.room()[..count].copy_from_slice(&self.plain.held()[..count]);
            buffer.filled(count);
            self.plain.taken(count);
            if self.plain.held().is_empty() {
                self.plain = Buffer::empty();
            }
        }
        count
    }
}

/// Receives from the socket, decrypts, and fills the buffer's free room.
///
/// A close_notify is the source's end (`SHUT_IN`); an end of the TCP stream without one is a
/// failure, `UnexpectedEof`: the stream may have been cut by anyone.
pub fn ssl_sock_to_buf(socket: BorrowedFd<'_>, ssl: &mut SslSock, buffer: &mut Buffer) -> Transfer {
    if buffer.room().is_empty() {
        return Transfer::found(Status::FULL_OUT);
    }
    let mut moved = ssl.take_plain(buffer);
    if moved == 0
        && let Some(error) = ssl.failed.take()
    {
        return Transfer::failed(Status::ERR_IN, error);
    }
    let mut emptied = false;
    loop {
        if buffer.room().is_empty() {
            return Transfer::moved(moved).with(Status::FULL_OUT);
        }
        if ssl.ended {
            // What was decrypted before the end comes first.
            return if moved > 0 {
                Transfer::moved(moved)
            } else {
                Transfer::found(Status::SHUT_IN)
            };
        }
        let step = match ssl.step(Job::Fill(buffer, &mut moved)) {
            Ok(step) => step,
            Err(error) => {
                ssl.flush_quietly(socket);
                return ssl.fail_after(moved, error);
            }
        };
        if ssl.owes_output() {
            // A key update's answer: a failure to send it shows when data is sent.
            ssl.flush_quietly(socket);
        }
        match step {
            Step::Again | Step::Plain | Step::Ended => {}
            Step::Hello => return Transfer::failed(Status::ERR_IN, ErrorKind::NotConnected.into()),
            Step::Open | Step::NeedsInput if emptied => {
                return Transfer::moved(moved).with(Status::EMPTY_IN);
            }
            Step::Open | Step::NeedsInput => {
                let received = ssl.receive(socket);
                emptied = received.status.contains(Status::EMPTY_IN);
                if received.bytes > 0 {
                    continue;
                }
                if let Some(error) = received.error {
                    return ssl.fail_after(moved, error);
                }
                if moved > 0 {
                    // An end will be found again once these bytes are out.
                    let status = received.status & Status::EMPTY_IN;
                    return Transfer::moved(moved).with(status);
                }
                if received.status.contains(Status::SHUT_IN) {
                    let error = io::Error::new(ErrorKind::UnexpectedEof, Truncated);
                    return Transfer::failed(Status::ERR_IN, error);
                }
                return received;
            }
        }
    }
}

/// Encrypts what the buffer holds and sends it. Bytes count as moved once they are encrypted;
/// `FULL_OUT` says that records wait for the socket.
pub fn ssl_sock_from_buf(
    socket: BorrowedFd<'_>,
    ssl: &mut SslSock,
    buffer: &mut Buffer,
) -> Transfer {
    let flushed = ssl.flush(socket);
    if flushed.error.is_some() || ssl.owes_output() {
        return Transfer {
            bytes: 0,
            ..flushed
        };
    }
    let mut moved = 0;
    while !buffer.held().is_empty() {
        let chunk = buffer.held().len().min(MOST_AT_ONCE);
        if ssl.output.capacity() == 0 {
            let wanted = chunk + (chunk / FULL_RECORD + 1) * RECORD_OVERHEAD;
            ssl.output = ssl.pool.get_buffer(output_size(wanted));
        }
        let mut written = 0;
        let step = ssl.step(Job::Encrypt(&buffer.held()[..chunk], &mut written));
        buffer.taken(written);
        moved += written;
        match step {
            Err(error) => {
                ssl.flush_quietly(socket);
                return Transfer::failed(Status::ERR_OUT, error);
            }
            Ok(Step::Open) if written == 0 => {
                let status = Status::ERR_OUT | Status::SHUT_OUT;
                return Transfer::failed(status, ErrorKind::BrokenPipe.into());
            }
            Ok(Step::Open | Step::Again | Step::Plain | Step::Ended) => {}
            Ok(Step::Hello | Step::NeedsInput) => {
                return Transfer::failed(Status::ERR_OUT, ErrorKind::NotConnected.into());
            }
        }
        if written > 0 {
            let flushed = ssl.flush(socket);
            if flushed.error.is_some() || ssl.owes_output() {
                return Transfer {
                    bytes: moved,
                    ..flushed
                };
            }
        }
    }
    Transfer::moved(moved).with(Status::EMPTY_IN)
}

/// The size of an output buffer for `wanted` bytes: few sizes, so that the pool has the right one.
fn output_size(wanted: usize) -> usize {
    if wanted <= SMALLEST_INPUT {
        SMALLEST_INPUT
    } else {
        (MOST_AT_ONCE + (MOST_AT_ONCE / FULL_RECORD + 1) * RECORD_OVERHEAD).max(wanted)
    }
}

/// What stands for the pipe of the two operations that cannot be: a value of it cannot be made.
#[derive(Debug, Clone, Copy)]
pub enum NoPipe {}

/// Would splice from a TLS socket into a pipe: what is on the socket are records, and only user
/// space can decrypt them. No caller can have a [`NoPipe`].
///
/// ```compile_fail
/// # use underpass::channel::pipe::Pipe;
/// # use underpass::conn::data::ssl::{SslSock, ssl_sock_to_pipe};
/// fn splice(ssl: &mut SslSock, pipe: &mut Pipe) {
///     ssl_sock_to_pipe(ssl, pipe);
/// }
/// ```
pub fn ssl_sock_to_pipe(_: &mut SslSock, pipe: NoPipe) -> Transfer {
    match pipe {}
}

/// Would splice from a pipe to a TLS socket: the receiver would see bytes that are no records.
///
/// ```compile_fail
/// # use underpass::channel::pipe::Pipe;
/// # use underpass::conn::data::ssl::{SslSock, ssl_sock_from_pipe};
/// fn splice(ssl: &mut SslSock, pipe: &mut Pipe) {
///     ssl_sock_from_pipe(ssl, pipe);
/// }
/// ```
pub fn ssl_sock_from_pipe(_: &mut SslSock, pipe: NoPipe) -> Transfer {
    match pipe {}
}

#[cfg(test)]
mod tests;
