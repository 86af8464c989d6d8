//! What is accepted so that a working file runs, and has no effect in this version: each is said,
//! once, at its place.

use super::diagnostic::Diagnostics;
use super::lexer::Word;
use super::model::{Config, Frontend};

/// Warns that a word that was just read has no effect; `why` ends the sentence.
pub(crate) fn none(word: &Word, why: &str, diagnostics: &mut Diagnostics) {
    diagnostics.warning(
        &word.position,
        format!("'{}' has no effect in this version: {why}.", word.text),
    );
}

/// Warns about everything in `config` that nothing acts on.
pub(crate) fn warn(config: &Config, diagnostics: &mut Diagnostics) {
    for socket in &config.global.stats_sockets {
        diagnostics.warning(
            &socket.position,
            "'stats socket' has no effect in this version: there is no runtime API yet.",
        );
    }
    for frontend in &config.frontends {
        front(frontend, diagnostics);
    }
}

fn front(frontend: &Frontend, diagnostics: &mut Diagnostics) {
    if frontend.log.tag.is_some() {
        diagnostics.warning(
            &frontend.position,
            format!(
                "'log-tag' of '{}' has no effect in this version: the one of 'global' is used.",
                frontend.name
            ),
        );
    }
}
