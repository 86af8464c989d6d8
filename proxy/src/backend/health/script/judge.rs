//! Whether an answer is the one that was expected.

use crate::config::model::check::{Expect, Pattern};

use super::super::status::Verdict;
use super::{ldap, mysql};
use crate::backend::health::agent;

/// What an answer comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// It can still become anything.
    Wait,
    /// It is good: on with the next step.
    Good,
    /// It is not; whether the pattern was found.
    Bad(bool),
    /// It speaks for itself, and ends the check.
    Found(Verdict),
}

/// Looks at an answer; `ended`: nothing more will come. `last`: no other expectation follows.
#[must_use]
pub fn judge(expect: &Expect, answer: &[u8], ended: bool, last: bool) -> Judged {
    match &expect.pattern {
        Pattern::MysqlGreeting => return mysql::greeting(answer, ended, last),
        Pattern::MysqlReply => return mysql::reply(answer, ended),
        Pattern::LdapBind => return ldap::bind(answer, ended),
        Pattern::Agent => return agent::line(answer, ended),
        _ => {}
    }
    let shortest = match &expect.pattern {
        Pattern::Text(bytes) | Pattern::Binary(bytes) => bytes.len(),
        _ => 0,
    };
    if !ended && answer.len() < shortest.max(expect.min_recv.unwrap_or(0)) {
        return Judged::Wait;
    }
    let matched = match &expect.pattern {
        Pattern::Text(bytes) | Pattern::Binary(bytes) => contains(answer, bytes),
        Pattern::Regex(regex) => regex.is_match(answer),
        Pattern::HexRegex(regex) => regex.is_match(hex(answer).as_bytes()),
        _ => false,
    };
    if !matched && !ended && expect.min_recv.is_none() {
        return Judged::Wait;
    }
    if matched && expect.whole_line && !ended && !answer.ends_with(b"\n") {
        return Judged::Wait;
    }
    if matched == expect.unwanted {
        Judged::Bad(matched)
    } else {
        Judged::Good
    }
}

fn contains(answer: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || answer.windows(wanted.len()).any(|window| window == wanted)
}

/// Upper-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXUPPER.encode(bytes)
}

/// The number that an answer begins with, where it is expected to.
#[must_use]
pub fn code(expect: &Expect, answer: &[u8]) -> u32 {
    if !expect.coded {
        return 0;
    }
    let digits = answer.iter().take(3).take_while(|b| b.is_ascii_digit());
    digits.fold(0, |code, digit| code * 10 + u32::from(digit - b'0'))
}
