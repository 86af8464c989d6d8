//! The relay's engine: loads the programs, attaches them where flows need them, owns their maps.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow, bail};
use aya::maps::{HashMap as BpfHashMap, Map, MapData, MapError, RingBuf};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::tc::{NlOptions, SchedClassifierLink, TcAttachOptions};
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, TcAttachType};
use aya::{Ebpf, EbpfLoader};
use underpass_common::relay::details::Details;
use underpass_common::relay::{Flow, Key, Phase};

use super::grace::{Grace, IsNoted};
use super::pins::Pins;
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

/// What was attached last comes first: what routers say is looked for where there is no segment.
const PROGRAMS: [(&str, TcAttachType); 3] = [
    ("underpass_relay_icmp", TcAttachType::Ingress),
    ("underpass_relay_in", TcAttachType::Ingress),
    ("underpass_relay_out", TcAttachType::Egress),
];

/// Maps that flows need to outlive the daemon.
const PINNED: [&str; 5] = [
    "RELAY_KEYS",
    "RELAY_FLOWS",
    "RELAY_EVENTS",
    "RELAY_EVENTS_LOST",
    "RELAY_DETAILS",
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
    /// Interfaces and programs, by index, that are attached.
    attached: HashSet<(u32, usize)>,
}

/// The engine. Dropping it detaches the programs, unless they are pinned.
pub struct Engine {
    tables: Mutex<Tables>,
    /// The flows.
    pub records: Records,
    /// What the flows' tasks are woken through.
    pub slots: Arc<Slots>,
    /// Gone once another daemon may hear the events.
    watcher: Mutex<Option<Watcher>>,
    grace: Grace,
    ids: AtomicU64,
    /// Where flows outlive us.
    pins: Option<Pins>,
    details: Option<MappedArray<Details>>,
    /// Another daemon may look after the flows: none is entered any more.
    let_go: AtomicBool,
    /// Flows that were left to another daemon, in this kernel.
    left: AtomicU64,
    /// Slots of flows that were there when we came.
    found: Mutex<Vec<u32>>,
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
    /// Loads the programs for up to `flows` flows; they are attached as flows need them. With `pins`,
    /// maps and links that are there are taken over, for as many flows as they were made for, and
    /// programs that are attached are replaced by ours in one step.
    ///
    /// # Errors
    /// What is missing, in words for the operator: object, privilege, or what the kernel refused.
    pub fn load(flows: u32, pins: Option<Pins>) -> Result<Self> {
        if OBJECT.is_empty() {
            bail!("this binary was built without its eBPF object (cargo xtask build embeds it)");
        }
        if let Some(pins) = &pins {
            discard(pins, flows).context("what is pinned")?;
        }
        let mut loader = EbpfLoader::new();
        let log_level = 0u8;
        loader.override_global(aya_log::LEVEL, &log_level, false);
        loader.map_max_entries("RELAY_FLOWS", flows);
        // Flows that have ended keep theirs for a while.
        loader.map_max_entries("RELAY_KEYS", flows.saturating_mul(2));
        if let Some(pins) = &pins {
            loader.map_max_entries("RELAY_DETAILS", flows);
            for name in PINNED {
                loader.map_pin_path(name, pins.map(name));
            }
        }
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
        let lost = array(take("RELAY_EVENTS_LOST")?, Access::ReadOnly)?;
        let records = Records::new(array(take("RELAY_FLOWS")?, Access::ReadWrite)?);
        let details = match &pins {
            Some(_) => Some(array(take("RELAY_DETAILS")?, Access::ReadWrite)?),
            None => None,
        };
        let count = u32::try_from(records.len()).unwrap_or(u32::MAX);
        if details
            .as_ref()
            .is_some_and(|all| all.len() < records.len())
        {
            bail!("the pinned maps are not of one size");
        }
        if count != flows {
            tracing::warn!(
                "the pinned relay has room for {count} flows; another number is taken when none of them lives"
            );
        }
        let (found, free): (Vec<u32>, Vec<u32>) =
            (0..count).partition(|slot| records.id(*slot) != 0);
        let first = found.iter().map(|slot| records.id(*slot)).max();
        let slots = Arc::new(Slots::with_free(count, free));
        let attached = match &pins {
            Some(pins) => renew(&mut ebpf, pins)?,
            None => HashSet::new(),
        };
        let watcher = Watcher::start(slots.clone(), events, lost)?;
        let grace = Grace::start(slots.clone())?;
        Ok(Self {
            tables: Mutex::new(Tables {
                keys,
                ended: VecDeque::new(),
                ebpf,
                attached,
            }),
            records,
            slots,
            watcher: Mutex::new(Some(watcher)),
            grace,
            ids: AtomicU64::new(first.unwrap_or(0) + 1),
            pins,
            details,
            let_go: AtomicBool::new(false),
            left: AtomicU64::new(0),
            found: Mutex::new(found),
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
        for index in 0..PROGRAMS.len() {
            if !tables.attached.contains(&(route.interface, index)) {
                attach(&mut tables.ebpf, self.pins.as_ref(), route.interface, index)?;
                tables.attached.insert((route.interface, index));
            }
        }
        Ok(route)
    }

    /// Whether a flow could be entered.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.sweep(&mut self.tables(), 1);
        !self.has_let_go() && self.slots.has_free()
    }

    /// Enters a flow whose segments are those of `keys`: the programs look at them from now on. With its slot
    /// comes what becomes true once none passes unseen.
    ///
    /// # Errors
    /// When there is no room; nothing has changed then.
    pub fn enter(&self, flow: &Flow, keys: [Key; 2]) -> Result<(u32, IsNoted), Refusal> {
        let mut tables = self.tables();
        if self.has_let_go() {
            return Err(Refusal::new(
                Why::Unavailable,
                "another daemon has the relay",
            ));
        }
        self.sweep(&mut tables, 2);
        let Some(slot) = self.slots.take() else {
            return Err(Refusal::new(Why::Full, "the relay's table is full"));
        };
        let mut flow = *flow;
        flow.id = self.ids.fetch_add(1, Ordering::Relaxed);
        flow.owner = self.number();
        flow.since = SystemTime::UNIX_EPOCH
            .elapsed()
            .map_or(0, |since| since.as_nanos() as u64);
        self.records.write(slot, &flow);
        for end in 0..2 {
            if let Err(error) = tables.keys.insert(keys[end], slot * 2 + end as u32, 0) {
                self.forget(&mut tables, slot, &keys);
                return Err(Refusal {
                    why: Why::Full,
                    error: refused(error),
                });
            }
        }
        Ok((slot, self.grace.ask(slot)))
    }

    /// Gives a flow's slot back. `lingers`: its late segments are still relayed for a while, or until
    /// the room is needed. Call when its sockets are closed.
    pub fn release(&self, slot: u32, keys: [Key; 2], lingers: bool) {
        let mut tables = self.tables();
        if !lingers {
            self.forget(&mut tables, slot, &keys);
        } else if self.has_let_go() {
            self.records.set_owner(slot, 0);
        } else {
            tables.ended.push_back((Instant::now(), slot, keys));
        }
    }

    /// The stack has the flow again, if there still is one, and the slot is free.
    fn forget(&self, tables: &mut Tables, slot: u32, keys: &[Key; 2]) {
        self.records.abandon(slot);
        remove(tables, slot, keys);
        self.records.forget(slot);
        self.slots.give_back(slot);
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
            self.forget(tables, slot, &keys);
        }
    }

