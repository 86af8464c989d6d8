//! UNIX sockets as clients and as servers go through the same layers as TCP: raw, PROXY headers, TLS.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;
use underpass_tests::certs::{Certs, Leaf, Versions};
use underpass_tests::endpoint;
use underpass_tests::netns::Layout;
use underpass_tests::peer::{End, Exchange, Peer};
use underpass_tests::proxy_header::{self, Header, tlv};
use underpass_tests::record::Record;
use underpass_tests::rig::{Config, Path, Rig};
use underpass_tests::tls_peer::{Close, TlsPeer};

const NAME: &str = "a.example";
const MB: u64 = 1 << 20;

/// A daemon between two UNIX sockets.
struct Sockets {
    rig: Rig,
    client: PathBuf,
    server: UnixListener,
    _dir: TempDir,
}

impl Sockets {
    /// The words that follow the addresses of the `bind` and of the `server` line.
    fn new(bind: &str, server: &str, change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [client, to] = ["in.sock", "out.sock"].map(|name| dir.path().join(name));
        let listener = UnixListener::bind(&to).unwrap();
        let rig = Rig::with(Layout::Loopback, Path::Buffer, |config| {
            config.bind = format!("unix@{} {bind}", client.display());
            config.server = format!("unix@{} {server}", to.display());
            change(config);
        });
        Self {
            rig,
            client,
            server: listener,
            _dir: dir,
        }
    }

    fn connect(&self) -> Peer {
        UnixStream::connect(&self.client).unwrap().into()
    }

    fn accept(&self) -> Peer {
        self.server.accept().unwrap().0.into()
    }

    fn check(&self, exchange: &Exchange) -> Record {
        let record = self.rig.record();
        self.rig.check(&record, exchange.up, exchange.down, "--");
        record
    }
}

fn exchange(seed: u64) -> Exchange {
    Exchange::new(seed, 8 * MB, 8 * MB + 1)
}

/// Certificates of the daemon, `front`, and of the server, `back`.
fn certs() -> Certs {
    let certs = Certs::new();
    certs.issue("front", &Leaf::new(NAME));
    certs.issue("back", &Leaf::new(NAME));
    certs
}

#[test]
fn raw() {
    let sockets = Sockets::new("", "", |_| {});
    let (client, server) = (sockets.connect(), sockets.accept());
    let exchange = exchange(900);
    exchange.run(&client, &server);
    sockets.check(&exchange);
    sockets.rig.stop();
}

/// The header tells an address that the UNIX socket does not have: the log and the next header show it.
#[test]
fn a_header_in_and_out() {
    let addresses = ["192.0.2.1:1000", "192.0.2.2:2000"].map(|text| text.parse().unwrap());
    let [source, destination] = addresses;
    for (words, version) in [("send-proxy", 1), ("send-proxy-v2", 2)] {
        for header in [
            proxy_header::v1(source, destination),
            proxy_header::v2(source, destination, &[]),
        ] {
            let sockets = Sockets::new("accept-proxy", words, |_| {});
            let client = sockets.connect();
            client.write(&header);
            let server = sockets.accept();
            let told = Header::read(&server).unwrap();
            assert_eq!(told.version, version);
            assert_eq!(told.addresses, Some((source, destination)));
            let exchange = exchange(901);
            exchange.run(&client, &server);
            let record = sockets.check(&exchange);
            assert_eq!(record.client, source.to_string(), "{}", record.line);
            sockets.rig.stop();
        }
    }
}

/// Without a header, nothing is known of a client on a UNIX socket, and the header for the server says so.
#[test]
fn a_header_about_an_unknown_client() {
    for (words, version) in [("send-proxy", 1), ("send-proxy-v2", 2)] {
        let sockets = Sockets::new("", words, |_| {});
        let (client, server) = (sockets.connect(), sockets.accept());
        let told = Header::read(&server).unwrap();
        assert_eq!((told.version, told.addresses), (version, None));
        let exchange = exchange(902);
        exchange.run(&client, &server);
        sockets.check(&exchange);
        sockets.rig.stop();
    }
}

