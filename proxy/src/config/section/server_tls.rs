//! TLS and PROXY headers on `server` and `default-server` lines.

use std::sync::Arc;

use super::super::diagnostic::Fault;
use super::super::draft::ServerSettings;
use super::super::draft::tls::{SendProxyWords, ServerTlsWords};
use super::super::effect;
use super::super::lexer::Word;
use super::super::model::remote::RemoteTls;
use super::super::model::tls::{Authorities, ProxyOptions, ServerTls, SniExpression};
use super::super::tls::versions::Version;
use super::{Context, tls};

/// Reads a parameter about TLS or PROXY headers; false where it is none.
pub(crate) fn parameter(
    name: &Word,
    value: &Word,
    settings: &mut ServerSettings,
    context: &mut Context<'_>,
) -> Result<bool, Fault> {
    if send_proxy(name, value, &mut settings.send_proxy)? {
        return Ok(true);
    }
    let words = &mut settings.tls;
    match name.as_str() {
        "ssl" => words.ssl = true,
        "no-ssl" => words.ssl = false,
        "verify" => {
            // A wrong value is one mistake: that authorities are missing is not said as well.
            words.verify = Some(false);
            words.verify = Some(verify(value)?);
        }
        "verifyhost" => words.verify_host = Some(Arc::from(value.as_str())),
        "no-verifyhost" => words.verify_host = None,
        "ca-file" => words.ca_file = Some(authorities(value, context)?),
        "crt" => {
            let path = tls::under(context.tls.crt_base.as_deref(), &value.text);
            words.certificate = Some(path);
        }
        "sni" => words.sni = Some(sni(value)?),
        "ssl-reuse" => words.reuse = true,
        "no-ssl-reuse" => words.reuse = false,
        "tls-tickets" => {}
        "no-tls-tickets" => no_tickets(name, context),
        _ => return tls::parameter(name, value, &mut words.common, context),
    }
    Ok(true)
}

/// `no-sslv3` and its like.
pub(crate) fn is_version(name: &Word) -> bool {
    let version = name.text.strip_prefix("no-");
    version.is_some_and(|version| Version::from_suffix(version).is_some())
}

/// Whether a word that needs TLS is one that an agent can be told.
pub(crate) fn is_for_agents(name: &Word) -> bool {
    matches!(name.as_str(), "verify" | "sni")
}

/// Whether a word that [`parameter`] took means nothing without `ssl`.
pub(crate) fn needs_ssl(name: &Word) -> bool {
    let plain = ["ssl", "no-ssl", "proxy-v2-options"];
    !plain.contains(&name.as_str()) && !name.text.contains("send-proxy")
}

/// `no-tls-tickets` of servers, wherever it stands.
pub(crate) fn no_tickets(name: &Word, context: &mut Context<'_>) {
    let why = "sessions with servers are resumed by whatever the server offers; 'no-ssl-reuse' turns that off";
    effect::none(name, why, &mut context.diagnostics);
}

/// Reads `verify` and `sni` for the agent that does the TLS. Whether the server is verified is
/// settled once all of `global` is known.
pub(crate) fn remote(words: &ServerTlsWords) -> RemoteTls {
    RemoteTls {
        verify: words.verify.unwrap_or(true),
        sni: words.sni.clone(),
    }
}

fn verify(value: &Word) -> Result<bool, Fault> {
    match value.as_str() {
        "none" => Ok(false),
        "required" => Ok(true),
        other => Err(value.fault(format!(
            "'verify' : unknown verify method '{other}', only 'none' and 'required' are supported"
        ))),
    }
}

pub(crate) fn authorities(value: &Word, context: &Context<'_>) -> Result<Authorities, Fault> {
    match value.as_str() {
        "@system-ca" => Ok(Authorities::System),
        other if other.starts_with('@') => Err(value.fault(format!(
            "'ca-file' : unknown source '{other}'; expected a file or '@system-ca'"
        ))),
        path => Ok(Authorities::File(tls::under(
            context.tls.ca_base.as_deref(),
            path,
        ))),
    }
}

