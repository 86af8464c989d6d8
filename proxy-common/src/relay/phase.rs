//! Where a flow stands between its sockets and the relay, and what becomes of a segment there.

use super::segment::{ACK, FIN, RST, SYN, Segment};
use super::{Half, after, join, split};

/// Where one end's segments go. The numbers are those of the high part of [`Half::phase`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Phase {
    /// The local socket has all of it; the programs look on (to the stack, unchanged).
    Track = 1,
    /// As [`Phase::Track`], and nothing may come that changes the connection's state: FIN and SYN are
    /// dropped, for the instant in which both ends are switched over, and sent again.
    Armed = 2,
    /// Segments are relayed, and the local socket still gets what it needs to finish: payload that
    /// starts before what it was given, and every acknowledgement.
    Both = 3,
    /// Segments are relayed; the local socket is asleep and silent.
    Settled = 4,
    /// The flow is over; late segments are still relayed, and a SYN starts something new.
    Linger = 5,
    /// The relay does nothing: the stack has it again.
    Over = 6,
}

impl Phase {
    /// The phase of a number; anything unknown is [`Phase::Over`].
    #[inline(always)]
    #[must_use]
    pub const fn of(number: u32) -> Self {
        match number {
            1 => Self::Track,
            2 => Self::Armed,
            3 => Self::Both,
            4 => Self::Settled,
            5 => Self::Linger,
            _ => Self::Over,
        }
    }
}

/// What becomes of a segment of an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the local stack, unchanged.
    Local,
    /// Translated, to the other end; nothing to the local stack.
    Relay,
    /// To the local socket, payload up to what that was given, and no FIN; from there it goes on.
    Whole,
    /// Translated, to the other end; the local socket gets what it says about its own data.
    News,
    /// Nowhere.
    Drop,
}

/// What a segment changes and where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Where it goes.
    pub way: Way,
    /// What [`Half::phase`] must be changed to before it goes there; if somebody else changes the
    /// word meanwhile, the decision is to be taken again.
    pub phase: u64,
}

/// Decides about a segment of an end whose phase word is `word`, and whose far host may send up to
/// `granted`: beyond that the local socket takes nothing, and nothing is given to it.
#[inline(always)]
#[must_use]
pub fn decide(word: u64, granted: u32, segment: &Segment) -> Decision {
    let (number, given) = split(word);
    let keep = |way| Decision { way, phase: word };
    let end = segment.end();
    let extended = if segment.payload > 0 && after(end, given) && !after(end, granted) {
        end
    } else {
        given
    };
    match Phase::of(number) {
        Phase::Track if segment.flags & (SYN | FIN | RST) != 0 => Decision {
            way: Way::Local,
            phase: join(Phase::Over as u32, given),
        },
        // It is sent only once: the change is called off.
        Phase::Armed if segment.flags & RST != 0 => Decision {
            way: Way::Local,
            phase: join(Phase::Over as u32, given),
        },
        Phase::Armed if segment.flags & (SYN | FIN) != 0 => keep(Way::Drop),
        Phase::Track | Phase::Armed => Decision {
            way: Way::Local,
            phase: join(number, extended),
        },
        Phase::Both if segment.flags & (SYN | RST) != 0 => keep(Way::Relay),
        // Translated, it would carry a time stamp that is ahead of those of what the other socket still
        // owes from there on.
        Phase::Both if after(given, segment.seq) => keep(Way::Whole),
        Phase::Both => keep(Way::News),
        Phase::Settled => keep(Way::Relay),
        Phase::Linger if segment.flags & (SYN | ACK) == SYN => Decision {
            way: Way::Local,
            phase: join(Phase::Over as u32, given),
        },
        Phase::Linger => keep(Way::Relay),
        Phase::Over => keep(Way::Local),
    }
}

/// What becomes of a segment that the local stack sends to the far host of an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    /// It goes as it is.
    Pass,
    /// It goes, acknowledging at least what the far host has been told.
    Patch,
    /// It is the socket's reset: it goes with a sequence number that the far host accepts, and the
    /// flow is over.
    Reset,
    /// It does not go: the far host hears from the other end.
    Drop,
    /// It goes, and the flow, which is done, makes room for what it starts.
    Evict,
}

/// Decides about a segment with `flags` that the local stack sends while the phase is `word`'s.
/// `mortal`: the flow ends with the process that has its sockets.
#[inline(always)]
#[must_use]
pub fn decide_sending(word: u64, mortal: bool, flags: u8) -> Sending {
    match Phase::of(split(word).0) {
        Phase::Track | Phase::Armed => Sending::Pass,
        // Answers to segments without a socket carry no ACK and are right as they are.
        Phase::Both | Phase::Over if flags & (RST | ACK) == RST | ACK => Sending::Reset,
        Phase::Both if flags & FIN != 0 => Sending::Drop,
        Phase::Both => Sending::Patch,
        // Asleep, they only reset when their process dies.
        Phase::Settled if mortal && flags & (RST | ACK) == RST | ACK => Sending::Reset,
        Phase::Settled => Sending::Drop,
        Phase::Linger if flags & (SYN | ACK) == SYN => Sending::Evict,
        Phase::Linger => Sending::Drop,
        Phase::Over => Sending::Pass,
    }
}

