//! The `global` section. It may repeat: later lines add to or replace earlier ones.

use std::path::PathBuf;

use super::super::address::{self, Address, Port};
use super::super::diagnostic::Fault;
use super::super::keywords;
use super::super::lexer::Word;
use super::super::model::{
    BindAddress, Global, GuardMode, GuardSetting, PinDirectory, StatsLevel, StatsSocket,
};
use super::super::units;
use super::{Args, Context, Modifier, bind, global_tls, log};
use crate::sys::process;

/// More threads than any machine has cores; a larger number is a mistake.
const MAX_THREADS: usize = 1024;

/// Smallest `tune.bufsize`: less than this makes every transfer crawl.
const MIN_BUFSIZE: u64 = 1024;

/// Most clients of the runtime API at once: each may hold an answer in memory.
const MAX_STATS_CLIENTS: usize = 10_000;

/// Largest `tune.bufsize` and `tune.pipesize`.
const MAX_BUFSIZE: u64 = 1 << 30;

/// Reads one line of a `global` section.
pub(crate) fn line(
    args: Args<'_>,
    modifier: Modifier,
    global: &mut Global,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let keyword = args.keyword();
    match keyword.as_str() {
        "nbthread" => {
            let word = args.first("a number of threads")?;
            global.nbthread = Some(units::integer("nbthread", word, 1..=MAX_THREADS)?);
            args.at_most(1)
        }
        "maxconn" => {
            let word = args.first("an integer argument")?;
            let value = units::integer("maxconn", word, 0..=i32::MAX as usize)?;
            global.maxconn = (value > 0).then_some(value);
            args.at_most(1)
        }
        "ulimit-n" => {
            let word = args.first("an integer argument")?;
            global.ulimit_n = Some(units::integer("ulimit-n", word, 1..=u64::from(u32::MAX))?);
            args.at_most(1)
        }
        "log" => log::global(args, modifier, global, context),
        "log-send-hostname" => {
            let given = args.get(1).filter(|word| !word.text.is_empty());
            let name = given.map_or_else(process::hostname, |word| word.text.clone());
            global.log_send_hostname = Some(name);
            args.at_most(1)
        }
        "log-tag" => {
            global.log_tag = Some(args.first("a tag for use in syslog")?.text.clone());
            args.at_most(1)
        }
        "stats" => stats(args, global, context),
        "pidfile" => {
            global.pidfile = Some(PathBuf::from(
                &args.first("a file name as an argument")?.text,
            ));
            args.at_most(1)
        }
        "daemon" => {
            global.daemon = true;
            args.at_most(0)
        }
        "node" => node(args, global),
        "description" => {
            args.first("a string argument")?;
            global.description = Some(args.text());
            Ok(())
        }
        "spread-checks" => {
            let word = args.first("a percentage from 0 to 50")?;
            global.spread_checks = units::integer("spread-checks", word, 0..=50)?;
            args.at_most(1)
        }
        "max-spread-checks" => {
            let word = args.first("<time> as argument")?;
            let time = units::time_of("max-spread-checks", word)?.duration;
            global.max_spread_checks = (!time.is_zero()).then_some(time);
            args.at_most(1)
        }
        "hard-stop-after" | "grace" => {
            let word = args.first("<time> as argument")?;
            let time = units::time_of(&keyword.text, word)?.duration;
            if keyword.text == "grace" {
                global.grace = Some(time);
            } else {
                global.hard_stop_after = Some(time);
            }
            args.at_most(1)
        }
        "user" | "uid" | "group" | "gid" => identity(args, global, context),
        "chroot" => {
            let word = args.first("a directory as an argument")?;
            args.at_most(1)?;
            if global.chroot.is_some() {
                again("chroot", keyword, context);
            } else {
                global.chroot = Some(PathBuf::from(&word.text));
            }
            Ok(())
        }
        "tune.bufsize" | "tune.pipesize" => {
            let word = args.first("a size in bytes")?;
            let name = keyword.as_str();
            let size = units::size_of(name, word)?;
            if !(MIN_BUFSIZE..=MAX_BUFSIZE).contains(&size) {
                return Err(word.fault(format!(
                    "'{name}' expects a size between {MIN_BUFSIZE} and {MAX_BUFSIZE} bytes (got '{}')",
                    word.text
                )));
            }
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            if name == "tune.bufsize" {
                global.bufsize = size;
            } else {
                global.pipesize = Some(size);
            }
            args.at_most(1)
        }
        "offload-pins" => {
            let word = args.first("a directory of a BPF file system, or 'off'")?;
            global.pins = match word.text.as_str() {
                "off" => PinDirectory::Off,
                text if text.starts_with('/') => PinDirectory::At(PathBuf::from(text)),
                text => {
                    return Err(word.fault(format!(
                        "'offload-pins' expects an absolute path, or 'off', got '{text}'"
                    )));
                }
            };
            args.at_most(1)
        }
        "tune.offload.cap" => {
            let word = args.first("a size in bytes")?;
            let size = units::size_of("tune.offload.cap", word)?;
            if size == 0 {
                return Err(word.fault(
                    "'tune.offload.cap' expects a size above 0; use 'offload off' to keep flows out of the kernel",
                ));
            }
            global.offload_cap = size;
            args.at_most(1)
        }
        "tune.offload.flows" => {
            let word = args.first("a number of flows")?;
            global.offload_flows = Some(units::integer("tune.offload.flows", word, 1..=1 << 24)?);
            args.at_most(1)
        }
        "guard" => guard(args, global),
        "setenv" | "presetenv" | "unsetenv" | "resetenv" => environment(args, context),
        _ if global_tls::line(args, global, context)? => Ok(()),
        _ => Err(keywords::GLOBAL.refuse_in(
            keyword,
            keywords::GLOBAL.place,
            keywords::SECTIONS.ours,
        )),
    }
}

