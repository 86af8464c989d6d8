//! Traffic endpoints that speak TLS: the same contents and bounds as the raw ones, and ends told apart.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, ClientConnection, Connection, HandshakeKind, ProtocolVersion, ServerConfig,
    ServerConnection,
};
use socket2::Socket;

use crate::pattern::Pattern;
use crate::peer::{PATIENCE, Peer};
use crate::sys;
use crate::tls_end::{TlsEnd, TlsReceived};

/// How a sender ends its direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// Not at all.
    Stay,
    /// close_notify; the TCP connection stays open in both directions.
    Notify,
    /// close_notify, then FIN.
    NotifyAndFin,
    /// FIN alone: a truncation.
    Fin,
}

/// The first flight of a client that asks for `name`.
///
/// # Panics
/// When `name` is no host name and no address.
#[must_use]
pub fn client_hello(config: &Arc<ClientConfig>, name: &str) -> Vec<u8> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut tls = ClientConnection::new(Arc::clone(config), name).expect("a client");
    let mut hello = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut hello).expect("room in memory");
    }
    hello
}

/// What one end of a flow does at once: sends, and receives.
#[derive(Clone, Copy, Debug)]
pub struct Talk {
    /// What it sends.
    pub send: Pattern,
    /// How many bytes of it.
    pub bytes: u64,
    /// How it ends its direction then.
    pub close: Close,
    /// What it is to receive.
    pub receive: Pattern,
    /// How many bytes of it at most.
    pub most: u64,
    /// Bytes that both directions have carried before.
    pub offset: u64,
}

impl Talk {
    /// Sends nothing and receives `pattern` to its end.
    #[must_use]
    pub fn listen(pattern: Pattern) -> Self {
        Self {
            send: pattern,
            bytes: 0,
            close: Close::Stay,
            receive: pattern,
            most: u64::MAX,
            offset: 0,
        }
    }

    /// Sends `bytes` of `pattern`, ends as `close` says, and receives nothing.
    #[must_use]
    pub fn tell(pattern: Pattern, bytes: u64, close: Close) -> Self {
        Self {
            bytes,
            close,
            most: 0,
            ..Self::listen(pattern)
        }
    }
}

/// One end of a flow that speaks TLS.
pub struct TlsPeer {
    socket: Socket,
    tls: Connection,
    /// Bytes to send in front of TLS's own, in the same segment.
    prefix: Vec<u8>,
}

/// How much plain text may wait in the library for the socket.
const WAITING: usize = 64 * 1024;

impl TlsPeer {
    /// A client that asks for `name`; nothing is sent yet.
    ///
    /// # Panics
    /// When `name` is no host name and no address, or the socket refuses.
    #[must_use]
    pub fn client(peer: Peer, config: &Arc<ClientConfig>, name: &str) -> Self {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let tls = ClientConnection::new(Arc::clone(config), name).expect("a client");
        Self::new(peer, tls.into())
    }

    /// A server; nothing is read yet.
    ///
    /// # Panics
    /// When the socket refuses.
    #[must_use]
    pub fn server(peer: Peer, config: &Arc<ServerConfig>) -> Self {
        let tls = ServerConnection::new(Arc::clone(config)).expect("a server");
        Self::new(peer, tls.into())
    }

    fn new(peer: Peer, mut tls: Connection) -> Self {
        let socket = peer.into_socket();
        socket.set_nonblocking(true).expect("a nonblocking socket");
        tls.set_buffer_limit(Some(WAITING));
        Self {
            socket,
            tls,
            prefix: Vec::new(),
        }
    }

    /// Sends `bytes` in front of everything, in one segment with the first of TLS.
    #[must_use]
    pub fn with_prefix(mut self, bytes: &[u8]) -> Self {
        self.prefix = bytes.to_vec();
        self
    }

    /// Goes through the handshake.
    ///
    /// # Errors
    /// How it failed.
    pub fn handshake(mut self) -> Result<Self, TlsEnd> {
        while self.tls.is_handshaking() {
            self.flush()?;
            if !self.tls.is_handshaking() {
                break;
            }
            self.wait(true)?;
            if self.pull()? == Pulled::End {
                return Err(TlsEnd::Truncated);
            }
        }
        while self.wants_write() {
            self.flush()?;
            if self.wants_write() {
                self.wait(false)?;
            }
        }
        Ok(self)
    }

