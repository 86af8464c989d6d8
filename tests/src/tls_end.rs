//! How a stream over TLS ended for its receiver, with the endings told apart.

use std::fmt;
use std::io::{self, ErrorKind};

use crate::pattern::Mismatch;

/// How a stream over TLS ended for its receiver.
#[derive(Debug)]
pub enum TlsEnd {
    /// close_notify.
    Closed,
    /// A FIN, and no close_notify before it.
    Truncated,
    /// A reset.
    Reset,
    /// The bytes that were asked for came; the stream is still open.
    Enough,
    /// Bytes that are not those sent.
    Corrupt(Mismatch),
    /// Nothing for as long as a peer waits.
    Silence,
    /// TLS failed: an alert, a bad record.
    Tls(rustls::Error),
    /// Any other failure.
    Failed(io::Error),
}

impl PartialEq for TlsEnd {
    fn eq(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl From<io::Error> for TlsEnd {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Self::Reset,
            _ => Self::Failed(error),
        }
    }
}

impl TlsEnd {
    /// Whether the stream's end cannot be taken for an orderly one.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        matches!(self, Self::Reset | Self::Truncated | Self::Tls(_))
    }

    /// The alert, when that was the end.
    #[must_use]
    pub fn alert(&self) -> Option<rustls::AlertDescription> {
        match self {
            Self::Tls(rustls::Error::AlertReceived(alert)) => Some(*alert),
            _ => None,
        }
    }
}

/// What a receiver got.
#[derive(Debug)]
pub struct TlsReceived {
    /// Bytes, all of them right.
    pub bytes: u64,
    /// What came after them.
    pub end: TlsEnd,
}

impl fmt::Display for TlsReceived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.end {
            TlsEnd::Corrupt(what) => {
                write!(f, "{} right bytes, then corruption {what}", self.bytes)
            }
            end => write!(f, "{} bytes, then {end:?}", self.bytes),
        }
    }
}
