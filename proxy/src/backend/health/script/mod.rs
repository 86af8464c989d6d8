//! What a check does, as a machine without I/O: it says what it wants, and is told what happened.

pub mod judge;
pub mod ldap;
pub mod mysql;
pub mod protocols;
pub mod tell;

#[cfg(test)]
mod tests;

use crate::config::model::check::{Action, Connect, Expect, Flavour, Script};

use super::status::{Status, Verdict};
use judge::Judged;

/// Bytes of an answer that are looked at.
pub const LONGEST_ANSWER: usize = 16 << 10;

/// What a check wants next.
#[derive(Debug)]
pub enum Want<'s> {
    /// A connection, with these parameters; the one before is closed.
    Connect(&'s Connect),
    /// To send these bytes.
    Send(&'s [u8]),
    /// To send [`protocols::hello`].
    SendHello,
    /// More of the answer.
    Receive,
    /// Nothing: this is what it found.
    Done(Verdict),
}

/// How far a connection was when something happened to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// There is no socket.
    Socket,
    /// It is not connected.
    Connect,
    /// TLS is not established.
    Tls,
    /// It is established.
    Data,
}

/// A run of a script.
#[derive(Debug)]
pub struct Run<'s> {
    script: &'s Script,
    /// The connection that nobody wrote down.
    implicit: Connect,
    connected: bool,
    at: usize,
    /// The expectation that the answer has to grow for.
    waits_at: Option<usize>,
    answer: Vec<u8>,
    /// There is nothing more to come.
    ended: bool,
    /// The answer has to grow before it is looked at again.
    must_read: bool,
    /// The connection speaks TLS.
    secure: bool,
    verdict: Option<Verdict>,
}

impl<'s> Run<'s> {
    /// A run from the first step.
    #[must_use]
    pub fn new(script: &'s Script) -> Self {
        Self {
            script,
            implicit: Connect {
                default: true,
                ..Connect::default()
            },
            connected: false,
            at: 0,
            waits_at: None,
            answer: Vec::new(),
            ended: false,
            must_read: true,
            secure: false,
            verdict: None,
        }
    }

