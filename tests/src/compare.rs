//! Rule sets under our daemon and under Debian's haproxy: the same file, the same visitors, and what becomes of each.
//!
//! A [`Case`] is a configuration and a script of visits from loopback addresses. Behind the proxy are three servers,
//! `a`, `b` and `c`; each greets with its letter and then sends back whatever comes, so that a visitor learns who serves
//! it and what was forwarded. Both programs must treat every visit as the case expects, and must log the same streams.
//!
//! `UNDERPASS_COMPARE=haproxy` runs cases under haproxy alone, to try what it does.

mod case;
mod secure;
mod servers;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

pub use case::{Case, Expected, Step, Visit, after, from, release};

use crate::certs::{Certs, Leaf};
use crate::daemon::{self, BOUND, Daemon, Launch};
use crate::netns::Topology;
use crate::peer::{End, PATIENCE, Peer};
use crate::process::{Output, eventually};
use crate::record::Record;
use servers::Servers;
use socket2::{Domain, SockRef, Socket, Type};

/// Debian's haproxy.
const HAPROXY: &str = "/usr/sbin/haproxy";

/// How often a visitor that waits looks whether it was dropped silently.
const GLANCE: Duration = Duration::from_millis(20);

/// What became of a visit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A server answered.
    Served {
        /// Its letter.
        by: char,
        /// What it sent back.
        echo: Vec<u8>,
        /// Whether its stream ended in order.
        whole: bool,
    },
    /// The stream ended before any byte.
    Closed,
    /// It was reset before any byte.
    Reset,
    /// The proxy forgot the connection, and its client does not know.
    Silent,
    /// The proxy keeps the connection and says nothing for as long as a visitor waits.
    Waiting,
}

impl Verdict {
    /// Whether it is as expected, of a visitor that sent `sent`.
    fn is(&self, expected: &Expected, sent: &[u8]) -> bool {
        match (self, expected) {
            (Self::Served { by, echo, whole }, Expected::Served(letter, received)) => {
                let received = received.as_deref().unwrap_or(sent);
                by == letter && *whole && echo == received
            }
            (Self::Closed, Expected::Closed | Expected::Refused)
            | (Self::Reset, Expected::Reset | Expected::Refused)
            | (Self::Silent, Expected::Silent) => true,
            _ => false,
        }
    }
}

/// A stream as both programs log it: backend, server, bytes to the client, and the two letters.
type Logged = (String, String, u64, String);

/// Runs a case under both programs, or under the one that it is for.
///
/// # Panics
/// When a visit is not treated as expected, or the programs' logs differ. The message has all differences.
pub fn check(case: &Case) {
    let only_haproxy = std::env::var_os("UNDERPASS_COMPARE").is_some_and(|who| who == "haproxy");
    let mut programs = Vec::new();
    if case.lacking.is_none() {
        programs.push(PathBuf::from(HAPROXY));
    }
    if !only_haproxy {
        programs.push(daemon::binary().expect("the binary under test"));
    }
    let net = Topology::loopback().expect("a host");
    let _servers = net.server.run(Servers::start).expect("servers");
    let certs = case.is_tls().then(|| {
        let certs = Certs::new();
        certs.issue("front", &Leaf::new("front.example"));
        certs.issue("client", &Leaf::new("client.example"));
        certs
    });
    let mut complaints = String::new();
    let mut logs = Vec::new();
    for program in &programs {
        match run(case, program, &net, certs.as_ref()) {
            Ok((verdicts, log)) => {
                for (number, (visit, verdict)) in case.visits().zip(&verdicts).enumerate() {
                    if !verdict.is(&visit.expected, &visit.payload()) {
                        let _ = writeln!(
                            complaints,
                            "{}: visit {number}: expected {:?}, got {verdict:?}",
                            program.display(),
                            visit.expected,
                        );
                    }
                }
                logs.push(log);
            }
            Err(error) => {
                let _ = writeln!(complaints, "{}: {error:#}", program.display());
            }
        }
    }
    if let [theirs, ours] = &logs[..]
        && theirs != ours
        && !case.logs_differ
    {
        let _ = writeln!(
            complaints,
            "logged by haproxy: {theirs:#?}\nlogged by us: {ours:#?}"
        );
    }
    assert!(
        complaints.is_empty(),
        "{complaints}{}",
        case.text("…", "…", true)
    );
}

