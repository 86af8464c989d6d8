//! XDP on an interface: refuses connection attempts before the stack sees them.

use core::intrinsics::{AtomicOrdering, atomic_cxchg};
use core::ptr;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::bindings::{
    BPF_FIB_LKUP_RET_BLACKHOLE, BPF_FIB_LKUP_RET_FWD_DISABLED, BPF_FIB_LKUP_RET_NOT_FWDED,
    BPF_FIB_LKUP_RET_PROHIBIT, BPF_FIB_LKUP_RET_UNREACHABLE, bpf_fib_lookup,
};
use aya_ebpf::helpers::{self, bpf_ktime_get_coarse_ns, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::lpm_trie::Key;
use aya_ebpf::maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray};
use aya_ebpf::programs::XdpContext;
use underpass_common::guard::bucket::{self, Rate};
use underpass_common::guard::frame::{self, Family, Frame, Syn};
use underpass_common::guard::{
    self, Guarded, Judgement, ListenerKey, Outcome, RESET, Rule, SCOPE_BITS, SourceKey, reset,
};

// The loader gives the maps their sizes; every load of this object makes all of its maps, so they
// are small until then.

/// The generation in force.
#[map]
static GUARD_ACTIVE: Array<u32> = Array::with_max_entries(1, 0);

/// What is guarded.
#[map]
static GUARD_LISTENERS: HashMap<ListenerKey, Guarded> = HashMap::with_max_entries(2, 0);

/// Networks of IPv4 sources to slots of rules.
#[map]
static GUARD_NETS4: LpmTrie<[u8; 8], u32> = LpmTrie::with_max_entries(2, 0);

/// Networks of IPv6 sources to slots of rules.
#[map]
static GUARD_NETS6: LpmTrie<[u8; 20], u32> = LpmTrie::with_max_entries(2, 0);

/// When the bucket of a source is full again, `CLOCK_MONOTONIC`, ns. What is not seen for long
/// makes room.
#[map]
static GUARD_SOURCES: LruHashMap<SourceKey, u64> = LruHashMap::with_max_entries(2, 0);

/// What rules do, by slot.
#[map]
static GUARD_RULES: Array<Rule> = Array::with_max_entries(2, 0);

/// SYNs that each rule refused, by slot.
#[map]
static GUARD_REFUSED: PerCpuArray<u64> = PerCpuArray::with_max_entries(2, 0);

/// SYNs to guarded listeners, by [`Outcome`].
#[map]
static GUARD_OUTCOMES: PerCpuArray<u64> =
    PerCpuArray::with_max_entries(Outcome::ALL.len() as u32, 0);

/// Highest offset at which a header is looked for; the verifier wants a bound.
const MOST_OFFSET: usize = 0x3ff;
/// How often a bucket is tried that other CPUs take from at the same time.
const ATTEMPTS: u32 = 8;

/// Entry point: the verdict on one frame.
#[xdp(frags)]
pub fn underpass_guard(ctx: XdpContext) -> u32 {
    let packet = Packet {
        start: ctx.data(),
        end: ctx.data_end(),
    };
    let Some(syn) = frame::parse(&packet) else {
        return XDP_PASS;
    };
    let (rule, reason, everywhere) = match guard::judge(&syn, &Maps) {
        Judgement::Unguarded => return XDP_PASS,
        Judgement::Pass => return count_and(Outcome::Passed, XDP_PASS),
        Judgement::Allow => return count_and(Outcome::Allowed, XDP_PASS),
        Judgement::Refuse {
            rule,
            reason,
            everywhere,
        } => (rule, reason, everywhere),
    };
    if everywhere && is_forwarded(&ctx, &syn) {
        return count_and(Outcome::Forwarded, XDP_PASS);
    }
    let how = GUARD_RULES.get(rule).map_or(guard::DROP, |rule| rule.how);
    add_one(GUARD_REFUSED.get_ptr_mut(rule));
    let action = if how == RESET && answer(&ctx, &syn).is_some() {
        XDP_TX
    } else {
        XDP_DROP
    };
    count_and(Outcome::of(reason, how), action)
}

/// A frame's linear part, which holds its headers.
struct Packet {
    start: usize,
    end: usize,
}

impl Frame for Packet {
    #[inline(always)]
    fn length(&self) -> usize {
        self.end - self.start
    }

    #[inline(always)]
    fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        if at > MOST_OFFSET {
            return None;
        }
        let from = self.start + at;
        if from + N > self.end {
            return None;
        }
        // SAFETY: the `N` bytes from there on are inside of the frame, as just compared.
        Some(unsafe { ptr::read(from as *const [u8; N]) })
    }
}

/// The maps as [`guard::judge`] asks for them.
struct Maps;

impl guard::Tables for Maps {
    #[inline(always)]
    fn generation(&self) -> u8 {
        GUARD_ACTIVE
            .get(0)
            .map_or(0, |&generation| generation as u8 & 1)
    }

    #[inline(always)]
    fn listener(&self, key: &ListenerKey) -> Option<Guarded> {
        // SAFETY: entries of a generation in force are not changed, and user space waits for
        // running programs before it removes them.
        unsafe { GUARD_LISTENERS.get(key) }.copied()
    }

    #[inline(always)]
    fn network_v4(&self, key: &[u8; 8]) -> Option<u32> {
        GUARD_NETS4.get(Key::new(SCOPE_BITS + 32, *key)).copied()
    }

    #[inline(always)]
    fn network_v6(&self, key: &[u8; 20]) -> Option<u32> {
        GUARD_NETS6.get(Key::new(SCOPE_BITS + 128, *key)).copied()
    }

