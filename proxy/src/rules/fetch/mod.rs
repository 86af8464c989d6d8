//! Fetches: what a rule looks at. One file per family.

mod connection;
mod counters;
mod internal;
mod payload;
mod proxies;
mod tls;

use std::fmt;

use super::names::Names;
use super::sample::{Kind, Sample};
use super::scene::{Needs, Scene};
use crate::config::diagnostic::Fault;
use crate::config::lexer::Word;

/// A compiled fetch.
pub trait Fetch: fmt::Debug + Send + Sync {
    /// The type of its values.
    fn kind(&self) -> Kind;
    /// What must be there for it.
    fn needs(&self) -> Needs;
    /// Looks.
    fn look<'a>(&self, scene: &Scene<'a>) -> Sample<'a>;
}

/// One use of a fetch in the configuration: `name(arg,arg)`.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The fetch's or converter's name.
    pub name: &'a str,
    /// Its arguments, in order; empty where there are no brackets.
    pub arguments: &'a [String],
    /// The word that it stands in, for messages.
    pub word: &'a Word,
}

/// Compiles a call; `None`: no family knows the name.
pub fn compile(call: Call<'_>, names: &Names<'_>) -> Option<Result<Box<dyn Fetch>, Fault>> {
    connection::compile(call, names)
        .or_else(|| internal::compile(call, names))
        .or_else(|| payload::compile(call, names))
        .or_else(|| tls::compile(call, names))
        .or_else(|| counters::compile(call, names))
        .or_else(|| proxies::compile(call, names))
}

/// Every fetch's name, for `did you mean`.
pub fn all() -> impl Iterator<Item = &'static str> {
    [
        connection::NAMES,
        internal::NAMES,
        payload::NAMES,
        tls::NAMES,
        counters::NAMES,
        proxies::NAMES,
    ]
    .into_iter()
    .flatten()
    .copied()
}
