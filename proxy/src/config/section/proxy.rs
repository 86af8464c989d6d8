//! `defaults`, `frontend`, `listen` and `backend`: their first lines, and which family reads each
//! of their keywords.

use std::sync::Arc;

use super::super::diagnostic::Fault;
use super::super::draft::{Draft, Kind, Proxy, Settings};
use super::super::keywords;
use super::super::lexer::Word;
use super::super::units;
use super::{
    Args, Context, Modifier, balance, bind, log, log_format, monitor, offload, options, rules,
    server, server_template, source, stick_table, tcp_check, timeouts,
};

/// The half of a proxy that a keyword is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Front,
    Back,
    Any,
}

/// Reads a section's first line: `<kind> [<name>] [from <defaults>]`.
///
/// The proxy is made whatever is wrong with that line, so that its other lines have a place.
pub(crate) fn open(args: Args<'_>, kind: Kind, draft: &mut Draft) -> Result<(), Fault> {
    let keyword = args.keyword();
    let name = args.get(1).filter(|word| word.text != "from");
    let after_name = if name.is_some() { 2 } else { 1 };
    let mut result = Ok(());
    let mut keep_first = |check: Result<(), Fault>| {
        if result.is_ok() {
            result = check;
        }
    };
    match name {
        None if kind != Kind::Defaults => {
            keep_first(Err(
                keyword.fault(format!("'{}' expects an <id> argument", kind.name()))
            ));
        }
        Some(name) if kind != Kind::Defaults => {
            keep_first(check_name(name, kind.name()));
            keep_first(check_unique(name, kind, draft));
        }
        _ => {}
    }
    let mut inherited = None;
    match args.get(after_name) {
        None => {}
        Some(word) if word.text == "from" => match args.get(after_name + 1) {
            None => keep_first(Err(word.fault(format!(
                "'{}' expects the name of a 'defaults' section after 'from'",
                kind.name()
            )))),
            Some(from) => {
                match find_defaults(from, draft) {
                    Ok(index) => inherited = Some(index),
                    Err(fault) => keep_first(Err(fault)),
                }
                keep_first(args.at_most(after_name + 1));
            }
        },
        Some(_) => keep_first(args.at_most(after_name - 1)),
    }
    let by_name = inherited.is_some();
    if !by_name && kind != Kind::Defaults {
        inherited = draft.defaults.len().checked_sub(1);
    }
    let settings = inherited.map_or_else(Settings::default, |index| {
        let defaults = &mut draft.defaults[index];
        if by_name {
            defaults.used_by_name = true;
        } else {
            defaults
                .used_by_place
                .get_or_insert_with(|| keyword.position.clone());
        }
        defaults.settings.clone()
    });
    let proxy = Proxy {
        kind,
        name: Arc::from(name.map_or("", Word::as_str)),
        position: keyword.position.clone(),
        settings,
        binds: Vec::new(),
        has_bind_line: false,
        servers: Vec::new(),
        agent: None,
        stick_table: None,
        id: None,
        description: None,
        used_by_name: false,
        used_by_place: None,
    };
    if kind == Kind::Defaults {
        draft.defaults.push(proxy);
    } else {
        draft.proxies.push(proxy);
    }
    result
}

/// Names of proxies and servers.
pub(crate) fn check_name(name: &Word, what: &str) -> Result<(), Fault> {
    let valid = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    match name.text.chars().find(|c| !valid(c)) {
        Some(c) => Err(name.fault(format!(
            "character '{c}' is not permitted in '{what}' name '{}'.",
            name.text
        ))),
        None if name.text.is_empty() => Err(name.fault(format!("'{what}' needs a name."))),
        None => Ok(()),
    }
}

/// Two proxies may share a name only if one is a frontend and the other a backend.
fn check_unique(name: &Word, kind: Kind, draft: &Draft) -> Result<(), Fault> {
    let clash = draft.proxies.iter().find(|other| {
        let shared = (kind.has_front() && other.kind.has_front())
            || (kind.has_back() && other.kind.has_back());
        *other.name == *name.text && shared
    });
    match clash {
        None => Ok(()),
        Some(other) => Err(name.fault(format!(
            "{} '{}' has the same name as {} '{}' declared at {}.",
            kind.noun(),
            name.text,
            other.kind.noun(),
            other.name,
            other.position
        ))),
    }
}

fn find_defaults(name: &Word, draft: &Draft) -> Result<usize, Fault> {
    let mut named = draft
        .defaults
        .iter()
        .enumerate()
        .filter(|(_, defaults)| *defaults.name == *name.text);
    let Some((index, defaults)) = named.next() else {
        return Err(name.fault(format!(
            "unable to find the 'defaults' section '{}'.",
            name.text
        )));
    };
    if let Some((_, second)) = named.next() {
        return Err(name.fault(format!(
            "ambiguous 'defaults' section name '{}' (declared at {} and {}).",
            name.text, defaults.position, second.position
        )));
    }
    check_name(name, "defaults")?;
    Ok(index)
}

/// Warns where a keyword is for the half that the section does not have.
pub(crate) fn warn_if_ignored(
    proxy: &Proxy,
    keyword: &str,
    word: &Word,
    side: Side,
    context: &mut Context<'_>,
) {
    let (lacks, half) = match side {
        Side::Front => (!proxy.kind.has_front(), "frontend"),
        Side::Back => (!proxy.kind.has_back(), "backend"),
        Side::Any => (false, ""),
    };
    if !lacks {
        return;
    }
    let hint = match (keyword, side) {
        ("maxconn", Side::Front) => " To limit a server, use its own 'maxconn'.",
        _ => "",
    };
    context.diagnostics.warning(
        &word.position,
        format!(
            "'{keyword}' ignored because {} '{}' has no {half} capability.{hint}",
            proxy.kind.noun(),
            proxy.name
        ),
    );
}

