//! What is accepted so that a working file runs, and has no effect in this version: each is said,
//! once, at its place.

use super::diagnostic::Diagnostics;
use super::lexer::Word;
use super::model::{Backend, Config, Frontend};

/// Warns that a word that was just read has no effect; `why` ends the sentence.
pub(crate) fn none(word: &Word, why: &str, diagnostics: &mut Diagnostics) {
    diagnostics.warning(
        &word.position,
        format!("'{}' has no effect in this version: {why}.", word.text),
    );
}

/// Warns about everything in `config` that nothing acts on.
pub(crate) fn warn(config: &Config, diagnostics: &mut Diagnostics) {
    for frontend in &config.frontends {
        front(frontend, diagnostics);
    }
    for backend in &config.backends {
        back(backend, diagnostics);
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

fn back(backend: &Backend, diagnostics: &mut Diagnostics) {
    if backend.timeouts.check.is_some() {
        diagnostics.warning(
            &backend.position,
            format!(
                "'timeout check' of '{}' has no effect in this version: there are no health checks yet.",
                backend.name
            ),
        );
    }
}
