//! The relay's programs as the kernel loads them, run on crafted frames: what they do to frames and records is what
//! the pure functions say, whatever the frame.

mod draw;
mod figures;
mod frame;
mod icmp;
mod object;
#[expect(dead_code, reason = "the model of two connections uses the rest")]
#[path = "../../../proxy-common/tests/relay_model/program.rs"]
mod program;
#[expect(dead_code, reason = "the model of two connections uses the rest")]
#[path = "../../../proxy-common/tests/relay_model/wire.rs"]
mod wire;

use underpass_common::relay::segment::{ACK, FIN, Header};
use underpass_common::relay::{
    COPY_MARK, FIN_SEEN, Flow, Half, Phase, TERMS_NO_ECN, TERMS_V6, Terms, join,
};

use draw::Draw;
use frame::{Between, Checksum, ETHERNET, Frame};
use object::{Around, DROP, NEXT, Object, REDIRECT, Which, with_object};
use program::Program;
use wire::Wire;

/// Frames per test; `UNDERPASS_TEST_PACKETS` asks for more.
fn cases() -> u64 {
    let asked = std::env::var("UNDERPASS_TEST_PACKETS").ok();
    asked.map_or(20_000, |count| count.parse().unwrap())
}

/// The time of the model, which no clock shows.
const NOW: u64 = u64::MAX;

/// The flow's records as the model has them.
fn model(flow: &Flow, checksum: Checksum) -> Program {
    Program {
        terms: flow.terms,
        halves: flow.halves,
        sure: flow.sure.map(|sure| sure as u32),
        offered: flow.offered.map(|offered| offered as u32),
        is_vouched_for: checksum == Checksum::Partial,
        now_ns: NOW,
        ..Program::default()
    }
}

/// That the records are what the model has, of which `end` has relayed `packets`.
fn check_records(object: &mut Object, before: &Flow, model: &Program, relayed: Option<usize>) {
    let flow = object.flow();
    assert_eq!(flow.terms, before.terms);
    assert_eq!(flow.sure.map(|sure| sure as u32), model.sure);
    assert_eq!(flow.offered.map(|offered| offered as u32), model.offered);
    for end in 0..2 {
        let mut expected = model.halves[end];
        // The model has no clock, and counts no packets.
        if expected.last_ns == NOW {
            assert!(flow.halves[end].last_ns > 1);
            expected.last_ns = flow.halves[end].last_ns;
        }
        expected.packets = before.halves[end].packets + u64::from(relayed == Some(end));
        assert_eq!(flow.halves[end], expected, "of end {end}");
    }
    assert_eq!(object.events(), model.events);
}

/// That two frames are the same, and that the TCP checksum of the second one is as wrong as `residue` says.
fn check_frame(got: &Frame, expected: &Frame, residue: Option<u64>) {
    assert!(got.is_network_right(), "the IP header's checksum: {got:?}");
    assert_eq!(got.blank(), expected.blank());
    if let Some(residue) = residue {
        assert_eq!(got.residue(), residue, "the TCP checksum");
    }
}

/// A drawn segment of an end, in a frame.
struct Drawn {
    flow: Flow,
    end: usize,
    wire: Wire,
    frame: Frame,
    checksum: Checksum,
    around: Around,
}

fn drawn(draw: &mut Draw, which: Which) -> Drawn {
    let flow = draw.flow();
    let end = draw.below(2) as usize;
    let terms = &flow.terms[end];
    let (mut wire, payload, between) = match which {
        Which::In => {
            let (wire, payload) = draw.arriving(&flow, end);
            (wire, payload, Between::arriving(terms))
        }
        Which::Out | Which::Icmp => {
            let (wire, payload) = draw.leaving(&flow, end);
            (wire, payload, Between::leaving(terms))
        }
    };
    wire.header.base[0] = match which {
        Which::In => terms.ports.rotate_left(16),
        Which::Out | Which::Icmp => terms.ports,
    };
    let checksum = match draw.below(6) {
        0 => Checksum::Wrong,
        1 => Checksum::Partial,
        _ => Checksum::Right,
    };
    let v6 = terms.flags & TERMS_V6 != 0;
    let frame = Frame::new(v6, between, &mut wire, &payload, checksum);
    // The kernel makes no copies of a test's frames of several segments.
    let may_be_several = payload.len() > 1000 && flow.halves[end].phase() != Phase::Both;
    let gso_size = if may_be_several && draw.one_in(2) {
        1000
    } else {
        0
    };
    Drawn {
        flow,
        end,
        wire,
        frame,
        checksum,
        around: Around {
            gso_size,
            ..Around::default()
        },
    }
}

/// Says which case failed.
struct Telling(u64);

