//! Steps that take several attempts, two bits each.
//!
//! | bits | meaning | `0b10` pending | `0b01` started |
//! |---|---|---|---|
//! | `00` | not wanted | | |
//! | `10` | wanted, not started | yes | |
//! | `11` | started, not completed | yes | yes |
//! | `01` | completed | | yes |
//!
//! Any bit set means that the step is wanted. Whatever has been started may hold something to be
//! released when the connection ends: [`Ops::clear`] tells.

use std::fmt;

/// How far one step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[repr(u8)]
pub enum Op {
    /// Nobody wants it.
    #[default]
    Unwanted = 0b00,
    /// It must be done and has not begun.
    Wanted = 0b10,
    /// It has begun and is not over.
    Started = 0b11,
    /// It is over.
    Done = 0b01,
}

/// The bit of an operation that has begun.
const STARTED: u8 = 0b01;
/// The bit of an operation that is owed.
const PENDING: u8 = 0b10;

impl Op {
    const fn from_bits(bits: u16) -> Self {
        match bits & 0b11 {
            0b00 => Self::Unwanted,
            0b01 => Self::Done,
            0b10 => Self::Wanted,
            _ => Self::Started,
        }
    }

    /// Somebody wants it, or wanted it and it is done.
    #[must_use]
    pub const fn is_wanted(self) -> bool {
        self as u8 != 0
    }

    /// It has begun, and may be over.
    #[must_use]
    pub const fn is_started(self) -> bool {
        self as u8 & STARTED != 0
    }

    /// It is still owed.
    #[must_use]
    pub const fn is_pending(self) -> bool {
        self as u8 & PENDING != 0
    }

    /// It is over.
    #[must_use]
    pub const fn is_done(self) -> bool {
        matches!(self, Self::Done)
    }

    /// The operation after `change`; `None` where that is not its turn.
    #[must_use]
    pub const fn after(self, change: Change) -> Option<Self> {
        match (self, change) {
            (Self::Unwanted, Change::Want) => Some(Self::Wanted),
            (Self::Wanted, Change::Start) => Some(Self::Started),
            (Self::Started, Change::Finish) => Some(Self::Done),
            _ => None,
        }
    }
}

/// What can happen to an operation; each is legal from one state only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Somebody asks for it.
    Want,
    /// Its first attempt.
    Start,
    /// Its last attempt succeeded.
    Finish,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Want => "want",
            Self::Start => "start",
            Self::Finish => "finish",
        })
    }
}

/// The steps that a connection may owe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// A header is expected from an accepted peer (`accept-proxy`).
    AcceptHeader,
    /// A header is to be sent to a server (`send-proxy`).
    SendHeader,
    /// The data layer's handshake with an accepted peer.
    DataAccept,
    /// The data layer's handshake with a server.
    DataConnect,
    /// An answer is to be sent: in the place of a stream (`monitor-net`, `mode health`), or before
    /// one, to whoever asked an agent for it.
    ResponseHeader,
    /// An agent is to be asked for a connection, and to have answered.
    RemoteConnect,
    /// A request for a connection is expected, by an agent.
    RemoteAccept,
}

impl Step {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::AcceptHeader,
        Self::SendHeader,
        Self::DataAccept,
        Self::DataConnect,
        Self::ResponseHeader,
        Self::RemoteConnect,
        Self::RemoteAccept,
    ];

    const fn shift(self) -> u32 {
        2 * self as u32
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AcceptHeader => "accept-header",
            Self::SendHeader => "send-header",
            Self::DataAccept => "data-accept",
            Self::DataConnect => "data-connect",
            Self::ResponseHeader => "response-header",
            Self::RemoteConnect => "remote-connect",
            Self::RemoteAccept => "remote-accept",
        })
    }
}

/// A change that the state of its step does not allow. The state is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot {change} {step}, which is {from:?}")]
pub struct IllegalChange {
    /// Of which step.
    pub step: Step,
    /// What was asked.
    pub change: Change,
    /// The state that it is in.
    pub from: Op,
}

/// The steps of one connection.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Ops(u16);

impl Ops {
    /// Nothing is wanted.
    #[must_use]
    pub const fn new() -> Self {
        Self(0)
    }

