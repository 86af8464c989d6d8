//! Random flows and segments, most of them near the edges of what the flow has said.

use underpass_common::relay::segment::{ACK, CWR, ECE, FIN, Header, RST, SYN, Segment};
use underpass_common::relay::{
    Address, ECHOES, FIN_ACKED, FIN_SEEN, FIN_SURE, Flow, Half, Phase, RESET, TERMS_MORTAL,
    TERMS_NO_ECN, TERMS_TIMESTAMPS, TERMS_V6, Terms, address, join, ports, split,
};

use crate::wire::{Wire, words};

const PSH: u8 = 0x08;
const PHASES: [Phase; 6] = [
    Phase::Track,
    Phase::Armed,
    Phase::Both,
    Phase::Settled,
    Phase::Linger,
    Phase::Over,
];
/// Most payload of a segment, bytes: a frame with it fits where the kernel wants test frames.
const MOST_PAYLOAD: u32 = 1400;

/// Random numbers that are the same in every run.
#[derive(Debug)]
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        // The constants of splitmix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn word(&mut self) -> u32 {
        self.next() as u32
    }

    /// Less than `bound`.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        self.word() % bound
    }

    /// In one of `of` cases.
    pub(crate) fn one_in(&mut self, of: u32) -> bool {
        self.below(of) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u32) as usize]
    }

    pub(crate) fn bytes(&mut self, count: u32) -> Vec<u8> {
        (0..count).map(|_| self.word() as u8).collect()
    }

    /// A number near another one.
    fn near(&mut self, number: u32) -> u32 {
        let by = self.pick(&[0, 0, 1, 2, 700, 3000]);
        let off = self.below(by + 1);
        if self.one_in(2) {
            number.wrapping_add(off)
        } else {
            number.wrapping_sub(off)
        }
    }

    /// A sequence number to start from, often just before the wrap.
    fn start(&mut self) -> u32 {
        if self.one_in(2) {
            0_u32.wrapping_sub(self.below(5000))
        } else {
            self.word()
        }
    }

    pub(crate) fn flow(&mut self) -> Flow {
        let v6 = self.one_in(2);
        let mut flow = Flow {
            id: 1,
            ..Flow::default()
        };
        let flags = [
            if v6 { TERMS_V6 } else { 0 },
            self.pick(&[0, TERMS_TIMESTAMPS]),
            self.pick(&[0, TERMS_NO_ECN]),
            self.pick(&[0, TERMS_MORTAL]),
        ];
        for (end, terms) in flow.terms.iter_mut().enumerate() {
            *terms = Terms {
                shift: self.word(),
                clock: self.word(),
                oldest_echo: self.word(),
                announced_scale: self.below(15) as u8,
                granted_scale: self.below(15) as u8,
                flags: flags.iter().fold(0, |all, flag| all | flag),
                ..self::terms(v6, end)
            };
        }
        let starts = [self.start(), self.start()];
        let lasts = [0, 1].map(|end: usize| {
            let sent = self.pick(&[0, 1, 1000, 60_000]);
            starts[end].wrapping_add(self.below(sent + 1))
        });
        let same = self.one_in(2);
        let first = self.pick(&PHASES);
        for end in 0..2 {
            let phase = if same { first } else { self.pick(&PHASES) };
            let granted = lasts[end].wrapping_add(self.pick(&[0, 1, 1000, 65_535, 1 << 20]));
            let given = if self.one_in(3) {
                lasts[end]
            } else {
                starts[end].wrapping_add(
                    self.below(lasts[end].wrapping_sub(starts[end]).wrapping_add(1).max(1)),
                )
            };
            let own = lasts[1 - end].wrapping_add(flow.terms[1 - end].shift);
            let mut fin = 0;
            if self.one_in(4) {
                fin |= FIN_SEEN | self.pick(&[0, FIN_SURE]) | self.pick(&[0, FIN_ACKED]);
            }
            fin |= self.pick(&[0, ECHOES]);
            if self.one_in(16) {
                fin |= RESET;
            }
            let place = if fin & FIN_SEEN == 0 {
                0
            } else {
                lasts[end].wrapping_add(1)
            };
            flow.halves[end] = Half {
                phase: join(phase as u32, given),
                told: join(granted, starts[end]),
                seen: join(self.near(own), lasts[end]),
                bytes: u64::from(self.word()),
                last_ns: 1,
                clock: join(1, self.word()),
                fin: join(fin, place),
                packets: 7,
            };
            flow.offered[end] = u64::from(self.near(granted));
            flow.sure[end] = u64::from(self.near(starts[end]));
        }
        flow
    }

    fn flags(&mut self) -> u8 {
        let mut flags = 0;
        for (flag, of) in [(FIN, 6), (RST, 12), (SYN, 12), (PSH, 2), (ECE, 6), (CWR, 6)] {
            if self.one_in(of) {
                flags |= flag;
            }
        }
        if !self.one_in(10) {
            flags |= ACK;
        }
        flags
    }

    /// A segment of the far host of `end`, and its payload.
    pub(crate) fn arriving(&mut self, flow: &Flow, end: usize) -> (Wire, Vec<u8>) {
        let half = &flow.halves[end];
        let (granted, acked) = split(half.told);
        let (sent, last) = split(half.seen);
        let given = split(half.phase).1;
        let seq = match self.below(8) {
            0 => self.word(),
            1 | 2 => self.near(acked),
            3 => self.near(granted),
            4 | 5 => self.near(given),
            _ => self.near(last),
        };
        let other = &flow.halves[1 - end];
        let ack = match self.below(8) {
            0 => self.word(),
            1 => split(other.told).1.wrapping_add(flow.terms[1 - end].shift),
            2..=4 => self.near(sent),
            _ => self.near(split(other.seen).1.wrapping_add(flow.terms[1 - end].shift)),
        };
        self.segment(seq, ack, end)
    }

    /// A segment of the local socket that faces the far host of `end`, and its payload.
    pub(crate) fn leaving(&mut self, flow: &Flow, end: usize) -> (Wire, Vec<u8>) {
        let half = &flow.halves[end];
        let seq = self.near(split(half.seen).0);
        let acked = split(half.told).1;
        let given = split(half.phase).1;
        let ack = match self.below(6) {
            0 => self.word(),
            1 => self.near(flow.sure[end] as u32),
            2 | 3 => self.near(acked),
            _ => self.near(given),
        };
        self.segment(seq, ack, end)
    }

    fn segment(&mut self, seq: u32, ack: u32, end: usize) -> (Wire, Vec<u8>) {
        let most = self.pick(&[0, 0, 1, 2, 100, MOST_PAYLOAD]);
        let count = if self.one_in(2) {
            most
        } else {
            self.below(most + 1)
        };
        let payload = self.bytes(count);
        let flags = self.flags();
        let options = self.options();
        let size = 5 + options.len() as u32 / 4;
        let window = self.word() & 0xffff;
        let header = Header {
            // The ports are the caller's.
            base: [
                0,
                seq.to_be(),
                ack.to_be(),
                (size << 28 | u32::from(flags) << 16 | window).to_be(),
                0,
            ],
            options: words(&options),
        };
        let wire = Wire {
            header,
            options: options.len(),
            payload: count,
            stream: end,
            from: 0,
            blocks: Vec::new(),
            rest: 0,
        };
        assert!(Segment::read(&wire.header.base, 60 + count).is_some());
        (wire, payload)
    }

    /// Up to 40 bytes of options, in any order and at any place; some lie about their length.
    fn options(&mut self) -> Vec<u8> {
        const NOP: u8 = 1;
        let mut options = Vec::new();
        if self.one_in(3) {
            // What nearly all segments have.
            options.extend([NOP, NOP, 8, 10]);
            options.extend(self.bytes(8));
            return options;
        }
        for _ in 0..self.below(6) {
            let option = match self.below(6) {
                0 => vec![NOP; 1 + self.below(3) as usize],
                1 | 2 => [vec![8, 10], self.bytes(8)].concat(),
                3 | 4 => {
                    let blocks = 1 + self.below(4);
                    [vec![5, 2 + 8 * blocks as u8], self.bytes(8 * blocks)].concat()
                }
                _ => {
                    let length = self.below(12) as u8;
                    let kind = self.pick(&[0, 2, 3, 5, 8, 254]);
                    let rest = self.below(u32::from(length).saturating_sub(1).max(1));
                    [vec![kind, length], self.bytes(rest)].concat()
                }
            };
            if options.len() + option.len() <= 40 {
                options.extend(option);
            }
        }
        while !options.len().is_multiple_of(4) {
            options.push(self.pick(&[0, NOP]));
        }
        options
    }
}

/// The addresses of an end, and nothing else.
pub(crate) fn terms(v6: bool, end: usize) -> Terms {
    let net = end as u8 + 1;
    let at = |host: u8| -> Address {
        if v6 {
            address([0xfd, 0, 0, net, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host])
        } else {
            address([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, net, host])
        }
    };
    let (local_port, remote_port) = if end == 0 {
        (8000, 40_000)
    } else {
        (50_000, 9000)
    };
    Terms {
        remote: at(1),
        local: at(2),
        ports: ports(local_port, remote_port),
        interface: 1,
        flags: if v6 { TERMS_V6 } else { 0 },
        ..Terms::default()
    }
}
