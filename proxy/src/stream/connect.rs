//! One attempt to connect to a server.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use socket2::SockAddr;
use tokio::time::timeout;

use super::introduction;
use crate::backend::{Backend, Server, wary};
use crate::channel::pool::Pool;
use crate::config::model::remote::RemoteAddress;
use crate::config::model::tls::SniExpression;
use crate::config::model::{ServerAddress, ServerPort};
use crate::conn::Connection;
use crate::conn::ctrl::remote::codec::{Request, Target, Tls};
use crate::conn::ctrl::remote::{self, Agent};
use crate::conn::ctrl::{tcp, unix};
use crate::conn::data::ssl::SslSock;
use crate::conn::end::{Handler, Reason};
use crate::handshake::incoming::Incoming;
use crate::handshake::outgoing::Departure;
use crate::handshake::remote::Errand;
use crate::handshake::turns::Turns;
use crate::handshake::{self, Failure};
use crate::observe::record::{Endpoint, FlowRecord, Termination};
use crate::rules::run::Scratch;
use crate::sys::socket;
use crate::tls::{ClientFacts, ServerContext};
use crate::worker::Clock;

/// What a connection to a server is made for.
#[derive(Debug)]
pub struct Approach<'a> {
    /// The backend.
    pub backend: &'a Arc<Backend>,
    /// The client.
    pub client: &'a Incoming,
    /// There is data to send as soon as the connection is established.
    pub data_follows: bool,
    /// The MSS to announce to servers, whose segments may be relayed to the client.
    pub announced: Option<u32>,
    /// The flow's record.
    pub record: &'a FlowRecord,
    /// The clock of counters: a stream may be long on its way.
    pub clock: &'a Clock,
    /// The worker's random numbers.
    pub random: &'a Scratch,
    /// The worker's buffers.
    pub pool: &'a Rc<Pool>,
    /// The worker's queue for cryptography.
    pub turns: &'a Turns,
}

/// Why an attempt failed.
#[derive(Debug)]
pub enum Trouble {
    /// The socket.
    Socket(io::Error),
    /// What comes before data.
    Handshake(Failure),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Socket(error)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(error) => error.fmt(f),
            Self::Handshake(failure) => failure.fmt(f),
        }
    }
}

/// How the stream ends after this failure, and whether another attempt may help.
pub fn judge(trouble: &Trouble) -> (Termination, bool) {
    let error = match trouble {
        Trouble::Socket(error) => error,
        // As if the agent's attempt had been ours.
        Trouble::Handshake(Failure {
            handler: Handler::Remote,
            reason: Reason::Timeout,
        }) => return (Termination::CONNECT_TIMEOUT, true),
        Trouble::Handshake(_) => return (Termination::SERVER_REFUSED, true),
    };
    match error.kind() {
        ErrorKind::TimedOut => (Termination::CONNECT_TIMEOUT, true),
        ErrorKind::AddrNotAvailable | ErrorKind::AddrInUse => {
            (Termination::RESOURCE_CONNECTING, true)
        }
        _ if socket::is_shortage(error) => (Termination::RESOURCE_CONNECTING, false),
        _ => (Termination::SERVER_REFUSED, true),
    }
}

/// One attempt: the socket's connection, then what the server is owed before data.
///
/// # Errors
/// What went wrong.
pub async fn attempt(approach: &Approach<'_>, server: &Server) -> Result<Connection, Trouble> {
    let address = address(approach, server)?;
    let mut connection = open(approach, server, &address)?;
    connection.connected().await?;
    let errand = match &server.config.address {
        ServerAddress::Remote(remote) => Some(Errand::new(request(approach, remote).encode())),
        _ => None,
    };
    // An agent's connection says nothing of the server's.
    if errand.is_none()
        && server.wary.is()
        && let Ok(error) = timeout(wary::MOMENT, connection.gone(false)).await
    {
        return Err(error.into());
    }
    if errand.is_none() && server.config.send_proxy.is_none() && server.tls.is_none() {
        connection.established();
        return Ok(connection);
    }
    let header = match server.config.send_proxy {
        Some(wanted) => introduction::header(wanted, approach.client, approach.record),
        None => Vec::new(),
    };
    let departure = Departure {
        errand,
        sent: 0,
        more_follows: approach.data_follows || server.tls.is_some(),
        header,
        tls: match &server.tls {
            Some(context) => Some(session(approach, context, &address)?),
            None => None,
        },
        turns: approach.turns,
    };
    let introduced = handshake::outgoing::run(&mut connection, departure).await;
    introduced.map_err(|failure| {
        connection.fail(failure.layer(), failure.reason.clone());
        let condition = connection.condition();
        tracing::debug!(flow = approach.record.id, %condition, "a server was given up");
        Trouble::Handshake(failure)
    })?;
    Ok(connection)
}

/// What to ask an agent for this client.
fn request(approach: &Approach<'_>, remote: &RemoteAddress) -> Request {
    let tls = remote.tls.as_ref().map(|tls| {
        let facts = facts(approach);
        let name = match &tls.sni {
            None => None,
            Some(SniExpression::Literal(name)) => Some(&**name),
            Some(SniExpression::ClientSni) => facts.sni,
            Some(SniExpression::ProxyAuthority) => facts.authority,
            Some(SniExpression::Asked) => facts.asked,
        };
        Tls {
            verify: tls.verify,
            sni: name.filter(|name| !name.is_empty()).map(str::to_owned),
        }
    });
    Request {
        target: Target::Inet(remote.target),
        tls,
        source: match approach.client.session.source {
            Endpoint::Inet(address) => Some(address),
            Endpoint::Unix => None,
        },
    }
}

