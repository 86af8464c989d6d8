//! `stream_verdict` on the sources: moves a received segment to the peer's send queue.

use core::ffi::c_void;
use core::ptr;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{bpf_sock, sk_action};
use aya_ebpf::helpers::{
    bpf_get_socket_cookie, bpf_ktime_get_coarse_ns, bpf_map_lookup_elem, bpf_probe_read_kernel,
    bpf_sk_release, bpf_skb_adjust_room, bpf_skc_to_tcp_sock,
};
use aya_ebpf::macros::{map, stream_verdict};
use aya_ebpf::maps::{Array, HashMap, RingBuf, SockMap};
use aya_ebpf::programs::SkBuffContext;
use aya_log_ebpf::debug;
use underpass_common::redirect::{self, Control, Segment, State, Target, Verdict, peer_index};

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

/// Byte offsets of the running kernel's fields; the loader sets them from its BTF, under the names
/// of `redirect::TARGET_FIELDS` and `redirect::SOURCE_FIELDS`.
macro_rules! offsets {
    ($($name:ident),*) => {$(
        // SAFETY: no other symbol of this object has the name.
        #[unsafe(no_mangle)]
        static $name: u32 = 0;
    )*};
}
offsets!(
    OFFSET_BYTES_ACKED,
    OFFSET_WRITE_SEQ,
    OFFSET_SND_UNA,
    OFFSET_WMEM_QUEUED,
    OFFSET_SNDBUF,
    OFFSET_COPIED_SEQ,
    OFFSET_SKB_CB,
    OFFSET_CB_SEQ
);

/// Entry point: the verdict on one received segment.
#[stream_verdict]
pub fn underpass_verdict(ctx: SkBuffContext) -> u32 {
    let len = ctx.len();
    if len == 0 {
        // A bare FIN: see `Verdict::Ignore` for why it is not passed.
        return sk_action::SK_DROP;
    }
    // SAFETY: the context is the one the kernel gave this program.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    // SAFETY: the value is a plain u32 that is never changed in place.
    let Some(&index) = (unsafe { INDICES.get(cookie) }) else {
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
    let target = read_target(peer_index(index));
    let Some(len) = trim(ctx, len, control, state) else {
        state.broken = 1;
        announce(index);
        return sk_action::SK_PASS;
    };
    let decision = redirect::decide(control, state, len, target.as_ref());
    if decision == Verdict::Ignore {
        return sk_action::SK_DROP;
    }
    // The helper answers SK_DROP when the target is gone: dropping would lose bytes that are
    // already acknowledged, so the segment is passed instead.
    if decision == Verdict::Redirect && redirect_to(ctx, peer_index(index)) {
        redirect::redirected(state, len, now);
        return sk_action::SK_PASS;
    }
    redirect::passed(state, len, now);
    // The loader sets the level to nothing unless asked; the verifier then drops this branch.
    debug!(ctx, "redirect: socket {} passed {} bytes", index, len);
    announce(index);
    sk_action::SK_PASS
}

#[inline(always)]
fn redirect_to(ctx: &SkBuffContext, target: u32) -> bool {
    // SAFETY: the context is the one the kernel gave this program.
    unsafe { TARGETS.redirect_skb(ctx, target, 0) as u32 == sk_action::SK_PASS }
}

/// Tells user space that there is something for it at `index`.
#[inline(always)]
fn announce(index: u32) {
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
}

/// Cuts off what the segment repeats; the payload bytes that are left. `None` if it does not fit to
/// what came before, or could not be cut.
#[inline(always)]
fn trim(ctx: &SkBuffContext, len: u32, control: &Control, state: &mut State) -> Option<u32> {
    let segment = read_segment(ctx, len)?;
    let repeated = redirect::repeated(control, state, segment)?;
    let mut left = repeated;
    // As many steps as the largest segment needs: the helper cuts less than 4 KiB at a time.
    for _ in 0..MOST_TRIM_STEPS {
        if left == 0 {
            return Some(len - repeated);
        }
        let step = if left < TRIM_STEP { left } else { TRIM_STEP };
        // SAFETY: the context is the one the kernel gave this program; no packet pointer is held.
        if unsafe { bpf_skb_adjust_room(ctx.skb.skb, -(step as i32), 0, 0) } != 0 {
            return None;
        }
        left -= step;
    }
    None
}

/// What `bpf_skb_adjust_room` cuts at most.
const TRIM_STEP: u32 = 0xfff;
/// Enough for 512 KiB, beyond the largest segment that the kernel builds.
const MOST_TRIM_STEPS: u32 = 128;

/// The segment's place in the stream; `None` if the kernel does not show it.
#[inline(always)]
fn read_segment(ctx: &SkBuffContext, len: u32) -> Option<Segment> {
    // SAFETY: the context is the one the kernel gave this program.
    let sock = unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk };
    if sock.is_null() {
        return None;
    }
    // SAFETY: `sock` is the socket that received the segment, alive while the program runs.
    let tcp = unsafe { bpf_skc_to_tcp_sock(sock.cast()) }.cast::<u8>();
    if tcp.is_null() {
        return None;
    }
    // The context of this program type is the `sk_buff` itself. TCP's own record of the segment
    // stands in its control buffer; the view of it that programs are given starts further on.
    let at = offset(&OFFSET_SKB_CB) + offset(&OFFSET_CB_SEQ);
    // SAFETY: the helper checks the address itself and answers with an error.
    let seq: u32 =
        unsafe { bpf_probe_read_kernel(ctx.as_ptr().cast::<u8>().add(at).cast()) }.ok()?;
    Some(Segment {
        len,
        seq,
        read_seq: field(tcp, &OFFSET_COPIED_SEQ),
    })
}

/// How the target stands; `None` where there is no such socket any more.
#[inline(always)]
fn read_target(index: u32) -> Option<Target> {
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
    let tcp = unsafe { bpf_skc_to_tcp_sock(sock) }.cast::<u8>();
    let target = if tcp.is_null() {
        None
    } else {
        // A `tcp_sock` starts with its `sock`, so one pointer serves both structures.
        let write_seq: u32 = field(tcp, &OFFSET_WRITE_SEQ);
        let snd_una: u32 = field(tcp, &OFFSET_SND_UNA);
        Some(Target {
            acked: field(tcp, &OFFSET_BYTES_ACKED),
            unacked: write_seq.wrapping_sub(snd_una),
            queued: field(tcp, &OFFSET_WMEM_QUEUED),
            limit: field(tcp, &OFFSET_SNDBUF),
        })
    };
    // SAFETY: gives back the reference taken above, once.
    unsafe { bpf_sk_release(sock.cast::<bpf_sock>().cast()) };
    target
}

/// Reads a kernel structure's field at the offset that the loader left in `at`.
#[inline(always)]
fn field<T: Copy>(base: *const u8, at: &'static u32) -> T {
    // SAFETY: the offset was read from the running kernel's BTF for this field, and the verifier
    // checks position and size of the load against that same BTF.
    unsafe { ptr::read_volatile(base.add(offset(at)).cast::<T>()) }
}

/// A field's offset, as the loader left it.
#[inline(always)]
fn offset(of: &'static u32) -> usize {
    // SAFETY: a load of a global that only the loader writes, before the program runs.
    unsafe { ptr::read_volatile(of) as usize }
}
