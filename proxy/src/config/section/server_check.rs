//! Health checks on `server` and `default-server` lines.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::super::address;
use super::super::diagnostic::{Fault, Severity};
use super::super::draft::ServerSettings;
use super::super::draft::check::CheckWords;
use super::super::lexer::Word;
use super::super::model::check::{OnError, ServerHealth};
use super::super::model::tls::{ServerTls, SniExpression};
use super::super::tls::alpn;
use super::super::units;
use super::{Context, server_tls};

/// Reads a parameter about checks; false where it is none.
pub(crate) fn parameter(
    name: &Word,
    value: &Word,
    settings: &mut ServerSettings,
    context: &mut Context<'_>,
) -> Result<bool, Fault> {
    let words = &mut settings.check;
    match name.as_str() {
        "check" => words.check = true,
        "no-check" => words.check = false,
        "inter" => words.intervals.usual = interval(name, value)?,
        "fastinter" => words.intervals.changing = Some(interval(name, value)?),
        "downinter" => words.intervals.down = Some(interval(name, value)?),
        "rise" => words.rise = count(name, value)?,
        "fall" => words.fall = count(name, value)?,
        "port" => words.port = port(name, value)?,
        "addr" => {
            let (ip, port) = host(name, value, context)?;
            words.address = Some(ip);
            words.port = port.or(words.port);
        }
        "check-ssl" => words.ssl = Some(true),
        "no-check-ssl" => words.ssl = Some(false),
        "check-sni" => words.sni = Some(Arc::from(value.as_str())),
        "check-alpn" => words.alpn = protocols(name, value)?,
        "check-send-proxy" => words.send_proxy = true,
        "no-check-send-proxy" => words.send_proxy = false,
        "observe" => words.observe = observe(value)?,
        "error-limit" => words.error_limit = count(name, value)?,
        "on-error" => words.on_error = on_error(value)?,
        "on-marked-down" => {
            only(name, value, "shutdown-sessions")?;
            words.ends_streams = true;
        }
        "on-marked-up" => {
            only(name, value, "shutdown-backup-sessions")?;
            words.ends_backup_streams = true;
        }
        "slowstart" => {
            let time = units::time_of("slowstart", value)?.duration;
            words.slow_start = (!time.is_zero()).then_some(time);
        }
        "track" => words.track = Some(value.clone()),
        _ => return agent(name, value, words, context),
    }
    Ok(true)
}

/// Reads a parameter about agents; false where it is none.
fn agent(
    name: &Word,
    value: &Word,
    words: &mut CheckWords,
    context: &Context<'_>,
) -> Result<bool, Fault> {
    match name.as_str() {
        "agent-check" => words.agent = true,
        "no-agent-check" => words.agent = false,
        "agent-inter" => words.agent_interval = Some(interval(name, value)?),
        "agent-port" => words.agent_port = port(name, value)?,
        "agent-addr" => words.agent_address = Some(host(name, value, context)?.0),
        "agent-send" => words.agent_send = Some(value.text.as_bytes().into()),
        _ => return Ok(false),
    }
    Ok(true)
}

fn interval(name: &Word, value: &Word) -> Result<Duration, Fault> {
    let time = units::time_of(name.as_str(), value)?.duration;
    // What is less than a millisecond would not be waited for.
    if time < Duration::from_millis(1) {
        return Err(value.fault(format!(
            "'{}' : invalid value '{}', at least 1 ms is expected",
            name.text, value.text
        )));
    }
    Ok(time)
}

/// The names of protocols to offer.
pub(crate) fn protocols(name: &Word, value: &Word) -> Result<Vec<Vec<u8>>, Fault> {
    alpn::read(&value.text).map_err(|why| value.fault(format!("'{}' : {why}", name.text)))
}

fn count(name: &Word, value: &Word) -> Result<u32, Fault> {
    units::integer(name.as_str(), value, 1..=i32::MAX.unsigned_abs())
}

