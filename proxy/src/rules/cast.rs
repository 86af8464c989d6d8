//! Casts between the kinds of values.

use bumpalo::Bump;

use super::sample::{Kind, Value};

/// Whether any value of kind `from` can become one of kind `to`.
#[must_use]
pub fn is_possible(from: Kind, to: Kind) -> bool {
    from == to
}

/// The value as `to`; `None`: this one cannot be cast.
#[must_use]
pub fn cast<'a>(value: Value<'a>, to: Kind, arena: &'a Bump) -> Option<Value<'a>> {
    let _ = (to, arena);
    Some(value)
}
