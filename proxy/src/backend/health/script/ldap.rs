//! LDAP: what a server answers to an anonymous bind.

use super::super::status::{Status, Verdict};
use super::judge::Judged;

/// Tag and length of a message, of its number, and of the answer, up to the result's code.
const SHORTEST: usize = 14;
/// Tags of BER.
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIND_RESPONSE: u8 = 0x61;
const ENUMERATED: u8 = 0x0a;

fn bad() -> Judged {
    Judged::Found(Verdict::with(Status::L7Invalid, "Not LDAPv3 protocol"))
}

/// Judges an answer.
#[must_use]
pub fn bind(answer: &[u8], ended: bool) -> Judged {
    if answer.len() < SHORTEST {
        return if ended { bad() } else { Judged::Wait };
    }
    match result(answer) {
        None => bad(),
        Some(0) => Judged::Found(Verdict::with(Status::L7Ok, "Success")),
        Some(code) => Judged::Found(Verdict {
            code: u32::from(code),
            ..Verdict::with(
                Status::L7Wrong,
                "See RFC: http://tools.ietf.org/html/rfc4511#section-4.1.9",
            )
        }),
    }
}

/// The result's code.
fn result(answer: &[u8]) -> Option<u8> {
    let rest = content(answer, SEQUENCE)?;
    let number = content(rest, INTEGER)?;
    let length = usize::from(*rest.get(1)?);
    let rest = content(number.get(length..)?, BIND_RESPONSE)?;
    content(rest, ENUMERATED)?.first().copied()
}

/// What is behind a tag and its length, which may have more than one byte.
fn content(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    if *bytes.first()? != tag {
        return None;
    }
    let length = *bytes.get(1)?;
    let more = if length & 0x80 == 0 {
        0
    } else {
        usize::from(length & 0x7f)
    };
    bytes.get(2 + more..)
}
