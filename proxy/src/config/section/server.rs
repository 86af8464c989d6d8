//! `server` and `default-server` lines.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::super::address::{self, Address, Named, Place, Port};
use super::super::diagnostic::Fault;
use super::super::draft::{Kind, Proxy, ServerLine, ServerSettings};
use super::super::keywords;
use super::super::lexer::Word;
use super::super::model::names::ServerName;
use super::super::model::remote::RemoteAddress;
use super::super::model::{Server, ServerAddress, ServerPort};
use super::super::units;
use super::proxy::check_name;
use super::{Args, Context, bind, server_check, server_limits, server_names, server_tls, source};

/// Reads a `server` line.
pub(crate) fn line(
    args: Args<'_>,
    proxy: &mut Proxy,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let keyword = args.keyword();
    allowed(keyword, proxy)?;
    let (Some(name), Some(target)) = (args.get(1), args.get(2)) else {
        return Err(keyword.fault("'server' expects <name> and <addr>[:<port>] as arguments."));
    };
    check_name(name, "server")?;
    let names = std::iter::once(name.text.clone());
    add(keyword, name, names, target, args.from(3), proxy, context)
}

/// Adds servers that differ in their names only. `name` is the word that the names are made of.
pub(crate) fn add(
    keyword: &Word,
    name: &Word,
    names: impl IntoIterator<Item = String>,
    target: &Word,
    words: &[Word],
    proxy: &mut Proxy,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let mut names = names.into_iter();
    let Some(first) = names.next() else {
        return Ok(());
    };
    let place = format!("'server {}/{first}'", proxy.name);
    // A wrong address does not keep the parameters from being checked.
    let address = match address(target, context) {
        Ok(address) => Some(address),
        Err(why) => {
            let message = format!("{place} : {why}");
            context.diagnostics.alert(&target.position, message);
            None
        }
    };
    let mut settings = proxy.settings.server.clone();
    let said = parameters(words, &mut settings, context);
    let others = || proxy.servers.iter().map(|line| &line.server);
    if let Some((id, position)) = &said.id
        && let Some(other) = others().find(|server| server.id == Some(*id))
    {
        context.diagnostics.alert(
            position,
            format!(
                "{place} : 'id' : custom id {id} already used at {} ('server {}').",
                other.position, other.name
            ),
        );
    }
    unique(&first, name, proxy)?;
    let Some(Located {
        mut address,
        port,
        named,
    }) = address
    else {
        return Ok(());
    };
    let mut naming = ServerName::default();
    if let (Some(named), ServerAddress::Inet(at)) = (named, &mut address) {
        let position = &target.position;
        (*at, naming) = server_names::settle(
            &named,
            at.port(),
            &settings.names,
            &place,
            position,
            context,
        );
    }
    if settings.remote_tls {
        remote_tls(&mut address, &settings)
            .map_err(|why| name.fault(format!("{place} : {why}")))?;
    }
    let by_agent = |word: &Word| settings.remote_tls && server_tls::is_for_agents(word);
    let checks_tls = settings.check.ssl == Some(true) || proxy.settings.check.speaks_tls();
    let mut idle = said.needs_ssl.iter().filter(|word| !by_agent(word));
    if let Some(word) = idle.next().filter(|_| !settings.tls.ssl && !checks_tls) {
        context.diagnostics.warning(
            &word.position,
            format!("{place} : '{}' has no effect without 'ssl'.", word.text),
        );
    }
    if settings.send_proxy.lacks_version() {
        context.diagnostics.warning(
            &name.position,
            format!(
                "{place} : without 'send-proxy-v2' a version 1 header is sent, which has no room for what 'proxy-v2-options' asks for."
            ),
        );
    }
    let verify_by_default = settings.tls.verify.is_none();
    let health = server_check::finish(&settings, &place, keyword, context)?;
    let server = Server {
        name: Arc::from(first),
        address,
        port,
        weight: settings.weight,
        backup: settings.backup,
        maxconn: settings.maxconn,
        minconn: settings.minconn,
        maxqueue: settings.maxqueue,
        health,
        naming,
        disabled: settings.disabled,
        id: said.id.map(|(id, _)| id),
        source: settings.source,
        send_proxy: settings.send_proxy.header(),
        position: keyword.position.clone(),
        tls: None,
    };
    let track = settings.check.track;
    let tls = server_tls::finish(settings.tls, &place, keyword, context);
    let line = ServerLine {
        server: Server { tls, ..server },
        verify_by_default,
        track,
        resolvers: settings.names.resolvers,
    };
    proxy.servers.push(line.clone());
    for other in names {
        unique(&other, name, proxy)?;
        let mut line = line.clone();
        line.server.name = Arc::from(other);
        // Nobody else can have the number of the first.
        line.server.id = None;
        proxy.servers.push(line);
    }
    Ok(())
}

/// Refuses a second server of a name; `word` is what the name is made of.
fn unique(name: &str, word: &Word, proxy: &Proxy) -> Result<(), Fault> {
    let mut others = proxy.servers.iter().map(|line| &line.server);
    match others.find(|server| *server.name == *name) {
        None => Ok(()),
        Some(other) => Err(word.fault(format!(
            "proxy '{}', another server named '{name}' was already defined at line {}, please use distinct names.",
            proxy.name, other.position.line
        ))),
    }
}

