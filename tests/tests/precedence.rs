//! `monitor-net` and `mode health` come before everything else, under load too.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};
use underpass_tests::certs::{Certs, Leaf};
use underpass_tests::daemon::{binary, is_haproxy};
use underpass_tests::netns::Layout;
use underpass_tests::peer::{End, Exchange, Peer};
use underpass_tests::rig::{Config, Path, Rig};

const MONITOR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);
const OK: &[u8] = b"OK\n";
const HTTP_OK: &[u8] = b"HTTP/1.0 200 OK\r\n\r\n";

fn rig(change: impl FnOnce(&mut Config)) -> Rig {
    // Debian's haproxy has neither any more.
    assert!(!is_haproxy(&binary().unwrap()));
    Rig::with(Layout::Loopback, Path::Buffer, change)
}

fn connect_from(rig: &Rig, from: Ipv4Addr, port: u16) -> Peer {
    let to = SocketAddr::new(rig.proxy.ip(), port);
    rig.net.client.run(|| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
        socket.connect(&to.into()).unwrap();
        Peer::new(socket)
    })
}

/// The answer, whole and in order, whatever the client has said before.
fn expect_answer(peer: &Peer, answer: &[u8]) {
    let (got, end) = peer.read_to_end();
    assert_eq!((got.as_slice(), end), (answer, End::Eof));
}

#[test]
fn monitors_are_answered_before_headers_and_tls() {
    let certs = Certs::new();
    let crt = certs.issue("front", &Leaf::new("front.example"));
    for (more, answer) in [("", OK), ("option httpchk", HTTP_OK)] {
        let rig = rig(|config| {
            config.bind_with(&format!("accept-proxy ssl crt {}", crt.display()));
            config.frontend(format!("monitor-net {MONITOR}/32"));
            if !more.is_empty() {
                config.frontend(more);
            }
        });
        for words in [&b""[..], b"GET / HTTP/1.0\r\n\r\n", &[0xff; 3000]] {
            let monitor = connect_from(&rig, MONITOR, rig.proxy.port());
            if !words.is_empty() {
                monitor.write(words);
            }
            expect_answer(&monitor, answer);
        }
        // Anybody else has to send a header.
        let other = connect_from(&rig, Ipv4Addr::new(127, 0, 0, 10), rig.proxy.port());
        other.write(b"GET / HTTP/1.0\r\n\r\n");
        let (got, _) = other.read_to_end();
        assert!(got.is_empty(), "{got:?}");
        rig.daemon.wait_rejections(1).unwrap();
        assert!(rig.daemon.records().is_empty());
        rig.stop();
    }
}

/// Hundreds of monitors while another flow moves bulk, which loses nothing.
#[test]
fn under_load() {
    const MONITORS: u64 = 300;
    let rig = rig(|config| {
        config.frontend(format!("monitor-net {MONITOR}"));
        config.sections.push_str(
            "\nfrontend alive\n    mode health\n    bind 127.0.0.1:8100\n\
             frontend alive-http\n    mode health\n    option httpchk\n    bind 127.0.0.1:8101\n",
        );
    });
    let (client, server) = rig.flow();
    std::thread::scope(|scope| {
        scope.spawn(|| Exchange::new(81, 64 << 20, 64 << 20).run(&client, &server));
        let other = Ipv4Addr::new(127, 0, 0, 11);
        for n in 0..MONITORS {
            let (from, port, answer) = match n % 3 {
                0 => (MONITOR, rig.proxy.port(), OK),
                1 => (other, 8100, OK),
                _ => (other, 8101, HTTP_OK),
            };
            expect_answer(&connect_from(&rig, from, port), answer);
        }
    });
    let records = rig.daemon.wait_records(1).unwrap();
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0].end, "--", "{}", records[0].line);
    assert!(rig.daemon.rejections().is_empty());
    rig.stop();
}
