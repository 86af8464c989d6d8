//! ACLs and the conditions made of them.

use std::collections::HashMap;
use std::sync::Arc;

use super::names::Names;
use super::scene::{Needs, Scene};
use crate::config::diagnostic::Fault;
use crate::config::lexer::Word;

/// What a condition says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// More input may decide it.
    Unknown,
}

/// A named ACL.
#[derive(Debug)]
pub struct Acl {}

/// The ACLs of a section, in the order of its lines.
#[derive(Debug, Default)]
pub struct Acls {
    by_name: HashMap<Arc<str>, Vec<Arc<Acl>>>,
}

impl Acls {
    /// Adds `acl <name> <expression> [flags] [patterns]`; `words` are those after `acl`. Several
    /// lines of one name add up.
    ///
    /// # Errors
    /// Whatever is wrong with the line; names the word.
    pub fn add(&mut self, words: &[Word], keyword: &Word, names: &Names<'_>) -> Result<(), Fault> {
        let _ = (words, names, &self.by_name);
        Err(keyword.fault("no ACLs yet"))
    }
}

/// A compiled condition.
#[derive(Debug)]
pub struct Condition {}

impl Condition {
    /// Compiles what follows `if` or `unless`; `keyword` is that word. `available`: what there is to
    /// look at where the rule stands; `place` names it in messages.
    ///
    /// # Errors
    /// An unknown ACL, an empty condition, a fetch that cannot be used here; names the word.
    pub fn compile(
        keyword: &Word,
        words: &[Word],
        acls: &Acls,
        names: &Names<'_>,
        available: Needs,
        place: &str,
    ) -> Result<Self, Fault> {
        let _ = (words, acls, names, available, place);
        Err(keyword.fault("no conditions yet"))
    }

    /// What must be there for it.
    #[must_use]
    pub fn needs(&self) -> Needs {
        Needs::empty()
    }

    /// Evaluates it.
    #[must_use]
    pub fn holds(&self, scene: &Scene<'_>) -> Truth {
        let _ = scene;
        Truth::False
    }
}
