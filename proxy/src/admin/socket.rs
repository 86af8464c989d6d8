//! `stats socket`: listens for clients of the runtime API.

mod client;
mod lines;

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::commands::Api;
use super::operator::Operator;
use crate::config::model::{BindAddress, StatsLevel, StatsSocket};
use crate::conn::ctrl::unix::abstract_address;
use crate::net::listen::{self, UnixFile};
use crate::observe::counters::Count;
use crate::sys::socket;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// How long a client may be silent, or slow, unless configured: as HAProxy.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long accepting pauses after it failed, for example for want of descriptors.
const FAILURE_PAUSE: Duration = Duration::from_millis(100);

/// The listening sockets of the runtime API.
#[derive(Debug, Default)]
pub struct ApiListeners {
    sockets: Vec<(Socket, StatsLevel)>,
}

/// Opens them, before the process gives up its privileges.
///
/// # Errors
/// Which address cannot be listened on, and why.
pub fn open(sockets: &[StatsSocket]) -> Result<ApiListeners> {
    let open = |config: &StatsSocket| {
        let socket = open_one(config).with_context(|| {
            let address = listen::describe(&config.address);
            let at = &config.position;
            format!("{at}: cannot listen on {address} for 'stats socket'")
        })?;
        Ok((Socket::from(socket), config.level))
    };
    let sockets = sockets.iter().map(open).collect::<Result<_>>()?;
    Ok(ApiListeners { sockets })
}

fn open_one(config: &StatsSocket) -> io::Result<OwnedFd> {
    let socket = match &config.address {
        BindAddress::Unix(path) => {
            let file = UnixFile {
                mode: config.mode,
                uid: config.uid,
                gid: config.gid,
            };
            return listen::open_unix(path, file, BACKLOG);
        }
        BindAddress::Abstract(name) => {
            let socket = listen::unix_socket()?;
            socket.bind(&abstract_address(name)?)?;
            socket
        }
        BindAddress::Inet(address) => {
            let kind = Type::STREAM.nonblocking().cloexec();
            let socket = Socket::new(Domain::for_address(*address), kind, Some(Protocol::TCP))?;
            socket.set_reuse_address(true)?;
            // A process that takes over listens before this one has left.
            socket.set_reuse_port(true)?;
            socket.bind(&SockAddr::from(*address))?;
            socket
        }
        BindAddress::Fd(fd) => {
            let socket = Socket::from(socket::inherit_listener(*fd)?);
            socket.set_nonblocking(true)?;
            return Ok(OwnedFd::from(socket));
        }
    };
    socket.listen(BACKLOG)?;
    Ok(OwnedFd::from(socket))
}

/// A listening socket that the runtime watches.
enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// A client that was just accepted.
enum Accepted {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Listener {
    fn watch(socket: Socket) -> io::Result<Self> {
        Ok(if socket.domain()? == Domain::UNIX {
            Self::Unix(UnixListener::from_std(OwnedFd::from(socket).into())?)
        } else {
            Self::Tcp(TcpListener::from_std(socket.into())?)
        })
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        match self {
            Self::Unix(listener) => listener
                .poll_accept(cx)
                .map_ok(|(stream, _)| Accepted::Unix(stream)),
            Self::Tcp(listener) => listener
                .poll_accept(cx)
                .map_ok(|(stream, _)| Accepted::Tcp(stream)),
        }
    }
}

/// Serves clients for as long as the process serves.
pub async fn run(listeners: ApiListeners, operator: Rc<Operator>) {
    let mut watched = Vec::new();
    for (socket, level) in listeners.sockets {
        match Listener::watch(socket) {
            Ok(listener) => watched.push((listener, level)),
            Err(error) => tracing::error!(%error, "a 'stats socket' cannot be watched"),
        }
    }
    if watched.is_empty() {
        return;
    }
    let global = &operator.shared.global;
    let timeout = global.stats_timeout.unwrap_or(DEFAULT_TIMEOUT);
    let places = Arc::new(Semaphore::new(global.stats_maxconn));
    let api = Rc::new(Api {
        operator,
        clients: Count::default(),
    });
    loop {
        // Whoever comes while all places are taken waits in the backlog.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match accept(&watched).await {
            Ok((stream, level)) => {
                api.clients.one();
                let api = Rc::clone(&api);
                tokio::task::spawn_local(async move {
                    let served = match stream {
                        Accepted::Unix(stream) => client::serve(stream, level, timeout, &api).await,
                        Accepted::Tcp(stream) => client::serve(stream, level, timeout, &api).await,
                    };
                    if let Err(error) = served {
                        tracing::debug!(%error, "a client of the runtime API was lost");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a client of the runtime API could not be accepted");
                tokio::time::sleep(FAILURE_PAUSE).await;
            }
        }
    }
}

/// Waits for a client on whichever socket it comes.
async fn accept(listeners: &[(Listener, StatsLevel)]) -> io::Result<(Accepted, StatsLevel)> {
    poll_fn(|cx| {
        for (listener, level) in listeners {
            if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                return Poll::Ready(accepted.map(|stream| (stream, *level)));
            }
        }
        Poll::Pending
    })
    .await
}