/// Reads a `default-server` line: what the `server` lines below it start from.
pub(crate) fn defaults(
    args: Args<'_>,
    proxy: &mut Proxy,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    allowed(args.keyword(), proxy)?;
    let mut settings = proxy.settings.server.clone();
    let said = parameters(args.from(1), &mut settings, context);
    let id = said
        .id
        .map(|(_, position)| ("id".to_owned(), position))
        .into_iter();
    let versions = said
        .versions
        .into_iter()
        .map(|word| (word.text, word.position));
    for (name, position) in id.chain(versions) {
        context.diagnostics.alert(
            &position,
            format!("'{name}' option is not accepted in default-server sections"),
        );
    }
    proxy.settings.server = settings;
    Ok(())
}

/// Refuses servers where there can be none.
pub(crate) fn allowed(keyword: &Word, proxy: &Proxy) -> Result<(), Fault> {
    let name = keyword.as_str();
    if proxy.kind == Kind::Defaults && name != "default-server" {
        return Err(keyword.fault(format!("'{name}' not allowed in 'defaults' section.")));
    }
    if !proxy.kind.has_back() {
        return Err(keyword.fault(format!(
            "'{name}' not allowed because frontend '{}' has no backend capability.",
            proxy.name
        )));
    }
    Ok(())
}

/// Where a server is, as its line says.
struct Located {
    /// The IP address of a host by name is not known yet.
    address: ServerAddress,
    port: ServerPort,
    named: Option<Named>,
}

/// Where the server is; errors are sentences.
fn address(word: &Word, context: &Context<'_>) -> Result<Located, String> {
    let fixed = |address| Located {
        address,
        port: ServerPort::Fixed,
        named: None,
    };
    if let Some(remote) = address::remote(&word.text, context.lookups)? {
        return Ok(fixed(ServerAddress::Remote(Arc::new(remote))));
    }
    let (ip, port, named) = match address::place(&word.text)? {
        Place::Known(Address::Unix(path)) => return Ok(fixed(ServerAddress::Unix(path))),
        Place::Known(Address::Abstract(name)) => return Ok(fixed(ServerAddress::Abstract(name))),
        Place::Known(Address::Fd(_)) => {
            return Err(format!(
                "a file descriptor is not acceptable here in '{}'",
                word.text
            ));
        }
        Place::Known(Address::Inet { ip, port }) => (ip, port, None),
        Place::Named(named) => (Ipv4Addr::UNSPECIFIED.into(), named.port, Some(named)),
    };
    let (number, mut port) = match port {
        Port::Absent | Port::One(0) => (0, ServerPort::SameAsClient),
        Port::One(number) => (number, ServerPort::Fixed),
        Port::Offset(offset) => (0, ServerPort::Offset(offset)),
        Port::Range(..) => {
            return Err(format!("port range not permitted here in '{}'", word.text));
        }
    };
    if named
        .as_ref()
        .is_some_and(|named| named.host.starts_with('_'))
    {
        // The records of a service have ports of their own.
        port = ServerPort::Fixed;
    }
    Ok(Located {
        address: ServerAddress::Inet(SocketAddr::new(ip, number)),
        port,
        named,
    })
}

/// Has the agent do the TLS; errors are sentences.
fn remote_tls(address: &mut ServerAddress, settings: &ServerSettings) -> Result<(), String> {
    if settings.tls.ssl {
        return Err("'rssl' and 'ssl' exclude each other: one of the two does the TLS.".to_owned());
    }
    let ServerAddress::Remote(remote) = address else {
        return Err("'rssl' needs an agent: an address 'rtcp@<agent>/<target>'.".to_owned());
    };
    *address = ServerAddress::Remote(Arc::new(RemoteAddress {
        tls: Some(server_tls::remote(&settings.tls)),
        ..RemoteAddress::clone(remote)
    }));
    Ok(())
}

/// What a line says beside settings.
#[derive(Default)]
struct Said {
    /// `id`, and where it stands.
    id: Option<(u32, super::Position)>,
    /// The words that only count with `ssl`.
    needs_ssl: Vec<Word>,
    /// `no-sslv3` and its like.
    versions: Vec<Word>,
}

/// Applies the parameters to `settings`.
fn parameters(words: &[Word], settings: &mut ServerSettings, context: &mut Context<'_>) -> Said {
    let mut said = Said::default();
    bind::parameters(words, &keywords::SERVER, context, |name, value, context| {
        match name.as_str() {
            "backup" => settings.backup = true,
            "no-backup" => settings.backup = false,
            "disabled" => settings.disabled = true,
            "enabled" => settings.disabled = false,
            "id" => {
                let number = units::integer("id", value, 1..=i32::MAX.unsigned_abs())?;
                said.id = Some((number, value.position.clone()));
            }
            "rssl" => settings.remote_tls = true,
            "no-rssl" => settings.remote_tls = false,
            "source" => {
                settings.source = Some(source::address(value, context)?);
            }
            _ if server_limits::parameter(name, value, settings)?
                || server_check::parameter(name, value, settings, context)?
                || server_names::parameter(name, value, settings, context)? => {}
            _ => {
                if !server_tls::parameter(name, value, settings, context)? {
                    return Err(keywords::SERVER.refuse(name));
                }
                if server_tls::is_version(name) {
                    said.versions.push(name.clone());
                }
                if server_tls::needs_ssl(name) {
                    said.needs_ssl.push(name.clone());
                }
            }
        }
        Ok(())
    });
    said
}
