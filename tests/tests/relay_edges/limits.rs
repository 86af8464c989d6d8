//! What limits relayed flows: time, an operator, and the room that there is.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use socket2::TcpKeepalive;
use underpass_tests::daemon::BOUND;
use underpass_tests::netns::Layout;
use underpass_tests::peer::{Exchange, Peer};
use underpass_tests::process::eventually;
use underpass_tests::rig::{Path, Rig};
use underpass_tests::sys;

use crate::{KB, down, expect_reset, newest, relayed, up};

fn rig_with(timeouts: &[&str]) -> Rig {
    Rig::with(Layout::Hosts, Path::Relay, |config| {
        for timeout in timeouts {
            config.defaults(format!("timeout {timeout}"));
        }
    })
}

/// Both ends of an idle flow see a reset, and its line says whose silence it was.
fn idle(timeout: &str, letters: &str, blamed: &str) {
    let rig = rig_with(&[timeout]);
    let (client, server, carried) = relayed(&rig);
    expect_reset("the client", &client);
    expect_reset("the server", &server);
    let record = newest(&rig, 1, carried, carried, letters);
    let history = record.history.as_deref();
    let expected = format!("{blamed}:stream:timeout");
    assert_eq!(history, Some(expected.as_str()), "{}", record.line);
    rig.stop();
}

#[test]
fn client_is_idle() {
    idle("client 600ms", "cD", "client");
}

#[test]
fn server_is_idle() {
    idle("server 600ms", "sD", "server");
}

#[test]
fn tunnel_is_idle() {
    idle("tunnel 600ms", "cD", "client");
}

/// A reset is told to an end that has been told of an end before.
fn expect_reset_after_end(who: &str, peer: &Peer) {
    let socket = peer.socket();
    let is_over = || sys::is_closed(socket.as_fd()).unwrap();
    assert!(eventually(BOUND, is_over), "{who} is not reset");
    let error = socket.take_error().unwrap();
    assert!(error.is_some(), "{who} is not told");
}

/// One direction has ended, and in the other one there is silence.
fn half_idle(timeout: &str, client_ends: bool, letters: &str) {
    let rig = rig_with(&[timeout]);
    let (client, server, carried) = relayed(&rig);
    let (ended, silent) = if client_ends {
        (client, server)
    } else {
        (server, client)
    };
    ended.finish();
    silent.expect_eof();
    // Whoever has ended its own direction cannot tell a reset from the other's end by its state.
    let got = ended.receive(up());
    assert!(got.bytes == 0, "{got}");
    assert_eq!(got.end, underpass_tests::peer::End::Reset, "{got}");
    expect_reset_after_end("who is silent", &silent);
    newest(&rig, 1, carried, carried, letters);
    rig.stop();
}

#[test]
fn client_does_not_end() {
    half_idle("client-fin 600ms", false, "cD");
}

#[test]
fn server_does_not_end() {
    half_idle("server-fin 600ms", true, "sD");
}

/// Probes of TCP itself are no traffic: HAProxy, which does not see them, ends such a flow too.
#[test]
fn keepalives_are_silence() {
    let rig = rig_with(&["tunnel 2500ms"]);
    let (client, server, carried) = relayed(&rig);
    let probes = TcpKeepalive::new()
        .with_time(Duration::from_secs(1))
        .with_interval(Duration::from_secs(1));
    for peer in [&client, &server] {
        peer.socket().set_tcp_keepalive(&probes).unwrap();
    }
    expect_reset("the client", &client);
    expect_reset("the server", &server);
    newest(&rig, 1, carried, carried, "cD");
    rig.stop();
}

/// The runtime API ends a flow.
#[test]
fn session_is_shut_down() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("api");
    let rig = Rig::with(Layout::Hosts, Path::Relay, |config| {
        config.global(format!("stats socket {} level admin", socket.display()));
    });
    let ask = |line: &str| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(line.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    for count in 1..=3 {
        let (client, server, carried) = relayed(&rig);
        let sessions = ask("show sess\n");
        let session = sessions.lines().find(|line| line.contains(" fe=fe "));
        let id = session.and_then(|line| line.split(':').next());
        let id = id.expect("a session");
        assert_eq!(ask(&format!("shutdown session {id}\n")), "\n");
        expect_reset("the client", &client);
        expect_reset("the server", &server);
        newest(&rig, count, carried, carried, "K-");
    }
    rig.stop();
}

/// A flow that is reset for being idle while both ends' bytes are on their way nowhere: both receivers stall.
#[test]
fn stalled_flow_is_idle() {
    let rig = rig_with(&["tunnel 1500ms"]);
    let (client, server, carried) = relayed(&rig);
    // No more than the receivers' buffers take.
    client.send_all(up(), carried, 20 * KB);
    server.send_all(down(), carried, 30 * KB);
    let record = rig.record();
    rig.check(&record, carried + 20 * KB, carried + 30 * KB, "cD");
    rig.check_path(&record, [1, 1]);
    // What arrived before the reset may be read, or be lost to it; it is never followed by an end.
    for (peer, pattern) in [(&client, down()), (&server, up())] {
        let got = peer.receive_counted(pattern, carried, u64::MAX, &0.into());
        assert_eq!(got.end, underpass_tests::peer::End::Reset, "{got}");
    }
    rig.stop();
}

/// Carries bytes both ways on one of many flows until it is relayed; how many each way.
fn until_relayed(rig: &Rig, client: &Peer, server: &Peer) -> u64 {
    let local = client.socket().local_addr().unwrap().as_socket().unwrap();
    let local = local.to_string();
    let mut carried = 0;
    let is_taken = eventually(BOUND, || {
        carried = crate::talk(client, server, carried, 500);
        let live = rig.daemon.live(1).unwrap();
        let own = live.iter().find(|live| live.client == local);
        own.is_some_and(|live| live.kernel.iter().all(|bytes| *bytes > 0))
    });
    assert!(is_taken, "the flow of {local} is not relayed");
    carried
}

/// As many flows are relayed as there is room for, others go another way and say why, and room is used again.
#[test]
fn table_is_full() {
    const ROOM: usize = 4;
    let rig = Rig::with(Layout::Hosts, Path::Relay, |config| {
        config.global(format!("tune.offload.flows {ROOM}"));
    });
    let flows: Vec<_> = (0..ROOM)
        .map(|_| {
            let (client, server) = rig.flow();
            let carried = until_relayed(&rig, &client, &server);
            (client, server, carried)
        })
        .collect();
    let mut count = 0;
    for _ in 0..3 {
        let (client, server) = rig.flow();
        Exchange::new(350, 300 * KB, 200 * KB).run(&client, &server);
        count += 1;
        let record = rig.records(count).pop().unwrap();
        rig.check(&record, 300 * KB, 200 * KB, "--");
        assert_eq!(record.why, "full", "{}", record.line);
        assert_eq!(record.kernel, [0, 0], "{}", record.line);
    }
    for (index, (client, server, carried)) in flows.into_iter().enumerate() {
        let letters = if index % 2 == 0 {
            client.finish();
            server.expect_eof();
            server.finish();
            client.expect_eof();
            "--"
        } else {
            client.abort();
            expect_reset("the server", &server);
            "CD"
        };
        count += 1;
        newest(&rig, count, carried, carried, letters);
        // Its place is taken by the next one, although it is kept for a while where there is room.
        let (client, server) = rig.flow();
        let carried = until_relayed(&rig, &client, &server);
        client.finish();
        server.expect_eof();
        server.finish();
        client.expect_eof();
        count += 1;
        newest(&rig, count, carried, carried, "--");
    }
    rig.stop();
}
