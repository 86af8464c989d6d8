//! `option` lines about health checks.

use std::sync::Arc;

use super::super::diagnostic::Fault;
use super::super::draft::Proxy;
use super::super::draft::check::CheckKind;
use super::super::keywords;
use super::super::lexer::Word;
use super::Args;
use crate::backend::health::script::protocols;

/// Whether HAProxy cannot negate an option about checks.
pub(crate) fn is_fixed(name: &str) -> bool {
    matches!(
        name,
        "ldap-check"
            | "mysql-check"
            | "pgsql-check"
            | "redis-check"
            | "smtpchk"
            | "ssl-hello-chk"
            | "tcp-check"
    )
}

/// Reads an option about checks. Returns how many arguments it has.
pub(crate) fn line(option: &Word, args: Args<'_>, proxy: &mut Proxy) -> Result<usize, Fault> {
    let mut arguments = 0;
    let script = match option.as_str() {
        "tcp-check" => {
            proxy.settings.check.kind = CheckKind::Steps;
            return Ok(0);
        }
        "ldap-check" => protocols::ldap(),
        "redis-check" => protocols::redis(),
        "ssl-hello-chk" => protocols::ssl_hello(),
        "smtpchk" => {
            arguments = 2;
            // Like HAProxy, whatever is no greeting with a name is taken for the usual one.
            match (args.get(2), args.get(3)) {
                (Some(verb), Some(name)) if matches!(verb.as_str(), "HELO" | "EHLO") => {
                    protocols::smtp(&format!("{} {}", verb.text, name.text))
                }
                _ => protocols::smtp("HELO localhost"),
            }
        }
        "pgsql-check" => {
            arguments = 2;
            match (args.get(2), args.get(3)) {
                (Some(word), Some(user)) if word.text == "user" && !user.text.is_empty() => {
                    protocols::postgresql(&user.text)
                }
                _ => {
                    return Err(
                        option.fault("'option pgsql-check' expects 'user <username>' as argument.")
                    );
                }
            }
        }
        "mysql-check" => mysql(option, args, &mut arguments)?,
        _ => return Err(keywords::OPTION.refuse(option)),
    };
    proxy.settings.check.kind = CheckKind::Protocol(Arc::new(script));
    Ok(arguments)
}

fn mysql(
    option: &Word,
    args: Args<'_>,
    arguments: &mut usize,
) -> Result<crate::config::model::check::Script, Fault> {
    let Some(word) = args.get(2) else {
        return Ok(protocols::mysql(None, false));
    };
    if word.text != "user" {
        return Err(word.fault(format!(
            "'option mysql-check' only supports optional values: 'user' (got '{}').",
            word.text
        )));
    }
    let Some(user) = args.get(3).filter(|user| !user.text.is_empty()) else {
        return Err(option.fault("'option mysql-check user' expects <username> as argument."));
    };
    *arguments = 2;
    let before_41 = match args.get(4).map(Word::as_str) {
        None => false,
        Some("post-41") => false,
        Some("pre-41") => true,
        Some(other) => {
            return Err(option.fault(format!(
                "keyword 'user' only supports 'post-41' and 'pre-41' (got '{other}')."
            )));
        }
    };
    *arguments += usize::from(args.get(4).is_some());
    Ok(protocols::mysql(Some(&user.text), before_41))
}