    /// What it wants. Asked again before it was told anything, it says the same.
    pub fn want(&mut self) -> Want<'_> {
        loop {
            if let Some(verdict) = &self.verdict {
                return Want::Done(verdict.clone());
            }
            let Some(step) = self.script.steps.get(self.at) else {
                if !self.connected {
                    return Want::Connect(&self.implicit);
                }
                self.verdict = Some(self.passed());
                continue;
            };
            match &step.action {
                Action::Comment => self.at += 1,
                Action::Connect(connect) => return Want::Connect(connect),
                _ if !self.connected => return Want::Connect(&self.implicit),
                Action::Send(bytes) => return Want::Send(bytes),
                Action::SendHello => return Want::SendHello,
                Action::Expect(_) if self.must_read => return Want::Receive,
                Action::Expect(expect) => self.judge(expect),
            }
        }
    }

    /// Looks at the answer.
    fn judge(&mut self, expect: &Expect) {
        if self.ended && self.answer.is_empty() {
            let info = tell::empty(self.script, self.at);
            self.verdict = Some(Verdict::with(expect.error, info));
            return;
        }
        match judge::judge(expect, &self.answer, self.ended, self.is_last_expect()) {
            Judged::Wait => {
                self.waits_at = Some(self.at);
                // What comes may be what an earlier expectation of this answer is about.
                while self.at > 0 && self.expects(self.at - 1) {
                    self.at -= 1;
                }
                self.must_read = true;
            }
            Judged::Good => self.at += 1,
            Judged::Found(verdict) => self.verdict = Some(verdict),
            Judged::Bad(matched) => {
                let info = tell::mismatch(self.script, self.at, expect, &self.answer, matched);
                self.verdict = Some(Verdict {
                    code: judge::code(expect, &self.answer),
                    ..Verdict::with(expect.error, info)
                });
            }
        }
    }

    fn expects(&self, at: usize) -> bool {
        let step = self.script.steps.get(at);
        step.is_some_and(|step| matches!(step.action, Action::Expect(_)))
    }

    fn is_last_expect(&self) -> bool {
        !(self.at + 1..self.script.steps.len()).any(|at| self.expects(at))
    }

    /// All steps are done.
    fn passed(&self) -> Verdict {
        let mut steps = self.script.steps.iter().rev();
        match steps.find(|step| !matches!(step.action, Action::Comment)) {
            Some(step) => match &step.action {
                Action::Expect(expect) => Verdict {
                    code: judge::code(expect, &self.answer),
                    ..Verdict::with(expect.ok, tell::success(self.script, expect, &self.answer))
                },
                Action::Connect(_) if self.script.flavour == Flavour::Written => {
                    Verdict::with(self.established(), "(tcp-check)")
                }
                Action::Connect(_) => Verdict::new(self.established()),
                _ => Verdict::with(Status::L7Ok, "(tcp-check)"),
            },
            None => Verdict::new(self.established()),
        }
    }

    fn established(&self) -> Status {
        if self.secure {
            Status::L6Ok
        } else {
            Status::L4Ok
        }
    }

    fn is_explicit(&self) -> bool {
        let step = self.script.steps.get(self.at);
        step.is_some_and(|step| matches!(step.action, Action::Connect(_)))
    }

    /// What has come of the answer that it looked at last.
    #[must_use]
    pub fn answer(&self) -> &[u8] {
        &self.answer
    }

    /// The connection is established; `secure`: with TLS.
    pub fn connected(&mut self, secure: bool) {
        if self.is_explicit() {
            self.at += 1;
        }
        self.connected = true;
        self.secure = secure;
        self.ended = false;
        self.answer.clear();
        self.must_read = true;
    }

    /// The bytes are sent: what comes now is another answer.
    pub fn sent(&mut self) {
        self.at += 1;
        self.answer.clear();
        self.must_read = true;
    }

    /// More of the answer came.
    pub fn received(&mut self, bytes: &[u8]) {
        let room = LONGEST_ANSWER - self.answer.len();
        self.answer
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.ended |= self.answer.len() == LONGEST_ANSWER;
        self.must_read = false;
        self.waits_at = None;
    }

    /// Nothing more will come.
    pub fn ended(&mut self) {
        self.ended = true;
        self.must_read = false;
        self.waits_at = None;
    }

    /// The connection failed; `why` may be empty.
    pub fn failed(&mut self, stage: Stage, why: &str) {
        if stage == Stage::Data && self.expects(self.at) && !self.answer.is_empty() {
            // What came before may be all that there was to say.
            return self.ended();
        }
        let status = match stage {
            Stage::Socket | Stage::Data => Status::SocketError,
            Stage::Connect => Status::L4Error,
            Stage::Tls => Status::L6Invalid,
        };
        let info = format!("{why}{}", self.place());
        self.verdict = Some(Verdict::with(status, info));
    }

    /// It took too long.
    pub fn timed_out(&mut self, stage: Stage) {
        let step = self.script.steps.get(self.current());
        let status = match (stage, step.map(|step| &step.action)) {
            (Stage::Socket | Stage::Connect, _) => Status::L4Timeout,
            (Stage::Tls, _) => Status::L6Timeout,
            (Stage::Data, Some(Action::Expect(expect))) => expect.timeout,
            (Stage::Data, _) => Status::L7Timeout,
        };
        self.verdict = Some(Verdict::with(status, self.place()));
    }

    /// The step that it is about.
    fn current(&self) -> usize {
        self.waits_at.unwrap_or(self.at)
    }

    /// Where in the script it is, for messages.
    fn place(&self) -> String {
        if self.script.flavour != Flavour::Written {
            return String::new();
        }
        let implicit = !self.connected && !self.is_explicit();
        tell::place(self.script, (!implicit).then_some(self.current()))
    }
}
