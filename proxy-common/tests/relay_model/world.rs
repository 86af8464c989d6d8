//! Two far hosts, the proxy's two sockets, a copy in user space, four lossy links and the programs.

use underpass_common::relay::phase::Phase;
use underpass_common::relay::segment::{ACK, FIN};
use underpass_common::relay::{
    ECHOES, EVENT_ENDED, Half, TERMS_MORTAL, TERMS_TIMESTAMPS, Terms, after, join, split, told,
};

use crate::program::Program;
use crate::socket::{Manner, Socket};
use crate::wire::{Numbers, Wire};

/// As in the daemon: what relayed time stamps are ahead of the sockets' own, in ticks, which are
/// milliseconds here.
const AHEAD: u32 = 8;

/// As in the daemon: longest silence of an end for which its clock is taken to have gone on.
const MOST_SILENCE_NS: u64 = 1_000_000_000;

/// Nanoseconds of a tick.
const TICK_NS: u64 = 1_000_000;

/// Buffers of the proxy's sockets, bytes.
pub(crate) const LOCAL_BUFFER: u32 = 1 << 16;

/// How a world is laid out.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// First numbers: of the far hosts, then of the proxy's sockets.
    pub(crate) numbers: [u32; 4],
    /// Window shifts, likewise.
    pub(crate) scales: [u8; 4],
    /// Where the clocks start, likewise.
    pub(crate) epochs: [u32; 4],
    pub(crate) timestamps: bool,
    pub(crate) sack: bool,
    /// Bytes of each stream.
    pub(crate) streams: [u32; 2],
    /// Buffers of the far hosts, in units of the window that is announced last.
    pub(crate) buffers: [u32; 2],
    /// What a far host's buffer has at least, bytes.
    pub(crate) least: u32,
    /// Steps before the weather clears up.
    pub(crate) steps: u32,
    /// Of a hundred segments, how many are lost, repeated, overtaken.
    pub(crate) weather: [u8; 3],
    /// The interfaces check checksums.
    pub(crate) is_vouched_for: bool,
}

/// A source of chance that a seed repeats.
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        (self.next() % u64::from(limit.max(1))) as u32
    }

    pub(crate) fn percent(&mut self, chance: u8) -> bool {
        self.below(100) < u32::from(chance)
    }
}

/// How far the daemon has come with the flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(crate) enum Stage {
    Alone,
    Tracking,
    Opening,
    Both,
    Settled,
    /// User space has it for good.
    Gone,
}

pub(crate) struct World {
    pub(crate) remotes: [Socket; 2],
    pub(crate) locals: [Socket; 2],
    pub(crate) program: Program,
    pub(crate) stage: Stage,
    pub(crate) chance: Chance,
    pub(crate) to_proxy: [Vec<Wire>; 2],
    pub(crate) to_remote: [Vec<Wire>; 2],
    weather: [u8; 3],
    /// How far the sockets' far hosts might send at the first look.
    edges: [u32; 2],
    /// End of the payload that the programs have seen, and how much of it since it was relayed.
    shown: [u32; 2],
    counted: [u64; 2],
}

impl World {
    pub(crate) fn new(plan: &Plan) -> Self {
        let manner = |at: usize, faces: usize, stream: usize, buffer: u32| Manner {
            numbers: Numbers {
                own: plan.numbers[at],
                others: plan.numbers[faces],
            },
            timestamps: plan.timestamps,
            sack: plan.sack,
            scale: plan.scales[at],
            others_scale: plan.scales[faces],
            buffer,
            stream,
            epoch: plan.epochs[at],
        };
        // At least four units of what its window is said in at last.
        let buffer = |end: usize| {
            let unit = plan.scales[end].max(plan.scales[3 - end]);
            ((4 + plan.buffers[end]) << unit).max(plan.least)
        };
        let locals = LOCAL_BUFFER;
        let manners = [
            manner(0, 2, 0, buffer(0)),
            manner(1, 3, 1, buffer(1)),
            manner(2, 0, 1, locals),
            manner(3, 1, 0, locals),
        ];
        let socket = |at: usize, faces: usize| {
            let other = manners[faces];
            let allowed = (other.buffer >> other.scale).min(0xffff) << other.scale;
            Socket::new(manners[at], allowed, other.epoch)
        };
        let mut remotes = [socket(0, 2), socket(1, 3)];
        for (remote, bytes) in remotes.iter_mut().zip(plan.streams) {
            remote.written = bytes;
        }
        Self {
            remotes,
            locals: [socket(2, 0), socket(3, 1)],
            program: Program {
                is_vouched_for: plan.is_vouched_for,
                ..Program::default()
            },
            stage: Stage::Alone,
            chance: Chance::new(plan.seed),
            to_proxy: Default::default(),
            to_remote: Default::default(),
            weather: plan.weather,
            edges: [0; 2],
            shown: [0; 2],
            counted: [0; 2],
        }
    }

