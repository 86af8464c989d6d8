//! Kernel offload: which path a flow takes, and the engines that move its bytes.

pub mod btf;
pub mod guard;
pub mod object;
pub mod path;
pub mod probe;
pub mod redirect;
pub mod relay;
pub mod slots;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::config::model::{Global, PinDirectory};
use crate::sys::process;
use relay::pins::{Pins, Taken};

/// The engines that this process could start.
#[derive(Debug, Default)]
pub struct Availability {
    /// The sockmap redirect.
    pub redirect: Option<Arc<redirect::engine::Engine>>,
    /// The packet relay.
    relay: OnceLock<Arc<relay::engine::Engine>>,
    /// The relay is still with the daemon before this one.
    late: AtomicBool,
}

/// Which engines the configuration asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The sockmap redirect.
    pub redirect: bool,
    /// The packet relay.
    pub relay: bool,
}

impl Availability {
    /// The packet relay.
    #[must_use]
    pub fn relay(&self) -> Option<Arc<relay::engine::Engine>> {
        self.relay.get().cloned()
    }

    /// Starts the relay if the daemon before this one has let go of it; `false`: it need not be tried
    /// again.
    pub fn start_late(&self, global: &Global) -> bool {
        let pins = directory(global).filter(|_| self.late.load(Ordering::Relaxed));
        let Some(pins) = pins else {
            return false;
        };
        let engine = match Pins::take(pins.path) {
            Ok(Taken::Busy) => return true,
            Ok(Taken::Ours(pins)) => started("the relay", Some(outliving(global, pins))),
            Err(error) => started("the relay", Some(Err(error))),
        };
        self.late.store(engine.is_some(), Ordering::Relaxed);
        if let Some(engine) = engine {
            // Nobody else sets it.
            let _ = self.relay.set(engine);
        }
        self.relay.get().is_some()
    }
}

/// Starts the engines that this build, this kernel and these privileges allow. What is missing is
/// said in one warning each, and the daemon runs without it. `successor`: another daemon is about to
/// be told to leave.
#[must_use]
pub fn start(global: &Global, wanted: Wanted, successor: bool) -> Availability {
    let redirect = wanted.redirect.then(|| {
        let flows = global
            .offload_flows
            .unwrap_or(redirect::engine::DEFAULT_FLOWS);
        redirect::engine::Engine::load(flows, global.offload_cap)
    });
    let availability = Availability {
        redirect: started("the redirect", redirect),
        ..Availability::default()
    };
    let pins = directory(global);
    // Whoever asks for it no longer may still have left flows there.
    let left = || pins.as_ref().is_some_and(|pins| Pins::exist(pins.path));
    if !wanted.relay && !left() {
        return availability;
    }
    let engine = match pins.as_ref().map(|pins| Pins::take(pins.path)) {
        None => None,
        Some(Ok(Taken::Ours(pins))) => Some(outliving(global, pins)),
        Some(Ok(Taken::Busy)) if successor => {
            availability.late.store(true, Ordering::Relaxed);
            return availability;
        }
        Some(Ok(Taken::Busy)) => Some(Err(anyhow::anyhow!("another daemon has it"))),
        Some(Err(error)) => Some(Err(error)),
    };
    let engine = match (engine, pins) {
        (Some(Ok(engine)), _) => Ok(engine),
        (Some(Err(error)), Some(pins)) => {
            pins.say(&error);
            if !wanted.relay {
                return availability;
            }
            relay::engine::Engine::load(relay_flows(global), None)
        }
        _ => relay::engine::Engine::load(relay_flows(global), None),
    };
    if let Some(engine) = started("the relay", Some(engine)) {
        // It is not set yet.
        let _ = availability.relay.set(engine);
    }
    availability
}

fn relay_flows(global: &Global) -> u32 {
    global.offload_flows.unwrap_or(relay::engine::DEFAULT_FLOWS)
}

/// Where flows are to outlive the daemon.
#[derive(Debug, Clone, Copy)]
struct Directory<'a> {
    path: &'a Path,
    /// Somebody has asked for it.
    asked: bool,
}

impl Directory<'_> {
    /// Says that it cannot be had.
    fn say(&self, error: &anyhow::Error) {
        let path = self.path.display();
        if self.asked {
            tracing::warn!("offload-pins {path}: {error:#}; relayed flows end with this daemon");
        } else {
            tracing::info!("{path}: {error:#}; relayed flows end with this daemon");
        }
    }
}

/// The directory that is configured; else the usual one, where nothing has to be made for it and nothing
/// is in the way.
fn directory(global: &Global) -> Option<Directory<'_>> {
    match &global.pins {
        PinDirectory::Off => None,
        PinDirectory::At(path) => Some(Directory { path, asked: true }),
        PinDirectory::Usual => {
            let stays_root = process::effective_uid() == 0
                && global.uid.is_none_or(|uid| uid == 0)
                && global.chroot.is_none();
            let usable = stays_root && relay::pins::can_be_used().is_ok_and(|can| can);
            usable.then_some(Directory {
                path: Path::new(relay::pins::USUAL),
                asked: false,
            })
        }
    }
}

/// The relay whose flows outlive the daemon.
fn outliving(global: &Global, pins: Pins) -> anyhow::Result<relay::engine::Engine> {
    if global.chroot.is_some() {
        anyhow::bail!("it is out of reach after chroot");
    }
    for stranger in pins.strangers()? {
        tracing::warn!(
            "relayed flows of another version are left alone in {}; `underpass --clean` removes them",
            stranger.display()
        );
    }
    relay::engine::Engine::load(relay_flows(global), Some(pins))
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