/// What is known of the client, for names to send.
fn facts<'a>(approach: &Approach<'a>) -> ClientFacts<'a> {
    let client = approach.client;
    let authority = client
        .proxy
        .as_ref()
        .and_then(|header| header.tlvs.authority())
        .and_then(|name| std::str::from_utf8(name).ok());
    let asked = client.asked.as_ref().and_then(|asked| asked.tls.as_ref());
    ClientFacts {
        sni: client.connection.ssl().and_then(SslSock::server_name),
        authority,
        asked: asked.and_then(|tls| tls.sni.as_deref()),
    }
}

/// The TLS session to begin with a server.
fn session(
    approach: &Approach<'_>,
    context: &ServerContext,
    address: &Address,
) -> Result<Box<SslSock>, Trouble> {
    let ip = match address {
        Address::Inet(address) | Address::Remote(_, address) => Some(address.ip()),
        Address::Unix(_) => None,
    };
    let name = context.name(&facts(approach), ip);
    SslSock::client(Rc::clone(approach.pool), context.config(None), name)
        .map(Box::new)
        .map_err(|error| {
            Trouble::Handshake(Failure {
                handler: Handler::Ssl,
                reason: Reason::Protocol(error.to_string().into()),
            })
        })
}

/// Where an attempt goes.
enum Address {
    Inet(SocketAddr),
    Unix(SockAddr),
    /// By this agent, to there.
    Remote(Agent, SocketAddr),
}

fn address(approach: &Approach<'_>, server: &Server) -> io::Result<Address> {
    let config = &server.config;
    Ok(match &server.address() {
        ServerAddress::Inet(address) => {
            let destination = follows(config)
                .then(|| approach.client.local_address())
                .flatten();
            Address::Inet(follow(*address, config.port, destination)?)
        }
        ServerAddress::Asked => match approach.client.asked.as_ref().map(|asked| &asked.target) {
            Some(Target::Inet(address)) => Address::Inet(*address),
            _ => {
                return Err(io::Error::new(
                    ErrorKind::InvalidInput,
                    "the client asked for no address",
                ));
            }
        },
        ServerAddress::Remote(remote) => {
            let agent = Agent::at(&remote.agent)?;
            Address::Remote(agent, remote.target)
        }
        ServerAddress::Unix(path) => Address::Unix(SockAddr::unix(path)?),
        ServerAddress::Abstract(name) => Address::Unix(unix::abstract_address(name)?),
    })
}

fn open(approach: &Approach<'_>, server: &Server, address: &Address) -> io::Result<Connection> {
    let backend = &approach.backend.config;
    let options = tcp::ConnectOptions {
        source: server.config.source.or(backend.source),
        keepalive: backend.socket.keepalive,
        // Held back, the acknowledgement would let the server see the connection only with the data.
        data_follows: approach.data_follows && !server.wary.is(),
        // TLS is not relayed.
        announced: approach.announced.filter(|_| server.tls.is_none()),
    };
    let mut connection = match address {
        Address::Inet(address) => tcp::connect(*address, options)?,
        Address::Unix(address) => unix::connect(address)?,
        // The request follows at once.
        Address::Remote(agent, _) => remote::connect(
            agent,
            tcp::ConnectOptions {
                data_follows: true,
                announced: None,
                ..options
            },
        )?,
    };
    connection.set_nolinger(backend.socket.nolinger);
    Ok(connection)
}

/// Whether a server's address depends on where its client connected to.
#[must_use]
pub fn follows(server: &crate::config::model::Server) -> bool {
    match &server.address {
        ServerAddress::Inet(address) => {
            server.port != ServerPort::Fixed || address.ip().is_unspecified()
        }
        _ => false,
    }
}

/// A server's address: one without an IP or a port takes the one that the client connected to.
fn follow(
    address: SocketAddr,
    rule: ServerPort,
    destination: Option<SocketAddr>,
) -> io::Result<SocketAddr> {
    let client = || {
        destination.ok_or_else(|| {
            io::Error::new(
                ErrorKind::InvalidInput,
                "the server follows the client's destination, and the client has no IP address",
            )
        })
    };
    let ip = if address.ip().is_unspecified() {
        client()?.ip().to_canonical()
    } else {
        address.ip()
    };
    let port = match rule {
        ServerPort::Fixed => i32::from(address.port()),
        ServerPort::SameAsClient => i32::from(client()?.port()),
        ServerPort::Offset(by) => i32::from(client()?.port()) + by,
    };
    let port = u16::try_from(port)
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, format!("no port {port}")))?;
    Ok(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_follow_the_client() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let to = Some(at("192.0.2.1:8080"));
        let cases = [
            ("10.0.0.1:80", ServerPort::Fixed, "10.0.0.1:80"),
            ("10.0.0.1:0", ServerPort::SameAsClient, "10.0.0.1:8080"),
            ("10.0.0.1:0", ServerPort::Offset(-80), "10.0.0.1:8000"),
            ("0.0.0.0:80", ServerPort::Fixed, "192.0.2.1:80"),
        ];
        for (address, rule, expected) in cases {
            assert_eq!(follow(at(address), rule, to).unwrap(), at(expected));
        }
        assert!(follow(at("10.0.0.1:0"), ServerPort::Offset(60_000), to).is_err());
        assert!(follow(at("10.0.0.1:0"), ServerPort::SameAsClient, None).is_err());
    }
}
