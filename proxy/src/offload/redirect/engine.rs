//! The redirect engine: loads the program, owns its maps, enrols and releases flows.

use std::fmt;
use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, anyhow, bail};
use aya::maps::{HashMap, MapData, MapError, RingBuf, SockMap};
use aya::programs::SkSkb;
use aya::{Ebpf, EbpfLoader};
use underpass_common::redirect::{Control, SOURCE_FIELDS, State, TARGET_FIELDS, peer_index};

use super::direction::{Counts, Direction};
use super::watcher::{Sources, Watcher};
use crate::observe::record::{KernelCounter, Why};
use crate::offload::btf;
use crate::offload::object::OBJECT;
use crate::offload::slots::Slots;
use crate::sys::mmap::{Access, MappedArray};
use crate::sys::{socket, tcp};

/// Flows that may be in the kernel's hands at once, unless configured. Each costs 256 bytes of
/// records and about 150 of map entries, allocated at start.
pub const DEFAULT_FLOWS: u32 = 16_384;

/// The program's name in the object.
const PROGRAM: &str = "underpass_verdict";

/// The maps that sockets are entered into. The calls are short; contention is not worth more.
struct Tables {
    targets: SockMap<MapData>,
    sources: SockMap<MapData>,
    indices: HashMap<MapData, u64, u32>,
}

/// The engine. Dropping it unloads the program.
pub struct Engine {
    tables: Mutex<Tables>,
    control: MappedArray<Control>,
    state: MappedArray<State>,
    /// What tasks of redirected flows are woken through.
    pub slots: Arc<Slots>,
    /// The thread that watches their sockets.
    pub watcher: Watcher,
    epoch: AtomicU64,
    cap: u64,
    /// Keeps program and attachments alive.
    _ebpf: Mutex<Ebpf>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

/// Why a flow could not be enrolled.
#[derive(Debug)]
pub struct Refusal {
    /// For the flow's record.
    pub why: Why,
    /// The details.
    pub error: io::Error,
}

impl Refusal {
    fn new(why: Why, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            why,
            error: io::Error::other(error),
        }
    }
}

/// A flow that has been entered into the maps.
#[derive(Debug)]
pub struct Enrolled {
    /// Its slot.
    pub slot: u32,
    /// The machines of both directions, indexed by source side.
    pub directions: [Direction; 2],
    cookies: [u64; 2],
}

/// Socket index of side `side` of a flow slot.
#[must_use]
pub fn index(slot: u32, side: usize) -> u32 {
    slot * 2 + side as u32
}

