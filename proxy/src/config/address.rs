//! Addresses of `bind`, `server`, `source`, `log` and `stats socket`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::RawFd;
use std::path::PathBuf;

use super::lookups::Lookups;
use super::model::remote::{AgentAddress, RemoteAddress};

/// An address before its user has said what it accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Inet { ip: IpAddr, port: Port },
    Unix(PathBuf),
    Abstract(Vec<u8>),
    Fd(RawFd),
}

/// What follows the last colon of an IP address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    Absent,
    One(u16),
    Range(u16, u16),
    /// `+N` or `-N`.
    Offset(i32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Any,
    V4,
    V6,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Inet(Family),
    Unix,
    Abstract,
    Fd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Stream,
    Datagram,
}

impl Family {
    /// Whether an address is of it.
    pub(crate) fn admits(self, ip: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => ip.is_ipv4(),
            Self::V6 => ip.is_ipv6(),
        }
    }
}

/// Where a server is, as written: its host name is not looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Known(Address),
    Named(Named),
}

/// A host by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) host: String,
    pub(crate) family: Family,
    pub(crate) port: Port,
}

/// Longest path of a UNIX socket, without its final NUL.
const MAX_UNIX_PATH: usize = 107;

/// Reads an address that carries a byte stream.
///
/// Errors are sentences that name the text.
pub(crate) fn stream(text: &str, lookups: &dyn Lookups) -> Result<Address, String> {
    known(text, place(text)?, lookups)
}

/// Reads an address that lines are sent to, and whether they go as a byte stream; as datagrams where the
/// text does not say.
///
/// Errors are sentences that name the text.
pub(crate) fn log(text: &str, lookups: &dyn Lookups) -> Result<(Address, bool), String> {
    let (place, transport) = parse(text)?;
    let address = known(text, place, lookups)?;
    Ok((address, transport == Some(Transport::Stream)))
}

/// Reads where a server is; a host name stays a name.
///
/// Errors are sentences that name the text.
pub(crate) fn place(text: &str) -> Result<Place, String> {
    match parse(text)? {
        (_, Some(Transport::Datagram)) => {
            Err(format!("dgram-type address not acceptable in '{text}'"))
        }
        (place, _) => Ok(place),
    }
}

/// Reads the address of a name server, and whether it is asked over TCP.
///
/// Errors are sentences that name the text.
pub(crate) fn nameserver(text: &str, lookups: &dyn Lookups) -> Result<(SocketAddr, bool), String> {
    let (place, transport) = parse(text)?;
    let Address::Inet { ip, port } = known(text, place, lookups)? else {
        return Err(format!("an IP address is expected, got '{text}'"));
    };
    let port = match port {
        Port::One(0) => return Err("invalid port '0'".to_owned()),
        Port::One(port) => port,
        Port::Absent => return Err(format!("missing port specification in '{text}'")),
        Port::Range(..) => return Err(format!("port range not permitted here in '{text}'")),
        Port::Offset(_) => return Err(format!("port offset not permitted here in '{text}'")),
    };
    let stream = transport == Some(Transport::Stream);
    Ok((SocketAddr::new(ip, port), stream))
}

/// Reads an IP address with at most one port: `source`.
///
/// Errors are sentences that name the text.
pub(crate) fn socket(text: &str, lookups: &dyn Lookups) -> Result<SocketAddr, String> {
    match stream(text, lookups)? {
        Address::Inet { ip, port } => match port {
            Port::Absent => Ok(SocketAddr::new(ip, 0)),
            Port::One(port) => Ok(SocketAddr::new(ip, port)),
            Port::Range(..) => Err(format!(
                "port range in '{text}' is not available in this version"
            )),
            Port::Offset(_) => Err(format!("port offset not permitted here in '{text}'")),
        },
        _ => Err(format!("an IP address is expected, got '{text}'")),
    }
}

