//! tc on an interface: translates the segments of relayed flows into one another as they arrive, and
//! keeps the proxy's own sockets of such a flow from speaking for themselves as they leave.

use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd};
use core::ptr;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{BPF_F_PSEUDO_HDR, TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::helpers::{
    bpf_csum_level, bpf_ktime_get_coarse_ns, bpf_redirect_neigh, bpf_skb_change_tail,
    bpf_skb_load_bytes, bpf_skb_store_bytes,
};
use aya_ebpf::macros::{classifier, map};
use aya_ebpf::maps::{Array, HashMap, PerCpuArray, RingBuf};
use aya_ebpf::programs::TcContext;
use underpass_common::relay::phase::{self, Decision, Phase, Sending, Way};
use underpass_common::relay::segment::{
    self, BASE, FIN, Found, Header, OPTIONS, RST, Segment, set,
};
use underpass_common::relay::translate::{self, adjust, fold};
use underpass_common::relay::{
    COPY_MARK, ECHOES, EVENT_ENDED, EVENT_RESET, Event, FIN_ACKED, FIN_SEEN, Flow, Half, Key,
    RESET, TERMS_MORTAL, TERMS_NO_ECN, TERMS_TIMESTAMPS, Terms, after, join, split, told,
};

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

/// `skb->tc_index` of a frame between its translation and its leaving.
const RELAYED: u32 = 0x7570;

const BPF_F_NO_PREALLOC: u32 = 1;
const BPF_F_MMAPABLE: u32 = 1 << 10;
const BPF_F_RECOMPUTE_CSUM: u64 = 1;
const BPF_F_INGRESS: u64 = 1;

/// To the next program, and to the stack after the last one.
const NEXT: i32 = TC_ACT_UNSPEC;
const DROP: i32 = TC_ACT_SHOT;

/// Bytes of an Ethernet header. Interfaces without one carry no relayed flows.
const ETHERNET: usize = 14;
/// Words of IP headers.
const IPV4: usize = 5;
const IPV6: usize = 10;
const TCP: u8 = 6;
/// Where the checksum stands in a TCP header.
const CHECKSUM: usize = 16;
/// How often a word is tried that another CPU changes at the same time.
const ATTEMPTS: u32 = 8;

macro_rules! field {
    ($half:expr, $field:ident) => {{
        let half = $half;
        // SAFETY: a field of a live map value; only its address is taken.
        unsafe { &raw mut (*half).$field }
    }};
}

/// The headers of the packet at hand, as they came and as they will go. The stack of a program is too
/// small for them; programs of this kind do not interrupt one another on a CPU.
#[repr(C)]
struct Scratch {
    /// The IP header; only the first five words are IPv4's.
    network: [u32; IPV6],
    /// The TCP header.
    header: Header,
    /// Whose segment it is.
    key: Key,
    /// Its options of interest.
    found: Found,
    /// The option that is looked at next.
    cursor: usize,
}

/// This CPU's own.
#[map]
static RELAY_SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// A TCP packet of a frame.
struct Packet {
    scratch: &'static mut Scratch,
    v6: bool,
    segment: Segment,
}

impl Packet {
    #[inline(always)]
    fn transport_at(&self) -> usize {
        ETHERNET + 4 * if self.v6 { IPV6 } else { IPV4 }
    }

    /// Puts source and destination into the key: `arriving`, the source is the far host.
    #[inline(always)]
    fn fill_key(&mut self, arriving: bool) {
        let Scratch {
            network,
            header,
            key,
            ..
        } = &mut *self.scratch;
        let (source, destination) = if arriving {
            (&mut key.remote, &mut key.local)
        } else {
            (&mut key.local, &mut key.remote)
        };
        if self.v6 {
            source.copy_from_slice(&network[2..6]);
            destination.copy_from_slice(&network[6..10]);
        } else {
            *source = [0, 0, MAPPED, network[3]];
            *destination = [0, 0, MAPPED, network[4]];
        }
        key.ports = if arriving {
            header.base[0]
        } else {
            header.base[0].rotate_left(16)
        };
    }
}

/// What stands before an IPv4 address in IPv6's form.
const MAPPED: u32 = 0xffff_u32.to_be();

/// Entry point: a frame that has arrived.
#[classifier]
pub fn underpass_relay_in(ctx: TcContext) -> i32 {
    let Some(mut packet) = read(&ctx) else {
        return NEXT;
    };
    packet.fill_key(true);
    let Some((flow, slot, end)) = find(&packet.scratch.key) else {
        return NEXT;
    };
    arrived(&ctx, &mut packet, flow, slot, end)
}

/// Entry point: a frame that is about to leave.
#[classifier]
pub fn underpass_relay_out(ctx: TcContext) -> i32 {
    // What is forwarded has no socket. What is relayed may still have its sender's, when that is
    // on this machine.
    // SAFETY: the context is the one the kernel gave this program.
    let (socket, index) = unsafe { ((*ctx.skb.skb).__bindgen_anon_2.sk, (*ctx.skb.skb).tc_index) };
    if index == RELAYED {
        set_index(&ctx, 0);
        return NEXT;
    }
    if socket.is_null() {
        return NEXT;
    }
    let Some(mut packet) = read(&ctx) else {
        return NEXT;
    };
    packet.fill_key(false);
    let Some((flow, _, end)) = find(&packet.scratch.key) else {
        return NEXT;
    };
    leaving(&ctx, &mut packet, flow, end)
}

/// Reads the headers. `None`: nothing that is relayed; fragments and IP options are not.
#[inline(always)]
fn read(ctx: &TcContext) -> Option<Packet> {
    const TYPE_IPV4: u32 = (0x0800u16).to_be() as u32;
    const TYPE_IPV6: u32 = (0x86ddu16).to_be() as u32;
    // SAFETY: the context is the one the kernel gave this program.
    let kind = unsafe { (*ctx.skb.skb).protocol };
    let v6 = match kind {
        TYPE_IPV4 => false,
        TYPE_IPV6 => true,
        _ => return None,
    };
    // SAFETY: points at this CPU's own value, which no other program run uses meanwhile.
    let scratch = unsafe { &mut *RELAY_SCRATCH.get_ptr_mut(0)? };
    let rest = ctx.len().checked_sub(ETHERNET as u32)?;
    let length = if v6 {
        load_at(ctx, ETHERNET, &mut scratch.network)?;
        load_at(ctx, ETHERNET + 4 * IPV6, &mut scratch.header.base)?;
        let [version, length] = [0, 1].map(|at| u32::from_be(scratch.network[at]));
        if version >> 28 != 6 || (length >> 8) as u8 != TCP {
            return None;
        }
        // Beyond 64 KiB there is no length.
        match length >> 16 {
            0 => rest.checked_sub(4 * IPV6 as u32)?,
            length => length,
        }
    } else {
        let mut network = [0; IPV4];
        load_at(ctx, ETHERNET, &mut network)?;
        load_at(ctx, ETHERNET + 4 * IPV4, &mut scratch.header.base)?;
        scratch.network[..IPV4].copy_from_slice(&network);
        let [version, fragment, protocol] = [0, 1, 2].map(|at| u32::from_be(network[at]));
        if version >> 24 != 0x45 || fragment & 0x3fff != 0 || (protocol >> 16) as u8 != TCP {
            return None;
        }
        match version & 0xffff {
            0 => rest.checked_sub(4 * IPV4 as u32)?,
            total => total.checked_sub(4 * IPV4 as u32)?,
        }
    };
    let segment = Segment::read(&scratch.header.base, length)?;
    Some(Packet {
        scratch,
        v6,
        segment,
    })
}

/// Copies bytes of the frame from `at` on.
#[inline(always)]
fn load_at<const N: usize>(ctx: &TcContext, at: usize, to: &mut [u32; N]) -> Option<()> {
    // SAFETY: writes `N` words to `to`; the context is the kernel's.
    let done = unsafe {
        bpf_skb_load_bytes(
            ctx.as_ptr(),
            at as u32,
            to.as_mut_ptr().cast(),
            4 * N as u32,
        )
    };
    (done == 0).then_some(())
}

/// Sets `skb->tc_index`.
#[inline(always)]
fn set_index(ctx: &TcContext, index: u32) {
    // SAFETY: the context is the one the kernel gave this program, which may write this field.
    unsafe { ptr::write_volatile(&raw mut (*ctx.skb.skb).tc_index, index) };
}

/// The flow of a key, with its slot and the end.
#[inline(always)]
fn find(key: &Key) -> Option<(*mut Flow, u32, usize)> {
    // SAFETY: the value is a plain u32 that is never changed in place.
    let place = *unsafe { RELAY_KEYS.get(key) }?;
    let slot = place >> 1;
    Some((RELAY_FLOWS.get_ptr_mut(slot)?, slot, (place & 1) as usize))
}

/// One end's records.
#[inline(always)]
fn half(flow: *mut Flow, end: usize) -> *mut Half {
    // SAFETY: `flow` points at a live map value, and `end` is 0 or 1.
    unsafe { (&raw mut (*flow).halves).cast::<Half>().add(end & 1) }
}

/// Up to where an end's payload is surely acknowledged.
#[inline(always)]
fn sure(flow: *mut Flow, end: usize) -> *mut u64 {
    // SAFETY: as for `half`.
    unsafe { (&raw mut (*flow).sure).cast::<u64>().add(end & 1) }
}

/// One end's terms, which do not change while segments are translated.
#[inline(always)]
fn terms(flow: *mut Flow, end: usize) -> &'static Terms {
    // SAFETY: as for `half`; the daemon writes them before it lets the programs use them.
    unsafe { &*(&raw const (*flow).terms).cast::<Terms>().add(end & 1) }
}

