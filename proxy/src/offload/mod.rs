//! Kernel offload: which path a flow takes, and the engines that move its bytes.

pub mod btf;
pub mod guard;
pub mod object;
pub mod path;
pub mod probe;
pub mod redirect;
pub mod relay;

use std::sync::Arc;

use crate::config::model::Global;
use crate::sys::process;

/// The engines that this process could start.
#[derive(Debug, Default)]
pub struct Availability {
    /// The sockmap redirect.
    pub redirect: Option<Arc<redirect::engine::Engine>>,
}

/// Starts the engines that this build, this kernel and these privileges allow. What is missing is
/// said in one warning, and the daemon runs without it.
#[must_use]
pub fn start(global: &Global, wanted: bool) -> Availability {
    if !wanted {
        return Availability::default();
    }
    let flows = global
        .offload_flows
        .unwrap_or(redirect::engine::DEFAULT_FLOWS);
    match redirect::engine::Engine::load(flows, global.offload_cap) {
        Ok(engine) => Availability {
            redirect: Some(Arc::new(engine)),
        },
        Err(error) => {
            let remedy = if process::effective_uid() == 0 {
                "it wants CAP_BPF and CAP_NET_ADMIN, a kernel with BTF, and sockmap"
            } else {
                "start it as root, or give it CAP_BPF and CAP_NET_ADMIN"
            };
            tracing::warn!(
                "kernel offload is unavailable ({error:#}); flows stay on pipe and buffer; {remedy}"
            );
            Availability::default()
        }
    }
}