/// Reads `rtcp@<agent>/<target>`; `None` where the text does not begin with `rtcp@`. The agent is an
/// IP address with a port or a UNIX socket, the target an IP address with a port.
///
/// Errors are sentences that name the text.
pub(crate) fn remote(text: &str, lookups: &dyn Lookups) -> Result<Option<RemoteAddress>, String> {
    let Some(rest) = text.strip_prefix("rtcp@") else {
        return Ok(None);
    };
    // The path of the agent's socket may hold slashes, a target does not.
    let Some((agent, target)) = rest
        .rsplit_once('/')
        .filter(|(agent, target)| !(agent.is_empty() || target.is_empty()))
    else {
        return Err(format!("'rtcp@<agent>/<target>' is expected, got '{text}'"));
    };
    let fixed = |what: &str, part: &str| match stream(part, lookups)? {
        Address::Inet { ip, port } => match port {
            Port::One(port) if port != 0 && !ip.is_unspecified() => {
                Ok(AgentAddress::Inet(SocketAddr::new(ip, port)))
            }
            _ => Err(format!(
                "the {what} needs one address and one port in '{text}'"
            )),
        },
        Address::Unix(path) => Ok(AgentAddress::Unix(path)),
        Address::Abstract(_) | Address::Fd(_) => Err(format!(
            "the {what} can be neither an abstract socket nor a descriptor in '{text}'"
        )),
    };
    let agent = fixed("agent", agent)?;
    let AgentAddress::Inet(target) = fixed("target", target)? else {
        return Err(format!("the target needs an IP address in '{text}'"));
    };
    Ok(Some(RemoteAddress {
        agent,
        target,
        tls: None,
    }))
}

/// Looks a name up.
fn known(text: &str, place: Place, lookups: &dyn Lookups) -> Result<Address, String> {
    let Named { host, family, port } = match place {
        Place::Known(address) => return Ok(address),
        Place::Named(named) => named,
    };
    let ip = lookups
        .host(&host)
        .into_iter()
        .find(|ip| family.admits(*ip))
        .ok_or_else(|| format!("could not resolve address '{host}' in '{text}'"))?;
    Ok(Address::Inet { ip, port })
}

fn parse(text: &str) -> Result<(Place, Option<Transport>), String> {
    if text.is_empty() {
        return Err("'' resolves to an empty address (environment variable missing?)".to_owned());
    }
    let mut rest = text;
    let mut transport = None;
    if let Some(after) = rest.strip_prefix("stream+") {
        (rest, transport) = (after, Some(Transport::Stream));
    } else if let Some(after) = rest.strip_prefix("dgram+") {
        (rest, transport) = (after, Some(Transport::Datagram));
    }
    let (kind, forced, rest) = prefix(text, rest)?;
    let address = match kind {
        Kind::Inet(family) => return Ok((inet(text, rest, family)?, forced.or(transport))),
        Kind::Unix => unix(text, rest)?,
        Kind::Abstract => {
            if rest.is_empty() || rest.len() > MAX_UNIX_PATH {
                return Err(format!(
                    "an abstract socket name takes 1 to {MAX_UNIX_PATH} bytes in '{text}'"
                ));
            }
            Address::Abstract(rest.as_bytes().to_vec())
        }
        Kind::Fd => Address::Fd(descriptor(text, rest)?),
    };
    Ok((Place::Known(address), forced.or(transport)))
}

/// What the part before `@` says, and what follows it.
fn prefix<'a>(text: &str, rest: &'a str) -> Result<(Kind, Option<Transport>, &'a str), String> {
    use Transport::{Datagram, Stream};
    let absent = format!("in '{text}' is not available in this version");
    // A path may hold an `@`, and so may what is no prefix at all.
    let Some((name, after)) = rest.split_once('@').filter(|_| !rest.starts_with('/')) else {
        let kind = if rest.starts_with('/') {
            Kind::Unix
        } else {
            Kind::Inet(Family::Any)
        };
        return Ok((kind, None, rest));
    };
    let (kind, transport) = match name {
        "ip" => (Kind::Inet(Family::Any), None),
        "ipv4" => (Kind::Inet(Family::V4), None),
        "ipv6" => (Kind::Inet(Family::V6), None),
        "tcp" => (Kind::Inet(Family::Any), Some(Stream)),
        "tcp4" => (Kind::Inet(Family::V4), Some(Stream)),
        "tcp6" => (Kind::Inet(Family::V6), Some(Stream)),
        "udp" => (Kind::Inet(Family::Any), Some(Datagram)),
        "udp4" => (Kind::Inet(Family::V4), Some(Datagram)),
        "udp6" => (Kind::Inet(Family::V6), Some(Datagram)),
        "unix" => (Kind::Unix, None),
        "uxst" => (Kind::Unix, Some(Stream)),
        "uxdg" => (Kind::Unix, Some(Datagram)),
        "abns" => (Kind::Abstract, None),
        "fd" => (Kind::Fd, None),
        "quic4" | "quic6" => return Err(format!("QUIC {absent}")),
        "sockpair" => return Err(format!("the address family 'sockpair@' {absent}")),
        "rtcp" => {
            return Err(format!(
                "the address family 'rtcp@' in '{text}' is for 'server' lines only"
            ));
        }
        _ => return Err(format!("unknown address family '{name}@' in '{text}'")),
    };
    Ok((kind, transport, after))
}

