//! The harness itself: hosts that reach each other, and namespaces that do not outlive their test.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use underpass_tests::netns::{Layout, LinkOptions, Topology};
use underpass_tests::peer::{Buffers, Exchange, Peer};
use underpass_tests::rig;

fn names(net: &Topology) -> Vec<String> {
    [&net.client, &net.proxy, &net.server]
        .map(|ns| format!("/run/netns/{}", ns.name()))
        .to_vec()
}

#[test]
fn namespaces_go_with_their_last_handle() {
    for layout in [Layout::Hosts, Layout::Loopback] {
        let net = Topology::new(layout).unwrap();
        let names = names(&net);
        assert!(names.iter().all(|name| Path::new(name).exists()));
        drop(net);
        assert!(!names.iter().any(|name| Path::new(name).exists()));
    }
}

#[test]
fn namespaces_go_when_a_test_panics() {
    let net = Topology::new(Layout::Hosts).unwrap();
    let names = names(&net);
    let panic = std::thread::spawn(move || {
        let _net = net;
        panic!("on purpose");
    });
    assert!(panic.join().is_err());
    assert!(!names.iter().any(|name| Path::new(name).exists()));
}

#[test]
fn routed_hosts_talk_past_the_proxy() {
    let options = LinkOptions {
        mtu: Some(9000),
        features: vec![("gro", "on"), ("tso", "off")],
        routed: true,
        ..LinkOptions::default()
    };
    let net = Topology::hosts(&options).unwrap();
    for address in [net.server_addr.ipv4(), net.server_addr.ipv6()] {
        let listener = net.server.run(|| TcpListener::bind((address, 0))).unwrap();
        let to = listener.local_addr().unwrap();
        let mut client = net.client.run(|| TcpStream::connect(to)).unwrap();
        let (mut server, from) = listener.accept().unwrap();
        assert!([net.client_addr.ipv4(), net.client_addr.ipv6()].contains(&from.ip()));
        client.write_all(b"through").unwrap();
        drop(client);
        let mut got = String::new();
        server.read_to_string(&mut got).unwrap();
        assert_eq!(got, "through");
    }
}

/// The endpoints find nothing wrong where there is no proxy that could be at fault.
#[test]
fn endpoints_agree_without_a_proxy() {
    let options = LinkOptions {
        routed: true,
        ..LinkOptions::default()
    };
    let net = Topology::hosts(&options).unwrap();
    let address = (net.server_addr.ipv4(), 9000).into();
    for buffers in [Buffers::default(), Buffers::both(2048)] {
        let listener = net.server.run(|| rig::listen(address, buffers)).unwrap();
        let client = net.client.run(|| Peer::connect(address, buffers)).unwrap();
        let server: Peer = listener.accept().unwrap().0.into();
        Exchange::new(1, 1 << 20, 1 << 20).run(&client, &server);
    }
}