/// The sequence numbers of a local socket's reset: what its far host expects next if nothing is on its way,
/// and if all that is arrives before. They may be the same.
///
/// A socket that has sent up to `own`, and owes up to `given`, has its own number: what was relayed lies
/// behind what it owes. One that owes nothing has that of what was relayed, which ends at `last`, or at what
/// the far host has `offered` to take; up to `acked` the far host has confirmed it. A host that gets another
/// number asks back, and gets the right one from the stack, but it asks back only so often.
#[inline(always)]
#[must_use]
pub const fn reset_at(own: u32, given: u32, acked: u32, last: u32, offered: u32) -> [u32; 2] {
    let taken = if after(last, offered) { offered } else { last };
    if after(given, own) || !after(taken, own) {
        return [own, own];
    }
    [if after(acked, own) { acked } else { own }, taken]
}

impl Half {
    /// Where its segments go.
    #[inline(always)]
    #[must_use]
    pub const fn phase(&self) -> Phase {
        Phase::of(split(self.phase).0)
    }
}

#[cfg(test)]
mod tests {
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
    fn payload_belongs_to_the_local_socket_up_to_what_it_was_given() {
        let tracked = decide(join(Phase::Track as u32, 100), 1000, &segment(100, 50, ACK));
        assert_eq!((tracked.way, tracked.phase), (Way::Local, join(1, 150)));
        let both = join(Phase::Both as u32, 150);
        let cases = [
            (segment(140, 10, ACK), Way::Whole, 150),
            // Straddles: what lies behind will come again, in a segment of its own.
            (segment(140, 20, ACK), Way::Whole, 150),
            (segment(150, 10, ACK), Way::News, 150),
            (segment(140, 0, ACK), Way::Whole, 150),
            (segment(150, 0, ACK | FIN), Way::News, 150),
            (segment(150, 0, RST), Way::Relay, 150),
        ];
        for (segment, way, given) in cases {
            let decision = decide(both, 1000, &segment);
            assert_eq!((decision.way, decision.phase), (way, join(3, given)));
        }
    }

    #[test]
    fn what_may_not_be_sent_is_not_given() {
        let word = join(Phase::Track as u32, 100);
        assert_eq!(decide(word, 149, &segment(100, 50, ACK)).phase, word);
        let word = join(Phase::Both as u32, 100);
        let beyond = decide(word, 149, &segment(90, 60, ACK));
        assert_eq!((beyond.way, beyond.phase), (Way::Whole, word));
    }

    #[test]
    fn what_ends_a_connection_keeps_it_from_being_switched_over() {
        for flags in [FIN | ACK, RST, SYN] {
            let tracked = decide(join(Phase::Track as u32, 5), 1000, &segment(5, 0, flags));
            assert_eq!(tracked.way, Way::Local);
            assert_eq!(Phase::of(split(tracked.phase).0), Phase::Over);
            let armed = decide(join(Phase::Armed as u32, 5), 1000, &segment(5, 0, flags));
            let expected = if flags == RST {
                (Way::Local, join(Phase::Over as u32, 5))
            } else {
                (Way::Drop, join(Phase::Armed as u32, 5))
            };
            assert_eq!((armed.way, armed.phase), expected);
        }
    }

    #[test]
    fn a_new_connection_takes_the_place_of_one_that_is_done() {
        let word = join(Phase::Linger as u32, 0);
        assert_eq!(decide(word, 1000, &segment(9, 0, SYN)).way, Way::Local);
        assert_eq!(
            decide(word, 1000, &segment(9, 0, FIN | ACK)).way,
            Way::Relay
        );
        assert_eq!(decide_sending(word, false, SYN), Sending::Evict);
        assert_eq!(decide_sending(word, false, SYN | ACK), Sending::Drop);
    }

    #[test]
    fn a_reset_comes_where_it_is_expected() {
        // Owes 50 more, and 300 were relayed behind them.
        assert_eq!(reset_at(100, 150, 90, 450, 900), [100, 100]);
        // Owes nothing.
        assert_eq!(reset_at(150, 150, 140, 450, 900), [150, 450]);
        assert_eq!(reset_at(150, 150, 300, 450, 900), [300, 450]);
        // Nothing was relayed.
        assert_eq!(reset_at(150, 150, 150, 150, 900), [150, 150]);
        // More than there was room for.
        assert_eq!(reset_at(150, 150, 150, 450, 400), [150, 400]);
        assert_eq!(reset_at(150, 150, 150, 450, 150), [150, 150]);
        assert_eq!(reset_at(u32::MAX, u32::MAX, 3, 20, 90), [3, 20]);
    }

    #[test]
    fn sleeping_sockets_are_silent_and_dying_ones_loud() {
        let settled = join(Phase::Settled as u32, 0);
        for flags in [ACK, FIN | ACK, RST | ACK, RST, SYN] {
            assert_eq!(decide_sending(settled, false, flags), Sending::Drop);
        }
        for phase in [Phase::Both, Phase::Over] {
            let word = join(phase as u32, 0);
            assert_eq!(decide_sending(word, false, RST | ACK), Sending::Reset);
        }
        assert_eq!(decide_sending(settled, true, RST | ACK), Sending::Reset);
        assert_eq!(decide_sending(settled, true, FIN | ACK), Sending::Drop);
        let both = join(Phase::Both as u32, 0);
        assert_eq!(decide_sending(both, false, FIN | ACK), Sending::Drop);
        assert_eq!(decide_sending(both, false, ACK), Sending::Patch);
    }
}
