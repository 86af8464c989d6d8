//! The relay's engine: loads the programs, attaches them where flows need them, owns their maps.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow, bail};
use aya::maps::{HashMap as BpfHashMap, Map, MapData, MapError, RingBuf};
use aya::programs::tc::{NlOptions, TcAttachOptions};
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType};
use aya::{Ebpf, EbpfLoader};
use underpass_common::relay::{Flow, Key};

use super::records::Records;
use super::watcher::Watcher;
use crate::observe::record::Why;
use crate::offload::object::OBJECT;
use crate::offload::slots::Slots;
use crate::sys::interface;
use crate::sys::mmap::{Access, MappedArray};
use crate::sys::route::{self, Route};

/// Flows that may be relayed at once, unless configured. Each has a record of 320 bytes, allocated
/// at the start, and two map entries while it is relayed.
pub const DEFAULT_FLOWS: u32 = 16_384;

const PROGRAMS: [(&str, TcAttachType); 2] = [
    ("underpass_relay_in", TcAttachType::Ingress),
    ("underpass_relay_out", TcAttachType::Egress),
];

/// How long a flow that has ended is kept for what its ends may still repeat: as long as Linux keeps
/// a connection in TIME_WAIT.
const LINGER: Duration = Duration::from_secs(60);

/// What is changed together.
struct Tables {
    keys: BpfHashMap<MapData, Key, u32>,
    /// Flows that have ended, oldest first.
    ended: VecDeque<(Instant, u32, [Key; 2])>,
    ebpf: Ebpf,
    /// Interfaces that have the programs, by index.
    attached: HashMap<u32, ()>,
}

/// The engine. Dropping it detaches the programs.
pub struct Engine {
    tables: Mutex<Tables>,
    /// The flows.
    pub records: Records,
    /// What the flows' tasks are woken through.
    pub slots: Arc<Slots>,
    _watcher: Watcher,
    ids: AtomicU64,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

/// Why a flow cannot be relayed.
#[derive(Debug)]
pub struct Refusal {
    /// For the flow's record.
    pub why: Why,
    /// The details.
    pub error: io::Error,
}

impl Refusal {
    pub(super) fn new(
        why: Why,
        error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            why,
            error: io::Error::other(error),
        }
    }
}

impl Engine {
    /// Loads the programs for up to `flows` flows; they are attached as flows need them.
    ///
    /// # Errors
    /// What is missing, in words for the operator: object, privilege, or what the kernel refused.
    pub fn load(flows: u32) -> Result<Self> {
        if OBJECT.is_empty() {
            bail!("this binary was built without its eBPF object (cargo xtask build embeds it)");
        }
        let mut loader = EbpfLoader::new();
        let log_level = 0u8;
        loader.override_global(aya_log::LEVEL, &log_level, false);
        loader.map_max_entries("RELAY_FLOWS", flows);
        // Flows that have ended keep theirs for a while.
        loader.map_max_entries("RELAY_KEYS", flows.saturating_mul(2));
        let mut ebpf = loader.load(OBJECT).context("loading the eBPF object")?;
        for (name, _) in PROGRAMS {
            program(&mut ebpf, name)?
                .load()
                .with_context(|| format!("loading the program {name}"))?;
        }
        let mut take = |name: &str| {
            ebpf.take_map(name)
                .ok_or_else(|| anyhow!("the eBPF object has no map {name}"))
        };
        let keys = BpfHashMap::try_from(take("RELAY_KEYS")?)?;
        let events = RingBuf::try_from(take("RELAY_EVENTS")?)?;
        let lost = match take("RELAY_EVENTS_LOST")? {
            Map::Array(data) => MappedArray::new(data.fd().as_fd(), 1, Access::ReadOnly)?,
            _ => bail!("RELAY_EVENTS_LOST is not an array"),
        };
        let records = match take("RELAY_FLOWS")? {
            Map::Array(data) => Records::new(data.fd().as_fd(), flows)?,
            _ => bail!("RELAY_FLOWS is not an array"),
        };
        let slots = Arc::new(Slots::new(flows));
        let watcher = Watcher::start(slots.clone(), events, lost)?;
        Ok(Self {
            tables: Mutex::new(Tables {
                keys,
                ended: VecDeque::new(),
                ebpf,
                attached: HashMap::new(),
            }),
            records,
            slots,
            _watcher: watcher,
            ids: AtomicU64::new(1),
        })
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // Each table is whole after every call, so a panic elsewhere leaves them usable.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The route to the far host of an end, with the programs on its interface.
    ///
    /// # Errors
    /// When there is no route, or the interface takes no programs.
    pub fn reach(&self, local: IpAddr, remote: IpAddr) -> io::Result<Route> {
        let route = route::towards(local, remote)?;
        let mut tables = self.tables();
        if !tables.attached.contains_key(&route.interface) {
            attach(&mut tables.ebpf, route.interface)?;
            tables.attached.insert(route.interface, ());
        }
        Ok(route)
    }

    /// Whether a flow could be entered.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.sweep(&mut self.tables(), 1);
        self.slots.has_free()
    }

