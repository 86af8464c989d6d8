//! Remote TCP: servers that are reached by way of an agent, and agents.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use ipnet::IpNet;

use super::tls::SniExpression;

/// Where an agent listens: the first half of `rtcp@<agent>/<target>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentAddress {
    /// A TCP address.
    Inet(SocketAddr),
    /// A UNIX socket by path.
    Unix(PathBuf),
}

/// A server that an agent connects to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteAddress {
    /// Where the agent is.
    pub agent: AgentAddress,
    /// Where the server is, as the agent sees it.
    pub target: SocketAddr,
    /// `rssl`: the agent speaks TLS with the server.
    pub tls: Option<RemoteTls>,
}

/// What the agent is told of the TLS that it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteTls {
    /// `verify required` (the default) or `none`: against the authorities that the agent knows.
    pub verify: bool,
    /// `sni`.
    pub sni: Option<SniExpression>,
}

/// Targets that an agent connects to: one word of `allow`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// The addresses.
    pub network: IpNet,
    /// The ports.
    pub ports: RangeInclusive<u16>,
}

/// What makes a frontend an agent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Agent {
    /// `allow`: the agent connects to nothing else.
    pub allow: Vec<Allowed>,
    /// It has a `ca-file` to verify servers with.
    pub verifies: bool,
}

/// The servers of an agent's back half: how it speaks to whatever target it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentServer {
    /// Bytes as they are.
    Plain,
    /// In TLS, with any certificate.
    Unverified,
    /// In TLS, with a certificate that the agent's authorities signed. There only with `ca-file`.
    Verified,
}

impl AgentServer {
    /// All of them, in the order in which the backend has them.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Unverified, Self::Verified];

    /// Its name in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "tcp",
            Self::Unverified => "ssl-unverified",
            Self::Verified => "ssl",
        }
    }

    /// The one for a request; `tls`: whether the certificate is to be verified.
    #[must_use]
    pub const fn for_request(tls: Option<bool>) -> Self {
        match tls {
            None => Self::Plain,
            Some(false) => Self::Unverified,
            Some(true) => Self::Verified,
        }
    }
}

impl Agent {
    /// Whether it connects to this target.
    #[must_use]
    pub fn allows(&self, target: SocketAddr) -> bool {
        let ip = target.ip().to_canonical();
        self.allow
            .iter()
            .any(|allowed| allowed.network.contains(&ip) && allowed.ports.contains(&target.port()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(allow: &[(&str, RangeInclusive<u16>)]) -> Agent {
        let allow = allow.iter().map(|(network, ports)| Allowed {
            network: network.parse().unwrap(),
            ports: ports.clone(),
        });
        Agent {
            allow: allow.collect(),
            verifies: false,
        }
    }

    #[test]
    fn only_what_is_listed_is_allowed() {
        let agent = agent(&[("10.0.0.0/8", 80..=90), ("2001:db8::/32", 0..=u16::MAX)]);
        let table = [
            ("10.1.2.3:80", true),
            ("10.1.2.3:90", true),
            ("10.1.2.3:79", false),
            ("10.1.2.3:91", false),
            ("11.0.0.1:80", false),
            ("[::ffff:10.1.2.3]:80", true),
            ("[::ffff:11.1.2.3]:80", false),
            ("[2001:db8::1]:1", true),
            ("[2001:db9::1]:1", false),
        ];
        for (target, expected) in table {
            assert_eq!(agent.allows(target.parse().unwrap()), expected, "{target}");
        }
        assert!(!Agent::default().allows("127.0.0.1:80".parse().unwrap()));
    }
}
