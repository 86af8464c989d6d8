//! `log` lines of `global` and of proxies.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::super::address::{self, Address, Port};
use super::super::diagnostic::Fault;
use super::super::draft::{LogLine, Proxy};
use super::super::keywords::nearest;
use super::super::lexer::Word;
use super::super::model::{Global, LogAddress, LogFormat, LogFraming, LogSample, LogTarget};
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

/// `<address> [len <n>] [format <f>] [sample <s>] [log-proto <p>] <facility> [<level> [<minlevel>]]`
fn target(args: Args<'_>, context: &mut Context<'_>) -> Result<LogTarget, Fault> {
    let missing = || {
        args.keyword()
            .fault("log : expects <address> and <facility> as arguments")
    };
    let mut address = address(args.get(1).ok_or_else(missing)?, context)?;
    let mut max_len = DEFAULT_LEN;
    let mut format = None;
    let mut sample = None;
    let mut at = 2;
    loop {
        let word = args.get(at).ok_or_else(missing)?;
        let value = args.get(at + 1);
        match (word.as_str(), value) {
            ("len", Some(value)) => max_len = units::integer("log len", value, 80..=u16::MAX)?,
            ("format", Some(value)) => format = Some(self::format(value)?),
            ("sample", Some(value)) => sample = Some(Arc::new(self::sample(value)?)),
            ("log-proto", Some(value)) => framing(word, value, &mut address)?,
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
    context.logs += 1;
    Ok(LogTarget {
        id: context.logs - 1,
        address,
        facility: index(&FACILITIES, facility, "log facility")?,
        max_level: level.map_or(Ok(DEBUG), |word| index(&LEVELS, word, "optional log level"))?,
        min_level: floor.map_or(Ok(0), |word| {
            index(&LEVELS, word, "optional minimum log level")
        })?,
        max_len,
        format,
        sample,
        tag: None,
    })
}

fn index(names: &[&str], word: &Word, what: &str) -> Result<u8, Fault> {
    names
        .iter()
        .position(|name| *name == word.text)
        .and_then(|at| u8::try_from(at).ok())
        .ok_or_else(|| {
            word.fault(format!(
                "log : unknown {what} '{}'{}",
                word.text,
                hint(names, word)
            ))
        })
}

fn hint(names: &[&str], word: &Word) -> String {
    nearest(word.as_str(), names.iter().copied())
        .map(|near| format!("; did you mean '{near}' maybe ?"))
        .unwrap_or_default()
}

const FORMATS: [(&str, LogFormat); 8] = [
    ("iso", LogFormat::Iso),
    ("local", LogFormat::Local),
    ("priority", LogFormat::Priority),
    ("raw", LogFormat::Raw),
    ("rfc3164", LogFormat::Rfc3164),
    ("rfc5424", LogFormat::Rfc5424),
    ("short", LogFormat::Short),
    ("timed", LogFormat::Timed),
];

fn format(word: &Word) -> Result<LogFormat, Fault> {
    let known = FORMATS.iter().find(|(name, _)| *name == word.text);
    known.map(|(_, format)| *format).ok_or_else(|| {
        let names = FORMATS.map(|(name, _)| name);
        word.fault(format!(
            "log : unknown log format '{}'{}",
            word.text,
            hint(&names, word)
        ))
    })
}

/// `<range>[,<range>...]:<size>`
fn sample(word: &Word) -> Result<LogSample, Fault> {
    let fault = |why: String| word.fault(format!("log : {why}"));
    let Some((list, size)) = word.text.split_once(':') else {
        return Err(fault(format!("missing sample size in '{}'", word.text)));
    };
    let number = |text: &str| text.parse::<u32>().ok().filter(|&number| number > 0);
    let mut ranges: Vec<RangeInclusive<u32>> = Vec::new();
    for text in list.split(',') {
        let range = match text.split_once('-') {
            Some((low, high)) => number(low).zip(number(high)),
            None => number(text).map(|one| (one, one)),
        };
        let (low, high) = range
            .filter(|(low, high)| low <= high)
            .ok_or_else(|| fault(format!("wrong sample range '{text}'")))?;
        ranges.push(low..=high);
    }
    ranges.sort_by_key(|range| *range.start());
    if let Some(pair) = ranges
        .windows(2)
        .find(|pair| pair[1].start() <= pair[0].end())
    {
        return Err(fault(format!(
            "sample ranges overlap at {} in '{list}'",
            pair[1].start()
        )));
    }
    let size = number(size).ok_or_else(|| {
        fault(format!(
            "wrong sample size '{size}' for sample range '{list}'"
        ))
    })?;
    let last = ranges.last().map_or(0, |range| *range.end());
    if size < last {
        return Err(fault(format!(
            "sample size {size} should be greater or equal to {last}, the end of the last range"
        )));
    }
    Ok(LogSample { ranges, size })
}

/// Says how one line is told from the next on a connection.
fn framing(word: &Word, value: &Word, address: &mut LogAddress) -> Result<(), Fault> {
    let (LogAddress::Tcp(_, framing) | LogAddress::UnixStream(_, framing)) = address else {
        return Err(word.fault("log : 'log-proto' is for 'tcp@' and 'uxst@' addresses"));
    };
    *framing = match value.as_str() {
        "legacy" => LogFraming::LineFeed,
        "octet-count" => LogFraming::OctetCount,
        other => {
            return Err(value.fault(format!(
                "log : 'log-proto' expects 'legacy' or 'octet-count' (got '{other}')"
            )));
        }
    };
    Ok(())
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
    let framing = LogFraming::default();
    let (address, is_stream) = address::log(&word.text, context.lookups).map_err(fault)?;
    match address {
        Address::Unix(path) if is_stream => Ok(LogAddress::UnixStream(path, framing)),
        Address::Unix(path) => Ok(LogAddress::Unix(path)),
        Address::Fd(fd) => Ok(LogAddress::Fd(fd)),
        Address::Abstract(_) if is_stream => Err(fault(format!(
            "a stream to an abstract socket is not available in this version: '{}'",
            word.text
        ))),
        Address::Abstract(name) => Ok(LogAddress::Abstract(name)),
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
            let address = SocketAddr::new(ip, port);
            Ok(if is_stream {
                LogAddress::Tcp(address, framing)
            } else {
                LogAddress::Udp(address)
            })
        }
    }
}
