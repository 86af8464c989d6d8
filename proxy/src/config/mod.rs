//! HAProxy's configuration language, TCP part: lexer, parser, validated model.
//!
//! Bytes become words in [`lexer`]; the preprocessor drops the lines that conditions exclude; one
//! file of `section` per keyword family fills a draft; `resolve` checks what only the whole can
//! show and makes the [`model`]. Nothing here touches files or sockets except [`files`], and the
//! names that only the machine knows come through [`lookups::Lookups`].

pub mod condition;
pub mod diagnostic;
pub mod features;
pub mod files;
pub mod lexer;
pub mod lookups;
pub mod model;
pub mod units;

mod address;
mod checks;
mod compile;
mod draft;
mod effect;
pub(crate) mod keywords;
mod preprocess;
mod resolve;
mod section;
pub(crate) mod tls;

use std::sync::Arc;

pub use diagnostic::{Diagnostic, Severity};
use lookups::{Lookups, SystemLookups};
use model::{Config, Environment};
pub(crate) use section::check_host;

/// One configuration file's contents.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name in messages.
    pub name: Arc<str>,
    /// Its bytes.
    pub text: Vec<u8>,
}

impl Source {
    /// A source from a name and a text.
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
        }
    }
}

/// What [`load`] found.
#[derive(Debug)]
pub struct Outcome {
    /// The configuration; `None` if any diagnostic is an error.
    pub config: Option<Config>,
    /// Every remark, in the order of the files, then what only the whole can show.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads configuration files, in order, as one configuration.
///
/// Host, user and group names are resolved with the machine's own means.
pub fn load(sources: &[Source], environment: &Environment) -> Outcome {
    load_with(sources, environment, &SystemLookups)
}

/// [`load`] with the means to resolve names passed in.
pub fn load_with(sources: &[Source], environment: &Environment, lookups: &dyn Lookups) -> Outcome {
    let (draft, mut diagnostics) = section::parse(sources, environment, lookups);
    let config = resolve::resolve(draft, lookups, &mut diagnostics);
    Outcome {
        config: (!diagnostics.has_errors()).then_some(config),
        diagnostics: diagnostics.into_vec(),
    }
}

#[cfg(test)]
mod tests;
