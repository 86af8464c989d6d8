//! `log` lines of `global` and of proxies.

use std::net::SocketAddr;

use super::super::address::{self, Address, Port};
use super::super::diagnostic::Fault;
use super::super::draft::{LogLine, Proxy};
use super::super::lexer::Word;
use super::super::model::{Global, LogAddress, LogFormat, LogTarget};
use super::super::units;
use super::{Args, Context, Modifier};

/// Syslog's port.
const SYSLOG_PORT: u16 = 514;

/// HAProxy's default length of a log line.
const DEFAULT_LEN: u16 = 1024;

/// Least urgent level.
const DEBUG: u8 = 7;

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "auth2",
    "ftp", "ntp", "audit", "alert", "cron2", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

const LEVELS: [&str; 8] = [
    "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
];

/// The number of a log level, 0 (emerg) to 7 (debug).
pub(crate) fn level(name: &str) -> Option<u8> {
    let at = LEVELS.iter().position(|level| *level == name)?;
    u8::try_from(at).ok()
}

/// Reads a `log` line of a `global` section; `no log` drops the targets so far.
pub(crate) fn global(
    args: Args<'_>,
    modifier: Modifier,
    global: &mut Global,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    if modifier == Modifier::No {
        global.logs.clear();
        return no_log(args);
    }
    if let Some(word) = args.get(1).filter(|word| word.text == "global") {
        return Err(word.fault("log : 'global' is not supported for a global syslog server"));
    }
    global.logs.push(target(args, context)?);
    Ok(())
}

/// Reads a `log` line of a proxy; `no log` drops the targets so far, inherited ones too.
pub(crate) fn proxy(
    args: Args<'_>,
    modifier: Modifier,
    proxy: &mut Proxy,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let logs = &mut proxy.settings.logs;
    if modifier == Modifier::No {
        logs.clear();
        return no_log(args);
    }
    if args.get(1).is_some_and(|word| word.text == "global") {
        logs.push(LogLine::Global);
        return args.at_most(1);
    }
    logs.push(LogLine::Target(target(args, context)?));
    Ok(())
}

fn no_log(args: Args<'_>) -> Result<(), Fault> {
    match args.get(1) {
        None => Ok(()),
        Some(extra) => Err(extra.fault("log : 'no log' does not expect arguments")),
    }
}

/// `<address> [len <n>] [format <f>] <facility> [<level> [<minlevel>]]`
fn target(args: Args<'_>, context: &Context<'_>) -> Result<LogTarget, Fault> {
    let missing = || {
        args.keyword()
            .fault("log : expects <address> and <facility> as arguments")
    };
    let address = address(args.get(1).ok_or_else(missing)?, context)?;
    let mut max_len = DEFAULT_LEN;
    let mut format = LogFormat::default();
    let mut at = 2;
    loop {
        let word = args.get(at).ok_or_else(missing)?;
        let value = args.get(at + 1);
        match (word.as_str(), value) {
            ("len", Some(value)) => max_len = units::integer("log len", value, 80..=u16::MAX)?,
            ("format", Some(value)) => format = self::format(value)?,
            ("sample", Some(_)) => {
                return Err(word.fault(
                    "log : 'sample' is known to HAProxy but not available in this version.",
                ));
            }
            _ => break,
        }
        at += 2;
    }
    let facility = args.get(at).ok_or_else(missing)?;
    let level = args.get(at + 1);
    let floor = args.get(at + 2);
    if let Some(extra) = args.get(at + 3) {
        return Err(extra.fault(format!(
            "log : cannot handle unexpected argument '{}'",
            extra.text
        )));
    }
    Ok(LogTarget {
        address,
        facility: index(&FACILITIES, facility, "log facility")?,
        max_level: level.map_or(Ok(DEBUG), |word| index(&LEVELS, word, "optional log level"))?,
        min_level: floor.map_or(Ok(0), |word| {
            index(&LEVELS, word, "optional minimum log level")
        })?,
        max_len,
        format,
    })
}

fn index(names: &[&str], word: &Word, what: &str) -> Result<u8, Fault> {
    names
        .iter()
        .position(|name| *name == word.text)
        .and_then(|at| u8::try_from(at).ok())
        .ok_or_else(|| word.fault(format!("log : unknown {what} '{}'", word.text)))
}

fn format(word: &Word) -> Result<LogFormat, Fault> {
    match word.as_str() {
        "raw" => Ok(LogFormat::Raw),
        "short" => Ok(LogFormat::Short),
        "local" | "rfc3164" => Ok(LogFormat::Rfc3164),
        "rfc5424" => Ok(LogFormat::Rfc5424),
        "iso" | "priority" | "timed" => Err(word.fault(format!(
            "log : format '{}' is known to HAProxy but not available in this version.",
            word.text
        ))),
        other => Err(word.fault(format!("log : unknown log format '{other}'"))),
    }
}

fn address(word: &Word, context: &Context<'_>) -> Result<LogAddress, Fault> {
    match word.as_str() {
        "stdout" => return Ok(LogAddress::Stdout),
        "stderr" => return Ok(LogAddress::Stderr),
        text if text.starts_with("ring@") => {
            return Err(
                word.fault("log : 'ring@' is known to HAProxy but not available in this version.")
            );
        }
        _ => {}
    }
    let fault = |why: String| word.fault(format!("log : {why}"));
    match address::datagram(&word.text, context.lookups).map_err(fault)? {
        Address::Unix(path) => Ok(LogAddress::Unix(path)),
        Address::Fd(fd) => Ok(LogAddress::Fd(fd)),
        Address::Abstract(_) => Err(fault(format!(
            "the address family 'abns@' in '{}' is not available in this version",
            word.text
        ))),
        Address::Inet { ip, port } => {
            let port = match port {
                Port::Absent | Port::One(0) => SYSLOG_PORT,
                Port::One(port) => port,
                Port::Range(..) => {
                    return Err(fault(format!(
                        "port range not permitted here in '{}'",
                        word.text
                    )));
                }
                Port::Offset(_) => {
                    return Err(fault(format!(
                        "port offset not permitted here in '{}'",
                        word.text
                    )));
                }
            };
            Ok(LogAddress::Udp(SocketAddr::new(ip, port)))
        }
    }
}
