//! Host names on `server` and `default-server` lines.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use super::super::address::Named;
use super::super::diagnostic::Fault;
use super::super::draft::ServerSettings;
use super::super::draft::names::{InitMethod, NameWords};
use super::super::lexer::Word;
use super::super::model::names::{AddressFamily, HostName, ServerName};
use super::{Context, Position};

/// Longest name, as DNS has it.
const MAX_NAME: usize = 253;
/// Longest part of one.
const MAX_LABEL: usize = 63;

/// Reads a parameter about names; false where it is none.
pub(crate) fn parameter(
    name: &Word,
    value: &Word,
    settings: &mut ServerSettings,
    _context: &mut Context<'_>,
) -> Result<bool, Fault> {
    let names = &mut settings.names;
    match name.as_str() {
        "init-addr" => {
            names.init = each(name, value, |item| {
                Ok(match item {
                    "last" => InitMethod::Last,
                    "libc" => InitMethod::Libc,
                    "none" => InitMethod::None,
                    _ => InitMethod::Ip(item.parse().map_err(|_| {
                        format!(
                            "'init-addr' : unknown init-addr method '{item}', supported methods are 'libc', 'last', 'none', and IP addresses."
                        )
                    })?),
                })
            })?;
        }
        "resolvers" => names.resolvers = Some(value.clone()),
        "resolve-prefer" => {
            names.wish.family = match value.as_str() {
                "ipv4" => AddressFamily::V4,
                "ipv6" => AddressFamily::V6,
                other => {
                    return Err(value.fault(format!(
                        "'resolve-prefer' expects either ipv4 or ipv6 as argument (got '{other}')."
                    )));
                }
            };
        }
        "resolve-net" => {
            names.wish.networks = each(name, value, |item| {
                network(item).ok_or_else(|| format!("'resolve-net' invalid network '{item}'."))
            })?;
        }
        "resolve-opts" => {
            for option in value.text.split(',') {
                match option {
                    "allow-dup-ip" => names.wish.allow_duplicates = true,
                    "prevent-dup-ip" => names.wish.allow_duplicates = false,
                    "ignore-weight" => names.ignore_weight = true,
                    _ => {
                        return Err(value.fault(format!(
                            "'resolve-opts' : unknown resolve-opts option '{option}', supported methods are 'allow-dup-ip', 'ignore-weight', and 'prevent-dup-ip'."
                        )));
                    }
                }
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// The parts of a list with commas.
fn each<T>(
    name: &Word,
    value: &Word,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, Fault> {
    if value.text.is_empty() {
        return Err(name.fault(format!("'{}' expects a list with commas.", name.text)));
    }
    let items = value.text.split(',');
    items
        .map(|item| read(item).map_err(|why| value.fault(why)))
        .collect()
}

/// `<address>[/<bits>]`
fn network(text: &str) -> Option<IpNet> {
    match text.parse::<IpNet>() {
        Ok(network) => Some(network.trunc()),
        Err(_) => text.parse::<IpAddr>().ok().map(IpNet::from),
    }
}

/// Whether DNS can be asked for a name; the error is the end of a sentence.
pub(crate) fn check(name: &str) -> Result<(), String> {
    let bare = name.strip_suffix('.').unwrap_or(name);
    if bare.len() > MAX_NAME {
        return Err(format!("it is longer than {MAX_NAME} characters"));
    }
    for label in bare.split('.') {
        if label.is_empty() {
            return Err("it has an empty part".to_owned());
        }
        if label.len() > MAX_LABEL {
            return Err(format!("'{label}' is longer than {MAX_LABEL} characters"));
        }
        let valid = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if let Some(c) = label.chars().find(|c| !valid(c)) {
            return Err(format!("it has the character '{c}'"));
        }
    }
    Ok(())
}

/// The name of a server, and the address that it starts with; `port` is that of the address.
///
/// What is wrong is reported, with `place` before it.
pub(crate) fn settle(
    named: &Named,
    port: u16,
    words: &NameWords,
    place: &str,
    position: &Position,
    context: &mut Context<'_>,
) -> (SocketAddr, ServerName) {
    let name = named.host.strip_suffix('.').unwrap_or(&named.host);
    let service = name.starts_with('_');
    let mut naming = ServerName {
        host: Some(if service {
            HostName::Service(Arc::from(name))
        } else {
            HostName::Host(Arc::from(name))
        }),
        resolvers: None,
        wish: words.wish.clone(),
        ignore_weight: words.ignore_weight,
        unresolved: false,
    };
    let diagnostics = &mut context.diagnostics;
    if let Err(why) = check(name) {
        diagnostics.alert(
            position,
            format!("{place} : '{name}' is no host name: {why}."),
        );
    }
    let mut methods = words.init.clone();
    if methods.is_empty() {
        methods = vec![InitMethod::Last, InitMethod::Libc];
        if words.resolvers.is_some() {
            methods.push(InitMethod::None);
        }
    }
    let mut failed = false;
    for method in methods {
        let found = match method {
            // There is no state file that could know one.
            InitMethod::Last => None,
            // Only a resolvers section finds the hosts of a service.
            InitMethod::Libc if service => None,
            InitMethod::Libc => {
                let addresses = context.lookups.host(name);
                let found = addresses.into_iter().find(|ip| named.family.admits(*ip));
                failed |= found.is_none();
                found
            }
            InitMethod::Ip(ip) => {
                if failed {
                    diagnostics.warning(
                        position,
                        format!(
                            "{place} : could not resolve address '{name}', falling back to configured address."
                        ),
                    );
                }
                Some(ip)
            }
            InitMethod::None => {
                if failed {
                    diagnostics.warning(
                        position,
                        format!("{place} : could not resolve address '{name}', disabling server."),
                    );
                }
                naming.unresolved = true;
                return (unknown(port), naming);
            }
        };
        if let Some(ip) = found {
            return (SocketAddr::new(ip, port), naming);
        }
    }
    let why = if failed {
        "could not resolve address"
    } else {
        "no method found to resolve address"
    };
    diagnostics.alert(position, format!("{place} : {why} '{name}'."));
    (unknown(port), naming)
}

/// Stands for the address of a server that has none. Nobody connects to it: the server is in
/// maintenance.
fn unknown(port: u16) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_dns_can_be_asked_for() {
        for name in ["a", "a.b.", "_http._tcp.a-b.c", "1.2.3", &"x".repeat(63)] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        let long = vec!["x"; 127].join(".");
        assert_eq!(check(&long), Ok(()), "253 characters");
        for (name, why) in [
            ("", "it has an empty part"),
            ("a..b", "it has an empty part"),
            ("a!b", "it has the character '!'"),
            (&format!("{long}.x"), "it is longer than 253 characters"),
        ] {
            assert_eq!(check(name), Err(why.to_owned()), "{name}");
        }
        let label = "x".repeat(64);
        let why = format!("'{label}' is longer than 63 characters");
        assert_eq!(check(&label), Err(why));
    }

    #[test]
    fn networks() {
        let parse = |text: &str| text.parse::<IpNet>().ok();
        assert_eq!(network("10.1.2.3/8"), parse("10.0.0.0/8"));
        assert_eq!(network("fd00::/8"), parse("fd00::/8"));
        assert_eq!(network("1.2.3.4"), parse("1.2.3.4/32"));
        for text in ["", "10.0.0.0/33", "x", "10.0.0/8"] {
            assert_eq!(network(text), None, "{text}");
        }
    }
}
