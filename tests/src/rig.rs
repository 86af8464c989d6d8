//! A whole test set-up: hosts, the daemon between them, and a server that listens.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

use anyhow::{Context, Result};
use socket2::{Domain, SockRef, Socket, Type};

use crate::daemon::{self, BOUND, Daemon, Launch};
use crate::netns::{Layout, Topology};
use crate::pattern::Pattern;
use crate::peer::{Buffers, PATIENCE, Peer};
use crate::process::eventually;
use crate::record::Record;

/// What moves the bytes of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// A buffer in user space.
    Buffer,
    /// splice(2) through a pipe.
    Pipe,
    /// The kernel, from socket to socket.
    Redirect,
    /// The kernel, from packet to packet.
    Relay,
}

impl Path {
    /// The word of the configuration and of the log.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Buffer => "buffer",
            Self::Pipe => "pipe",
            Self::Redirect => "redirect",
            Self::Relay => "relay",
        }
    }

    /// Whether it is the kernel that moves the bytes, once the daemon has handed a flow over.
    #[must_use]
    pub fn is_kernel(self) -> bool {
        matches!(self, Self::Redirect | Self::Relay)
    }
}

/// The port that clients reach the daemon on.
pub const PROXY_PORT: u16 = 8000;
/// The port that the server listens on.
pub const SERVER_PORT: u16 = 9000;

/// The word for where relayed flows outlive the daemon.
const PINS: &str = "offload-pins";

/// A configuration with one frontend `fe` and one backend `be` with one server `srv`.
#[derive(Clone, Debug)]
pub struct Config {
    /// Lines for `global`.
    pub global: Vec<String>,
    /// Lines for `defaults`; a later timeout overrides an earlier one.
    pub defaults: Vec<String>,
    /// Lines for the frontend.
    pub frontend: Vec<String>,
    /// Whole sections besides.
    pub sections: String,
    /// Address of the `bind` line, and what follows it.
    pub bind: String,
    /// Address of the `server` line, and what follows it.
    pub server: String,
    /// The words of `offload` and `offload-after`; none when absent.
    pub offload: Option<(String, String)>,
}

impl Config {
    /// The path forced from the first byte on, between these addresses.
    #[must_use]
    pub fn new(path: Path, bind: &impl ToString, server: &impl ToString) -> Self {
        let defaults = [
            "timeout connect 10s",
            "timeout client 60s",
            "timeout server 60s",
            "maxconn 3000",
        ];
        Self {
            global: Vec::new(),
            defaults: defaults.map(str::to_owned).to_vec(),
            frontend: Vec::new(),
            sections: String::new(),
            bind: bind.to_string(),
            server: server.to_string(),
            offload: Some((path.word().to_owned(), "0".to_owned())),
        }
    }

    /// One more line in `global`.
    pub fn global(&mut self, line: impl Into<String>) -> &mut Self {
        self.global.push(line.into());
        self
    }

    /// One more line in `defaults`, in place of an earlier line about the same timeout.
    pub fn defaults(&mut self, line: impl Into<String>) -> &mut Self {
        let line = line.into();
        let key: Vec<String> = line.split_whitespace().take(2).map(str::to_owned).collect();
        self.defaults.retain(|old| {
            !old.split_whitespace()
                .take(2)
                .eq(key.iter().map(String::as_str))
        });
        self.defaults.push(line);
        self
    }

    /// One more line in the frontend.
    pub fn frontend(&mut self, line: impl Into<String>) -> &mut Self {
        self.frontend.push(line.into());
        self
    }

    /// More words on the `bind` line.
    pub fn bind_with(&mut self, words: &str) -> &mut Self {
        let _ = write!(self.bind, " {words}");
        self
    }

    /// More words on the `server` line.
    pub fn server_with(&mut self, words: &str) -> &mut Self {
        let _ = write!(self.server, " {words}");
        self
    }

    /// Sets the words of `offload` and `offload-after`.
    pub fn offload(&mut self, how: &str, after: &str) -> &mut Self {
        self.offload = Some((how.to_owned(), after.to_owned()));
        self
    }

