//! What is wrong with a configuration, and where.

use std::fmt;

use super::model::Position;

/// How bad a [`Diagnostic`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Shown only in diagnostic mode (`-dD`).
    Diag,
    /// For information.
    Notice,
    /// The configuration loads, but likely does not do what was meant.
    Warning,
    /// The configuration does not load.
    Alert,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Diag => "DIAG",
            Self::Notice => "NOTICE",
            Self::Warning => "WARNING",
            Self::Alert => "ALERT",
        })
    }
}

/// One remark about a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The word, or the line, that it is about.
    pub position: Position,
    /// What to tell the user, without the position.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = format!("[{}]", self.severity);
        write!(
            f,
            "{label:<10} config : parsing [{}] : {}",
            self.position, self.message
        )
    }
}

/// A reason to refuse a line, before it is known who reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The word that is wrong.
    pub position: Position,
    /// Why.
    pub message: String,
}

impl Fault {
    /// A fault at `position`.
    pub fn new(position: &Position, message: impl Into<String>) -> Self {
        Self {
            position: position.clone(),
            message: message.into(),
        }
    }
}

/// Collects diagnostics, so that one run shows every error of the files.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Adds a remark.
    pub fn push(&mut self, severity: Severity, position: &Position, message: impl Into<String>) {
        self.list.push(Diagnostic {
            severity,
            position: position.clone(),
            message: message.into(),
        });
    }

    /// Adds an error.
    pub fn alert(&mut self, position: &Position, message: impl Into<String>) {
        self.push(Severity::Alert, position, message);
    }

    /// Adds a warning.
    pub fn warning(&mut self, position: &Position, message: impl Into<String>) {
        self.push(Severity::Warning, position, message);
    }

    /// Adds a fault as an error.
    pub fn fault(&mut self, fault: Fault) {
        self.list.push(Diagnostic {
            severity: Severity::Alert,
            position: fault.position,
            message: fault.message,
        });
    }

    /// Whether any error is present.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|d| d.severity == Severity::Alert)
    }

    /// The remarks: those of each severity keep the order in which they were found.
    pub fn into_vec(self) -> Vec<Diagnostic> {
        self.list
    }
}
