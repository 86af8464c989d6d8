use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

use socket2::Protocol;

use super::super::socket::{self, Half, Linger, set_linger};
use super::super::tcp::{self, ESTABLISHED};
use super::super::testing::{in_namespace, pair, wait};
use super::*;

/// `TCP_CLOSE` of `linux/tcp_states.h`.
const CLOSE: u8 = 7;

/// How many IP packets this network namespace has sent, and how many TCP resets.
fn sent() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
    let value = |protocol: &str, name: &str| {
        let mut lines = text.lines().filter(|line| line.starts_with(protocol));
        let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
        let at = names.split(' ').position(|word| word == name).unwrap();
        values.split(' ').nth(at).unwrap().parse().unwrap()
    };
    (value("Ip:", "OutRequests"), value("Tcp:", "OutRsts"))
}

/// Sends and waits until it is acknowledged, so that no acknowledgement is owed any more.
fn deliver(from: &mut TcpStream, bytes: &[u8]) {
    from.write_all(bytes).unwrap();
    wait("acknowledged", || {
        tcp::info(from.as_fd()).unwrap().unacked == 0
    });
}

fn state(stream: &TcpStream) -> u8 {
    tcp::info(stream.as_fd()).unwrap().state
}

/// What a segment on the wire says.
#[derive(Debug, PartialEq)]
struct Segment {
    sequence: u32,
    acknowledged: u32,
    timestamp: u32,
}

/// The next TCP segment with payload that `raw` sees.
fn next_with_payload(mut raw: &Socket) -> Segment {
    let word = |bytes: &[u8], at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    loop {
        let mut packet = [0; 4096];
        let len = raw.read(&mut packet).unwrap();
        let segment = &packet[usize::from(packet[0] & 0xf) * 4..len];
        let header = usize::from(segment[12] >> 4) * 4;
        if segment.len() > header {
            // Two words of padding, then kind 8, length 10: how Linux writes it.
            assert_eq!(segment[20..24], [1, 1, 8, 10]);
            return Segment {
                sequence: word(segment, 4),
                acknowledged: word(segment, 8),
                timestamp: word(segment, 24),
            };
        }
    }
}

#[test]
fn sequences_and_timestamp_are_those_on_the_wire() {
    in_namespace(|| {
        let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP)).unwrap();
        let (mut client, mut server) = pair();
        for bytes in [&b"a"[..], b"bcd", b"efghij"] {
            let before = sequences(client.as_fd()).unwrap();
            let from = timestamp(client.as_fd()).unwrap();
            deliver(&mut client, bytes);
            let to = timestamp(client.as_fd()).unwrap();
            let seen = next_with_payload(&raw);
            assert_eq!(
                (seen.sequence, seen.acknowledged),
                (before.write, before.received)
            );
            // One ahead is what the kernel does: see `timestamp`.
            let passed = seen.timestamp.wrapping_sub(from);
            let most = to.wrapping_sub(from) + 1;
            assert!(passed <= most, "{from}, {seen:?}, {to}");

            let after = sequences(client.as_fd()).unwrap();
            assert_eq!(
                after.write,
                before
                    .write
                    .wrapping_add(u32::try_from(bytes.len()).unwrap())
            );
            assert_eq!(after.received, before.received);
            // What waits to be read counts as received.
            let other = sequences(server.as_fd()).unwrap();
            assert_eq!((other.write, other.received), (after.received, after.write));
            server.read_exact(&mut vec![0; bytes.len()]).unwrap();
            assert_eq!(sequences(server.as_fd()).unwrap(), other);
            deliver(&mut server, b"back");
            assert_eq!(next_with_payload(&raw).sequence, other.write);
        }
    });
}

#[test]
fn reading_sequences_sends_nothing_and_changes_nothing() {
    in_namespace(|| {
        let (mut client, mut server) = pair();
        deliver(&mut client, b"unread");
        for reuse in [true, false] {
            SockRef::from(&server).set_reuse_address(reuse).unwrap();
            let before = (sent(), tcp::info(server.as_fd()).unwrap());
            let first = sequences(server.as_fd()).unwrap();
            assert_eq!(sequences(server.as_fd()).unwrap(), first);
            assert_eq!((sent(), tcp::info(server.as_fd()).unwrap()), before);
            let repair: libc::c_int =
                get_option(server.as_fd(), libc::IPPROTO_TCP, libc::TCP_REPAIR).unwrap();
            assert_eq!(repair, 0);
            assert_eq!(SockRef::from(&server).reuse_address().unwrap(), reuse);
        }
        let mut got = [0; 6];
        server.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"unread");
        deliver(&mut server, b"answer");
    });
}

/// What a connection that shares its port with nobody would prevent: see the top of the file.
#[test]
fn a_listener_can_be_bound_again_after_sequences_were_read() {
    in_namespace(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _client = TcpStream::connect(address).unwrap();
        let (server, _) = listener.accept().unwrap();
        drop(listener);
        sequences(server.as_fd()).unwrap();
        TcpListener::bind(address).unwrap();
        // That it is the option that decides.
        SockRef::from(&server).set_reuse_address(false).unwrap();
        TcpListener::bind(address).unwrap_err();
    });
}

