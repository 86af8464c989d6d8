//! `bind` lines, and what they share with `stats socket`.

use std::sync::Arc;

use super::super::address::{self, Address, Port};
use super::super::diagnostic::Fault;
use super::super::draft::Proxy;
use super::super::draft::tls::BindTlsWords;
use super::super::keywords::{self, Scope};
use super::super::lexer::Word;
use super::super::model::{Bind, BindAddress};
use super::super::units;
use super::{Args, Context, bind_tls};

/// Longest interface name, as the kernel has it (IFNAMSIZ without the final NUL).
const MAX_INTERFACE: usize = 15;

/// Reads a `bind` line: one entry per address and per port of a range.
pub(crate) fn line(
    args: Args<'_>,
    proxy: &mut Proxy,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let word = args.first("{<path>|[addr1]:port1[-end1]}{,[addr]:port[-end]}... as arguments")?;
    let addresses = addresses(word, context);
    let mut template = Bind {
        address: BindAddress::Fd(-1),
        name: None,
        id: None,
        backlog: None,
        maxconn: None,
        interface: None,
        mss: None,
        v6only: None,
        transparent: false,
        defer_accept: false,
        tfo: false,
        tcp_user_timeout: None,
        unix_mode: None,
        unix_uid: None,
        unix_gid: None,
        accept_proxy: false,
        tls: None,
        position: word.position.clone(),
    };
    let mut tls = BindTlsWords::default();
    parameters(
        args.from(2),
        &keywords::BIND,
        context,
        |name, value, context| parameter(name, value, &mut template, &mut tls, context),
    );
    template.tls = bind_tls::finish(tls, word, context);
    let taken = template
        .id
        .filter(|_| proxy.binds.iter().any(|bind| bind.id == template.id));
    if let Some(id) = taken {
        context.diagnostics.alert(
            &word.position,
            format!("'id' : custom id {id} already used by another 'bind' of this proxy"),
        );
    }
    proxy
        .binds
        .extend(addresses.into_iter().map(|address| Bind {
            address,
            ..template.clone()
        }));
    Ok(())
}

/// The addresses of a comma-separated list. What is wrong with one is reported, the others count.
fn addresses(word: &Word, context: &mut Context<'_>) -> Vec<BindAddress> {
    let mut found = Vec::new();
    let mut column = word.position.column;
    let mut parts: Vec<&str> = word.text.split(',').collect();
    // One trailing comma is allowed.
    if parts.len() > 1 && parts.last().is_some_and(|part| part.is_empty()) {
        parts.pop();
    }
    for part in parts {
        let mut position = word.position.clone();
        position.column = column;
        if let Err(why) = one_address(part, &mut found, context) {
            context
                .diagnostics
                .alert(&position, format!("'bind' : {why}"));
        }
        column += u32::try_from(part.len() + 1).unwrap_or(0);
    }
    found
}

fn one_address(
    text: &str,
    found: &mut Vec<BindAddress>,
    context: &Context<'_>,
) -> Result<(), String> {
    let (ip, port) = match address::stream(text, context.lookups)? {
        Address::Unix(path) => {
            found.push(BindAddress::Unix(path));
            return Ok(());
        }
        Address::Abstract(name) => {
            found.push(BindAddress::Abstract(name));
            return Ok(());
        }
        Address::Fd(fd) => {
            found.push(BindAddress::Fd(fd));
            return Ok(());
        }
        Address::Inet { ip, port } => (ip, port),
    };
    let (first, last) = match port {
        Port::Absent => return Err(format!("missing port specification in '{text}'")),
        Port::Offset(_) => return Err(format!("port offset not permitted here in '{text}'")),
        Port::One(port) => (port, port),
        Port::Range(first, last) => (first, last),
    };
    if first == 0 {
        return Err(format!("invalid port '0' in '{text}'"));
    }
    found.extend((first..=last).map(|port| BindAddress::Inet((ip, port).into())));
    Ok(())
}

