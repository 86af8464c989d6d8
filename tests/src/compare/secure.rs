//! A visitor that speaks TLS with the proxy.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, Stream};

use super::Verdict;
use super::case::{Tls, Visit};
use crate::certs::Certs;
use crate::peer::Peer;

/// Makes a visit over a connection, up to what it said coming back.
pub(super) fn receive(peer: &Peer, visit: &Visit, tls: &Tls, certs: &Certs) -> Verdict {
    let mut config = certs.client(tls.versions, tls.shows.then_some("client"));
    config.alpn_protocols = tls
        .alpn
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    let name = ServerName::try_from(tls.name).expect("a name");
    let mut session = ClientConnection::new(Arc::new(config), name).expect("a session");
    let mut socket = peer.socket();
    if let Some(header) = &visit.header {
        peer.write(header);
    }
    let mut stream = Stream::new(&mut session, &mut socket);
    // Whoever is refused may learn of it by any of these calls.
    let sent = visit.payload();
    let mut letter = [0];
    let mut echo = vec![0; sent.len()];
    let outcome = stream
        .write_all(&sent)
        .and_then(|()| stream.flush())
        .and_then(|()| stream.read_exact(&mut letter))
        .and_then(|()| stream.read_exact(&mut echo));
    match outcome {
        Ok(()) => {
            session.send_close_notify();
            let mut socket = peer.socket();
            // It may be gone already.
            let _ = session.write_tls(&mut socket);
            let _ = peer.socket().shutdown(std::net::Shutdown::Write);
            let (_, end) = peer.read_to_end();
            Verdict::Served {
                by: char::from(letter[0]),
                echo,
                whole: end == crate::peer::End::Eof,
            }
        }
        Err(error) => match error.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionAborted => Verdict::Closed,
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Verdict::Waiting,
            _ => Verdict::Reset,
        },
    }
}