#[test]
fn sequences_of_what_has_none_are_refused() {
    in_namespace(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = sequences(listener.as_fd()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
        let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        sequences(datagrams.as_fd()).unwrap_err();
    });
}

#[test]
fn repair_ends_when_something_in_between_fails() {
    in_namespace(|| {
        let (client, _server) = pair();
        {
            let repair = Repair::begin(client.as_fd()).unwrap();
            assert!(repair.sequence(99).is_err(), "there is no such queue");
        }
        let repair: libc::c_int =
            get_option(client.as_fd(), libc::IPPROTO_TCP, libc::TCP_REPAIR).unwrap();
        assert_eq!(repair, 0);
    });
}

/// Asks in the worst moments: acknowledgements come all the time, and there is always something
/// that each of them could send.
#[test]
fn nothing_is_lost_when_sequences_are_read_under_way() {
    const BYTES: usize = 8 << 20;
    const ASKED: usize = 8;
    in_namespace(|| {
        let (mut client, mut server) = pair();
        let data: Vec<u8> = (0..BYTES).map(|i| (i * 7 + i / 251) as u8).collect();
        let start = sequences(client.as_fd()).unwrap().write;
        // All of it is handed over before the first question: nobody may write to a socket in repair.
        let whole_size: libc::c_int = 4 * BYTES as libc::c_int;
        set_option(
            client.as_fd(),
            libc::SOL_SOCKET,
            libc::SO_SNDBUFFORCE,
            &whole_size,
        )
        .unwrap();
        client.write_all(&data).unwrap();
        let (mut got, mut unsent) = (vec![0; BYTES], 0);
        for part in got.chunks_mut(BYTES / ASKED) {
            for (index, chunk) in part.chunks_mut(3000).enumerate() {
                server.read_exact(chunk).unwrap();
                // Windows open, and are used, just when a reader has made room.
                if index == 100 {
                    unsent += usize::from(tcp::info(client.as_fd()).unwrap().not_sent > 0);
                    let now = sequences(client.as_fd()).unwrap().write;
                    assert_eq!(now.wrapping_sub(start), BYTES as u32);
                }
            }
        }
        assert!(got == data, "other bytes than were sent");
        assert!(unsent > 0, "there was nothing to lose");
        deliver(&mut client, b"more");
        server.read_exact(&mut [0; 4]).unwrap();
    });
}

/// What the kernel makes of an acknowledgement that comes in the moment between two calls.
#[test]
fn what_an_acknowledgement_finds_unsent_under_repair_is_late_and_not_lost() {
    in_namespace(|| {
        let (mut client, mut server) = pair();
        client.set_nonblocking(true).unwrap();
        let mut written = 0;
        while let Ok(len) = client.write(&[7; 1 << 16]) {
            written += len;
        }
        let unsent = || tcp::info(client.as_fd()).unwrap().not_sent;
        wait("a closed window", || {
            unsent() > 0 && tcp::info(client.as_fd()).unwrap().unacked == 0
        });
        let mut got = 0;
        {
            let repair = Repair::begin(client.as_fd()).unwrap();
            repair.sequence(SEND_QUEUE).unwrap();
            let before = unsent();
            let mut chunk = vec![0; 1 << 16];
            // Makes room, until a window update has come and has "sent" something.
            server.set_nonblocking(true).unwrap();
            while unsent() == before {
                got += server.read(&mut chunk).unwrap_or(0);
            }
        }
        server.set_nonblocking(false).unwrap();
        server.read_exact(&mut vec![0; written - got]).unwrap();
    });
}

#[test]
fn a_silent_close_is_not_heard() {
    // Where an ordinary close changes the peer's state at once: a FIN or a reset.
    const CHANGES_PEER: [&str; 4] = ["idle", "linger", "unread", "unread and linger"];
    type Prepare = fn(&mut TcpStream, &mut TcpStream);
    let cases: [(&str, Prepare); 6] = [
        ("idle", |_, _| {}),
        ("linger", |ours, _| {
            set_linger(ours.as_fd(), Linger::Reset).unwrap();
        }),
        ("unread", |_, peer| deliver(peer, b"unread")),
        ("unread and linger", |ours, peer| {
            set_linger(ours.as_fd(), Linger::Reset).unwrap();
            deliver(peer, b"unread");
        }),
        ("unsent", |ours, peer| {
            ours.set_nonblocking(true).unwrap();
            while ours.write(&[7; 1 << 16]).is_ok() {}
            wait("a closed window", || {
                let peer = tcp::info(peer.as_fd()).unwrap();
                let ours = tcp::info(ours.as_fd()).unwrap();
                ours.unacked == 0 && ours.not_sent > 0 && peer.received > 0
            });
        }),
        ("half closed by us", |ours, peer| {
            socket::shutdown(ours.as_fd(), Half::Write).unwrap();
            assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
            wait("FIN_WAIT2", || state(ours) == 5);
        }),
    ];
    in_namespace(|| {
        for (name, prepare) in cases {
            // An ordinary close shows that a packet would be seen.
            for silent in [true, false] {
                let (mut ours, mut peer) = pair();
                prepare(&mut ours, &mut peer);
                let before = (
                    sent(),
                    state(&peer),
                    tcp::info(peer.as_fd()).unwrap().received,
                );
                if silent {
                    close_silently(ours.into()).unwrap();
                    let after = (
                        sent(),
                        state(&peer),
                        tcp::info(peer.as_fd()).unwrap().received,
                    );
                    assert_eq!(after, before, "{name}");
                    assert!(peer.take_error().unwrap().is_none(), "{name}");
                    // A packet finds no connection; not the first one perhaps, if another test
                    // is starting a program, which has our descriptors for a moment.
                    wait(name, || {
                        let _ = peer.write(b"anybody?");
                        state(&peer) == CLOSE
                    });
                } else if CHANGES_PEER.contains(&name) {
                    drop(ours);
                    wait(name, || {
                        sent().0 > before.0.0 && state(&peer) != ESTABLISHED
                    });
                }
            }
        }
    });
}