    fn is_looked_at(&self) -> bool {
        self.stage > Stage::Alone
    }

    /// One random thing.
    pub(crate) fn step(&mut self) {
        let end = self.chance.below(2) as usize;
        match self.chance.below(16) {
            0..=1 => self.transmit(end, false),
            2 => self.transmit(end, true),
            3 => {
                let wire = self.remotes[end].acknowledge();
                self.to_proxy[end].push(wire);
            }
            4..=5 => self.transmit_local(end, false),
            6 => self.transmit_local(end, true),
            7..=9 => self.deliver(end, true),
            10..=12 => self.deliver(end, false),
            13 => self.copy(end),
            14 => {
                let remote = &mut self.remotes[end];
                let unread = remote.received() - remote.read;
                remote.read += self.chance.below(unread + 1);
                if self.chance.percent(3) {
                    remote.closes = true;
                }
            }
            _ => {
                let ticks = self.chance.below(50);
                self.tick(ticks);
                self.control();
            }
        }
    }

    pub(crate) fn tick(&mut self, ticks: u32) {
        for socket in self.remotes.iter_mut().chain(&mut self.locals) {
            socket.tick(ticks);
        }
        self.program.now_ns += u64::from(ticks) * TICK_NS;
    }

    /// A far host sends: something new, or something again.
    fn transmit(&mut self, end: usize, again: bool) {
        let remote = &mut self.remotes[end];
        let from = if again {
            remote.acked + self.chance.below(remote.sent - remote.acked)
        } else {
            remote.sent
        };
        let most = 1 + self.chance.below(3000);
        let wire = remote.send(from, most);
        self.to_proxy[end].push(wire);
    }

    fn transmit_local(&mut self, end: usize, again: bool) {
        let local = &mut self.locals[end];
        let from = if again {
            local.acked + self.chance.below(local.sent - local.acked)
        } else {
            local.sent
        };
        let most = 1 + self.chance.below(3000);
        let wire = local.send(from, most);
        self.leave(end, wire);
    }

    /// A local socket sends a segment.
    fn leave(&mut self, end: usize, wire: Wire) {
        if !self.is_looked_at() {
            self.to_remote[end].push(wire);
            return;
        }
        let out = self.program.leaving(end, wire);
        if self.program.phase(end) == Phase::Settled {
            assert!(out.is_none(), "a sleeping socket has spoken");
        }
        self.to_remote[end].extend(out);
    }

    /// Something arrives, as the weather is.
    fn deliver(&mut self, end: usize, at_proxy: bool) {
        let [lost, repeated, overtaken] = self.weather;
        let queue = if at_proxy {
            &mut self.to_proxy[end]
        } else {
            &mut self.to_remote[end]
        };
        if queue.is_empty() {
            return;
        }
        let at = if self.chance.percent(overtaken) {
            self.chance.below(queue.len() as u32) as usize
        } else {
            0
        };
        let wire = if self.chance.percent(repeated) {
            queue[at].clone()
        } else {
            queue.remove(at)
        };
        if self.chance.percent(lost) {
            return;
        }
        if at_proxy {
            self.arrive(end, &wire);
        } else {
            self.arrive_far(end, &wire);
        }
    }

    fn arrive_far(&mut self, end: usize, wire: &Wire) {
        if self.remotes[end].receive(wire, true) {
            let wire = self.remotes[end].acknowledge();
            self.to_proxy[end].push(wire);
        }
    }