fn node(args: Args<'_>, global: &mut Global) -> Result<(), Fault> {
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let word = args.first("a node name")?;
    if !word.text.chars().all(valid) {
        return Err(word.fault(
            "'node' requires a name made of digits, letters, dots, hyphens and underscores.",
        ));
    }
    global.node = Some(word.text.clone());
    args.at_most(1)
}

fn identity(args: Args<'_>, global: &mut Global, context: &mut Context<'_>) -> Result<(), Fault> {
    let keyword = args.keyword();
    let name = keyword.as_str();
    let is_user = matches!(name, "user" | "uid");
    let slot = if is_user {
        &mut global.uid
    } else {
        &mut global.gid
    };
    let word = args.first("one argument")?;
    let number = bind::identity(name, word, context)?;
    args.at_most(1)?;
    if slot.is_some() {
        let pair = if is_user { "user/uid" } else { "group/gid" };
        again(pair, keyword, context);
    } else {
        *slot = Some(number);
    }
    Ok(())
}

/// As in HAProxy the first one counts, so that a section put after another changes no rights.
fn again(name: &str, keyword: &Word, context: &mut Context<'_>) {
    context.diagnostics.warning(
        &keyword.position,
        format!("'{name}' already specified; the first one counts."),
    );
}

fn environment(args: Args<'_>, context: &mut Context<'_>) -> Result<(), Fault> {
    let keyword = args.keyword();
    match keyword.as_str() {
        "setenv" | "presetenv" => {
            let name = args.first("<name> and <value> as arguments")?;
            let value = args
                .get(2)
                .ok_or_else(|| keyword.fault(format!("'{}' expects a value.", keyword.text)))?;
            let keep = keyword.text == "presetenv" && context.environment.contains_key(&name.text);
            if !keep {
                context
                    .environment
                    .insert(name.text.clone(), value.text.clone());
            }
            args.at_most(2)
        }
        "unsetenv" => {
            args.first("at least one name")?;
            for name in args.from(1) {
                context.environment.remove(&name.text);
            }
            Ok(())
        }
        _ => {
            // The named variables go back to what the process was started with, the others go.
            let kept = |name: &str| args.from(1).iter().any(|word| word.text == name);
            let initial = context.initial_environment;
            context.environment = initial
                .iter()
                .filter(|(name, _)| kept(name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            Ok(())
        }
    }
}

fn stats(args: Args<'_>, global: &mut Global, context: &mut Context<'_>) -> Result<(), Fault> {
    let keyword = args.keyword();
    let sub = args.first("'socket', 'timeout' or 'maxconn'")?;
    match sub.as_str() {
        "socket" => {
            let socket = stats_socket(args, context)?;
            global.stats_sockets.push(socket);
            Ok(())
        }
        "timeout" => {
            let word = args.get(2).ok_or_else(|| {
                keyword.fault("'stats timeout' expects a timeout value in milliseconds")
            })?;
            global.stats_timeout = Some(units::time_of("stats timeout", word)?.duration);
            args.at_most(2)
        }
        "maxconn" => {
            let word = args
                .get(2)
                .ok_or_else(|| keyword.fault("'stats maxconn' expects a number of clients"))?;
            global.stats_maxconn = units::integer("stats maxconn", word, 1..=MAX_STATS_CLIENTS)?;
            args.at_most(2)
        }
        "bind-process" => {
            Err(sub.fault("'stats bind-process' was removed from HAProxy and is not supported."))
        }
        other => Err(sub.fault(format!(
            "'stats' only supports 'socket', 'timeout' and 'maxconn' in 'global' section (got '{other}')"
        ))),
    }
}

fn stats_socket(args: Args<'_>, context: &mut Context<'_>) -> Result<StatsSocket, Fault> {
    let keyword = args.keyword();
    let word = args.get(2).ok_or_else(|| {
        keyword
            .fault("'stats socket' in global section expects an address or a path to a UNIX socket")
    })?;
    // A name without colon or slash is a path, as it always was here.
    let text = if word.text.contains([':', '/', '@']) {
        word.text.clone()
    } else {
        format!("unix@{}", word.text)
    };
    let fault = |why: String| word.fault(format!("'stats socket' : {why}"));
    let address = match address::stream(&text, context.lookups).map_err(fault)? {
        Address::Unix(path) => BindAddress::Unix(path),
        Address::Abstract(name) => BindAddress::Abstract(name),
        Address::Fd(fd) => BindAddress::Fd(fd),
        Address::Inet {
            ip,
            port: Port::One(port),
        } if port > 0 => BindAddress::Inet((ip, port).into()),
        Address::Inet { .. } => {
            return Err(fault(format!("one port is expected in '{text}'")));
        }
    };
    let mut socket = StatsSocket {
        address,
        level: StatsLevel::Operator,
        mode: None,
        uid: None,
        gid: None,
        position: keyword.position.clone(),
    };
    bind::parameters(
        args.from(3),
        &keywords::STATS_SOCKET,
        context,
        |name, value, context| {
            match name.as_str() {
                "level" => socket.level = level(value)?,
                "mode" => socket.mode = Some(bind::file_mode(value)?),
                "uid" | "user" => {
                    socket.uid = Some(bind::identity(&name.text, value, context)?);
                }
                "gid" | "group" => {
                    socket.gid = Some(bind::identity(&name.text, value, context)?);
                }
                // A name serves statistics only.
                _ => {}
            }
            Ok(())
        },
    );
    Ok(socket)
}

fn level(word: &Word) -> Result<StatsLevel, Fault> {
    match word.as_str() {
        "user" => Ok(StatsLevel::User),
        "operator" => Ok(StatsLevel::Operator),
        "admin" => Ok(StatsLevel::Admin),
        other => Err(word.fault(format!(
            "'level' only supports 'user', 'operator', and 'admin' (got '{other}')"
        ))),
    }
}

/// Reads `guard xdp <interface> [native|generic]`; several lines guard several interfaces.
fn guard(args: Args<'_>, global: &mut Global) -> Result<(), Fault> {
    let how = args.first("'xdp'")?;
    if how.text != "xdp" {
        return Err(how.fault(format!("'guard' expects 'xdp' (got '{}').", how.text)));
    }
    let Some(interface) = args.get(2) else {
        return Err(how.fault("'guard xdp' expects the name of an interface."));
    };
    if interface.text == "lo" {
        return Err(interface.fault(
            "'guard xdp' cannot guard the loopback: what comes from this host itself is not to be guarded against.",
        ));
    }
    if global
        .guards
        .iter()
        .any(|guard| guard.interface == interface.text)
    {
        return Err(interface.fault(format!("'{}' is guarded already.", interface.text)));
    }
    let mode = match args.get(3).map(Word::as_str) {
        None => None,
        Some("native") => Some(GuardMode::Native),
        Some("generic") => Some(GuardMode::Generic),
        Some(other) => {
            let word = args.get(3).unwrap_or(interface);
            return Err(word.fault(format!(
                "'guard xdp' expects 'native' or 'generic' after the interface (got '{other}')."
            )));
        }
    };
    args.at_most(3)?;
    global.guards.push(GuardSetting {
        interface: interface.text.clone(),
        mode,
        position: how.position.clone(),
    });
    Ok(())
}
