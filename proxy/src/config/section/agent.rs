//! `agent` sections: a front half whose clients ask for connections, and a back half that makes them.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use ipnet::IpNet;

use super::super::diagnostic::Fault;
use super::super::draft::tls::TlsWords;
use super::super::draft::{Draft, Kind, Proxy, ServerLine, ServerSettings};
use super::super::keywords;
use super::super::lexer::Word;
use super::super::model::check::ServerHealth;
use super::super::model::names::ServerName;
use super::super::model::remote::{Agent, AgentServer, Allowed};
use super::super::model::tls::{Authorities, ServerTls, SniExpression, TlsParameters};
use super::super::model::{Mode, Server, ServerAddress, ServerPort};
use super::{Args, Context, Modifier, proxy, server_tls, tls};

/// The words of proxies that an agent has too.
const SHARED: &[&str] = &[
    "acl",
    "backlog",
    "bind",
    "description",
    "disabled",
    "enabled",
    "id",
    "log",
    "log-tag",
    "maxconn",
    "offload",
    "offload-after",
    "option",
    "source",
    "tcp-request",
    "timeout",
];

/// Reads a section's first line.
pub(crate) fn open(
    args: Args<'_>,
    draft: &mut Draft,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let result = proxy::open(args, Kind::Agent, draft);
    let Some(proxy) = draft.proxies.last_mut() else {
        return result;
    };
    // What has a meaning only where there are servers to choose from, or other modes.
    let settings = &mut proxy.settings;
    settings.mode = Mode::Tcp;
    settings.default_backend = None;
    settings.server = ServerSettings::default();
    // Whoever asks tries again.
    settings.retries = 0;
    settings.redispatch = None;
    proxy.agent = Some(Agent::default());
    let defaults = context.tls.server.clone();
    let place = format!("agent '{}'", proxy.name);
    let words = TlsWords::default();
    let parameters = tls::complete(words, &defaults, &place, &proxy.position, context);
    for how in [AgentServer::Plain, AgentServer::Unverified] {
        let server = server(proxy, how, &parameters, None);
        proxy.servers.push(server);
    }
    result
}

/// How the agent speaks to its targets in this way.
fn server(
    proxy: &Proxy,
    how: AgentServer,
    parameters: &TlsParameters,
    ca_file: Option<Authorities>,
) -> ServerLine {
    let tls = (how != AgentServer::Plain).then(|| {
        Arc::new(ServerTls {
            verify: how == AgentServer::Verified,
            ca_file,
            verify_host: None,
            sni: Some(SniExpression::Asked),
            certificate: None,
            reuse: true,
            position: proxy.position.clone(),
            parameters: parameters.clone(),
        })
    });
    let server = Server {
        name: Arc::from(how.name()),
        address: ServerAddress::Asked,
        port: ServerPort::Fixed,
        weight: 1,
        backup: false,
        maxconn: None,
        minconn: None,
        maxqueue: None,
        health: ServerHealth::default(),
        naming: ServerName::default(),
        disabled: false,
        id: None,
        source: None,
        send_proxy: None,
        tls,
        position: proxy.position.clone(),
    };
    ServerLine {
        server,
        track: None,
        verify_by_default: false,
        resolvers: None,
    }
}

/// Reads one line of an `agent` section.
pub(crate) fn line(
    args: Args<'_>,
    modifier: Modifier,
    proxy: &mut Proxy,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let keyword = args.keyword();
    match keyword.as_str() {
        "allow" => allow(args, proxy),
        "ca-file" => ca_file(args, proxy, context),
        "bind" => {
            let known = proxy.binds.len();
            proxy::line(args, modifier, proxy, context)?;
            let tls = proxy.binds[known..].iter().any(|bind| bind.tls.is_some());
            if tls {
                return Err(keyword.fault(
                    "'ssl' is not for the 'bind' lines of an agent: requests come in the clear.",
                ));
            }
            Ok(())
        }
        name if SHARED.contains(&name) => proxy::line(args, modifier, proxy, context),
        name if keywords::PROXY.has(name) => Err(keyword.fault(format!(
            "'{name}' has no place in an 'agent' section: whoever asks the agent chooses the target."
        ))),
        _ => Err(keywords::AGENT.refuse_in(
            keyword,
            "in 'agent' section",
            keywords::PROXY.ours,
        )),
    }
}

