//! A frame's headers: read, changed and written back with their checksums.

use core::ptr;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::{
    bpf_csum_diff, bpf_csum_level, bpf_skb_change_tail, bpf_skb_load_bytes, bpf_skb_store_bytes,
};
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::TcContext;
use underpass_common::relay::segment::{self, BASE, FIN, Found, Header, OPTIONS, Segment, set};
use underpass_common::relay::translate::{adjust, fold};
use underpass_common::relay::{COPY_MARK, Key, TERMS_NO_ECN, Terms};

/// `skb->tc_index` of a frame that was translated.
pub(super) const RELAYED: u32 = 0x7570;

/// Bytes of an Ethernet header. Interfaces without one carry no relayed flows.
pub(super) const ETHERNET: usize = 14;
/// Words of IP headers.
const IPV4: usize = 5;
const IPV6: usize = 10;
const TCP: u8 = 6;
/// Where the checksum stands in a TCP header.
pub(super) const CHECKSUM: usize = 16;

const BPF_F_RECOMPUTE_CSUM: u64 = 1;
const BPF_F_INGRESS: u64 = 1;
const BPF_F_PSEUDO_HDR: u64 = 1 << 4;

/// Words of payload that are added up at a time.
const CHUNK: usize = 128;
/// How often: longer packets come from interfaces that have checked them.
const CHUNKS: u32 = 20;

/// The headers of the packet at hand, as they came and as they will go. The stack of a program is too
/// small for them; programs of this kind do not interrupt one another on a CPU.
#[repr(C)]
pub(super) struct Scratch {
    /// The IP header; only the first five words are IPv4's.
    network: [u32; IPV6],
    /// The TCP header.
    pub(super) header: Header,
    /// Whose segment it is.
    pub(super) key: Key,
    /// Its options of interest.
    found: Found,
    /// The option that is looked at next.
    cursor: usize,
    /// Payload that is added up. The verifier does not see that rounding up stays within the bound, and
    /// wants a word more.
    chunk: [u32; CHUNK + 1],
    /// A number that the verifier is to know nothing of.
    size: u32,
}

/// This CPU's own.
#[map]
static RELAY_SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// A TCP packet of a frame.
pub(super) struct Packet {
    pub(super) scratch: &'static mut Scratch,
    v6: bool,
    pub(super) segment: Segment,
}

impl Packet {
    #[inline(always)]
    pub(super) fn transport_at(&self) -> usize {
        ETHERNET + 4 * if self.v6 { IPV6 } else { IPV4 }
    }