impl Drop for Telling {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("with seed {}", self.0);
        }
    }
}

#[test]
fn what_arrives_is_treated_as_the_model_says() {
    with_object(|object| {
        let mut seen = [0_u64; 5];
        for seed in 0..cases() {
            let _telling = Telling(seed);
            let case = drawn(&mut Draw::new(seed), Which::In);
            seen[arrives(object, &case)] += 1;
        }
        println!("untouched, dropped, relayed, given, given and relayed: {seen:?}");
        assert!(seen.iter().all(|&count| count > cases() / 100), "{seen:?}");
    });
}

/// Runs one case; which of five things has happened to its frame.
fn arrives(object: &mut Object, case: &Drawn) -> usize {
    let Drawn {
        flow,
        end,
        wire,
        frame,
        checksum,
        around,
    } = case;
    let mut model = model(flow, *checksum);
    let expected = model.arrived(*end, wire);
    object.enter(flow);
    let ran = object.run(Which::In, &frame.bytes, *around);
    let (from, to) = (&flow.terms[*end], &flow.terms[1 - *end]);
    let residue = frame.residue();
    let got = Frame::of(ran.frame.clone(), frame.v6);
    let is_relayed = |ran: &object::Ran, relayed: &Wire| {
        let no_ecn = from.flags & TERMS_NO_ECN != 0;
        let expected = frame
            .clone()
            .readdressed(Between::leaving(to), no_ecn)
            .with_header(relayed);
        assert_eq!(ran.verdict, REDIRECT);
        let got = Frame::of(ran.frame.clone(), frame.v6);
        check_frame(&got, &expected, Some(residue));
    };
    let check_given = |got: &Frame, local: &Wire| {
        let mut given = frame.clone().with_header(local);
        let is_cut = local.payload < wire.payload;
        if is_cut {
            given = given.cut(wire.options, local.payload as usize);
        }
        // Where somebody has vouched for the checksum, nobody looks at it after a cut.
        let is_looked_at = !is_cut || *checksum != Checksum::Partial;
        check_frame(got, &given, is_looked_at.then_some(residue));
    };
    let what = match (&expected.local, &expected.relayed) {
        (None, None) => {
            assert_eq!(ran.verdict, DROP);
            1
        }
        (None, Some(relayed)) => {
            is_relayed(&ran, relayed);
            2
        }
        (Some(local), None) => {
            assert_eq!(ran.verdict, NEXT);
            check_given(&got, local);
            if got == *frame { 0 } else { 3 }
        }
        (Some(local), Some(relayed)) => {
            assert_eq!(ran.verdict, NEXT);
            assert_eq!(ran.mark, 0, "the mark is the copy's alone");
            check_given(&got, local);
            // What comes around as a copy is relayed, and noted once.
            let copy = Around {
                mark: COPY_MARK,
                ..*around
            };
            let ran = object.run(Which::In, &frame.bytes, copy);
            is_relayed(&ran, relayed);
            assert_eq!(ran.mark, 0);
            4
        }
    };
    let relayed = expected.relayed.is_some().then_some(*end);
    check_records(object, flow, &model, relayed);
    what
}

#[test]
fn what_leaves_is_treated_as_the_model_says() {
    with_object(|object| {
        let mut seen = [0_u64; 3];
        for seed in 0..cases() {
            let _telling = Telling(seed);
            let case = drawn(&mut Draw::new(seed), Which::Out);
            let Drawn {
                flow,
                end,
                wire,
                frame,
                checksum,
                around,
            } = &case;
            let mut model = model(flow, *checksum);
            let expected = model.leaving(*end, wire.clone());
            object.enter(flow);
            let ran = object.run(Which::Out, &frame.bytes, *around);
            let got = Frame::of(ran.frame, frame.v6);
            let what = match expected {
                None => {
                    assert_eq!(ran.verdict, DROP);
                    1
                }
                Some(wire) => {
                    assert_eq!(ran.verdict, NEXT);
                    let residue = Some(frame.residue());
                    check_frame(&got, &frame.clone().with_header(&wire), residue);
                    if got == *frame { 0 } else { 2 }
                }
            };
            seen[what] += 1;
            check_records(object, flow, &model, None);
        }
        println!("untouched, dropped, changed: {seen:?}");
        assert!(seen.iter().all(|&count| count > cases() / 200), "{seen:?}");
    });
}

/// A settled flow, whose far hosts have sent up to 1000 and may send up to 100,000.
fn settled(v6: bool) -> Flow {
    let half = Half {
        phase: join(Phase::Settled as u32, 1000),
        told: join(100_000, 1000),
        seen: join(1000, 1000),
        last_ns: 1,
        ..Half::default()
    };
    let terms = [0, 1].map(|end| Terms {
        shift: 0x1234_5678,
        ..draw::terms(v6, end)
    });
    Flow {
        terms,
        halves: [half; 2],
        offered: [100_000; 2],
        id: 1,
        ..Flow::default()
    }
}

