//! `show stat` after the same traffic.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::SockRef;
use underpass_tests::daemon::BOUND;
use underpass_tests::process::eventually;

use crate::site::{FILE, with_both};

/// Columns that depend on the moment, or on how a program does it.
const MOMENTARY: &[&str] = &[
    "rate",
    "rate_max",
    "conn_rate",
    "conn_rate_max",
    "lastchg",
    "lastsess",
    "qtime",
    "ctime",
    "ttime",
    "qtime_max",
    "ctime_max",
    "ttime_max",
    "need_conn_est",
];

/// `show stat` as columns and rows.
fn table(text: &str) -> (Vec<String>, Vec<Vec<String>>) {
    let split = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
    let mut lines = text.lines().filter(|line| !line.is_empty());
    let header = split(lines.next().expect("a header").trim_start_matches("# "));
    (header, lines.map(split).collect())
}

/// The columns of two `show stat` that differ.
fn differences(theirs: &str, ours: &str, masked: &[&str]) -> String {
    let ((header, their_rows), (our_header, our_rows)) = (table(theirs), table(ours));
    assert_eq!(header, our_header);
    assert_eq!(their_rows.len(), our_rows.len(), "{theirs}\n{ours}");
    let mut differences = String::new();
    for (theirs, ours) in their_rows.iter().zip(&our_rows) {
        let row = format!("{}/{}", theirs[0], theirs[1]);
        for (column, (theirs, ours)) in header.iter().zip(theirs.iter().zip(ours)) {
            let same = if MOMENTARY.contains(&column.as_str()) {
                theirs.is_empty() == ours.is_empty()
            } else {
                theirs == ours || masked.contains(&column.as_str())
            };
            if !same {
                differences.push_str(&format!("{column} of {row}: {theirs:?}, ours {ours:?}\n"));
            }
        }
    }
    differences
}

#[test]
fn statistics_are_haproxys() {
    let texts = with_both(FILE, |site| {
        let living = || -> u64 {
            let (header, rows) = table(&site.ask("show stat"));
            let scur = header.iter().position(|name| name == "scur").expect("scur");
            let fronts = rows.iter().filter(|row| row[1] == "FRONTEND");
            fronts
                .map(|row| row[scur].parse::<u64>().expect("a number"))
                .sum()
        };
        for port in [8000, 8000, 8001] {
            let mut visitor = site.visit(port);
            visitor.talk(b"0123456789");
            visitor.leave();
            // The proxy hears of the end a moment later.
            assert!(eventually(BOUND, || living() == 0), "a stream does not end");
        }
        let texts = [
            "show stat",
            "show stat be 6 -1",
            "show stat up",
            "show stat no-maint",
        ]
        .map(|command| site.ask(command));
        let user = site.send("user", b"show stat\n");
        let typed = site.ask("show stat typed");
        let held = site.visit(8000);
        let living = site.ask("show stat");
        drop(held);
        (texts, user, typed, living)
    });
    let [theirs, ours] = &texts;
    let pairs = theirs.0.iter().zip(&ours.0).chain([(&theirs.1, &ours.1)]);
    let mut complaints = String::new();
    for (theirs, ours) in pairs {
        // A stream that it counts no longer among the living may still be there when the next one comes.
        complaints.push_str(&differences(theirs, ours, &["smax"]));
    }
    // It counts the bytes of living streams now and then, we when we are asked.
    complaints.push_str(&differences(&theirs.3, &ours.3, &["bin", "bout", "smax"]));
    // Lines up to the value.
    let shapes = |text: &str| -> Vec<String> {
        let shape = |line: &str| line.splitn(4, ':').take(3).collect::<Vec<_>>().join(":");
        text.lines().map(shape).collect()
    };
    assert!(complaints.is_empty(), "{complaints}");
    assert_eq!(shapes(&theirs.2), shapes(&ours.2));
}

/// Proxies each of which fails in its own way: the first word is the name, the others are lines.
const FAILING: &[(&str, &str, &str)] = &[
    ("dcon", "tcp-request connection reject", "127.0.0.1:9001"),
    ("dses", "tcp-request session reject", "127.0.0.1:9001"),
    ("request", "tcp-request content reject", "127.0.0.1:9001"),
    ("response", "tcp-response content reject", "127.0.0.1:9001"),
    ("refused", "", "127.0.0.1:9"),
    ("reset", "", "127.0.0.1:9004"),
    ("silent", "timeout server 300ms", "127.0.0.1:9005"),
    ("queue", "timeout queue 300ms", "127.0.0.1:9001 maxconn 1"),
];

/// Resets whoever says something.
fn resetting(port: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("a server");
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            // Whoever has left is not missed.
            let _ = stream.read(&mut [0]);
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
    });
}

#[test]
fn failures_are_counted_where_haproxy_counts_them() {
    let mut file = "
global
    stats socket SOCKET/admin level admin
    maxconn 500
defaults
    mode tcp
    retries 0
    timeout connect 5s
    timeout client 30s
    timeout server 30s
"
    .to_owned();
    for (number, (name, lines, server)) in FAILING.iter().enumerate() {
        let port = 8000 + number;
        file.push_str(&format!(
            "listen {name}\n    bind 127.0.0.1:{port}\n    {lines}\n    server s {server}\n"
        ));
    }
    let texts = with_both(&file, |site| {
        // Both listen until the test ends.
        let _silent = site.net.server.run(|| {
            resetting(9004);
            TcpListener::bind("127.0.0.1:9005").expect("a server")
        });
        // Whoever takes the commands is ready to serve.
        site.ask("show backend");
        for (number, (name, ..)) in FAILING.iter().enumerate() {
            let port = 8000 + u16::try_from(number).expect("a port");
            let to = SocketAddr::from(([127, 0, 0, 1], port));
            let connect = || site.net.client.run(|| TcpStream::connect(to));
            let held = (*name == "queue").then(|| site.visit(port));
            // Who is turned away may hear of it anywhere.
            if let Ok(mut stream) = connect() {
                let _ = stream.write_all(b"x");
                stream.set_read_timeout(Some(BOUND)).expect("a timeout");
                let _ = stream.read_to_end(&mut Vec::new());
            }
            drop(held);
        }
        let idle = eventually(BOUND, || {
            let (header, rows) = table(&site.ask("show stat"));
            let scur = header.iter().position(|name| name == "scur").expect("scur");
            rows.iter().all(|row| row[scur] == "0")
        });
        assert!(idle, "a stream does not end");
        site.ask("show stat")
    });
    let [theirs, ours] = &texts;
    for (column, least) in [("dcon", 1), ("dses", 1), ("eresp", 2), ("econ", 3)] {
        let (header, rows) = table(theirs);
        let at = header.iter().position(|name| name == column).expect("it");
        let count = rows.iter().filter(|row| row[at] == "1").count();
        assert!(count >= least, "{column} is not put to the test: {theirs}");
    }
    // Bytes from clients are counted when they are read there, when they are passed on here.
    let complaints = differences(theirs, ours, &["bin", "bout", "qmax", "smax"]);
    assert!(complaints.is_empty(), "{complaints}");
}