#[test]
fn a_bad_header() {
    let sockets = Sockets::new("accept-proxy name front", "", |_| {});
    let client = sockets.connect();
    client.write(b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 99999\r\n");
    let (got, end) = client.read_to_end();
    assert!(got.is_empty(), "{got:?}");
    assert!(matches!(end, End::Eof | End::Reset), "{end:?}");
    let rejections = sockets.rig.daemon.wait_rejections(1).unwrap();
    assert_eq!(rejections.len(), 1, "{rejections:?}");
    assert_eq!(rejections[0].bind, "front", "{}", rejections[0].line);
    sockets.server.set_nonblocking(true).unwrap();
    assert!(sockets.server.accept().is_err());
    sockets.rig.stop();
}

#[test]
fn tls_on_both_sides() {
    let certs = certs();
    let (crt, ca) = (certs.path("front"), certs.ca());
    for versions in [Versions::V12, Versions::V13] {
        let sockets = Sockets::new(
            &format!("ssl crt {}", crt.display()),
            &format!("ssl ca-file {} sni str({NAME})", ca.display()),
            |_| {},
        );
        let as_client = Arc::new(certs.client(versions, None));
        let as_server = Arc::new(certs.server(versions, "back", false));
        let client = TlsPeer::client(sockets.connect(), &as_client, NAME).ready();
        let server = TlsPeer::server(sockets.accept(), &as_server).ready();
        assert_eq!(server.asked_for(), Some(NAME));
        let exchange = exchange(903);
        endpoint::run(&exchange, client, server);
        sockets.check(&exchange);
        sockets.rig.stop();
    }
}

/// Every layer at once: a header before TLS on the way in, TLS behind a header on the way out.
#[test]
fn headers_and_tls() {
    let certs = certs();
    let addresses = ["192.0.2.1:1000", "192.0.2.2:2000"].map(|text| text.parse().unwrap());
    let [source, destination] = addresses;
    let sockets = Sockets::new(
        &format!("accept-proxy ssl crt {}", certs.path("front").display()),
        "ssl verify none send-proxy-v2-ssl",
        |_| {},
    );
    let as_client = Arc::new(certs.client(Versions::Both, None));
    let as_server = Arc::new(certs.server(Versions::Both, "back", false));
    let header = proxy_header::v2(source, destination, &[(tlv::AUTHORITY, b"other.example")]);
    let client = TlsPeer::client(sockets.connect(), &as_client, NAME)
        .with_prefix(&header)
        .ready();
    let server = sockets.accept();
    let told = Header::read(&server).unwrap();
    assert_eq!(told.addresses, Some((source, destination)));
    let ssl = told.ssl().unwrap();
    assert_eq!(ssl.client & 1, 1, "{ssl:?}");
    let server = TlsPeer::server(server, &as_server).ready();
    let exchange = exchange(904);
    endpoint::run(&exchange, client, server);
    let record = sockets.check(&exchange);
    assert_eq!(record.client, source.to_string(), "{}", record.line);
    sockets.rig.stop();
}

/// A truncation over a UNIX socket is no orderly end: a UNIX socket has no reset, so the record tells.
#[test]
fn a_truncation_is_named() {
    let certs = certs();
    let words = format!("ssl crt {}", certs.path("front").display());
    let sockets = Sockets::new(&words, "", |_| {});
    let as_client = Arc::new(certs.client(Versions::V13, None));
    let mut client = TlsPeer::client(sockets.connect(), &as_client, NAME).ready();
    let server = sockets.accept();
    client.finish(Close::Fin);
    let (got, _) = server.read_to_end();
    assert!(got.is_empty(), "{got:?}");
    drop((client, server));
    let record = sockets.rig.record();
    if !sockets.rig.is_haproxy() {
        assert_eq!(record.end, "CD", "{}", record.line);
        assert_eq!(
            record.history.as_deref(),
            Some("client:data:truncated"),
            "{}",
            record.line
        );
    }
    sockets.rig.stop();
}
