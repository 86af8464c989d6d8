//! Host names on `server` and `default-server` lines.

use super::super::diagnostic::Fault;
use super::super::draft::ServerSettings;
use super::super::lexer::Word;
use super::Context;

/// Reads a parameter about names; false where it is none.
#[expect(clippy::unnecessary_wraps, reason = "its words can be wrong")]
pub(crate) fn parameter(
    _name: &Word,
    _value: &Word,
    _settings: &mut ServerSettings,
    _context: &mut Context<'_>,
) -> Result<bool, Fault> {
    Ok(false)
}