    /// The text, without our own words when it is for the peer.
    #[must_use]
    pub fn text(&self, for_haproxy: bool) -> String {
        let mut text = String::from("global\n    log stdout format raw local0\n    maxconn 3000\n");
        if !for_haproxy && !self.global.iter().any(|line| line.starts_with(PINS)) {
            // Tests kill daemons, run beside one another, and expect that nothing stays.
            let _ = writeln!(text, "    {PINS} off");
        }
        for line in self.global.iter().filter(|line| {
            !(for_haproxy && (line.starts_with("tune.offload") || line.starts_with(PINS)))
        }) {
            let _ = writeln!(text, "    {line}");
        }
        text.push_str("\ndefaults\n    mode tcp\n    log global\n    option tcplog\n");
        for line in &self.defaults {
            let _ = writeln!(text, "    {line}");
        }
        match &self.offload {
            Some((how, _)) if for_haproxy && how == "pipe" => {
                text.push_str("    option splice-request\n    option splice-response\n");
            }
            Some((how, after)) if !for_haproxy => {
                let _ = writeln!(text, "    offload {how}\n    offload-after {after}");
            }
            _ => {}
        }
        let Self { bind, server, .. } = self;
        let _ = write!(
            text,
            "\nfrontend fe\n    bind {bind}\n    default_backend be\n"
        );
        for line in &self.frontend {
            let _ = writeln!(text, "    {line}");
        }
        let _ = write!(text, "\nbackend be\n    server srv {server}\n");
        text.push_str(&self.sections);
        text
    }
}

/// A daemon between a client and a server. Fields drop in order: the daemon goes before its host.
pub struct Rig {
    /// The daemon under test.
    pub daemon: Daemon,
    /// The server's listening socket.
    pub listener: TcpListener,
    /// Where clients connect to.
    pub proxy: SocketAddr,
    /// The path asked for.
    pub path: Path,
    /// The hosts.
    pub net: Topology,
    haproxy: bool,
}

impl Rig {
    /// IPv4, everything at its default.
    ///
    /// # Panics
    /// When any part of the set-up fails.
    #[must_use]
    pub fn new(layout: Layout, path: Path) -> Self {
        Self::with(layout, path, |_| {})
    }

    /// IPv4, with a configuration changed by `change`.
    ///
    /// # Panics
    /// When any part of the set-up fails.
    #[must_use]
    pub fn with(layout: Layout, path: Path, change: impl FnOnce(&mut Config)) -> Self {
        let net = Topology::new(layout).expect("hosts");
        Self::on(net, path, false, Buffers::default(), change)
    }

    /// On hosts that exist, over IPv6 if `v6`, with a server whose sockets have `buffers`.
    ///
    /// # Panics
    /// When any part of the set-up fails.
    #[must_use]
    pub fn on(
        net: Topology,
        path: Path,
        v6: bool,
        buffers: Buffers,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let pick = |v4: IpAddr, v6_addr: IpAddr| if v6 { v6_addr } else { v4 };
        let proxy = SocketAddr::new(
            pick(net.proxy_addr.ipv4(), net.proxy_addr.ipv6()),
            PROXY_PORT,
        );
        let server = SocketAddr::new(
            pick(net.server_addr.ipv4(), net.server_addr.ipv6()),
            SERVER_PORT,
        );
        let listener = net
            .server
            .run(|| listen(server, buffers))
            .expect("a listening server");
        let mut config = Config::new(path, &proxy, &server);
        change(&mut config);
        let program = daemon::binary().expect("the binary under test");
        let haproxy = daemon::is_haproxy(&program);
        let daemon = Launch::program(program, config.text(haproxy))
            .start(&net.proxy)
            .expect("a running daemon");
        Self {
            daemon,
            listener,
            proxy,
            path,
            net,
            haproxy,
        }
    }

    /// A client connected to the daemon.
    ///
    /// # Panics
    /// When it cannot connect.
    #[must_use]
    pub fn connect(&self) -> Peer {
        self.connect_with(Buffers::default())
    }

