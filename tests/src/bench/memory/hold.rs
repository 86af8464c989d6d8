//! Both ends of connections that are held: they exchange a few bytes once, then nothing.
//!
//! Neither end watches its connections, so that the kernel keeps nothing but the sockets for them, and clients drop
//! what TLS has to remember: what is measured is the proxy's.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustls::{ClientConfig, ClientConnection};
use socket2::SockRef;
use underpass_tests::netns::Netns;

use crate::tls::server_name;

/// What is sent and comes back once on each connection.
const WORDS: [u8; 16] = *b"are you there? y";

/// Connections that are being opened at a time.
const OPENERS: usize = 8;

/// Longest wait for one step.
const STALL: Duration = Duration::from_secs(10);

/// Answers once on each connection, and holds all of them until it is dropped.
pub(super) struct Server {
    listener: Arc<TcpListener>,
    holder: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on `address` in `ns`.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub(super) fn start(ns: &Netns, address: SocketAddr) -> Result<Self> {
        let listener = ns
            .run(|| TcpListener::bind(address))
            .with_context(|| format!("server on {address}"))?;
        Ok(Self::on(listener))
    }

    fn on(listener: TcpListener) -> Self {
        let listener = Arc::new(listener);
        let holder = {
            let listener = Arc::clone(&listener);
            thread::spawn(move || {
                let mut held = Vec::new();
                while let Ok((stream, _)) = listener.accept() {
                    // One after the other: whoever connects, speaks. Who does not is missed by its client.
                    if answer(&stream).is_ok() {
                        held.push(stream);
                    }
                }
            })
        };
        Self {
            listener,
            holder: Some(holder),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Makes the blocked accept return.
        let _ = SockRef::from(&*self.listener).shutdown(Shutdown::Both);
        if let Some(holder) = self.holder.take() {
            let _ = holder.join();
        }
    }
}

fn answer(mut stream: &TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(STALL))?;
    let mut words = WORDS;
    stream.read_exact(&mut words)?;
    Ok(stream.write_all(&words)?)
}

/// Opens `count` connections in `ns` to `address`, over TLS when there are settings for it, and lets each carry its
/// words there and back.
///
/// # Errors
/// When one of them fails.
pub(super) fn open(
    ns: &Netns,
    address: SocketAddr,
    count: usize,
    tls: Option<&Arc<ClientConfig>>,
) -> Result<Vec<TcpStream>> {
    // Threads begin in the namespace of the thread that starts them.
    ns.run(|| open_here(address, count, tls))
}

fn open_here(
    address: SocketAddr,
    count: usize,
    tls: Option<&Arc<ClientConfig>>,
) -> Result<Vec<TcpStream>> {
    thread::scope(|scope| {
        let openers: Vec<_> = (0..OPENERS)
            .map(|opener| {
                let share = (opener..count).step_by(OPENERS);
                scope.spawn(move || {
                    share
                        .map(|number| {
                            open_one(address, tls)
                                .with_context(|| format!("connection {number} of {count}"))
                        })
                        .collect::<Result<Vec<_>>>()
                })
            })
            .collect();
        let mut held = Vec::with_capacity(count);
        for opener in openers {
            match opener.join() {
                Ok(streams) => held.extend(streams?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(held)
    })
}

fn open_one(address: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, STALL)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STALL))?;
    match tls {
        None => exchange(&mut stream)?,
        Some(config) => {
            let mut session = ClientConnection::new(Arc::clone(config), server_name()?)?;
            exchange(&mut rustls::Stream::new(&mut session, &mut stream))?;
        }
    }
    Ok(stream)
}

fn exchange(stream: &mut (impl Read + Write)) -> Result<()> {
    stream.write_all(&WORDS)?;
    let mut echo = [0; WORDS.len()];
    stream.read_exact(&mut echo)?;
    ensure!(echo == WORDS, "other words came back");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{io::ErrorKind, net::Ipv4Addr};

    use super::*;

    #[test]
    fn connections_stay_open_until_the_server_goes() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::on(listener);
        let held = open_here(address, 20, None).unwrap();
        assert_eq!(held.len(), 20);
        for mut stream in &held {
            stream.set_nonblocking(true).unwrap();
            let error = stream.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
        }
        drop(server);
        for mut stream in &held {
            stream.set_nonblocking(false).unwrap();
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        }
    }

    #[test]
    fn other_words_are_an_error() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let liar = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; WORDS.len()]).unwrap();
            stream.write_all(&[0; WORDS.len()]).unwrap();
        });
        assert!(open_here(address, 1, None).is_err());
        liar.join().unwrap();
    }
}
