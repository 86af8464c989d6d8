//! `acl`, `tcp-request`, `tcp-response`, `use_backend`, `use-server`, `stick`: lines that are
//! compiled once the whole configuration is read.

use super::super::diagnostic::Fault;
use super::super::draft::rules::{RuleKind, RuleLine};
use super::super::draft::{Kind, Proxy};
use super::super::units;
use super::proxy::{Side, warn_if_ignored};
use super::{Args, Context};

/// The keywords of this family.
pub(crate) const KEYWORDS: &[&str] = &[
    "acl",
    "tcp-request",
    "tcp-response",
    "use_backend",
    "use-server",
    "stick",
];

/// Reads one of them.
pub(crate) fn line(
    args: Args<'_>,
    proxy: &mut Proxy,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let keyword = args.keyword();
    let name = keyword.as_str();
    match name {
        "acl" => keep(RuleKind::Acl, args, 0, proxy),
        "tcp-request" => tcp_request(args, proxy),
        "tcp-response" => tcp_response(args, proxy),
        "use_backend" => {
            not_in_defaults(args, proxy)?;
            args.first("a backend name")?;
            warn_if_ignored(proxy, name, keyword, Side::Front, context);
            keep(RuleKind::UseBackend, args, 0, proxy)
        }
        "use-server" => {
            not_in_defaults(args, proxy)?;
            args.first("<server name> as its first argument")?;
            warn_if_ignored(proxy, name, keyword, Side::Back, context);
            keep(RuleKind::UseServer, args, 0, proxy)
        }
        _ => {
            not_in_defaults(args, proxy)?;
            args.first("'on', 'match' or 'store-request'")?;
            warn_if_ignored(proxy, name, keyword, Side::Back, context);
            keep(RuleKind::Stick, args, 0, proxy)
        }
    }
}

fn tcp_request(args: Args<'_>, proxy: &mut Proxy) -> Result<(), Fault> {
    const EXPECTED: &str = "'inspect-delay', 'connection', 'session' or 'content'";
    let stage = args.first(EXPECTED)?;
    let kind = match stage.as_str() {
        "inspect-delay" => {
            proxy.settings.rules.request_delay = delay(args)?;
            return Ok(());
        }
        "connection" => RuleKind::Connection,
        "session" => RuleKind::Session,
        "content" => RuleKind::Request,
        other => {
            return Err(stage.fault(format!("'tcp-request' expects {EXPECTED} (got '{other}').")));
        }
    };
    if kind != RuleKind::Request && !proxy.kind.has_front() {
        return Err(stage.fault(format!(
            "'tcp-request {}' is not allowed because {} '{}' is not a frontend.",
            stage.text,
            proxy.kind.noun(),
            proxy.name
        )));
    }
    if proxy.kind == Kind::Defaults && proxy.name.is_empty() {
        return Err(args.keyword().fault(
            "'tcp-request' rules are only allowed in 'defaults' sections that have a name.",
        ));
    }
    keep(kind, args, 1, proxy)
}

fn tcp_response(args: Args<'_>, proxy: &mut Proxy) -> Result<(), Fault> {
    const EXPECTED: &str = "'inspect-delay' or 'content'";
    let stage = args.first(EXPECTED)?;
    match stage.as_str() {
        "inspect-delay" => {
            proxy.settings.rules.response_delay = delay(args)?;
            Ok(())
        }
        "content" => {
            if !proxy.kind.has_back() {
                return Err(stage.fault(format!(
                    "'tcp-response content' is not allowed because {} '{}' is not a backend.",
                    proxy.kind.noun(),
                    proxy.name
                )));
            }
            keep(RuleKind::Response, args, 1, proxy)
        }
        other => Err(stage.fault(format!(
            "'tcp-response' expects {EXPECTED} (got '{other}')."
        ))),
    }
}

fn delay(args: Args<'_>) -> Result<Option<std::time::Duration>, Fault> {
    let name = format!("{} inspect-delay", args.keyword().text);
    let Some(value) = args.get(2) else {
        return Err(args.keyword().fault(format!(
            "'{name}' expects an integer value (in milliseconds)"
        )));
    };
    let time = units::time_of(&name, value)?.duration;
    args.at_most(2)?;
    Ok((!time.is_zero()).then_some(time))
}

fn not_in_defaults(args: Args<'_>, proxy: &Proxy) -> Result<(), Fault> {
    if proxy.kind == Kind::Defaults {
        let keyword = args.keyword();
        return Err(keyword.fault(format!(
            "'{}' not allowed in 'defaults' section.",
            keyword.text
        )));
    }
    Ok(())
}

fn keep(kind: RuleKind, args: Args<'_>, at: usize, proxy: &mut Proxy) -> Result<(), Fault> {
    let keyword = args.get(at).unwrap_or_else(|| args.keyword());
    proxy.settings.rules.lines.push(RuleLine {
        kind,
        keyword: keyword.clone(),
        words: args.from(at + 1).to_vec(),
        inherited: proxy.kind == Kind::Defaults,
    });
    Ok(())
}
