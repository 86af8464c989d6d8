//! A daemon that speaks TLS to its clients, to its server, or to both; and what must hold whichever it is.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::Duration;

use rustls::{ClientConfig, ServerConfig};

use crate::certs::{Certs, Leaf, Versions};
use crate::endpoint::{self, Endpoint};
use crate::netns::{Layout, Topology};
use crate::pattern::Pattern;
use crate::peer::{Buffers, End, Exchange, Peer, Segments, settle};
use crate::record::Record;
use crate::rig::{Config, Path, Rig};
use crate::tls_end::TlsEnd;
use crate::tls_peer::{Close, Talk, TlsPeer};

/// Which of the daemon's sides speak TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sides {
    /// The client's.
    In,
    /// The server's.
    Out,
    /// Both.
    Both,
}

impl Sides {
    fn has_in(self) -> bool {
        self != Self::Out
    }

    fn has_out(self) -> bool {
        self != Self::In
    }
}

/// The name of the daemon's certificate for clients, in the bundle `front`.
pub const FRONT: &str = "a.example";
/// The name of the server's certificate, in the bundle `back`.
pub const BACK: &str = "b.back.example";

/// A rig with certificates, and peers that trust them.
pub struct TlsRig {
    /// The rig.
    pub rig: Rig,
    /// The certificates.
    pub certs: Certs,
    /// How clients speak TLS.
    pub client: Arc<ClientConfig>,
    /// How servers speak it.
    pub server: Arc<ServerConfig>,
    sides: Sides,
}

impl TlsRig {
    /// On loopback, everything at its default.
    ///
    /// # Panics
    /// When any part of the set-up fails.
    #[must_use]
    pub fn new(sides: Sides, versions: Versions) -> Self {
        Self::with(sides, versions, |_, _| {})
    }

    /// On loopback, with a configuration changed by `change`.
    ///
    /// # Panics
    /// When any part of the set-up fails.
    #[must_use]
    pub fn with(
        sides: Sides,
        versions: Versions,
        change: impl FnOnce(&mut Config, &Certs),
    ) -> Self {
        let net = Topology::new(Layout::Loopback).expect("hosts");
        Self::on(net, sides, versions, change)
    }

    /// On hosts that exist.
    ///
    /// # Panics
    /// When any part of the set-up fails.
    #[must_use]
    pub fn on(
        net: Topology,
        sides: Sides,
        versions: Versions,
        change: impl FnOnce(&mut Config, &Certs),
    ) -> Self {
        let certs = Certs::new();
        let front = certs.issue("front", &Leaf::new(FRONT));
        certs.issue("back", &Leaf::new(BACK));
        let rig = Rig::on(net, Path::Buffer, false, Buffers::default(), |config| {
            if sides.has_in() {
                config.bind_with(&format!("ssl crt {}", front.display()));
            }
            if sides.has_out() {
                let ca = certs.ca();
                config.server_with(&format!("ssl ca-file {} sni str({BACK})", ca.display()));
            }
            change(config, &certs);
        });
        Self {
            client: Arc::new(certs.client(versions, None)),
            server: Arc::new(certs.server(versions, "back", false)),
            rig,
            certs,
            sides,
        }
    }

    /// A client that is connected to the daemon.
    ///
    /// # Panics
    /// When it cannot connect.
    #[must_use]
    pub fn connect(&self) -> AnyPeer {
        let client = self.rig.connect();
        if self.sides.has_in() {
            AnyPeer::Tls(Box::new(
                TlsPeer::client(client, &self.client, FRONT).ready(),
            ))
        } else {
            AnyPeer::Raw(client)
        }
    }

    /// The daemon's next connection to the server.
    ///
    /// # Panics
    /// When none comes in time, or speaks no TLS where it should.
    #[must_use]
    pub fn accept(&self) -> AnyPeer {
        let server = self.rig.accept();
        if self.sides.has_out() {
            AnyPeer::Tls(Box::new(TlsPeer::server(server, &self.server).ready()))
        } else {
            AnyPeer::Raw(server)
        }
    }

    /// Both ends of a new flow.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn flow(&self) -> (AnyPeer, AnyPeer) {
        let client = self.connect();
        (client, self.accept())
    }

    /// Checks a record as [`Rig::check`] does, and that the flow went through buffers and ended as `history` says.
    ///
    /// # Panics
    /// When the record says anything else.
    pub fn check(&self, record: &Record, up: u64, down: u64, end: &str, history: &str) {
        self.rig.check(record, up, down, end);
        if self.rig.is_haproxy() {
            return;
        }
        let told = record.history.as_deref();
        if history == "-" {
            assert_eq!(told, Some("-"), "{}", record.line);
        } else {
            let named = told.is_some_and(|told| told.contains(history));
            assert!(named, "{history} is missing: {}", record.line);
        }
        for (path, bytes) in record.path.iter().zip([up, down]) {
            let right = path == "buffer" || (path == "-" && bytes == 0);
            assert!(right, "{}", record.line);
        }
    }
}

