//! The sockmap redirect: its shared records and the decision that the verdict program takes.
//!
//! A flow occupies one *flow slot* `f`; its two sockets have the *socket indices* `2f` (client)
//! and `2f + 1` (server). The direction whose source is socket `i` uses the records at index `i`,
//! and its target is the socket `i ^ 1`.
//!
//! Each record has exactly one writer: [`Control`] is written by user space, [`State`] by the
//! verdict program, which the kernel serialises per source socket.

/// The socket at the other end of the flow that `index` belongs to.
#[inline(always)]
#[must_use]
pub const fn peer_index(index: u32) -> u32 {
    index ^ 1
}

/// What user space wants of one direction. Bytes, except where said. Written by user space only.
#[repr(C, align(64))]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Control {
    /// Changes when the slot changes hands: tells the program to start its own record afresh.
    pub epoch: u64,
    /// 1: the kernel may move the bytes; 0: every byte goes to user space.
    pub want: u64,
    /// Passed bytes that user space has written to the target. Starts below zero (wrapping) by
    /// what user space still held at the hand-over.
    pub forwarded: u64,
    /// Most bytes that may be between the source and the target's acknowledgement.
    pub cap: u64,
    /// Bytes that will have been written to the target when `redirected` and `forwarded` are zero.
    pub base: u64,
    /// Keeps the record on a cache line of its own.
    pub reserved: [u64; 3],
}

/// What the verdict program did with one direction. Written by the program only.
#[repr(C, align(64))]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct State {
    /// The [`Control::epoch`] that the other fields belong to.
    pub epoch: u64,
    /// [`MODE_USER`] or [`MODE_KERNEL`].
    pub mode: u64,
    /// Bytes handed to user space.
    pub passed: u64,
    /// Bytes redirected to the target.
    pub redirected: u64,
    /// `CLOCK_MONOTONIC` of the last segment, ns, to the kernel's tick.
    pub last_ns: u64,
    /// Changes of mode.
    pub flips: u64,
    /// Sequence number that the next segment should start with.
    pub next_seq: u64,
    /// Not 0: the stream cannot be continued, both ends must be reset.
    pub broken: u64,
}

/// One received segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Payload bytes.
    pub len: u32,
    /// Sequence number of the first.
    pub seq: u32,
    /// Sequence number up to which the source's reader has read.
    pub read_seq: u32,
}

/// The verdict program passes every byte to user space.
pub const MODE_USER: u64 = 0;
/// The verdict program redirects every byte to the target.
pub const MODE_KERNEL: u64 = 1;

/// What happens to one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Try to redirect it; call [`redirected`] if the helper took it, [`passed`] if not.
    Redirect,
    /// Leave it to user space; call [`passed`].
    Pass,
    /// No payload (a bare FIN): drop the empty segment, count nothing. The socket knows of its end
    /// by then; an empty segment that is passed while the socket's psock has something queued
    /// makes the kernel believe that sending failed.
    Ignore,
}

/// How the target stands, read from its socket without its lock: close enough to gate on. Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Target {
    /// Acknowledged by its peer; may run ahead by the SYN and the FIN, which TCP counts as one
    /// byte each.
    pub acked: u64,
    /// Written and not acknowledged.
    pub unacked: u32,
    /// Memory of its send queue.
    pub queued: u32,
    /// Limit of that memory.
    pub limit: u32,
}

/// `a - b` of two counters that wrap, 0 where `b` is ahead.
#[inline(always)]
fn ahead(a: u64, b: u64) -> u64 {
    let by = a.wrapping_sub(b) as i64;
    if by > 0 { by as u64 } else { 0 }
}

/// Whether `len` more bytes may be redirected to the target.
///
/// Two bounds hold. The cap, on everything that is not acknowledged. And the target's own send
/// queue: what is redirected must fit into it, because what does not fit waits on the target's
/// psock, and as long as something waits there, bytes that are *received* on that same socket can
/// neither be read nor be charged to its receive buffer, whose window then never closes.
/// Bytes that already wait there count double, for the overhead of small segments.
#[inline(always)]
#[must_use]
pub fn has_room(control: &Control, state: &State, len: u32, target: &Target) -> bool {
    let sent = control
        .base
        .wrapping_add(state.redirected)
        .wrapping_add(control.forwarded);
    let waiting = ahead(sent, target.acked.wrapping_add(u64::from(target.unacked)));
    ahead(sent, target.acked) < control.cap
        && u64::from(target.queued) + 2 * waiting + u64::from(len) <= u64::from(target.limit)
}