fn unix(text: &str, path: &str) -> Result<Address, String> {
    if path.is_empty() {
        return Err(format!("missing path of the UNIX socket in '{text}'"));
    }
    if path.len() > MAX_UNIX_PATH {
        return Err(format!(
            "socket path '{path}' too long (max {MAX_UNIX_PATH})"
        ));
    }
    Ok(Address::Unix(PathBuf::from(path)))
}

fn descriptor(text: &str, number: &str) -> Result<RawFd, String> {
    number
        .parse::<RawFd>()
        .ok()
        .filter(|&fd| fd >= 0)
        .ok_or_else(|| format!("file descriptor '{number}' is not a valid integer in '{text}'"))
}

fn inet(text: &str, rest: &str, family: Family) -> Result<Place, String> {
    // The port follows the last colon, even of an IPv6 address without brackets.
    let (host, port) = match rest.strip_prefix('[') {
        Some(inner) => {
            let Some((host, after)) = inner.split_once(']') else {
                return Err(format!("missing ']' in '{text}'"));
            };
            match after.strip_prefix(':') {
                Some(port) => (host, port),
                None if after.is_empty() => (host, ""),
                None => return Err(format!("unexpected '{after}' after ']' in '{text}'")),
            }
        }
        None => rest.rsplit_once(':').unwrap_or((rest, "")),
    };
    let port = parse_port(text, port)?;
    Ok(match parse_host(text, host, family)? {
        Some(ip) => Place::Known(Address::Inet { ip, port }),
        None => Place::Named(Named {
            host: host.to_owned(),
            family,
            port,
        }),
    })
}

/// An IP address; `None` where the host is a name.
fn parse_host(text: &str, host: &str, family: Family) -> Result<Option<IpAddr>, String> {
    if host.is_empty() || host == "*" {
        return Ok(Some(match family {
            Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            Family::Any | Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        }));
    }
    let invalid = || format!("invalid address: '{host}' in '{text}'");
    match host.parse::<IpAddr>() {
        Ok(ip) if family.admits(ip) => Ok(Some(ip)),
        Ok(_) => Err(invalid()),
        Err(_) if host.contains(':') => Err(invalid()),
        Err(_) => Ok(None),
    }
}

fn parse_port(text: &str, port: &str) -> Result<Port, String> {
    let number = |digits: &str| -> Result<u16, String> {
        if let Some(c) = digits.chars().find(|c| !c.is_ascii_digit()) {
            return Err(format!(
                "invalid character '{c}' in port number '{digits}' in '{text}'"
            ));
        }
        digits
            .parse()
            .map_err(|_| format!("invalid port '{digits}' in '{text}'"))
    };
    if port.is_empty() {
        return Ok(Port::Absent);
    }
    if let Some(offset) = port.strip_prefix('+') {
        return Ok(Port::Offset(i32::from(number(offset)?)));
    }
    if let Some(offset) = port.strip_prefix('-') {
        return Ok(Port::Offset(-i32::from(number(offset)?)));
    }
    match port.split_once('-') {
        None => Ok(Port::One(number(port)?)),
        Some((first, last)) => {
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(format!("invalid port range '{port}' in '{text}'"));
            }
            Ok(Port::Range(first, last))
        }
    }
}

#[cfg(test)]
mod tests;
