//! Why a connection ended, layer by layer.

use std::fmt;
use std::io::{self, ErrorKind};

/// The steps that a connection may owe before its data, as logs name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Handler {
    /// Finds out whether a monitor connected.
    MonitorIn,
    /// Answers in the place of a stream.
    Health,
    /// Sends the last words of a connection.
    SendLastChunk,
    /// Waits for a PROXY header.
    AcceptProxy,
    /// Applies the rules of the TCP level.
    TcpRules,
    /// The TLS handshake, on either side.
    Ssl,
    /// Makes a stream of the connection.
    AcceptSession,
    /// Waits for a request for a connection.
    AcceptRemote,
    /// Asks an agent for a connection.
    Remote,
    /// Sends a PROXY header.
    SendProxy,
}

impl Handler {
    /// Its name in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MonitorIn => "monitor_in",
            Self::Health => "health",
            Self::SendLastChunk => "send_last_chunk",
            Self::AcceptProxy => "accept_proxy",
            Self::TcpRules => "tcp_rules",
            Self::Ssl => "ssl_hs",
            Self::AcceptSession => "accept_session",
            Self::AcceptRemote => "accept_remote",
            Self::Remote => "remote",
            Self::SendProxy => "send_proxy",
        }
    }
}

/// Where something ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layer {
    /// The socket.
    Socket,
    /// How the connection is established and shut.
    Ctrl,
    /// How its bytes are coded.
    Data,
    /// A step owed before data.
    Handshake(Handler),
    /// Above the connection: the stream decided.
    Stream,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Socket => "socket",
            Self::Ctrl => "ctrl",
            Self::Data => "data",
            Self::Handshake(handler) => handler.name(),
            Self::Stream => "stream",
        })
    }
}

/// A few words that say what was wrong with what the peer sent. Boxed twice, so that a reason is
/// two words long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail(Box<Box<str>>);

impl Detail {
    /// The words.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Detail {
    fn from(text: &str) -> Self {
        Self(Box::new(text.into()))
    }
}

impl From<String> for Detail {
    fn from(text: String) -> Self {
        Self(Box::new(text.into()))
    }
}

/// Why something ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The peer ended in order: a FIN, or `close_notify`.
    PeerClosed,
    /// The peer reset the connection, or was found to be gone when something was written.
    PeerReset,
    /// It took too long.
    Timeout,
    /// Nobody accepts at the address.
    Refused,
    /// No way leads to the address.
    Unreachable,
    /// The stream ended without TLS's `close_notify`: something may be missing.
    Truncated,
    /// TLS: the peer sent this fatal alert.
    Alert(u8),
    /// TLS: the peer broke the protocol.
    Protocol(Detail),
    /// TLS: the peer's certificate was refused.
    Certificate(Detail),
    /// The PROXY header was refused.
    BadHeader(Detail),
    /// A request for a connection was not understood, by us or by an agent.
    BadRequest(Detail),
    /// A connection was asked for that the agent does not make.
    NotAllowed(Detail),
    /// What else an agent says of why it made no connection.
    Agent(Detail),
    /// Both directions ended in order, by our doing.
    Closed,
    /// We stopped reading, and the peer then took everything that it was sent.
    Drained,
    /// We stopped reading, and the peer sent more than we were ready to throw away.
    DrainLimit,
    /// A decision of ours, in a word or two. Written `Local(&"word")`: a reference to a reference
    /// is one word long.
    Local(&'static &'static str),
    /// The kernel's error number.
    Os(i32),
    /// An error that has no number.
    Io(ErrorKind),
}

impl From<&io::Error> for Reason {
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::UnexpectedEof => Self::PeerClosed,
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
                Self::PeerReset
            }
            ErrorKind::TimedOut => Self::Timeout,
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
                Self::Unreachable
            }
            kind => error.raw_os_error().map_or(Self::Io(kind), Self::Os),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerClosed => f.write_str("peer-closed"),
            Self::PeerReset => f.write_str("peer-reset"),
            Self::Timeout => f.write_str("timeout"),
            Self::Refused => f.write_str("refused"),
            Self::Unreachable => f.write_str("unreachable"),
            Self::Truncated => f.write_str("truncated"),
            Self::Alert(number) => write!(f, "alert-{number}"),
            Self::Protocol(detail) => write!(f, "protocol({})", OneWord(detail.as_str())),
            Self::Certificate(detail) => write!(f, "certificate({})", OneWord(detail.as_str())),
            Self::BadHeader(detail) => write!(f, "bad-header({})", OneWord(detail.as_str())),
            Self::BadRequest(detail) => write!(f, "bad-request({})", OneWord(detail.as_str())),
            Self::NotAllowed(detail) => write!(f, "not-allowed({})", OneWord(detail.as_str())),
            Self::Agent(detail) => write!(f, "agent({})", OneWord(detail.as_str())),
            Self::Closed => f.write_str("closed"),
            Self::Drained => f.write_str("drained"),
            Self::DrainLimit => f.write_str("drain-limit"),
            Self::Local(word) => write!(f, "{}", OneWord(word)),
            Self::Os(number) => write!(f, "errno-{number}"),
            Self::Io(kind) => write!(f, "io({})", OneWord(&kind.to_string())),
        }
    }
}