#[inline(always)]
fn load(word: *mut u64) -> u64 {
    // SAFETY: points at a live, aligned u64 of a map value.
    unsafe { ptr::read_volatile(word) }
}

#[inline(always)]
fn store(word: *mut u64, value: u64) {
    // SAFETY: as for `load`.
    unsafe { ptr::write_volatile(word, value) };
}

#[inline(always)]
fn add(word: *mut u64, by: u64) {
    // SAFETY: as for `load`.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(word, by) };
}

#[inline(always)]
fn swap(word: *mut u64, old: u64, new: u64) -> (u64, bool) {
    // SAFETY: as for `load`; the word is only changed atomically.
    unsafe {
        atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(word, old, new)
    }
}

/// Changes a word as `f` says; what it was changed to.
#[inline(always)]
fn change(word: *mut u64, f: impl Fn(u64) -> u64) -> u64 {
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

#[inline(always)]
fn arrived(ctx: &TcContext, packet: &mut Packet, flow: *mut Flow, slot: u32, end: usize) -> i32 {
    // SAFETY: the context is the one the kernel gave this program.
    if unsafe { (*ctx.skb.skb).mark } == COPY_MARK {
        ctx.set_mark(0);
    } else if let Some(verdict) = judge(ctx, packet, flow, slot, end) {
        return verdict;
    }
    relay(ctx, packet, flow, end)
}

/// Notes the segment, and gives the local socket what is its own; `None`: it is to be relayed, and
/// that is all.
#[inline(always)]
fn judge(
    ctx: &TcContext,
    packet: &mut Packet,
    flow: *mut Flow,
    slot: u32,
    end: usize,
) -> Option<i32> {
    let mine = half(flow, end);
    let segment = packet.segment;
    let Some(Decision { way, phase }) = settle_phase(mine, &segment) else {
        return Some(DROP);
    };
    let (number, given) = split(phase);
    if Phase::of(number) == Phase::Over {
        if way == Way::Local && segment.flags & segment::SYN != 0 {
            finish(flow);
        }
        return Some(NEXT);
    }
    let mut believed = told::is_in_window(load(field!(mine, told)), &segment);
    // What ends a flow, and what local sockets are made to repeat, has to be intact.
    let must = segment.flags & (RST | FIN) != 0 || way == Way::News;
    let intact = believed && must && is_intact(ctx, packet);
    believed &= intact || segment.flags & RST == 0;
    if believed {
        // SAFETY: a helper without arguments.
        store(field!(mine, last_ns), unsafe { bpf_ktime_get_coarse_ns() });
        let relayed = matches!(way, Way::Relay | Way::News);
        note(&segment, flow, slot, end, relayed, intact);
    }
    let seq = match way {
        Way::Local => {
            if believed {
                note_clock(ctx, packet, flow, end);
            }
            return Some(NEXT);
        }
        Way::Drop => return Some(DROP),
        Way::Relay => return None,
        Way::Whole => {
            if !patch(ctx, packet, segment.seq, clamp(mine, &segment)) {
                return Some(DROP);
            }
            return Some(NEXT);
        }
        Way::News => {
            // A forged one must not become one that the local socket believes.
            if !believed || !can_acknowledge(&segment, flow, end) {
                return None;
            }
            if segment.payload > 0 && !intact {
                return None;
            }
            if after(segment.seq, given) {
                given
            } else {
                segment.seq
            }
        }
    };
    if !copy(ctx)
        || segment.payload > 0 && !cut(ctx, packet)
        || !patch(ctx, packet, seq, clamp(mine, &segment))
    {
        return Some(DROP);
    }
    Some(NEXT)
}

/// Decides, and changes the phase's word as decided.
#[inline(always)]
fn settle_phase(mine: *mut Half, segment: &Segment) -> Option<Decision> {
    let word = field!(mine, phase);
    let mut old = load(word);
    for _ in 0..ATTEMPTS {
        let (granted, _) = split(load(field!(mine, told)));
        let decision = phase::decide(old, granted, segment);
        if decision.phase == old {
            return Some(decision);
        }
        let (was, done) = swap(word, old, decision.phase);
        if done {
            return Some(decision);
        }
        old = was;
    }
    None
}

/// Notes what a segment shows. `relayed`: the other end is told. `intact`: its checksum is known to be
/// right.
#[inline(always)]
fn note(segment: &Segment, flow: *mut Flow, slot: u32, end: usize, relayed: bool, intact: bool) {
    let mine = half(flow, end);
    let other = half(flow, 1 - end);
    let told_me = load(field!(mine, told));
    if segment.payload > 0 {
        let mut old = load(field!(mine, seen));
        for _ in 0..ATTEMPTS {
            let (new, moved) = told::see(old, told_me, segment);
            if moved == 0 {
                break;
            }
            let (was, done) = swap(field!(mine, seen), old, new);
            if done {
                if relayed {
                    add(field!(mine, bytes), u64::from(moved));
                }
                break;
            }
            old = was;
        }
    }
    if !relayed {
        return;
    }
    let known = load(field!(mine, fin));
    if segment.flags & FIN != 0 || split(known).0 & FIN_SEEN != 0 {
        let seen = load(field!(mine, seen));
        change(field!(mine, fin), |fin| {
            told::finish(fin, seen, segment, intact)
        });
    }
    if segment.flags & RST != 0 {
        let (seen, fin) = (load(field!(mine, seen)), load(field!(mine, fin)));
        if told::is_reset(segment, seen, told_me, fin) && split(fin).0 & RESET == 0 {
            change(field!(mine, fin), |fin| fin | join(RESET, 0));
            announce(slot, EVENT_RESET);
        }
        return;
    }
    if !segment.acknowledges() {
        return;
    }
    if !can_acknowledge(segment, flow, end) {
        return;
    }
    let ack = segment.ack.wrapping_sub(terms(flow, 1 - end).shift);
    let window = translate::window(segment.window, terms(flow, end).announced_scale);
    let told_other = change(field!(other, told), |told| told::tell(told, ack, window));
    if intact {
        change(sure(flow, 1 - end), |known| {
            if after(ack, known as u32) {
                u64::from(ack)
            } else {
                known
            }
        });
    }
    let fin = load(field!(other, fin));
    if split(fin).0 & (FIN_SEEN | FIN_ACKED) == FIN_SEEN {
        let fin = change(field!(other, fin), |fin| {
            told::finished(fin, split(told_other).1)
        });
        let both = split(fin).0 & split(load(field!(mine, fin))).0;
        if both & FIN_ACKED != 0 {
            announce(slot, EVENT_ENDED);
        }
    }
}

/// Whether the other end has sent what the segment acknowledges.
#[inline(always)]
fn can_acknowledge(segment: &Segment, flow: *mut Flow, end: usize) -> bool {
    let ack = segment.ack.wrapping_sub(terms(flow, 1 - end).shift);
    let (_, last) = split(load(field!(half(flow, 1 - end), seen)));
    told::may_acknowledge(ack, last)
}

/// Notes the last time stamp, while the daemon still has to choose what is added to them.
#[inline(always)]
fn note_clock(ctx: &TcContext, packet: &mut Packet, flow: *mut Flow, end: usize) {
    if terms(flow, end).flags & TERMS_TIMESTAMPS == 0 {
        return;
    }
    if !load_options(ctx, packet) {
        return;
    }
    let found = find_options(packet);
    let header = &packet.scratch.header;
    if found.timestamps != 0 {
        let value = header.value(found.timestamps);
        store(field!(half(flow, end), clock), join(1, value));
    }
}

/// Tells the daemon that something happened to the flow in `slot`.
#[inline(always)]
fn announce(slot: u32, what: u32) {
    if RELAY_EVENTS
        .output::<Event>(Event { slot, what }, 0)
        .is_err()
        && let Some(lost) = RELAY_EVENTS_LOST.get_ptr_mut(0)
    {
        add(lost, 1);
    }
}

/// What the local socket may be told of its own data: nothing beyond what it has sent.
#[inline(always)]
fn clamp(mine: *mut Half, segment: &Segment) -> u32 {
    let (sent, _) = split(load(field!(mine, seen)));
    if after(segment.ack, sent) {
        sent
    } else {
        segment.ack
    }
}

/// Puts a copy of the frame in front of this program again, to be relayed.
#[inline(always)]
fn copy(ctx: &TcContext) -> bool {
    // SAFETY: the context is the one the kernel gave this program.
    let (mark, interface) = unsafe { ((*ctx.skb.skb).mark, (*ctx.skb.skb).ifindex) };
    ctx.set_mark(COPY_MARK);
    let done = ctx.clone_redirect(interface, BPF_F_INGRESS).is_ok();
    ctx.set_mark(mark);
    done
}

/// Whether somebody vouches for the frame's TCP checksum: the interface has checked it, or it never
/// left this machine and only has the sum of its pseudo-header yet.
#[inline(always)]
fn is_verified(ctx: &TcContext, packet: &Packet) -> bool {
    const BPF_CSUM_LEVEL_QUERY: u64 = 0;
    // SAFETY: the context is the one the kernel gave this program.
    if unsafe { bpf_csum_level(ctx.skb.skb, BPF_CSUM_LEVEL_QUERY) } >= 0 {
        return true;
    }
    // The field of such a packet is the sum itself, and not its complement.
    !adjust(!0, pseudo_sum(packet)) == checksum(packet.scratch.header.base[4])
}

/// The sum of the packet's pseudo-header.
#[inline(always)]
fn pseudo_sum(packet: &Packet) -> u64 {
    let length = 4 * BASE as u32 + u32::from(packet.segment.options) + packet.segment.payload;
    let mut sum = u64::from(u32::from(TCP).to_be()) + u64::from(length.to_be());
    let network = &packet.scratch.network;
    if packet.v6 {
        for word in &network[2..] {
            sum += u64::from(*word);
        }
    } else {
        sum += u64::from(network[3]) + u64::from(network[4]);
    }
    sum
}

/// Whether the TCP checksum is right, as far as that is known without adding up payload.
#[inline(always)]
fn is_intact(ctx: &TcContext, packet: &mut Packet) -> bool {
    if is_verified(ctx, packet) {
        return true;
    }
    if packet.segment.payload > 0 || !load_options(ctx, packet) {
        return false;
    }
    let header = &packet.scratch.header;
    let mut sum = pseudo_sum(packet);
    for word in &header.base {
        sum += u64::from(*word);
    }
    for word in &header.options {
        sum += u64::from(*word);
    }
    adjust(!0, sum) == 0
}

/// The first half of a word, in the order of memory: where both IP and TCP have their checksum,
/// IPv4 the second.
#[inline(always)]
fn checksum(word: u32) -> u16 {
    let [a, b, _, _] = word.to_ne_bytes();
    u16::from_ne_bytes([a, b])
}

/// Writes the IP header back, after a change of its sum by `by`.
#[inline(always)]
fn write_network(ctx: &TcContext, packet: &mut Packet, by: u64, flags: u64) -> bool {
    let network = &mut packet.scratch.network;
    let length = if packet.v6 {
        4 * IPV6
    } else {
        let [a, b, c, d] = network[2].to_ne_bytes();
        let [c, d] = adjust(u16::from_ne_bytes([c, d]), by).to_ne_bytes();
        network[2] = u32::from_ne_bytes([a, b, c, d]);
        4 * IPV4
    };
    // SAFETY: reads at most the 40 bytes of `network`; the context is the kernel's.
    unsafe {
        bpf_skb_store_bytes(
            ctx.skb.skb,
            ETHERNET as u32,
            network.as_ptr().cast(),
            length as u32,
            flags,
        ) == 0
    }
}

/// Cuts the payload off.
#[inline(always)]
fn cut(ctx: &TcContext, packet: &mut Packet) -> bool {
    let headers = 4 * BASE as u32 + u32::from(packet.segment.options);
    let length = packet.transport_at() as u32 + headers;
    // SAFETY: the context is the one the kernel gave this program; no packet pointer is held.
    if unsafe { bpf_skb_change_tail(ctx.skb.skb, length, 0) } != 0 {
        return false;
    }
    let network = &mut packet.scratch.network;
    let by = if packet.v6 {
        let rest = u32::from_be(network[1]) & 0xffff;
        set(&mut network[1], (headers << 16 | rest).to_be())
    } else {
        let rest = u32::from_be(network[0]) & 0xffff_0000;
        set(
            &mut network[0],
            (rest | (4 * IPV4 as u32 + headers)).to_be(),
        )
    };
    write_network(ctx, packet, by, BPF_F_RECOMPUTE_CSUM)
}

/// Changes what the local socket is told: sequence number, acknowledgement, and no FIN.
#[inline(always)]
fn patch(ctx: &TcContext, packet: &mut Packet, seq: u32, ack: u32) -> bool {
    let base = &mut packet.scratch.header.base;
    let control = u32::from_be(base[3]) & !(u32::from(FIN) << 16);
    let by = set(&mut base[1], seq.to_be())
        + set(&mut base[2], ack.to_be())
        + set(&mut base[3], control.to_be());
    write_base(ctx, packet, by)
}

/// Writes the fixed part of the header after a change of its sum by `by`, and brings the checksum up
/// to date.
#[inline(always)]
fn write_base(ctx: &TcContext, packet: &Packet, by: u64) -> bool {
    let at = packet.transport_at();
    ctx.store(at, &packet.scratch.header.base, 0).is_ok()
        && ctx
            .l4_csum_replace(at + CHECKSUM, 0, u64::from(fold(by)), 0)
            .is_ok()
}

/// Reads the options, with zeros behind them.
#[inline(always)]
fn load_options(ctx: &TcContext, packet: &mut Packet) -> bool {
    packet.scratch.header.options = [0; OPTIONS];
    let length = u32::from(packet.segment.options) & 63;
    if length == 0 {
        return true;
    }
    // SAFETY: at most 63 bytes are written to 64; the context is the kernel's.
    unsafe {
        bpf_skb_load_bytes(
            ctx.as_ptr(),
            (packet.transport_at() + 4 * BASE) as u32,
            packet.scratch.header.options.as_mut_ptr().cast(),
            length,
        ) == 0
    }
}

/// Looks for the options of interest.
///
/// What is found goes through memory that the verifier does not follow: with its values in registers
/// it would look at everything that comes after once for each way through the options.
#[inline(always)]
fn find_options(packet: &mut Packet) -> Found {
    let length = usize::from(packet.segment.options) & 63;
    let scratch = &mut *packet.scratch;
    if let Some(found) = Found::usual(&scratch.header, length) {
        return found;
    }
    scratch.found = Found::default();
    scratch.cursor = 0;
    for _ in 0..segment::MOST {
        // SAFETY: a field of a live map value.
        let at = unsafe { ptr::read_volatile(&raw const scratch.cursor) };
        // SAFETY: as above.
        let mut found = unsafe { ptr::read_volatile(&raw const scratch.found) };
        let next = found.look(&scratch.header, at & 63, length);
        // SAFETY: as above.
        unsafe { ptr::write_volatile(&raw mut scratch.found, found) };
        let Some(next) = next else { break };
        // SAFETY: as above.
        unsafe { ptr::write_volatile(&raw mut scratch.cursor, next) };
    }
    // SAFETY: as above.
    unsafe { ptr::read_volatile(&raw const scratch.found) }
}

/// Translates the frame and sends it to the other end.
#[inline(always)]
fn relay(ctx: &TcContext, packet: &mut Packet, flow: *mut Flow, end: usize) -> i32 {
    let mine = half(flow, end);
    let from = terms(flow, end);
    let to = terms(flow, 1 - end);
    if !load_options(ctx, packet) {
        return DROP;
    }
    let length = u32::from(packet.segment.options) & 63;
    let found = find_options(packet);
    let header = &mut packet.scratch.header;
    let floor = split(load(field!(mine, fin))).0 & ECHOES == 0;
    let done = translate::translate(header, &packet.segment, &found, from, to, floor);
    if done.echoes && floor {
        change(field!(mine, fin), |fin| fin | join(ECHOES, 0));
    }
    let by = fold(done.by);
    let at = packet.transport_at();
    let header = &packet.scratch.header;
    if ctx.store(at, &header.base, 0).is_err() {
        return DROP;
    }
    if length != 0 {
        // SAFETY: at most 63 bytes are read of 64; the context is the kernel's.
        let done = unsafe {
            bpf_skb_store_bytes(
                ctx.skb.skb,
                (at + 4 * BASE) as u32,
                header.options.as_ptr().cast(),
                length,
                0,
            )
        };
        if done != 0 {
            return DROP;
        }
    }
    let Some(addresses) = readdress(ctx, packet, from, to) else {
        return DROP;
    };
    let flags = u64::from(BPF_F_PSEUDO_HDR);
    if ctx
        .l4_csum_replace(at + CHECKSUM, 0, u64::from(by), 0)
        .is_err()
        || ctx
            .l4_csum_replace(at + CHECKSUM, 0, u64::from(fold(addresses)), flags)
            .is_err()
    {
        return DROP;
    }
    add(field!(mine, packets), 1);
    set_index(ctx, RELAYED);
    // SAFETY: no parameters: the route to the new destination says whom it goes to.
    unsafe { bpf_redirect_neigh(to.interface, ptr::null_mut(), 0, 0) as i32 }
}

/// Gives the packet the addresses of the other connection, one hop more; what the addresses change
/// the pseudo-header by.
#[inline(always)]
fn readdress(ctx: &TcContext, packet: &mut Packet, from: &Terms, to: &Terms) -> Option<u64> {
    let network = &mut packet.scratch.network;
    let no_ecn = from.flags & TERMS_NO_ECN != 0;
    if packet.v6 {
        let hops = u32::from_be(network[1]);
        if hops & 0xff <= 1 {
            return None;
        }
        network[1] = (hops - 1).to_be();
        if no_ecn {
            network[0] &= !(0x0030_0000_u32.to_be());
        }
        let mut by = 0;
        for at in 0..4 {
            by +=
                set(&mut network[2 + at], to.local[at]) + set(&mut network[6 + at], to.remote[at]);
        }
        write_network(ctx, packet, 0, 0).then_some(by)
    } else {
        let hops = u32::from_be(network[2]);
        if hops >> 24 <= 1 {
            return None;
        }
        let addresses = set(&mut network[3], to.local[3]) + set(&mut network[4], to.remote[3]);
        // The checksum stands in the same word and is as before.
        let mut by = addresses + set(&mut network[2], (hops - (1 << 24)).to_be());
        if no_ecn {
            let marks = network[0] & !(0x0003_0000_u32.to_be());
            by += set(&mut network[0], marks);
        }
        write_network(ctx, packet, by, 0).then_some(addresses)
    }
}

#[inline(always)]
fn leaving(ctx: &TcContext, packet: &mut Packet, flow: *mut Flow, end: usize) -> i32 {
    let mine = half(flow, end);
    let segment = packet.segment;
    let word = load(field!(mine, phase));
    let mortal = terms(flow, end).flags & TERMS_MORTAL != 0;
    match phase::decide_sending(word, mortal, segment.flags) {
        Sending::Drop => DROP,
        Sending::Evict => {
            finish(flow);
            NEXT
        }
        Sending::Reset => {
            let other = half(flow, 1 - end);
            let (_, last) = split(load(field!(other, seen)));
            let last = last.wrapping_add(terms(flow, 1 - end).shift);
            if after(last, segment.seq) {
                let by = set(&mut packet.scratch.header.base[1], last.to_be());
                if !write_base(ctx, packet, by) {
                    return DROP;
                }
            }
            finish(flow);
            NEXT
        }
        way => {
            if Phase::of(split(word).0) == Phase::Over {
                return NEXT;
            }
            // A FIN counts one, and so does a SYN.
            let marks = segment.flags & (FIN | segment::SYN) != 0;
            let end_of = segment.end().wrapping_add(u32::from(marks));
            change(field!(mine, seen), |seen| told::sent(seen, end_of));
            if !segment.acknowledges() {
                return NEXT;
            }
            let acked = load(sure(flow, end)) as u32;
            // As it goes out, it acknowledges the later one of the two.
            let mut ack = segment.ack;
            if way == Sending::Patch && after(acked, ack) {
                ack = acked;
                let by = set(&mut packet.scratch.header.base[2], acked.to_be());
                if !write_base(ctx, packet, by) {
                    return DROP;
                }
            }
            let window = translate::window(segment.window, terms(flow, end).granted_scale);
            change(field!(mine, told), |told| told::tell(told, ack, window));
            NEXT
        }
    }
}

/// The relay has nothing to do with the flow any more.
#[inline(always)]
fn finish(flow: *mut Flow) {
    for end in 0..2 {
        let word = field!(half(flow, end), phase);
        change(word, |old| join(Phase::Over as u32, split(old).1));
    }
}
