//! The daemon's line per stream, parsed.

use std::str::FromStr;

/// One stream as the daemon logged it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The client's address and port, or the word the log has for a client without one.
    pub client: String,
    /// The frontend's name.
    pub frontend: String,
    /// The backend's name.
    pub backend: String,
    /// The server's name, `<NOSRV>` when none was chosen.
    pub server: String,
    /// Bytes from server to client.
    pub down: u64,
    /// Bytes from client to server; `None` when the daemon is not ours.
    pub up: Option<u64>,
    /// The two termination letters.
    pub end: String,
    /// What moved the bytes of each direction: `[client to server, server to client]`.
    pub path: [String; 2],
    /// Bytes moved by the kernel in each direction.
    pub kernel: [u64; 2],
    /// Changes between kernel and user space in each direction.
    pub flips: [u64; 2],
    /// Why the flow was not on the path that was asked for; `-` when it was.
    pub why: String,
    /// What ended each side out of order, layer by layer (`client:data:truncated`, separated by commas); `-` when
    /// nothing did, `None` when the daemon does not say.
    pub history: Option<String>,
    /// The line itself.
    pub line: String,
}

impl Record {
    /// Parses a line of the TCP log format; `None` for any other line.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        // The reason may contain spaces; what follows it does not.
        let (head, history) = match line.trim_end().rsplit_once(" end=") {
            Some((head, history)) => (head, Some(history.to_owned())),
            None => (line, None),
        };
        let (head, why) = match head.split_once(" why=") {
            Some((head, why)) => (head, why.trim().trim_matches('"')),
            None => (head, "-"),
        };
        let mut words = head.split_whitespace();
        let client = words.next()?.to_owned();
        words
            .next()
            .filter(|date| date.starts_with('[') && date.ends_with(']'))?;
        let frontend = words.next()?.to_owned();
        let (backend, server) = words.next()?.split_once('/')?;
        words
            .next()
            .filter(|timers| timers.split('/').count() == 3)?;
        let down = words.next()?.trim_start_matches('+').parse().ok()?;
        let end = words.next().filter(|end| end.len() == 2)?.to_owned();
        words
            .next()
            .filter(|counts| counts.split('/').count() == 5)?;
        words
            .next()
            .filter(|queues| queues.split('/').count() == 2)?;

        let mut record = Self {
            client,
            frontend,
            backend: backend.to_owned(),
            server: server.to_owned(),
            down,
            up: None,
            end,
            path: [String::new(), String::new()],
            kernel: [0; 2],
            flips: [0; 2],
            why: why.to_owned(),
            history,
            line: line.to_owned(),
        };
        for word in words {
            match word.split_once('=')? {
                ("up", value) => record.up = Some(value.parse().ok()?),
                ("path", value) => record.path = pair(value)?,
                ("kernel", value) => record.kernel = pair(value)?,
                ("flips", value) => record.flips = pair(value)?,
                _ => {}
            }
        }
        Some(record)
    }

    /// Parses a line about a live stream: the same after the word `live`.
    #[must_use]
    pub fn parse_live(line: &str) -> Option<Self> {
        Self::parse(line.strip_prefix("live ")?)
    }
}

/// A connection that ended before it was a stream, as the daemon logged it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The client's address and port, or the word the log has for a client without one.
    pub client: String,
    /// The frontend's name.
    pub frontend: String,
    /// The name of its `bind` line.
    pub bind: String,
    /// Why it ended.
    pub reason: String,
    /// The line itself.
    pub line: String,
}

impl Rejection {
    /// Parses `client [date] frontend/bind: reason`; `None` for any other line.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (client, rest) = line.split_once(" [")?;
        let (_, rest) = rest.split_once("] ")?;
        let (place, reason) = rest.split_once(": ")?;
        let (frontend, bind) = place.split_once('/')?;
        let one_word = |word: &str| !word.is_empty() && !word.contains(char::is_whitespace);
        if ![client, frontend, bind].iter().all(|word| one_word(word)) || reason.trim().is_empty() {
            return None;
        }
        Some(Self {
            client: client.to_owned(),
            frontend: frontend.to_owned(),
            bind: bind.to_owned(),
            reason: reason.trim().to_owned(),
            line: line.to_owned(),
        })
    }

    /// Whether it was for silence that the connection ended.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        let reason = self.reason.to_lowercase();
        ["timeout", "timed out", "time out"]
            .iter()
            .any(|word| reason.contains(word))
    }
}

fn pair<T: FromStr>(value: &str) -> Option<[T; 2]> {
    let (up, down) = value.split_once('/')?;
    Some([up.parse().ok()?, down.parse().ok()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_ours() {
        let line = "10.0.1.1:5000 [17/Oct/2026:12:00:00.123] fe be/srv 0/1/20 345 -- 1/1/1/1/0 0/0 \
                    up=12 path=redirect/pipe kernel=10/0 flips=3/0 why=no room in the map";
        let record = Record::parse(line).unwrap();
        assert_eq!(
            (record.down, record.up, record.end.as_str()),
            (345, Some(12), "--")
        );
        assert_eq!(record.path, ["redirect", "pipe"]);
        assert_eq!((record.kernel, record.flips), ([10, 0], [3, 0]));
        assert_eq!(record.why, "no room in the map");
        assert_eq!(record.history, None);
        assert_eq!(Record::parse_live(&format!("live {line}")).unwrap(), record);
    }

    #[test]
    fn a_line_with_a_history() {
        let line = "10.0.1.1:5000 [17/Oct/2026:12:00:00.123] fe be/srv 0/1/20 345 CD 1/1/1/1/0 0/0 \
                    up=12 path=buffer/buffer kernel=0/0 flips=0/0 why=TLS needs buffers end=client:data:truncated";
        let record = Record::parse(line).unwrap();
        assert_eq!(record.why, "TLS needs buffers");
        assert_eq!(record.history.as_deref(), Some("client:data:truncated"));
    }

    #[test]
    fn a_rejection() {
        let line =
            "10.0.1.1:5000 [17/Oct/2026:12:00:00.123] fe/1: Timeout during SSL handshake: 2 bytes";
        let rejection = Rejection::parse(line).unwrap();
        assert_eq!(
            (rejection.client.as_str(), rejection.bind.as_str()),
            ("10.0.1.1:5000", "1")
        );
        assert!(rejection.is_timeout(), "{rejection:?}");
        assert_eq!(Record::parse(line), None);
        let record =
            "10.0.1.1:5000 [17/Oct/2026:12:00:00.123] fe be/<NOSRV> 0/-1/20 0 SC 1/1/1/1/0 0/0";
        assert_eq!(Rejection::parse(record), None);
    }

    #[test]
    fn a_line_of_the_peer() {
        let line =
            "10.0.1.1:5000 [17/Oct/2026:12:00:00.123] fe be/<NOSRV> 0/-1/20 0 SC 1/1/1/1/0 0/0";
        let record = Record::parse(line).unwrap();
        assert_eq!(
            (record.server.as_str(), record.end.as_str(), record.up),
            ("<NOSRV>", "SC", None)
        );
    }

    #[test]
    fn other_lines() {
        for line in [
            "",
            "ready",
            "live ",
            "[WARNING] something is missing here and there and everywhere 1 2 3",
        ] {
            assert_eq!(Record::parse(line), None);
        }
    }
}
