//! One check: has a script's wishes come true with a connection to the server.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls_pki_types::{DnsName, ServerName};
use socket2::{SockAddr, SockRef};
use tokio::time::{Instant, timeout_at};

use super::agent::{self, Said};
use super::script::{LONGEST_ANSWER, Run, Stage, Want, protocols};
use super::status::Verdict;
use crate::backend::Server;
use crate::channel::buffer::Buffer;
use crate::channel::pool::Pool;
use crate::config::model::check::{Connect, Script};
use crate::config::model::tls::ProxyVersion;
use crate::config::model::{self, ServerAddress};
use crate::conn::Connection;
use crate::conn::ctrl::remote::codec::{Request, Target, Tls};
use crate::conn::ctrl::remote::{self, Agent};
use crate::conn::ctrl::{tcp, unix};
use crate::conn::data::ssl::{SslSock, ssl_sock_from_buf};
use crate::conn::data::{Data, Status, raw};
use crate::conn::end::{Handler, Reason};
use crate::handshake::outgoing::{self, Departure};
use crate::handshake::proxy_protocol::{Outgoing, Version, write};
use crate::handshake::remote::Errand;
use crate::handshake::turns::Turns;
use crate::sys::socket;

/// What checks use together.
#[derive(Debug)]
pub struct Means {
    /// Buffers of TLS sessions.
    pub pool: Rc<Pool>,
    /// The queue for cryptography.
    pub turns: Turns,
}

/// What a check is of.
#[derive(Debug)]
pub struct Visit<'a> {
    /// The backend's section.
    pub backend: &'a model::Backend,
    /// The server.
    pub server: &'a Server,
    /// What to do.
    pub script: &'a Script,
    /// It is the server's agent that is asked.
    pub of_agent: bool,
    /// The time between checks, which is what a check may take where nothing else is said.
    pub interval: Duration,
}

/// Why something did not come about.
struct Trouble {
    stage: Stage,
    /// In the system's words; may be empty.
    why: String,
    /// It took too long.
    late: bool,
}

impl Trouble {
    fn new(stage: Stage, error: &io::Error) -> Self {
        Self {
            stage,
            why: words(error),
            late: false,
        }
    }

    fn late(stage: Stage) -> Self {
        Self {
            stage,
            why: String::new(),
            late: true,
        }
    }
}

/// The system's words for an error, without its number.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// A connection that is open, and how it is closed.
struct Open {
    connection: Connection,
    orderly: bool,
    /// It was found to be broken, before what came on it was read.
    broken: Option<io::Error>,
}

impl Open {
    /// Like HAProxy, most checks end with a reset: a server has nothing to keep of them.
    fn end(mut self) {
        if let Some((ssl, socket)) = self.connection.ssl_mut() {
            // Nobody waits for what cannot be sent at once.
            if ssl.shut_write().is_ok() {
                let _ = ssl.flush(socket);
            }
        }
        if self.orderly || !self.connection.is_raw() {
            self.connection.close();
        }
    }
}

