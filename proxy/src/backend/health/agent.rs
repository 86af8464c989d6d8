//! What an agent's line says of its server.

use super::script::judge::Judged;
use super::script::tell::plain;
use super::status::{Status, Verdict};

/// The administrative state that an agent asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// `ready`
    Ready,
    /// `drain`
    Drain,
    /// `maint`
    Maint,
}

/// An agent's line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    /// The administrative state.
    pub wish: Option<Wish>,
    /// A weight, in percent of the line's.
    pub percent: Option<u32>,
    /// A limit of streams.
    pub maxconn: Option<u32>,
}

/// The largest percentage that counts: HAProxy's largest weight over its smallest.
const MOST_PERCENT: u32 = 25_600;

/// Looks at what came.
#[must_use]
pub fn line(answer: &[u8], ended: bool) -> Judged {
    match first_line(answer) {
        Some(text) => Judged::Found(read(&text).1),
        None if ended => Judged::Found(Verdict::with(
            Status::Unchanged,
            "Ignoring incomplete line from agent",
        )),
        None => Judged::Wait,
    }
}

/// What the line of a complete answer asks for.
#[must_use]
pub fn said(answer: &[u8]) -> Said {
    first_line(answer).map_or_else(Said::default, |text| read(&text).0)
}

fn first_line(answer: &[u8]) -> Option<String> {
    let end = answer.iter().position(|b| matches!(b, b'\r' | b'\n'))?;
    Some(plain(&answer[..end]))
}

/// Reads a line: words in any order, the last of a kind counts; what follows `#` is why.
fn read(text: &str) -> (Said, Verdict) {
    let (words, why) = match text.split_once('#') {
        Some((words, why)) => (words, why.trim_start()),
        None => (text, ""),
    };
    let mut said = Said::default();
    let mut health = None;
    let mut error = None;
    let mut warning = None;
    let separators = [' ', '\t', ','];
    for word in words.split(separators).filter(|word| !word.is_empty()) {
        match word.to_ascii_lowercase().as_str() {
            "up" => health = Some((Status::L7Ok, word)),
            "down" | "stopped" | "fail" => health = Some((Status::L7Wrong, word)),
            "ready" => said.wish = Some(Wish::Ready),
            "drain" => said.wish = Some(Wish::Drain),
            "maint" => said.wish = Some(Wish::Maint),
            lower if lower.starts_with("maxconn:") => match lower[8..].parse() {
                Ok(limit) => said.maxconn = Some(limit),
                Err(_) => warning = Some("maxconn string empty or preceded by garbage"),
            },
            lower => match lower.strip_suffix('%').map(str::parse::<u32>) {
                Some(Ok(percent)) => said.percent = Some(percent.min(MOST_PERCENT)),
                _ => error = Some(word),
            },
        }
    }
    let verdict = match (health, error, warning) {
        (Some((status, word)), ..) if why.is_empty() => {
            Verdict::with(status, format!("via agent : {word}"))
        }
        (Some((status, word)), ..) => Verdict::with(status, format!("via agent : {word} ({why})")),
        (None, Some(word), _) => Verdict::with(
            Status::Unchanged,
            format!("agent reports an error : {word}"),
        ),
        (None, None, Some(why)) => Verdict::with(Status::Unchanged, format!("agent warns : {why}")),
        (None, None, None) => Verdict::new(Status::Unchanged),
    };
    (said, verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(text: &str) -> (Said, Status, String) {
        let (said, verdict) = read(text);
        (said, verdict.status, verdict.info)
    }

    #[test]
    fn words_of_all_kinds_may_stand_together() {
        let (said, status, info) = verdict("up maxconn:20 30% # all (fine) \"q\"");
        assert_eq!(said.maxconn, Some(20));
        assert_eq!(said.percent, Some(30));
        assert_eq!(said.wish, None);
        assert_eq!(status, Status::L7Ok);
        assert_eq!(info, "via agent : up (all (fine) \"q\")");
        let (said, status, info) = verdict("UP,ready\tdrain");
        assert_eq!(said.wish, Some(Wish::Drain));
        assert_eq!((status, info.as_str()), (Status::L7Ok, "via agent : UP"));
        let (_, status, info) = verdict("up down");
        assert_eq!(
            (status, info.as_str()),
            (Status::L7Wrong, "via agent : down")
        );
    }

    #[test]
    fn a_line_without_health_changes_no_health() {
        for (text, expected) in [
            ("", ""),
            ("75%", ""),
            ("#up", ""),
            ("bogus", "agent reports an error : bogus"),
            ("-5%", "agent reports an error : -5%"),
            ("300", "agent reports an error : 300"),
            (
                "maxconn:x",
                "agent warns : maxconn string empty or preceded by garbage",
            ),
        ] {
            let (_, status, info) = verdict(text);
            assert_eq!(
                (status, info.as_str()),
                (Status::Unchanged, expected),
                "{text}"
            );
        }
    }

    #[test]
    fn a_line_ends_with_its_end() {
        assert_eq!(line(b"up", false), Judged::Wait);
        assert_eq!(
            line(b"up", true),
            Judged::Found(Verdict::with(
                Status::Unchanged,
                "Ignoring incomplete line from agent"
            ))
        );
        assert_eq!(
            line(b"down\r\nup\n", false),
            Judged::Found(Verdict::with(Status::L7Wrong, "via agent : down"))
        );
        assert_eq!(said(b"50%\nmaint\n").percent, Some(50));
        assert_eq!(said(b"50%\nmaint\n").wish, None);
    }
}
