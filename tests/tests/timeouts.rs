//! Idle flows end, with the letters that say whose silence it was; flows that move do not, whoever moves them.

use std::thread;
use std::time::Duration;

use underpass_tests::netns::Layout;
use underpass_tests::on_each_path;
use underpass_tests::pattern::Pattern;
use underpass_tests::peer::{End, Peer};
use underpass_tests::rig::{Path, Rig};

fn up() -> Pattern {
    Pattern::new(300)
}

fn down() -> Pattern {
    Pattern::new(301)
}

/// A daemon whose timeouts are a minute, but for these.
fn rig(layout: Layout, path: Path, timeouts: &[&str]) -> Rig {
    Rig::with(layout, path, |config| {
        for timeout in timeouts {
            config.defaults(format!("timeout {timeout}"));
        }
    })
}

/// A flow that whatever moves it has in hand, and the bytes that it has carried each way.
fn warm(rig: &Rig) -> (Peer, Peer, u64) {
    rig.warm_flow(up(), down())
}

/// Waits until both ends of an idle flow have learnt that it is over, has them close as applications do, and checks the
/// record.
fn expect_idle_end(rig: &Rig, client: Peer, server: Peer, bytes: u64, letters: &str) {
    thread::scope(|scope| {
        for peer in [client, server] {
            scope.spawn(move || {
                // Whether an idle end is a FIN or a reset is not laid down.
                let got = peer.receive_counted(down(), bytes, u64::MAX, &0.into());
                assert!(
                    got.bytes == 0 && matches!(got.end, End::Eof | End::Reset),
                    "{got}"
                );
            });
        }
    });
    let record = rig.record();
    rig.check(&record, bytes, bytes, letters);
    rig.check_path(&record, [1, 1]);
}

fn client_idle(layout: Layout, path: Path) {
    let rig = rig(layout, path, &["client 700ms"]);
    let (client, server, bytes) = warm(&rig);
    expect_idle_end(&rig, client, server, bytes, "cD");
    rig.stop();
}

fn server_idle(layout: Layout, path: Path) {
    let rig = rig(layout, path, &["server 700ms"]);
    let (client, server, bytes) = warm(&rig);
    expect_idle_end(&rig, client, server, bytes, "sD");
    rig.stop();
}

fn tunnel_idle(layout: Layout, path: Path) {
    let rig = rig(layout, path, &["tunnel 700ms"]);
    let (client, server, bytes) = warm(&rig);
    expect_idle_end(&rig, client, server, bytes, "cD");
    rig.stop();
}

/// The tunnel's timeout replaces the client's and the server's.
fn tunnel_outlives_client_and_server(layout: Layout, path: Path) {
    let rig = rig(
        layout,
        path,
        &["tunnel 30s", "client 600ms", "server 600ms"],
    );
    let (client, server, bytes) = warm(&rig);
    // Silence for longer than the others would allow, as the traffic's own shape.
    thread::sleep(Duration::from_millis(1500));
    client.send_all(up(), bytes, 10);
    server.receive_exact(up(), bytes, 10);
    client.finish();
    server.expect_eof();
    server.finish();
    client.expect_eof();
    rig.check(&rig.record(), bytes + 10, bytes, "--");
    rig.stop();
}

/// The server has ended its direction, and the client neither sends nor ends its own.
fn client_fin_idle(layout: Layout, path: Path) {
    let rig = rig(layout, path, &["client-fin 700ms"]);
    let (client, server, bytes) = warm(&rig);
    server.finish();
    client.expect_eof();
    let record = rig.record();
    rig.check(&record, bytes, bytes, "cD");
    rig.check_path(&record, [1, 1]);
    rig.stop();
}

/// The client has ended its direction, and the server neither sends nor ends its own.
fn server_fin_idle(layout: Layout, path: Path) {
    let rig = rig(layout, path, &["server-fin 700ms"]);
    let (client, server, bytes) = warm(&rig);
    client.finish();
    server.expect_eof();
    let record = rig.record();
    rig.check(&record, bytes, bytes, "sD");
    rig.check_path(&record, [1, 1]);
    rig.stop();
}

/// Traffic that is slower than the timeout is long, but never as slow as it, keeps the flow alive: also when the daemon
/// does not see a single byte of it.
fn traffic_keeps_alive(layout: Layout, path: Path, client_speaks: bool, server_speaks: bool) {
    let rig = rig(layout, path, &["client 1200ms", "server 1200ms"]);
    let (client, server, bytes) = warm(&rig);
    let (mut sent, mut answered) = (bytes, bytes);
    for _ in 0..16 {
        // The pace of the traffic: 3.2 seconds in all.
        thread::sleep(Duration::from_millis(200));
        if client_speaks {
            client.send_all(up(), sent, 100);
            server.receive_exact(up(), sent, 100);
            sent += 100;
        }
        if server_speaks {
            server.send_all(down(), answered, 100);
            client.receive_exact(down(), answered, 100);
            answered += 100;
        }
    }
    client.finish();
    server.expect_eof();
    server.finish();
    client.expect_eof();
    let record = rig.record();
    rig.check(&record, sent, answered, "--");
    rig.check_path(&record, [1, 1]);
    rig.stop();
}

fn slow_dialogue_stays(layout: Layout, path: Path) {
    traffic_keeps_alive(layout, path, true, true);
}

/// As HAProxy does without `option independent-streams`, bytes in one direction count for both sides.
fn slow_download_stays(layout: Layout, path: Path) {
    traffic_keeps_alive(layout, path, false, true);
}

fn slow_upload_stays(layout: Layout, path: Path) {
    traffic_keeps_alive(layout, path, true, false);
}

on_each_path!(Hosts as hosts:
    client_idle,
    server_idle,
    tunnel_idle,
    tunnel_outlives_client_and_server,
    client_fin_idle,
    server_fin_idle,
    slow_dialogue_stays,
    slow_download_stays,
    slow_upload_stays,
);
