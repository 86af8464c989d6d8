//! The flows' records and the words in them, which daemon and programs change at the same time.

use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd};
use core::ptr;

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, RingBuf};
use underpass_common::relay::details::Details;
use underpass_common::relay::{Event, Flow, Half, Key, Phase, Terms, join, split};

// The loader gives the maps their sizes.

/// Whose segments are looked at.
#[map]
static RELAY_KEYS: HashMap<Key, u32> = HashMap::with_max_entries(2, BPF_F_NO_PREALLOC);

/// The flows; mapped into the daemon.
#[map]
static RELAY_FLOWS: Array<Flow> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// What the daemon is told.
#[map]
static RELAY_EVENTS: RingBuf = RingBuf::with_byte_size(256 * 1024, 0);

/// How many events found [`RELAY_EVENTS`] full; mapped into the daemon, which then looks at every
/// flow.
#[map]
static RELAY_EVENTS_LOST: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// What daemons tell one another about the flows; no program looks at it.
#[map]
static RELAY_DETAILS: Array<Details> = Array::with_max_entries(1, BPF_F_MMAPABLE);

const BPF_F_NO_PREALLOC: u32 = 1;
const BPF_F_MMAPABLE: u32 = 1 << 10;

/// How often a word is tried that another CPU changes at the same time.
pub(super) const ATTEMPTS: u32 = 8;

macro_rules! field {
    ($half:expr, $field:ident) => {{
        let half = $half;
        // SAFETY: a field of a live map value; only its address is taken.
        unsafe { &raw mut (*half).$field }
    }};
}
pub(super) use field;

/// The flow of a key, with its slot and the end.
#[inline(always)]
pub(super) fn find(key: &Key) -> Option<(*mut Flow, u32, usize)> {
    // SAFETY: the value is a plain u32 that is never changed in place.
    let place = *unsafe { RELAY_KEYS.get(key) }?;
    let slot = place >> 1;
    Some((RELAY_FLOWS.get_ptr_mut(slot)?, slot, (place & 1) as usize))
}

/// One end's records.
#[inline(always)]
pub(super) fn half(flow: *mut Flow, end: usize) -> *mut Half {
    // SAFETY: `flow` points at a live map value, and `end` is 0 or 1.
    unsafe { (&raw mut (*flow).halves).cast::<Half>().add(end & 1) }
}

/// Up to where an end's payload is surely acknowledged.
#[inline(always)]
pub(super) fn sure(flow: *mut Flow, end: usize) -> *mut u64 {
    // SAFETY: as for `half`.
    unsafe { (&raw mut (*flow).sure).cast::<u64>().add(end & 1) }
}

/// How far an end may send, as far as the far host of the other end has said so itself.
#[inline(always)]
pub(super) fn offered(flow: *mut Flow, end: usize) -> *mut u64 {
    // SAFETY: as for `half`.
    unsafe { (&raw mut (*flow).offered).cast::<u64>().add(end & 1) }
}

/// One end's terms, which do not change while segments are translated.
#[inline(always)]
pub(super) fn terms(flow: *mut Flow, end: usize) -> &'static Terms {
    // SAFETY: as for `half`; the daemon writes them before it lets the programs use them.
    unsafe { &*(&raw const (*flow).terms).cast::<Terms>().add(end & 1) }
}

#[inline(always)]
pub(super) fn load(word: *mut u64) -> u64 {
    // SAFETY: points at a live, aligned u64 of a map value.
    unsafe { ptr::read_volatile(word) }
}

#[inline(always)]
pub(super) fn store(word: *mut u64, value: u64) {
    // SAFETY: as for `load`.
    unsafe { ptr::write_volatile(word, value) };
}

#[inline(always)]
pub(super) fn add(word: *mut u64, by: u64) {
    // SAFETY: as for `load`.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(word, by) };
}

#[inline(always)]
pub(super) fn swap(word: *mut u64, old: u64, new: u64) -> (u64, bool) {
    // SAFETY: as for `load`; the word is only changed atomically.
    unsafe {
        atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(word, old, new)
    }
}

/// Changes a word as `f` says; what it was changed to.
#[inline(always)]
pub(super) fn change(word: *mut u64, f: impl Fn(u64) -> u64) -> u64 {
    let mut old = load(word);
    for _ in 0..ATTEMPTS {
        let new = f(old);
        if new == old {
            break;
        }
        let (was, done) = swap(word, old, new);
        if done {
            return new;
        }
        old = was;
    }
    old
}

/// Tells the daemon that something happened to the flow in `slot`.
#[inline(always)]
pub(super) fn announce(slot: u32, what: u32) {
    if RELAY_EVENTS
        .output::<Event>(Event { slot, what }, 0)
        .is_err()
        && let Some(lost) = RELAY_EVENTS_LOST.get_ptr_mut(0)
    {
        add(lost, 1);
    }
}

/// The relay has nothing to do with the flow any more.
#[inline(always)]
pub(super) fn finish(flow: *mut Flow) {
    for end in 0..2 {
        let word = field!(half(flow, end), phase);
        change(word, |old| join(Phase::Over as u32, split(old).1));
    }
}
