//! Fetches of the client's TLS session.

use super::{Call, Fetch};
use crate::config::diagnostic::Fault;
use crate::rules::names::Names;

/// The names of this family.
pub(super) const NAMES: &[&str] = &[];

/// Compiles a call of this family.
pub(super) fn compile(call: Call<'_>, names: &Names<'_>) -> Option<Result<Box<dyn Fetch>, Fault>> {
    let _ = (call, names);
    None
}