    /// Puts source and destination into the key: `arriving`, the source is the far host.
    #[inline(always)]
    pub(super) fn fill_key(&mut self, arriving: bool) {
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

/// Reads the headers. `None`: nothing that is relayed; fragments and IP options are not.
#[inline(always)]
pub(super) fn read(ctx: &TcContext) -> Option<Packet> {
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
    let before = 4 * if v6 { IPV6 } else { IPV4 } as u32;
    let held = ctx.len().checked_sub(ETHERNET as u32 + before)?;
    let length = if v6 {
        load_at(ctx, ETHERNET, &mut scratch.network)?;
        load_at(ctx, ETHERNET + 4 * IPV6, &mut scratch.header.base)?;
        let [version, length] = [0, 1].map(|at| u32::from_be(scratch.network[at]));
        if version >> 28 != 6 || (length >> 8) as u8 != TCP {
            return None;
        }
        // Beyond 64 KiB there is no length.
        match length >> 16 {
            0 => held,
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
            0 => held,
            total => total.checked_sub(before)?,
        }
    };
    // What is cut short is the stack's to drop.
    if length > held {
        return None;
    }
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
pub(super) fn set_index(ctx: &TcContext, index: u32) {
    // SAFETY: the context is the one the kernel gave this program, which may write this field.
    unsafe { ptr::write_volatile(&raw mut (*ctx.skb.skb).tc_index, index) };
}

/// Puts a copy of the frame in front of this program again, to be relayed.
#[inline(always)]
pub(super) fn copy(ctx: &TcContext) -> bool {
    // SAFETY: the context is the one the kernel gave this program.
    let (mark, interface) = unsafe { ((*ctx.skb.skb).mark, (*ctx.skb.skb).ifindex) };
    ctx.set_mark(COPY_MARK);
    let done = ctx.clone_redirect(interface, BPF_F_INGRESS).is_ok();
    ctx.set_mark(mark);
    done
}

/// Sends a copy of the leaving frame as it is.
#[inline(always)]
pub(super) fn send_copy(ctx: &TcContext) -> bool {
    set_index(ctx, RELAYED);
    // SAFETY: the context is the one the kernel gave this program.
    let interface = unsafe { (*ctx.skb.skb).ifindex };
    let done = ctx.clone_redirect(interface, 0).is_ok();
    set_index(ctx, 0);
    done
}

/// Changes the sequence number.
#[inline(always)]
pub(super) fn renumber(ctx: &TcContext, packet: &mut Packet, seq: u32) -> bool {
    let by = set(&mut packet.scratch.header.base[1], seq.to_be());
    write_base(ctx, packet, by)
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

/// What is known of a frame's TCP checksum.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sum {
    /// It is right.
    Right,
    /// It is wrong.
    Wrong,
    /// There is more payload than is added up here, or nobody has looked.
    Unknown,
}

/// Looks at the TCP checksum.
#[inline(always)]
pub(super) fn check(ctx: &TcContext, packet: &mut Packet) -> Sum {
    let verdict = match is_intact(ctx, packet) {
        Some(true) => 1,
        Some(false) => 2,
        None => 0,
    };
    // Through memory: else the verifier would follow each length's way on from here.
    match unlearn(packet.scratch, verdict) {
        1 => Sum::Right,
        2 => Sum::Wrong,
        _ => Sum::Unknown,
    }
}

/// Whether the TCP checksum is right. `None`: there is more payload than is added up here.
#[inline(always)]
fn is_intact(ctx: &TcContext, packet: &mut Packet) -> Option<bool> {
    if is_verified(ctx, packet) {
        return Some(true);
    }
    if !load_options(ctx, packet) {
        return Some(false);
    }
    let Segment {
        payload, options, ..
    } = packet.segment;
    let start = packet.transport_at() as u32 + 4 * BASE as u32 + u32::from(options);
    let mut sum = u64::from(sum_of(ctx, packet.scratch, start, payload)?);
    sum += pseudo_sum(packet);
    let header = &packet.scratch.header;
    for word in &header.base {
        sum += u64::from(*word);
    }
    for word in &header.options {
        sum += u64::from(*word);
    }
    Some(adjust(!0, sum) == 0)
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

/// Cuts off all payload but the first `keep` bytes; what that changes the TCP checksum's sum by. The
/// checksum of a packet that somebody has vouched for is not looked at again, and stays as it is.
#[inline(always)]
pub(super) fn cut(ctx: &TcContext, packet: &mut Packet, keep: u32) -> Option<u64> {
    let headers = 4 * BASE as u32 + u32::from(packet.segment.options);
    let before = headers + packet.segment.payload;
    let after = headers + keep;
    let start = packet.transport_at() as u32 + after;
    let by = if is_verified(ctx, packet) {
        0
    } else {
        let tail = sum_of(ctx, packet.scratch, start, before.checked_sub(after)?)?;
        // An odd number of bytes before it puts each of its bytes into the other half of a word.
        let tail = if keep & 1 == 0 {
            tail
        } else {
            tail.rotate_left(8)
        };
        u64::from(!tail) + u64::from(after.to_be()) + u64::from(!before.to_be())
    };
    // SAFETY: the context is the one the kernel gave this program; no packet pointer is held.
    if unsafe { bpf_skb_change_tail(ctx.skb.skb, start, 0) } != 0 {
        return None;
    }
    let network = &mut packet.scratch.network;
    let network_by = if packet.v6 {
        let rest = u32::from_be(network[1]) & 0xffff;
        set(&mut network[1], (after << 16 | rest).to_be())
    } else {
        let rest = u32::from_be(network[0]) & 0xffff_0000;
        set(&mut network[0], (rest | (4 * IPV4 as u32 + after)).to_be())
    };
    write_network(ctx, packet, network_by, BPF_F_RECOMPUTE_CSUM).then_some(by)
}

/// The number, without what the verifier knows of it.
#[inline(always)]
fn unlearn(scratch: &mut Scratch, number: u32) -> u32 {
    // SAFETY: a field of a live map value.
    unsafe {
        ptr::write_volatile(&raw mut scratch.size, number);
        ptr::read_volatile(&raw const scratch.size)
    }
}

/// The ones' complement sum of `length` bytes of the frame from `at` on. `None` when there are too many.
#[inline(always)]
fn sum_of(ctx: &TcContext, scratch: &mut Scratch, at: u32, length: u32) -> Option<u32> {
    const BYTES: u32 = 4 * CHUNK as u32;
    // Through memory, so that the ways out of the loop below do not differ in what is known of the packet.
    let length = unlearn(scratch, length);
    let mut sum = 0;
    let mut done = 0;
    for _ in 0..CHUNKS {
        if done >= length {
            break;
        }
        // Through memory, so that the bounds below are checked where the verifier sees it.
        let size = unlearn(scratch, (length - done).min(BYTES));
        if size == 0 || size > BYTES {
            return None;
        }
        // What does not fill its last word is followed by zeros.
        scratch.chunk[((size as usize - 1) >> 2) & (CHUNK - 1)] = 0;
        let words = (size + 3) & !3;
        // SAFETY: at most `BYTES` bytes are written to, and then read from, an array of that size.
        sum = unsafe {
            let chunk = scratch.chunk.as_mut_ptr();
            if bpf_skb_load_bytes(ctx.as_ptr(), at + done, chunk.cast(), size) != 0 {
                return None;
            }
            bpf_csum_diff(ptr::null_mut(), 0, chunk, words, sum)
        } as u32;
        done += size;
    }
    (done >= length).then_some(sum)
}

/// Changes what the local socket is told: sequence number, acknowledgement, and no FIN. `cut_by`: what
/// the checksum's sum changes by for what was cut.
#[inline(always)]
pub(super) fn patch(ctx: &TcContext, packet: &mut Packet, seq: u32, ack: u32, cut_by: u64) -> bool {
    let base = &mut packet.scratch.header.base;
    let control = u32::from_be(base[3]) & !(u32::from(FIN) << 16);
    let by = set(&mut base[1], seq.to_be())
        + set(&mut base[2], ack.to_be())
        + set(&mut base[3], control.to_be());
    if !write_base(ctx, packet, by) {
        return false;
    }
    if cut_by == 0 {
        return true;
    }
    // The frame's own sum, where there is one, has to know: nothing else in it has changed likewise.
    let at = packet.transport_at() + CHECKSUM;
    ctx.l4_csum_replace(at, 0, u64::from(fold(cut_by)), BPF_F_PSEUDO_HDR)
        .is_ok()
}

/// Writes the fixed part of the header after a change of its sum by `by`, and brings the checksum up
/// to date.
#[inline(always)]
pub(super) fn write_base(ctx: &TcContext, packet: &Packet, by: u64) -> bool {
    let at = packet.transport_at();
    ctx.store(at, &packet.scratch.header.base, 0).is_ok()
        && ctx
            .l4_csum_replace(at + CHECKSUM, 0, u64::from(fold(by)), 0)
            .is_ok()
}

/// Reads the options, with zeros behind them.
#[inline(always)]
pub(super) fn load_options(ctx: &TcContext, packet: &mut Packet) -> bool {
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
pub(super) fn find_options(packet: &mut Packet) -> Found {
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

/// Gives the packet the addresses of the other connection, one hop more; what the addresses change
/// the pseudo-header by.
#[inline(always)]
pub(super) fn readdress(
    ctx: &TcContext,
    packet: &mut Packet,
    from: &Terms,
    to: &Terms,
) -> Option<u64> {
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