/// Reads one line of a proxy section.
pub(crate) fn line(
    args: Args<'_>,
    modifier: Modifier,
    proxy: &mut Proxy,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let keyword = args.keyword();
    match keyword.as_str() {
        "bind" => {
            if proxy.kind == Kind::Defaults {
                return Err(keyword.fault("'bind' not allowed in 'defaults' section."));
            }
            proxy.has_bind_line = true;
            warn_if_ignored(proxy, "bind", keyword, Side::Front, context);
            bind::line(args, proxy, context)
        }
        "server" => server::line(args, proxy, context),
        "server-template" => server_template::line(args, proxy, context),
        "default-server" => server::defaults(args, proxy, context),
        "timeout" => timeouts::line(args, proxy, context),
        "option" => options::line(args, modifier, proxy, context),
        "log" => log::proxy(args, modifier, proxy, context),
        "offload" => offload::mode(args, proxy, context),
        "offload-after" => offload::after(args, proxy),
        "stick-table" => stick_table::line(args, proxy, context),
        name if balance::KEYWORDS.contains(&name) => balance::line(args, proxy, context),
        name if log_format::KEYWORDS.contains(&name) => log_format::line(args, proxy, context),
        "tcp-check" => tcp_check::line(args, proxy, context),
        name if rules::KEYWORDS.contains(&name) => rules::line(args, proxy, context),
        _ => setting(args, proxy, context),
    }
}

/// The keywords that take one plain value.
fn setting(args: Args<'_>, proxy: &mut Proxy, context: &mut Context<'_>) -> Result<(), Fault> {
    let keyword = args.keyword();
    let name = keyword.as_str();
    let mut side = Side::Any;
    match name {
        "mode" => return monitor::mode(args, proxy, context),
        "monitor-net" => {
            monitor::net(args, proxy, context)?;
            side = Side::Front;
        }
        "id" | "description" => return identity(args, proxy),
        "disabled" | "enabled" => {
            proxy.settings.disabled = name == "disabled";
            return args.at_most(0);
        }
        "log-tag" => {
            proxy.settings.log_tag = Some(args.first("a tag for use in syslog")?.text.clone());
        }
        "maxconn" => {
            let word = args.first("an integer argument")?;
            let value = units::integer(name, word, 0..=i32::MAX as usize)?;
            proxy.settings.maxconn = (value > 0).then_some(value);
            side = Side::Front;
        }
        "backlog" => {
            let word = args.first("an integer argument")?;
            let value = units::integer(name, word, 0..=i32::MAX.unsigned_abs())?;
            proxy.settings.backlog = (value > 0).then_some(value);
            side = Side::Front;
        }
        "default_backend" => {
            proxy.settings.default_backend = Some(args.first("a backend name")?.clone());
            side = Side::Front;
        }
        "fullconn" => {
            let word = args.first("an integer argument")?;
            let value = units::integer(name, word, 0..=i32::MAX as usize)?;
            proxy.settings.fullconn = (value > 0).then_some(value);
            side = Side::Back;
        }
        "rate-limit" => return rate_limit(args, proxy, context),
        "retries" => {
            let word = args.first("an integer argument (dispatch counts for one)")?;
            proxy.settings.retries = units::integer(name, word, 0..=i32::MAX.unsigned_abs())?;
            side = Side::Back;
        }
        "source" => {
            let word = args.first("<addr>[:<port>] as argument")?;
            let address = source::address(word, context)?;
            if let Some(fault) = args.get(2).and_then(source::suffix) {
                return Err(fault);
            }
            // The unspecified address without a port is how HAProxy takes a `source` back.
            let given = !address.ip().is_unspecified() || address.port() != 0;
            proxy.settings.source = given.then_some(address);
            side = Side::Back;
        }
        _ => {
            let place = format!("in '{}' section", proxy.kind.name());
            return Err(keywords::PROXY.refuse_in(keyword, &place, keywords::SECTIONS.ours));
        }
    }
    args.at_most(1)?;
    warn_if_ignored(proxy, name, keyword, side, context);
    Ok(())
}

/// `rate-limit sessions <rate>`
fn rate_limit(args: Args<'_>, proxy: &mut Proxy, context: &mut Context<'_>) -> Result<(), Fault> {
    let keyword = args.keyword();
    let what = args.first("'sessions'")?;
    if what.text != "sessions" {
        return Err(what.fault(format!(
            "'rate-limit' only supports 'sessions' (got '{}').",
            what.text
        )));
    }
    let Some(word) = args.get(2) else {
        return Err(
            what.fault("'rate-limit sessions' expects an integer value (in sessions/second).")
        );
    };
    let rate = units::integer("rate-limit sessions", word, 0..=i32::MAX.unsigned_abs())?;
    proxy.settings.session_rate = (rate > 0).then_some(rate);
    args.at_most(2)?;
    warn_if_ignored(proxy, "rate-limit sessions", keyword, Side::Front, context);
    Ok(())
}

fn identity(args: Args<'_>, proxy: &mut Proxy) -> Result<(), Fault> {
    let keyword = args.keyword();
    if proxy.kind == Kind::Defaults {
        return Err(keyword.fault(format!(
            "'{}' not allowed in 'defaults' section.",
            keyword.text
        )));
    }
    if keyword.text == "description" {
        args.first("a string argument")?;
        proxy.description = Some(args.text());
        return Ok(());
    }
    let word = args.first("an integer argument")?;
    let id = units::integer("id", word, 1..=i32::MAX.unsigned_abs())?;
    proxy.id = Some((id, word.position.clone()));
    args.at_most(1)
}
