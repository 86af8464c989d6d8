//! The programs' way through the pure parts, on records in plain memory.
//!
//! It mirrors `proxy-ebpf/src/relay.rs` function by function; what is proven here holds of the
//! programs as long as it does.

use underpass_common::relay::phase::{self, Decision, Phase, Sending, Way, decide, decide_sending};
use underpass_common::relay::segment::{ACK, FIN, RST, SYN, Segment, set};
use underpass_common::relay::translate::{self, adjust};
use underpass_common::relay::{
    ECHOES, EVENT_ENDED, EVENT_RESET, FIN_ACKED, FIN_SEEN, Half, RESET, TERMS_MORTAL,
    TERMS_TIMESTAMPS, Terms, after, join, split, told,
};

use crate::wire::Wire;

/// One flow's records.
#[derive(Debug, Clone, Default)]
pub(crate) struct Program {
    pub(crate) terms: [Terms; 2],
    pub(crate) halves: [Half; 2],
    pub(crate) sure: [u32; 2],
    pub(crate) offered: [u32; 2],
    pub(crate) events: Vec<u32>,
    /// The interfaces check checksums before the programs see a packet.
    pub(crate) is_vouched_for: bool,
    /// The time, ns.
    pub(crate) now_ns: u64,
}

/// What became of a segment that has arrived.
#[derive(Debug, Default)]
pub(crate) struct Arrived {
    pub(crate) relayed: Option<Wire>,
    pub(crate) local: Option<Wire>,
}

impl Program {
    pub(crate) fn phase(&self, end: usize) -> Phase {
        self.halves[end].phase()
    }

    pub(crate) fn given(&self, end: usize) -> u32 {
        split(self.halves[end].phase).1
    }

    pub(crate) fn arrived(&mut self, end: usize, wire: &Wire) -> Arrived {
        let segment = wire.segment();
        let granted = split(self.halves[end].told).0;
        let before = self.phase(end);
        let is_tracked = matches!(before, Phase::Track | Phase::Armed);
        let must = is_tracked || before == Phase::Both || segment.flags & (RST | FIN) != 0;
        let intact = must && self.is_intact(wire);
        if is_tracked && !intact {
            return Arrived {
                local: Some(wire.clone()),
                ..Arrived::default()
            };
        }
        let Decision { way, phase } = decide(self.halves[end].phase, granted, &segment);
        self.halves[end].phase = phase;
        let (number, given) = split(phase);
        let local = |wire: Wire| Arrived {
            local: Some(wire),
            ..Arrived::default()
        };
        if Phase::of(number) == Phase::Over {
            if way == Way::Local && segment.flags & SYN != 0 {
                self.finish();
            }
            return local(wire.clone());
        }
        let mut believed = told::is_in_window(self.halves[end].told, &segment);
        let intact = believed && intact;
        believed &= intact || segment.flags & RST == 0;
        if believed {
            match way {
                Way::Local => {
                    self.see(&segment, end);
                    self.offer(&segment, end);
                    self.note_time(end);
                }
                Way::Relay | Way::News => self.note(&segment, end, intact),
                Way::Whole if segment.payload > 0 => self.note_time(end),
                Way::Whole | Way::Drop => {}
            }
        }
        if way == Way::Relay && self.is_over() {
            let is_early = Phase::of(number) == Phase::Both && segment.flags & RST != 0;
            if segment.flags & (SYN | ACK) == SYN || is_early {
                return Arrived::default();
            }
        }
        let seq = match way {
            Way::Local => {
                if believed {
                    self.note_clock(wire, end);
                }
                return local(wire.clone());
            }
            Way::Drop => return Arrived::default(),
            Way::Relay => return self.only_relay(wire, end),
            Way::Whole => {
                let mut copy = wire.clone();
                if after(segment.end(), given) {
                    copy.cut(given.wrapping_sub(segment.seq));
                }
                patch(&mut copy, segment.seq, self.clamp(&segment, end));
                return local(copy);
            }
            Way::News => {
                if !believed || !self.can_acknowledge(&segment, end) {
                    return self.only_relay(wire, end);
                }
                if segment.payload > 0 && !intact {
                    return self.only_relay(wire, end);
                }
                if after(segment.seq, given) {
                    given
                } else {
                    segment.seq
                }
            }
        };
        let mut copy = wire.clone();
        if segment.payload > 0 {
            copy.cut(0);
        }
        patch(&mut copy, seq, self.clamp(&segment, end));
        Arrived {
            local: Some(copy),
            ..self.only_relay(wire, end)
        }
    }

