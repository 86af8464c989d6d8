//! Servers are asked for segments that fit the way to the client, before it is known whether they will be relayed.

use underpass_tests::netns::{LinkOptions, Topology};
use underpass_tests::peer::{Buffers, Exchange};
use underpass_tests::rig::{Config, Path, Rig};

const MB: u64 = 1 << 20;

/// The payload of segments on a link with this MTU, time stamps taken off.
fn payload(mtu: u32, v6: bool) -> u32 {
    mtu - if v6 { 72 } else { 52 }
}

fn hosts(client: u32, server: u32) -> Topology {
    Topology::hosts(&LinkOptions {
        mtu: Some(client),
        server_mtu: Some(server),
        ..LinkOptions::default()
    })
    .unwrap()
}

/// An exchange on a relayed flow, whose server may send segments with `payload` bytes.
fn is_relayed(rig: &Rig, payload: u32) {
    let exchange = Exchange::new(3, 2 * MB, 3 * MB);
    let (client, server, carried) = rig.warm_flow(exchange.up_pattern(), exchange.down_pattern());
    assert_eq!(server.socket().tcp_mss().unwrap(), payload);
    exchange.from(carried).run(&client, &server);
    drop((client, server));
    let record = rig.record();
    let (up, down) = (carried + exchange.up, carried + exchange.down);
    rig.check(&record, up, down, "--");
    rig.check_path(&record, [1, 1]);
}

/// An exchange on a flow that is not relayed, for its segments' length.
fn is_refused(rig: &Rig) {
    let exchange = Exchange::new(4, MB, MB);
    let (client, server) = rig.flow();
    exchange.run(&client, &server);
    drop((client, server));
    let record = rig.record();
    rig.check(&record, exchange.up, exchange.down, "--");
    rig.check_refusal(&record, "mss");
}

#[test]
fn a_server_with_longer_segments_is_asked_for_shorter_ones() {
    for server_mtu in [1500, 9000] {
        for v6 in [false, true] {
            let net = hosts(1400, server_mtu);
            let rig = Rig::on(net, Path::Relay, v6, Buffers::default(), |_| {});
            is_relayed(&rig, payload(1400, v6));
            rig.stop();
        }
    }
}

#[test]
fn where_nothing_is_relayed_nothing_is_asked_for() {
    let net = hosts(1400, 9000);
    let rig = Rig::on(net, Path::Buffer, false, Buffers::default(), |_| {});
    let (client, server) = rig.flow();
    assert_eq!(server.socket().tcp_mss().unwrap(), payload(9000, false));
    Exchange::new(5, MB, MB).run(&client, &server);
    drop((client, server));
    assert_eq!(rig.record().why, "-");
    rig.stop();
}

/// The client has been told already what it may send.
#[test]
fn a_client_with_longer_segments_is_refused_unless_its_bind_line_limits_them() {
    let with = |change: fn(&mut Config)| {
        let net = hosts(9000, 1500);
        Rig::on(net, Path::Relay, false, Buffers::default(), change)
    };
    let rig = with(|_| {});
    is_refused(&rig);
    rig.stop();
    let rig = with(|config| {
        config.bind_with("mss 1460");
    });
    is_relayed(&rig, payload(1500, false));
    rig.stop();
}

#[test]
fn a_client_on_this_host_is_refused_unless_its_bind_line_limits_its_segments() {
    let with = |change: fn(&mut Config)| {
        let net = hosts(1500, 1500).with_client_at_home();
        Rig::on(net, Path::Relay, false, Buffers::default(), change)
    };
    let rig = with(|_| {});
    is_refused(&rig);
    rig.stop();
    let rig = with(|config| {
        config.bind_with("mss 1460");
    });
    is_relayed(&rig, payload(1500, false));
    rig.stop();
}

#[test]
fn a_server_on_this_host_is_asked_for_what_fits_the_way_to_the_client() {
    let net = hosts(1500, 1500).with_server_at_home();
    let rig = Rig::on(net, Path::Relay, false, Buffers::default(), |_| {});
    is_relayed(&rig, payload(1500, false));
    rig.stop();
}