    /// Enters a flow whose segments are those of `keys`: the programs look at them from now on.
    ///
    /// # Errors
    /// When there is no room; nothing has changed then.
    pub fn enter(&self, flow: &Flow, keys: [Key; 2]) -> Result<u32, Refusal> {
        let mut tables = self.tables();
        self.sweep(&mut tables, 2);
        let Some(slot) = self.slots.take() else {
            return Err(Refusal::new(Why::Full, "the relay's table is full"));
        };
        let mut flow = *flow;
        flow.id = self.ids.fetch_add(1, Ordering::Relaxed);
        flow.since = SystemTime::UNIX_EPOCH
            .elapsed()
            .map_or(0, |since| since.as_nanos() as u64);
        self.records.write(slot, &flow);
        for end in 0..2 {
            if let Err(error) = tables.keys.insert(keys[end], slot * 2 + end as u32, 0) {
                self.records.abandon(slot);
                remove(&mut tables, slot, &keys);
                self.slots.give_back(slot);
                return Err(Refusal {
                    why: Why::Full,
                    error: refused(error),
                });
            }
        }
        Ok(slot)
    }

    /// Gives a flow's slot back. `lingers`: its late segments are still relayed for a while, or until
    /// the room is needed. Call when its sockets are closed.
    pub fn release(&self, slot: u32, keys: [Key; 2], lingers: bool) {
        let mut tables = self.tables();
        if lingers {
            tables.ended.push_back((Instant::now(), slot, keys));
        } else {
            remove(&mut tables, slot, &keys);
            self.slots.give_back(slot);
        }
    }

    /// Forgets flows that have ended long ago, at most `most` of them; where no slot is free, also
    /// the one that ended first.
    fn sweep(&self, tables: &mut Tables, most: usize) {
        let now = Instant::now();
        for _ in 0..most {
            let Some(&(ended, slot, keys)) = tables.ended.front() else {
                return;
            };
            if now.duration_since(ended) < LINGER && self.slots.has_free() {
                return;
            }
            tables.ended.pop_front();
            self.records.abandon(slot);
            remove(tables, slot, &keys);
            self.slots.give_back(slot);
        }
    }
}

/// Removes a flow's keys, unless they lead to another one by now.
fn remove(tables: &mut Tables, slot: u32, keys: &[Key; 2]) {
    for (end, key) in keys.iter().enumerate() {
        if tables.keys.get(key, 0).ok() == Some(slot * 2 + end as u32) {
            // It was there a moment ago, and this is the only thread that changes the map.
            let _ = tables.keys.remove(key);
        }
    }
}

fn attach(ebpf: &mut Ebpf, index: u32) -> io::Result<()> {
    let name = interface::name(index)?;
    for (program_name, at) in PROGRAMS {
        let program = program(ebpf, program_name).map_err(io::Error::other)?;
        let first = TcAttachOptions::TcxOrder(LinkOrder::first());
        program
            .attach_with_options(&name, at, first)
            .or_else(|error| {
                // Kernels before 6.6 have no tcx.
                tracing::debug!(%error, interface = name, "no tcx, taking the classic classifier");
                let _ = aya::programs::tc::qdisc_add_clsact(&name);
                let options = TcAttachOptions::Netlink(NlOptions::default());
                program.attach_with_options(&name, at, options)
            })
            .map_err(io::Error::other)?;
    }
    tracing::debug!(interface = name, "the relay's programs are attached");
    Ok(())
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier> {
    let program = ebpf
        .program_mut(name)
        .ok_or_else(|| anyhow!("the eBPF object has no program {name}"))?;
    Ok(program.try_into()?)
}

/// The errno behind a map error.
fn refused(error: MapError) -> io::Error {
    match error {
        MapError::SyscallError(error) => error.io_error,
        other => io::Error::other(other),
    }
}

/// Addresses of an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The proxy's own.
    pub local: SocketAddr,
    /// The far host's.
    pub remote: SocketAddr,
}
