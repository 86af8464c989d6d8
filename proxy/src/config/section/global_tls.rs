//! What `global` says of TLS.

use std::path::PathBuf;

use super::super::diagnostic::Fault;
use super::super::effect;
use super::super::keywords;
use super::super::model::Global;
use super::super::units;
use super::{Args, Context, bind, server_tls, tls};

/// Largest session cache: more entries than any machine has memory for are a mistake.
const MAX_SESSIONS: usize = 1 << 26;

/// Smallest `tune.ssl.default-dh-param`, bits.
const MIN_DH_BITS: u32 = 1024;

/// Reads a line about TLS; false where it is about something else.
pub(crate) fn line(
    args: Args<'_>,
    global: &mut Global,
    context: &mut Context<'_>,
) -> Result<bool, Fault> {
    let keyword = args.keyword();
    match keyword.as_str() {
        "crt-base" | "ca-base" => base(args, context)?,
        "ssl-server-verify" => {
            let word = args.first("'none' or 'required' as argument")?;
            context.tls.trust_servers = match word.as_str() {
                "none" => true,
                "required" => false,
                other => {
                    return Err(word.fault(format!(
                        "'ssl-server-verify' expects 'none' or 'required' as argument (got '{other}')."
                    )));
                }
            };
        }
        "ssl-default-bind-ciphers" => {
            let value = args.first("a cipher suite as an argument")?;
            context.tls.bind.ciphers = tls::cipher_string(keyword, value, context)?;
        }
        "ssl-default-bind-ciphersuites" => {
            let value = args.first("a cipher suite as an argument")?;
            context.tls.bind.ciphersuites = tls::cipher_suites(keyword, value, context)?;
        }
        "ssl-default-bind-curves" => {
            let value = args.first("a curves suite as an argument")?;
            context.tls.bind.curves = tls::curves(keyword, value, context)?;
        }
        "ssl-default-server-ciphers" => {
            let value = args.first("a cipher suite as an argument")?;
            context.tls.server.ciphers = tls::cipher_string(keyword, value, context)?;
        }
        "ssl-default-server-ciphersuites" => {
            let value = args.first("a cipher suite as an argument")?;
            context.tls.server.ciphersuites = tls::cipher_suites(keyword, value, context)?;
        }
        "ssl-default-bind-options" | "ssl-default-server-options" => {
            options(args, context)?;
            return Ok(true);
        }
        _ => return tuning(args, global, context),
    }
    args.at_most(1)?;
    Ok(true)
}

fn base(args: Args<'_>, context: &mut Context<'_>) -> Result<(), Fault> {
    let keyword = args.keyword();
    let word = args.first("a directory path as an argument")?;
    let slot = if keyword.text == "crt-base" {
        &mut context.tls.crt_base
    } else {
        &mut context.tls.ca_base
    };
    if slot.is_some() {
        return Err(keyword.fault(format!("'{}' already specified.", keyword.text)));
    }
    *slot = Some(PathBuf::from(&word.text));
    Ok(())
}

/// `ssl-default-bind-options` and `ssl-default-server-options`: they add up.
fn options(args: Args<'_>, context: &mut Context<'_>) -> Result<(), Fault> {
    args.first("an option as an argument")?;
    let for_binds = args.keyword().text == "ssl-default-bind-options";
    let scope = if for_binds {
        &keywords::BIND_OPTIONS
    } else {
        &keywords::SERVER_OPTIONS
    };
    bind::parameters(args.from(1), scope, context, |name, value, context| {
        match name.as_str() {
            "prefer-client-ciphers" if for_binds => {
                context.tls.prefer_client_ciphers = true;
                return Ok(());
            }
            "no-tls-tickets" if !for_binds => {
                server_tls::no_tickets(name, context);
                return Ok(());
            }
            _ => {}
        }
        let words = if for_binds {
            &mut context.tls.bind
        } else {
            &mut context.tls.server
        };
        if tls::option(name, value, words)? {
            Ok(())
        } else {
            Err(scope.refuse(name))
        }
    });
    Ok(())
}

/// `tune.ssl.*` and the parameters of a key exchange that this build does not have.
fn tuning(args: Args<'_>, global: &mut Global, context: &mut Context<'_>) -> Result<bool, Fault> {
    let keyword = args.keyword();
    let name = keyword.as_str();
    const NO_DHE: &str = "there is no DHE key exchange, only ECDHE";
    match name {
        "tune.ssl.cachesize" => {
            let word = args.first("a positive numeric value")?;
            global.tls_session_cache = units::integer(name, word, 0..=MAX_SESSIONS)?;
        }
        "tune.ssl.lifetime" => {
            let word = args.first("ssl sessions <lifetime> in seconds as argument")?;
            units::time_of(name, word)?;
            let why = "sessions may be resumed for 6 to 12 hours";
            effect::none(keyword, why, &mut context.diagnostics);
        }
        "tune.ssl.maxrecord" => {
            let word = args.first("a positive numeric value")?;
            units::integer(name, word, 0..=i32::MAX)?;
            let why = "records are as large as what there is to send";
            effect::none(keyword, why, &mut context.diagnostics);
        }
        "tune.ssl.default-dh-param" => {
            let word = args.first("an integer argument")?;
            units::integer(name, word, MIN_DH_BITS..=u32::from(u16::MAX))?;
            effect::none(keyword, NO_DHE, &mut context.diagnostics);
        }
        "ssl-dh-param-file" => {
            args.first("a file path as an argument")?;
            effect::none(keyword, NO_DHE, &mut context.diagnostics);
        }
        _ => return Ok(false),
    }
    args.at_most(1)?;
    Ok(true)
}
