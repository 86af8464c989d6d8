//! What a daemon asks of an agent, and what the agent answers. No I/O.
//!
//! Both messages begin with eight bytes: a signature of four, the version, one byte of flags (of a
//! request) or the status (of an answer), and the length of what follows, two bytes, big endian as all
//! numbers are. A reader never has to take more than the message: [`Progress::Partial`] tells how much
//! there is at least.

mod answer;
mod fields;
mod request;

pub use answer::{Answer, Status};
pub use request::{Request, Target, Tls};

/// The version that this build speaks.
pub const VERSION: u8 = 1;

/// Bytes before what the length counts.
pub const HEAD: usize = 8;

/// How far a message has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress<T> {
    /// What has come may be the beginning of a message.
    Partial {
        /// The whole message is not shorter than this, in bytes, and this is more than has come.
        at_least: usize,
    },
    /// It is there.
    Complete {
        /// What it says.
        message: T,
        /// How many bytes it has.
        length: usize,
    },
}

/// Why bytes are no message that is understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Whoever sent this speaks something else.
    #[error("byte {at} is 0x{byte:02x}, which is not the signature")]
    Signature {
        /// Which byte, from 0.
        at: usize,
        /// What it is.
        byte: u8,
    },
    /// Another version of the protocol.
    #[error("version {0} is not spoken here")]
    Version(u8),
    /// Flags that this version does not have.
    #[error("flags 0x{0:02x} are unknown")]
    Flags(u8),
    /// Flags that need another one.
    #[error("flags 0x{0:02x} say how to do TLS, but not to do it")]
    FlagsWithoutTls(u8),
    /// A status that this version does not have.
    #[error("status {0} is unknown")]
    Status(u8),
    /// Longer than any message is.
    #[error("{length} bytes follow, and no message has more than {most}")]
    TooLong {
        /// What it claims.
        length: usize,
        /// What there may be.
        most: usize,
    },
    /// A field ends after the message.
    #[error("the message ends within its {0}")]
    Short(&'static str),
    /// Bytes after the last field.
    #[error("{0} bytes follow the last field")]
    Trailing(usize),
    /// An address of a kind that this version does not have.
    #[error("kind {kind} of {field} is unknown")]
    Kind {
        /// Of which field.
        field: &'static str,
        /// The kind.
        kind: u8,
    },
    /// A target that nothing can be at.
    #[error("nothing can be reached at {0}")]
    NoTarget(String),
    /// A text that may not be one.
    #[error("the {field} {why}")]
    Text {
        /// Which one.
        field: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl Refusal {
    /// Whether the sender may understand an answer in this protocol.
    #[must_use]
    pub const fn may_be_answered(&self) -> bool {
        !matches!(self, Self::Signature { .. })
    }
}

/// The head of a message, and its body once it is there as a whole.
struct Frame<'a> {
    /// Flags or status.
    word: u8,
    body: &'a [u8],
}

/// Looks for a message with this signature and a body of no more than `most` bytes. `check` judges
/// the byte of flags or status as soon as it is there.
fn frame<'a>(
    bytes: &'a [u8],
    signature: [u8; 4],
    most: usize,
    check: impl FnOnce(u8) -> Result<(), Refusal>,
) -> Result<Result<Frame<'a>, usize>, Refusal> {
    for (at, (&byte, want)) in bytes.iter().zip(signature).enumerate() {
        if byte != want {
            return Err(Refusal::Signature { at, byte });
        }
    }
    if let Some(&version) = bytes.get(4)
        && version != VERSION
    {
        return Err(Refusal::Version(version));
    }
    if let Some(&word) = bytes.get(5) {
        check(word)?;
    }
    let Some(head) = bytes.get(..HEAD) else {
        return Ok(Err(HEAD));
    };
    let length = usize::from(u16::from_be_bytes([head[6], head[7]]));
    if length > most {
        return Err(Refusal::TooLong { length, most });
    }
    match bytes.get(HEAD..HEAD + length) {
        None => Ok(Err(HEAD + length)),
        Some(body) => Ok(Ok(Frame {
            word: head[5],
            body,
        })),
    }
}

/// A whole message.
fn message(signature: [u8; 4], word: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + body.len());
    bytes.extend_from_slice(&signature);
    bytes.extend_from_slice(&[VERSION, word]);
    // Every body is made of bounded fields and far shorter than this can say.
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

#[cfg(test)]
mod tests;
