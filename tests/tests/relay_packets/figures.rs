//! What the programs cost. Not a test: run it by name, with `--ignored --nocapture`, on a machine that does nothing
//! else.

use std::time::Duration;

use underpass_common::relay::segment::ACK;
use underpass_common::relay::{Flow, Terms};

use crate::frame::{Between, Checksum, Frame};
use crate::object::{Around, NEXT, Object, REDIRECT, Which, with_object};
use crate::wire::Wire;
use crate::{draw, segment, settled, wire};

/// Runs on one buffer: a packet loses a hop each time, and has 255.
const AT_ONCE: u32 = 250;
/// Runs in all.
const RUNS: u32 = 200_000;

/// The best of some means: what others disturbed least.
fn time(object: &mut Object, which: Which, frame: &[u8], verdict: i32) -> Duration {
    let runs = (0..RUNS / AT_ONCE).map(|_| {
        let ran = object.repeat(which, frame, Around::default(), AT_ONCE);
        assert_eq!(ran.verdict, verdict);
        ran.time
    });
    runs.min().unwrap()
}

/// A settled flow that translates each segment of its client into itself, so that every run finds it.
fn circle(v6: bool) -> Flow {
    let mut flow = settled(v6);
    let terms = Terms {
        shift: 0,
        ..draw::terms(v6, 0)
    };
    flow.terms[0] = terms;
    flow.terms[1] = Terms {
        remote: terms.local,
        local: terms.remote,
        ports: terms.ports.rotate_left(16),
        ..terms
    };
    flow
}

fn with_blocks(mut wire: Wire, blocks: usize) -> Wire {
    let mut options = vec![1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 8, 1, 1, 5];
    options.push(2 + 8 * blocks as u8);
    options.extend(vec![3; 8 * blocks]);
    let size = 5 + options.len() as u32 / 4;
    let control = u32::from_be(wire.header.base[3]) & 0x0fff_ffff;
    wire.header.base[3] = (control | size << 28).to_be();
    wire.header.options = wire::words(&options);
    wire.options = options.len();
    wire
}

#[test]
#[ignore = "figures, not a test"]
fn cost() {
    with_object(|object| {
        for which in [Which::In, Which::Out, Which::Icmp] {
            let (verified, bytes) = object.size(which);
            println!("{which:?}: {bytes} bytes, {verified} instructions verified");
        }
        for v6 in [false, true] {
            println!("IPv{}", if v6 { 6 } else { 4 });
            let flow = circle(v6);
            let frame = |wire: &Wire, payload: u32, between: Between| {
                let mut wire = wire.clone();
                wire.payload = payload;
                let payload = vec![7; payload as usize];
                let mut frame = Frame::new(v6, between, &mut wire, &payload, Checksum::Right);
                let at = frame.hops_at();
                frame.bytes[at] = 255;
                frame.seal_network();
                frame.bytes
            };
            let arriving = Between::arriving(&flow.terms[0]);
            let data = segment(&flow, 0, 1400, ACK);
            let ack = segment(&flow, 0, 0, ACK);
            let sack = with_blocks(ack.clone(), 3);
            object.enter(&flow);
            for (name, wire, payload) in [
                ("data", &data, 1400),
                ("acknowledgement", &ack, 0),
                ("acknowledgement with 3 SACK blocks", &sack, 0),
            ] {
                let frame = frame(wire, payload, arriving);
                let time = time(object, Which::In, &frame, REDIRECT);
                println!("  in, relayed, {name:36} {:4} ns", time.as_nanos());
            }
            let mut other = ack.clone();
            other.header.base[0] = !other.header.base[0];
            for which in [Which::In, Which::Out, Which::Icmp] {
                let other = frame(&other, 0, arriving);
                let time = time(object, which, &other, NEXT);
                println!(
                    "  {which:?}, another flow's {:35} {:4} ns",
                    "",
                    time.as_nanos()
                );
            }
            let mut arp = frame(&ack, 0, arriving);
            arp[12..14].copy_from_slice(&[8, 6]);
            let time = time(object, Which::In, &arp, NEXT);
            println!("  In, not IP {:42} {:4} ns", "", time.as_nanos());
        }
    });
}
