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
    /// Stream position of the target (its `bytes_acked` when all is acknowledged) at which
    /// `redirected` and `forwarded` count zero.
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
    /// Keeps the record on a cache line of its own.
    pub reserved: [u64; 2],
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
    /// No payload (a bare FIN): leave it alone, count nothing.
    Ignore,
}

/// Bytes that have left the source and that the target's peer has not acknowledged.
///
/// `acked` may run ahead of our count by the SYN and the FIN, which TCP counts as one byte each.
#[inline(always)]
#[must_use]
pub fn outstanding(control: &Control, state: &State, acked: u64) -> u64 {
    let sent = control
        .base
        .wrapping_add(state.redirected)
        .wrapping_add(control.forwarded);
    let behind = sent.wrapping_sub(acked) as i64;
    if behind > 0 { behind as u64 } else { 0 }
}

/// Makes `state` belong to the control's epoch.
#[inline(always)]
pub fn adopt_epoch(control: &Control, state: &mut State) {
    if state.epoch != control.epoch {
        state.mode = MODE_USER;
        state.passed = 0;
        state.redirected = 0;
        state.flips = 0;
        state.last_ns = 0;
        state.epoch = control.epoch;
    }
}

/// Decides on a segment of `len` payload bytes.
///
/// `acked` is the target's `bytes_acked`, or `None` where the target could not be looked up; the
/// segment then stays with user space, because a redirect without a target would lose it.
#[inline(always)]
pub fn decide(control: &Control, state: &mut State, len: u32, acked: Option<u64>) -> Verdict {
    if len == 0 {
        return Verdict::Ignore;
    }
    adopt_epoch(control, state);
    let room = match acked {
        Some(acked) => control.want != 0 && outstanding(control, state, acked) < control.cap,
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

/// Byte offset of `tcp_sock.bytes_acked` in the running kernel: the name of the loader's global.
pub const GLOBAL_BYTES_ACKED: &str = "TCP_SOCK_BYTES_ACKED";

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

    #[test]
    fn a_bare_fin_is_left_alone() {
        let mut state = State::default();
        assert_eq!(
            decide(&control(10), &mut state, 0, Some(100)),
            Verdict::Ignore
        );
        assert_eq!(state, State::default());
    }

    #[test]
    fn the_cap_hands_the_direction_to_user_space_until_it_is_square() {
        let mut control = control(10);
        let mut state = State::default();
        assert_eq!(
            decide(&control, &mut state, 10, Some(100)),
            Verdict::Redirect
        );
        redirected(&mut state, 10, 1);
        assert_eq!(decide(&control, &mut state, 5, Some(100)), Verdict::Pass);
        passed(&mut state, 5, 2);
        // The target has room again, but user space still holds five bytes.
        assert_eq!(decide(&control, &mut state, 5, Some(110)), Verdict::Pass);
        passed(&mut state, 5, 3);
        control.forwarded = 10;
        assert_eq!(
            decide(&control, &mut state, 5, Some(120)),
            Verdict::Redirect
        );
        assert_eq!(state.flips, 3);
    }

    #[test]
    fn without_a_target_nothing_is_redirected() {
        let mut state = State::default();
        assert_eq!(decide(&control(10), &mut state, 1, None), Verdict::Pass);
    }

    #[test]
    fn bytes_held_at_the_hand_over_keep_the_kernel_out() {
        let mut control = control(1000);
        control.forwarded = 0u64.wrapping_sub(7);
        let mut state = State::default();
        assert_eq!(decide(&control, &mut state, 1, Some(100)), Verdict::Pass);
        passed(&mut state, 1, 1);
        control.forwarded = control.forwarded.wrapping_add(8);
        assert_eq!(
            decide(&control, &mut state, 1, Some(108)),
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
        assert_eq!(decide(&control, &mut state, 1, Some(100)), Verdict::Pass);
        assert_eq!((state.passed, state.redirected, state.flips), (0, 0, 0));
    }

    #[test]
    fn acknowledgements_ahead_of_the_count_leave_room() {
        let control = control(1);
        assert_eq!(outstanding(&control, &State::default(), 101), 0);
    }
}
