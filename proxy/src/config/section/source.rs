//! `source` of a proxy or a server.

use std::net::SocketAddr;

use super::super::address;
use super::super::diagnostic::Fault;
use super::super::lexer::Word;
use super::Context;

/// Words that may follow the address in HAProxy.
const SUFFIXES: [&str; 2] = ["usesrc", "interface"];

/// Reads the address after `source`.
pub(crate) fn address(word: &Word, context: &Context<'_>) -> Result<SocketAddr, Fault> {
    address::socket(&word.text, context.lookups)
        .map_err(|why| word.fault(format!("'source' : {why}")))
}

/// Refuses what may follow the address and is not here.
pub(crate) fn suffix(word: &Word) -> Option<Fault> {
    SUFFIXES.contains(&word.as_str()).then(|| {
        word.fault(format!(
            "'{}' after 'source' is known to HAProxy but not available in this version.",
            word.text
        ))
    })
}