    #[inline(always)]
    fn admit(&self, source: &SourceKey, rate: &Rate) -> bool {
        // SAFETY: a helper without arguments.
        let now = unsafe { bpf_ktime_get_coarse_ns() };
        let Some(full_at) = GUARD_SOURCES.get_ptr_mut(source) else {
            let Ok(next) = bucket::take(0, now, rate) else {
                return false;
            };
            // Where another CPU was faster, the source gets one connection more; where there is no
            // room at all, it is not limited.
            let _ = GUARD_SOURCES.insert(source, next, BPF_NOEXIST);
            return true;
        };
        // SAFETY: points at a live, aligned u64 of the map, which is only changed atomically.
        let mut seen = unsafe { ptr::read_volatile(full_at) };
        for _ in 0..ATTEMPTS {
            let Ok(next) = bucket::take(seen, now, rate) else {
                return false;
            };
            // SAFETY: as above.
            let (was, taken) = unsafe {
                atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(
                    full_at, seen, next,
                )
            };
            if taken {
                return true;
            }
            seen = was;
        }
        // Each failure was another connection of the same source.
        false
    }
}

const BPF_NOEXIST: u64 = 1;

/// Whether this host forwards the frame to another one instead of taking it. Cheap where it forwards
/// nothing.
#[inline(always)]
fn is_forwarded(ctx: &XdpContext, syn: &Syn) -> bool {
    const AF_INET: u8 = 2;
    const AF_INET6: u8 = 10;
    // SAFETY: all-zero is a valid value: integers and arrays of them.
    let mut route: bpf_fib_lookup = unsafe { core::mem::zeroed() };
    route.ifindex = ctx.ingress_ifindex() as u32;
    route.l4_protocol = 6;
    route.sport = syn.source_port.to_be();
    route.dport = syn.destination_port.to_be();
    match syn.family {
        Family::V4 => {
            route.family = AF_INET;
            route.__bindgen_anon_3.ipv4_src = words(&syn.source)[3];
            route.__bindgen_anon_4.ipv4_dst = words(&syn.destination)[3];
        }
        Family::V6 => {
            route.family = AF_INET6;
            route.__bindgen_anon_3.ipv6_src = words(&syn.source);
            route.__bindgen_anon_4.ipv6_dst = words(&syn.destination);
        }
    }
    let size = size_of::<bpf_fib_lookup>() as i32;
    // SAFETY: the context is the one the kernel gave this program; `route` is of the size said.
    let answer = unsafe { helpers::bpf_fib_lookup(ctx.as_ptr(), &raw mut route, size, 0) };
    // Below zero is an error; all but these are ways to another host.
    answer >= 0
        && !matches!(
            answer as u32,
            BPF_FIB_LKUP_RET_BLACKHOLE
                | BPF_FIB_LKUP_RET_UNREACHABLE
                | BPF_FIB_LKUP_RET_PROHIBIT
                | BPF_FIB_LKUP_RET_NOT_FWDED
                | BPF_FIB_LKUP_RET_FWD_DISABLED
        )
}

/// An address as the kernel keeps it.
#[inline(always)]
fn words(address: &[u8; 16]) -> [u32; 4] {
    let word = |at: usize| {
        u32::from_ne_bytes([
            address[at],
            address[at + 1],
            address[at + 2],
            address[at + 3],
        ])
    };
    [word(0), word(4), word(8), word(12)]
}

/// Turns the SYN into the reset that answers it; `None`, and the frame is to be dropped, where the
/// kernel does not let it be shortened.
#[inline(always)]
fn answer(ctx: &XdpContext, syn: &Syn) -> Option<()> {
    match syn.family {
        Family::V4 => write(ctx, syn.network_at, &reset::ipv4(syn)),
        Family::V6 => write(ctx, syn.network_at, &reset::ipv6(syn)),
    }
}

/// Ends the frame with `headers` at `at`, and sends it back to where it came from.
#[inline(always)]
fn write<const N: usize>(ctx: &XdpContext, at: usize, headers: &[u8; N]) -> Option<()> {
    // SAFETY: the context is the one the kernel gave this program.
    let length = unsafe { bpf_xdp_get_buff_len(ctx.ctx) };
    let change = (at + N) as i32 - length as i32;
    // SAFETY: as above; no pointer into the frame is used after it but those read anew below.
    if change != 0 && unsafe { bpf_xdp_adjust_tail(ctx.ctx, change) } != 0 {
        return None;
    }
    let (start, end) = (ctx.data(), ctx.data_end());
    if at > MOST_OFFSET {
        return None;
    }
    let to = start + at;
    if start + 12 > end || to + N > end {
        return None;
    }
    // SAFETY: both addresses of the Ethernet header are inside of the frame, as just compared.
    unsafe {
        let addresses = start as *mut [[u8; 6]; 2];
        let [destination, source] = ptr::read(addresses);
        ptr::write(addresses, [source, destination]);
    }
    // SAFETY: the `N` bytes from there on are inside of the frame, as just compared.
    unsafe { ptr::write(to as *mut [u8; N], *headers) };
    Some(())
}

#[inline(always)]
fn count_and(outcome: Outcome, action: u32) -> u32 {
    add_one(GUARD_OUTCOMES.get_ptr_mut(outcome as u32));
    action
}

/// Adds to a counter of this CPU's own, which no other program run can interrupt.
#[inline(always)]
fn add_one(counter: Option<*mut u64>) {
    if let Some(counter) = counter {
        // SAFETY: points at a live, aligned u64 of the map, this CPU's own.
        unsafe { *counter += 1 };
    }
}