    fn only_relay(&mut self, wire: &Wire, end: usize) -> Arrived {
        Arrived {
            relayed: Some(self.relay(wire, end)),
            local: None,
        }
    }

    /// What the local socket may be told of its own data.
    fn clamp(&self, segment: &Segment, end: usize) -> u32 {
        let sent = split(self.halves[end].seen).0;
        if after(segment.ack, sent) {
            sent
        } else {
            segment.ack
        }
    }

    /// Whether the checksum is right.
    fn is_intact(&self, wire: &Wire) -> bool {
        self.is_vouched_for || wire.is_sealed()
    }

    fn can_acknowledge(&self, segment: &Segment, end: usize) -> bool {
        let ack = segment.ack.wrapping_sub(self.terms[1 - end].shift);
        told::may_acknowledge(ack, split(self.halves[1 - end].seen).1)
    }

    fn note_time(&mut self, end: usize) {
        self.halves[end].last_ns = self.now_ns;
    }

    fn is_over(&self) -> bool {
        let [first, second] = [0, 1].map(|end| split(self.halves[end].fin).0);
        first & second & FIN_ACKED != 0 || (first | second) & RESET != 0
    }

    fn see(&mut self, segment: &Segment, end: usize) -> u32 {
        if segment.payload == 0 {
            return 0;
        }
        let half = &mut self.halves[end];
        let (seen, moved) = told::see(half.seen, half.told, segment);
        half.seen = seen;
        moved
    }

    fn offer(&mut self, segment: &Segment, end: usize) {
        if segment.flags & (ACK | RST | SYN) != ACK || !self.can_acknowledge(segment, end) {
            return;
        }
        let ack = segment.ack.wrapping_sub(self.terms[1 - end].shift);
        let window = translate::window(segment.window, self.terms[end].announced_scale);
        let edge = ack.wrapping_add(window);
        let known = &mut self.offered[1 - end];
        if after(edge, *known) {
            *known = edge;
        }
    }

    fn note(&mut self, segment: &Segment, end: usize, intact: bool) {
        let told_me = self.halves[end].told;
        let moved = self.see(segment, end);
        if moved != 0 {
            self.halves[end].bytes += u64::from(moved);
            self.note_time(end);
        }
        let seen = self.halves[end].seen;
        let known = self.halves[end].fin;
        if segment.flags & FIN != 0 || split(known).0 & FIN_SEEN != 0 {
            self.halves[end].fin = told::finish(known, seen, segment, intact);
        }
        if segment.flags & RST != 0 {
            let fin = self.halves[end].fin;
            let is_known = self.is_over() || split(fin).0 & RESET != 0;
            if !is_known && told::is_reset(segment, seen, told_me, fin) {
                self.halves[end].fin |= join(RESET, 0);
                self.events.push(EVENT_RESET);
            }
            return;
        }
        if !segment.acknowledges() || !self.can_acknowledge(segment, end) {
            return;
        }
        self.offer(segment, end);
        let ack = segment.ack.wrapping_sub(self.terms[1 - end].shift);
        let window = translate::window(segment.window, self.terms[end].announced_scale);
        if after(ack, split(self.halves[1 - end].told).1) {
            self.note_time(end);
        }
        let other = &mut self.halves[1 - end];
        other.told = told::tell(other.told, ack, window);
        let known = &mut self.sure[1 - end];
        if intact && after(ack, *known) {
            *known = ack;
        }
        if split(other.fin).0 & (FIN_SEEN | FIN_ACKED) == FIN_SEEN {
            other.fin = told::finished(other.fin, split(other.told).1);
            if split(self.halves[0].fin).0 & split(self.halves[1].fin).0 & FIN_ACKED != 0 {
                self.events.push(EVENT_ENDED);
            }
        }
    }

