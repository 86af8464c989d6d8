//! What a check can find: HAProxy's statuses, their codes and descriptions.

use std::time::Duration;

/// The outcome of a check, or of a part of one. The numbers are HAProxy's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Status {
    /// Nothing is known.
    Unknown = 0,
    /// No check has ended yet.
    #[default]
    Initializing = 1,
    /// One is under way.
    Started = 2,
    /// An agent answered, and said nothing of whether the server serves.
    Unchanged = 3,
    /// Too many streams failed.
    Observed = 4,
    /// The socket failed.
    SocketError = 5,
    /// Connected.
    L4Ok = 6,
    /// Not connected in time.
    L4Timeout = 7,
    /// Refused, or no way there.
    L4Error = 8,
    /// TLS is established.
    L6Ok = 9,
    /// TLS was not established in time.
    L6Timeout = 10,
    /// What came is no TLS, or not as it should be.
    L6Invalid = 11,
    /// No answer in time.
    L7Timeout = 12,
    /// What came is no answer.
    L7Invalid = 13,
    /// The answer is good.
    L7Ok = 15,
    /// The answer is good, and the server wants no new streams.
    L7Conditional = 16,
    /// The answer is an error.
    L7Wrong = 17,
}

/// What a status comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing yet.
    Unknown = 0,
    /// Nothing changes.
    Neutral = 1,
    /// The check failed.
    Failed = 2,
    /// It passed.
    Passed = 3,
    /// It passed, and the server wants no new streams.
    PassedWith = 4,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 17] = [
        Self::Unknown,
        Self::Initializing,
        Self::Started,
        Self::Unchanged,
        Self::Observed,
        Self::SocketError,
        Self::L4Ok,
        Self::L4Timeout,
        Self::L4Error,
        Self::L6Ok,
        Self::L6Timeout,
        Self::L6Invalid,
        Self::L7Timeout,
        Self::L7Invalid,
        Self::L7Ok,
        Self::L7Conditional,
        Self::L7Wrong,
    ];

    /// Its short name, as statistics and configurations have it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unknown => "UNK",
            Self::Initializing => "INI",
            Self::Started => "START",
            Self::Unchanged => "CHECKED",
            Self::Observed => "HANA",
            Self::SocketError => "SOCKERR",
            Self::L4Ok => "L4OK",
            Self::L4Timeout => "L4TOUT",
            Self::L4Error => "L4CON",
            Self::L6Ok => "L6OK",
            Self::L6Timeout => "L6TOUT",
            Self::L6Invalid => "L6RSP",
            Self::L7Timeout => "L7TOUT",
            Self::L7Invalid => "L7RSP",
            Self::L7Ok => "L7OK",
            Self::L7Conditional => "L7OKC",
            Self::L7Wrong => "L7STS",
        }
    }

    /// Its description, as log lines have it.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::Initializing => "Initializing",
            Self::Started => "Check started",
            Self::Unchanged => "No status change",
            Self::Observed => "Health analyze",
            Self::SocketError => "Socket error",
            Self::L4Ok => "Layer4 check passed",
            Self::L4Timeout => "Layer4 timeout",
            Self::L4Error => "Layer4 connection problem",
            Self::L6Ok => "Layer6 check passed",
            Self::L6Timeout => "Layer6 timeout",
            Self::L6Invalid => "Layer6 invalid response",
            Self::L7Timeout => "Layer7 timeout",
            Self::L7Invalid => "Layer7 invalid response",
            Self::L7Ok => "Layer7 check passed",
            Self::L7Conditional => "Layer7 check conditionally passed",
            Self::L7Wrong => "Layer7 wrong status",
        }
    }

    /// What it comes to.
    #[must_use]
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Unknown | Self::Initializing | Self::Started => Outcome::Unknown,
            Self::Unchanged => Outcome::Neutral,
            Self::L4Ok | Self::L6Ok | Self::L7Ok => Outcome::Passed,
            Self::L7Conditional => Outcome::PassedWith,
            Self::Observed
            | Self::SocketError
            | Self::L4Timeout
            | Self::L4Error
            | Self::L6Timeout
            | Self::L6Invalid
            | Self::L7Timeout
            | Self::L7Invalid
            | Self::L7Wrong => Outcome::Failed,
        }
    }

    /// Whether an answer was understood, so that it has a code of its own.
    #[must_use]
    pub const fn has_code(self) -> bool {
        matches!(self, Self::L7Ok | Self::L7Conditional | Self::L7Wrong)
    }

    /// The status of this short name.
    #[must_use]
    pub fn by_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code() == code)
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// The status.
    pub status: Status,
    /// What the answer's own code was; 0: it has none.
    pub code: u32,
    /// More about it; may be empty.
    pub info: String,
    /// How long it took; `None`: there is no such time.
    pub duration: Option<Duration>,
}

impl Verdict {
    /// Only a status.
    #[must_use]
    pub fn new(status: Status) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    /// A status, and more about it.
    #[must_use]
    pub fn with(status: Status, info: impl Into<String>) -> Self {
        Self {
            info: info.into(),
            ..Self::new(status)
        }
    }
}
