//! TLS on `bind` lines.

use std::path::PathBuf;
use std::sync::Arc;

use super::super::diagnostic::Fault;
use super::super::draft::tls::BindTlsWords;
use super::super::effect;
use super::super::lexer::Word;
use super::super::model::tls::{BindTls, CertificateSource, ClientVerify};
use super::{Context, tls};

/// Reads a parameter about TLS; false where it is none.
pub(crate) fn parameter(
    name: &Word,
    value: &Word,
    words: &mut BindTlsWords,
    context: &mut Context<'_>,
) -> Result<bool, Fault> {
    let position = || value.position.clone();
    match name.as_str() {
        "ssl" => {
            words.ssl = true;
            return Ok(true);
        }
        "crt" => {
            let path = tls::under(context.tls.crt_base.as_deref(), &value.text);
            let source = CertificateSource::Path(path, position());
            words.certificates.push(source);
        }
        // As in HAProxy, `crt-base` is for the files that the list names, not for the list.
        "crt-list" => {
            let source = CertificateSource::List(PathBuf::from(&value.text), position());
            words.certificates.push(source);
        }
        "ca-file" => words.ca_file = Some(authorities(name, value, context)?),
        "ca-verify-file" => words.ca_verify_file = Some(authorities(name, value, context)?),
        "verify" => words.verify = verify(value)?,
        "strict-sni" => words.strict_sni = true,
        "tls-ticket-keys" => words.ticket_keys = Some(PathBuf::from(&value.text)),
        "prefer-client-ciphers" => words.prefer_client_ciphers = true,
        "curves" => words.common.curves = tls::curves(name, value, context)?,
        "ecdhe" => words.ecdhe = tls::curves(name, value, context)?,
        _ => {
            if !tls::parameter(name, value, &mut words.common, context)? {
                return Ok(false);
            }
        }
    }
    words.first.get_or_insert_with(|| name.clone());
    Ok(true)
}

fn authorities(name: &Word, value: &Word, context: &Context<'_>) -> Result<(Word, PathBuf), Fault> {
    // The system's authorities sign for anybody: who is let in by them is not known to the user.
    if value.text.starts_with('@') {
        return Err(value.fault(format!(
            "'{}' : '{}' is not available on 'bind' lines; name a file with the authorities of your clients",
            name.text, value.text
        )));
    }
    let path = tls::under(context.tls.ca_base.as_deref(), &value.text);
    Ok((name.clone(), path))
}

fn verify(value: &Word) -> Result<ClientVerify, Fault> {
    match value.as_str() {
        "none" => Ok(ClientVerify::None),
        "optional" => Ok(ClientVerify::Optional),
        "required" => Ok(ClientVerify::Required),
        other => Err(value.fault(format!(
            "'verify' : unknown verify method '{other}', only 'none', 'optional', and 'required' are supported"
        ))),
    }
}

/// What the words of a line amount to; `address` is what the line binds to.
pub(crate) fn finish(
    words: BindTlsWords,
    address: &Word,
    context: &mut Context<'_>,
) -> Option<Arc<BindTls>> {
    if !words.ssl {
        if let Some(word) = &words.first {
            context.diagnostics.warning(
                &word.position,
                format!("'{}' has no effect without 'ssl'.", word.text),
            );
        }
        return None;
    }
    let place = format!("'bind {}'", address.text);
    if words.certificates.is_empty() {
        let message = format!("{place} : no SSL certificate specified (use 'crt')");
        if words.strict_sni {
            context.diagnostics.warning(
                &address.position,
                format!("{message}; with 'strict-sni' every handshake fails."),
            );
        } else {
            context
                .diagnostics
                .alert(&address.position, format!("{message}."));
        }
    }
    let ca_file = authority(&words, &place, address, context);
    let mut common = words.common;
    let defaults = context.tls.bind.clone();
    if common.curves.is_empty() && defaults.curves.is_empty() {
        common.curves = words.ecdhe;
    }
    let tickets = !common.no_tickets && !defaults.no_tickets;
    Some(Arc::new(BindTls {
        certificates: words.certificates,
        ca_file,
        verify: words.verify,
        crt_base: context.tls.crt_base.clone(),
        ca_base: context.tls.ca_base.clone(),
        strict_sni: words.strict_sni,
        tickets,
        ticket_keys: words.ticket_keys,
        prefer_client_ciphers: words.prefer_client_ciphers || context.tls.prefer_client_ciphers,
        parameters: tls::complete(common, &defaults, &place, &address.position, context),
    }))
}

/// Which authorities count, and whether they can.
fn authority(
    words: &BindTlsWords,
    place: &str,
    address: &Word,
    context: &mut Context<'_>,
) -> Option<PathBuf> {
    let path = match (&words.ca_verify_file, &words.ca_file) {
        (Some((_, path)), given) => {
            if let Some((word, _)) = given {
                let why = "'ca-verify-file' is used, and its names are what clients are told";
                effect::none(word, why, &mut context.diagnostics);
            }
            Some(path.clone())
        }
        (None, Some((_, path))) => Some(path.clone()),
        (None, None) => None,
    };
    // A line of a list may say `verify` and leave the authorities to the `bind` line.
    let listed = words
        .certificates
        .iter()
        .any(|source| matches!(source, CertificateSource::List(..)));
    match (words.verify, &path) {
        (ClientVerify::None, Some(_)) if !listed => {
            let given = words.ca_verify_file.as_ref().or(words.ca_file.as_ref());
            if let Some((word, _)) = given {
                context.diagnostics.warning(
                    &word.position,
                    format!(
                        "'{}' has no effect without 'verify optional' or 'verify required'.",
                        word.text
                    ),
                );
            }
        }
        (ClientVerify::Optional | ClientVerify::Required, None) => context.diagnostics.alert(
            &address.position,
            format!("{place} : verify is enabled but no CA file specified."),
        ),
        _ => {}
    }
    path
}
