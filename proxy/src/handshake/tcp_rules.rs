//! TCP_RULES: where rules of the connection level are applied, after the addresses are known and
//! before TLS.

use std::fmt;
use std::net::SocketAddr;

use super::Outcome;
use super::incoming::{Entrance, Incoming};
use crate::conn::end::Reason;
use crate::observe::record::Endpoint;

/// What rules may look at.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Who the connection comes from, a PROXY header considered.
    pub source: Endpoint,
    /// Where a PROXY header says it wanted to go.
    pub destination: Option<SocketAddr>,
}

/// What rules decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The connection goes on.
    Accept,
    /// It is closed without a word.
    Reject,
}

/// Rules of the connection level.
pub trait Rules: fmt::Debug {
    /// Decides on one connection.
    fn evaluate(&self, facts: Facts) -> Verdict;
}

/// Asks the rules.
pub(super) fn step(entrance: &Entrance<'_>, incoming: &mut Incoming) -> Result<Outcome, Reason> {
    let facts = Facts {
        source: incoming.source,
        destination: incoming.destination,
    };
    match entrance.rules.map(|rules| rules.evaluate(facts)) {
        Some(Verdict::Reject) => Err(Reason::Local(&"rejected")),
        Some(Verdict::Accept) | None => Ok(Outcome::DONE),
    }
}
