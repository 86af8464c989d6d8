//! `stream_verdict` on the sources: moves a received segment to the peer's send queue.

use core::ffi::c_void;
use core::ptr;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{bpf_sock, sk_action};
use aya_ebpf::helpers::{
    bpf_get_socket_cookie, bpf_ktime_get_coarse_ns, bpf_map_lookup_elem, bpf_sk_release,
    bpf_skc_to_tcp_sock,
};
use aya_ebpf::macros::{map, stream_verdict};
use aya_ebpf::maps::{Array, HashMap, RingBuf, SockMap};
use aya_ebpf::programs::SkBuffContext;
use aya_log_ebpf::debug;
use underpass_common::redirect::{self, Control, State, Verdict, peer_index};

/// Both sockets of every flow, without a program: where redirected segments go.
#[map]
static TARGETS: SockMap = SockMap::with_max_entries(2, 0);

/// The sockets whose received segments the verdict sees.
#[map]
static SOURCES: SockMap = SockMap::with_max_entries(2, 0);

/// Socket cookie to socket index.
#[map]
static INDICES: HashMap<u64, u32> = HashMap::with_max_entries(2, 0);

/// Mapped into the daemon, which writes it.
#[map]
static CONTROL: Array<Control> = Array::with_max_entries(2, BPF_F_MMAPABLE);

/// Mapped into the daemon, which only reads it.
#[map]
static STATE: Array<State> = Array::with_max_entries(2, BPF_F_MMAPABLE);

/// Socket indices with bytes for user space, one `u32` each time some were passed.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(256 * 1024, 0);

/// How many events found [`EVENTS`] full; mapped into the daemon, which then looks at every slot.
#[map]
static EVENTS_LOST: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

const BPF_F_MMAPABLE: u32 = 1 << 10;

/// Where `bytes_acked` stands in the running kernel's `tcp_sock`; the loader sets it.
// SAFETY: no other symbol of this object has the name.
#[unsafe(no_mangle)]
static TCP_SOCK_BYTES_ACKED: u64 = 0;

/// Entry point: the verdict on one received segment.
#[stream_verdict]
pub fn underpass_verdict(ctx: SkBuffContext) -> u32 {
    let len = ctx.len();
    if len == 0 {
        return sk_action::SK_PASS;
    }
    // SAFETY: the context is the one the kernel gave this program.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    // SAFETY: the value is a plain u32 that is never changed in place.
    let Some(&index) = (unsafe { INDICES.get(&cookie) }) else {
        return sk_action::SK_PASS;
    };
    let (Some(control), Some(state)) = (CONTROL.get_ptr(index), STATE.get_ptr_mut(index)) else {
        return sk_action::SK_PASS;
    };
    // SAFETY: both point into live map values; user space is the only other party and writes
    // aligned words of `control` only, `state` has no other writer (verdicts of one socket are
    // serialised by its lock). A torn view between two words of `control` is harmless: `want`,
    // `forwarded` and `cap` each only gate, and the order of their publication is user space's.
    let (control, state) = unsafe { (&ptr::read_volatile(control), &mut *state) };
    verdict(&ctx, index, len, control, state)
}

#[inline(always)]
fn verdict(ctx: &SkBuffContext, index: u32, len: u32, control: &Control, state: &mut State) -> u32 {
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    let decision = redirect::decide(control, state, len, target_acked(peer_index(index)));
    // The helper answers SK_DROP when the target is gone: dropping would lose bytes that are
    // already acknowledged, so the segment is passed instead.
    if decision == Verdict::Redirect && redirect_to(ctx, peer_index(index)) {
        redirect::redirected(state, len, now);
        return sk_action::SK_PASS;
    }
    redirect::passed(state, len, now);
    // The loader sets the level to nothing unless asked; the verifier then drops this branch.
    debug!(ctx, "redirect: socket {} passed {} bytes", index, len);
    if EVENTS.output::<u32>(index, 0).is_err()
        && let Some(lost) = EVENTS_LOST.get_ptr_mut(0)
    {
        // SAFETY: `lost` points at a live, aligned u64 of the map.
        unsafe {
            core::intrinsics::atomic_xadd::<u64, u64, { core::intrinsics::AtomicOrdering::Relaxed }>(
                lost, 1,
            )
        };
    }
    sk_action::SK_PASS
}

#[inline(always)]
fn redirect_to(ctx: &SkBuffContext, target: u32) -> bool {
    // SAFETY: the context is the one the kernel gave this program.
    unsafe { TARGETS.redirect_skb(ctx, target, 0) as u32 == sk_action::SK_PASS }
}

/// `tcp_sock.bytes_acked` of the target, bytes; `None` where there is no such socket any more.
#[inline(always)]
fn target_acked(index: u32) -> Option<u64> {
    // SAFETY: map and key are valid for the call; the verifier knows the result as a referenced
    // socket, which the one `bpf_sk_release` below gives back on every way out.
    let sock = unsafe {
        bpf_map_lookup_elem(
            ptr::from_ref(&TARGETS).cast_mut().cast::<c_void>(),
            ptr::from_ref(&index).cast::<c_void>(),
        )
    };
    if sock.is_null() {
        return None;
    }
    // SAFETY: `sock` is a live socket reference.
    let tcp = unsafe { bpf_skc_to_tcp_sock(sock) };
    let acked = if tcp.is_null() {
        None
    } else {
        // SAFETY: `tcp` is a `tcp_sock` and the offset was read from the running kernel's BTF; the
        // verifier checks the access against that BTF.
        let at = unsafe { tcp.cast::<u8>().add(offset_of_acked()).cast::<u64>() };
        // SAFETY: as above.
        Some(unsafe { ptr::read_volatile(at) })
    };
    // SAFETY: gives back the reference taken above, once.
    unsafe { bpf_sk_release(sock.cast::<bpf_sock>().cast()) };
    acked
}

#[inline(always)]
fn offset_of_acked() -> usize {
    // SAFETY: a load of a global that only the loader writes.
    unsafe { ptr::read_volatile(&raw const TCP_SOCK_BYTES_ACKED) as usize }
}
