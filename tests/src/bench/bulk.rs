//! The bulk load: a server that sends as many bytes as it is asked for, and a client that asks, reads and counts.
//!
//! An HTTP load generator reads through a small buffer and a parser, and would itself be the slowest part. Both ends
//! here copy through a large buffer and do nothing else; the client's end of TLS is in `tls_sink`. A connection is kept for one transfer after another; a
//! request is the number of bytes wanted, eight bytes, most significant first.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustls::ClientConfig;
use socket2::SockRef;
use underpass_tests::netns::Netns;

use crate::{load::Outcome, tls_sink::TlsSink};

/// What each end reads or writes at a time.
const CHUNK: usize = 256 * 1024;

/// A transfer that brings nothing for so long has failed.
const STALL: Duration = Duration::from_secs(10);

/// The sending server; dropping it closes the listener.
pub(crate) struct Source {
    listener: Arc<TcpListener>,
    acceptor: Option<JoinHandle<()>>,
}

impl Source {
    /// Listens on `address` in `ns`.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub(crate) fn start(ns: &Netns, address: SocketAddr) -> Result<Self> {
        let listener = ns
            .run(|| TcpListener::bind(address))
            .with_context(|| format!("bulk server on {address}"))?;
        let listener = Arc::new(listener);
        let acceptor = {
            let listener = Arc::clone(&listener);
            thread::spawn(move || {
                while let Ok((stream, _)) = listener.accept() {
                    // The client's end of the connection is the only way out; what kind it was does not matter here,
                    // since the client counts what arrives.
                    thread::spawn(move || serve(stream));
                }
            })
        };
        Ok(Self {
            listener,
            acceptor: Some(acceptor),
        })
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // Makes the blocked accept return.
        let _ = SockRef::from(&*self.listener).shutdown(Shutdown::Both);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let content = vec![0x55; CHUNK];
    let mut request = [0; 8];
    loop {
        stream.read_exact(&mut request)?;
        let mut left = u64::from_be_bytes(request);
        while left > 0 {
            let part = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
            stream.write_all(&content[..part])?;
            left -= part as u64;
        }
    }
}

/// Where the content goes.
enum Sink {
    Raw { stream: TcpStream, buffer: Vec<u8> },
    Tls(Box<TlsSink>),
}

impl Sink {
    fn new(stream: TcpStream, tls: Option<&Arc<ClientConfig>>) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(STALL))?;
        Ok(match tls {
            Some(config) => Self::Tls(Box::new(TlsSink::connect(stream, config)?)),
            None => Self::Raw {
                stream,
                buffer: vec![0; CHUNK],
            },
        })
    }

    /// Asks for a transfer of `length` bytes.
    fn ask(&mut self, length: u64) -> Result<()> {
        let request = length.to_be_bytes();
        match self {
            Self::Raw { stream, .. } => Ok(stream.write_all(&request)?),
            Self::Tls(sink) => sink.say(&request),
        }
    }

    /// Takes some of the content, and says how much; zero at the end of the connection.
    fn receive(&mut self) -> Result<usize> {
        match self {
            Self::Raw { stream, buffer } => Ok(stream.read(buffer)?),
            Self::Tls(sink) => sink.receive(),
        }
    }
}

/// Reads from `address`, by `connections` connections made in `ns`, for `length`; over TLS when there are settings for
/// it. Handshakes are made before the time begins.
///
/// # Errors
/// When a connection cannot be made, ends early or stalls.
pub(crate) fn drain(
    ns: &Netns,
    address: SocketAddr,
    connections: usize,
    length: Duration,
    transfer: u64,
    tls: Option<&Arc<ClientConfig>>,
) -> Result<Outcome> {
    let sinks: Vec<Sink> = ns
        .run(|| {
            (0..connections)
                .map(|_| Sink::new(TcpStream::connect(address)?, tls))
                .collect::<Result<_>>()
        })
        .with_context(|| format!("connect to {address}"))?;
    let begin = Instant::now();
    let end = begin + length;
    let results: Vec<Result<(u64, u64)>> = thread::scope(|scope| {
        let readers: Vec<_> = sinks
            .into_iter()
            .map(|sink| scope.spawn(move || read_until(sink, end, transfer)))
            .collect();
        readers
            .into_iter()
            .map(|reader| match reader.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    });
    let duration = begin.elapsed();
    let (mut requests, mut bytes) = (0, 0);
    for result in results {
        let (r, b) = result?;
        requests += r;
        bytes += b;
    }
    Ok(Outcome {
        duration,
        requests,
        bytes,
        latency_us: None,
        errors: 0,
        as_asked: None,
    })
}

fn read_until(mut sink: Sink, end: Instant, transfer: u64) -> Result<(u64, u64)> {
    let (mut requests, mut bytes) = (0, 0);
    while Instant::now() < end {
        sink.ask(transfer).context("ask for a transfer")?;
        requests += 1;
        let mut left = transfer;
        while left > 0 && Instant::now() < end {
            let got = sink.receive().with_context(|| {
                format!("transfer {requests} stopped with {left} bytes to come")
            })?;
            ensure!(
                got > 0,
                "transfer {requests} ended with {left} bytes to come"
            );
            left = left
                .checked_sub(got as u64)
                .context("more bytes came than were asked for")?;
            bytes += got as u64;
        }
    }
    Ok((requests, bytes))
}

/// One transfer, and a clean end of the connection.
///
/// # Errors
/// As [`drain`].
pub(crate) fn transfer_once(
    ns: &Netns,
    address: SocketAddr,
    transfer: u64,
    tls: Option<&Arc<ClientConfig>>,
) -> Result<()> {
    let mut sink = Sink::new(ns.run(|| TcpStream::connect(address))?, tls)?;
    sink.ask(transfer)?;
    let mut left = transfer;
    while left > 0 {
        let got = sink.receive()?;
        ensure!(got > 0, "{} of {transfer} bytes came", transfer - left);
        left = left
            .checked_sub(got as u64)
            .context("more bytes came than were asked for")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn read_raw(client: TcpStream, transfer: u64) -> Result<(u64, u64)> {
        let end = Instant::now() + Duration::from_secs(60);
        read_until(Sink::new(client, None).unwrap(), end, transfer)
    }

    /// A source and a sink without a namespace.
    fn pair() -> (TcpStream, JoinHandle<io::Result<()>>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        (client, thread::spawn(move || serve(server)))
    }

    #[test]
    fn source_sends_exactly_what_is_asked() {
        let (mut client, server) = pair();
        for size in [1_u64, 300_000, 0, 7] {
            client.write_all(&size.to_be_bytes()).unwrap();
            let mut got = vec![0; usize::try_from(size).unwrap()];
            client.read_exact(&mut got).unwrap();
        }
        client.shutdown(Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty());
        assert!(server.join().unwrap().is_err());
    }

    #[test]
    fn sink_notices_a_short_transfer() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(&[0; 10]).unwrap();
        server.shutdown(Shutdown::Write).unwrap();
        let error = read_raw(client, 11).unwrap_err();
        assert!(error.to_string().contains("1 bytes to come"), "{error}");
    }

    #[test]
    fn sink_notices_too_many_bytes() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(&[0; 12]).unwrap();
        assert!(read_raw(client, 11).is_err());
    }
}