/// Makes a check. Returns what it found, and of an agent what else it said.
pub async fn make(visit: &Visit<'_>, means: &Means) -> (Verdict, Said) {
    let begun = Instant::now();
    let timeouts = &visit.backend.timeouts;
    let mut deadline = begun + visit.interval;
    let mut run = Run::new(visit.script);
    let mut open: Option<Open> = None;
    let verdict = loop {
        let outcome = match run.want() {
            Want::Done(verdict) => break verdict,
            Want::Connect(wanted) => {
                // With a limit of its own for the rest, the connection has the usual one.
                if let (Some(_), Some(connect)) = (timeouts.check, timeouts.connect) {
                    deadline = deadline.min(Instant::now() + connect);
                }
                if let Some(old) = open.take() {
                    old.end();
                }
                let outcome = connect(visit, means, wanted, deadline).await;
                outcome.map(|made| {
                    if let Some(check) = timeouts.check {
                        deadline = Instant::now() + check;
                    }
                    let secure = !made.connection.is_raw();
                    open = Some(made);
                    run.connected(secure);
                })
            }
            Want::Send(bytes) => {
                let outcome = send(&mut open, bytes, deadline).await;
                outcome.map(|()| run.sent())
            }
            Want::SendHello => {
                let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                let seconds = since.unwrap_or_default().as_secs() & u64::from(u32::MAX);
                let bytes = protocols::hello(u32::try_from(seconds).unwrap_or_default());
                let outcome = send(&mut open, &bytes, deadline).await;
                outcome.map(|()| run.sent())
            }
            Want::Receive => match receive(&mut open, deadline).await {
                Ok(bytes) if bytes.is_empty() => {
                    run.ended();
                    Ok(())
                }
                Ok(bytes) => {
                    run.received(&bytes);
                    Ok(())
                }
                Err(trouble) => Err(trouble),
            },
        };
        match outcome {
            Err(trouble) if trouble.late => run.timed_out(trouble.stage),
            Err(trouble) => run.failed(trouble.stage, &trouble.why),
            Ok(()) => {}
        }
    };
    if let Some(open) = open {
        open.end();
    }
    let said = if visit.of_agent {
        agent::said(run.answer())
    } else {
        Said::default()
    };
    let verdict = Verdict {
        duration: Some(begun.elapsed()),
        ..verdict
    };
    (verdict, said)
}

/// Where a check goes to.
enum Goal {
    Inet(SocketAddr),
    Unix(SockAddr),
    Remote(Agent, SocketAddr, Option<Tls>),
}

/// Where the server's own words and the script's lead.
fn goal(visit: &Visit<'_>, wanted: &Connect) -> io::Result<Goal> {
    let health = &visit.server.config.health;
    let (address, port) = match (&health.agent, &health.check) {
        (Some(agent), _) if visit.of_agent => (agent.address, Some(agent.port)),
        (_, Some(check)) => (check.address, check.port),
        _ => (None, None),
    };
    let address = wanted.address.or(address);
    let port = wanted.port.or(port);
    let move_to = |from: SocketAddr| {
        SocketAddr::new(
            address.unwrap_or_else(|| from.ip()),
            port.unwrap_or_else(|| from.port()),
        )
    };
    Ok(match &visit.server.address() {
        ServerAddress::Inet(own) => Goal::Inet(move_to(*own)),
        ServerAddress::Remote(remote) if !visit.of_agent => {
            let agent = Agent::at(&remote.agent)?;
            let tls = remote.tls.as_ref().map(|tls| Tls {
                verify: tls.verify,
                sni: None,
            });
            Goal::Remote(agent, move_to(remote.target), tls)
        }
        other => match (address, port, other) {
            (Some(address), Some(port), _) => Goal::Inet(SocketAddr::new(address, port)),
            (None, None, ServerAddress::Unix(path)) => Goal::Unix(SockAddr::unix(path)?),
            (None, None, ServerAddress::Abstract(name)) => {
                Goal::Unix(unix::abstract_address(name)?)
            }
            _ => {
                return Err(io::Error::new(
                    ErrorKind::InvalidInput,
                    "no address to check",
                ));
            }
        },
    })
}

/// Whether an error is about this process, not about the way to the server.
fn is_own(error: &io::Error) -> bool {
    socket::is_shortage(error)
        || matches!(
            error.kind(),
            ErrorKind::InvalidInput | ErrorKind::AddrNotAvailable | ErrorKind::AddrInUse
        )
}

async fn connect(
    visit: &Visit<'_>,
    means: &Means,
    wanted: &Connect,
    deadline: Instant,
) -> Result<Open, Trouble> {
    let stage = |error: &io::Error| {
        let stage = if is_own(error) {
            Stage::Socket
        } else {
            Stage::Connect
        };
        Trouble::new(stage, error)
    };
    let goal = goal(visit, wanted).map_err(|error| stage(&error))?;
    let mut connection = dial(visit, &goal).map_err(|error| stage(&error))?;
    let mut broken = None;
    match timeout_at(deadline, connection.connected()).await {
        Err(_) => return Err(Trouble::late(Stage::Connect)),
        // A refusal has another name: this one was established before.
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionReset => broken = Some(error),
        Ok(Err(error)) => return Err(Trouble::new(Stage::Connect, &error)),
        Ok(Ok(())) => {}
    }
    let departure = departure(visit, means, wanted, &connection, goal)?;
    let stage = match &departure {
        Departure {
            errand: Some(_), ..
        } => Stage::Connect,
        Departure { tls: Some(_), .. } => Stage::Tls,
        _ => Stage::Data,
    };
    match timeout_at(deadline, outgoing::run(&mut connection, departure)).await {
        Err(_) => Err(Trouble::late(stage)),
        Ok(Err(failure)) => Err(refusal(failure.handler, &failure.reason)),
        Ok(Ok(())) => Ok(Open {
            connection,
            orderly: wanted.linger,
            broken,
        }),
    }
}

