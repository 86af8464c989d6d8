//! Remote TCP: an agent, another process, makes the connection; our socket goes to the agent.
//!
//! Each connection has a socket of its own to its agent. So what the ctrl layer has to tell the
//! agent at the end is what the socket says by itself: a FIN that we write no more, a close in order
//! that all is done, a reset that it failed. The ctrl layer's own close operations have nothing to add.

pub mod codec;

use std::io;
use std::net::SocketAddr;

use socket2::SockAddr;

use super::{tcp, unix};
use crate::config::model::remote::AgentAddress;
use crate::conn::Connection;

/// Where an agent listens.
#[derive(Debug, Clone)]
pub enum Agent {
    /// A TCP address.
    Inet(SocketAddr),
    /// A UNIX socket.
    Unix(SockAddr),
}

impl Agent {
    /// Where the configuration says that it listens.
    ///
    /// # Errors
    /// When a path does not fit into a socket's address.
    pub fn at(address: &AgentAddress) -> io::Result<Self> {
        Ok(match address {
            AgentAddress::Inet(address) => Self::Inet(*address),
            AgentAddress::Unix(path) => Self::Unix(SockAddr::unix(path)?),
        })
    }
}

/// Starts to connect to an agent. Once [`Connection::connected`], the connection still owes its
/// request and the agent's answer ([`crate::conn::op::Step::RemoteConnect`]).
///
/// # Errors
/// As [`tcp::connect`] and [`unix::connect`].
pub fn connect(agent: &Agent, options: tcp::ConnectOptions) -> io::Result<Connection> {
    let mut connection = match agent {
        Agent::Inet(address) => tcp::connect(*address, options)?,
        Agent::Unix(address) => unix::connect(address)?,
    };
    connection.go_by_agent();
    Ok(connection)
}
