//! Servers by host name, and who resolves the names.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::Position;

/// How a server's host name becomes an address.
#[derive(Debug, Clone, Default)]
pub struct ServerName {
    /// What is asked for; `None`: its line has an address.
    pub host: Option<HostName>,
    /// `resolvers`: index in [`super::Config::resolvers`] of the section that keeps its address up to
    /// date; `None`: it keeps the one it starts with.
    pub resolvers: Option<usize>,
    /// What it wants of the addresses in an answer.
    pub wish: Wish,
    /// `resolve-opts ignore-weight`: the weights of SRV records do not count.
    pub ignore_weight: bool,
    /// It has no address to start with, and starts in maintenance.
    pub unresolved: bool,
}

impl ServerName {
    /// The host that its line names.
    #[must_use]
    pub fn fqdn(&self) -> Option<Arc<str>> {
        match &self.host {
            Some(HostName::Host(name)) => Some(name.clone()),
            _ => None,
        }
    }
}

/// A name that stands for a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostName {
    /// A host: A and AAAA records.
    Host(Arc<str>),
    /// A service, `_service._protocol.domain`: SRV records.
    Service(Arc<str>),
}

impl HostName {
    /// The name as written.
    #[must_use]
    pub fn text(&self) -> &Arc<str> {
        match self {
            Self::Host(name) | Self::Service(name) => name,
        }
    }
}

/// Which of several addresses a server takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wish {
    /// `resolve-prefer`.
    pub family: AddressFamily,
    /// `resolve-net`: networks that come before others.
    pub networks: Vec<IpNet>,
    /// `resolve-opts allow-dup-ip`: it may share the address of another server of this name.
    pub allow_duplicates: bool,
}

/// `resolve-prefer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AddressFamily {
    /// A records, else AAAA.
    V4,
    /// AAAA records, else A.
    #[default]
    V6,
}

/// A `resolvers` section.
#[derive(Debug, Clone)]
pub struct Resolvers {
    /// Its name.
    pub name: Arc<str>,
    /// Whom it asks, all at once.
    pub nameservers: Vec<Nameserver>,
    /// `resolve_retries`: queries before an error counts.
    pub retries: u32,
    /// `timeout resolve`: from the end of one resolution to the next.
    pub resolve: Duration,
    /// `timeout retry`: from a query without a valid answer to the next.
    pub retry: Duration,
    /// `hold`.
    pub hold: Hold,
    /// `accepted_payload_size`: bytes of an answer over UDP.
    pub payload: u16,
    /// Where the section starts.
    pub position: Position,
}

impl Resolvers {
    /// A section with HAProxy's defaults.
    #[must_use]
    pub fn new(name: Arc<str>, position: Position) -> Self {
        Self {
            name,
            nameservers: Vec::new(),
            retries: 3,
            resolve: Duration::from_secs(1),
            retry: Duration::from_secs(1),
            hold: Hold::default(),
            payload: 512,
            position,
        }
    }
}

/// One `nameserver` line, or one of `/etc/resolv.conf`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nameserver {
    /// Its name.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: SocketAddr,
    /// It is asked over TCP only.
    pub tcp: bool,
    /// Where it was written.
    pub position: Position,
}

/// How long after the last valid answer an error is not acted upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// For `do-resolve` rules only.
    pub valid: Duration,
    /// There is no such name.
    pub nx: Duration,
    /// The query was refused.
    pub refused: Duration,
    /// Nobody answered.
    pub timeout: Duration,
    /// Any other error.
    pub other: Duration,
    /// How long a record counts that is in answers no more.
    pub obsolete: Duration,
}

impl Default for Hold {
    fn default() -> Self {
        let long = Duration::from_secs(30);
        Self {
            valid: Duration::from_secs(10),
            nx: long,
            refused: long,
            timeout: long,
            other: long,
            obsolete: Duration::ZERO,
        }
    }
}