/// Reads the expression that says which name to send.
fn sni(value: &Word) -> Result<SniExpression, Fault> {
    let text = value.as_str();
    let (fetch, argument) = match text.split_once('(') {
        Some((fetch, rest)) => (fetch, rest.strip_suffix(')')),
        None => (text, Some("")),
    };
    match (fetch, argument) {
        ("ssl_fc_sni", Some("")) => return Ok(SniExpression::ClientSni),
        ("fc_pp_authority", Some("")) => return Ok(SniExpression::ProxyAuthority),
        ("str", Some("")) => return Err(value.fault("'sni' : 'str' expects a name, 'str(name)'")),
        ("str", Some(name)) if !name.contains([')', '(', ',']) => {
            return Ok(SniExpression::Literal(Arc::from(unquoted(name))));
        }
        _ => {}
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let hint = if text.contains('.') && text.chars().all(plain) {
        format!("; a fixed name is written 'str({text})'")
    } else {
        String::new()
    };
    Err(value.fault(format!(
        "'sni' : the expression '{text}' is not available in this version; there is 'str(name)', 'ssl_fc_sni' and 'fc_pp_authority'{hint}"
    )))
}

/// An argument of an expression may stand in quotes of its own.
fn unquoted(text: &str) -> &str {
    let within = |quote| {
        text.strip_prefix(quote)
            .and_then(|text: &str| text.strip_suffix(quote))
    };
    within('\'').or_else(|| within('"')).unwrap_or(text)
}

/// Reads a parameter about PROXY headers; false where it is none.
fn send_proxy(name: &Word, value: &Word, words: &mut SendProxyWords) -> Result<bool, Fault> {
    let with_name = ProxyOptions::SSL | ProxyOptions::CERT_CN;
    match name.as_str() {
        "send-proxy" => words.v1 = true,
        "no-send-proxy" => words.v1 = false,
        "send-proxy-v2" => words.v2 = true,
        "no-send-proxy-v2" => words.v2 = false,
        "send-proxy-v2-ssl" => {
            words.v2 = true;
            words.options |= ProxyOptions::SSL;
        }
        "no-send-proxy-v2-ssl" => {
            words.v2 = false;
            words.options -= ProxyOptions::SSL;
        }
        "send-proxy-v2-ssl-cn" => {
            words.v2 = true;
            words.options |= with_name;
        }
        "no-send-proxy-v2-ssl-cn" => {
            words.v2 = false;
            words.options -= with_name;
        }
        "proxy-v2-options" => words.options |= proxy_options(value)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn proxy_options(value: &Word) -> Result<ProxyOptions, Fault> {
    let mut options = ProxyOptions::empty();
    for word in value.text.split(',') {
        options |= match word {
            "ssl" => ProxyOptions::SSL,
            "cert-cn" => ProxyOptions::SSL | ProxyOptions::CERT_CN,
            "ssl-cipher" => ProxyOptions::SSL | ProxyOptions::SSL_CIPHER,
            "cert-sig" => ProxyOptions::SSL | ProxyOptions::CERT_SIG,
            "cert-key" => ProxyOptions::SSL | ProxyOptions::CERT_KEY,
            "authority" => ProxyOptions::AUTHORITY,
            "crc32c" => ProxyOptions::CRC32C,
            "unique-id" => ProxyOptions::UNIQUE_ID,
            other => {
                return Err(value.fault(format!(
                    "'proxy-v2-options' : unknown option '{other}'; expected 'ssl', 'cert-cn', 'ssl-cipher', 'cert-sig', 'cert-key', 'authority', 'crc32c' or 'unique-id'"
                )));
            }
        };
    }
    Ok(options)
}

/// What the words of a line amount to; `keyword` starts it. Whether the server is verified is
/// settled once all of `global` is known.
pub(crate) fn finish(
    words: ServerTlsWords,
    place: &str,
    keyword: &Word,
    context: &mut Context<'_>,
) -> Option<Arc<ServerTls>> {
    if !words.ssl {
        return None;
    }
    let defaults = context.tls.server.clone();
    Some(Arc::new(ServerTls {
        verify: words.verify.unwrap_or(true),
        ca_file: words.ca_file,
        verify_host: words.verify_host,
        sni: words.sni,
        certificate: words.certificate,
        reuse: words.reuse,
        position: keyword.position.clone(),
        parameters: tls::complete(words.common, &defaults, place, &keyword.position, context),
    }))
}
