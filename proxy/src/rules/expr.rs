//! Sample expressions: a fetch and the converters after it.

use super::convert::Convert;
use super::fetch::Fetch;
use super::names::Names;
use super::sample::{Kind, Sample};
use super::scene::{Needs, Scene};
use crate::config::diagnostic::Fault;
use crate::config::lexer::Word;

/// A compiled expression.
#[derive(Debug)]
pub struct Expr {
    fetch: Box<dyn Fetch>,
    converters: Vec<Box<dyn Convert>>,
    kind: Kind,
}

impl Expr {
    /// Compiles `fetch(args),converter(args),…`.
    ///
    /// # Errors
    /// An unknown name, a wrong argument, a type that does not fit; names the word.
    pub fn compile(word: &Word, names: &Names<'_>) -> Result<Self, Fault> {
        let _ = names;
        Err(word.fault("no expressions yet"))
    }

    /// The type of its values.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What must be there for it.
    #[must_use]
    pub fn needs(&self) -> Needs {
        self.fetch.needs()
    }

    /// Looks.
    #[must_use]
    pub fn evaluate<'a>(&self, scene: &Scene<'a>) -> Sample<'a> {
        let _ = &self.converters;
        self.fetch.look(scene)
    }
}
