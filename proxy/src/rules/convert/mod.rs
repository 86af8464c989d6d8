//! Converters: what a rule makes of a value. One file per family.

mod address;
mod encode;
pub(crate) mod hash;
mod map;
mod number;
mod regsub;
mod table;
mod text;
mod variable;

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
    /// Whether it takes values of any type as they are, so that nothing is cast.
    fn takes_any(&self) -> bool {
        false
    }
    /// The type that it gives.
    fn output(&self) -> Kind;
    /// Converts; `None`: there is no result, and the expression has none.
    fn convert<'a>(&self, value: Value<'a>, scene: &Scene<'a>) -> Option<Value<'a>>;
}

/// What a family answers to a call: `None`: the name is not one of its own.
type Answer = Option<Result<Box<dyn Convert>, Fault>>;

/// A family's answer where the name is its own.
fn answer<C: Convert + 'static>(compiled: Result<C, Fault>) -> Answer {
    Some(compiled.map(|converter| -> Box<dyn Convert> { Box::new(converter) }))
}

/// Compiles a call on a value of type `input`; `None`: no family knows the name.
pub fn compile(call: Call<'_>, input: Kind, names: &Names<'_>) -> Answer {
    number::compile(call, names)
        .or_else(|| text::compile(call, names))
        .or_else(|| regsub::compile(call))
        .or_else(|| encode::compile(call))
        .or_else(|| hash::compile(call))
        .or_else(|| address::compile(call))
        .or_else(|| map::compile(call, names))
        .or_else(|| variable::compile(call, input, names))
        .or_else(|| table::compile(call, input, names))
}

#[cfg(test)]
mod tests;