/// A segment of an end of [`settled`], with time stamps, that acknowledges nothing new.
fn segment(flow: &Flow, end: usize, payload: u32, flags: u8) -> Wire {
    let ack = 1000_u32.wrapping_add(flow.terms[1 - end].shift);
    let stamps = [1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 8];
    Wire {
        header: Header {
            base: [
                flow.terms[end].ports.rotate_left(16),
                1000_u32.to_be(),
                ack.to_be(),
                (8 << 28 | u32::from(flags) << 16 | 0x1000).to_be(),
                0,
            ],
            options: wire::words(&stamps),
        },
        options: stamps.len(),
        payload,
        stream: end,
        from: 0,
        blocks: Vec::new(),
        rest: 0,
    }
}

/// That a program lets a frame pass as it is, and notes nothing.
fn is_untouched(object: &mut Object, which: Which, flow: &Flow, frame: &[u8]) {
    object.enter(flow);
    let ran = object.run(which, frame, Around::default());
    assert_eq!(ran.verdict, NEXT, "{frame:x?}");
    assert_eq!(ran.frame, frame);
    assert_eq!(object.flow(), *flow);
    assert!(object.events().is_empty());
}

/// For IPv4 and IPv6: a settled flow, and a frame of its client with some payload.
fn usual(payload: u32) -> [(Flow, Frame); 2] {
    [false, true].map(|v6| {
        let flow = settled(v6);
        let mut wire = segment(&flow, 0, payload, ACK);
        let between = Between::arriving(&flow.terms[0]);
        let payload = vec![7; payload as usize];
        let frame = Frame::new(v6, between, &mut wire, &payload, Checksum::Right);
        (flow, frame)
    })
}

#[test]
fn foreign_frames_are_left_alone() {
    with_object(|object| {
        for (flow, frame) in usual(40) {
            object.enter(&flow);
            let ran = object.run(Which::In, &frame.bytes, Around::default());
            assert_eq!(ran.verdict, REDIRECT);
            let tcp = frame.tcp_at();
            let protocol = ETHERNET + if frame.v6 { 6 } else { 9 };
            let addresses = if frame.v6 {
                ETHERNET + 8..tcp
            } else {
                ETHERNET + 12..tcp
            };
            // One bit of what says whose it is.
            for at in addresses.chain(tcp..tcp + 4) {
                for bit in 0..8 {
                    let mut other = frame.clone();
                    other.bytes[at] ^= 1 << bit;
                    is_untouched(object, Which::In, &flow, &other.bytes);
                }
            }
            // Other protocols, in the IP header and before it.
            for number in (0..=255).filter(|number| *number != 6) {
                let mut other = frame.clone();
                other.bytes[protocol] = number;
                is_untouched(object, Which::In, &flow, &other.bytes);
            }
            for kind in [0x0806_u16, 0x8100, 0x88cc, 0x8864] {
                let mut other = frame.clone();
                other.bytes[12..14].copy_from_slice(&kind.to_be_bytes());
                is_untouched(object, Which::In, &flow, &other.bytes);
            }
            // What it sends is not what arrives.
            is_untouched(object, Which::Out, &flow, &frame.bytes);
        }
    });
}

#[test]
fn fragments_and_ip_options_are_left_alone() {
    with_object(|object| {
        let [(v4, frame), (v6, six)] = usual(40);
        for fragment in [0x2000_u16, 0x2001, 0x0001, 0x1fff, 0x6000] {
            let mut other = frame.clone();
            other.bytes[ETHERNET + 6..ETHERNET + 8].copy_from_slice(&fragment.to_be_bytes());
            other.seal_network();
            is_untouched(object, Which::In, &v4, &other.bytes);
        }
        for version in [0x40, 0x44, 0x46, 0x4f, 0x55, 0x65] {
            let mut other = frame.clone();
            other.bytes[ETHERNET] = version;
            is_untouched(object, Which::In, &v4, &other.bytes);
        }
        // IPv6: each is a header of its own before TCP's.
        for next in [0, 43, 44, 60] {
            let mut other = six.bytes.clone();
            let extension = [6, 0, 0, 0, 0, 0, 0, 1];
            other[ETHERNET + 6] = next;
            other.splice(ETHERNET + 40..ETHERNET + 40, extension);
            other[ETHERNET + 5] += 8;
            is_untouched(object, Which::In, &v6, &other);
        }
        for version in [0x40, 0x50, 0x70] {
            let mut other = six.bytes.clone();
            other[ETHERNET] = version;
            is_untouched(object, Which::In, &v6, &other);
        }
    });
}