    /// How far a step is.
    #[must_use]
    pub const fn get(self, step: Step) -> Op {
        Op::from_bits(self.0 >> step.shift())
    }

    fn set(&mut self, step: Step, op: Op) {
        self.0 = self.0 & !(0b11 << step.shift()) | u16::from(op as u8) << step.shift();
    }

    fn change(&mut self, step: Step, change: Change) -> Result<(), IllegalChange> {
        let from = self.get(step);
        let to = from
            .after(change)
            .ok_or(IllegalChange { step, change, from })?;
        self.set(step, to);
        Ok(())
    }

    /// The step must be done.
    ///
    /// # Errors
    /// When it is wanted already.
    pub fn want(&mut self, step: Step) -> Result<(), IllegalChange> {
        self.change(step, Change::Want)
    }

    /// The step begins.
    ///
    /// # Errors
    /// When nobody wants it, or it has begun already.
    pub fn start(&mut self, step: Step) -> Result<(), IllegalChange> {
        self.change(step, Change::Start)
    }

    /// The step is over.
    ///
    /// # Errors
    /// When it has not begun, or is over already.
    pub fn finish(&mut self, step: Step) -> Result<(), IllegalChange> {
        self.change(step, Change::Finish)
    }

    /// Forgets the step and returns how far it was: one that [has begun](Op::is_started) may have
    /// left something to release.
    pub fn clear(&mut self, step: Step) -> Op {
        let was = self.get(step);
        self.set(step, Op::Unwanted);
        was
    }

    /// Whether any step is still owed.
    #[must_use]
    pub fn any_pending(self) -> bool {
        Step::ALL.iter().any(|step| self.get(*step).is_pending())
    }
}

impl fmt::Debug for Ops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wanted = Step::ALL
            .into_iter()
            .map(|step| (step, self.get(step)))
            .filter(|(_, op)| op.is_wanted());
        f.debug_map().entries(wanted).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_bits_say_wanted_started_and_pending() {
        let say = |op: Op| (op as u8, op.is_wanted(), op.is_started(), op.is_pending());
        assert_eq!(say(Op::Unwanted), (0b00, false, false, false));
        assert_eq!(say(Op::Wanted), (0b10, true, false, true));
        assert_eq!(say(Op::Started), (0b11, true, true, true));
        assert_eq!(say(Op::Done), (0b01, true, true, false));
        for op in [Op::Unwanted, Op::Wanted, Op::Started, Op::Done] {
            assert_eq!(Op::from_bits(u16::from(op as u8)), op);
        }
    }

    #[test]
    fn each_change_has_its_turn_and_no_other() {
        for op in [Op::Unwanted, Op::Wanted, Op::Started, Op::Done] {
            for change in [Change::Want, Change::Start, Change::Finish] {
                let expected = match (op as u8, change) {
                    (0b00, Change::Want) => Some(Op::Wanted),
                    (0b10, Change::Start) => Some(Op::Started),
                    (0b11, Change::Finish) => Some(Op::Done),
                    _ => None,
                };
                assert_eq!(op.after(change), expected, "{change} {op:?}");
            }
        }
    }

    #[test]
    fn steps_do_not_touch_each_other() {
        let mut ops = Ops::new();
        for step in Step::ALL {
            let before = ops;
            ops.want(step).unwrap();
            assert!(ops.any_pending());
            ops.start(step).unwrap();
            assert!(ops.any_pending());
            ops.finish(step).unwrap();
            assert!(!ops.any_pending());
            for other in Step::ALL {
                if other != step {
                    assert_eq!(ops.get(other), before.get(other), "{step} changed {other}");
                }
            }
        }
        for step in Step::ALL {
            assert_eq!(ops.clear(step), Op::Done);
            assert_eq!(ops.get(step), Op::Unwanted);
        }
        assert_eq!(ops, Ops::new());
    }

    #[test]
    fn a_refused_change_names_its_step_and_changes_nothing() {
        let mut ops = Ops::new();
        ops.want(Step::SendHeader).unwrap();
        let before = ops;
        let refused = ops.finish(Step::SendHeader).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "cannot finish send-header, which is Wanted"
        );
        assert_eq!(ops, before);
        assert_eq!(format!("{ops:?}"), "{SendHeader: Wanted}");
    }
}
