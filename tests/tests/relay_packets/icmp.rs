//! What routers say of packets that were too big.

use underpass_common::relay::icmp::{IPV4, IPV6, Message, TooBig};
use underpass_common::relay::segment::ACK;
use underpass_common::relay::{Flow, Phase, Terms, join, split};

use crate::draw::Draw;
use crate::frame::{Between, Checksum, ETHERNET, Frame, fold, sum};
use crate::object::{Around, NEXT, Object, REDIRECT, Which, key, with_object};
use crate::{Telling, cases, is_untouched, segment, settled, wire};

/// Bytes of a message's own header.
const HEAD: usize = 8;

/// A frame with a message about `quoted`, the start of a packet to the far host of the end with the terms `to`.
fn message(to: &Terms, v6: bool, quoted: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 1, 2, 2, 0, 0, 0, 1, 1];
    let local: Vec<u8> = to
        .local
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect();
    let length = HEAD + quoted.len();
    let mut body = vec![2, 0, 0, 0, 0, 0, 0x05, 0x14];
    if v6 {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, length as u8, 58, 64]);
        frame.extend([0xfd, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
        frame.extend(&local);
        body.extend(quoted);
        let pseudo = sum(&frame[ETHERNET + 8..]) + sum(&[0, 0, 0, length as u8, 0, 58]);
        let checksum = !fold(pseudo + sum(&body));
        body[2..4].copy_from_slice(&checksum.to_ne_bytes());
    } else {
        frame.extend([0x08, 0x00, 0x45, 0xc0, 0, (20 + length) as u8]);
        frame.extend([0x12, 0x34, 0, 0, 64, 1, 0, 0, 10, 0, 9, 9]);
        frame.extend(&local[12..]);
        body[..2].copy_from_slice(&[3, 4]);
        body.extend(quoted);
        let checksum = !fold(sum(&body));
        body[2..4].copy_from_slice(&checksum.to_ne_bytes());
    }
    frame.extend(body);
    let mut frame = Frame::of(frame, v6);
    frame.seal_network();
    frame.bytes
}

/// Whether a message's own checksum is right.
fn is_right(frame: &[u8], v6: bool) -> bool {
    let at = ETHERNET + if v6 { 40 } else { 20 };
    let mut all = sum(&frame[at..]);
    if v6 {
        let length = (frame.len() - at) as u8;
        all += sum(&frame[ETHERNET + 8..at]) + sum(&[0, 0, 0, length, 0, 58]);
    }
    all.is_multiple_of(0xffff)
}

/// A settled flow, of whose `end` a segment has just been relayed: the frame as it came, and as it went.
fn relayed(object: &mut Object, v6: bool, end: usize) -> (Flow, Vec<u8>, Vec<u8>) {
    let flow = settled(v6);
    let mut wire = segment(&flow, end, 40, ACK);
    let between = Between::arriving(&flow.terms[end]);
    let frame = Frame::new(v6, between, &mut wire, &[7; 40], Checksum::Right);
    object.enter(&flow);
    let ran = object.run(Which::In, &frame.bytes, Around::default());
    assert_eq!(ran.verdict, REDIRECT);
    (object.flow(), frame.bytes, ran.frame)
}

#[test]
fn the_sender_is_told_of_the_packet_that_it_sent() {
    with_object(|object| {
        for (v6, end, more) in [(false, 0, 0), (false, 1, 13), (true, 0, 50), (true, 1, 0)] {
            let (flow, came, went) = relayed(object, v6, end);
            let header = if v6 { 40 } else { 20 };
            let quoted = &went[ETHERNET..ETHERNET + header + 8 + more];
            let said = message(&flow.terms[1 - end], v6, quoted);
            assert!(is_right(&said, v6));
            let ran = object.run(Which::Icmp, &said, Around::default());
            assert_eq!(ran.verdict, REDIRECT);
            assert_eq!(object.flow(), flow);
            let got = Frame::of(ran.frame, v6);
            assert!(is_right(&got.bytes, v6) && got.is_network_right());
            // The packet that it sent, one hop on; the checksum follows from that.
            let mut sent = Frame::of(came, v6);
            let hops = sent.hops_at();
            sent.bytes[hops] -= 1;
            sent.seal_network();
            let at = ETHERNET + header + HEAD;
            assert_eq!(
                got.bytes[at..at + header + 8],
                sent.bytes[ETHERNET..ETHERNET + header + 8]
            );
            // Between the sender and the proxy, with the MTU and whatever else was quoted.
            let terms = &flow.terms[end];
            let to_sender = Between::leaving(terms);
            let expected = Frame::of(said.clone(), v6).readdressed(to_sender, false);
            let addresses = ETHERNET..ETHERNET + header;
            assert_eq!(got.bytes[addresses.clone()], expected.bytes[addresses]);
            let mtu = ETHERNET + header + 4..ETHERNET + header + 8;
            assert_eq!(got.bytes[mtu.clone()], said[mtu]);
            assert_eq!(got.bytes[at + header + 8..], said[at + header + 8..]);
            // A wrong checksum stays wrong.
            let mut wrong = said.clone();
            wrong[ETHERNET + header + 2] ^= 1;
            let ran = object.run(Which::Icmp, &wrong, Around::default());
            assert!(!is_right(&ran.frame, v6));
        }
    });
}

