//! What the sections say of rules and stick tables, before names are resolved.

use std::time::Duration;

use super::super::lexer::Word;

/// A line that is compiled once every name of the configuration is known.
#[derive(Debug, Clone)]
pub(crate) struct RuleLine {
    pub(crate) kind: RuleKind,
    /// The keyword, or where the stage is a second word, that word.
    pub(crate) keyword: Word,
    /// What follows it.
    pub(crate) words: Vec<Word>,
    /// It stands in a `defaults`, whose ACLs are its own.
    pub(crate) inherited: bool,
}

/// What kind of line it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RuleKind {
    Acl,
    /// `tcp-request connection`
    Connection,
    /// `tcp-request session`
    Session,
    /// `tcp-request content`
    Request,
    /// `tcp-response content`
    Response,
    UseBackend,
    UseServer,
    Stick,
}

/// What a section says of rules.
#[derive(Debug, Clone, Default)]
pub(crate) struct RuleSettings {
    /// In the order of the file, those of the `defaults` first.
    pub(crate) lines: Vec<RuleLine>,
    /// `tcp-request inspect-delay`
    pub(crate) request_delay: Option<Duration>,
    /// `tcp-response inspect-delay`
    pub(crate) response_delay: Option<Duration>,
}
