//! The client end of a bulk transfer over TLS.
//!
//! It decrypts where the bytes were received, in a large buffer, and drops them: the least that a client can do. One
//! that reads a few kilobytes at a time and copies would be slower than the proxies that it is to load.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::Arc,
};

use anyhow::{Context, Result, bail, ensure};
use rustls::{
    ClientConfig,
    client::UnbufferedClientConnection,
    unbuffered::{ConnectionState, UnbufferedStatus},
};

use crate::tls::server_name;

/// What is received at a time, as by the sink without TLS.
const CHUNK: usize = 256 * 1024;

/// More than a flight of a client's handshake, or a request.
const OUTGOING: usize = 32 * 1024;

/// A connection over which content is asked for, counted and dropped.
pub(crate) struct TlsSink {
    stream: TcpStream,
    session: UnbufferedClientConnection,
    incoming: Vec<u8>,
    /// The part of `incoming` that was received and not yet processed.
    filled: std::ops::Range<usize>,
    outgoing: Vec<u8>,
    /// How much of `outgoing` is encoded and not yet sent.
    encoded: usize,
}

/// What one step brought.
enum Step {
    /// The words were sent.
    Said,
    /// That many bytes of content were received.
    Received(usize),
    /// The server ended the session in the orderly way.
    Ended,
    /// Nothing can be done without more input.
    Starved,
    /// A part of the handshake.
    Moved,
}

impl TlsSink {
    /// Makes the handshake on `stream`.
    ///
    /// # Errors
    /// When the handshake fails.
    pub(crate) fn connect(stream: TcpStream, config: &Arc<ClientConfig>) -> Result<Self> {
        let session = UnbufferedClientConnection::new(Arc::clone(config), server_name()?)?;
        let mut sink = Self {
            stream,
            session,
            incoming: vec![0; CHUNK],
            filled: 0..0,
            outgoing: vec![0; OUTGOING],
            encoded: 0,
        };
        // Words that are none: they are sent when the session can carry content.
        sink.say(&[]).context("handshake")?;
        Ok(sink)
    }

    /// Sends `words`, when no content is on its way.
    ///
    /// # Errors
    /// When the session or the connection ended, or content came.
    pub(crate) fn say(&mut self, words: &[u8]) -> Result<()> {
        loop {
            match self.step(Some(words))? {
                Step::Said => return Ok(()),
                Step::Moved => {}
                Step::Starved => ensure!(self.fill()? > 0, "the connection ended"),
                Step::Received(count) => bail!("{count} bytes that nobody asked for"),
                Step::Ended => bail!("the session ended"),
            }
        }
    }

    /// Receives some content, and gives its length; zero at the orderly end.
    ///
    /// # Errors
    /// When the connection ended or stalled, also at an end without a word of the session's.
    pub(crate) fn receive(&mut self) -> Result<usize> {
        loop {
            match self.step(None)? {
                Step::Received(0) | Step::Said | Step::Moved => {}
                Step::Received(count) => return Ok(count),
                Step::Ended => return Ok(0),
                Step::Starved => ensure!(
                    self.fill()? > 0,
                    "the connection ended before the session did"
                ),
            }
        }
    }

    fn step(&mut self, words: Option<&[u8]>) -> Result<Step> {
        let UnbufferedStatus { mut discard, state } = self
            .session
            .process_tls_records(&mut self.incoming[self.filled.clone()]);
        let step = match state? {
            ConnectionState::ReadTraffic(mut traffic) => {
                let mut count = 0;
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    discard += record.discard;
                    count += record.payload.len();
                }
                Step::Received(count)
            }
            ConnectionState::EncodeTlsData(mut data) => {
                self.encoded += data.encode(&mut self.outgoing[self.encoded..])?;
                Step::Moved
            }
            ConnectionState::TransmitTlsData(data) => {
                self.stream.write_all(&self.outgoing[..self.encoded])?;
                self.encoded = 0;
                data.done();
                Step::Moved
            }
            ConnectionState::WriteTraffic(mut traffic) => match words {
                Some([]) => Step::Said,
                Some(words) => {
                    let length = traffic.encrypt(words, &mut self.outgoing)?;
                    self.stream.write_all(&self.outgoing[..length])?;
                    Step::Said
                }
                None => Step::Starved,
            },
            ConnectionState::BlockedHandshake => Step::Starved,
            ConnectionState::PeerClosed | ConnectionState::Closed => Step::Ended,
            other => bail!("unexpected state of the session: {other:?}"),
        };
        self.filled.start += discard;
        Ok(step)
    }

    fn fill(&mut self) -> io::Result<usize> {
        // What is left is less than a record: cheap to move.
        self.incoming.copy_within(self.filled.clone(), 0);
        self.filled = 0..self.filled.len();
        let got = self.stream.read(&mut self.incoming[self.filled.end..])?;
        self.filled.end += got;
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{
        KeyKind, client,
        tests::{server, server_config},
    };

    fn connect(address: std::net::SocketAddr) -> TlsSink {
        let stream = TcpStream::connect(address).unwrap();
        TlsSink::connect(stream, &Arc::new(client().unwrap())).unwrap()
    }

    #[test]
    fn counts_what_was_asked_for_up_to_the_orderly_end() {
        let (address, server) = server(server_config(KeyKind::P256), 1, |tls| {
            let mut request = [0; 8];
            for _ in 0..2 {
                tls.read_exact(&mut request).unwrap();
                let length = usize::try_from(u64::from_be_bytes(request)).unwrap();
                tls.write_all(&vec![7; length]).unwrap();
            }
        });
        let mut sink = connect(address);
        for length in [1_usize, 1_000_000] {
            sink.say(&(length as u64).to_be_bytes()).unwrap();
            let mut left = length;
            while left > 0 {
                let got = sink.receive().unwrap();
                assert!(got > 0);
                left -= got;
            }
        }
        assert_eq!(sink.receive().unwrap(), 0);
        server.join().unwrap();
    }

    #[test]
    fn an_end_without_the_sessions_word_is_an_error() {
        let (address, server) = server(server_config(KeyKind::P256), 1, |tls| {
            tls.write_all(b"half").unwrap();
            tls.sock.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let mut sink = connect(address);
        assert_eq!(sink.receive().unwrap(), 4);
        assert!(sink.receive().is_err());
        drop(sink);
        server.join().unwrap();
    }
}
