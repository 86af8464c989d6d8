//! The session of one TLS connection, whichever side of it is ours: one step at a time over
//! buffers, without I/O.

use std::fmt;
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::{Accepted, Acceptor, ClientHello, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{ClientConfig, CommonState, Error, ServerConfig};

use crate::channel::buffer::Buffer;

/// A session.
pub enum Session {
    /// Waiting for the client's first message.
    Hello {
        /// Understands it.
        acceptor: Box<Acceptor>,
        /// Bytes that the acceptor has seen.
        fed: usize,
    },
    /// The message is there; a configuration is to be chosen.
    Asked(Box<Accepted>),
    /// The server's side.
    Server(Box<UnbufferedServerConnection>),
    /// The client's side.
    Client(Box<UnbufferedClientConnection>),
    /// The first message could not be understood.
    Failed(Error),
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hello { .. } => "Hello",
            Self::Asked(_) => "Asked",
            Self::Server(_) => "Server",
            Self::Client(_) => "Client",
            Self::Failed(_) => "Failed",
        })
    }
}

/// What is to be done when the session can write.
pub(super) enum Job<'a> {
    /// Nothing.
    None,
    /// Nothing; decrypted bytes go into this buffer as far as it has room, and are counted.
    Fill(&'a mut Buffer, &'a mut usize),
    /// Encrypt these; the count says how many were.
    Encrypt(&'a [u8], &'a mut usize),
    /// Tell the peer that no more follows.
    CloseNotify,
}

/// Where a step led.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Something was processed, and more may be.
    Again,
    /// Something was decrypted.
    Plain,
    /// The client's first message is complete.
    Hello,
    /// The handshake needs the peer's next records.
    NeedsInput,
    /// The handshake is complete, everything received is processed, and the job is done.
    Open,
    /// The peer's close_notify: what it sent is complete.
    Ended,
}

impl Session {
    /// Waits for a client's first message.
    pub(super) fn hello() -> Self {
        Self::Hello {
            acceptor: Box::default(),
            fed: 0,
        }
    }

    /// Begins a session with a server.
    pub(super) fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, Error> {
        UnbufferedClientConnection::new(config, name).map(|c| Self::Client(Box::new(c)))
    }

    /// Goes on with the chosen configuration.
    pub(super) fn serve(&mut self, config: Arc<ServerConfig>) -> Result<(), Error> {
        *self = Self::Server(Box::new(UnbufferedServerConnection::new(config)?));
        Ok(())
    }

    /// What the client asked for.
    pub(super) fn client_hello(&self) -> Option<ClientHello<'_>> {
        match self {
            Self::Asked(accepted) => Some(accepted.client_hello()),
            _ => None,
        }
    }

    /// Facts of the session.
    pub(super) fn common(&self) -> Option<&CommonState> {
        match self {
            Self::Server(connection) => Some(connection),
            Self::Client(connection) => Some(connection),
            _ => None,
        }
    }

    /// One step on the records in `input`; records to send are appended to `output`, decrypted
    /// bytes that the job has no room for to `plain`.
    pub(super) fn step(
        &mut self,
        input: &mut Buffer,
        output: &mut Buffer,
        plain: &mut Buffer,
        job: Job<'_>,
    ) -> Result<Step, Error> {
        let (discard, step) = match self {
            Self::Hello { .. } => return self.read_hello(input, output),
            Self::Asked(_) => return Ok(Step::Hello),
            Self::Failed(error) => return Err(error.clone()),
            Self::Server(connection) => digest(
                connection.process_tls_records(input.held_mut()),
                output,
                plain,
                job,
            ),
            Self::Client(connection) => digest(
                connection.process_tls_records(input.held_mut()),
                output,
                plain,
                job,
            ),
        };
        input.taken(discard);
        if step == Ok(Step::Open) && self.common().is_some_and(CommonState::is_handshaking) {
            return Ok(Step::NeedsInput);
        }
        step
    }

    fn read_hello(&mut self, input: &Buffer, output: &mut Buffer) -> Result<Step, Error> {
        let Self::Hello { acceptor, fed } = self else {
            return Ok(Step::Again);
        };
        let mut fresh = &input.held()[*fed..];
        while !fresh.is_empty() {
            // Reading from memory cannot fail but for a message that is too long.
            match acceptor.read_tls(&mut fresh) {
                Ok(got) => *fed += got,
                Err(error) => return Err(Error::General(error.to_string())),
            }
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    *self = Self::Asked(Box::new(accepted));
                    return Ok(Step::Hello);
                }
                Err((error, mut alert)) => {
                    let mut bytes = Vec::new();
                    if alert.write_all(&mut bytes).is_ok() {
                        output.push(&bytes);
                    }
                    *self = Self::Failed(error.clone());
                    return Err(error);
                }
            }
        }
        Ok(Step::NeedsInput)
    }
}

