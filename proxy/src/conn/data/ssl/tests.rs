//! A session over a socket pair, against the library's own end of it.

use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use super::*;

/// Our end, established, and the peer's.
struct Pair {
    ours: UnixStream,
    theirs: UnixStream,
    ssl: SslSock,
    peer: ServerConnection,
}

impl Pair {
    fn new() -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["test".to_owned()]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let client = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        let server = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key.into())
            .unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        for socket in [&ours, &theirs] {
            socket.set_nonblocking(true).unwrap();
        }
        let pool = Rc::new(Pool::new(0));
        let name = ServerName::try_from("test").unwrap();
        let mut pair = Self {
            ours,
            theirs,
            ssl: SslSock::client(pool, Arc::new(client), name).unwrap(),
            peer: ServerConnection::new(Arc::new(server)).unwrap(),
        };
        // A handshake has three flights.
        for _ in 0..4 {
            pair.ssl.handshake(pair.ours.as_fd()).unwrap();
            pair.let_peer_work();
        }
        assert!(!pair.peer.is_handshaking());
        pair
    }

    /// Lets the peer read all that there is, and say what it has to say.
    fn let_peer_work(&mut self) {
        loop {
            match self.peer.read_tls(&mut self.theirs) {
                Ok(got) => assert_ne!(got, 0, "our end was closed"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    break;
                }
            }
            self.peer.process_new_packets().unwrap();
        }
        while self.peer.wants_write() {
            self.peer.write_tls(&mut self.theirs).unwrap();
        }
    }

    /// A record of the peer's, not sent.
    fn record(&mut self, plain: &[u8]) -> Vec<u8> {
        self.peer.writer().write_all(plain).unwrap();
        let mut record = Vec::new();
        self.peer.write_tls(&mut record).unwrap();
        record
    }

    fn read(&mut self, buffer: &mut Buffer) -> (usize, Status) {
        let transfer = ssl_sock_to_buf(self.ours.as_fd(), &mut self.ssl, buffer);
        assert!(transfer.error.is_none(), "{:?}", transfer.error);
        (transfer.bytes, transfer.status)
    }
}

/// Who is told that there is input tries again at once: with a part of a record that would go on
/// until the rest of it comes.
#[test]
fn a_part_of_a_record_is_no_input() {
    let mut pair = Pair::new();
    let mut buffer = Buffer::new(1 << 10);
    // The tickets that follow the handshake.
    assert_eq!(pair.read(&mut buffer), (0, Status::EMPTY_IN));
    assert!(!pair.ssl.has_input());
    let length = pair.record(b"hello").len();
    let mut pair = Pair::new();
    assert_eq!(pair.read(&mut buffer), (0, Status::EMPTY_IN));
    for cut in 1..length {
        let record = pair.record(b"hello");
        pair.theirs.write_all(&record[..cut]).unwrap();
        for _ in 0..2 {
            assert_eq!(pair.read(&mut buffer), (0, Status::EMPTY_IN), "{cut}");
            assert!(!pair.ssl.has_input(), "{cut}");
        }
        pair.theirs.write_all(&record[cut..]).unwrap();
        let (bytes, _) = pair.read(&mut buffer);
        assert_eq!((bytes, buffer.held()), (5, &b"hello"[..]), "{cut}");
        assert!(!pair.ssl.has_input(), "{cut}");
        buffer.clear();
    }
}

/// What was received and did not fit is input, without a word from the socket.
#[test]
fn what_did_not_fit_is_input() {
    let mut pair = Pair::new();
    let mut small = Buffer::new(3);
    let records = [pair.record(b"hello"), pair.record(b"world")].concat();
    pair.theirs.write_all(&records).unwrap();
    let mut taken = Vec::new();
    while taken.len() < 10 {
        let (bytes, _) = pair.read(&mut small);
        assert_ne!(bytes, 0);
        taken.extend_from_slice(small.held());
        small.clear();
        assert_eq!(pair.ssl.has_input(), taken.len() < 10, "{}", taken.len());
    }
    assert_eq!(taken, b"helloworld");
}