    /// Whether its flows outlive the daemon.
    #[must_use]
    pub fn outlives(&self) -> bool {
        self.pins.is_some()
    }

    /// What other daemons know this one by, in the records of flows.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.pins.as_ref().map_or(0, Pins::number)
    }

    /// Notes what another daemon has to know of a flow.
    pub fn describe(&self, slot: u32, details: &Details) {
        if let Some(all) = &self.details {
            for (at, word) in details.words().into_iter().enumerate() {
                all.store(slot as usize, at * 8, word);
            }
        }
    }

    /// What is noted of a flow.
    #[must_use]
    pub fn details(&self, slot: u32) -> Details {
        let mut words = Details::default().words();
        if let Some(all) = &self.details {
            for (at, word) in words.iter_mut().enumerate() {
                *word = all.load(slot as usize, at * 8);
            }
        }
        Details::of(&words)
    }

    /// Lets another daemon look after the flows: from now on none is entered, and whose sockets sleep
    /// are to be [left](Self::leave). Without pins there is nobody else, and nothing happens.
    pub fn let_go(&self) {
        let Some(pins) = &self.pins else {
            return;
        };
        let ended = {
            let mut tables = self.tables();
            if self.let_go.swap(true, Ordering::SeqCst) {
                return;
            }
            std::mem::take(&mut tables.ended)
        };
        // Two that read the ring would each miss what the other has read.
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        drop(watcher.take());
        for (_, slot, _) in ended {
            self.records.set_owner(slot, 0);
        }
        pins.let_go();
        self.slots.notify_all();
    }

    /// Whether another daemon may look after the flows.
    #[must_use]
    pub fn has_let_go(&self) -> bool {
        self.let_go.load(Ordering::SeqCst)
    }

    /// Leaves a settled flow to whichever daemon comes. Call when its sockets are closed.
    pub fn leave(&self, slot: u32) {
        self.left.fetch_add(1, Ordering::Relaxed);
        self.records.set_owner(slot, 0);
    }

    /// Call when all flows of this process have ended, or were left. Returns how many go on in the
    /// kernel; with none, nothing stays pinned.
    ///
    /// # Errors
    /// When what is pinned cannot be removed.
    pub fn close(&self) -> io::Result<u64> {
        let Some(pins) = &self.pins else {
            return Ok(0);
        };
        let number = self.number();
        let (mut ours, mut others) = (0, 0);
        for slot in 0..self.count() {
            let owner = self.records.owner(slot);
            let settled = self.records.phase(slot, 0).0 == Phase::Settled;
            if self.records.id(slot) != 0 {
                ours += u64::from(owner == number && settled);
                others += u64::from(owner != number && (settled || owner != 0));
            }
        }
        if ours + others == 0 && pins.retake()? {
            pins.remove()?;
        }
        Ok(ours + self.left.load(Ordering::Relaxed))
    }

    fn count(&self) -> u32 {
        u32::try_from(self.records.len()).unwrap_or(u32::MAX)
    }

    /// Flows that were there when we came and that nobody looks after any more, each once: those
    /// whose sockets sleep are ours from now on and returned; of the others, those that have ended
    /// linger on, and those that died with their sockets are forgotten. Whether daemons that may
    /// leave more still live is the second value.
    #[must_use]
    pub fn inherit(&self) -> (Vec<u32>, bool) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(pins) = self.pins.as_ref().filter(|_| !found.is_empty()) else {
            return (Vec::new(), false);
        };
        let mut living = std::collections::HashMap::new();
        let mut adopted = Vec::new();
        found.retain(|&slot| {
            let owner = self.records.owner(slot);
            if owner != 0 && *living.entry(owner).or_insert_with(|| pins.is_alive(owner)) {
                // It may have given the slot back since we came.
                return true;
            }
            let keys = [0, 1].map(|end| self.records.key(slot, end));
            let phases = [0, 1].map(|end| self.records.phase(slot, end).0);
            let mut tables = self.tables();
            if self.records.id(slot) == 0 {
                self.slots.give_back(slot);
            } else if phases == [Phase::Settled; 2] {
                self.records.set_owner(slot, self.number());
                adopted.push(slot);
            } else if phases.contains(&Phase::Linger) {
                self.records.linger(slot);
                self.records.set_owner(slot, self.number());
                tables.ended.push_back((Instant::now(), slot, keys));
            } else {
                self.forget(&mut tables, slot, &keys);
            }
            false
        });
        (adopted, !found.is_empty())
    }
}

