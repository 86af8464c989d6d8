//! Somebody on an end's link who knows a relayed flow's addresses and ports, and none of its numbers: whatever he sends,
//! nothing changes.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use socket2::Socket;
use underpass_tests::netns::{Layout, PROXY_LINKS, Topology};
use underpass_tests::peer::{Buffers, Exchange, Peer};
use underpass_tests::rig::{Path, Rig};
use underpass_tests::sys::{self, repair};

use crate::forged::{ACK, FIN, Forged, PSH, RST, SYN};
use crate::{KB, newest, relayed, talk};

/// What he sends.
const KINDS: [(u8, &[u8]); 9] = [
    (RST, b""),
    (RST | ACK, b""),
    (FIN | ACK, b""),
    (FIN | PSH | ACK, b"the last words"),
    (PSH | ACK, b"words that nobody sent"),
    (ACK, b""),
    (SYN, b""),
    (SYN | ACK, b""),
    (0, b"words without an acknowledgement"),
];

/// Far more than any window of these tests.
const FAR: u32 = 1 << 28;

/// One who pretends to be an end.
struct Pretender {
    wire: Socket,
    frames: Vec<Vec<u8>>,
}

impl Pretender {
    /// Pretends to be `peer`, the client's end if `at_client`. Nothing may be under way.
    fn new(rig: &Rig, peer: &Peer, at_client: bool) -> Self {
        let host = if at_client {
            &rig.net.client
        } else {
            &rig.net.server
        };
        let wire = host.run(|| sys::packet_socket("eth0")).unwrap();
        let link = PROXY_LINKS[usize::from(!at_client)];
        let socket = peer.socket();
        let inet = |address: socket2::SockAddr| address.as_socket().expect("an address");
        let from = inet(socket.local_addr().unwrap());
        let to = inet(socket.peer_addr().unwrap());
        let own = repair::sequences(socket.as_fd()).unwrap();
        let mut frames = Vec::new();
        // Numbers all around the circle, and even the right acknowledgement among them, but no right number.
        for (far, ack) in (1..16_u32).flat_map(|far| (0..4_u32).map(move |ack| (far, ack))) {
            for (flags, payload) in KINDS {
                for stamps in [None, Some([far * FAR, ack * FAR])] {
                    let forged = Forged {
                        from,
                        to,
                        seq: own.write.wrapping_add(far * FAR),
                        ack: own.received.wrapping_add(ack * 4 * FAR),
                        flags,
                        stamps,
                        payload,
                    };
                    frames.push(forged.frame(link));
                }
            }
        }
        Self { wire, frames }
    }

    /// Sends all that he has.
    fn speak(&self) {
        for frame in &self.frames {
            self.wire.send(frame).expect("a frame on the wire");
        }
    }
}

/// A relayed flow and two pretenders, who speak while it is silent, while it is busy, and when it is half over.
fn meddled(v6: bool) {
    let net = Topology::new(Layout::Hosts).unwrap();
    let rig = Rig::on(net, Path::Relay, v6, Buffers::default(), |_| {});
    let (client, server, carried) = relayed(&rig);
    let pretenders = [
        Pretender::new(&rig, &client, true),
        Pretender::new(&rig, &server, false),
    ];
    pretenders.iter().for_each(Pretender::speak);
    let live = rig.daemon.live(1).unwrap().remove(0);
    rig.check(&live, carried, carried, "--");
    let carried = talk(&client, &server, carried, 10 * KB);

    let bytes = 4 << 20;
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        for pretender in &pretenders {
            scope.spawn(|| {
                while !is_done.load(Ordering::Relaxed) {
                    pretender.speak();
                }
            });
        }
        let exchange = Exchange::new(350, bytes, bytes).from(carried);
        let _done = Done(&is_done);
        exchange.run(&client, &server);
    });
    newest(&rig, 1, carried + bytes, carried + bytes, "--");
    // It is over, and its numbers still lead somewhere: a new connection of others is left alone too.
    pretenders.iter().for_each(Pretender::speak);
    let (client, server, carried) = relayed(&rig);
    client.finish();
    server.expect_eof();
    pretenders.iter().for_each(Pretender::speak);
    let half = Pretender::new(&rig, &server, false);
    half.speak();
    server.send_all(crate::down(), carried, 100 * KB);
    client.receive_exact(crate::down(), carried, 100 * KB);
    server.finish();
    client.expect_eof();
    newest(&rig, 2, carried, carried + 100 * KB, "--");
    rig.stop();
}

/// Says that it is done, also when it fails.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn over_ipv4() {
    meddled(false);
}

#[test]
fn over_ipv6() {
    meddled(true);
}

/// A flow whose ends are silent is idle, whoever else speaks.
#[test]
fn silence_is_silence() {
    let rig = Rig::with(Layout::Hosts, Path::Relay, |config| {
        config.defaults("timeout tunnel 1500ms");
    });
    let (client, server, carried) = relayed(&rig);
    let pretenders = [
        Pretender::new(&rig, &client, true),
        Pretender::new(&rig, &server, false),
    ];
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                pretenders.iter().for_each(Pretender::speak);
                // The pace of the meddling.
                thread::sleep(Duration::from_millis(100));
            }
        });
        let _done = Done(&is_done);
        for (who, peer) in [("the client", &client), ("the server", &server)] {
            crate::expect_reset(who, peer);
        }
    });
    newest(&rig, 1, carried, carried, "cD");
    rig.stop();
}
