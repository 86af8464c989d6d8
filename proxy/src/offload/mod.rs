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
    /// What the relay is started with once a flow would take it.
    on_demand: Option<Arc<Global>>,
    /// It is being started, or was.
    demanded: AtomicBool,
    /// It could not be.
    denied: AtomicBool,
    /// This daemon leaves its engines to the next one.
    leaving: AtomicBool,
}

/// The relay for a flow that takes it where it can be had.
#[derive(Debug)]
pub enum Demand {
    /// It is there.
    Met(Arc<relay::engine::Engine>),
    /// It may be there the next time.
    Pending,
    /// It will not be.
    Denied,
}

/// Which engines the configuration asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The sockmap redirect.
    pub redirect: bool,
    /// The packet relay.
    pub relay: bool,
    /// What is best, where it can be had.
    pub best: bool,
}

impl Availability {
    /// The packet relay.
    #[must_use]
    pub fn relay(&self) -> Option<Arc<relay::engine::Engine>> {
        self.relay.get().cloned()
    }

    /// The packet relay; the first time starts it. Loading takes most of a second of a processor, which a
    /// daemon without a flow that lasts need not spend.
    #[must_use]
    pub fn demand_relay(self: &Arc<Self>) -> Demand {
        if let Some(engine) = self.relay() {
            return Demand::Met(engine);
        }
        let [denied, leaving, late] =
            [&self.denied, &self.leaving, &self.late].map(|flag| flag.load(Ordering::Relaxed));
        if late {
            return Demand::Pending;
        }
        let Some(global) = self.on_demand.clone().filter(|_| !denied && !leaving) else {
            return Demand::Denied;
        };
        if !self.demanded.swap(true, Ordering::Relaxed) {
            let this = self.clone();
            let start = move || this.start_on_demand(&global);
            let thread = std::thread::Builder::new().name("relay-start".into());
            if let Err(error) = thread.spawn(start) {
                tracing::warn!(%error, "the relay could not be started");
                self.denied.store(true, Ordering::Relaxed);
            }
        }
        Demand::Pending
    }

    fn start_on_demand(&self, global: &Global) {
        let pins = directory(global);
        let taken = pins.map(|pins| Pins::take(pins.path));
        match load_relay(global, pins, taken) {
            Ok(engine) => {
                tracing::debug!("the relay is started");
                let engine = self.relay.get_or_init(|| Arc::new(engine));
                if self.leaving.load(Ordering::SeqCst) {
                    engine.let_go();
                }
            }
            Err(error) => {
                tracing::info!("the relay cannot be had ({error:#}); flows stay on other paths");
                self.denied.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Leaves the relay to the next daemon.
    pub fn let_go(&self) {
        self.leaving.store(true, Ordering::SeqCst);
        if let Some(relay) = self.relay() {
            relay.let_go();
        }
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
    // Who gives up root or the file system cannot start it later.
    let can_wait = global.uid.is_none_or(|uid| uid == 0) && global.chroot.is_none();
    let availability = Availability {
        redirect: started("the redirect", redirect),
        on_demand: (wanted.best && can_wait).then(|| Arc::new(global.clone())),
        ..Availability::default()
    };
    let pins = directory(global);
    // Whoever asks for it no longer may still have left flows there.
    let left = || pins.as_ref().is_some_and(|pins| Pins::exist(pins.path));
    if !wanted.relay && !left() {
        return availability;
    }
    let taken = pins.map(|pins| Pins::take(pins.path));
    let is_busy = matches!(taken, Some(Ok(Taken::Busy)));
    if is_busy && successor {
        availability.late.store(true, Ordering::Relaxed);
        return availability;
    }
    if is_busy && !wanted.relay {
        // It may be asked again.
        return availability;
    }
    let engine = load_relay(global, pins, taken);
    if let Some(engine) = started("the relay", Some(engine)) {
        // It is not set yet.
        let _ = availability.relay.set(engine);
    }
    availability
}

/// Starts the relay, with flows that outlive the daemon where the directory for that could be `taken`.
fn load_relay(
    global: &Global,
    pins: Option<Directory<'_>>,
    taken: Option<anyhow::Result<Taken>>,
) -> anyhow::Result<relay::engine::Engine> {
    let engine = match taken {
        None => None,
        Some(Ok(Taken::Ours(pins))) => Some(outliving(global, pins)),
        Some(Ok(Taken::Busy)) => Some(Err(anyhow::anyhow!("another daemon has it"))),
        Some(Err(error)) => Some(Err(error)),
    };
    match (engine, pins) {
        (Some(Ok(engine)), _) => return Ok(engine),
        (Some(Err(error)), Some(pins)) => pins.say(&error),
        _ => {}
    }
    relay::engine::Engine::load(relay_flows(global), None)
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