/// The values of a memory-mapped array.
fn array<T>(map: Map, access: Access) -> Result<MappedArray<T>> {
    let Map::Array(data) = map else {
        bail!("a map of the eBPF object is not an array");
    };
    let info = data.info()?;
    if info.value_size() as usize != size_of::<T>() {
        bail!(
            "a map has values of {} bytes instead of {}",
            info.value_size(),
            size_of::<T>()
        );
    }
    Ok(MappedArray::new(
        data.fd().as_fd(),
        info.max_entries() as usize,
        access,
    )?)
}

/// Removes what is pinned if it has not room for just `flows` flows, and none is in it that lives.
fn discard(pins: &Pins, flows: u32) -> Result<()> {
    let path = pins.map("RELAY_FLOWS");
    if !path.exists() {
        return Ok(());
    }
    let records = Records::new(array(
        Map::Array(MapData::from_pin(path)?),
        Access::ReadOnly,
    )?);
    let count = u32::try_from(records.len()).unwrap_or(u32::MAX);
    let lives = |slot| {
        let owner = records.owner(slot);
        records.id(slot) != 0 && (records.goes_on(slot) || owner != 0 && pins.is_alive(owner))
    };
    if count != flows && !(0..count).any(lives) {
        pins.clear()?;
    }
    Ok(())
}

