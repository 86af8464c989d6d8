//! PROXY headers, in and out.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use underpass_tests::certs::{Certs, Leaf, Versions};
use underpass_tests::daemon::Launch;
use underpass_tests::endpoint;
use underpass_tests::netns::{Layout, Topology};
use underpass_tests::on_each_path;
use underpass_tests::peer::{Buffers, End, Exchange, Peer};
use underpass_tests::proxy_header::{self, Header, tlv};
use underpass_tests::rig::{Config, Path, Rig};
use underpass_tests::tls_peer::{Close, TlsPeer};

const NAME: &str = "front.example";

fn rig(change: impl FnOnce(&mut Config)) -> Rig {
    Rig::with(Layout::Loopback, Path::Buffer, change)
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn local(peer: &Peer) -> SocketAddr {
    peer.socket().local_addr().unwrap().as_socket().unwrap()
}

fn headers() -> Vec<(SocketAddr, Vec<u8>)> {
    let four = (address("192.0.2.7:1234"), address("198.51.100.1:443"));
    let six = (address("[2001:db8::7]:1234"), address("[2001:db8::1]:443"));
    let tlvs: [(u8, &[u8]); 2] = [(2, b"name.example"), (0xe5, b"unknown to us")];
    vec![
        (four.0, proxy_header::v1(four.0, four.1)),
        (six.0, proxy_header::v1(six.0, six.1)),
        (four.0, proxy_header::v2(four.0, four.1, &[])),
        (six.0, proxy_header::v2(six.0, six.1, &tlvs)),
    ]
}

/// Nothing reached the server.
fn expect_no_connection(rig: &Rig) {
    rig.listener.set_nonblocking(true).unwrap();
    assert!(rig.listener.accept().is_err());
}

/// In two pieces, cut at every byte, with data behind it in the same segment.
#[test]
fn split_at_every_byte() {
    let rig = rig(|config| {
        config.bind_with("accept-proxy");
    });
    let mut flows = 0;
    for (source, header) in headers() {
        for cut in 1..=header.len() {
            let client = rig.connect();
            client.write(&header[..cut]);
            client.write(&[&header[cut..], b"question"].concat());
            let server = rig.accept();
            assert_eq!(server.read(8).unwrap(), b"question");
            server.write(b"answer");
            server.finish();
            client.finish();
            let (answer, end) = client.read_to_end();
            assert_eq!((answer.as_slice(), end), (&b"answer"[..], End::Eof));
            flows += 1;
            let record = rig.daemon.wait_records(flows).unwrap().remove(flows - 1);
            // The log has no brackets around an IPv6 address.
            let logged = format!("{}:{}", source.ip(), source.port());
            assert_eq!(record.client, logged, "{}", record.line);
            assert_eq!((record.up, record.down), (Some(8), 6), "{}", record.line);
        }
    }
    rig.stop();
}

/// One byte in each segment, then bulk both ways.
#[test]
fn byte_by_byte_then_bulk() {
    let rig = rig(|config| {
        config.bind_with("accept-proxy");
    });
    let client = rig.connect();
    for byte in &headers()[3].1 {
        client.write(&[*byte]);
    }
    let server = rig.accept();
    Exchange::new(71, 16 << 20, (16 << 20) + 1).run(&client, &server);
    rig.stop();
}

#[test]
fn malformed_headers_are_refused_with_a_line_each() {
    let rig = rig(|config| {
        config.bind_with("accept-proxy name front");
    });
    let mut checksum = proxy_header::v2(
        address("192.0.2.7:1"),
        address("192.0.2.8:2"),
        &[(3, &[1, 2, 3, 4])],
    );
    checksum.extend(b"data");
    let inputs: Vec<&[u8]> = vec![
        b"GET / HTTP/1.0\r\n\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 01234 443\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
        b"PROXY TCP4 192.0.2.256 198.51.100.1 1 443\r\n",
        b"PROXY  TCP4 192.0.2.7 198.51.100.1 1 443\r\n",
        b"proxy TCP4 192.0.2.7 198.51.100.1 1 443\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 1 443\n",
        &checksum,
    ];
    for (n, input) in inputs.iter().enumerate() {
        let client = rig.connect();
        let from = local(&client);
        client.write(input);
        let (got, end) = client.read_to_end();
        assert!(got.is_empty(), "{input:?} was answered by {got:?}");
        assert!(matches!(end, End::Eof | End::Reset), "{input:?}: {end:?}");
        let rejections = rig.daemon.wait_rejections(n + 1).unwrap();
        assert_eq!(rejections.len(), n + 1, "{rejections:?}");
        let last = &rejections[n];
        assert_eq!(last.client, from.to_string(), "{}", last.line);
        assert!(last.line.contains(" fe/front: "), "{}", last.line);
    }
    assert!(rig.daemon.records().is_empty());
    expect_no_connection(&rig);
    rig.stop();
}

/// A header that ends before it is whole is none, however much of it came.
#[test]
fn headers_that_are_never_completed() {
    let rig = rig(|config| {
        config.bind_with("accept-proxy");
    });
    let mut refused = 0;
    for (_, header) in headers() {
        for part in [1, header.len() / 2, header.len() - 1] {
            let client = rig.connect();
            client.write(&header[..part]);
            client.finish();
            let (got, end) = client.read_to_end();
            assert!(got.is_empty(), "{got:?}");
            assert!(matches!(end, End::Eof | End::Reset), "{end:?}");
            refused += 1;
            let rejections = rig.daemon.wait_rejections(refused).unwrap();
            assert_eq!(rejections.len(), refused, "{rejections:?}");
            let last = &rejections[refused - 1];
            assert_eq!(last.client, local(&client).to_string(), "{}", last.line);
        }
    }
    assert!(rig.daemon.records().is_empty());
    expect_no_connection(&rig);
    rig.stop();
}

/// Headers that name nobody leave the client's own address.
#[test]
fn headers_without_a_source() {
    let rig = rig(|config| {
        config.bind_with("accept-proxy").server_with("send-proxy");
    });
    let named = proxy_header::v2(address("192.0.2.7:1"), address("192.0.2.8:2"), &[]);
    // LOCAL counts, whatever stands in its address block.
    let local_with_addresses = proxy_header::raw_v2(0x20, 0x11, &named[16..]);
    let inputs: [&[u8]; 5] = [
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
        &proxy_header::raw_v2(0x20, 0x00, &[]),
        &proxy_header::raw_v2(0x21, 0x00, &[]),
        &local_with_addresses,
    ];
    for (n, input) in inputs.iter().enumerate() {
        let client = rig.connect();
        client.write(&[input, &b"question"[..]].concat());
        let server = rig.accept();
        let seen = Header::read(&server).unwrap();
        assert_eq!(seen.source(), Some(local(&client)), "{input:?}");
        assert_eq!(server.read(8).unwrap(), b"question");
        client.finish();
        server.finish();
        client.expect_eof();
        let record = rig.daemon.wait_records(n + 1).unwrap().remove(n);
        assert_eq!(record.client, local(&client).to_string(), "{}", record.line);
    }
    rig.stop();
}

/// A header in front of a ClientHello, in its segment and before it; and in front of a handshake with the server.
#[test]
fn headers_in_front_of_tls() {
    let certs = Certs::new();
    let crt = certs.issue("front", &Leaf::new(NAME));
    for versions in [Versions::V12, Versions::V13] {
        let rig = rig(|config| {
            config.bind_with(&format!("accept-proxy ssl crt {}", crt.display()));
            config.server_with(&format!(
                "send-proxy-v2 ssl ca-file {} sni str({NAME})",
                certs.ca().display()
            ));
        });
        let as_client = Arc::new(certs.client(versions, None));
        let as_server = Arc::new(certs.server(versions, "front", false));
        for (n, (source, header)) in headers().into_iter().enumerate() {
            let together = n % 2 == 0;
            let raw = rig.connect();
            let client = if together {
                TlsPeer::client(raw, &as_client, NAME).with_prefix(&header)
            } else {
                raw.write(&header);
                TlsPeer::client(raw, &as_client, NAME)
            };
            let client = client.ready();
            let server = rig.accept();
            let seen = Header::read(&server).unwrap();
            assert_eq!(seen.addresses.map(|(source, _)| source), Some(source));
            let server = TlsPeer::server(server, &as_server).ready();
            endpoint::run(&Exchange::new(74, 1 << 20, 1 << 20), client, server);
            let record = rig.daemon.wait_records(n + 1).unwrap().remove(n);
            assert_eq!(record.end, "--", "{}", record.line);
            let logged = format!("{}:{}", source.ip(), source.port());
            assert_eq!(record.client, logged, "{}", record.line);
        }
        rig.stop();
    }
}

/// What comes behind a header may go by any path, all of it.
fn any_path_behind_a_header(layout: Layout, path: Path) {
    let rig = Rig::with(layout, path, |config| {
        config.bind_with("accept-proxy").server_with("send-proxy");
    });
    let (source, header) = headers().remove(0);
    let exchange = Exchange::new(75, 8 << 20, 8 << 20);
    let client = rig.connect();
    client.write(&header);
    let server = rig.accept();
    let seen = Header::read(&server).unwrap();
    assert_eq!(seen.addresses.map(|(source, _)| source), Some(source));
    let carried = rig.warm(
        &client,
        &server,
        exchange.up_pattern(),
        exchange.down_pattern(),
    );
    exchange.from(carried).run(&client, &server);
    let record = rig.record();
    rig.check(
        &record,
        carried + exchange.up,
        carried + exchange.down,
        "--",
    );
    rig.check_path(&record, [1, 1]);
    rig.stop();
}

on_each_path!(Hosts as hosts: any_path_behind_a_header);

/// Debian's haproxy reads our headers, and we read its.
#[test]
fn agrees_with_haproxy() {
    for words in ["send-proxy", "send-proxy-v2"] {
        let rig = rig(|config| {
            config.bind_with("accept-proxy");
            let server = std::mem::replace(&mut config.server, format!("127.0.0.1:8100 {words}"));
            // The way back into the daemon under test, behind the peer.
            config.sections.push_str(&format!(
                "\nfrontend second\n    bind 127.0.0.1:8200 accept-proxy\n    \
                 default_backend last\nbackend last\n    server last {server} {words}\n"
            ));
        });
        let between = format!(
            "defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n\
             listen between\n    bind 127.0.0.1:8100 accept-proxy\n    server s 127.0.0.1:8200 {words}\n"
        );
        let haproxy = Launch::program("/usr/sbin/haproxy", between)
            .start(&rig.net.proxy)
            .unwrap();
        for (source, header) in headers() {
            let client = rig.connect();
            client.write(&header);
            let server = rig.accept();
            let seen = Header::read(&server).unwrap();
            assert_eq!(seen.addresses.map(|(source, _)| source), Some(source));
            Exchange::new(76, 1 << 20, 1 << 20).run(&client, &server);
        }
        haproxy.stop().unwrap();
        rig.stop();
    }
}

/// A client that says nothing, and one that says one byte at a time for ever.
#[test]
fn slow_clients_are_cut() {
    let rig = rig(|config| {
        config
            .bind_with("accept-proxy")
            .defaults("timeout client 700ms");
    });
    let silent = rig.connect();
    let slow = rig.connect();
    let header = &headers()[0].1;
    let mut writer = slow.socket().try_clone().unwrap();
    // The pause is the test's subject: without it the header would be complete before the timeout.
    for byte in &header[..header.len() - 1] {
        if writer.write_all(&[*byte]).is_err() || !rig.daemon.rejections().is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    for client in [&silent, &slow] {
        let (got, end) = client.read_to_end();
        assert!(got.is_empty());
        assert!(matches!(end, End::Eof | End::Reset), "{end:?}");
    }
    for rejection in rig.daemon.wait_rejections(2).unwrap() {
        assert!(rejection.is_timeout(), "{}", rejection.line);
    }
    expect_no_connection(&rig);
    rig.stop();
}

#[test]
fn sent_to_the_server_before_everything_else() {
    for (words, version) in [("send-proxy", 1), ("send-proxy-v2", 2)] {
        for client_speaks_first in [true, false] {
            let rig = rig(|config| {
                config.server_with(words);
            });
            let client = rig.connect();
            if client_speaks_first {
                client.write(b"hello");
            }
            let server = rig.accept();
            let header = Header::read(&server).unwrap();
            assert_eq!(header.version, version);
            assert_eq!(header.addresses, Some((local(&client), rig.proxy)));
            if client_speaks_first {
                assert_eq!(server.read(5).unwrap(), b"hello");
            }
            Exchange::new(72, 1 << 20, 1 << 20).run(&client, &server);
            rig.stop();
        }
    }
}

/// IPv6 clients, and IPv4 clients of a socket for both families, are named as what they are.
#[test]
fn clients_of_both_families() {
    for (words, version) in [("send-proxy", 1), ("send-proxy-v2", 2)] {
        let net = Topology::new(Layout::Loopback).unwrap();
        let rig = Rig::on(net, Path::Buffer, true, Buffers::default(), |config| {
            config.server_with(words);
            config.frontend("bind :::8300 v4v6");
        });
        for to in ["[::1]:8000", "[::1]:8300", "127.0.0.1:8300"].map(address) {
            let client = rig
                .net
                .client
                .run(|| Peer::connect(to, Buffers::default()))
                .unwrap();
            let server = rig.accept();
            let header = Header::read(&server).unwrap();
            assert_eq!(header.version, version);
            // Either as IPv4, or as IPv4 in IPv6.
            assert_eq!(header.source(), Some(local(&client)), "{header:?}");
            let (_, destination) = header.addresses.unwrap();
            assert_eq!(destination.ip().to_canonical(), to.ip(), "{header:?}");
            assert_eq!(destination.port(), to.port(), "{header:?}");
            Exchange::new(77, 10_000, 10_000).run(&client, &server);
        }
        rig.stop();
    }
}

/// What the first daemon was told is what the second one is told, over two hops of the same daemon.
#[test]
fn handed_on() {
    for words in [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options crc32c",
    ] {
        let rig = rig(|config| {
            config.bind_with("accept-proxy");
            let server = std::mem::take(&mut config.server);
            config.server = format!("127.0.0.1:8100 {words}");
            config.sections.push_str(&format!(
                "\nfrontend second\n    bind 127.0.0.1:8100 accept-proxy\n    \
                 default_backend last\nbackend last\n    server last {server} {words}\n"
            ));
        });
        for (source, header) in headers() {
            let client = rig.connect();
            client.write(&header);
            let server = rig.accept();
            let seen = Header::read(&server).unwrap();
            assert_eq!(seen.addresses.map(|(source, _)| source), Some(source));
            assert_eq!(
                seen.tlvs.iter().any(|(kind, _)| *kind == 3),
                words.contains("crc32c")
            );
            if words.contains("crc32c") {
                assert!(seen.is_checksum_right().unwrap());
            }
            client.finish();
            server.finish();
            client.expect_eof();
        }
        rig.stop();
    }
}

/// What a version 2 header says of the client's TLS.
#[test]
fn tells_of_tls() {
    let certs = Certs::new();
    let crt = certs.issue("front", &Leaf::new(NAME));
    certs.issue("client", &Leaf::new("some client"));
    let rig = rig(|config| {
        config.bind_with(&format!(
            "ssl crt {} verify optional ca-file {} alpn h2",
            crt.display(),
            certs.ca().display()
        ));
        config.server_with(
            "send-proxy-v2-ssl-cn proxy-v2-options ssl-cipher,cert-sig,cert-key,authority,unique-id,crc32c",
        );
    });
    let mut unique = Vec::new();
    for shown in [None, Some("client")] {
        let mut config = certs.client(Versions::V13, shown);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let client = TlsPeer::client(rig.connect(), &config.into(), NAME);
        let mut client = client.ready();
        let server = rig.accept();
        let header = Header::read(&server).unwrap();
        assert!(header.is_checksum_right().unwrap());
        assert_eq!(header.text(tlv::AUTHORITY).as_deref(), Some(NAME));
        assert_eq!(header.text(tlv::ALPN).as_deref(), Some("h2"));
        unique.push(header.text(tlv::UNIQUE_ID).unwrap());
        let ssl = header.ssl().unwrap();
        assert_eq!(ssl.verify, 0);
        assert_eq!(ssl.client, if shown.is_some() { 7 } else { 1 });
        let text = |kind| ssl.text(kind);
        assert_eq!(text(tlv::SSL_VERSION).as_deref(), Some("TLSv1.3"));
        assert!(text(tlv::SSL_CIPHER).unwrap().starts_with("TLS_"));
        assert_eq!(text(tlv::SSL_KEY_ALG).as_deref(), Some("EC256"));
        assert_eq!(text(tlv::SSL_CN).as_deref(), shown.map(|_| "some client"));
        client.finish(Close::Notify);
        server.finish();
        client.expect_closed();
    }
    assert_ne!(unique[0], unique[1]);
    rig.stop();
}

/// A client without an IP address is unknown.
#[test]
fn unix_clients_are_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("in.sock");
    for words in ["send-proxy", "send-proxy-v2"] {
        let rig = rig(|config| {
            config.server_with(words);
            config.frontend(format!("bind unix@{}", socket.display()));
        });
        let client = Peer::from(UnixStream::connect(&socket).unwrap());
        let server = rig.accept();
        assert_eq!(Header::read(&server).unwrap().addresses, None);
        Exchange::new(73, 1 << 20, 1 << 20).run(&client, &server);
        rig.stop();
    }
}
