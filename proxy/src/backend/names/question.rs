//! What name servers are asked, and what they answer.

use std::net::IpAddr;
use std::sync::Arc;

use crate::config::model::names::AddressFamily;

/// The kinds of records that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Services.
    Srv,
}

impl Kind {
    /// What is asked when there is nothing of this kind.
    #[must_use]
    pub fn fallback(self) -> Option<Self> {
        match self {
            Self::A => Some(Self::Aaaa),
            Self::Aaaa => Some(Self::A),
            Self::Srv => None,
        }
    }
}

impl From<AddressFamily> for Kind {
    fn from(family: AddressFamily) -> Self {
        match family {
            AddressFamily::V4 => Self::A,
            AddressFamily::V6 => Self::Aaaa,
        }
    }
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    /// The name, in lower case, without a final dot.
    pub name: Arc<str>,
    /// The kind of records.
    pub kind: Kind,
}

/// An SRV record, and the addresses that came with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The host, in lower case, without a final dot.
    pub target: Arc<str>,
    /// Its port.
    pub port: u16,
    /// Its weight, as in the record: 0 to 65535.
    pub weight: u16,
    /// Addresses of the host from the same answer.
    pub addresses: Vec<IpAddr>,
}

impl Service {
    /// The weight as servers have it, 0 to 256: only 0 becomes 0.
    #[must_use]
    pub fn server_weight(&self) -> u16 {
        self.weight.div_ceil(256)
    }
}

/// Records that were asked for: at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A or AAAA records.
    Addresses(Vec<IpAddr>),
    /// SRV records.
    Services(Vec<Service>),
}

/// What a name server answers instead of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// There is no such name.
    Nx,
    /// It does not want to answer.
    Refused,
    /// The name has no such records.
    Empty,
    /// The answer did not fit, and could not be had over TCP either.
    Truncated,
    /// Any other error of its own.
    Other,
    /// Nothing that answers the question.
    Invalid,
}

/// How a resolution ended without records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// There is no such name.
    Nx,
    /// Nobody answered.
    Timeout,
    /// The query was refused.
    Refused,
    /// Anything else.
    Other,
}

impl Status {
    /// HAProxy's words for why a server goes down.
    #[must_use]
    pub fn why(self) -> &'static str {
        match self {
            Self::Nx => "DNS NX status",
            Self::Timeout => "DNS timeout status",
            Self::Refused => "DNS refused status",
            Self::Other => "unspecified DNS error",
        }
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Nx => Self::Nx,
            Failure::Refused => Self::Refused,
            Failure::Empty | Failure::Truncated | Failure::Other | Failure::Invalid => Self::Other,
        }
    }
}