/// Text as one field of a log line: a peer may have chosen some of it.
struct OneWord<'a>(&'a str);

impl fmt::Display for OneWord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for c in self.0.chars() {
            let plain = c.is_ascii_graphic() && c != ',';
            f.write_char(if plain { c } else { '_' })?;
        }
        Ok(())
    }
}

/// One entry of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Where.
    pub layer: Layer,
    /// Why.
    pub reason: Reason,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.layer, self.reason)
    }
}

/// Entries that a history keeps.
const KEPT: usize = 4;

/// What ended in a connection, in the order in which it did. The first entries are kept, since
/// what comes later is mostly their consequence; of the others there is a count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndHistory {
    kept: [Option<End>; KEPT],
    dropped: u16,
}

impl EndHistory {
    /// Nothing has ended.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            kept: [const { None }; KEPT],
            dropped: 0,
        }
    }

    /// Adds an entry. One that is there already is not repeated.
    pub fn push(&mut self, layer: Layer, reason: impl Into<Reason>) {
        let end = End {
            layer,
            reason: reason.into(),
        };
        if self.iter().any(|known| *known == end) {
            return;
        }
        match self.kept.iter_mut().find(|slot| slot.is_none()) {
            Some(free) => *free = Some(end),
            None => self.dropped = self.dropped.saturating_add(1),
        }
    }

    /// The entries that were kept, the first one first.
    pub fn iter(&self) -> impl Iterator<Item = &End> {
        self.kept.iter().flatten()
    }

    /// What ended first: the cause of the rest.
    #[must_use]
    pub fn first(&self) -> Option<&End> {
        self.kept[0].as_ref()
    }

    /// Whether nothing has ended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first().is_none()
    }
}

/// `data:truncated,socket:peer-closed`; `+2` at the end where two more were dropped; `-` where
/// nothing has ended. Without blanks, for logs.
impl fmt::Display for EndHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        for (index, end) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{end}")?;
        }
        if self.dropped > 0 {
            write!(f, ",+{}", self.dropped)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_reads_as_one_word() {
        let mut history = EndHistory::new();
        assert_eq!(history.to_string(), "-");
        history.push(Layer::Data, Reason::Truncated);
        history.push(Layer::Socket, Reason::PeerClosed);
        assert_eq!(history.to_string(), "data:truncated,socket:peer-closed");
        history.push(
            Layer::Handshake(Handler::AcceptProxy),
            Reason::BadHeader("port, over\n65535 \u{e9}".into()),
        );
        assert_eq!(
            history.to_string(),
            "data:truncated,socket:peer-closed,accept_proxy:bad-header(port__over_65535__)"
        );
        assert_eq!(history.first().unwrap().reason, Reason::Truncated);
    }

    #[test]
    fn a_history_is_bounded_keeps_the_first_and_does_not_repeat() {
        let mut history = EndHistory::new();
        for number in [1, 2, 2, 3, 1, 4, 5, 6] {
            history.push(Layer::Data, Reason::Alert(number));
        }
        assert_eq!(
            history.to_string(),
            "data:alert-1,data:alert-2,data:alert-3,data:alert-4,+2"
        );
        assert_eq!(history.iter().count(), KEPT);
    }

    #[test]
    fn errors_become_reasons() {
        let os = io::Error::from_raw_os_error;
        let cases = [
            (os(libc::ECONNRESET), Reason::PeerReset),
            (os(libc::EPIPE), Reason::PeerReset),
            (os(libc::ECONNABORTED), Reason::PeerReset),
            (os(libc::ETIMEDOUT), Reason::Timeout),
            (os(libc::ECONNREFUSED), Reason::Refused),
            (os(libc::EHOSTUNREACH), Reason::Unreachable),
            (os(libc::ENETUNREACH), Reason::Unreachable),
            (os(libc::EMFILE), Reason::Os(libc::EMFILE)),
            (ErrorKind::UnexpectedEof.into(), Reason::PeerClosed),
            (
                ErrorKind::InvalidData.into(),
                Reason::Io(ErrorKind::InvalidData),
            ),
        ];
        for (error, reason) in cases {
            assert_eq!(Reason::from(&error), reason, "{error}");
        }
        assert_eq!(Reason::Os(libc::EMFILE).to_string(), "errno-24");
        assert_eq!(
            Reason::Io(ErrorKind::InvalidData).to_string(),
            "io(invalid_data)"
        );
        assert_eq!(Reason::Local(&"no stream").to_string(), "no_stream");
    }

    #[test]
    fn there_is_one_per_connection_so_it_is_small() {
        assert!(size_of::<End>() <= 24, "{}", size_of::<End>());
        assert!(
            size_of::<EndHistory>() <= 104,
            "{}",
            size_of::<EndHistory>()
        );
    }
}