    /// A client with `buffers`, connected to the daemon.
    ///
    /// # Panics
    /// When it cannot connect.
    #[must_use]
    pub fn connect_with(&self, buffers: Buffers) -> Peer {
        self.net
            .client
            .run(|| Peer::connect(self.proxy, buffers))
            .expect("connect to the daemon")
    }

    /// `count` clients connected to the daemon.
    ///
    /// # Panics
    /// When one cannot connect.
    #[must_use]
    pub fn connect_many(&self, count: usize, buffers: Buffers) -> Vec<Peer> {
        let connect = || Peer::connect(self.proxy, buffers).expect("connect to the daemon");
        self.net
            .client
            .run(|| (0..count).map(|_| connect()).collect())
    }

    /// The daemon's next connection to the server.
    ///
    /// # Panics
    /// When none comes in time.
    #[must_use]
    pub fn accept(&self) -> Peer {
        let (stream, _) = self
            .listener
            .accept()
            .expect("a connection from the daemon");
        stream.set_nodelay(true).expect("no delay");
        stream.into()
    }

    /// Both ends of a new flow.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn flow(&self) -> (Peer, Peer) {
        self.flow_with(Buffers::default())
    }

    /// Both ends of a new flow whose client has `buffers`.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn flow_with(&self, buffers: Buffers) -> (Peer, Peer) {
        let client = self.connect_with(buffers);
        (client, self.accept())
    }

    /// A new flow, the daemon's only one, on which the path asked for already moves both directions; and how many bytes
    /// of each pattern it has carried.
    ///
    /// # Panics
    /// When the path does not take the flow, however much it is used.
    #[must_use]
    pub fn warm_flow(&self, up: Pattern, down: Pattern) -> (Peer, Peer, u64) {
        let (client, server) = self.flow();
        let carried = self.warm(&client, &server, up, down);
        (client, server, carried)
    }

    /// Carries bytes both ways on a new flow, the daemon's only one, until the path asked for moves them; says how many.
    ///
    /// # Panics
    /// When the path does not take the flow, however much it is used.
    #[must_use]
    pub fn warm(&self, client: &Peer, server: &Peer, up: Pattern, down: Pattern) -> u64 {
        const ROUND: u64 = 500;
        let mut carried = 0;
        let mut round = || {
            client.send_all(up, carried, ROUND);
            server.receive_exact(up, carried, ROUND);
            server.send_all(down, carried, ROUND);
            client.receive_exact(down, carried, ROUND);
            carried += ROUND;
        };
        for _ in 0..20 {
            round();
        }
        if self.path.is_kernel() && !self.haproxy {
            let mut last = None;
            let taken = eventually(BOUND, || {
                round();
                let live = self.daemon.live(1).expect("the live flow").remove(0);
                let taken = live.kernel.iter().all(|&moved| moved > 0);
                last = Some(live);
                taken
            });
            assert!(taken, "the kernel does not take the flow: {last:?}");
        }
        carried
    }

    /// The one record that the daemon writes.
    ///
    /// # Panics
    /// When none comes in time.
    #[must_use]
    pub fn record(&self) -> Record {
        self.records(1).remove(0)
    }

    /// At least `count` records.
    ///
    /// # Panics
    /// When fewer come in time.
    #[must_use]
    pub fn records(&self, count: usize) -> Vec<Record> {
        self.daemon.wait_records(count).expect("stream records")
    }

    /// Checks a stream that carried `up` and `down` bytes and ended with the letters `end`.
    ///
    /// # Panics
    /// When the record says anything else.
    pub fn check(&self, record: &Record, up: u64, down: u64, end: &str) {
        assert_eq!(record.end, end, "how the stream ended: {}", record.line);
        assert_eq!(record.down, down, "bytes from the server: {}", record.line);
        if self.haproxy {
            return;
        }
        assert_eq!(
            record.up,
            Some(up),
            "bytes from the client: {}",
            record.line
        );
    }

    /// Checks that the path asked for moved each direction of the stream that had bytes, and, when that path is the
    /// kernel's, that the kernel moved at least `kernel` bytes of each.
    ///
    /// # Panics
    /// When the record says anything else.
    pub fn check_path(&self, record: &Record, kernel: [u64; 2]) {
        if self.haproxy {
            return;
        }
        let bytes = [record.up.unwrap_or_default(), record.down];
        for (path, bytes) in record.path.iter().zip(bytes) {
            let unused = path == "-" && bytes == 0;
            assert!(
                path == self.path.word() || unused,
                "expected {:?}: {}",
                self.path,
                record.line
            );
        }
        match self.path {
            Path::Redirect | Path::Relay => {
                let enough = record.kernel[0] >= kernel[0] && record.kernel[1] >= kernel[1];
                assert!(
                    enough,
                    "the kernel moved less than {kernel:?}: {}",
                    record.line
                );
            }
            Path::Buffer | Path::Pipe => assert_eq!(record.kernel, [0, 0], "{}", record.line),
        }
        assert_eq!(record.why, "-", "{}", record.line);
    }

    /// Checks that the stream stayed in user space, and that its record says why.
    ///
    /// # Panics
    /// When the record says anything else.
    pub fn check_refusal(&self, record: &Record, why: &str) {
        if self.haproxy {
            return;
        }
        assert_eq!(record.why, why, "{}", record.line);
        assert_eq!(record.kernel, [0, 0], "{}", record.line);
        assert!(
            record.path.iter().all(|path| path != self.path.word()),
            "{}",
            record.line
        );
    }

    /// Whether the binary under test is the peer, whose lines say less.
    #[must_use]
    pub fn is_haproxy(&self) -> bool {
        self.haproxy
    }

    /// Stops the daemon and checks that it stops cleanly.
    ///
    /// # Panics
    /// When it does not, or with another exit code than 0.
    pub fn stop(self) {
        let haproxy = self.haproxy;
        let status = self.daemon.stop().expect("a stopped daemon");
        // The peer ends with 128 + the signal.
        assert!(
            haproxy || status.success(),
            "the daemon stopped with {status}"
        );
    }
}