/// One end of a flow: raw, or over TLS.
pub enum AnyPeer {
    /// Raw.
    Raw(Peer),
    /// Over TLS.
    Tls(Box<TlsPeer>),
}

impl Endpoint for AnyPeer {
    fn exchange(
        &mut self,
        who: &str,
        send: (Pattern, u64),
        receive: (Pattern, u64),
        exchange: &Exchange,
    ) {
        match self {
            Self::Raw(peer) => peer.exchange(who, send, receive, exchange),
            Self::Tls(peer) => peer.exchange(who, send, receive, exchange),
        }
    }
}

/// How a receiver's stream ended.
#[derive(Debug)]
pub enum AnyEnd {
    /// Raw.
    Raw(End),
    /// Over TLS.
    Tls(TlsEnd),
}

impl AnyEnd {
    /// The orderly end: FIN, or close_notify.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        matches!(self, Self::Raw(End::Eof) | Self::Tls(TlsEnd::Closed))
    }

    /// An end that nobody can take for an orderly one.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        match self {
            Self::Raw(end) => *end == End::Reset,
            Self::Tls(end) => end.is_broken(),
        }
    }
}

impl AnyPeer {
    /// Sends `bytes` of `pattern` from `offset` on.
    ///
    /// # Panics
    /// When the connection does not take them.
    pub fn send_all(&mut self, pattern: Pattern, offset: u64, bytes: u64) {
        match self {
            Self::Raw(peer) => peer.send_all(pattern, offset, bytes),
            Self::Tls(peer) => peer.send_all(pattern, offset, bytes),
        }
    }

    /// Sends `bytes` of `pattern`, adding what was taken to `sent`, then ends the direction in order.
    ///
    /// # Panics
    /// When the connection does not take them.
    pub fn send_counted(&mut self, pattern: Pattern, bytes: u64, sent: &AtomicU64) {
        match self {
            Self::Raw(peer) => {
                let done = peer.send_counted(pattern, 0, bytes, Segments::Fixed(64 << 10), sent);
                assert!(done.error.is_none(), "{done:?}");
                peer.finish();
            }
            Self::Tls(peer) => {
                let (done, _) = peer.talk_counted(Talk::tell(pattern, bytes, Close::Notify), sent);
                assert!(done.is_ok(), "{done:?}");
            }
        }
    }

    /// Receives exactly `bytes` of `pattern` from `offset` on.
    ///
    /// # Panics
    /// When something else comes.
    pub fn receive_exact(&mut self, pattern: Pattern, offset: u64, bytes: u64) {
        match self {
            Self::Raw(peer) => peer.receive_exact(pattern, offset, bytes),
            Self::Tls(peer) => peer.receive_exact(pattern, offset, bytes),
        }
    }

    /// Receives `pattern` to the end of the stream: how many bytes came, and what then.
    pub fn receive(&mut self, pattern: Pattern) -> (u64, AnyEnd) {
        match self {
            Self::Raw(peer) => {
                let got = peer.receive(pattern);
                (got.bytes, AnyEnd::Raw(got.end))
            }
            Self::Tls(peer) => {
                let got = peer.receive(pattern);
                (got.bytes, AnyEnd::Tls(got.end))
            }
        }
    }

    /// Reads the orderly end of the stream, and nothing before it.
    ///
    /// # Panics
    /// When anything else comes.
    pub fn expect_end(&mut self) {
        let (bytes, end) = self.receive(Pattern::new(0));
        assert!(
            bytes == 0 && end.is_clean(),
            "expected an orderly end, got {bytes} bytes, then {end:?}"
        );
    }

    /// Ends this side's direction in order.
    ///
    /// # Panics
    /// When the connection is gone.
    pub fn finish(&mut self) {
        match self {
            Self::Raw(peer) => peer.finish(),
            Self::Tls(peer) => peer.finish(Close::Notify),
        }
    }

    /// Ends this side's direction by a FIN without close_notify.
    ///
    /// # Panics
    /// When the peer is raw: there it would be an orderly end.
    pub fn truncate(&mut self) {
        match self {
            Self::Raw(_) => panic!("a raw stream cannot be truncated by a FIN"),
            Self::Tls(peer) => peer.finish(Close::Fin),
        }
    }

    /// Closes with a reset.
    ///
    /// # Panics
    /// When the socket takes no linger time.
    pub fn abort(self) {
        match self {
            Self::Raw(peer) => peer.abort(),
            Self::Tls(peer) => peer.abort(),
        }
    }
}

