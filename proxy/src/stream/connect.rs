//! Reaches a server: choosing, connecting, and trying again.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::SockAddr;

use crate::backend::{Backend, Held, Server};
use crate::config::model::{ServerAddress, ServerPort};
use crate::conn::Connection;
use crate::conn::ctrl::{tcp, unix};
use crate::observe::record::{FlowRecord, Termination};

/// Longest wait before a refused connection is tried again; shorter if the connect timeout is.
const TURN_AROUND: Duration = Duration::from_secs(1);

/// A connected server.
#[derive(Debug)]
pub struct Reached {
    /// The connection.
    pub connection: Connection,
    /// The server.
    pub server: Arc<Server>,
    /// Counts the flow with the server.
    pub held: Held,
}

/// What a connection attempt needs to know of its client.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// The address that the client connected to, for servers that follow it; `None` where it is
    /// no IP address, or no server follows it.
    pub destination: Option<SocketAddr>,
    /// There is data to send as soon as the connection is established.
    pub data_follows: bool,
}

/// Connects to a server of `backend`, as often as its retries allow.
///
/// # Errors
/// How the stream ends when no server was reached.
pub async fn reach(
    backend: &Backend,
    client: &Connection,
    wanted: Wanted,
    record: &FlowRecord,
) -> Result<Reached, Termination> {
    record.note_time(|times| times.connecting = Some(Instant::now()));
    let mut left = backend.config.retries;
    let mut server = backend.choose().ok_or(Termination::SERVER_REFUSED)?;
    loop {
        *record.server.borrow_mut() = Some(server.config.name.clone());
        let held = server.active.hold();
        let attempt = async { connect(backend, &server, wanted)?.await_connected().await };
        let outcome = tokio::select! {
            // A server that answered is worth more than a client that has just left.
            biased;
            outcome = within(backend.config.timeouts.connect, attempt) => outcome,
            error = client.gone(backend.config.abortonclose) => {
                tracing::debug!(flow = record.id, %error, "the client left during the connection");
                return Err(Termination::CLIENT_GONE_CONNECTING);
            }
        };
        let error = match outcome {
            Ok(connection) => {
                record.note_time(|times| times.connected = Some(Instant::now()));
                return Ok(Reached {
                    connection,
                    server,
                    held,
                });
            }
            Err(error) => error,
        };
        drop(held);
        tracing::debug!(flow = record.id, server = %server.config.name, %error, "connection failed");
        let (ending, try_again) = judge(&error);
        if left == 0 || !try_again {
            return Err(ending);
        }
        left -= 1;
        record.retries.set(record.retries.get() + 1);
        if redispatches(backend.config.redispatch, backend.config.retries, left)
            && let Some(other) = backend.choose()
        {
            server = other;
        }
        // A connection that timed out has waited already.
        if error.kind() != ErrorKind::TimedOut {
            let pause = backend
                .config
                .timeouts
                .connect
                .map_or(TURN_AROUND, |connect| connect.min(TURN_AROUND));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                error = client.gone(backend.config.abortonclose) => {
                    tracing::debug!(flow = record.id, %error, "the client left during a retry");
                    return Err(Termination::CLIENT_GONE_CONNECTING);
                }
            }
        }
    }
}

/// How the stream ends after this failure, and whether another attempt may help.
fn judge(error: &io::Error) -> (Termination, bool) {
    match error.kind() {
        ErrorKind::TimedOut => (Termination::CONNECT_TIMEOUT, true),
        ErrorKind::AddrNotAvailable | ErrorKind::AddrInUse => {
            (Termination::RESOURCE_CONNECTING, true)
        }
        _ => match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                (Termination::RESOURCE_CONNECTING, false)
            }
            _ => (Termination::SERVER_REFUSED, true),
        },
    }
}

/// Whether the next attempt may go to another server: `option redispatch n` with n > 0 at every
/// n-th retry, with n < 0 at the (-n)-th retry before the last, -1 being the last.
fn redispatches(option: Option<i32>, retries: u32, left: u32) -> bool {
    let Some(n) = option else {
        return false;
    };
    let made = retries - left;
    let every = n.unsigned_abs();
    match n.signum() {
        1 => made.is_multiple_of(every),
        -1 => left + 1 == every,
        _ => false,
    }
}

async fn within<T>(
    limit: Option<Duration>,
    attempt: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    match limit {
        None => attempt.await,
        Some(limit) => tokio::time::timeout(limit, attempt)
            .await
            .unwrap_or_else(|_| Err(ErrorKind::TimedOut.into())),
    }
}

/// A connection under way.
struct Connecting(Connection);

impl Connecting {
    async fn await_connected(self) -> io::Result<Connection> {
        self.0.connected().await?;
        Ok(self.0)
    }
}

fn connect(backend: &Backend, server: &Server, wanted: Wanted) -> io::Result<Connecting> {
    let config = &server.config;
    let connection = match &config.address {
        ServerAddress::Inet(address) => tcp::connect(
            follow(*address, config.port, wanted.destination)?,
            tcp::ConnectOptions {
                source: config.source.or(backend.config.source),
                keepalive: backend.config.socket.keepalive,
                data_follows: wanted.data_follows,
            },
        )?,
        ServerAddress::Unix(path) => unix::connect(&SockAddr::unix(path)?)?,
        ServerAddress::Abstract(name) => unix::connect(&unix::abstract_address(name)?)?,
    };
    Ok(Connecting(connection))
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
    fn redispatch_counts_from_the_end_or_in_steps() {
        let at = |option, left| redispatches(option, 3, left);
        assert_eq!(
            [2, 1, 0].map(|left| at(Some(-1), left)),
            [false, false, true]
        );
        assert_eq!([2, 1, 0].map(|left| at(Some(1), left)), [true, true, true]);
        assert_eq!(
            [2, 1, 0].map(|left| at(Some(2), left)),
            [false, true, false]
        );
        assert_eq!([2, 1, 0].map(|left| at(None, left)), [false, false, false]);
    }

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
