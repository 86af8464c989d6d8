//! The words about TLS that `bind` and `server` lines and `global` share.

use std::path::{Path, PathBuf};

use super::super::diagnostic::Fault;
use super::super::draft::tls::TlsWords;
use super::super::lexer::Word;
use super::super::model::tls::TlsParameters;
use super::super::tls::versions::Version;
use super::super::tls::{Choice, alpn, ciphers, groups};
use super::{Context, Position};

/// Reads a parameter that both kinds of lines have; false where it is none of them.
pub(crate) fn parameter(
    name: &Word,
    value: &Word,
    words: &mut TlsWords,
    context: &mut Context<'_>,
) -> Result<bool, Fault> {
    match name.as_str() {
        "alpn" => {
            words.alpn = alpn::read(&value.text)
                .map_err(|why| value.fault(format!("'{}' : {why}", name.text)))?;
        }
        "ciphers" => words.ciphers = cipher_string(name, value, context)?,
        "ciphersuites" => words.ciphersuites = cipher_suites(name, value, context)?,
        _ => return option(name, value, words),
    }
    Ok(true)
}

/// Reads a parameter that the `options` lines of `global` have too; false where it is none.
pub(crate) fn option(name: &Word, value: &Word, words: &mut TlsWords) -> Result<bool, Fault> {
    let text = name.as_str();
    match text {
        "no-tls-tickets" => words.no_tickets = true,
        "ssl-min-ver" => words.versions.min = Some(version(name, value)?),
        "ssl-max-ver" => words.versions.max = Some(version(name, value)?),
        _ => {
            let suffix = |prefix| text.strip_prefix(prefix).and_then(Version::from_suffix);
            if let Some(version) = suffix("no-") {
                words.versions.disable(version);
            } else if let Some(version) = suffix("force-") {
                words.versions.force(version);
            } else {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn version(name: &Word, value: &Word) -> Result<Version, Fault> {
    Version::from_value(&value.text).ok_or_else(|| {
        value.fault(format!(
            "'{}' : unknown ssl/tls version '{}'; expected TLSv1.2 or TLSv1.3",
            name.text, value.text
        ))
    })
}

/// `ciphers` and the defaults for it.
pub(crate) fn cipher_string(
    name: &Word,
    value: &Word,
    context: &mut Context<'_>,
) -> Result<Vec<String>, Fault> {
    chosen(name, value, ciphers::tls12(&value.text), context)
}

/// `ciphersuites` and the defaults for it.
pub(crate) fn cipher_suites(
    name: &Word,
    value: &Word,
    context: &mut Context<'_>,
) -> Result<Vec<String>, Fault> {
    chosen(name, value, ciphers::tls13(&value.text), context)
}

/// `curves`, `ecdhe` and the defaults for them.
pub(crate) fn curves(
    name: &Word,
    value: &Word,
    context: &mut Context<'_>,
) -> Result<Vec<String>, Fault> {
    chosen(name, value, groups::read(&value.text), context)
}

/// Takes what there is of a wish, and says what there is not.
fn chosen(
    name: &Word,
    value: &Word,
    choice: Result<Choice, String>,
    context: &mut Context<'_>,
) -> Result<Vec<String>, Fault> {
    let choice = choice.map_err(|why| value.fault(format!("'{}' : {why}", name.text)))?;
    if !choice.missing.is_empty() {
        context.diagnostics.warning(
            &value.position,
            format!(
                "'{}' : not available in this version and left out: {}.",
                name.text,
                choice.missing.join(", ")
            ),
        );
    }
    Ok(choice.chosen)
}

/// `path`, from `base` on where it is relative.
pub(crate) fn under(base: Option<&Path>, path: &str) -> PathBuf {
    match base {
        Some(base) => base.join(path),
        None => PathBuf::from(path),
    }
}

/// What the words of a line ask for, completed by `global`. `place` is what messages call the line.
pub(crate) fn complete(
    words: TlsWords,
    defaults: &TlsWords,
    place: &str,
    position: &Position,
    context: &mut Context<'_>,
) -> TlsParameters {
    let or = |own: Vec<String>, default: &Vec<String>| {
        if own.is_empty() { default.clone() } else { own }
    };
    let range = match words.versions.or(defaults.versions).range() {
        Ok(range) => range,
        Err(why) => {
            context
                .diagnostics
                .alert(position, format!("{place} : {why}."));
            Default::default()
        }
    };
    for why in range.warnings {
        context
            .diagnostics
            .warning(position, format!("{place} : {why}."));
    }
    TlsParameters {
        min: range.min,
        max: range.max,
        ciphers: or(words.ciphers, &defaults.ciphers),
        ciphersuites: or(words.ciphersuites, &defaults.ciphersuites),
        curves: or(words.curves, &defaults.curves),
        alpn: words.alpn,
    }
}