/// Listens on `address` with a backlog for thousands, in the calling thread's namespace. Accepting waits no longer than
/// a peer's patience.
///
/// # Errors
/// When the address cannot be bound.
pub fn listen(address: SocketAddr, buffers: Buffers) -> Result<TcpListener> {
    let make = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        buffers.apply(&socket)?;
        socket.bind(&address.into())?;
        socket.listen(4096)?;
        Ok(socket.into())
    };
    let listener = make().with_context(|| format!("listen on {address}"))?;
    // On Linux this also bounds accept.
    SockRef::from(&listener).set_read_timeout(Some(PATIENCE))?;
    Ok(listener)
}

/// Makes one test per path out of each function `fn(Layout, Path)`:
/// `on_each_path!(Hosts as hosts: name, …)` gives `hosts::buffer::name`, and the same under `pipe`, `redirect` and `relay`.
#[macro_export]
macro_rules! on_each_path {
    ($layout:ident as $module:ident: $($tests:ident),+ $(,)?) => {
        mod $module {
            mod buffer {
                $crate::tests_on!($layout, Buffer: $($tests),+);
            }
            mod pipe {
                $crate::tests_on!($layout, Pipe: $($tests),+);
            }
            mod redirect {
                $crate::tests_on!($layout, Redirect: $($tests),+);
            }
            mod relay {
                $crate::tests_on!($layout, Relay: $($tests),+);
            }
        }
    };
}

/// Makes a test on one layout and path out of each function `fn(Layout, Path)` two modules up.
#[macro_export]
macro_rules! tests_on {
    ($layout:ident, $path:ident: $($tests:ident),+) => {
        $(
            #[test]
            fn $tests() {
                super::super::$tests($crate::netns::Layout::$layout, $crate::rig::Path::$path);
            }
        )+
    };
}