/// Walks over parameters: calls `apply` with each one that is ours and its value (the parameter
/// itself where it takes none), and reports the others and whatever `apply` refuses.
pub(crate) fn parameters<F>(words: &[Word], scope: &Scope, context: &mut Context<'_>, mut apply: F)
where
    F: FnMut(&Word, &Word, &mut Context<'_>) -> Result<(), Fault>,
{
    let mut rest = words.iter();
    while let Some(name) = rest.next() {
        // A misspelt word takes its value along, so that one mistake is reported once.
        let meant = scope.meant(&name.text).unwrap_or(&name.text);
        let value = if scope.takes_argument(meant) {
            rest.next()
        } else {
            Some(name)
        };
        let result = if !scope.has(&name.text) {
            Err(scope.refuse(name))
        } else if let Some(value) = value.filter(|value| !value.text.is_empty()) {
            apply(name, value, context)
        } else {
            Err(name.fault(format!("'{}' : missing value", name.text)))
        };
        if let Err(fault) = result {
            context.diagnostics.fault(fault);
        }
    }
}

fn parameter(
    name: &Word,
    value: &Word,
    bind: &mut Bind,
    tls: &mut BindTlsWords,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    match name.as_str() {
        "name" => bind.name = Some(Arc::from(value.as_str())),
        "id" => bind.id = Some(units::integer("id", value, 1..=i32::MAX.unsigned_abs())?),
        "backlog" => {
            let backlog = units::integer("backlog", value, 0..=i32::MAX.unsigned_abs())?;
            bind.backlog = (backlog > 0).then_some(backlog);
        }
        "maxconn" => {
            let maxconn = units::integer("maxconn", value, 0..=i32::MAX as usize)?;
            bind.maxconn = (maxconn > 0).then_some(maxconn);
        }
        "interface" => {
            if value.text.len() > MAX_INTERFACE {
                return Err(value.fault(format!(
                    "'interface' : '{}' is longer than {MAX_INTERFACE} bytes",
                    value.text
                )));
            }
            bind.interface = Some(value.text.clone());
        }
        "mss" => bind.mss = Some(units::integer("mss", value, 1..=u16::MAX)?),
        "v4v6" => bind.v6only = Some(false),
        "v6only" => bind.v6only = Some(true),
        "transparent" => bind.transparent = true,
        "defer-accept" => bind.defer_accept = true,
        "tfo" => bind.tfo = true,
        "accept-proxy" => bind.accept_proxy = true,
        "tcp-ut" => {
            let time = units::time_of("tcp-ut", value)?.duration;
            bind.tcp_user_timeout = (!time.is_zero()).then_some(time);
        }
        "mode" => bind.unix_mode = Some(file_mode(value)?),
        "uid" | "user" => bind.unix_uid = Some(identity(&name.text, value, context)?),
        "gid" | "group" => bind.unix_gid = Some(identity(&name.text, value, context)?),
        _ => {
            if !bind_tls::parameter(name, value, tls, context)? {
                return Err(keywords::BIND.refuse(name));
            }
        }
    }
    Ok(())
}

/// An octal file mode.
pub(crate) fn file_mode(word: &Word) -> Result<u32, Fault> {
    let octal = word.text.bytes().all(|b| matches!(b, b'0'..=b'7'));
    u32::from_str_radix(&word.text, 8)
        .ok()
        .filter(|&mode| octal && mode <= 0o7777)
        .ok_or_else(|| {
            word.fault(format!(
                "'mode' : missing or invalid mode '{}' (octal integer expected)",
                word.text
            ))
        })
}

/// The number behind `user`, `group` (names), `uid`, `gid` (numbers).
pub(crate) fn identity(keyword: &str, word: &Word, context: &Context<'_>) -> Result<u32, Fault> {
    let found = match keyword {
        "user" => context.lookups.user(&word.text),
        "group" => context.lookups.group(&word.text),
        // The last number means "leave it" to the kernel.
        _ => return units::integer(keyword, word, 0..=u32::MAX - 1),
    };
    found.ok_or_else(|| word.fault(format!("cannot find {keyword} id for '{}'", word.text)))
}