    /// The handshake of a flow that must succeed.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn ready(self) -> Self {
        self.handshake().expect("a TLS handshake")
    }

    /// The socket, for options and queries.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Whether the handshake was a full one.
    #[must_use]
    pub fn kind(&self) -> Option<HandshakeKind> {
        self.tls.handshake_kind()
    }

    /// The version spoken.
    #[must_use]
    pub fn version(&self) -> Option<ProtocolVersion> {
        self.tls.protocol_version()
    }

    /// The protocol that ALPN chose.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.tls.alpn_protocol()
    }

    /// The name that the client asked for, at a server.
    #[must_use]
    pub fn asked_for(&self) -> Option<&str> {
        match &self.tls {
            Connection::Server(tls) => tls.server_name(),
            Connection::Client(_) => None,
        }
    }

    /// The other end's own certificate, as DER.
    #[must_use]
    pub fn shown(&self) -> Option<&[u8]> {
        self.tls.peer_certificates()?.first().map(AsRef::as_ref)
    }

    fn wants_write(&self) -> bool {
        !self.prefix.is_empty() || self.tls.wants_write()
    }

    fn wait(&self, read: bool) -> Result<(), TlsEnd> {
        let patience = i32::try_from(PATIENCE.as_millis()).unwrap_or(i32::MAX);
        match sys::poll(self.socket.as_fd(), read, self.wants_write(), patience) {
            Ok(true) => Ok(()),
            Ok(false) => Err(TlsEnd::Silence),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes what waits, as far as the socket takes it.
    fn flush(&mut self) -> io::Result<()> {
        if !self.prefix.is_empty() {
            // Small, so that it goes with the first records in one write.
            self.tls.write_tls(&mut self.prefix)?;
            let all = std::mem::take(&mut self.prefix);
            return (&self.socket).write_all(&all);
        }
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut &self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what the socket has, once.
    fn pull(&mut self) -> Result<Pulled, TlsEnd> {
        match self.tls.read_tls(&mut &self.socket) {
            Ok(0) => Ok(Pulled::End),
            Ok(_) => match self.tls.process_new_packets() {
                Ok(_) => Ok(Pulled::Bytes),
                Err(error) => {
                    // The other end is owed the alert that says so.
                    let _ = self.flush();
                    Err(TlsEnd::Tls(error))
                }
            },
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::Interrupted => Ok(Pulled::Nothing),
                _ => Err(error.into()),
            },
        }
    }

    /// Sends and receives at once, and adds to `sent` what the library has taken.
    pub fn talk_counted(
        &mut self,
        talk: Talk,
        sent: &AtomicU64,
    ) -> (Result<(), TlsEnd>, TlsReceived) {
        let mut sender = Sender::new(talk);
        let mut got = 0;
        let mut buffer = vec![0; WAITING];
        let mut end = (talk.most == 0).then_some(TlsEnd::Enough);
        let mut sending = Ok(());
        loop {
            if sending.is_ok() {
                sending = sender.advance(self, sent).map_err(TlsEnd::from);
            }
            if end.is_none() {
                end = self.take(&talk, &mut got, &mut buffer);
            }
            let idle = sending.is_err() || (sender.is_done() && !self.wants_write());
            if idle && end.is_some() {
                break;
            }
            if let Err(why) = self.wait(end.is_none()) {
                if end.is_none() {
                    end = Some(why);
                } else {
                    sending = Err(why);
                }
            }
        }
        let received = TlsReceived {
            bytes: got,
            end: end.unwrap_or(TlsEnd::Silence),
        };
        (sending, received)
    }

    /// Sends and receives at once.
    pub fn talk(&mut self, talk: Talk) -> (Result<(), TlsEnd>, TlsReceived) {
        self.talk_counted(talk, &AtomicU64::new(0))
    }

    /// Takes what is there; says how the stream ended, when it did or enough came.
    fn take(&mut self, talk: &Talk, got: &mut u64, buffer: &mut [u8]) -> Option<TlsEnd> {
        // The library may hold bytes that an earlier receiver did not want, and then takes no more from the socket.
        if let Some(end) = self.drain(talk, got, buffer) {
            return Some(end);
        }
        match self.pull() {
            Ok(Pulled::Nothing) => None,
            Ok(Pulled::Bytes) => self.drain(talk, got, buffer),
            Ok(Pulled::End) => self.drain(talk, got, buffer).or(Some(TlsEnd::Truncated)),
            Err(end) => Some(end),
        }
    }

    /// Takes the plain text that the library holds.
    fn drain(&mut self, talk: &Talk, got: &mut u64, buffer: &mut [u8]) -> Option<TlsEnd> {
        loop {
            let left = usize::try_from(talk.most - *got).unwrap_or(usize::MAX);
            if left == 0 {
                return Some(TlsEnd::Enough);
            }
            let room = buffer.len().min(left);
            match self.tls.reader().read(&mut buffer[..room]) {
                Ok(0) => return Some(TlsEnd::Closed),
                Ok(count) => {
                    let from = talk.offset + *got;
                    if let Err(what) = talk.receive.check(from, &buffer[..count]) {
                        *got = what.offset - talk.offset;
                        return Some(TlsEnd::Corrupt(what));
                    }
                    *got += count as u64;
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return None,
                    ErrorKind::UnexpectedEof => return Some(TlsEnd::Truncated),
                    _ => return Some(error.into()),
                },
            }
        }
    }

    /// Sends `bytes` of `pattern` from `offset` on, all of them.
    ///
    /// # Panics
    /// When the connection does not take them.
    pub fn send_all(&mut self, pattern: Pattern, offset: u64, bytes: u64) {
        let talk = Talk {
            offset,
            ..Talk::tell(pattern, bytes, Close::Stay)
        };
        let (sent, _) = self.talk(talk);
        assert!(sent.is_ok(), "sending {bytes} bytes: {sent:?}");
    }

    /// Receives exactly `bytes` of `pattern` from `offset` on.
    ///
    /// # Panics
    /// When something else comes.
    pub fn receive_exact(&mut self, pattern: Pattern, offset: u64, bytes: u64) {
        let talk = Talk {
            most: bytes,
            offset,
            ..Talk::listen(pattern)
        };
        let (_, got) = self.talk(talk);
        assert!(
            got.end == TlsEnd::Enough,
            "expected {bytes} bytes from {offset} on, got {got}"
        );
    }

    /// Receives to the end of the stream.
    pub fn receive(&mut self, pattern: Pattern) -> TlsReceived {
        self.talk(Talk::listen(pattern)).1
    }

    /// Reads the end of the stream.
    ///
    /// # Panics
    /// When anything else comes.
    pub fn expect_closed(&mut self) {
        let got = self.receive(Pattern::new(0));
        assert!(
            got.bytes == 0 && got.end == TlsEnd::Closed,
            "expected close_notify, got {got}"
        );
    }

    /// Ends this side's direction.
    ///
    /// # Panics
    /// When the connection is gone.
    pub fn finish(&mut self, close: Close) {
        let (sent, _) = self.talk(Talk::tell(Pattern::new(0), 0, close));
        assert!(sent.is_ok(), "{close:?}: {sent:?}");
    }

    /// Closes with a reset.
    ///
    /// # Panics
    /// When the socket takes no linger time.
    pub fn abort(self) {
        self.socket
            .set_linger(Some(std::time::Duration::ZERO))
            .expect("linger");
    }
}

#[derive(PartialEq, Eq)]
enum Pulled {
    Nothing,
    Bytes,
    End,
}

/// The sending half of a talk.
struct Sender {
    talk: Talk,
    sent: u64,
    chunk: Vec<u8>,
    notified: bool,
    finished: bool,
}

impl Sender {
    fn new(talk: Talk) -> Self {
        Self {
            talk,
            sent: 0,
            chunk: vec![0; WAITING],
            notified: false,
            finished: false,
        }
    }

    fn is_done(&self) -> bool {
        self.sent == self.talk.bytes && self.finished
    }

    /// Fills the library's buffer and the socket with what they take.
    fn advance(&mut self, peer: &mut TlsPeer, progress: &AtomicU64) -> io::Result<()> {
        loop {
            while self.sent < self.talk.bytes {
                let left = usize::try_from(self.talk.bytes - self.sent).unwrap_or(usize::MAX);
                let chunk = &mut self.chunk[..left.min(WAITING)];
                self.talk.send.fill(self.talk.offset + self.sent, chunk);
                let taken = peer.tls.writer().write(chunk)? as u64;
                if taken == 0 {
                    break;
                }
                self.sent += taken;
                progress.fetch_add(taken, Ordering::Relaxed);
            }
            let all = self.sent == self.talk.bytes;
            let notify = matches!(self.talk.close, Close::Notify | Close::NotifyAndFin);
            if all && notify && !self.notified {
                peer.tls.send_close_notify();
                self.notified = true;
            }
            peer.flush()?;
            let out = !peer.wants_write();
            if all && out && !self.finished {
                if matches!(self.talk.close, Close::Fin | Close::NotifyAndFin) {
                    peer.socket.shutdown(Shutdown::Write)?;
                }
                self.finished = true;
            }
            if all || !out {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use super::*;
    use crate::certs::{Certs, Leaf, Versions};
    use crate::endpoint::run;
    use crate::peer::Exchange;

    fn pair() -> (Peer, Peer) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client.into(), listener.accept().unwrap().0.into())
    }

    fn tls_pair(certs: &Certs, versions: Versions) -> (TlsPeer, TlsPeer) {
        let (client, server) = pair();
        let client_config = Arc::new(certs.client(versions, None));
        let server_config = Arc::new(certs.server(versions, "a", false));
        thread::scope(|scope| {
            let server = scope.spawn(|| TlsPeer::server(server, &server_config).ready());
            let client = TlsPeer::client(client, &client_config, "a.example").ready();
            (client, server.join().unwrap())
        })
    }

    #[test]
    fn ends_agree_and_tell_endings_apart() {
        let certs = Certs::new();
        certs.issue("a", &Leaf::new("a.example"));
        for versions in [Versions::V12, Versions::V13] {
            let (client, server) = tls_pair(&certs, versions);
            run(&Exchange::new(1, 3 << 20, 2 << 20), client, server);

            let (mut client, mut server) = tls_pair(&certs, versions);
            client.finish(Close::Fin);
            assert_eq!(server.receive(Pattern::new(0)).end, TlsEnd::Truncated);

            let (client, mut server) = tls_pair(&certs, versions);
            client.abort();
            assert_eq!(server.receive(Pattern::new(0)).end, TlsEnd::Reset);
        }
    }
}