/// Runs a case under one program.
fn run(
    case: &Case,
    program: &Path,
    net: &Topology,
    certs: Option<&Certs>,
) -> Result<(Vec<Verdict>, Vec<Logged>)> {
    let files = tempfile::tempdir()?;
    for (name, text) in &case.files {
        std::fs::write(files.path().join(name), text)?;
    }
    let certs_dir = certs.map(|certs| certs.dir().display().to_string());
    let text = case.text(
        &files.path().display().to_string(),
        &certs_dir.unwrap_or_default(),
        daemon::is_haproxy(program),
    );
    let mut daemon = Launch::program(program, text).start(&net.proxy)?;
    let mut verdicts = Vec::new();
    let mut held = Vec::new();
    for step in &case.steps {
        match step {
            Step::Visit(visit) => {
                let (verdict, peer) = net.client.run(|| receive(visit, &daemon, certs))?;
                verdicts.push(verdict);
                held.extend(peer);
            }
            Step::Release => {
                for peer in held.drain(..) {
                    leave(&peer, &daemon)?;
                }
            }
            // Rates and expiry are about time that passes.
            Step::After(time) => std::thread::sleep(*time),
        }
    }
    for peer in held.drain(..) {
        leave(&peer, &daemon)?;
    }
    // Both write a line for every stream before they end by themselves.
    daemon.signal(libc::SIGUSR1)?;
    let status = daemon.process().wait_exit(BOUND)?;
    ensure!(
        status.success(),
        "it stopped with {status}\n{}",
        daemon.process().transcript()
    );
    Ok((verdicts, logged(&mut daemon)))
}

/// The streams that were logged, in an order that does not depend on when they ended.
fn logged(daemon: &mut Daemon) -> Vec<Logged> {
    // The lines may be read a moment after the process is gone: this ends when there can be no more of them.
    let _ = daemon
        .process()
        .wait_lines(Output::Stdout, BOUND, "more lines", |_| None::<()>);
    let lines = daemon.process().lines(Output::Stdout);
    let mut log: Vec<Logged> = lines
        .iter()
        .filter_map(|line| Record::parse(line))
        .map(|record| (record.backend, record.server, record.down, record.end))
        .collect();
    log.sort();
    log
}

/// Makes one visit. Gives the connection back where it is to be held.
fn receive(
    visit: &Visit,
    daemon: &Daemon,
    certs: Option<&Certs>,
) -> Result<(Verdict, Option<Peer>)> {
    let socket = Socket::new(Domain::for_address(visit.to), Type::STREAM, None)?;
    socket.bind(&(visit.from, 0).into_address())?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect_timeout(&visit.to.into(), PATIENCE) {
        // Accepted and reset before this side has looked.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
            return Ok((Verdict::Reset, None));
        }
        connected => connected.with_context(|| format!("connect to {}", visit.to))?,
    }
    let peer = Peer::new(socket);
    if let (Some(tls), Some(certs)) = (&visit.tls, certs) {
        return Ok((secure::receive(&peer, visit, tls, certs), None));
    }
    for piece in visit.header.iter().chain(&visit.pieces) {
        // Pieces come one by one: the next one goes when the proxy has read what is there. One that has closed already
        // makes the rest of them pointless.
        if SockRef::from(&peer.socket()).send(piece).is_err() {
            break;
        }
        let own = Ends::of(&peer)?;
        eventually(BOUND, || {
            own.look(daemon).is_none_or(|state| state.unread == 0)
        });
    }
    if visit.ends_first {
        // It may be gone already.
        let _ = peer.socket().shutdown(std::net::Shutdown::Write);
    }
    let verdict = wait(&peer, visit, daemon)?;
    let stays = visit.held && matches!(verdict, Verdict::Served { .. });
    Ok((verdict, stays.then_some(peer)))
}