/// What comes before data has failed.
fn refusal(handler: Handler, reason: &Reason) -> Trouble {
    tracing::debug!(handler = handler.name(), %reason, "a check got no further");
    let (stage, why) = match (handler, reason) {
        (Handler::Remote, Reason::Timeout) => return Trouble::late(Stage::Connect),
        (Handler::Remote, Reason::Refused) => (Stage::Connect, "Connection refused".to_owned()),
        (Handler::Remote, Reason::Unreachable) => (Stage::Connect, "No route to host".to_owned()),
        (Handler::Remote, reason) => (Stage::Socket, reason.to_string()),
        (Handler::Ssl, _) => (Stage::Tls, "SSL handshake failure".to_owned()),
        (_, reason) => (Stage::Data, reason.to_string()),
    };
    Trouble {
        stage,
        why,
        late: false,
    }
}

/// Starts to connect.
fn dial(visit: &Visit<'_>, goal: &Goal) -> io::Result<Connection> {
    let options = tcp::ConnectOptions {
        source: visit.server.config.source.or(visit.backend.source),
        ..tcp::ConnectOptions::default()
    };
    match goal {
        Goal::Inet(address) => tcp::connect(*address, options),
        Goal::Unix(address) => unix::connect(address),
        Goal::Remote(agent, ..) => remote::connect(agent, options),
    }
}

/// What the server is owed before the script's own bytes.
fn departure<'a>(
    visit: &Visit<'_>,
    means: &'a Means,
    wanted: &Connect,
    connection: &Connection,
    goal: Goal,
) -> Result<Departure<'a>, Trouble> {
    let check = visit.server.config.health.check.as_ref();
    let check = check.filter(|_| !visit.of_agent);
    let own = check.filter(|_| wanted.default);
    let asked = check.filter(|_| wanted.send_proxy);
    let version = own
        .and_then(|check| check.send_proxy)
        .or(asked.map(|check| check.proxy_version));
    let ssl = wanted.ssl || own.is_some_and(|check| check.ssl);
    let (ip, errand) = match goal {
        Goal::Inet(address) => (Some(address.ip()), None),
        Goal::Unix(_) => (None, None),
        Goal::Remote(_, target, tls) => {
            let request = Request {
                target: Target::Inet(target),
                tls,
                source: None,
            };
            (Some(target.ip()), Some(Errand::new(request.encode())))
        }
    };
    Ok(Departure {
        header: version.map_or_else(Vec::new, |version| header(version, connection)),
        sent: 0,
        more_follows: ssl,
        tls: match &visit.server.check_tls {
            Some(context) if ssl => {
                let alpn = wanted.alpn.as_deref();
                let config = context.config(alpn);
                let name = name(wanted, context.name(&Default::default(), ip), ip);
                let session = SslSock::client(Rc::clone(&means.pool), config, name);
                Some(Box::new(session.map_err(|error| {
                    tracing::debug!(%error, "a check cannot speak TLS");
                    Trouble {
                        stage: Stage::Tls,
                        why: "SSL handshake failure".to_owned(),
                        late: false,
                    }
                })?))
            }
            _ => None,
        },
        errand,
        turns: &means.turns,
    })
}

