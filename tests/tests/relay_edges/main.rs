//! Flows that the packet relay has in hand, and everything that may happen to them besides their bytes: how they end, who
//! comes after them, who meddles, what limits them, and where their ends are.

mod blind;
mod ends;
mod forged;
mod limits;
mod places;
mod ports;

use underpass_tests::pattern::Pattern;
use underpass_tests::peer::{End, Peer};
use underpass_tests::record::Record;
use underpass_tests::rig::Rig;

const KB: u64 = 1 << 10;

/// What clients send.
fn up() -> Pattern {
    Pattern::new(700)
}

/// What servers send.
fn down() -> Pattern {
    Pattern::new(701)
}

/// A new flow, the daemon's only one, relayed in both directions; and the bytes that it has carried each way.
fn relayed(rig: &Rig) -> (Peer, Peer, u64) {
    rig.warm_flow(up(), down())
}

/// Carries `bytes` more each way on a flow that has carried `carried`; how many these are now.
fn talk(client: &Peer, server: &Peer, carried: u64, bytes: u64) -> u64 {
    client.send_all(up(), carried, bytes);
    server.receive_exact(up(), carried, bytes);
    server.send_all(down(), carried, bytes);
    client.receive_exact(down(), carried, bytes);
    carried + bytes
}

/// A reset is the next thing that `peer` is told.
fn expect_reset(who: &str, peer: &Peer) {
    let got = peer.receive(up());
    assert!(
        got.bytes == 0 && got.end == End::Reset,
        "{who} expected a reset, got {got}"
    );
}

/// The newest of `count` records, which the relay moved in both directions.
fn newest(rig: &Rig, count: usize, up: u64, down: u64, letters: &str) -> Record {
    let records = rig.records(count);
    assert_eq!(records.len(), count, "{records:#?}");
    let record = records[count - 1].clone();
    rig.check(&record, up, down, letters);
    rig.check_path(&record, [1, 1]);
    record
}
