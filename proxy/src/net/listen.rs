//! Opens the listening sockets of a configuration.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::places::Places;
use crate::config::model::{Bind, BindAddress, Frontend};
use crate::conn::Ctrl;
use crate::conn::ctrl::tcp;
use crate::conn::ctrl::unix::abstract_address;
use crate::sys::socket;

/// Backlog unless configured: as many as the system allows (`net.core.somaxconn`).
const DEFAULT_BACKLOG: i32 = 65_535;

/// How long a silent client is held back by `defer-accept`, s: HAProxy's value.
const DEFER_ACCEPT_SECONDS: i32 = 1;

/// One listening socket of one worker.
#[derive(Debug)]
pub struct Listening {
    /// The socket, non-blocking.
    pub socket: OwnedFd,
    /// What its connections are.
    pub ctrl: Ctrl,
    /// Whether accepted sockets inherit their options from the listener.
    pub prepared: bool,
    /// Index of its frontend.
    pub frontend: usize,
    /// Index of its `bind` address within the frontend.
    pub bind: usize,
    /// The address's own `maxconn`, shared by all workers.
    pub places: Option<Arc<Places>>,
    /// Connections that may wait, where the socket is this process's own and can be closed for a while.
    pub backlog: Option<i32>,
}

impl Listening {
    /// Refuses connections, where it can; where it cannot they wait.
    pub fn pause(&self) {
        if self.backlog.is_some()
            && let Err(error) = SockRef::from(&self.socket).shutdown(Shutdown::Both)
        {
            tracing::warn!(%error, "a listening socket was not closed");
        }
    }

    /// Takes connections again.
    ///
    /// # Errors
    /// When the address was taken meanwhile.
    pub fn resume(&self) -> io::Result<()> {
        match self.backlog {
            Some(backlog) => SockRef::from(&self.socket).listen(backlog),
            None => Ok(()),
        }
    }
}

/// Opens every listening socket of `frontends`, once per worker: each worker gets its own TCP
/// socket, between which the kernel spreads connections; UNIX and inherited ones are shared.
///
/// # Errors
/// Names the `bind` line that failed and why.
pub fn open_all(frontends: &[Arc<Frontend>], workers: usize) -> Result<Vec<Vec<Listening>>> {
    let mut result: Vec<Vec<Listening>> = (0..workers).map(|_| Vec::new()).collect();
    for (frontend, config) in frontends.iter().enumerate() {
        if config.disabled {
            continue;
        }
        for (index, bind) in config.binds.iter().enumerate() {
            open(bind, config, (frontend, index), &mut result).with_context(|| {
                format!(
                    "{}: cannot listen on {} for '{}'",
                    bind.position,
                    describe(&bind.address),
                    config.name
                )
            })?;
        }
    }
    Ok(result)
}

/// A listening address in words.
#[must_use]
pub fn describe(address: &BindAddress) -> String {
    match address {
        BindAddress::Inet(address) => address.to_string(),
        BindAddress::Unix(path) => format!("unix@{}", path.display()),
        BindAddress::Abstract(name) => format!("abns@{}", String::from_utf8_lossy(name)),
        BindAddress::Fd(fd) => format!("fd@{fd}"),
    }
}

