//! A daemon, the servers behind it, and clients of both its kinds.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;

use tempfile::TempDir;
use underpass_tests::daemon::{self, BOUND, Daemon, Launch};
use underpass_tests::netns::Topology;
use underpass_tests::process::eventually;

/// Debian's haproxy.
const HAPROXY: &str = "/usr/sbin/haproxy";

/// Two proxies and what they need; `SOCKET` is replaced.
pub(crate) const FILE: &str = "
global
    stats socket SOCKET/admin level admin
    stats socket SOCKET/operator level operator
    stats socket SOCKET/user level user mode 600
    stats timeout 5s
    maxconn 500
    nbthread 2
    node here
    description a test, of course
    log stdout format raw local0
defaults
    mode tcp
    log global
    option tcplog
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend fe
    bind 127.0.0.1:8000
    default_backend be
backend be
    server a 127.0.0.1:9001
    server b 127.0.0.1:9002 weight 10 backup
    server c 127.0.0.1:9003 disabled
listen li
    id 77
    bind 127.0.0.1:8001
    maxconn 20
    stick-table type ip size 100 expire 1m store gpc0,conn_cnt
    tcp-request connection track-sc0 src
    server a 127.0.0.1:9001 maxconn 7
    server b 127.0.0.1:9002 id 5
backend spare
    balance leastconn
    stick-table type string size 10k expire 1m store gpt0
";

/// A daemon, the servers behind it, and the sockets of its runtime API.
pub(crate) struct Site {
    pub(crate) daemon: Daemon,
    pub(crate) net: Topology,
    pub(crate) sockets: TempDir,
}

impl Site {
    /// Our daemon with `file`.
    pub(crate) fn ours(file: &str) -> Self {
        Self::start(daemon::binary().expect("the binary under test"), file)
    }

    fn start(program: PathBuf, file: &str) -> Self {
        let net = Topology::loopback().expect("a host");
        net.server.run(|| {
            for (letter, port) in [(b'a', 9001), (b'b', 9002), (b'c', 9003)] {
                serve(letter, port);
            }
        });
        let sockets = tempfile::tempdir().expect("a directory");
        let path = sockets.path().display().to_string();
        let daemon = Launch::program(program, file.replace("SOCKET", &path))
            .start(&net.proxy)
            .expect("a running daemon");
        Self {
            daemon,
            net,
            sockets,
        }
    }

    /// A client of the runtime API.
    pub(crate) fn client(&self, socket: &str) -> UnixStream {
        let mut stream = None;
        // The peer does not say when it is ready.
        let connected = eventually(BOUND, || {
            stream = UnixStream::connect(self.sockets.path().join(socket)).ok();
            stream.is_some()
        });
        assert!(connected, "nobody listens on {socket}");
        let stream = stream.expect("a stream");
        stream.set_read_timeout(Some(BOUND)).expect("a timeout");
        stream
    }

    /// Sends this, ends, and reads to the end.
    pub(crate) fn send(&self, socket: &str, bytes: &[u8]) -> String {
        let mut stream = self.client(socket);
        stream.write_all(bytes).expect("a command is taken");
        stream.shutdown(Shutdown::Write).expect("an end");
        read_to_end(&mut stream)
    }

    /// What is answered to a command, without the empty line behind it.
    pub(crate) fn ask(&self, command: &str) -> String {
        let answer = self.send("admin", format!("{command}\n").as_bytes());
        let text = answer.strip_suffix('\n');
        text.unwrap_or_else(|| panic!("{command}: {answer:?} does not end"))
            .to_owned()
    }

    /// A visitor, which has heard from its server.
    pub(crate) fn visit(&self, port: u16) -> Visitor {
        let to = SocketAddr::from(([127, 0, 0, 1], port));
        let mut stream = self
            .net
            .client
            .run(|| TcpStream::connect(to))
            .expect("a connection");
        stream.set_read_timeout(Some(BOUND)).expect("a timeout");
        let mut letter = [0];
        stream.read_exact(&mut letter).expect("a greeting");
        Visitor {
            stream,
            server: char::from(letter[0]),
        }
    }
}

/// A client of a proxy.
pub(crate) struct Visitor {
    pub(crate) stream: TcpStream,
    pub(crate) server: char,
}

impl Visitor {
    /// Sends this and reads it back.
    pub(crate) fn talk(&mut self, text: &[u8]) {
        self.stream.write_all(text).expect("it is taken");
        let mut back = vec![0; text.len()];
        self.stream.read_exact(&mut back).expect("it comes back");
        assert_eq!(back, text);
    }

    /// Ends, and waits for the server's end.
    pub(crate) fn leave(mut self) {
        self.stream.shutdown(Shutdown::Write).expect("an end");
        assert_eq!(self.stream.read(&mut [0]).expect("the server's end"), 0);
    }

    /// Whether the stream has ended, in whatever way, within the bound.
    pub(crate) fn is_ended(&mut self) -> bool {
        match self.stream.read(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

/// Greets with a letter and sends back whatever comes, for as long as the process lives.
fn serve(letter: u8, port: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("a server");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            thread::spawn(move || {
                let mut from = stream.try_clone()?;
                stream.write_all(&[letter])?;
                std::io::copy(&mut from, &mut stream)?;
                stream.shutdown(Shutdown::Write)
            });
        }
    });
}

pub(crate) fn read_to_end(stream: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        // Whoever closes with bytes unread resets.
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }
    String::from_utf8(bytes).expect("text")
}

/// The same with both programs.
pub(crate) fn with_both<T>(file: &str, test: impl Fn(&Site) -> T) -> [T; 2] {
    let programs = [
        PathBuf::from(HAPROXY),
        daemon::binary().expect("the binary under test"),
    ];
    programs.map(|program| test(&Site::start(program, file)))
}