    fn arrive(&mut self, end: usize, wire: &Wire) {
        if !self.is_looked_at() {
            self.arrive_local(end, wire);
            return;
        }
        let events = self.program.events.len();
        let told_before = self.program.halves[end].told;
        let out = self.program.arrived(end, wire);
        let phase = self.program.phase(end);
        let segment = wire.segment();
        match phase {
            Phase::Both if after(self.program.given(end), segment.seq) => {
                let local = out.local.as_ref().expect("what the local socket owes");
                let owed = self.program.given(end).wrapping_sub(segment.seq);
                assert_eq!(local.payload, wire.payload.min(owed));
                assert!(out.relayed.is_none());
            }
            Phase::Both => {
                assert!(out.relayed.is_some());
                assert!(out.local.as_ref().is_none_or(|copy| copy.payload == 0));
                let is_sure = wire.is_sealed() || self.program.is_vouched_for;
                let is_told = told::is_in_window(told_before, &segment) && is_sure;
                assert_eq!(out.local.is_some(), is_told, "news for the local socket");
            }
            Phase::Settled | Phase::Linger => {
                assert!(out.local.is_none() && out.relayed.is_some());
            }
            Phase::Track | Phase::Over => assert!(out.local.is_some() && out.relayed.is_none()),
            Phase::Armed => assert!(out.relayed.is_none()),
        }
        if phase != Phase::Over {
            let until = wire.from + wire.payload;
            // A late one may end beyond what was seen: what had been put aside was acknowledged at once.
            let is_meant = told::is_in_window(told_before, &segment);
            // What lies behind what the local socket owes is cut off, and will be sent again, as is what
            // goes nowhere.
            let is_kept = match phase {
                Phase::Both => out.relayed.is_some(),
                _ => out.relayed.is_some() || out.local.is_some(),
            };
            if is_meant && is_kept && wire.payload > 0 && until > self.shown[end] {
                let more = until - self.shown[end];
                self.shown[end] = until;
                if out.relayed.is_some() {
                    self.counted[end] += u64::from(more);
                }
            }
            self.check_records(end);
        }
        if self.program.events[events..].contains(&EVENT_ENDED) {
            for remote in &self.remotes {
                let end = remote.end.expect("a FIN");
                assert!(remote.got > end, "ended before all had arrived");
            }
        }
        if let Some(wire) = out.relayed {
            wire.check(self.remotes[1 - end].manner.numbers);
            self.to_remote[1 - end].push(wire);
        }
        if let Some(wire) = out.local {
            self.arrive_local(end, &wire);
        }
    }

    fn arrive_local(&mut self, end: usize, wire: &Wire) {
        // While one end is relayed already and the other not yet, acknowledgements of relayed payload
        // still come by: the socket refuses them, and what they carry is sent again.
        let honest = self.stage != Stage::Opening;
        if self.locals[end].receive(wire, honest) {
            let wire = self.locals[end].acknowledge();
            self.leave(end, wire);
        }
    }

    /// That the records of an end say what is.
    fn check_records(&self, end: usize) {
        let half = &self.program.halves[end];
        let (remote, local) = (&self.remotes[end], &self.locals[end]);
        let far = &self.remotes[1 - end];
        let (granted, acked) = split(half.told);
        let (sent, last) = split(half.seen);
        assert_eq!(last, remote.number(self.shown[end]), "seen of end {end}");
        assert_eq!(half.bytes, self.counted[end], "bytes of end {end}");
        let acked = acked.wrapping_sub(remote.manner.numbers.own);
        assert!(acked <= local.got.max(far.got), "{acked} acknowledged");
        assert!(acked <= remote.sent);
        let granted = granted.wrapping_sub(remote.manner.numbers.own);
        // What acknowledges a FIN as well reaches one further; what a socket says with a later
        // acknowledgement than its own has its window from there on.
        let promised = local.promised.max(far.promised).max(far.got + LOCAL_BUFFER);
        assert!(granted <= promised + 1, "{granted} granted");
        let sent = sent.wrapping_sub(local.manner.numbers.own);
        assert!(sent <= local.sent);
    }

