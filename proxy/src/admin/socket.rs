//! `stats socket`: listens for clients of the runtime API.

use std::rc::Rc;

use anyhow::Result;

use super::operator::Operator;
use crate::config::model::StatsSocket;

/// The listening sockets of the runtime API.
#[derive(Debug, Default)]
pub struct ApiListeners {}

/// Opens them, before the process gives up its privileges.
///
/// # Errors
/// Which address cannot be listened on, and why.
pub fn open(_sockets: &[StatsSocket]) -> Result<ApiListeners> {
    Ok(ApiListeners {})
}

/// Serves clients for as long as the process serves.
pub async fn run(_listeners: ApiListeners, _operator: Rc<Operator>) {}