fn open(
    bind: &Bind,
    config: &Frontend,
    (frontend, index): (usize, usize),
    workers: &mut [Vec<Listening>],
) -> io::Result<()> {
    let backlog = bind
        .backlog
        .or(config.backlog)
        .map_or(DEFAULT_BACKLOG, |n| i32::try_from(n).unwrap_or(i32::MAX));
    let places = bind.maxconn.map(|max| Arc::new(Places::new(Some(max))));
    let listening = |socket, ctrl, prepared| Listening {
        socket,
        ctrl,
        prepared,
        frontend,
        bind: index,
        places: places.clone(),
        // Of a socket that is shared every owner would see it.
        backlog: prepared.then_some(backlog),
    };
    match &bind.address {
        BindAddress::Inet(address) => {
            for worker in workers {
                let socket = open_tcp(*address, bind, config, backlog)?;
                worker.push(listening(socket, Ctrl::Tcp, true));
            }
            Ok(())
        }
        BindAddress::Unix(path) => {
            let owner = UnixFile {
                mode: bind.unix_mode,
                uid: bind.unix_uid,
                gid: bind.unix_gid,
            };
            let socket = open_unix(path, owner, backlog)?;
            share(&socket, workers, |socket| {
                listening(socket, Ctrl::Unix, false)
            })
        }
        BindAddress::Abstract(name) => {
            let socket = unix_socket()?;
            socket.bind(&abstract_address(name)?)?;
            socket.listen(backlog)?;
            share(&OwnedFd::from(socket), workers, |socket| {
                listening(socket, Ctrl::Unix, false)
            })
        }
        BindAddress::Fd(fd) => {
            let socket = Socket::from(socket::inherit_listener(*fd)?);
            socket.set_nonblocking(true)?;
            let ctrl = if socket.domain()? == Domain::UNIX {
                Ctrl::Unix
            } else {
                Ctrl::Tcp
            };
            // Its other owner may go on accepting from it, so its own linger is left alone.
            share(&OwnedFd::from(socket), workers, |socket| {
                listening(socket, ctrl, false)
            })
        }
    }
}

fn share(
    socket: &OwnedFd,
    workers: &mut [Vec<Listening>],
    listening: impl Fn(OwnedFd) -> Listening,
) -> io::Result<()> {
    for worker in workers {
        worker.push(listening(socket.try_clone()?));
    }
    Ok(())
}

fn open_tcp(
    address: SocketAddr,
    bind: &Bind,
    config: &Frontend,
    backlog: i32,
) -> io::Result<OwnedFd> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if let (SocketAddr::V6(_), Some(only)) = (address, bind.v6only) {
        socket.set_only_v6(only)?;
    }
    if let Some(interface) = &bind.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    if bind.transparent {
        match address {
            SocketAddr::V4(_) => socket.set_ip_transparent_v4(true)?,
            SocketAddr::V6(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "transparent needs an IPv4 address in this version",
                ));
            }
        }
    }
    if let Some(mss) = bind.mss {
        socket.set_tcp_mss(u32::from(mss))?;
    }
    if bind.defer_accept {
        socket::set_defer_accept(socket.as_fd(), DEFER_ACCEPT_SECONDS)?;
    }
    if bind.tfo {
        socket::set_fastopen(socket.as_fd(), backlog)?;
    }
    if let Some(timeout) = bind.tcp_user_timeout {
        socket.set_tcp_user_timeout(Some(timeout))?;
    }
    // Accepted sockets inherit these, which saves the calls for each of them.
    tcp::prepare(socket.as_fd(), config.socket.keepalive)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(backlog)?;
    Ok(OwnedFd::from(socket))
}

/// What the file of a UNIX socket is given; `None`: as the system makes it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct UnixFile {
    pub(crate) mode: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
}

/// A UNIX socket that is not bound.
pub(crate) fn unix_socket() -> io::Result<Socket> {
    Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)
}

/// Binds under a temporary name first, so that a daemon that is being replaced keeps answering
/// until this one is ready, and a stale file of a dead one is no obstacle.
pub(crate) fn open_unix(path: &Path, file: UnixFile, backlog: i32) -> io::Result<OwnedFd> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = Path::new(&temporary);
    match std::fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = unix_socket()?;
    socket.bind(&SockAddr::unix(temporary)?)?;
    let prepared = prepare_unix(&socket, temporary, file, backlog)
        .and_then(|()| std::fs::rename(temporary, path));
    if prepared.is_err() {
        // Whatever failed is reported; a left-over temporary file would only confuse.
        let _ = std::fs::remove_file(temporary);
    }
    prepared.map(|()| OwnedFd::from(socket))
}

fn prepare_unix(socket: &Socket, path: &Path, file: UnixFile, backlog: i32) -> io::Result<()> {
    if file.uid.is_some() || file.gid.is_some() {
        chown(path, file.uid, file.gid)?;
    }
    if let Some(mode) = file.mode {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    socket.listen(backlog)
}
