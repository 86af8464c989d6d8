//! Servers by host name: finds their addresses, and keeps them up to date.

use std::rc::Rc;

use crate::admin::operator::Operator;

/// Resolves names for as long as the process serves.
pub async fn run(_operator: Rc<Operator>) {}