fn port(name: &Word, value: &Word) -> Result<Option<u16>, Fault> {
    let port = units::integer(name.as_str(), value, 0..=u16::MAX)?;
    Ok((port > 0).then_some(port))
}

/// An address, which may have a port.
pub(crate) fn host(
    name: &Word,
    value: &Word,
    context: &Context<'_>,
) -> Result<(IpAddr, Option<u16>), Fault> {
    let address = address::socket(&value.text, context.lookups)
        .map_err(|why| value.fault(format!("'{}' : {why}", name.text)))?;
    let port = address.port();
    Ok((address.ip(), (port > 0).then_some(port)))
}

fn observe(value: &Word) -> Result<bool, Fault> {
    match value.as_str() {
        "none" => Ok(false),
        "layer4" => Ok(true),
        "layer7" => {
            Err(value.fault("'observe' : 'layer7' only makes sense for HTTP; this is a TCP proxy."))
        }
        other => Err(value.fault(format!(
            "'observe' expects one of 'none' or 'layer4' but got '{other}'"
        ))),
    }
}

fn on_error(value: &Word) -> Result<OnError, Fault> {
    Ok(match value.as_str() {
        "fastinter" => OnError::FastInter,
        "fail-check" => OnError::FailCheck,
        "sudden-death" => OnError::SuddenDeath,
        "mark-down" => OnError::MarkDown,
        other => {
            return Err(value.fault(format!(
                "'on-error' expects one of 'fastinter', 'fail-check', 'sudden-death' or 'mark-down' but got '{other}'."
            )));
        }
    })
}

fn only(name: &Word, value: &Word, expected: &str) -> Result<(), Fault> {
    if value.text == expected {
        return Ok(());
    }
    Err(value.fault(format!(
        "'{}' expects '{expected}' but got '{}'.",
        name.text, value.text
    )))
}

/// What a `server` line says of checks; `keyword` starts it.
pub(crate) fn finish(
    settings: &ServerSettings,
    place: &str,
    keyword: &Word,
    context: &mut Context<'_>,
) -> Result<ServerHealth, Fault> {
    let words = &settings.check;
    if words.agent && words.agent_port.is_none() {
        return Err(keyword.fault(format!(
            "{place} : 'agent-check' needs an 'agent-port': without it nobody can be asked."
        )));
    }
    if words.check && words.track.is_some() {
        return Err(keyword.fault(format!(
            "{place} : unable to enable checks and tracking at the same time!"
        )));
    }
    if words.observe && !words.check {
        context.diagnostics.push(
            Severity::Diag,
            &keyword.position,
            format!("{place} : 'observe' has no effect without 'check'."),
        );
    }
    let tls = tls(settings, place, keyword, context);
    let header = settings.send_proxy.header();
    Ok(words.health(tls, settings.tls.ssl, header))
}

/// How checks speak TLS, where they may: as the line says of streams, but for names and protocols.
fn tls(
    settings: &ServerSettings,
    place: &str,
    keyword: &Word,
    context: &mut Context<'_>,
) -> Option<Arc<ServerTls>> {
    let check = &settings.check;
    if !check.check {
        return None;
    }
    let mut words = settings.tls.clone();
    words.ssl = true;
    words.reuse = false;
    words.sni = check.sni.clone().map(SniExpression::Literal);
    words.common.alpn.clone_from(&check.alpn);
    // What is wrong with the words is said once: where streams use them, it is said of those. And
    // a script may yet turn out not to speak TLS.
    let said = std::mem::take(&mut context.diagnostics);
    let tls = server_tls::finish(words, place, keyword, context);
    if settings.tls.ssl || check.ssl != Some(true) {
        context.diagnostics = said;
    } else {
        let new = std::mem::replace(&mut context.diagnostics, said);
        for each in new.into_vec() {
            context
                .diagnostics
                .push(each.severity, &each.position, each.message);
        }
    }
    tls
}
