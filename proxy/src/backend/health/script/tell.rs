//! What is told of a script's failures and successes, in HAProxy's words.

use std::fmt::Write as _;

use crate::config::model::check::{Action, Expect, Flavour, Info, Pattern, Script};

/// Where a script is; `None`: at the connection that it does not mention.
#[must_use]
pub fn place(script: &Script, at: Option<usize>) -> String {
    let Some(at) = at else {
        return " at initial connection step of tcp-check".to_owned();
    };
    let mut text = format!(" at step {} of tcp-check", at + 1);
    // Writing to a string cannot fail.
    let _ = match script.steps.get(at).map(|step| &step.action) {
        Some(Action::Connect(connect)) => match connect.port {
            Some(port) => write!(text, " (connect port {port})"),
            None => write!(text, " (connect)"),
        },
        Some(Action::Send(_) | Action::SendHello) => write!(text, " (send)"),
        Some(Action::Expect(expect)) => match &expect.pattern {
            Pattern::Text(wanted) => write!(text, " (expect string '{}')", plain(wanted)),
            Pattern::Binary(wanted) => write!(text, " (expect binary '{}')", plain(wanted)),
            Pattern::Regex(_) => write!(text, " (expect regex)"),
            Pattern::HexRegex(_) => write!(text, " (expect binary regex)"),
            _ => Ok(()),
        },
        Some(Action::Comment) | None => Ok(()),
    };
    if let Some(comment) = comment(script, at) {
        let _ = write!(text, " comment: '{comment}'");
    }
    text
}

/// The comment on a step, or the one that stands alone right above it.
fn comment(script: &Script, at: usize) -> Option<&str> {
    let own = script.steps.get(at)?.comment.as_deref();
    own.or_else(|| {
        let above = script.steps.get(at.checked_sub(1)?)?;
        let alone = matches!(above.action, Action::Comment);
        above.comment.as_deref().filter(|_| alone)
    })
}

/// An answer ended before it had begun.
#[must_use]
pub fn empty(script: &Script, at: usize) -> String {
    let mut text = format!("TCPCHK got an empty response at step {}", at + 1);
    if let Some(comment) = comment(script, at) {
        // Writing to a string cannot fail.
        let _ = write!(text, " comment: '{comment}'");
    }
    text
}

/// An answer is not the one that was expected; `matched`: it is the one that must not come.
#[must_use]
pub fn mismatch(
    script: &Script,
    at: usize,
    expect: &Expect,
    answer: &[u8],
    matched: bool,
) -> String {
    let mut text = String::new();
    if let Some(info) = &expect.on_error {
        text = render(info, answer);
    } else if script.flavour != Flavour::Protocol {
        let what = if matched {
            "TCPCHK matched unwanted content"
        } else {
            "TCPCHK did not match content"
        };
        let pattern = match &expect.pattern {
            Pattern::Text(wanted) => format!("'{}'", plain(wanted)),
            Pattern::Binary(_) => "(binary)".to_owned(),
            Pattern::HexRegex(_) => "(binary regex)".to_owned(),
            _ => "(regex)".to_owned(),
        };
        text = format!("{what} {pattern} at step {}", at + 1);
    }
    add_comment(&mut text, script, at);
    text
}

fn add_comment(text: &mut String, script: &Script, at: usize) {
    let step = script.steps.get(at);
    if let Some(comment) = step.and_then(|step| step.comment.as_deref()) {
        let _ = write!(text, " comment: {comment}");
    }
}

/// An answer is the one that was expected.
#[must_use]
pub fn success(script: &Script, expect: &Expect, answer: &[u8]) -> String {
    match &expect.on_success {
        Some(info) => render(info, answer),
        None if script.flavour == Flavour::Written => "(tcp-check)".to_owned(),
        None => String::new(),
    }
}

fn render(info: &Info, answer: &[u8]) -> String {
    match info {
        Info::Text(text) => text.to_string(),
        Info::Line(from) => {
            let rest = answer.get(*from..).unwrap_or_default();
            let end = rest.iter().position(|b| matches!(b, b'\r' | b'\n' | 0));
            let line = &rest[..end.unwrap_or(rest.len())];
            let start = line.iter().position(|b| *b != b' ').unwrap_or(line.len());
            plain(&line[start..])
        }
        Info::Chars(from) => {
            let rest = answer.get(*from..).unwrap_or_default();
            let end = rest.iter().position(|b| *b == 0).unwrap_or(rest.len());
            plain(&rest[..end])
        }
    }
}

/// One character per byte, so that a log line can show each as it was.
#[must_use]
pub fn plain(bytes: &[u8]) -> String {
    bytes.iter().map(|b| char::from(*b)).collect()
}