/// Handles what the session came to; also says how many bytes of the input are done with.
fn digest<D>(
    status: UnbufferedStatus<'_, '_, D>,
    output: &mut Buffer,
    plain: &mut Buffer,
    job: Job<'_>,
) -> (usize, Result<Step, Error>) {
    let mut discard = status.discard;
    let step = match status.state {
        Err(error) => Err(error),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => {
            let mut fill = match job {
                Job::Fill(buffer, moved) => Some((buffer, moved)),
                _ => None,
            };
            let mut outcome = Ok(Step::Plain);
            while let Some(record) = traffic.next_record() {
                match record {
                    Ok(record) => {
                        discard += record.discard;
                        deliver(record.payload, &mut fill, plain);
                    }
                    Err(error) => {
                        outcome = Err(error);
                        break;
                    }
                }
            }
            outcome
        }
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            let room = output.room().len();
            let mut encoded = data.encode(output.room());
            if let Err(EncodeError::InsufficientSize(short)) = &encoded {
                debug_assert!(short.required_size > room);
                output.reserve(short.required_size);
                encoded = data.encode(output.room());
            }
            match encoded {
                Ok(count) => {
                    output.filled(count);
                    Ok(Step::Again)
                }
                Err(error) => Err(Error::General(error.to_string())),
            }
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            // From here on the records are the output buffer's, which outlives the session's step.
            data.done();
            Ok(Step::Again)
        }
        Ok(ConnectionState::WriteTraffic(mut traffic)) => match job {
            Job::None | Job::Fill(..) => Ok(Step::Open),
            Job::Encrypt(bytes, written) => append(output, |room| traffic.encrypt(bytes, room))
                .map(|()| {
                    *written = bytes.len();
                    Step::Open
                }),
            Job::CloseNotify => close(&mut traffic, output).map(|()| Step::Open),
        },
        Ok(ConnectionState::BlockedHandshake) => Ok(Step::NeedsInput),
        Ok(ConnectionState::PeerClosed) => Ok(Step::Ended),
        // Both have said that they are done; nothing can follow.
        Ok(ConnectionState::Closed) => Ok(Step::Open),
        Ok(_) => Err(Error::General("early data was not asked for".to_owned())),
    };
    (discard, step)
}

/// Gives a record's payload to the channel, as far as it has room.
fn deliver(payload: &[u8], fill: &mut Option<(&mut Buffer, &mut usize)>, plain: &mut Buffer) {
    let mut rest = payload;
    if let Some((buffer, moved)) = fill
        && plain.held().is_empty()
    {
        let count = rest.len().min(buffer.room().len());
        buffer.room()[..count].copy_from_slice(&rest[..count]);
        buffer.filled(count);
        **moved += count;
        rest = &rest[count..];
    }
    if !rest.is_empty() {
        plain.push(rest);
    }
}

fn append(
    output: &mut Buffer,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), Error> {
    let mut written = write(output.room());
    if let Err(EncryptError::InsufficientSize(short)) = &written {
        output.reserve(short.required_size);
        written = write(output.room());
    }
    match written {
        Ok(count) => {
            output.filled(count);
            Ok(())
        }
        Err(EncryptError::EncryptExhausted) => Err(Error::EncryptError),
        Err(error) => Err(Error::General(error.to_string())),
    }
}

fn close<D>(traffic: &mut WriteTraffic<'_, D>, output: &mut Buffer) -> Result<(), Error> {
    // The call queues the alert before it looks at the room, so that it must not fail for want of
    // room: it would be queued twice.
    output.reserve(super::FULL_RECORD);
    append(output, |room| traffic.queue_close_notify(room))
}
