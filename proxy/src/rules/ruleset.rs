//! Lists of rules, and how far an evaluation has got in one.

use std::sync::Arc;
use std::time::Duration;

use super::acl::{Condition, Truth};
use super::action::{Action, Ruling};
use super::scene::{Needs, Scene};
use crate::config::model::Position;

/// A condition and whether it was written with `if` or `unless`.
#[derive(Debug)]
pub struct When {
    /// The condition.
    pub condition: Condition,
    /// `unless`: it must not hold.
    pub negated: bool,
}

impl When {
    /// Evaluates it, `unless` considered.
    #[must_use]
    pub fn holds(&self, scene: &Scene<'_>) -> Truth {
        match (self.condition.holds(scene), self.negated) {
            (Truth::Unknown, _) => Truth::Unknown,
            (Truth::True, false) | (Truth::False, true) => Truth::True,
            (Truth::False, false) | (Truth::True, true) => Truth::False,
        }
    }
}

/// One line.
#[derive(Debug)]
pub struct Rule {
    /// What it does.
    pub action: Action,
    /// When; `None`: always.
    pub when: Option<When>,
    /// What its condition comes to, if that is a limit on how often a source connects.
    pub limit: Option<Limit>,
    /// Where it was written.
    pub position: Position,
}

/// How often a source may connect before a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Connections per period.
    pub connections: u32,
    /// The period.
    pub period: Duration,
}

/// What an evaluation needs next.
#[derive(Debug)]
pub enum Step<'r> {
    /// It is over. The rule that ended it, if one did: at the end of the list everything is
    /// accepted.
    Done(Ruling, Option<&'r Rule>),
    /// More input may decide this rule.
    Wait,
    /// Carry this out, and go on.
    Do(&'r Rule),
}

/// How far an evaluation has got: rules before this one are done with and are not asked again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress(usize);

/// Evaluates from where `progress` stands up to the next thing to do.
pub fn step<'r>(rules: &'r [Arc<Rule>], progress: &mut Progress, scene: &Scene<'_>) -> Step<'r> {
    while let Some(rule) = rules.get(progress.0) {
        let truth = rule
            .when
            .as_ref()
            .map_or(Truth::True, |when| when.holds(scene));
        match truth {
            Truth::Unknown => return Step::Wait,
            Truth::False => progress.0 += 1,
            Truth::True => {
                progress.0 += 1;
                if let Action::Rule(ruling) = rule.action {
                    progress.0 = rules.len();
                    return Step::Done(ruling, Some(rule));
                }
                return Step::Do(rule);
            }
        }
    }
    Step::Done(Ruling::Accept, None)
}

/// Where a list of rules is evaluated, and what there is to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// `tcp-request connection`: right after the accept.
    Connection,
    /// `tcp-request session`: after the handshakes.
    Session,
    /// `tcp-request content`: the client's first bytes, before a server is chosen.
    Request,
    /// `tcp-response content`: the server's first bytes.
    Response,
    /// `use_backend`, `use-server`, `stick`: a choice for the stream.
    Choice,
    /// `stick store-response`: what is remembered of the server's first bytes.
    Memory,
}

impl Stage {
    /// What there is to look at.
    #[must_use]
    pub fn available(self) -> Needs {
        match self {
            Self::Connection => Needs::CONNECTION,
            Self::Session => Needs::CONNECTION | Needs::SESSION,
            Self::Request | Self::Choice => {
                Needs::CONNECTION | Needs::SESSION | Needs::STREAM | Needs::REQUEST
            }
            Self::Response | Self::Memory => {
                Needs::CONNECTION | Needs::SESSION | Needs::STREAM | Needs::RESPONSE
            }
        }
    }
}