    /// A segment as from the far host of an end, outside of what its receiver would take, must change
    /// no record and mean nothing to the local socket.
    pub(crate) fn forge(&mut self, end: usize, [seq, ack, stamp]: [u32; 3], payload: u32) {
        if !self.is_looked_at() || self.stage == Stage::Gone {
            return;
        }
        // Before segments are relayed, any FIN leaves the flow to user space.
        let fin = if self.stage >= Stage::Both {
            ack as u8 & FIN
        } else {
            0
        };
        let mut wire = self.remotes[end].clone().segment(0, payload, ACK | fin);
        let (granted, acked) = split(self.program.halves[end].told);
        wire.header.base[1] = seq.to_be();
        wire.header.base[2] = ack.to_be();
        let at = wire.found().timestamps;
        if at != 0 {
            wire.header.put(at, stamp);
        }
        wire.blocks.clear();
        wire.seal();
        let is_outside = after(seq, granted) || after(acked, wire.segment().end().wrapping_add(1));
        if !is_outside {
            return;
        }
        let before = self.program.halves;
        let out = self.program.arrived(end, &wire);
        for (was, is) in before.iter().zip(&self.program.halves) {
            let same = |half: &Half| (half.phase, half.told, half.seen, half.bytes);
            assert_eq!(same(was), same(is), "{wire:?}");
            let times = |half: &Half| (half.last_ns, half.clock);
            assert_eq!(times(was), times(is), "{wire:?}");
            assert_eq!(
                split(was.fin).0 & !ECHOES,
                split(is.fin).0 & !ECHOES,
                "{wire:?}"
            );
        }
        if let Some(copy) = out.local {
            let acked = self.locals[end].acked;
            self.locals[end].receive(&copy, false);
            assert_eq!(acked, self.locals[end].acked, "{wire:?}");
        }
    }

    /// User space takes what has come for one socket to the other.
    fn copy(&mut self, end: usize) {
        if self.stage == Stage::Settled {
            return;
        }
        let (from, to) = {
            let (first, second) = self.locals.split_at_mut(1);
            if end == 0 {
                (&mut first[0], &mut second[0])
            } else {
                (&mut second[0], &mut first[0])
            }
        };
        let room = (1u32 << 16).saturating_sub(to.written - to.acked.min(to.written));
        let bytes = (from.received() - from.read).min(room);
        from.read += bytes;
        to.written += bytes;
        assert_eq!(from.read, to.written);
        if from.end == Some(from.read) {
            to.closes = true;
        }
    }

    /// The daemon takes the flow a step further, if it can.
    pub(crate) fn control(&mut self) {
        if self.stage == Stage::Gone || self.stage == Stage::Settled {
            return;
        }
        if self.stage > Stage::Alone
            && self.stage < Stage::Both
            && (0..2).any(|end| self.program.phase(end) == Phase::Over)
        {
            self.program.set_phase(Phase::Over);
            self.stage = Stage::Gone;
            return;
        }
        match self.stage {
            Stage::Alone => self.enrol(),
            Stage::Tracking => self.arm(),
            Stage::Opening => self.open(),
            _ => self.settle(),
        }
    }

    fn enrol(&mut self) {
        if self
            .locals
            .iter()
            .any(|local| local.end.is_some() || local.closes)
        {
            return;
        }
        for end in 0..2 {
            let (local, other) = (&self.locals[end], &self.locals[1 - end]);
            let remote = &self.remotes[end];
            self.program.terms[end] = Terms {
                ports: 0x1234_5678 + end as u32,
                shift: other
                    .number(other.written)
                    .wrapping_sub(local.others_number(local.read)),
                announced_scale: remote.manner.scale,
                granted_scale: local.manner.scale,
                flags: if local.manner.timestamps {
                    TERMS_MORTAL | TERMS_TIMESTAMPS
                } else {
                    TERMS_MORTAL
                },
                ..Terms::default()
            };
            self.edges[end] = local.promised;
            let received = local.others_number(local.got);
            let half = &mut self.program.halves[end];
            half.phase = join(Phase::Track as u32, received);
            half.told = join(local.others_number(local.promised), received);
            half.seen = join(local.number(local.sent), received);
            half.last_ns = self.program.now_ns;
            self.program.offered[end] = other
                .number(other.allowed)
                .wrapping_sub(self.program.terms[end].shift);
            self.shown[end] = local.got;
        }
        self.stage = Stage::Tracking;
    }