const MB: u64 = 1 << 20;

fn up() -> Pattern {
    Pattern::new(700)
}

fn down() -> Pattern {
    Pattern::new(701)
}

/// Carries this much both ways at once, byte by byte.
pub fn bulk(sides: Sides, versions: Versions, up: u64, down: u64) {
    let tls = TlsRig::new(sides, versions);
    let (client, server) = tls.flow();
    let exchange = Exchange::new(20, up, down);
    endpoint::run(&exchange, client, server);
    tls.check(&tls.rig.record(), up, down, "--", "-");
    tls.rig.stop();
}

/// Small requests and replies in turn, in which nothing may wait for more bytes.
pub fn dialogue(sides: Sides, versions: Versions) {
    const ROUNDS: u64 = 500;
    let tls = TlsRig::new(sides, versions);
    let (mut client, mut server) = tls.flow();
    for round in 0..ROUNDS {
        client.send_all(up(), round * 50, 50);
        server.receive_exact(up(), round * 50, 50);
        server.send_all(down(), round * 300, 300);
        client.receive_exact(down(), round * 300, 300);
    }
    client.finish();
    server.expect_end();
    server.finish();
    client.expect_end();
    drop((client, server));
    let record = tls.rig.record();
    tls.check(&record, ROUNDS * 50, ROUNDS * 300, "--", "-");
    tls.rig.stop();
}

/// Whoever has ended its own direction still gets all that the other side sends.
pub fn ends_first(sides: Sides, versions: Versions, first: Who) {
    let tls = TlsRig::new(sides, versions);
    let (client, server) = tls.flow();
    let (mut early, mut late, from_early, from_late) = match first {
        Who::Client => (client, server, up(), down()),
        Who::Server => (server, client, down(), up()),
    };
    early.send_all(from_early, 0, 1000);
    early.finish();
    let (bytes, end) = late.receive(from_early);
    assert!(bytes == 1000 && end.is_clean(), "{bytes} bytes, {end:?}");
    thread::scope(|scope| {
        scope.spawn(|| {
            late.send_all(from_late, 0, 3 * MB);
            late.finish();
        });
        let (bytes, end) = early.receive(from_late);
        assert!(bytes == 3 * MB && end.is_clean(), "{bytes} bytes, {end:?}");
    });
    drop((early, late));
    let (sent_up, sent_down) = match first {
        Who::Client => (1000, 3 * MB),
        Who::Server => (3 * MB, 1000),
    };
    tls.check(&tls.rig.record(), sent_up, sent_down, "--", "-");
    tls.rig.stop();
}

/// Who ends a flow first, breaks it, or stalls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The client.
    Client,
    /// The server.
    Server,
}

/// An end by FIN without close_notify reaches the other side as a broken stream, never as an orderly end.
pub fn truncation(sides: Sides, versions: Versions, who: Who) {
    let tls = TlsRig::new(sides, versions);
    if tls.rig.is_haproxy() {
        return; // It passes a truncation on as an orderly end.
    }
    let (client, server) = tls.flow();
    let (mut culprit, mut victim) = match who {
        Who::Client => (client, server),
        Who::Server => (server, client),
    };
    culprit.send_all(up(), 0, 1000);
    victim.receive_exact(up(), 0, 1000);
    culprit.truncate();
    let (bytes, end) = victim.receive(up());
    assert!(bytes == 0 && end.is_broken(), "{bytes} bytes, {end:?}");
    drop((culprit, victim));
    let record = tls.rig.record();
    match who {
        Who::Client => tls.check(&record, 1000, 0, "CD", "client:data:truncated"),
        Who::Server => tls.check(&record, 0, 1000, "SD", "server:data:truncated"),
    }
    tls.rig.stop();
}

/// A reset reaches the other side as a broken stream.
pub fn reset(sides: Sides, versions: Versions, who: Who) {
    let tls = TlsRig::new(sides, versions);
    let (client, server) = tls.flow();
    let (mut culprit, mut victim) = match who {
        Who::Client => (client, server),
        Who::Server => (server, client),
    };
    culprit.send_all(up(), 0, 1000);
    victim.receive_exact(up(), 0, 1000);
    culprit.abort();
    let (bytes, end) = victim.receive(up());
    // The peer passes some resets on as an orderly end.
    let broken = tls.rig.is_haproxy() || end.is_broken();
    assert!(bytes == 0 && broken, "{bytes} bytes, {end:?}");
    drop(victim);
    let record = tls.rig.record();
    if !tls.rig.is_haproxy() {
        match who {
            Who::Client => tls.check(&record, 1000, 0, "CD", "client:"),
            Who::Server => tls.check(&record, 0, 1000, "SD", "server:"),
        }
    }
    tls.rig.stop();
}

