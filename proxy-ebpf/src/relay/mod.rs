//! tc on an interface: translates the segments of relayed flows into one another as they arrive, and
//! keeps the proxy's own sockets of such a flow from speaking for themselves as they leave.

mod frame;
mod icmp;
mod records;

use core::ptr;

use aya_ebpf::bindings::{BPF_F_PSEUDO_HDR, TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::helpers::{bpf_ktime_get_coarse_ns, bpf_redirect_neigh, bpf_skb_store_bytes};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use underpass_common::relay::phase::{self, Decision, Phase, Sending, Way};
use underpass_common::relay::segment::{self, BASE, FIN, RST, Segment, set};
use underpass_common::relay::translate::{self, fold};
use underpass_common::relay::{
    COPY_MARK, ECHOES, EVENT_ENDED, EVENT_RESET, FIN_ACKED, FIN_SEEN, Flow, Half, RESET,
    TERMS_MORTAL, TERMS_TIMESTAMPS, after, join, split, told,
};

use frame::*;
use records::*;

/// To the next program, and to the stack after the last one.
const NEXT: i32 = TC_ACT_UNSPEC;
const DROP: i32 = TC_ACT_SHOT;

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
    // It stays, for the programs of another daemon that come next.
    if index == RELAYED {
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
    let (number, _) = split(load(field!(mine, phase)));
    // What the local socket does not take is not given to it. Packets too long to be added up are believed: those
    // that come from afar have been merged, which nothing damaged is.
    let phase = Phase::of(number);
    let is_tracked = matches!(phase, Phase::Track | Phase::Armed);
    // What ends a flow, and what local sockets are made to repeat, has to be intact.
    let must = is_tracked || phase == Phase::Both || segment.flags & (RST | FIN) != 0;
    let sum = if must {
        check(ctx, packet)
    } else {
        Sum::Unknown
    };
    if is_tracked && sum == Sum::Wrong {
        return Some(NEXT);
    }
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
    let intact = believed && sum == Sum::Right;
    believed &= intact || segment.flags & RST == 0;
    if believed {
        match way {
            Way::Local => {
                see(&segment, mine);
                offer(&segment, flow, end);
                note_time(mine);
            }
            Way::Relay | Way::News => note(&segment, flow, slot, end, intact),
            Way::Whole if segment.payload > 0 => note_time(mine),
            Way::Whole | Way::Drop => {}
        }
    }
    if way == Way::Relay && is_over(flow) {
        // The daemon has not looked yet, and its sockets are still there. A SYN comes again. A reset would
        // overtake what the other socket still sends, and have the other far host ask back; once it has
        // asked, it would not do so again for a while, and ignore what the daemon then sends.
        let is_early = Phase::of(number) == Phase::Both && segment.flags & RST != 0;
        if is_new(&segment) || is_early {
            return Some(DROP);
        }
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
            // What lies behind is not the local socket's: the far host repeats it as its own segment.
            let cut_by = if after(segment.end(), given) {
                cut(ctx, packet, given.wrapping_sub(segment.seq))
            } else {
                Some(0)
            };
            let acked = clamp(mine, &segment);
            let done = cut_by.is_some_and(|by| patch(ctx, packet, segment.seq, acked, by));
            return Some(if done { NEXT } else { DROP });
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
    if !copy(ctx) {
        return Some(DROP);
    }
    let cut_by = if segment.payload > 0 {
        cut(ctx, packet, 0)
    } else {
        Some(0)
    };
    let acked = clamp(mine, &segment);
    let done = cut_by.is_some_and(|by| patch(ctx, packet, seq, acked, by));
    Some(if done { NEXT } else { DROP })
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

/// The far host has sent something new, or taken something: segments that move nothing, such as probes and
/// their answers, do not keep a flow from being idle.
#[inline(always)]
fn note_time(mine: *mut Half) {
    // SAFETY: a helper without arguments.
    store(field!(mine, last_ns), unsafe { bpf_ktime_get_coarse_ns() });
}

/// Whether it starts a connection.
#[inline(always)]
fn is_new(segment: &Segment) -> bool {
    segment.flags & (segment::SYN | segment::ACK) == segment::SYN
}

/// Whether both directions have ended in order, or one end has reset the flow.
#[inline(always)]
fn is_over(flow: *mut Flow) -> bool {
    let [first, second] = [0, 1].map(|end| split(load(field!(half(flow, end), fin))).0);
    first & second & FIN_ACKED != 0 || (first | second) & RESET != 0
}

/// Notes how far the far host has sent; by how many bytes that has moved.
#[inline(always)]
fn see(segment: &Segment, mine: *mut Half) -> u32 {
    if segment.payload == 0 {
        return 0;
    }
    let told_me = load(field!(mine, told));
    let mut old = load(field!(mine, seen));
    for _ in 0..ATTEMPTS {
        let (new, moved) = told::see(old, told_me, segment);
        if moved == 0 {
            break;
        }
        let (was, done) = swap(field!(mine, seen), old, new);
        if done {
            return moved;
        }
        old = was;
    }
    0
}

/// Notes how far the other end may send, as this far host says itself.
#[inline(always)]
fn offer(segment: &Segment, flow: *mut Flow, end: usize) {
    if segment.flags & (segment::ACK | RST | segment::SYN) != segment::ACK
        || !can_acknowledge(segment, flow, end)
    {
        return;
    }
    let ack = segment.ack.wrapping_sub(terms(flow, 1 - end).shift);
    let edge = ack.wrapping_add(translate::window(
        segment.window,
        terms(flow, end).announced_scale,
    ));
    change(offered(flow, 1 - end), |known| {
        if after(edge, known as u32) {
            u64::from(edge)
        } else {
            known
        }
    });
}

/// Notes what a relayed segment shows. `intact`: its checksum is known to be right.
#[inline(always)]
fn note(segment: &Segment, flow: *mut Flow, slot: u32, end: usize, intact: bool) {
    let mine = half(flow, end);
    let other = half(flow, 1 - end);
    let told_me = load(field!(mine, told));
    let moved = see(segment, mine);
    if moved != 0 {
        add(field!(mine, bytes), u64::from(moved));
        note_time(mine);
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
        // A host without the connection answers late segments of one that has ended in order.
        let is_known = is_over(flow) || split(fin).0 & RESET != 0;
        if !is_known && told::is_reset(segment, seen, told_me, fin) {
            change(field!(mine, fin), |fin| fin | join(RESET, 0));
            announce(slot, EVENT_RESET);
        }
        return;
    }
    if !segment.acknowledges() || !can_acknowledge(segment, flow, end) {
        return;
    }
    offer(segment, flow, end);
    let ack = segment.ack.wrapping_sub(terms(flow, 1 - end).shift);
    let window = translate::window(segment.window, terms(flow, end).announced_scale);
    let (_, acked) = split(load(field!(other, told)));
    let told_other = change(field!(other, told), |told| told::tell(told, ack, window));
    if after(ack, acked) {
        note_time(mine);
    }
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
    let segment = Segment {
        seq: told::heard(&packet.segment, load(offered(flow, end)) as u32),
        ..packet.segment
    };
    let done = translate::translate(header, &segment, &found, from, to, floor);
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

#[inline(always)]
fn leaving(ctx: &TcContext, packet: &mut Packet, flow: *mut Flow, end: usize) -> i32 {
    let mine = half(flow, end);
    let segment = packet.segment;
    let word = load(field!(mine, phase));
    let mortal = terms(flow, 0).flags & TERMS_MORTAL != 0;
    match phase::decide_sending(word, mortal, segment.flags) {
        Sending::Drop => DROP,
        Sending::Evict => {
            finish(flow);
            NEXT
        }
        Sending::Reset => {
            let other = half(flow, 1 - end);
            let (_, given) = split(load(field!(other, phase)));
            let (_, last) = split(load(field!(other, seen)));
            let (_, acked) = split(load(field!(other, told)));
            let shift = terms(flow, 1 - end).shift;
            let [first, second] = phase::reset_at(
                segment.seq,
                given.wrapping_add(shift),
                acked.wrapping_add(shift),
                last.wrapping_add(shift),
                (load(offered(flow, 1 - end)) as u32).wrapping_add(shift),
            );
            finish(flow);
            if first != second {
                // Without it, the other one may do as well.
                let _ = renumber(ctx, packet, first) && send_copy(ctx);
            }
            if renumber(ctx, packet, second) {
                NEXT
            } else {
                DROP
            }
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