    fn arm(&mut self) {
        if self.locals[0].manner.timestamps {
            let clocks = [0, 1].map(|end| split(self.program.halves[end].clock));
            if clocks.iter().any(|(known, _)| *known == 0) {
                return;
            }
            for end in 0..2 {
                let own = self.locals[1 - end].clock();
                let last = clocks[end].1;
                let silent = self.program.now_ns - self.program.halves[end].last_ns;
                let since = if silent <= MOST_SILENCE_NS {
                    (silent / TICK_NS) as u32
                } else {
                    0
                };
                let terms = &mut self.program.terms[end];
                terms.clock = own
                    .wrapping_add(AHEAD)
                    .wrapping_sub(last.wrapping_add(since));
                terms.oldest_echo = last;
            }
        }
        for end in 0..2 {
            let local = &self.locals[end];
            if !local.aside.is_empty() && self.edges[end] > local.got {
                return;
            }
            // What was put aside before the programs looked is theirs now too.
            let later = |a, b| if after(a, b) { a } else { b };
            let expects = local.others_number(local.got);
            let edge = local.others_number(local.promised);
            self.program.sure[end] = expects;
            let half = &mut self.program.halves[end];
            let (number, given) = split(half.phase);
            half.phase = join(number, later(expects, given));
            let (granted, acked) = split(half.told);
            half.told = join(later(edge, granted), later(expects, acked));
            let (known, last) = split(half.seen);
            half.seen = join(later(local.number(local.sent), known), later(expects, last));
            self.shown[end] = self.shown[end].max(local.got);
            let target = &self.locals[1 - end];
            let edge = target
                .number(target.allowed)
                .wrapping_sub(self.program.terms[end].shift);
            self.program.offered[end] = later(edge, self.program.offered[end]);
        }
        self.stage = Stage::Opening;
    }

    /// One of the two ends, one phase further.
    fn open(&mut self) {
        for (from, to) in [(Phase::Track, Phase::Armed), (Phase::Armed, Phase::Both)] {
            for end in 0..2 {
                let half = &mut self.program.halves[end];
                if half.phase() == from {
                    half.phase = join(to as u32, split(half.phase).1);
                    if (to, end) == (Phase::Both, 1) {
                        self.stage = Stage::Both;
                    }
                    return;
                }
            }
        }
    }

    fn settle(&mut self) {
        for end in 0..2 {
            let (from, to) = (&self.locals[end], &self.locals[1 - end]);
            let is_out = to.sent == to.written && to.acked == to.sent;
            let is_written = to.written == from.got;
            let given = self.program.given(end);
            if !is_out || !is_written || after(given, from.others_number(from.got)) {
                return;
            }
        }
        self.program.set_phase(Phase::Settled);
        self.stage = Stage::Settled;
    }

    /// The weather is fair and everything is sent until it is there, within `most` rounds of `ticks`
    /// each.
    pub(crate) fn finish(&mut self, most: u32, ticks: u32) {
        self.weather = [0; 3];
        for round in 0..most {
            self.tick(ticks);
            self.control();
            for end in 0..2 {
                let remote = &mut self.remotes[end];
                remote.closes = true;
                remote.read = remote.received();
                let repeats = round % 4 == 3;
                self.transmit(end, false);
                if repeats {
                    let remote = &mut self.remotes[end];
                    let wire = remote.send(remote.acked, 1460);
                    self.to_proxy[end].push(wire);
                }
                self.copy(end);
                self.transmit_local(end, false);
                if repeats {
                    let local = &mut self.locals[end];
                    let wire = local.send(local.acked, 1460);
                    self.leave(end, wire);
                }
                let wire = self.locals[end].acknowledge();
                self.leave(end, wire);
                let wire = self.remotes[end].acknowledge();
                self.to_proxy[end].push(wire);
            }
            for end in 0..2 {
                for wire in std::mem::take(&mut self.to_proxy[end]) {
                    self.arrive(end, &wire);
                }
                for wire in std::mem::take(&mut self.to_remote[end]) {
                    self.arrive_far(end, &wire);
                }
            }
            if self.remotes.iter().all(Socket::is_done) {
                return;
            }
        }
        panic!(
            "not done in {:?}: {:#?} {:#?}",
            self.stage, self.remotes, self.locals
        );
    }
}