/// A receiver that stops reading holds its sender back, and gets everything later.
pub fn stall(sides: Sides, versions: Versions, who: Who) {
    const ALL: u64 = 64 * MB;
    /// Four socket buffers on the way, each of at most 1 MB, whose memory may count double.
    const MOST: u64 = 10 * MB;
    let net = Topology::new(Layout::Loopback).expect("hosts");
    for knob in ["net/ipv4/tcp_rmem", "net/ipv4/tcp_wmem"] {
        net.proxy
            .sysctl(knob, "4096 65536 1048576")
            .expect("a sysctl");
    }
    let tls = TlsRig::on(net, sides, versions, |_, _| {});
    let (client, server) = tls.flow();
    let (mut sender, mut receiver) = match who {
        Who::Client => (server, client),
        Who::Server => (client, server),
    };
    let taken = AtomicU64::new(0);
    thread::scope(|scope| {
        let sender = &mut sender;
        scope.spawn(|| sender.send_counted(up(), ALL, &taken));
        let (absorbed, stopped) =
            settle(&taken, Duration::from_millis(700), Duration::from_secs(5));
        let (bytes, end) = receiver.receive(up());
        assert!(bytes == ALL && end.is_clean(), "{bytes} bytes, {end:?}");
        assert!(
            absorbed <= MOST,
            "{} MB were taken, stopped: {stopped}",
            absorbed / MB
        );
    });
    receiver.finish();
    sender.expect_end();
    drop((sender, receiver));
    let record = tls.rig.record();
    match who {
        Who::Client => tls.check(&record, 0, ALL, "--", "-"),
        Who::Server => tls.check(&record, ALL, 0, "--", "-"),
    }
    tls.rig.stop();
}

/// Many flows at once, each checked to the byte.
pub fn many_flows(sides: Sides, versions: Versions) {
    const FLOWS: usize = 100;
    const UP: u64 = 100_000;
    const DOWN: u64 = 200_000;
    let tls = TlsRig::new(sides, versions);
    let flows: Vec<_> = (0..FLOWS).map(|_| tls.flow()).collect();
    thread::scope(|scope| {
        for (n, (client, server)) in flows.into_iter().enumerate() {
            scope.spawn(move || {
                endpoint::run(&Exchange::new(n as u64, UP, DOWN), client, server);
            });
        }
    });
    let records = tls.rig.records(FLOWS);
    assert_eq!(records.len(), FLOWS);
    for record in &records {
        tls.check(record, UP, DOWN, "--", "-");
    }
    tls.rig.stop();
}

/// Makes tests of the scenarios that hold whichever sides speak TLS: `tls_scenarios!(In)`.
#[macro_export]
macro_rules! tls_scenarios {
    ($sides:ident) => {
        mod tls12 {
            $crate::tls_scenarios!($sides, V12);
        }
        mod tls13 {
            $crate::tls_scenarios!($sides, V13);
        }
    };
    ($sides:ident, $versions:ident) => {
        use $crate::certs::Versions::$versions as VERSIONS;
        use $crate::tls_rig;
        use $crate::tls_rig::Sides::$sides as SIDES;
        use $crate::tls_rig::Who;

        const BULK: u64 = 100 << 20;

        #[test]
        fn bulk_both_ways() {
            tls_rig::bulk(SIDES, VERSIONS, BULK, BULK);
        }
        #[test]
        fn bulk_up() {
            tls_rig::bulk(SIDES, VERSIONS, BULK, 0);
        }
        #[test]
        fn bulk_down() {
            tls_rig::bulk(SIDES, VERSIONS, 0, BULK);
        }
        #[test]
        fn dialogue() {
            tls_rig::dialogue(SIDES, VERSIONS);
        }
        #[test]
        fn client_ends_first() {
            tls_rig::ends_first(SIDES, VERSIONS, Who::Client);
        }
        #[test]
        fn server_ends_first() {
            tls_rig::ends_first(SIDES, VERSIONS, Who::Server);
        }
        #[test]
        fn reset_by_client() {
            tls_rig::reset(SIDES, VERSIONS, Who::Client);
        }
        #[test]
        fn reset_by_server() {
            tls_rig::reset(SIDES, VERSIONS, Who::Server);
        }
        #[test]
        fn client_stalls() {
            tls_rig::stall(SIDES, VERSIONS, Who::Client);
        }
        #[test]
        fn server_stalls() {
            tls_rig::stall(SIDES, VERSIONS, Who::Server);
        }
        #[test]
        fn many_flows() {
            tls_rig::many_flows(SIDES, VERSIONS);
        }
    };
}