/// Makes `state` belong to the control's epoch. User space had read everything before the first
/// segment that the program sees.
#[inline(always)]
fn adopt_epoch(control: &Control, state: &mut State, read_seq: u32) {
    if state.epoch != control.epoch {
        state.mode = MODE_USER;
        state.passed = 0;
        state.redirected = 0;
        state.flips = 0;
        state.last_ns = 0;
        state.broken = 0;
        state.next_seq = u64::from(read_seq);
        state.epoch = control.epoch;
    }
}

/// How many bytes at the front of the segment the source had sent before; `None` if the segment does
/// not follow what came before it.
///
/// TCP queues a segment that overlaps what it has received already as it came, and skips the
/// overlap when it is read. A verdict program is shown such a segment whole, and has to trim it:
/// otherwise the bytes are forwarded twice, and the socket's reading position runs ahead of what it
/// has received, so that the end of the stream is not announced.
#[inline(always)]
pub fn repeated(control: &Control, state: &mut State, segment: Segment) -> Option<u32> {
    adopt_epoch(control, state, segment.read_seq);
    let repeated = (state.next_seq as u32).wrapping_sub(segment.seq);
    // A segment further on than expected cannot be: TCP shows them in order.
    (repeated <= segment.len).then_some(repeated)
}

/// Decides on a segment of `len` bytes, none of which [`repeated`] what came before.
///
/// `target` is `None` where it could not be looked up; the segment then stays with user space,
/// because a redirect without a target would lose it.
#[inline(always)]
pub fn decide(control: &Control, state: &mut State, len: u32, target: Option<&Target>) -> Verdict {
    if len == 0 {
        return Verdict::Ignore;
    }
    state.next_seq = u64::from((state.next_seq as u32).wrapping_add(len));
    let room = match target {
        Some(target) => control.want != 0 && has_room(control, state, len, target),
        None => false,
    };
    if state.mode == MODE_KERNEL {
        if !room {
            state.mode = MODE_USER;
            state.flips += 1;
            return Verdict::Pass;
        }
        return Verdict::Redirect;
    }
    // Only when user space holds nothing may the kernel write to the target again: otherwise
    // later bytes would overtake the ones still in its hands.
    if room && state.passed == control.forwarded {
        state.mode = MODE_KERNEL;
        state.flips += 1;
        return Verdict::Redirect;
    }
    Verdict::Pass
}

/// Accounts a segment that was redirected.
#[inline(always)]
pub fn redirected(state: &mut State, len: u32, now_ns: u64) {
    state.redirected += u64::from(len);
    state.last_ns = now_ns;
}

/// Accounts a segment that goes to user space, also one whose redirect was refused.
#[inline(always)]
pub fn passed(state: &mut State, len: u32, now_ns: u64) {
    if state.mode == MODE_KERNEL {
        state.mode = MODE_USER;
        state.flips += 1;
    }
    state.passed += u64::from(len);
    state.last_ns = now_ns;
}