/// The name to send: the script's, or the server's line's.
fn name(wanted: &Connect, own: ServerName<'static>, ip: Option<IpAddr>) -> ServerName<'static> {
    let asked = wanted.sni.as_deref();
    if let Some(name) = asked.and_then(|name| DnsName::try_from(name).ok()) {
        return ServerName::DnsName(name.to_owned());
    }
    match (wanted.default, ip) {
        (false, Some(ip)) => ServerName::from(ip),
        _ => own,
    }
}

/// The PROXY header of a connection that is nobody's but ours.
fn header(version: ProxyVersion, connection: &Connection) -> Vec<u8> {
    let fd = connection.fd();
    let socket = SockRef::from(&fd);
    let ends = [socket.local_addr(), socket.peer_addr()];
    let [own, server] = ends.map(|end| end.ok().and_then(|end| end.as_socket()));
    let mut bytes = Vec::new();
    match (version, own.zip(server)) {
        (ProxyVersion::V1, Some((own, server))) => {
            write(
                Version::V1,
                &Outgoing::local_between(own, server),
                &mut bytes,
            );
        }
        (ProxyVersion::V1, None) => write(Version::V1, &Outgoing::local(), &mut bytes),
        (ProxyVersion::V2, _) => write(Version::V2, &Outgoing::local(), &mut bytes),
    }
    bytes
}

async fn send(open: &mut Option<Open>, bytes: &[u8], deadline: Instant) -> Result<(), Trouble> {
    let Some(Open {
        connection, broken, ..
    }) = open
    else {
        return Err(Trouble::new(Stage::Socket, &ErrorKind::NotConnected.into()));
    };
    match timeout_at(deadline, send_all(connection, bytes)).await {
        Err(_) => Err(Trouble::late(Stage::Data)),
        // What came before may still say more.
        Ok(Err(error)) => {
            broken.get_or_insert(error);
            Ok(())
        }
        Ok(Ok(())) => Ok(()),
    }
}

async fn send_all(connection: &mut Connection, bytes: &[u8]) -> io::Result<()> {
    let mut buffer = Buffer::empty();
    buffer.push(bytes);
    while !buffer.held().is_empty() || connection.owes_output() {
        let transfer = connection.try_now(|data, socket| match data {
            Data::Raw => raw::raw_sock_from_buf(socket, &mut buffer, false),
            Data::Ssl(ssl) if buffer.held().is_empty() => ssl.flush(socket),
            Data::Ssl(ssl) => ssl_sock_from_buf(socket, ssl, &mut buffer),
        });
        if let Some(error) = transfer.error {
            return Err(error);
        }
        if transfer.status.contains(Status::FULL_OUT) {
            connection.found_full();
            connection.writable().await?;
        }
    }
    Ok(())
}

/// Receives something; nothing: there will be no more.
async fn receive(open: &mut Option<Open>, deadline: Instant) -> Result<Vec<u8>, Trouble> {
    let Some(Open {
        connection, broken, ..
    }) = open
    else {
        return Err(Trouble::new(Stage::Socket, &ErrorKind::NotConnected.into()));
    };
    let mut buffer = Buffer::new(LONGEST_ANSWER);
    let some = async {
        loop {
            let transfer = poll_fn(|cx| {
                connection.poll_in(cx, |data, socket| data.to_buf(socket, &mut buffer))
            })
            .await?;
            if transfer.bytes > 0 || transfer.status.contains(Status::SHUT_IN) {
                return Ok(());
            }
            match transfer.error {
                // A TLS stream without its last words: there is no more either way.
                Some(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
                Some(error) => return Err(error),
                None => {}
            }
        }
    };
    match timeout_at(deadline, some).await {
        Err(_) => Err(Trouble::late(Stage::Data)),
        Ok(Err(error)) => Err(Trouble::new(Stage::Data, broken.as_ref().unwrap_or(&error))),
        Ok(Ok(())) => match broken {
            Some(error) if buffer.held().is_empty() => Err(Trouble::new(Stage::Data, error)),
            _ => Ok(buffer.held().to_vec()),
        },
    }
}

/// The script of a server's agent.
#[must_use]
pub fn agent_script(config: &model::check::Agent) -> Arc<Script> {
    Arc::new(protocols::agent(config.send.as_ref()))
}
