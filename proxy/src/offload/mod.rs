//! Kernel offload: which path a flow takes, and the engines that move its bytes.

pub mod btf;
pub mod object;
pub mod path;
pub mod redirect;

use std::sync::Arc;

/// The engines that this process could start.
#[derive(Debug, Default)]
pub struct Availability {
    /// The sockmap redirect.
    pub redirect: Option<Arc<redirect::engine::Engine>>,
}