/// Reads an `allow` line: one or more `<network>[:<port>[-<port>]]`.
fn allow(args: Args<'_>, proxy: &mut Proxy) -> Result<(), Fault> {
    args.first("<network>[:<port>[-<port>]]")?;
    for word in args.from(1) {
        let allowed = allowed(&word.text)
            .map_err(|why| word.fault(format!("'allow' : {why} in '{}'", word.text)))?;
        if let Some(agent) = &mut proxy.agent {
            agent.allow.push(allowed);
        }
    }
    Ok(())
}

/// `10.0.0.0/8`, `192.0.2.1:80-90`, `2001:db8::/32`, `[2001:db8::/32]:443`. Errors are parts of
/// sentences.
fn allowed(text: &str) -> Result<Allowed, String> {
    let (network, ports) = match text.strip_prefix('[') {
        Some(inner) => {
            let (network, rest) = inner.split_once(']').ok_or("']' is missing")?;
            match rest.strip_prefix(':') {
                Some(ports) => (network, Some(ports)),
                None if rest.is_empty() => (network, None),
                None => return Err(format!("unexpected '{rest}' after ']'")),
            }
        }
        // A colon alone is that of a port; an IPv6 network has two at least.
        None if text.matches(':').count() == 1 => match text.split_once(':') {
            Some((network, ports)) => (network, Some(ports)),
            None => (text, None),
        },
        None => (text, None),
    };
    let network = match network.parse::<IpNet>() {
        Ok(network) => network.trunc(),
        Err(_) => network
            .parse::<IpAddr>()
            .map(IpNet::from)
            .map_err(|_| format!("'{network}' is no network"))?,
    };
    let ports = match ports {
        None => 1..=u16::MAX,
        Some(ports) => port_range(ports)?,
    };
    Ok(Allowed { network, ports })
}

fn port_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let number = |digits: &str| {
        let port = digits.parse::<u16>().ok().filter(|port| *port != 0);
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        port.filter(|_| plain)
            .ok_or_else(|| format!("'{digits}' is no port"))
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(format!("'{text}' is no range of ports"));
    }
    Ok(first..=last)
}

/// Reads `ca-file`: the authorities that servers' certificates are verified with.
fn ca_file(args: Args<'_>, proxy: &mut Proxy, context: &Context<'_>) -> Result<(), Fault> {
    let word: &Word = args.first("a file or '@system-ca'")?;
    let authorities = server_tls::authorities(word, context)?;
    args.at_most(1)?;
    let parameters = proxy
        .servers
        .iter()
        .find_map(|line| line.server.tls.as_ref());
    let Some(parameters) = parameters.map(|tls| tls.parameters.clone()) else {
        return Ok(());
    };
    if let Some(agent) = &mut proxy.agent {
        agent.verifies = true;
    }
    // The last line counts.
    proxy.servers.truncate(AgentServer::Verified as usize);
    let verified = server(proxy, AgentServer::Verified, &parameters, Some(authorities));
    proxy.servers.push(verified);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_ports() {
        let table = [
            ("10.0.0.0/8", "10.0.0.0/8", 1..=u16::MAX),
            ("10.1.2.3/8:80", "10.0.0.0/8", 80..=80),
            ("192.0.2.1", "192.0.2.1/32", 1..=u16::MAX),
            ("192.0.2.1:80-90", "192.0.2.1/32", 80..=90),
            ("0.0.0.0/0:1-65535", "0.0.0.0/0", 1..=u16::MAX),
            ("2001:db8::/32", "2001:db8::/32", 1..=u16::MAX),
            ("[2001:db8::/32]", "2001:db8::/32", 1..=u16::MAX),
            ("[2001:db8::/32]:443", "2001:db8::/32", 443..=443),
            ("[::1]:5000-5010", "::1/128", 5000..=5010),
        ];
        for (text, network, ports) in table {
            let network = network.parse().unwrap();
            assert_eq!(allowed(text), Ok(Allowed { network, ports }), "{text}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for (text, why) in [
            ("", "'' is no network"),
            ("web:80", "'web' is no network"),
            ("10.0.0.0/33", "'10.0.0.0/33' is no network"),
            ("10.0.0.0/8:", "'' is no port"),
            ("10.0.0.0/8:0", "'0' is no port"),
            ("10.0.0.0/8:+80", "'+80' is no port"),
            ("10.0.0.0/8:70000", "'70000' is no port"),
            ("10.0.0.0/8:90-80", "'90-80' is no range of ports"),
            ("[::1", "']' is missing"),
            ("[::1]80", "unexpected '80' after ']'"),
        ] {
            assert_eq!(allowed(text), Err(why.to_owned()), "{text}");
        }
    }
}