/// A kernel structure, its field, and the name of a global.
pub type Field = (&'static str, &'static str, &'static str);

/// The kernel's fields that the program reads from a target: structure, field, and the name of
/// the global in which the loader passes the field's byte offset.
pub const TARGET_FIELDS: [Field; 5] = [
    ("tcp_sock", "bytes_acked", "OFFSET_BYTES_ACKED"),
    ("tcp_sock", "write_seq", "OFFSET_WRITE_SEQ"),
    ("tcp_sock", "snd_una", "OFFSET_SND_UNA"),
    ("sock", "sk_wmem_queued", "OFFSET_WMEM_QUEUED"),
    ("sock", "sk_sndbuf", "OFFSET_SNDBUF"),
];

/// As [`TARGET_FIELDS`], of the source.
pub const SOURCE_FIELDS: [Field; 3] = [
    ("tcp_sock", "copied_seq", "OFFSET_COPIED_SEQ"),
    ("sk_buff", "cb", "OFFSET_SKB_CB"),
    ("tcp_skb_cb", "seq", "OFFSET_CB_SEQ"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn control(cap: u64) -> Control {
        Control {
            epoch: 1,
            want: 1,
            cap,
            base: 100,
            ..Control::default()
        }
    }

    fn acked(acked: u64) -> Target {
        Target {
            acked,
            limit: 1 << 20,
            ..Target::default()
        }
    }

    /// Decides on the segment that follows what was shown before.
    fn decide_next(
        control: &Control,
        state: &mut State,
        len: u32,
        target: Option<&Target>,
    ) -> Verdict {
        adopt_epoch(control, state, 7);
        decide(control, state, len, target)
    }

    #[test]
    fn overlaps_are_measured_against_what_came_before() {
        let control = control(1 << 20);
        let mut state = State::default();
        let segment = |seq: u32, len: u32| Segment {
            len,
            seq,
            read_seq: u32::MAX - 4,
        };
        // The first segment may overlap what was read before the hand-over, here at the wrap.
        assert_eq!(
            repeated(&control, &mut state, segment(u32::MAX - 6, 10)),
            Some(2)
        );
        decide(&control, &mut state, 8, Some(&acked(100)));
        assert_eq!(state.next_seq, 3);
        assert_eq!(repeated(&control, &mut state, segment(3, 4)), Some(0));
        assert_eq!(repeated(&control, &mut state, segment(1, 4)), Some(2));
        assert_eq!(repeated(&control, &mut state, segment(1, 2)), Some(2));
        // Neither a gap nor a segment that ends before is possible.
        assert_eq!(repeated(&control, &mut state, segment(4, 4)), None);
        assert_eq!(repeated(&control, &mut state, segment(0, 2)), None);
    }

    #[test]
    fn a_bare_fin_is_dropped_and_not_counted() {
        let mut state = State::default();
        assert_eq!(
            decide(&control(10), &mut state, 0, Some(&acked(100))),
            Verdict::Ignore
        );
        assert_eq!(state, State::default());
    }

    #[test]
    fn the_cap_hands_the_direction_to_user_space_until_it_is_square() {
        let mut control = control(10);
        let mut state = State::default();
        assert_eq!(
            decide_next(&control, &mut state, 10, Some(&acked(100))),
            Verdict::Redirect
        );
        redirected(&mut state, 10, 1);
        assert_eq!(
            decide_next(&control, &mut state, 5, Some(&acked(100))),
            Verdict::Pass
        );
        passed(&mut state, 5, 2);
        // The target has room again, but user space still holds five bytes.
        assert_eq!(
            decide_next(&control, &mut state, 5, Some(&acked(110))),
            Verdict::Pass
        );
        passed(&mut state, 5, 3);
        control.forwarded = 10;
        assert_eq!(
            decide_next(&control, &mut state, 5, Some(&acked(120))),
            Verdict::Redirect
        );
        assert_eq!(state.flips, 3);
    }

    #[test]
    fn what_is_redirected_fits_into_the_targets_send_queue() {
        let control = control(1 << 30);
        let mut state = State::default();
        let mut target = Target {
            queued: 900,
            limit: 1000,
            ..acked(100)
        };
        assert!(!has_room(&control, &state, 101, &target));
        assert!(has_room(&control, &state, 100, &target));
        // What waits on the psock counts twice, until TCP has taken it.
        redirected(&mut state, 40, 1);
        assert!(!has_room(&control, &state, 21, &target));
        target.unacked = 40;
        assert!(has_room(&control, &state, 100, &target));
    }

    #[test]
    fn without_a_target_nothing_is_redirected() {
        let mut state = State::default();
        assert_eq!(
            decide_next(&control(10), &mut state, 1, None),
            Verdict::Pass
        );
    }

    #[test]
    fn bytes_held_at_the_hand_over_keep_the_kernel_out() {
        let mut control = control(1000);
        control.forwarded = 0u64.wrapping_sub(7);
        let mut state = State::default();
        assert_eq!(
            decide_next(&control, &mut state, 1, Some(&acked(100))),
            Verdict::Pass
        );
        passed(&mut state, 1, 1);
        control.forwarded = control.forwarded.wrapping_add(8);
        assert_eq!(
            decide_next(&control, &mut state, 1, Some(&acked(108))),
            Verdict::Redirect
        );
    }

    #[test]
    fn a_new_epoch_starts_afresh() {
        let mut control = control(1000);
        let mut state = State {
            epoch: 9,
            mode: MODE_KERNEL,
            passed: 5,
            redirected: 6,
            flips: 3,
            ..State::default()
        };
        control.forwarded = 0u64.wrapping_sub(1);
        assert_eq!(
            decide_next(&control, &mut state, 1, Some(&acked(100))),
            Verdict::Pass
        );
        assert_eq!((state.passed, state.redirected, state.flips), (0, 0, 0));
    }

    #[test]
    fn acknowledgements_ahead_of_the_count_leave_room() {
        assert!(has_room(&control(1), &State::default(), 1, &acked(101)));
    }
}