/// Puts our programs in the place of those that are attached and pinned.
fn renew(ebpf: &mut Ebpf, pins: &Pins) -> Result<HashSet<(u32, usize)>> {
    let mut attached = HashSet::new();
    for (interface, index) in pins.links()? {
        let path = pins.link(interface, index);
        let link = FdLink::from(PinnedLink::from_pin(&path)?);
        let program = program(ebpf, PROGRAMS[index].0)?;
        match program.attach_to_link(SchedClassifierLink::try_from(link)?) {
            Ok(link) => {
                // The pin keeps it.
                drop(program.take_link(link)?);
                attached.insert((interface, index));
            }
            Err(error) if is_gone(&error) => {
                tracing::debug!(interface, "an interface with the relay's programs is gone");
                std::fs::remove_file(&path)?;
            }
            Err(error) => {
                return Err(error).with_context(|| format!("renewing {}", path.display()));
            }
        }
    }
    Ok(attached)
}

/// Whether a link has lost its interface.
fn is_gone(error: &ProgramError) -> bool {
    match error {
        ProgramError::SyscallError(error) => error.io_error.raw_os_error() == Some(libc::ENOLINK),
        _ => false,
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

/// Attaches a program, by its index, to an interface, and pins it where there are pins.
fn attach(ebpf: &mut Ebpf, pins: Option<&Pins>, interface: u32, index: usize) -> io::Result<()> {
    let name = interface::name(interface)?;
    let (program_name, at) = PROGRAMS[index];
    let program = program(ebpf, program_name).map_err(io::Error::other)?;
    let first = TcAttachOptions::TcxOrder(LinkOrder::first());
    let attached = program.attach_with_options(&name, at, first);
    match (attached, pins) {
        (Ok(link), Some(pins)) => {
            let pin = || -> Result<()> {
                let link = FdLink::try_from(program.take_link(link)?)?;
                link.pin(pins.link(interface, index))?;
                Ok(())
            };
            pin().map_err(io::Error::other)?;
        }
        (Ok(_), None) => {}
        (Err(error), Some(_)) => return Err(io::Error::other(error)),
        (Err(error), None) => {
            // Kernels before 6.6 have no tcx.
            tracing::debug!(%error, interface = name, "no tcx, taking the classic classifier");
            let _ = aya::programs::tc::qdisc_add_clsact(&name);
            let options = TcAttachOptions::Netlink(NlOptions::default());
            let attached = program.attach_with_options(&name, at, options);
            attached.map_err(io::Error::other)?;
        }
    }
    tracing::debug!(interface = name, program_name, "attached");
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
