//! What an agent answers: whether the connection is there, and if not, why.

use std::net::SocketAddr;

use super::fields::{Reader, put_counted, put_endpoint};
use super::{Progress, Refusal, frame, message};

const SIGNATURE: [u8; 4] = *b"\0RTA";

/// An IPv6 address, a text.
const MAX_BODY: usize = (1 + 16 + 2) + (1 + 255);

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// What follows the answer is the target's, and what follows the request goes to it.
    Connected,
    /// Nobody accepts at the target.
    Refused,
    /// No way leads to the target.
    Unreachable,
    /// The target did not answer in time.
    Timeout,
    /// The agent does not go there.
    NotAllowed,
    /// The agent did not understand.
    BadRequest,
    /// The TLS handshake with the target failed.
    TlsFailed,
    /// Anything else.
    Failed,
}

impl Status {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Connected,
        Self::Refused,
        Self::Unreachable,
        Self::Timeout,
        Self::NotAllowed,
        Self::BadRequest,
        Self::TlsFailed,
        Self::Failed,
    ];

    fn read(number: u8) -> Result<Self, Refusal> {
        Self::ALL
            .get(usize::from(number))
            .copied()
            .ok_or(Refusal::Status(number))
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What became of the request.
    pub status: Status,
    /// The agent's own address on the connection to the target, where there is one.
    pub local: Option<SocketAddr>,
    /// Why, for logs: printable ASCII.
    pub reason: String,
}

impl Answer {
    /// Its bytes. What is not printable in the reason becomes `_`, and what is too long is cut.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        put_endpoint(self.local, &mut body);
        let plain = |c: char| u8::try_from(c).ok().filter(|byte| is_printable(*byte));
        let reason: Vec<u8> = self
            .reason
            .chars()
            .map(|c| plain(c).unwrap_or(b'_'))
            .collect();
        put_counted(&reason, &mut body);
        message(SIGNATURE, self.status as u8, &body)
    }

    /// Reads the answer at the beginning of `bytes`, which is everything received so far. More bytes
    /// never change a refusal or a complete answer.
    ///
    /// # Errors
    /// Why it is none, as soon as that is certain.
    pub fn read(bytes: &[u8]) -> Result<Progress<Self>, Refusal> {
        let check = |status| Status::read(status).map(drop);
        let frame = match frame(bytes, SIGNATURE, MAX_BODY, check)? {
            Ok(frame) => frame,
            Err(at_least) => return Ok(Progress::Partial { at_least }),
        };
        let mut fields = Reader(frame.body);
        let local = fields.endpoint("local address")?;
        let reason = fields.counted("reason")?;
        fields.end()?;
        if !reason.iter().copied().all(is_printable) {
            return Err(Refusal::Text {
                field: "reason",
                why: "is not printable",
            });
        }
        let message = Self {
            status: Status::read(frame.word)?,
            local,
            reason: String::from_utf8_lossy(reason).into_owned(),
        };
        let length = super::HEAD + frame.body.len();
        Ok(Progress::Complete { message, length })
    }
}

fn is_printable(byte: u8) -> bool {
    byte.is_ascii_graphic() || byte == b' '
}
