//! Relayed flows wherever their ends are, over both families, and every orderly and disorderly end of them.

use std::sync::Barrier;
use std::thread;

use underpass_tests::peer::{End, Exchange, Peer};
use underpass_tests::rig::{Path, Rig};
use underpass_tests::soak::site::{Placement, Site};

use crate::{KB, down, expect_reset, newest, relayed, up};

/// A relayed flow.
struct Flow {
    client: Peer,
    server: Peer,
    /// Bytes carried each way.
    carried: u64,
}

/// What it came to: bytes up and down, and the letters of its end.
type Outcome = (u64, u64, &'static str);

/// Everything from `carried` on to the end.
fn expect_rest(who: &str, at: &Peer, server_sent: bool, carried: u64, bytes: u64) {
    let pattern = if server_sent { down() } else { up() };
    let got = at.receive_counted(pattern, carried, u64::MAX, &0.into());
    assert!(
        got.bytes == bytes && got.end == End::Eof,
        "{who} expected {bytes} bytes and the end, got {got}"
    );
}

fn exchange(flow: Flow) -> Outcome {
    let Flow {
        client,
        server,
        carried,
    } = flow;
    let bytes = 700 * KB + 1;
    let contents = Exchange::new(350, bytes, bytes).from(carried);
    assert_eq!(
        (contents.up_pattern(), contents.down_pattern()),
        (up(), down())
    );
    contents.run(&client, &server);
    (carried + bytes, carried + bytes, "--")
}

fn client_ends_first(flow: Flow) -> Outcome {
    let Flow {
        client,
        server,
        carried,
    } = flow;
    client.send_all(up(), carried, 100 * KB);
    client.finish();
    expect_rest("the server", &server, false, carried, 100 * KB);
    thread::scope(|scope| {
        scope.spawn(|| {
            server.send_all(down(), carried, 900 * KB);
            server.finish();
        });
        expect_rest("the client", &client, true, carried, 900 * KB);
    });
    (carried + 100 * KB, carried + 900 * KB, "--")
}

fn server_ends_first(flow: Flow) -> Outcome {
    let Flow {
        client,
        server,
        carried,
    } = flow;
    server.send_all(down(), carried, 100 * KB);
    server.finish();
    expect_rest("the client", &client, true, carried, 100 * KB);
    thread::scope(|scope| {
        scope.spawn(|| {
            client.send_all(up(), carried, 900 * KB);
            client.finish();
        });
        expect_rest("the server", &server, false, carried, 900 * KB);
    });
    (carried + 900 * KB, carried + 100 * KB, "--")
}

fn both_end_at_once(flow: Flow) -> Outcome {
    let Flow {
        client,
        server,
        carried,
    } = flow;
    let barrier = Barrier::new(2);
    thread::scope(|scope| {
        for peer in [&client, &server] {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                peer.finish();
                peer.expect_eof();
            });
        }
    });
    (carried, carried, "--")
}

fn client_resets(flow: Flow) -> Outcome {
    let Flow {
        client,
        server,
        carried,
    } = flow;
    client.abort();
    expect_reset("the server", &server);
    (carried, carried, "CD")
}

fn server_resets(flow: Flow) -> Outcome {
    let Flow {
        client,
        server,
        carried,
    } = flow;
    server.abort();
    expect_reset("the client", &client);
    (carried, carried, "SD")
}

/// An end that was told of the other's end resets after it.
fn client_resets_half_a_flow(flow: Flow) -> Outcome {
    let Flow {
        client,
        server,
        carried,
    } = flow;
    server.finish();
    client.expect_eof();
    client.abort();
    expect_reset("the server", &server);
    (carried, carried, "CD")
}

fn server_resets_half_a_flow(flow: Flow) -> Outcome {
    let Flow {
        client,
        server,
        carried,
    } = flow;
    client.finish();
    server.expect_eof();
    server.abort();
    expect_reset("the client", &client);
    (carried, carried, "SD")
}

const ENDINGS: [fn(Flow) -> Outcome; 8] = [
    exchange,
    client_ends_first,
    server_ends_first,
    both_end_at_once,
    client_resets,
    server_resets,
    client_resets_half_a_flow,
    server_resets_half_a_flow,
];

fn site(placement: Placement, v6: bool) -> Site {
    Site {
        placement,
        v6,
        after: vec!["0".to_owned()],
        ..Site::default()
    }
}

/// All endings in turn, twice, through one daemon.
fn endings(placement: Placement, v6: bool) {
    let standing = site(placement, v6).stand(Path::Relay);
    let rig = &standing.rig;
    let twice = ENDINGS.iter().chain(&ENDINGS);
    for (count, ending) in (1..).zip(twice) {
        let (client, server, carried) = relayed(rig);
        let (up, down, letters) = ending(Flow {
            client,
            server,
            carried,
        });
        newest(rig, count, up, down, letters);
    }
    standing.rig.stop();
}

macro_rules! placements {
    ($($name:ident: $placement:ident;)+) => {
        $(
            mod $name {
                use super::*;

                #[test]
                fn v4() {
                    endings(Placement::$placement, false);
                }

                #[test]
                fn v6() {
                    endings(Placement::$placement, true);
                }
            }
        )+
    };
}

placements! {
    on_two_hosts: Apart;
    on_one_other_host: Together;
    on_the_daemons_host: OneHost;
    client_on_the_daemons_host: ClientAtHome;
    server_on_the_daemons_host: ServerAtHome;
}

/// A flow that is not relayed is carried all the same, and its record has the `word` for it.
fn stays(rig: &Rig, word: &str) {
    let (client, server) = rig.flow();
    Exchange::new(350, 300 * KB, 300 * KB).run(&client, &server);
    let record = rig.record();
    rig.check(&record, 300 * KB, 300 * KB, "--");
    assert_eq!(
        (record.why.as_str(), record.kernel),
        (word, [0, 0]),
        "{}",
        record.line
    );
}

/// Segments between programs on one host are longer than any other host takes. A client sends them before the
/// daemon could say anything; a server does not.
#[test]
fn long_segments_of_loopback() {
    let site = Site {
        long_loopback: true,
        ..site(Placement::ClientAtHome, false)
    };
    let standing = site.stand(Path::Relay);
    stays(&standing.rig, "mss");
    standing.rig.stop();
}

/// The client's connection is IPv4, the server's IPv6.
#[test]
fn two_families() {
    let (net, _) = Site::default().hosts();
    let server = net.server_addr;
    let buffers = underpass_tests::peer::Buffers::default();
    // The server's address of the other family is on the same port.
    let port = underpass_tests::rig::SERVER_PORT;
    let other = net
        .server
        .run(|| underpass_tests::rig::listen((server.v6, port).into(), buffers))
        .unwrap();
    let mut rig = Rig::on(net, Path::Relay, false, buffers, |config| {
        config.server = format!("[{}]:{port}", server.v6);
    });
    rig.listener = other;
    stays(&rig, "family");
    rig.stop();
}
