//! The bulk load: a server that sends as many bytes as it is asked for, and a client that asks, reads and counts.
//!
//! An HTTP load generator reads through a small buffer and a parser, and would itself be the slowest part. Both ends
//! here copy through a large buffer and do nothing else. A connection is kept for one transfer after another; a
//! request is the number of bytes wanted, eight bytes, most significant first.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use socket2::SockRef;
use underpass_tests::netns::Netns;

use crate::load::Outcome;

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

/// Reads from `address`, by `connections` connections made in `ns`, for `length`.
///
/// # Errors
/// When a connection cannot be made, ends early or stalls.
pub(crate) fn drain(
    ns: &Netns,
    address: SocketAddr,
    connections: usize,
    length: Duration,
    transfer: u64,
) -> Result<Outcome> {
    let streams: Vec<TcpStream> = ns
        .run(|| {
            (0..connections)
                .map(|_| TcpStream::connect(address))
                .collect::<io::Result<_>>()
        })
        .with_context(|| format!("connect to {address}"))?;
    let begin = Instant::now();
    let end = begin + length;
    let results: Vec<Result<(u64, u64)>> = thread::scope(|scope| {
        let readers: Vec<_> = streams
            .into_iter()
            .map(|stream| scope.spawn(move || read_until(stream, end, transfer)))
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
    })
}

fn read_until(mut stream: TcpStream, end: Instant, transfer: u64) -> Result<(u64, u64)> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STALL))?;
    let mut buffer = vec![0; CHUNK];
    let (mut requests, mut bytes) = (0, 0);
    while Instant::now() < end {
        stream
            .write_all(&transfer.to_be_bytes())
            .context("ask for a transfer")?;
        requests += 1;
        let mut left = transfer;
        while left > 0 && Instant::now() < end {
            let got = stream.read(&mut buffer).with_context(|| {
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
pub(crate) fn transfer_once(ns: &Netns, address: SocketAddr, transfer: u64) -> Result<()> {
    let mut stream = ns.run(|| TcpStream::connect(address))?;
    stream.set_read_timeout(Some(STALL))?;
    stream.write_all(&transfer.to_be_bytes())?;
    let copied = io::copy(&mut (&mut stream).take(transfer), &mut io::sink())?;
    ensure!(copied == transfer, "{copied} of {transfer} bytes came");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

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
        let end = Instant::now() + Duration::from_secs(60);
        let error = read_until(client, end, 11).unwrap_err();
        assert!(error.to_string().contains("1 bytes to come"), "{error}");
    }

    #[test]
    fn sink_notices_too_many_bytes() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(&[0; 12]).unwrap();
        let end = Instant::now() + Duration::from_secs(60);
        assert!(read_until(client, end, 11).is_err());
    }
}
