//! Requests and answers: in pieces, half, none at all, and from stand-ins for either side.

use std::net::{IpAddr, SocketAddr, TcpListener};

use underpass_tests::netns::Layout;
use underpass_tests::peer::{Buffers, End, Exchange, Peer};
use underpass_tests::rig::{Path, Rig, SERVER_PORT, listen};

use super::MB;
use super::site::{AGENT_PORT, Remote, Setup, expect_no_server};

/// A listener in the place of an agent.
fn in_its_place(setup: Setup) -> (Rig, TcpListener) {
    let (rig, at) = setup.defaults("retries 0").without_agent();
    let listener = rig
        .net
        .server
        .run(|| listen(at, Buffers::default()))
        .unwrap();
    (rig, listener)
}

/// Reads one whole request: what is left unread would turn a close into a reset.
fn expect_request(agent: &Peer) {
    let head = agent.read(8).expect("the head of a request");
    assert_eq!(&head[..5], b"\0RTQ\x01");
    let rest = u16::from_be_bytes([head[6], head[7]]);
    assert_eq!(
        agent.read(rest.into()).expect("its rest").len(),
        usize::from(rest)
    );
}

#[test]
fn a_silent_agent_is_cut_at_the_connect_timeout() {
    let setup = Setup::new(Layout::Hosts, Path::Buffer).defaults("timeout connect 600ms");
    let (rig, listener) = in_its_place(setup);
    let client = rig.connect();
    let agent = Peer::from(listener.accept().unwrap().0);
    expect_request(&agent);
    expect_no_server(&rig, &client, "sC", "server:ctrl:timeout");
    let (_, end) = agent.read_to_end();
    assert_eq!(end, End::Reset);
    rig.stop();
}

#[test]
fn answers_that_are_none() {
    for (bytes, history) in [
        (&b"HTTP/1.1 200 OK\r\n\r\n"[..], "server:remote:bad-header("),
        (b"\0RTA\x02\0\0\x02\0\0", "server:remote:bad-header("),
        (b"\0RTA\x01\0\0\x02\0", "server:remote:peer-closed"),
        (b"", "server:remote:peer-closed"),
        (b"\0RTA\x01\x03\0\x02\0\0", "server:remote:timeout"),
        (
            b"\0RTA\x01\x05\0\x06\0\x04what",
            "server:remote:bad-request(what)",
        ),
    ] {
        let (rig, listener) = in_its_place(Setup::new(Layout::Loopback, Path::Buffer));
        let client = rig.connect();
        let agent = Peer::from(listener.accept().unwrap().0);
        expect_request(&agent);
        agent.write(bytes);
        // Where the answer is refused as it stands, the daemon may have hung up already.
        if history.ends_with("peer-closed") {
            agent.finish();
        }
        let letters = if history.ends_with("timeout") {
            "sC"
        } else {
            "SC"
        };
        expect_no_server(&rig, &client, letters, history);
        rig.stop();
    }
}

/// What comes behind an answer in the same segment is the server's, and a slow answer is an answer.
#[test]
fn an_answer_in_pieces_with_data_behind_it() {
    for path in [Path::Buffer, Path::Pipe, Path::Redirect] {
        let (rig, listener) = in_its_place(Setup::new(Layout::Loopback, path));
        let client = rig.connect();
        let agent = Peer::from(listener.accept().unwrap().0);
        agent.socket().set_tcp_nodelay(true).unwrap();
        expect_request(&agent);
        for byte in b"\0RTA\x01\0\0\x02\0" {
            agent.write(&[*byte]);
        }
        agent.write(b"\0hello");
        assert_eq!(client.read(5).unwrap(), b"hello");
        agent.finish();
        client.expect_eof();
        client.finish();
        drop(agent);
        rig.check(&rig.record(), 0, 5, "--");
        rig.stop();
    }
}

