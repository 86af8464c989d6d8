//! What a far host has been told, and what its segments may claim.

use super::segment::{FIN, RST, SYN, Segment};
use super::{FIN_ACKED, FIN_SEEN, FIN_SURE, Half, after, join, split};

/// `told` after the far host has been told `ack` and a window of `window` bytes from there.
///
/// Both only grow: a window that shrinks is honoured by the sender, and is not what tells its
/// segments from forged ones.
#[inline(always)]
#[must_use]
pub fn tell(told: u64, ack: u32, window: u32) -> u64 {
    let (granted, acked) = split(told);
    let edge = ack.wrapping_add(window);
    join(
        if after(edge, granted) { edge } else { granted },
        if after(ack, acked) { ack } else { acked },
    )
}

/// `seen` after a segment whose payload ends at `end`, and by how many bytes the end has moved. What
/// the far host may not send moves nothing.
#[inline(always)]
#[must_use]
pub fn see(seen: u64, told: u64, segment: &Segment) -> (u64, u32) {
    let (sent, last) = split(seen);
    let (granted, _) = split(told);
    let end = segment.seq.wrapping_add(segment.payload);
    // A SYN counts a number more, and never carries payload here.
    if segment.flags & SYN != 0 || !after(end, last) || after(end, granted) {
        return (seen, 0);
    }
    (join(sent, end), end.wrapping_sub(last))
}

/// `seen` after the local socket has sent a segment that ends at `end`, with its FIN.
#[inline(always)]
#[must_use]
pub fn sent(seen: u64, end: u32) -> u64 {
    let (sent, last) = split(seen);
    join(if after(end, sent) { end } else { sent }, last)
}

/// Whether a segment of the far host can be meant: it starts no further than that may send, and ends
/// no earlier than what it knows to have arrived. Others say nothing that is believed.
#[inline(always)]
#[must_use]
pub fn is_in_window(told: u64, segment: &Segment) -> bool {
    let (granted, acked) = split(told);
    let marks = u32::from(segment.flags & FIN != 0);
    !after(segment.seq, granted) && !after(acked, segment.end().wrapping_add(marks))
}

/// The sequence number under which a segment goes on to a receiver that has offered room up to `offered`
/// (in the sender's numbers).
///
/// A sender that has been promised more than its receiver has room for may have sent beyond that. What it
/// says then starts out of the receiver's window, and would not be heard: if both ends have come to
/// this, neither would ever hear of the other again. What carries nothing may start anywhere.
#[inline(always)]
#[must_use]
pub fn heard(segment: &Segment, offered: u32) -> u32 {
    let carries = segment.payload > 0 || segment.flags & (SYN | FIN | RST) != 0;
    if !carries && after(segment.seq, offered) {
        offered
    } else {
        segment.seq
    }
}

/// Whether the far host of the end with these words may acknowledge `ack` of the other end, whose
/// payload ends at `last`: nothing that was never sent; its FIN counts one.
#[inline(always)]
#[must_use]
pub fn may_acknowledge(ack: u32, last: u32) -> bool {
    !after(ack, last.wrapping_add(1))
}

/// The FIN word after a segment whose checksum is known to be right if `intact`.
///
/// One that is not may be anything with a flipped bit: its FIN counts where it can be meant, not before
/// the end of what was seen, and no longer than until payload comes from behind it.
#[inline(always)]
#[must_use]
pub fn finish(fin: u64, seen: u64, segment: &Segment, intact: bool) -> u64 {
    let (flags, place) = split(fin);
    let end = segment.end();
    let known = flags & FIN_SEEN != 0;
    if segment.flags & FIN == 0 {
        let is_behind = segment.payload > 0 && !after(place, end);
        return if known && flags & FIN_SURE == 0 && is_behind {
            join(flags & !(FIN_SEEN | FIN_ACKED), 0)
        } else {
            fin
        };
    }
    // Of two that are not sure the later one is right: a FIN that was refused is sent again.
    let is_settled = known && flags & (FIN_SURE | FIN_ACKED) != 0;
    if known && flags & FIN_SURE != 0 || !intact && (is_settled || after(split(seen).1, end)) {
        return fin;
    }
    let sure = if intact { FIN_SURE } else { 0 };
    join(flags & !FIN_ACKED | FIN_SEEN | sure, end.wrapping_add(1))
}

/// The FIN word after its sender has been told `acked`.
#[inline(always)]
#[must_use]
pub fn finished(fin: u64, acked: u32) -> u64 {
    let (flags, end) = split(fin);
    if flags & FIN_SEEN == 0 || after(end, acked) {
        return fin;
    }
    join(flags | FIN_ACKED, end)
}

/// Whether the RST in `segment` is one that its receiver will take: its sequence number is exactly
/// the next one that is expected, as far as either side has shown.
#[inline(always)]
#[must_use]
pub fn is_reset(segment: &Segment, seen: u64, told: u64, fin: u64) -> bool {
    let (flags, end) = split(fin);
    segment.flags & RST != 0
        && (segment.seq == split(seen).1
            || segment.seq == split(told).1
            || (flags & FIN_SEEN != 0 && segment.seq == end))
}

