//! Kernel offload: which path a flow takes, and the engines that move its bytes.

pub mod btf;
pub mod guard;
pub mod object;
pub mod path;
pub mod probe;
pub mod redirect;
pub mod relay;
pub mod slots;

use std::sync::Arc;

use crate::config::model::Global;
use crate::sys::process;

/// The engines that this process could start.
#[derive(Debug, Default)]
pub struct Availability {
    /// The sockmap redirect.
    pub redirect: Option<Arc<redirect::engine::Engine>>,
    /// The packet relay.
    pub relay: Option<Arc<relay::engine::Engine>>,
}

/// Which engines the configuration asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The sockmap redirect.
    pub redirect: bool,
    /// The packet relay.
    pub relay: bool,
}

/// Starts the engines that this build, this kernel and these privileges allow. What is missing is
/// said in one warning each, and the daemon runs without it.
#[must_use]
pub fn start(global: &Global, wanted: Wanted) -> Availability {
    let flows = global.offload_flows;
    let redirect = wanted.redirect.then(|| {
        let flows = flows.unwrap_or(redirect::engine::DEFAULT_FLOWS);
        redirect::engine::Engine::load(flows, global.offload_cap)
    });
    let relay = wanted.relay.then(|| {
        let flows = flows.unwrap_or(relay::engine::DEFAULT_FLOWS);
        relay::engine::Engine::load(flows)
    });
    Availability {
        redirect: started("the redirect", redirect),
        relay: started("the relay", relay),
    }
}

fn started<E>(name: &str, result: Option<anyhow::Result<E>>) -> Option<Arc<E>> {
    match result? {
        Ok(engine) => Some(Arc::new(engine)),
        Err(error) => {
            let remedy = if process::effective_uid() == 0 {
                "it wants CAP_BPF and CAP_NET_ADMIN, and a kernel with BTF"
            } else {
                "start it as root, or give it CAP_BPF and CAP_NET_ADMIN"
            };
            tracing::warn!(
                "kernel offload is unavailable: {name} ({error:#}); flows stay on other paths; {remedy}"
            );
            None
        }
    }
}