#[test]
fn requests_that_are_none() {
    let remote = Remote::new(Layout::Loopback, Path::Buffer);
    let at = SocketAddr::new(remote.rig.net.server_addr.ipv4(), AGENT_PORT);
    for (n, (bytes, why, answered)) in [
        (
            &b"GET / HTTP/1.0\r\n\r\n"[..],
            "is not the signature",
            false,
        ),
        (b"\0RTQ\x09\0\0\0", "version 9", true),
        (
            b"\0RTQ\x01\0\0\x08\x01\0\0\0\0\0\x50\0",
            "nothing can be reached",
            true,
        ),
        (b"\0RTQ\x01\0\0\x06\x03\x03/xx\0", "is no IP address", true),
        (
            b"\0RTQ\x01\x03\0\x08\x01\x7f\0\0\x01\0\x50\0",
            "no authorities",
            true,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let net = &remote.rig.net;
        let peer = net
            .client
            .run(|| Peer::connect(at, Buffers::default()))
            .unwrap();
        peer.write(bytes);
        let (got, _) = peer.read_to_end();
        assert_eq!(got.starts_with(b"\0RTA\x01"), answered, "{got:?}");
        drop(peer);
        let rejection = remote.agent.wait_rejections(n + 1).unwrap().remove(n);
        assert!(rejection.line.contains(why), "{}", rejection.line);
    }
    remote.stop();
}

/// A request for a connection to the rig's server, from nowhere.
fn request(rig: &Rig) -> Vec<u8> {
    let IpAddr::V4(host) = rig.net.server_addr.ipv4() else {
        panic!("the server has no IPv4 address");
    };
    let mut bytes = b"\0RTQ\x01\0\0\x08\x01".to_vec();
    bytes.extend(host.octets());
    bytes.extend(SERVER_PORT.to_be_bytes());
    bytes.push(0);
    bytes
}

/// What comes behind a request in the same segment is the target's, and a slow request is a request.
#[test]
fn a_request_in_pieces_with_data_behind_it() {
    for path in [Path::Buffer, Path::Pipe, Path::Redirect] {
        let remote = Remote::new(Layout::Loopback, path);
        let rig = &remote.rig;
        let at = SocketAddr::new(rig.net.server_addr.ipv4(), AGENT_PORT);
        let peer = rig
            .net
            .client
            .run(|| Peer::connect(at, Buffers::default()))
            .unwrap();
        peer.socket().set_tcp_nodelay(true).unwrap();
        let request = request(rig);
        let (last, first) = request.split_last().unwrap();
        for byte in first {
            peer.write(&[*byte]);
        }
        peer.write(&[&[*last][..], b"hello"].concat());
        let server = rig.accept();
        assert_eq!(server.read(5).unwrap(), b"hello");
        let head = peer.read(8).unwrap();
        assert_eq!(&head[..6], b"\0RTA\x01\0", "{head:?}");
        peer.read(usize::from(head[7])).unwrap();
        let exchange = Exchange::new(715, 4 * MB, 4 * MB);
        exchange.run(&peer, &server);
        let record = remote.agent.wait_records(1).unwrap().remove(0);
        rig.check(&record, 4 * MB + 5, 4 * MB, "--");
        remote.stop();
    }
}

#[test]
fn half_a_request_is_cut_at_the_client_timeout() {
    let setup = Setup::new(Layout::Loopback, Path::Buffer).agent("timeout client 600ms");
    let remote = setup.start();
    let at = SocketAddr::new(remote.rig.net.server_addr.ipv4(), AGENT_PORT);
    let peer = remote
        .rig
        .net
        .client
        .run(|| Peer::connect(at, Buffers::default()))
        .unwrap();
    peer.write(&request(&remote.rig)[..12]);
    let (got, _) = peer.read_to_end();
    assert!(got.is_empty(), "{got:?}");
    let rejection = remote.agent.wait_rejections(1).unwrap().remove(0);
    assert!(rejection.is_timeout(), "{}", rejection.line);
    remote.stop();
}
