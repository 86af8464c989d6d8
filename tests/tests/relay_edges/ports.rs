//! A client's port serves again, at once, for a new connection.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::thread;

use socket2::{Domain, Socket, Type};
use underpass_tests::daemon::BOUND;
use underpass_tests::netns::{Layout, Netns};
use underpass_tests::peer::{PATIENCE, Peer};
use underpass_tests::process::eventually;
use underpass_tests::rig::{Path, Rig};
use underpass_tests::sys;
use underpass_tests::weather::blockade::{Blockade, Way};

use crate::{KB, down, newest, talk, up};

const PORT: u16 = 5555;

/// A client on the one port.
fn connect(rig: &Rig) -> Peer {
    let from = SocketAddr::new(rig.net.client_addr.ipv4(), PORT);
    let to = rig.proxy;
    rig.net.client.run(|| {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&from.into()).unwrap();
        socket
            .connect_timeout(&to.into(), PATIENCE)
            .expect("connect to the daemon");
        socket.set_tcp_nodelay(true).unwrap();
        Peer::new(socket)
    })
}

/// A relayed flow from the one port.
fn relayed(rig: &Rig) -> (Peer, Peer, u64) {
    let client = connect(rig);
    let server = rig.accept();
    let carried = rig.warm(&client, &server, up(), down());
    (client, server, carried)
}

/// Ends a flow in order; the server, which is first, is the one who waits for what may come late.
fn end(client: &Peer, server: &Peer) {
    server.finish();
    client.expect_eof();
    client.finish();
    server.expect_eof();
    let is_over = || sys::is_closed(client.socket().as_fd()).unwrap();
    assert!(eventually(BOUND, is_over), "the client still waits");
}

#[test]
fn after_an_orderly_end() {
    let rig = Rig::new(Layout::Hosts, Path::Relay);
    for count in 1..=12 {
        let (client, server, carried) = relayed(&rig);
        let carried = talk(&client, &server, carried, 50 * KB);
        end(&client, &server);
        newest(&rig, count, carried, carried, "--");
    }
    rig.stop();
}

#[test]
fn after_a_reset() {
    let rig = Rig::new(Layout::Hosts, Path::Relay);
    for count in 1..=12 {
        let (client, server, carried) = relayed(&rig);
        let carried = talk(&client, &server, carried, 50 * KB);
        let letters = if count % 2 == 0 {
            client.abort();
            crate::expect_reset("the server", &server);
            "CD"
        } else {
            server.abort();
            crate::expect_reset("the client", &client);
            "SD"
        };
        newest(&rig, count, carried, carried, letters);
    }
    rig.stop();
}

/// Whether a connection of `ns` waits for the answer to its SYN.
fn is_connecting(ns: &Netns) -> bool {
    let table = ns.run(|| std::fs::read_to_string("/proc/thread-self/net/tcp"));
    let table = table.expect("the connections");
    // Columns: number, local address as HEX:PORT, remote address, state.
    table
        .lines()
        .any(|line| line.split_whitespace().nth(3) == Some("02"))
}

/// The new connection begins before the daemon has heard of the old one's end: it is still one through the daemon.
#[test]
fn before_the_daemon_knows() {
    let rig = Rig::new(Layout::Hosts, Path::Relay);
    let (client, server, carried) = relayed(&rig);
    rig.daemon.signal(libc::SIGSTOP).unwrap();
    end(&client, &server);
    drop((client, server));
    let client = thread::scope(|scope| {
        let connecting = scope.spawn(|| connect(&rig));
        eventually(BOUND, || {
            is_connecting(&rig.net.client) || connecting.is_finished()
        });
        rig.daemon.signal(libc::SIGCONT).unwrap();
        connecting.join().unwrap()
    });
    newest(&rig, 1, carried, carried, "--");
    let server = rig.accept();
    let carried = rig.warm(&client, &server, up(), down());
    end(&client, &server);
    newest(&rig, 2, carried, carried, "--");
    rig.stop();
}

/// The client's host has forgotten the old connection, of which the daemon and the server still know.
#[test]
fn after_a_client_has_forgotten() {
    let rig = Rig::new(Layout::Hosts, Path::Relay);
    let (client, server, carried) = relayed(&rig);
    let blockade = Blockade::new(&rig.net.client, "eth0", Way::Out).unwrap();
    client.abort();
    assert!(eventually(BOUND, || blockade.met().unwrap() > 0));
    drop(blockade);
    // What the other ends have of the old one is cleared away by the answers to the new one's first packets.
    let client = connect(&rig);
    crate::expect_reset("the old server", &server);
    newest(&rig, 1, carried, carried, "CD");
    let server = rig.accept();
    let carried = rig.warm(&client, &server, up(), down());
    end(&client, &server);
    newest(&rig, 2, carried, carried, "--");
    rig.stop();
}