impl Engine {
    /// Loads the program for up to `flows` flows, with `cap` bytes per direction.
    ///
    /// # Errors
    /// What is missing, in words for the operator: object, privilege, BTF, or what the kernel
    /// refused.
    pub fn load(flows: u32, cap: u64) -> Result<Self> {
        if OBJECT.is_empty() {
            bail!("this binary was built without its eBPF object (cargo xtask build embeds it)");
        }
        let kernel = btf::Kernel::open()?;
        let fields = TARGET_FIELDS.iter().chain(&SOURCE_FIELDS);
        let offsets = fields
            .map(|(structure, field, global)| Ok((*global, kernel.field_offset(structure, field)?)))
            .collect::<Result<Vec<(&str, u32)>>>()?;
        let speak = crate::observe::tracing::wants_programs();
        let log_level = u8::from(speak) * aya_log::Level::Debug as u8;
        let sockets = flows
            .checked_mul(2)
            .ok_or_else(|| anyhow!("too many offload slots: {flows}"))?;
        let mut loader = EbpfLoader::new();
        loader.override_global(aya_log::LEVEL, &log_level, false);
        for (global, offset) in &offsets {
            loader.override_global(global, offset, true);
        }
        for map in ["TARGETS", "SOURCES", "INDICES", "CONTROL", "STATE"] {
            loader.map_max_entries(map, sockets);
        }
        let mut ebpf = loader.load(OBJECT).context("loading the eBPF object")?;
        let logs = if speak {
            Some(aya_log::EbpfLogger::init(&mut ebpf)?)
        } else {
            None
        };
        let program: &mut SkSkb = ebpf
            .program_mut(PROGRAM)
            .ok_or_else(|| anyhow!("the eBPF object has no program {PROGRAM}"))?
            .try_into()?;
        // Before the maps are taken out: loading needs their descriptors.
        program.load().context("loading the verdict program")?;
        let mut take = |name: &str| {
            ebpf.take_map(name)
                .ok_or_else(|| anyhow!("the eBPF object has no map {name}"))
        };
        let targets = SockMap::try_from(take("TARGETS")?)?;
        let sources = SockMap::try_from(take("SOURCES")?)?;
        let indices = HashMap::try_from(take("INDICES")?)?;
        let events = RingBuf::try_from(take("EVENTS")?)?;
        let control = map_array(&take("CONTROL")?, sockets, Access::ReadWrite)?;
        let state = map_array(&take("STATE")?, sockets, Access::ReadOnly)?;
        let lost = map_array(&take("EVENTS_LOST")?, 1, Access::ReadOnly)?;
        // Before the first socket: a socket takes over the programs that the map has when it is
        // inserted.
        let program: &mut SkSkb = ebpf
            .program_mut(PROGRAM)
            .ok_or_else(|| anyhow!("the eBPF object has no program {PROGRAM}"))?
            .try_into()?;
        program
            .attach(sources.fd())
            .context("attaching the verdict program")?;
        let slots = Arc::new(Slots::new(flows));
        let watcher = Watcher::start(slots.clone(), Sources { events, lost, logs })?;
        Ok(Self {
            tables: Mutex::new(Tables {
                targets,
                sources,
                indices,
            }),
            control,
            state,
            slots,
            watcher,
            epoch: AtomicU64::new(1),
            cap,
            _ebpf: Mutex::new(ebpf),
        })
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // Each table is whole after every call, so a panic elsewhere leaves them usable.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters both sockets of a flow. `held` is what user space has read of each direction and
    /// not written yet, bytes; both sockets must have been read until they would block, and
    /// nothing else may read or write them from here on.
    ///
    /// # Errors
    /// Why not; both sockets are then as they were.
    pub fn enrol(
        &self,
        sockets: [BorrowedFd<'_>; 2],
        held: [usize; 2],
    ) -> Result<Enrolled, Refusal> {
        let mut cookies = [0; 2];
        let mut written = [0; 2];
        for side in 0..2 {
            let io = |error| Refusal::new(Why::Refused, error);
            let info = tcp::info(sockets[side]).map_err(io)?;
            if info.state != tcp::ESTABLISHED {
                return Err(Refusal::new(
                    Why::NotEstablished,
                    format!("TCP state {}", info.state),
                ));
            }
            written[side] = info.written;
            cookies[side] = socket::cookie(sockets[side]).map_err(io)?;
        }
        let Some(slot) = self.slots.take() else {
            return Err(Refusal::new(Why::Full, "all offload slots are taken"));
        };
        match self.enter(slot, sockets, cookies, written, held) {
            Ok(enrolled) => Ok(Enrolled {
                slot,
                directions: [0, 1].map(|source| {
                    Direction::new(written[1 - source], held[source], enrolled[source])
                }),
                cookies,
            }),
            Err(error) => {
                self.withdraw(slot, sockets, cookies);
                self.slots.give_back(slot);
                let why = if error.raw_os_error() == Some(libc::EOPNOTSUPP) {
                    Why::NotEstablished
                } else {
                    Why::Refused
                };
                Err(Refusal { why, error })
            }
        }
    }

    /// Returns which sources the verdict sees.
    fn enter(
        &self,
        slot: u32,
        sockets: [BorrowedFd<'_>; 2],
        cookies: [u64; 2],
        written: [u64; 2],
        held: [usize; 2],
    ) -> io::Result<[bool; 2]> {
        let epoch = self.epoch.fetch_add(1, Ordering::Relaxed);
        let mut tables = self.tables();
        for side in 0..2 {
            let at = index(slot, side);
            self.write_control(at, epoch, written[1 - side], held[side]);
            tables
                .indices
                .insert(cookies[side], at, 0)
                .map_err(refused)?;
            tables
                .targets
                .set(at, &sockets[side].as_raw_fd(), 0)
                .map_err(refused)?;
        }
        for side in 0..2 {
            self.watcher.add(sockets[side], index(slot, side))?;
        }
        // From the first of these on the verdict is live, and there is no way back for it.
        tables
            .sources
            .set(index(slot, 0), &sockets[0].as_raw_fd(), 0)
            .map_err(refused)?;
        let second = tables
            .sources
            .set(index(slot, 1), &sockets[1].as_raw_fd(), 0);
        drop(tables);
        let enrolled = [true, second.is_ok()];
        if let Err(error) = second {
            tracing::debug!(%error, "the server's direction stays in user space");
            self.watcher.also(sockets[1], index(slot, 1), false, true)?;
        }
        for side in 0..2 {
            if enrolled[side] {
                socket::set_rcvlowat(sockets[side], 1)?;
            }
        }
        Ok(enrolled)
    }

    fn write_control(&self, at: u32, epoch: u64, base: u64, held: usize) {
        let at = at as usize;
        let put = |offset, value| self.control.store(at, offset, value);
        put(offset_of!(Control, want), 1);
        put(
            offset_of!(Control, forwarded),
            Direction::initial_forwarded(held),
        );
        put(offset_of!(Control, cap), self.cap);
        // What is held counts as written already when `forwarded` reaches zero.
        put(offset_of!(Control, base), base + held as u64);
        put(offset_of!(Control, epoch), epoch);
    }

    /// Undoes a partial [`Engine::enter`] that never reached the verdict.
    fn withdraw(&self, slot: u32, sockets: [BorrowedFd<'_>; 2], cookies: [u64; 2]) {
        let mut tables = self.tables();
        for side in 0..2 {
            // Entries that were never made are not there to be removed.
            let _ = tables.indices.remove(&cookies[side]);
            let _ = tables.targets.clear_index(&index(slot, side));
            let _ = self.watcher.remove(sockets[side]);
        }
    }

    /// Gives a flow's slot back. Call after both its sockets have been closed.
    pub fn release(&self, enrolled: &Enrolled) {
        let mut tables = self.tables();
        for cookie in enrolled.cookies {
            // The entry may be missing only if the map itself is gone.
            let _ = tables.indices.remove(&cookie);
        }
        drop(tables);
        self.slots.give_back(enrolled.slot);
    }

    /// Publishes how many passed bytes have been written to the target of source `at`.
    pub fn publish(&self, at: u32, forwarded: u64) {
        self.control
            .store(at as usize, offset_of!(Control, forwarded), forwarded);
    }

    /// The epoch that a slot was enrolled with.
    fn epoch_of(&self, at: u32) -> u64 {
        self.control.load(at as usize, offset_of!(Control, epoch))
    }

    fn read(&self, at: u32, offset: usize) -> u64 {
        if self.state.load(at as usize, offset_of!(State, epoch)) == self.epoch_of(at) {
            self.state.load(at as usize, offset)
        } else {
            0
        }
    }

    /// What the verdict has counted for source `at`.
    #[must_use]
    pub fn counts(&self, at: u32) -> Counts {
        // In this order: once passed bytes are owed, the program redirects nothing more until they
        // are published, so the later reading of `redirected` is final. The other way round, user
        // space could miss a redirect and write ahead of it.
        let passed = self.read(at, offset_of!(State, passed));
        let redirected = self.read(at, offset_of!(State, redirected));
        Counts { passed, redirected }
    }

    /// Whether the program found that source `at` cannot be continued.
    #[must_use]
    pub fn is_broken(&self, at: u32) -> bool {
        self.read(at, offset_of!(State, broken)) != 0
    }

    /// `CLOCK_MONOTONIC` of the last segment of source `at`, ns; 0 before the first.
    #[must_use]
    pub fn last_ns(&self, at: u32) -> u64 {
        self.read(at, offset_of!(State, last_ns))
    }
}

/// Live counters of one redirected direction.
#[derive(Debug)]
pub struct Counter {
    engine: Arc<Engine>,
    at: u32,
}

impl Counter {
    /// Counters of source `at`.
    #[must_use]
    pub fn new(engine: Arc<Engine>, at: u32) -> Self {
        Self { engine, at }
    }
}

impl KernelCounter for Counter {
    fn bytes(&self) -> u64 {
        self.engine.read(self.at, offset_of!(State, redirected))
    }

    fn flips(&self) -> u64 {
        self.engine.read(self.at, offset_of!(State, flips))
    }
}

fn map_array<T>(map: &aya::maps::Map, entries: u32, access: Access) -> Result<MappedArray<T>> {
    let aya::maps::Map::Array(data) = map else {
        bail!("a map of the eBPF object is not an array");
    };
    Ok(MappedArray::new(
        data.fd().as_fd(),
        entries as usize,
        access,
    )?)
}

/// The errno behind a map error.
fn refused(error: MapError) -> io::Error {
    match error {
        MapError::SyscallError(error) => error.io_error,
        other => io::Error::other(other),
    }
}

const _: () = assert!(peer_index(0) == 1 && peer_index(1) == 0);
