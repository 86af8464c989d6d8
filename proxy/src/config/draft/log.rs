//! Formats of lines, as they are written.

use super::super::lexer::Word;

/// A line that sets a format.
#[derive(Debug, Clone)]
pub(crate) struct FormatLine {
    /// Its keyword.
    pub(crate) keyword: Word,
    /// The format.
    pub(crate) text: Word,
}

/// The formats that a proxy says or inherits.
#[derive(Debug, Clone, Default)]
pub(crate) struct FormatLines {
    /// `log-format`; `None` after `option tcplog`.
    pub(crate) stream: Option<FormatLine>,
    /// `error-log-format`.
    pub(crate) error: Option<FormatLine>,
    /// `log-format-sd`.
    pub(crate) structured: Option<FormatLine>,
    /// `unique-id-format`.
    pub(crate) unique_id: Option<FormatLine>,
}
