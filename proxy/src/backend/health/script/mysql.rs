//! MySQL: what a server's packets say.

use super::super::status::{Status, Verdict};
use super::judge::Judged;
use super::tell::plain;

/// A packet's length and number.
const HEADER: usize = 4;
/// The first byte of a packet that tells an error.
const ERROR: u8 = 0xff;

/// A packet's payload, from `at`; `None`: not all of it is there.
fn packet(answer: &[u8], at: usize) -> Option<&[u8]> {
    let header = answer.get(at..at + HEADER)?;
    let length =
        usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16;
    answer.get(at + HEADER..at + HEADER + length)
}

fn partial(ended: bool) -> Judged {
    if ended {
        Judged::Found(Verdict::new(Status::L7Invalid))
    } else {
        Judged::Wait
    }
}

/// An error: its number, and its text.
fn refused(payload: &[u8]) -> Option<Judged> {
    if payload.first() != Some(&ERROR) {
        return None;
    }
    let code = payload
        .get(1..3)
        .map_or(0, |code| u32::from(code[0]) | u32::from(code[1]) << 8);
    let text = payload.get(3..).unwrap_or_default();
    Some(Judged::Found(Verdict {
        code,
        ..Verdict::with(Status::L7Wrong, plain(text))
    }))
}

/// The version in a first packet.
fn version(payload: &[u8]) -> String {
    let text = payload.get(1..).unwrap_or_default();
    let end = text.iter().position(|b| *b == 0).unwrap_or(text.len());
    plain(&text[..end])
}

/// A server's first packet; `last`: it is all that is expected.
#[must_use]
pub fn greeting(answer: &[u8], ended: bool, last: bool) -> Judged {
    let Some(payload) = packet(answer, 0) else {
        return partial(ended);
    };
    if let Some(refused) = refused(payload) {
        return refused;
    }
    if last {
        Judged::Found(Verdict::with(Status::L7Ok, version(payload)))
    } else {
        Judged::Good
    }
}

/// The answer to a login, behind the first packet.
#[must_use]
pub fn reply(answer: &[u8], ended: bool) -> Judged {
    let Some(first) = packet(answer, 0) else {
        return partial(ended);
    };
    let Some(payload) = packet(answer, HEADER + first.len()) else {
        return partial(ended);
    };
    if let Some(refused) = refused(payload) {
        return refused;
    }
    Judged::Found(Verdict::with(Status::L7Ok, version(first)))
}