#[test]
fn truncated_frames_are_left_alone() {
    with_object(|object| {
        for (flow, frame) in usual(40) {
            let headers = frame.tcp_at() + 20;
            for length in ETHERNET + 1..frame.bytes.len() {
                let cut = &frame.bytes[..length];
                object.enter(&flow);
                let Some(ran) = object.try_run(Which::In, cut, Around::default()) else {
                    // Frames that the kernel itself does not take.
                    assert!(length < headers, "{length}");
                    continue;
                };
                assert_eq!(ran.verdict, NEXT, "{length}");
                assert_eq!(ran.frame, cut);
                assert_eq!(object.flow().halves, flow.halves, "{length}");
            }
        }
    });
}

/// A segment that ends before its frame does, as in the smallest frames of Ethernet: the padding is no payload.
#[test]
fn padding_is_not_payload() {
    with_object(|object| {
        for (flow, frame) in usual(0) {
            let mut padded = frame.clone();
            padded.bytes.extend([0; 6]);
            object.enter(&flow);
            let ran = object.run(Which::In, &padded.bytes, Around::default());
            assert_eq!(ran.verdict, REDIRECT);
            let got = object.flow().halves[0];
            assert_eq!((got.seen, got.bytes), (flow.halves[0].seen, 0));
            let mut segment = Frame::of(ran.frame, frame.v6);
            segment.bytes.truncate(frame.bytes.len());
            assert_eq!(segment.residue(), 0);
        }
    });
}

/// A header that says that it is shorter than it can be, or longer than its segment.
#[test]
fn headers_that_lie_about_their_length_are_left_alone() {
    with_object(|object| {
        for (flow, frame) in usual(0) {
            let offset = frame.tcp_at() + 12;
            for words in (0..5).chain(9..16) {
                let mut other = frame.clone();
                other.bytes[offset] = words << 4;
                is_untouched(object, Which::In, &flow, &other.bytes);
            }
            // An IP header whose packet ends within TCP's.
            let (at, whole) = if frame.v6 { (4, 32) } else { (2, 52) };
            for length in 0..whole {
                // None at all: the packet is as long as its frame.
                if length == 0 {
                    continue;
                }
                let mut other = frame.clone();
                let bytes = &mut other.bytes[ETHERNET + at..ETHERNET + at + 2];
                bytes.copy_from_slice(&u16::to_be_bytes(length));
                other.seal_network();
                is_untouched(object, Which::In, &flow, &other.bytes);
            }
        }
    });
}

#[test]
fn packets_end_where_their_hops_do() {
    with_object(|object| {
        for (flow, frame) in usual(40) {
            for (hops, verdict) in [(0, DROP), (1, DROP), (2, REDIRECT), (255, REDIRECT)] {
                let mut frame = frame.clone();
                let at = frame.hops_at();
                frame.bytes[at] = hops;
                frame.seal_network();
                object.enter(&flow);
                let ran = object.run(Which::In, &frame.bytes, Around::default());
                assert_eq!(ran.verdict, verdict, "{hops} hops");
                if verdict == REDIRECT {
                    assert_eq!(ran.frame[at], hops - 1);
                }
            }
        }
    });
}

/// A FIN each way, and what acknowledges them: the daemon hears once that the flow is over.
#[test]
fn the_end_is_announced_once() {
    with_object(|object| {
        for v6 in [false, true] {
            let flow = settled(v6);
            object.enter(&flow);
            let mut said = Vec::new();
            for (end, flags, ack) in [
                (0, FIN | ACK, 1000),
                (1, FIN | ACK, 1001),
                (0, ACK, 1001),
                // Once more.
                (0, ACK, 1001),
            ] {
                let mut wire = segment(&flow, end, 0, flags);
                if end == 0 && flags == ACK {
                    wire.header.base[1] = 1001_u32.to_be();
                }
                let ack = flow.terms[1 - end].shift.wrapping_add(ack);
                wire.header.base[2] = ack.to_be();
                let between = Between::arriving(&flow.terms[end]);
                let frame = Frame::new(v6, between, &mut wire, &[], Checksum::Right);
                let ran = object.run(Which::In, &frame.bytes, Around::default());
                assert_eq!(ran.verdict, REDIRECT);
                said.push(object.events().len());
            }
            assert_eq!(said, [0, 0, 1, 0]);
            let halves = object.flow().halves;
            assert!(
                halves
                    .iter()
                    .all(|half| half.fin >> 32 & u64::from(FIN_SEEN) != 0)
            );
        }
    });
}
