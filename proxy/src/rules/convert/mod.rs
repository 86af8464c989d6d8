//! Converters: what a rule makes of a value. One file per family.

mod table;

use std::fmt;

use super::fetch::Call;
use super::names::Names;
use super::sample::{Kind, Value};
use super::scene::Scene;
use crate::config::diagnostic::Fault;

/// A compiled converter.
pub trait Convert: fmt::Debug + Send + Sync {
    /// The type that it takes; what comes is cast to it.
    fn input(&self) -> Kind;
    /// The type that it gives.
    fn output(&self) -> Kind;
    /// Converts; `None`: there is no result, and the expression has none.
    fn convert<'a>(&self, value: Value<'a>, scene: &Scene<'a>) -> Option<Value<'a>>;
}

/// Compiles a call on a value of type `input`; `None`: no family knows the name.
pub fn compile(
    call: Call<'_>,
    input: Kind,
    names: &Names<'_>,
) -> Option<Result<Box<dyn Convert>, Fault>> {
    table::compile(call, input, names)
}