    fn note_clock(&mut self, wire: &Wire, end: usize) {
        if self.terms[end].flags & TERMS_TIMESTAMPS == 0 {
            return;
        }
        if let Some((value, _)) = wire.stamps() {
            self.halves[end].clock = join(1, value);
        }
    }

    fn relay(&mut self, wire: &Wire, end: usize) -> Wire {
        let mut wire = wire.clone();
        let (from, to) = (self.terms[end], self.terms[1 - end]);
        let segment = wire.segment();
        let segment = Segment {
            seq: told::heard(&segment, self.offered[end]),
            ..segment
        };
        let found = wire.found();
        let floor = split(self.halves[end].fin).0 & ECHOES == 0;
        let done = translate::translate(&mut wire.header, &segment, &found, &from, &to, floor);
        if done.echoes && floor {
            self.halves[end].fin |= join(ECHOES, 0);
        }
        wire.set_checksum(adjust(wire.checksum(), done.by));
        let promised = translate::window(segment.window, from.announced_scale);
        let passed_on = translate::window(wire.segment().window, to.granted_scale);
        assert!(passed_on <= promised, "{passed_on} of {promised} promised");
        wire
    }

    /// What becomes of a segment that a local socket sends.
    pub(crate) fn leaving(&mut self, end: usize, mut wire: Wire) -> Option<Wire> {
        let segment = wire.segment();
        let word = self.halves[end].phase;
        let mortal = self.terms[0].flags & TERMS_MORTAL != 0;
        match decide_sending(word, mortal, segment.flags) {
            Sending::Drop => None,
            Sending::Evict => {
                self.finish();
                Some(wire)
            }
            Sending::Reset => {
                let (_, given) = split(self.halves[1 - end].phase);
                let (_, last) = split(self.halves[1 - end].seen);
                let (_, acked) = split(self.halves[1 - end].told);
                let shift = self.terms[1 - end].shift;
                let [_, seq] = phase::reset_at(
                    segment.seq,
                    given.wrapping_add(shift),
                    acked.wrapping_add(shift),
                    last.wrapping_add(shift),
                    (self.offered[1 - end]).wrapping_add(shift),
                );
                if seq != segment.seq {
                    let by = set(&mut wire.header.base[1], seq.to_be());
                    wire.set_checksum(adjust(wire.checksum(), by));
                }
                self.finish();
                Some(wire)
            }
            way => {
                if Phase::of(split(word).0) == Phase::Over {
                    return Some(wire);
                }
                let marks = u32::from(segment.flags & (FIN | SYN) != 0);
                let half = &mut self.halves[end];
                half.seen = told::sent(half.seen, segment.end().wrapping_add(marks));
                if !segment.acknowledges() {
                    return Some(wire);
                }
                let acked = self.sure[end];
                let mut ack = segment.ack;
                if way == Sending::Patch && after(acked, ack) {
                    ack = acked;
                    let by = set(&mut wire.header.base[2], acked.to_be());
                    wire.set_checksum(adjust(wire.checksum(), by));
                }
                let window = translate::window(segment.window, self.terms[end].granted_scale);
                half.told = told::tell(half.told, ack, window);
                Some(wire)
            }
        }
    }

    pub(crate) fn set_phase(&mut self, phase: Phase) {
        for half in &mut self.halves {
            half.phase = join(phase as u32, split(half.phase).1);
        }
    }

    fn finish(&mut self) {
        self.set_phase(Phase::Over);
    }
}

fn patch(wire: &mut Wire, seq: u32, ack: u32) {
    let base = &mut wire.header.base;
    let control = u32::from_be(base[3]) & !(u32::from(FIN) << 16);
    let by = set(&mut base[1], seq.to_be())
        + set(&mut base[2], ack.to_be())
        + set(&mut base[3], control.to_be());
    wire.set_checksum(adjust(wire.checksum(), by));
}
