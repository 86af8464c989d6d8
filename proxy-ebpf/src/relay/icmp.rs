//! Behind the program for segments that arrive: passes on what routers say of relayed packets that were
//! too big.

use core::ptr;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::{bpf_redirect_neigh, bpf_skb_load_bytes, bpf_skb_store_bytes};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use underpass_common::relay::icmp::{self, IPV4, IPV6, Message, TooBig};

use super::NEXT;
use super::frame::ETHERNET;
use super::records::{field, find, half, load, terms};

const BPF_F_RECOMPUTE_CSUM: u64 = 1;

/// Entry point: a frame that has arrived, and that is no segment of a relayed flow.
#[classifier]
pub fn underpass_relay_icmp(ctx: TcContext) -> i32 {
    const TYPE_IPV4: u32 = (0x0800u16).to_be() as u32;
    const TYPE_IPV6: u32 = (0x86ddu16).to_be() as u32;
    // SAFETY: the context is the one the kernel gave this program.
    let done = match unsafe { (*ctx.skb.skb).protocol } {
        TYPE_IPV4 => pass_on::<IPV4>(&ctx),
        TYPE_IPV6 => pass_on::<IPV6>(&ctx),
        _ => None,
    };
    done.unwrap_or(NEXT)
}

/// `None`: it is not about a relayed packet that is under way, and is the stack's.
#[inline(always)]
fn pass_on<const N: usize>(ctx: &TcContext) -> Option<i32>
where
    Message<N>: TooBig,
{
    // Nearly all frames end here.
    let protocol: u8 = ctx.load(ETHERNET + Message::<N>::PROTOCOL_AT).ok()?;
    if protocol != Message::<N>::PROTOCOL {
        return None;
    }
    let mut message = Message::<N>::empty();
    // SAFETY: writes as many bytes as the message has, of which any is valid.
    let loaded = unsafe {
        bpf_skb_load_bytes(
            ctx.as_ptr(),
            ETHERNET as u32,
            (&raw mut message).cast(),
            Message::<N>::LENGTH,
        )
    };
    if loaded != 0 {
        return None;
    }
    let about = message.about()?;
    let (flow, _, end) = find(&about.key)?;
    // The packet came from the other end.
    let sender = half(flow, 1 - end);
    let to = terms(flow, 1 - end);
    let seq = about.seq.wrapping_sub(to.shift);
    let phase = load(field!(sender, phase));
    let told = load(field!(sender, told));
    let seen = load(field!(sender, seen));
    if !icmp::is_to_be_told(phase, told, seen, seq) || !message.translate(to) {
        return None;
    }
    // SAFETY: reads as many bytes as the message has; the context is the kernel's.
    let stored = unsafe {
        bpf_skb_store_bytes(
            ctx.skb.skb,
            ETHERNET as u32,
            (&raw const message).cast(),
            Message::<N>::LENGTH,
            BPF_F_RECOMPUTE_CSUM,
        )
    };
    if stored != 0 {
        return None;
    }
    // SAFETY: no parameters: the route to the new destination says whom it goes to.
    Some(unsafe { bpf_redirect_neigh(to.interface, ptr::null_mut(), 0, 0) as i32 })
}
