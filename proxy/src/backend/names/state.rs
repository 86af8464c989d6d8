//! `resolvers` sections as all threads see them: what their name servers did.

use std::sync::atomic::{AtomicU64, Ordering};

use super::exchange::Lost;
use super::question::{Answer, Failure};
use crate::config::model::names::Resolvers;

/// A section.
#[derive(Debug)]
pub struct SectionState {
    /// Its lines.
    pub config: Resolvers,
    /// What its name servers did, in the order of their lines.
    pub nameservers: Vec<NameserverCounters>,
}

impl SectionState {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(config: Resolvers) -> Self {
        let nameservers = config
            .nameservers
            .iter()
            .map(|_| NameserverCounters::default());
        Self {
            nameservers: nameservers.collect(),
            config,
        }
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Starts again.
    pub fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// What a name server did; names and meanings are those of HAProxy's `show resolvers`.
#[derive(Debug, Default)]
pub struct NameserverCounters {
    /// Queries.
    pub sent: Count,
    /// Queries that could not be sent.
    pub snd_error: Count,
    /// Valid answers.
    pub valid: Count,
    /// Addresses of servers that its answers changed.
    pub update: Count,
    /// Answers without a record.
    pub any_err: Count,
    /// Answers that there is no such name.
    pub nx: Count,
    /// Queries without an answer in time.
    pub timeout: Count,
    /// Queries that it refused.
    pub refused: Count,
    /// Answers with another error.
    pub other: Count,
    /// Answers that could not be understood.
    pub invalid: Count,
    /// Answers that did not fit, also not over TCP.
    pub truncated: Count,
}

impl NameserverCounters {
    /// Counts how a query ended.
    pub(super) fn ended(&self, outcome: &Result<Result<Answer, Failure>, Lost>) {
        let count = match outcome {
            Ok(Ok(_)) => &self.valid,
            Ok(Err(Failure::Nx)) => &self.nx,
            Ok(Err(Failure::Refused)) => &self.refused,
            Ok(Err(Failure::Empty)) => &self.any_err,
            Ok(Err(Failure::Truncated)) => &self.truncated,
            Ok(Err(Failure::Other)) => &self.other,
            Ok(Err(Failure::Invalid)) => &self.invalid,
            Err(Lost::Silence) => &self.timeout,
            Err(Lost::Io(_) | Lost::Name(_)) => &self.snd_error,
        };
        count.add();
    }
}
