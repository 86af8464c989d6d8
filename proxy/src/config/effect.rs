//! What is accepted so that a working file runs, and has no effect in this version: each is said,
//! once, at its place.

use super::diagnostic::Diagnostics;
use super::lexer::Word;

/// Warns that a word that was just read has no effect; `why` ends the sentence.
pub(crate) fn none(word: &Word, why: &str, diagnostics: &mut Diagnostics) {
    diagnostics.warning(
        &word.position,
        format!("'{}' has no effect in this version: {why}.", word.text),
    );
}
