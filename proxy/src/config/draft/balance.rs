//! What the sections say of balancing, before names are resolved.

use super::super::lexer::Word;
use super::super::model::balance::{Algorithm, HashType};

/// What a section says of balancing.
#[derive(Debug, Clone, Default)]
pub(crate) struct BalanceSettings {
    pub(crate) algorithm: AlgorithmWords,
    pub(crate) hash: HashType,
    pub(crate) factor: u32,
}

/// A `balance` line.
#[derive(Debug, Clone)]
pub(crate) enum AlgorithmWords {
    Ready(Algorithm),
    /// `hash`: the expression is compiled once every name of the configuration is known.
    Hash(Word),
}

impl Default for AlgorithmWords {
    fn default() -> Self {
        Self::Ready(Algorithm::default())
    }
}