/// Waits for what becomes of a visit.
fn wait(peer: &Peer, visit: &Visit, daemon: &Daemon) -> Result<Verdict> {
    let ends = Ends::of(peer)?;
    peer.socket().set_read_timeout(Some(GLANCE))?;
    let deadline = Instant::now() + PATIENCE;
    let mut forgotten = false;
    let letter = loop {
        let mut letter = [0];
        let error = match std::io::Read::read(&mut peer.socket(), &mut letter) {
            Ok(0) => return Ok(Verdict::Closed),
            Ok(_) => break char::from(letter[0]),
            Err(error) => error,
        };
        match error.kind() {
            std::io::ErrorKind::ConnectionReset => return Ok(Verdict::Reset),
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {}
            _ => return Err(error).context("wait for a server's letter"),
        }
        // Whatever the proxy sent before it forgot the connection is here by the second look.
        if forgotten {
            return Ok(Verdict::Silent);
        }
        forgotten = ends.look(daemon).is_none();
        if Instant::now() >= deadline {
            return Ok(Verdict::Waiting);
        }
    };
    peer.socket().set_read_timeout(Some(PATIENCE))?;
    let sent = match &visit.expected {
        Expected::Served(_, Some(received)) => received.len(),
        _ => visit.payload().len(),
    };
    if visit.held {
        let echo = peer.read(sent).context("what a server sends back")?;
        return Ok(Verdict::Served {
            by: letter,
            echo,
            whole: true,
        });
    }
    if !visit.ends_first {
        // It may be gone already, which the end of the stream tells.
        let _ = peer.socket().shutdown(std::net::Shutdown::Write);
    }
    let (echo, end) = peer.read_to_end();
    Ok(Verdict::Served {
        by: letter,
        echo,
        whole: end == End::Eof,
    })
}

/// Ends a visit that was held, and waits until the proxy is done with it.
fn leave(peer: &Peer, daemon: &Daemon) -> Result<()> {
    let ends = Ends::of(peer)?;
    let _ = peer.socket().shutdown(std::net::Shutdown::Write);
    let (_, end) = peer.read_to_end();
    ensure!(end != End::Silence, "a held connection does not end");
    ensure!(
        eventually(BOUND, || ends.look(daemon).is_none_or(|state| !state.open)),
        "the proxy does not end a held connection"
    );
    Ok(())
}

/// A connection's two ends, as the proxy's side of it is listed in `/proc/net/tcp`.
struct Ends {
    v6: bool,
    local: String,
    remote: String,
}

/// The proxy's end of a connection.
struct State {
    /// Bytes that the proxy has not read.
    unread: u64,
    /// Neither side has closed it.
    open: bool,
}

impl Ends {
    fn of(peer: &Peer) -> Result<Self> {
        let address = |address: socket2::SockAddr| address.as_socket().context("an IP address");
        let ours = address(peer.socket().local_addr()?)?;
        // A peer that is gone has no name any more; the port is then unknown, and nothing is found.
        let theirs = peer.socket().peer_addr().map(address);
        let port = |port: u16| format!(":{port:04X}");
        Ok(Self {
            v6: ours.is_ipv6(),
            local: match theirs {
                Ok(theirs) => port(theirs?.port()),
                Err(_) => port(0),
            },
            remote: port(ours.port()),
        })
    }

    /// `None`: the proxy has no such socket any more.
    fn look(&self, daemon: &Daemon) -> Option<State> {
        let table = if self.v6 { "tcp6" } else { "tcp" };
        let path = format!("/proc/{}/net/{table}", daemon.pid());
        let text = std::fs::read_to_string(path).ok()?;
        text.lines().find_map(|line| {
            // Number, local address, remote address, state, queues to send and to receive.
            let columns: Vec<&str> = line.split_whitespace().take(5).collect();
            let [_, local, remote, state, queues] = columns[..] else {
                return None;
            };
            if !local.ends_with(&self.local) || !remote.ends_with(&self.remote) {
                return None;
            }
            let (_, unread) = queues.split_once(':')?;
            Some(State {
                unread: u64::from_str_radix(unread, 16).ok()?,
                open: state == "01",
            })
        })
    }
}

/// What socket2 wants of an address and port.
trait IntoAddress {
    fn into_address(self) -> socket2::SockAddr;
}

impl IntoAddress for (std::net::IpAddr, u16) {
    fn into_address(self) -> socket2::SockAddr {
        std::net::SocketAddr::from(self).into()
    }
}

/// Makes a list of cases and one test for each: `cases! { name: case, … }` gives `all()` and the tests.
#[macro_export]
macro_rules! cases {
    ($($name:ident: $case:expr,)+) => {
        /// Every case of this file, by name.
        pub fn all() -> Vec<(&'static str, $crate::compare::Case)> {
            vec![$((stringify!($name), $case)),+]
        }
        $(
            #[test]
            fn $name() {
                $crate::compare::check(&$case);
            }
        )+
    };
}