#[test]
fn who_does_not_see_the_flow_changes_nothing() {
    with_object(|object| {
        for (v6, end) in [(false, 0), (false, 1), (true, 0), (true, 1)] {
            let (flow, _, went) = relayed(object, v6, end);
            let header = if v6 { 40 } else { 20 };
            let quoted = &went[ETHERNET..ETHERNET + header + 8];
            let about = |seq: u32| {
                let mut quoted = quoted.to_vec();
                let seq = seq.wrapping_add(flow.terms[end].shift).to_be_bytes();
                quoted[header + 4..].copy_from_slice(&seq);
                message(&flow.terms[1 - end], v6, &quoted)
            };
            for (seq, believed) in [(1000, true), (1039, true)] {
                object.enter(&flow);
                let ran = object.run(Which::Icmp, &about(seq), Around::default());
                assert_eq!(ran.verdict == REDIRECT, believed, "{seq}");
            }
            for seq in [999, 1040, 1041, 0, 1000 ^ 1 << 31, u32::MAX] {
                is_untouched(object, Which::Icmp, &flow, &about(seq));
            }
            let said = about(1000);
            for phase in [Phase::Track, Phase::Armed, Phase::Over] {
                let mut other = flow;
                other.halves[end].phase = join(phase as u32, split(flow.halves[end].phase).1);
                is_untouched(object, Which::Icmp, &other, &said);
            }
            // What its local socket has sent, while it still speaks.
            let mut both = flow;
            both.halves[end].phase = join(Phase::Both as u32, 1001);
            is_untouched(object, Which::Icmp, &both, &said);
            both.halves[end].phase = join(Phase::Both as u32, 1000);
            object.enter(&both);
            let ran = object.run(Which::Icmp, &said, Around::default());
            assert_eq!(ran.verdict, REDIRECT);
            // Any bit of what says to whom, of what kind and about what it is.
            let first = ETHERNET + header;
            let inner = first + HEAD;
            let (to, hosts) = if v6 { (24, 8) } else { (16, 12) };
            let bits = (ETHERNET + to..first)
                .chain(first..first + 2)
                .chain(inner + hosts..inner + header + 4);
            for at in bits {
                let mut other = said.clone();
                other[at] ^= 1;
                is_untouched(object, Which::Icmp, &flow, &other);
            }
            for length in ETHERNET + 1..said.len() {
                object.enter(&flow);
                let cut = &said[..length];
                if let Some(ran) = object.try_run(Which::Icmp, cut, Around::default()) {
                    assert_eq!((ran.verdict, &ran.frame[..]), (NEXT, cut), "{length}");
                }
            }
            let mut late = Frame::of(said, v6);
            let hops = late.hops_at();
            late.bytes[hops] = 1;
            late.seal_network();
            is_untouched(object, Which::Icmp, &flow, &late.bytes);
        }
    });
}

/// What the pure functions make of a frame; `None`: nothing.
fn expected<const N: usize>(flow: &Flow, frame: &[u8]) -> Option<Vec<u8>>
where
    Message<N>: TooBig,
{
    let words: [u32; 24] = wire::words(&frame[ETHERNET..]);
    let mut message = Message::<N>::empty();
    message.network.copy_from_slice(&words[..N]);
    message.head.copy_from_slice(&words[N..N + 2]);
    message.quoted.copy_from_slice(&words[N + 2..2 * N + 2]);
    message
        .transport
        .copy_from_slice(&words[2 * N + 2..2 * N + 4]);
    let about = message.about()?;
    let end = (0..2).find(|end| key(&flow.terms[*end]) == about.key)?;
    let to = &flow.terms[1 - end];
    let seq = about.seq.wrapping_sub(to.shift);
    if !flow.halves[1 - end].is_to_be_told(seq) || !message.translate(to) {
        return None;
    }
    let words = message.network.into_iter().chain(message.head);
    let words = words.chain(message.quoted).chain(message.transport);
    let mut out = frame[..ETHERNET].to_vec();
    out.extend(words.flat_map(u32::to_ne_bytes));
    out.extend(&frame[out.len()..]);
    Some(out)
}

#[test]
fn messages_are_treated_as_the_pure_functions_say() {
    with_object(|object| {
        let mut passed_on = 0;
        for seed in 0..cases() {
            let _telling = Telling(seed);
            let mut draw = Draw::new(seed);
            let flow = draw.flow();
            let end = draw.below(2) as usize;
            let (mut wire, payload) = draw.arriving(&flow, end);
            let (from, to) = (&flow.terms[end], &flow.terms[1 - end]);
            let seq = u32::from_be(wire.header.base[1]).wrapping_add(from.shift);
            wire.header.base[0] = to.ports;
            wire.header.base[1] = seq.to_be();
            let v6 = from.flags & underpass_common::relay::TERMS_V6 != 0;
            let between = Between::leaving(to);
            let frame = Frame::new(v6, between, &mut wire, &payload, Checksum::Right);
            let header = if v6 { 40 } else { 20 };
            let most = frame.bytes.len().min(ETHERNET + 140);
            let least = ETHERNET + header + 8;
            let length = least + draw.below((most - least) as u32 + 1) as usize;
            let mut said = message(to, v6, &frame.bytes[ETHERNET..length]);
            if draw.one_in(8) {
                let at = ETHERNET + draw.below((said.len() - ETHERNET) as u32) as usize;
                said[at] ^= 1 << draw.below(8);
            }
            let expected = if v6 {
                expected::<IPV6>(&flow, &said)
            } else {
                expected::<IPV4>(&flow, &said)
            };
            let Some(expected) = expected else {
                is_untouched(object, Which::Icmp, &flow, &said);
                continue;
            };
            object.enter(&flow);
            let ran = object.run(Which::Icmp, &said, Around::default());
            assert_eq!(ran.verdict, REDIRECT);
            assert_eq!(ran.frame, expected);
            assert_eq!(object.flow(), flow);
            passed_on += 1;
        }
        println!("{passed_on} passed on");
        assert!(passed_on > cases() / 20, "{passed_on}");
    });
}
