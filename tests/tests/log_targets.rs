//! Where lines go: headers next to Debian's haproxy, datagrams and connections, and targets that stall or go away.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::time::Duration;

use underpass_tests::daemon::{self, BOUND, Daemon, Launch};
use underpass_tests::log_lines::{HAPROXY, SERVER, Visit, collapse, run, serve};
use underpass_tests::netns::Topology;
use underpass_tests::process::{Output, eventually};

const DEFAULTS: &str = "defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n";

fn visit(port: u16) -> Visit {
    Visit {
        to: format!("127.0.0.1:{port}"),
        says: "abc",
    }
}

/// A file with these lines in `global`, and a frontend from port 8000 on for each of the others.
fn config(global: &str, frontends: &[String]) -> String {
    let mut text = format!("global\n    nbthread 1\n    log-tag tag\n{global}\n{DEFAULTS}");
    for (number, lines) in frontends.iter().enumerate() {
        let _ = writeln!(
            text,
            "frontend f{number}\n    bind 127.0.0.1:{}\n{lines}\n    default_backend be",
            8000 + number
        );
    }
    let _ = writeln!(text, "backend be\n    server srv {SERVER}");
    text
}

/// Where datagrams for port 9514 come to.
fn datagram_target(net: &Topology) -> UdpSocket {
    let socket = net.proxy.run(|| UdpSocket::bind("127.0.0.1:9514")).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// Where connections to port 9514 come to.
fn stream_target(net: &Topology) -> TcpListener {
    let listener = net.proxy.run(|| TcpListener::bind("127.0.0.1:9514"));
    listener.unwrap()
}

/// The datagrams that wait.
fn datagrams(receive: impl Fn(&mut [u8]) -> std::io::Result<usize>) -> Vec<Vec<u8>> {
    let mut buffer = vec![0; 70_000];
    let mut found = Vec::new();
    while let Ok(length) = receive(&mut buffer) {
        found.push(buffer[..length].to_vec());
    }
    found
}

/// What differs from run to run is masked; the priority is not.
fn header(datagram: &[u8]) -> String {
    let text = String::from_utf8_lossy(datagram).into_owned();
    match text.split_once('>') {
        Some((priority, rest)) if priority.starts_with('<') => {
            format!("{priority}>{}", collapse(rest))
        }
        _ => collapse(&text),
    }
}

const FORMATS: [&str; 9] = [
    "",
    "format local",
    "format rfc3164",
    "format rfc5424",
    "format priority",
    "format short",
    "format timed",
    "format iso",
    "format raw",
];

#[test]
fn headers_are_haproxys() {
    let net = Topology::loopback().unwrap();
    serve(&net).unwrap();
    let socket = datagram_target(&net);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let unix = UnixDatagram::bind(&path).unwrap();
    unix.set_nonblocking(true).unwrap();
    for global in [
        "",
        "    log-send-hostname",
        "    log-send-hostname here.example",
    ] {
        let mut frontends: Vec<String> = FORMATS
            .iter()
            .map(|format| {
                format!(
                    "    log 127.0.0.1:9514 {format} local3\n    log {} {format} local4 info\n    log-format \"text %B\"",
                    path.display()
                )
            })
            .collect();
        let sd = "    log-format-sd \"%{+Q,+E}o [id@1 bytes=%B server=%s]\"";
        for format in ["rfc5424", "rfc3164"] {
            frontends.push(format!(
                "    log 127.0.0.1:9514 format {format} user\n    log-format \"text %B\"\n{sd}"
            ));
        }
        frontends.push(format!(
            "    log 127.0.0.1:9514 len 80 format raw local0\n    log-format \"{}%B\"",
            "x".repeat(100)
        ));
        frontends.push(
            "    log 127.0.0.1:9514 local0\n    log-tag other\n    log-format \"text %B\""
                .to_owned(),
        );
        frontends.push(
            "    log 127.0.0.1:9514 local0 err\n    log-format \"not urgent enough %B\"".to_owned(),
        );
        frontends.push("    log 127.0.0.1:9514 format short local0 debug err\n    log-format \"%B\"\n    tcp-request content set-log-level alert".to_owned());
        let text = config(global, &frontends);
        let visits: Vec<Visit> = (0..frontends.len())
            .map(|number| visit(8000 + u16::try_from(number).unwrap()))
            .collect();
        let ours = daemon::binary().unwrap();
        let [theirs, ours] = [Path::new(HAPROXY), &ours].map(|program| {
            drop(run(program, &text, &net, &visits).unwrap());
            let ours = !daemon::is_haproxy(program);
            let mut found = datagrams(|buffer| socket.recv(buffer));
            found.extend(datagrams(|buffer| unix.recv(buffer)));
            // Haproxy says here too that a proxy stops.
            found.retain(|line| !String::from_utf8_lossy(line).contains(" stopped ("));
            let headers: Vec<String> = found.iter().map(|line| header(line)).collect();
            (ours, found, headers)
        });
        assert!(theirs.2.len() >= 22, "{:#?}", theirs.2);
        assert_eq!(theirs.2, ours.2);
        // The line that is cut is as long as haproxy's.
        let cut = |found: &[Vec<u8>]| {
            let mut lengths: Vec<usize> = found.iter().map(Vec::len).collect();
            lengths.retain(|length| (81..=90).contains(length));
            lengths
        };
        assert!(cut(&theirs.1).contains(&81), "{:?}", cut(&theirs.1));
        assert!(theirs.1.iter().zip(&ours.1).all(|(a, b)| {
            // The process's number may have more digits in one of them, where the line is not cut.
            a.len().abs_diff(b.len()) <= 2
        }));
        assert!(cut(&ours.1).contains(&81) && !ours.1.iter().any(|line| line.len() > 200));
    }
}

#[test]
fn samples_are_haproxys() {
    let net = Topology::loopback().unwrap();
    serve(&net).unwrap();
    let socket = datagram_target(&net);
    let front =
        "    log 127.0.0.1:9514 format raw sample 1,3-4:5 local0\n    log-format \"%lc %B\"";
    let text = config("", &[front.to_owned()]);
    let visits = vec![visit(8000); 11];
    for program in [Path::new(HAPROXY), &daemon::binary().unwrap()] {
        drop(run(program, &text, &net, &visits).unwrap());
        let found = datagrams(|buffer| socket.recv(buffer));
        let found: Vec<String> = found
            .iter()
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect();
        let expected = [
            "0 5\n", "2 5\n", "3 5\n", "5 5\n", "7 5\n", "8 5\n", "10 5\n",
        ];
        assert_eq!(found, expected, "{}", program.display());
    }
}

/// Visits port 8000 once.
fn stream(net: &Topology) {
    net.client.run(|| visit(8000).make()).unwrap();
}

fn start(net: &Topology, text: &str) -> Daemon {
    let program = daemon::binary().unwrap();
    Launch::program(program, text).start(&net.proxy).unwrap()
}

#[test]
fn lines_over_a_connection_end_as_haproxys_do() {
    let net = Topology::loopback().unwrap();
    serve(&net).unwrap();
    let receiver = stream_target(&net);
    let front = "    log tcp@127.0.0.1:9514 format rfc5424 local0\n    log-format \"text %B\"";
    let text = config("", &[front.to_owned()]);
    let received = [Path::new(HAPROXY), &daemon::binary().unwrap()].map(|program| {
        let daemon = Launch::program(program, text.clone()).start(&net.proxy);
        let daemon = daemon.unwrap();
        stream(&net);
        stream(&net);
        let (connection, _) = receiver.accept().unwrap();
        connection.set_read_timeout(Some(BOUND)).unwrap();
        let mut lines = BufReader::new(connection).lines();
        let lines =
            [lines.next(), lines.next()].map(|line| header(line.unwrap().unwrap().as_bytes()));
        drop(daemon);
        lines
    });
    assert_eq!(received[0], received[1]);
}

#[test]
fn octets_are_counted_where_asked_for() {
    let net = Topology::loopback().unwrap();
    serve(&net).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let unix = UnixListener::bind(&path).unwrap();
    let tcp = stream_target(&net);
    let front = format!(
        "    log tcp@127.0.0.1:9514 format raw log-proto octet-count local0\n    log uxst@{} format short log-proto octet-count local0\n    log-format \"text %B\"",
        path.display()
    );
    let daemon = start(&net, &config("", &[front]));
    stream(&net);
    stream(&net);
    let (mut connection, _) = tcp.accept().unwrap();
    connection.set_read_timeout(Some(BOUND)).unwrap();
    let mut found = [0; 16];
    connection.read_exact(&mut found).unwrap();
    assert_eq!(String::from_utf8_lossy(&found), "6 text 56 text 5");
    let (mut connection, _) = unix.accept().unwrap();
    connection.set_read_timeout(Some(BOUND)).unwrap();
    let mut found = [0; 22];
    connection.read_exact(&mut found).unwrap();
    assert_eq!(String::from_utf8_lossy(&found), "9 <6>text 59 <6>text 5");
    drop(daemon);
}

/// A file whose lines go to a connection, and to standard output besides. They are long, so that few of them fill
/// whatever there is between the two ends of a connection.
fn long_lines(address: &str) -> String {
    let front = format!(
        "    log {address} len 65535 format raw local0\n    log stdout format raw len 80 local0\n    log-format \"%lc %B {}\"",
        "x".repeat(60_000)
    );
    config("", &[front])
}

#[test]
fn a_receiver_that_stalls_keeps_nobody_waiting() {
    const STREAMS: usize = 300;
    let net = Topology::loopback().unwrap();
    serve(&net).unwrap();
    let receiver = stream_target(&net);
    let address = "tcp@127.0.0.1:9514 log-proto octet-count";
    let mut daemon = start(&net, &long_lines(address));
    stream(&net);
    let (connection, _) = receiver.accept().unwrap();
    for _ in 1..STREAMS {
        stream(&net);
    }
    // The other target has all lines, although this one has room for less than half of them.
    daemon
        .process()
        .wait_lines(Output::Stdout, BOUND, "every line", |lines| {
            (lines.len() >= STREAMS).then_some(())
        })
        .unwrap();
    let dropped = |daemon: &mut Daemon| {
        let said = |lines: &[String]| {
            let said = lines
                .iter()
                .rev()
                .find(|line| line.contains("log lines were dropped"));
            said.cloned()
        };
        let found = daemon
            .process()
            .wait_lines(Output::Stderr, BOUND, "dropped lines", said);
        found.unwrap()
    };
    assert!(
        dropped(&mut daemon).contains("WARN"),
        "{}",
        dropped(&mut daemon)
    );
    // What the receiver gets once it reads is whole, and the last line of all may be among it.
    connection.set_read_timeout(Some(BOUND)).unwrap();
    let mut reader = BufReader::new(connection);
    let mut received = Vec::new();
    let mut next = || -> Option<String> {
        let mut length = Vec::new();
        reader.read_until(b' ', &mut length).ok()?;
        let length = String::from_utf8(length).ok()?;
        let mut line = vec![0; length.trim_end().parse().ok()?];
        reader.read_exact(&mut line).ok()?;
        String::from_utf8(line).ok()
    };
    let first = next().unwrap();
    assert!(
        first.starts_with("0 5 xxx") && first.ends_with("xxx"),
        "{}",
        &first[..9]
    );
    received.push(first);
    let status = {
        daemon.signal(libc::SIGUSR1).unwrap();
        while let Some(line) = next() {
            received.push(line);
        }
        daemon.process().wait_exit(BOUND).unwrap()
    };
    assert!(status.success());
    // The frontend says that it has stopped, as one line more.
    let all = STREAMS + 1;
    let count = received.len();
    received.retain(|line| !line.starts_with("Proxy f0 stopped ("));
    let numbers: Vec<usize> = received
        .iter()
        .map(|line| line.split(' ').next().unwrap().parse().unwrap())
        .collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    let total: usize = {
        let line = dropped(&mut daemon);
        let (_, total) = line.split_once("total=").unwrap();
        let end = total
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(total.len());
        total[..end].parse().unwrap()
    };
    assert!(total > 0);
    assert_eq!(count + total, all, "every line was received or counted");
}

#[test]
fn a_receiver_that_comes_back_is_found_again() {
    let net = Topology::loopback().unwrap();
    serve(&net).unwrap();
    let text = config(
        "",
        &[
            "    log tcp@127.0.0.1:9514 format raw local0\n    log-format \"line %lc %B\""
                .to_owned(),
        ],
    );
    // Nobody listens at first: the line waits.
    let daemon = start(&net, &text);
    stream(&net);
    let mut seen = Vec::new();
    for _ in 0..2 {
        let receiver = net.proxy.run(|| {
            let mut listener = None;
            let bound = eventually(BOUND, || {
                listener = TcpListener::bind("127.0.0.1:9514").ok();
                listener.is_some()
            });
            assert!(bound);
            listener.unwrap()
        });
        let (connection, _) = receiver.accept().unwrap();
        connection.set_read_timeout(Some(BOUND)).unwrap();
        let mut line = String::new();
        BufReader::new(&connection).read_line(&mut line).unwrap();
        seen.push(line);
        drop((connection, receiver));
        stream(&net);
    }
    assert_eq!(seen, ["line 0 5\n", "line 1 5\n"]);
    drop(daemon);
}

/// A pipe that nobody empties: lines are dropped and counted, and streams go on.
#[test]
fn a_pipe_that_is_full_keeps_nobody_waiting() {
    let net = Topology::loopback().unwrap();
    serve(&net).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&writer);
    let text = long_lines(&format!("fd@{fd}"));
    let program = daemon::binary().unwrap();
    let launch = Launch::program(program, text).inherit(fd);
    let mut daemon = launch.start(&net.proxy).unwrap();
    for _ in 0..100 {
        stream(&net);
    }
    daemon
        .process()
        .wait_lines(Output::Stdout, BOUND, "every line", |lines| {
            (lines.len() >= 100).then_some(())
        })
        .unwrap();
    daemon
        .process()
        .wait_lines(Output::Stderr, BOUND, "dropped lines", |lines| {
            let said = lines
                .iter()
                .any(|line| line.contains("log lines were dropped"));
            said.then_some(())
        })
        .unwrap();
    daemon.signal(libc::SIGUSR1).unwrap();
    let status = daemon.process().wait_exit(BOUND + Duration::from_secs(5));
    assert!(status.unwrap().success());
    drop((reader, writer));
}