fn occupied_pair() -> (SocketAddr, SocketAddr) {
    (
        "127.0.0.1:4000".parse().unwrap(),
        "127.0.0.2:5000".parse().unwrap(),
    )
}

/// Connects from `local` to `remote` as anybody would who may share the port.
fn connect(local: SocketAddr, remote: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(local), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&local.into())?;
    socket.connect(&remote.into())?;
    Ok(socket)
}

#[test]
fn an_occupied_pair_is_taken_silently_and_given_to_nobody_else() {
    in_namespace(|| {
        let (local, remote) = occupied_pair();
        let _listener = TcpListener::bind(remote).unwrap();
        let before = sent();
        let held = occupy(local, remote).unwrap();
        assert_eq!(tcp::info(held.as_fd()).unwrap().state, ESTABLISHED);
        let taken = connect(local, remote).unwrap_err();
        assert_eq!(taken.raw_os_error(), Some(libc::EADDRNOTAVAIL));
        let again = occupy(local, remote).unwrap_err();
        assert_eq!(again.raw_os_error(), Some(libc::EADDRNOTAVAIL));
        assert_eq!(sent(), before);
        // Its port serves other connections, and listeners.
        let _other = connect(local, "127.0.0.3:5000".parse().unwrap()).unwrap_err();
        TcpListener::bind(local).unwrap();
        let before = sent();
        drop(held);
        assert_eq!(sent(), before);
        wait("a free pair", || connect(local, remote).is_ok());
    });
}

#[test]
fn a_pair_of_ipv6_and_one_of_a_foreign_address_are_occupied() {
    in_namespace(|| {
        let before = sent();
        let _held = occupy("[::1]:4000".parse().unwrap(), "[::1]:5000".parse().unwrap()).unwrap();
        let _foreign = occupy(
            "192.0.2.7:443".parse().unwrap(),
            "127.0.0.2:5000".parse().unwrap(),
        )
        .unwrap();
        assert_eq!(sent(), before);
        let mixed = occupy("127.0.0.1:1".parse().unwrap(), "[::1]:1".parse().unwrap());
        assert_eq!(mixed.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        let no_route = occupy(
            "127.0.0.1:1".parse().unwrap(),
            "192.0.2.1:1".parse().unwrap(),
        );
        assert_eq!(
            no_route.unwrap_err().raw_os_error(),
            Some(libc::ENETUNREACH)
        );
    });
}

/// A connection that was closed silently can be followed at once by one that only holds its place.
#[test]
fn a_connections_own_pair_is_occupied_after_it() {
    in_namespace(|| {
        let (client, server) = pair();
        let (local, remote) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
        occupy(local, remote).unwrap_err();
        let before = sent();
        let mut held = Vec::new();
        for (end, local, remote) in [(client, local, remote), (server, remote, local)] {
            close_silently(end.into()).unwrap();
            wait("a free pair", || {
                held.extend(occupy(local, remote));
                !held.is_empty()
            });
            assert_eq!(
                tcp::info(held.pop().unwrap().as_fd()).unwrap().state,
                ESTABLISHED
            );
        }
        assert_eq!(sent(), before);
    });
}

/// Not a test of its own: the process that the next one kills.
#[test]
#[ignore = "waits to be killed"]
fn occupies_until_it_is_killed() {
    let (local, remote) = occupied_pair();
    let _held = occupy(local, remote).unwrap();
    println!("\noccupied");
    loop {
        std::thread::park();
    }
}

#[test]
fn the_death_of_the_process_is_silent_and_frees_the_pair() {
    in_namespace(|| {
        let (local, remote) = occupied_pair();
        let _listener = TcpListener::bind(remote).unwrap();
        let before = sent();
        let name = "repair::tests::occupies_until_it_is_killed";
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--nocapture", name])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.any(|line| line.is_ok_and(|line| line == "occupied"));
        let taken = connect(local, remote).map(drop);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(ready, "the other process did not occupy the pair");
        taken.unwrap_err();
        assert_eq!(sent(), before);
        wait("a free pair", || connect(local, remote).is_ok());
    });
}