impl Half {
    /// Up to where the far host's payload is acknowledged, and how far it may send.
    #[must_use]
    pub const fn acked_and_granted(&self) -> (u32, u32) {
        let (granted, acked) = split(self.told);
        (acked, granted)
    }
}

#[cfg(test)]
mod tests {
    use super::super::segment::ACK;
    use super::*;

    fn segment(seq: u32, payload: u32, flags: u8) -> Segment {
        Segment {
            seq,
            payload,
            flags,
            ..Segment::default()
        }
    }

    #[test]
    fn what_is_told_only_grows_across_the_wrap() {
        let told = tell(join(u32::MAX - 10, u32::MAX - 100), u32::MAX - 50, 100);
        assert_eq!(split(told), (49, u32::MAX - 50));
        assert_eq!(tell(told, u32::MAX - 60, 10), told);
    }

    #[test]
    fn only_what_may_be_sent_is_seen() {
        let told = join(1000, 100);
        let seen = join(7, 200);
        assert_eq!(
            see(seen, told, &segment(200, 800, ACK)),
            (join(7, 1000), 800)
        );
        assert_eq!(see(seen, told, &segment(200, 801, ACK)), (seen, 0));
        assert_eq!(see(seen, told, &segment(100, 100, ACK)), (seen, 0));
        assert_eq!(see(seen, told, &segment(0x8000_0000, 10, ACK)), (seen, 0));
    }

    #[test]
    fn what_is_out_of_the_window_says_nothing() {
        let told = join(1000, 100);
        for (seq, payload, flags, believed) in [
            (100, 0, ACK, true),
            (50, 50, ACK, true),
            (50, 49, ACK, false),
            (50, 49, ACK | FIN, true),
            (1000, 0, ACK, true),
            (1001, 0, ACK, false),
            (0x8000_0000, 0, ACK, false),
        ] {
            let is_in = is_in_window(told, &segment(seq, payload, flags));
            assert_eq!(is_in, believed, "{seq}+{payload}");
        }
    }

    #[test]
    fn what_carries_nothing_is_heard_within_the_window() {
        for (seq, payload, flags, goes_as) in [
            (100, 0, ACK, 100),
            (101, 0, ACK, 100),
            (101, 1, ACK, 101),
            (101, 0, ACK | FIN, 101),
            (101, 0, RST, 101),
            (50, 0, ACK, 50),
        ] {
            assert_eq!(heard(&segment(seq, payload, flags), 100), goes_as, "{seq}");
        }
    }

    #[test]
    fn a_fin_counts_where_the_payload_ends() {
        let seen = join(0, 500);
        let fin = segment(400, 100, FIN | ACK);
        let here = join(FIN_SEEN, 501);
        assert_eq!(finish(0, seen, &fin, false), here);
        // Before what was seen it cannot be, unless it is sure.
        let early = segment(400, 0, FIN | ACK);
        assert_eq!(finish(0, seen, &early, false), 0);
        let sure = join(FIN_SEEN | FIN_SURE, 401);
        assert_eq!(finish(0, seen, &early, true), sure);
        assert_eq!(finish(here, seen, &early, true), sure);
        // What was refused comes again, elsewhere.
        let again = finish(join(FIN_SEEN, 700), seen, &fin, false);
        assert_eq!(again, here);
        let acked = join(FIN_SEEN | FIN_ACKED, 700);
        assert_eq!(finish(acked, seen, &fin, false), acked);
        // What comes from behind it shows that it was none.
        let more = segment(500, 1, ACK);
        assert_eq!(finish(here, seen, &more, false), 0);
        assert_eq!(finish(sure, seen, &more, false), sure);
        // Overtaken by it, the last payload is still to come.
        let overtook = finish(0, seen, &segment(600, 0, FIN | ACK), true);
        assert_eq!(
            finish(overtook, seen, &segment(500, 100, ACK), false),
            overtook
        );
        let fin = join(FIN_SEEN, 501);
        assert_eq!(finished(fin, 500), fin);
        assert_eq!(finished(fin, 501), join(FIN_SEEN | FIN_ACKED, 501));
        assert!(may_acknowledge(501, 500) && !may_acknowledge(502, 500));
    }

    #[test]
    fn a_reset_is_believed_only_at_the_exact_place() {
        let (seen, told) = (join(0, 500), join(9000, 450));
        for (seq, believed) in [(500, true), (450, true), (501, false), (499, false)] {
            assert_eq!(
                is_reset(&segment(seq, 0, RST), seen, told, 0),
                believed,
                "{seq}"
            );
        }
        assert!(is_reset(
            &segment(501, 0, RST),
            seen,
            told,
            join(FIN_SEEN, 501)
        ));
    }
}
