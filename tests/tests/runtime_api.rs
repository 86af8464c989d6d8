//! The runtime API: the same commands to our daemon and to Debian's haproxy, both started with the same file, and what
//! commands do to streams.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use underpass_tests::daemon::{self, BOUND, Daemon, Launch};
use underpass_tests::netns::Topology;
use underpass_tests::process::eventually;

/// Debian's haproxy.
const HAPROXY: &str = "/usr/sbin/haproxy";

/// Two proxies and what they need; `SOCKET` is replaced.
const FILE: &str = "
global
    stats socket SOCKET/admin level admin
    stats socket SOCKET/operator level operator
    stats socket SOCKET/user level user mode 600
    stats timeout 5s
    maxconn 500
    nbthread 2
    node here
    description a test, of course
    log stdout format raw local0
defaults
    mode tcp
    log global
    option tcplog
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend fe
    bind 127.0.0.1:8000
    default_backend be
backend be
    server a 127.0.0.1:9001
    server b 127.0.0.1:9002 weight 10 backup
    server c 127.0.0.1:9003 disabled
listen li
    id 77
    bind 127.0.0.1:8001
    maxconn 20
    stick-table type ip size 100 expire 1m store gpc0,conn_cnt
    tcp-request connection track-sc0 src
    server a 127.0.0.1:9001 maxconn 7
    server b 127.0.0.1:9002 id 5
backend spare
    balance leastconn
    stick-table type string size 10k expire 1m store gpt0
";

/// A daemon, the servers behind it, and the sockets of its runtime API.
struct Site {
    daemon: Daemon,
    net: Topology,
    sockets: TempDir,
}

impl Site {
    /// Our daemon with `file`.
    fn ours(file: &str) -> Self {
        Self::start(daemon::binary().expect("the binary under test"), file)
    }

    fn start(program: PathBuf, file: &str) -> Self {
        let net = Topology::loopback().expect("a host");
        net.server.run(|| {
            for (letter, port) in [(b'a', 9001), (b'b', 9002), (b'c', 9003)] {
                serve(letter, port);
            }
        });
        let sockets = tempfile::tempdir().expect("a directory");
        let path = sockets.path().display().to_string();
        let daemon = Launch::program(program, file.replace("SOCKET", &path))
            .start(&net.proxy)
            .expect("a running daemon");
        Self {
            daemon,
            net,
            sockets,
        }
    }

    /// A client of the runtime API.
    fn client(&self, socket: &str) -> UnixStream {
        let mut stream = None;
        // The peer does not say when it is ready.
        let connected = eventually(BOUND, || {
            stream = UnixStream::connect(self.sockets.path().join(socket)).ok();
            stream.is_some()
        });
        assert!(connected, "nobody listens on {socket}");
        let stream = stream.expect("a stream");
        stream.set_read_timeout(Some(BOUND)).expect("a timeout");
        stream
    }

    /// Sends this, ends, and reads to the end.
    fn send(&self, socket: &str, bytes: &[u8]) -> String {
        let mut stream = self.client(socket);
        stream.write_all(bytes).expect("a command is taken");
        stream.shutdown(Shutdown::Write).expect("an end");
        read_to_end(&mut stream)
    }

    /// What is answered to a command, without the empty line behind it.
    fn ask(&self, command: &str) -> String {
        let answer = self.send("admin", format!("{command}\n").as_bytes());
        let text = answer.strip_suffix('\n');
        text.unwrap_or_else(|| panic!("{command}: {answer:?} does not end"))
            .to_owned()
    }

    /// A visitor, which has heard from its server.
    fn visit(&self, port: u16) -> Visitor {
        let to = SocketAddr::from(([127, 0, 0, 1], port));
        let mut stream = self
            .net
            .client
            .run(|| TcpStream::connect(to))
            .expect("a connection");
        stream.set_read_timeout(Some(BOUND)).expect("a timeout");
        let mut letter = [0];
        stream.read_exact(&mut letter).expect("a greeting");
        Visitor {
            stream,
            server: char::from(letter[0]),
        }
    }
}

/// A client of a proxy.
struct Visitor {
    stream: TcpStream,
    server: char,
}

impl Visitor {
    /// Sends this and reads it back.
    fn talk(&mut self, text: &[u8]) {
        self.stream.write_all(text).expect("it is taken");
        let mut back = vec![0; text.len()];
        self.stream.read_exact(&mut back).expect("it comes back");
        assert_eq!(back, text);
    }

    /// Ends, and waits for the server's end.
    fn leave(mut self) {
        self.stream.shutdown(Shutdown::Write).expect("an end");
        assert_eq!(self.stream.read(&mut [0]).expect("the server's end"), 0);
    }

    /// Whether the stream has ended, in whatever way, within the bound.
    fn is_ended(&mut self) -> bool {
        match self.stream.read(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

/// Greets with a letter and sends back whatever comes, for as long as the process lives.
fn serve(letter: u8, port: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("a server");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            thread::spawn(move || {
                let mut from = stream.try_clone()?;
                stream.write_all(&[letter])?;
                std::io::copy(&mut from, &mut stream)?;
                stream.shutdown(Shutdown::Write)
            });
        }
    });
}

fn read_to_end(stream: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        // Whoever closes with bytes unread resets.
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }
    String::from_utf8(bytes).expect("text")
}

/// The same with both programs.
fn with_both<T>(file: &str, test: impl Fn(&Site) -> T) -> [T; 2] {
    let programs = [
        PathBuf::from(HAPROXY),
        daemon::binary().expect("the binary under test"),
    ];
    programs.map(|program| test(&Site::start(program, file)))
}

/// Replaces words of lines of at least so many words.
fn mask_words(text: &str, words: usize, masked: &[usize]) -> String {
    let line = |line: &str| -> String {
        let parts: Vec<&str> = line.split(' ').collect();
        if parts.len() < words || line.starts_with('#') {
            return line.to_owned();
        }
        let word =
            |(at, word): (usize, &&str)| if masked.contains(&at) { "_" } else { *word }.to_owned();
        let parts: Vec<String> = parts.iter().enumerate().map(word).collect();
        parts.join(" ")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Masks where an entry of a table is, and how long it stays.
fn mask_entries(text: &str) -> String {
    let word = |word: &str| {
        let mask = word.starts_with("0x") || word.starts_with("exp=");
        if mask { "_" } else { word }.to_owned()
    };
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ");
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Commands whose answers must be the same to the letter.
const SAME: &[&str] = &[
    "show backend",
    "show servers state",
    "show servers state be",
    "show servers state none",
    "show servers conn li",
    "show servers conn none",
    "show cli level",
    "show table",
    "get weight be/b",
    "get weight be",
    "get weight be/none",
    "get weight none/b",
    "set weight be/b 5",
    "get weight be/b",
    "set server be/b weight 200%",
    "get weight be/b",
    "set server be/b weight 50%",
    "set server be/b weight",
    "set server be/b weight abc",
    "set server be/b weight 300",
    "set server be/b weight -1",
    "set server be/b weight -5%",
    "set server be/b weight 1x",
    "set server",
    "set server be/b",
    "set server be/b none",
    "set server be/b state",
    "set server be/b state none",
    "set server be/b state drain",
    "show servers state be",
    "set server be/b state maint",
    "show servers state be",
    "set server be/b state ready",
    "set server be/c state ready",
    "set server be/c state drain",
    "show servers state be",
    "enable server",
    "enable server be/none",
    "enable server be/c",
    "show servers state be",
    "disable server be/c",
    "set server be/b addr",
    "set server be/b addr none",
    "set server be/b addr 127.0.0.1",
    "set server be/b addr 127.0.0.2",
    "set server be/b addr 127.0.0.2 port 9003",
    "set server be/b addr 127.0.0.1 port 9002",
    "set server be/b addr 127.0.0.1 port 9002 more",
    "set server be/b addr 127.0.0.1 port abc",
    "set server be/b addr ::1 port 9002",
    "show servers state be",
    "set server be/b agent up",
    "set server be/b check-port 12",
    "set maxconn server be/b",
    "set maxconn server be/b abc",
    "set maxconn server be/b 5",
    "set maxconn server be/none 5",
    "shutdown session",
    "shutdown session none",
    "shutdown session 0xfffffffffff",
    "show sess 0xfffffffffff",
    "shutdown sessions server",
    "shutdown sessions server be/none",
    "shutdown sessions server be/b",
    "show stat none 4 -1",
    "show stat domain none",
    "show errors none",
    "set timeout cli",
    "set timeout cli 5",
    "set timeout cli abc",
    "set timeout none",
    "set severity-output none",
    "set severity-output other",
    "clear counters",
    "clear counters all",
    "set table li key 192.0.2.1 data.gpc0 5 data.conn_cnt 7",
    "set table li key 192.0.2.2 data.gpc0 6",
    "show table li key 192.0.2.1",
    "show table li key 192.0.2.9",
    "show table li data.gpc0 gt 5",
    "show table li data.gpc1 gt 5",
    "show table li data.none gt 5",
    "show table li data.gpc0 none 5",
    "show table li none",
    "show table none",
    "set table",
    "set table none key 192.0.2.1",
    "set table li key 192.0.2.1 data.gpc1 1",
    "clear table li key 192.0.2.1",
    "show table li key 192.0.2.1",
    "clear table li data.gpc0 eq 6",
    "show table",
    "clear table",
    "clear table none",
    "set table spare key some\\ words data.gpt0 1",
    "show table spare key some\\ words",
    "clear table spare",
    "show table",
    "set server be/c health down",
    "set server be/c health stopping",
    "set server be/c health up",
    "set server be/c health none",
];

#[test]
fn answers_are_haproxys() {
    let answers = with_both(FILE, |site| {
        let answer = |command: &&str| {
            let answer = site.ask(command);
            if command.starts_with("show servers state") {
                // Seconds since the last change, and the health of what nobody checks: there it remembers that a server
                // was maintained once.
                return mask_words(&answer, 20, &[9, 12]);
            }
            if command.starts_with("show table") {
                // The entry's place in memory, and the time that it has left.
                return mask_entries(&answer);
            }
            answer
        };
        SAME.iter().map(answer).collect::<Vec<_>>()
    });
    let [theirs, ours] = &answers;
    let mut complaints = String::new();
    for (command, (theirs, ours)) in SAME.iter().zip(theirs.iter().zip(ours)) {
        if theirs != ours {
            complaints.push_str(&format!(
                "{command}\n  theirs: {theirs:?}\n  ours:   {ours:?}\n"
            ));
        }
    }
    assert!(complaints.is_empty(), "{complaints}");
}

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
        complaints.push_str(&differences(theirs, ours, &[]));
    }
    // It counts the bytes of living streams now and then, we when we are asked.
    complaints.push_str(&differences(&theirs.3, &ours.3, &["bin", "bout"]));
    // Lines up to the value.
    let shapes = |text: &str| -> Vec<String> {
        let shape = |line: &str| line.splitn(4, ':').take(3).collect::<Vec<_>>().join(":");
        text.lines().map(shape).collect()
    };
    assert!(complaints.is_empty(), "{complaints}");
    assert_eq!(shapes(&theirs.2), shapes(&ours.2));
}

#[test]
fn facts_have_haproxys_names_and_types() {
    let texts = with_both(FILE, |site| {
        drop(site.visit(8000));
        ["show info typed", "show info"].map(|command| site.ask(command))
    });
    let [theirs, ours] = &texts;
    let names = |text: &str| -> Vec<String> {
        text.lines()
            .filter_map(|line| line.rsplit_once(':'))
            .map(|(name, _)| name.to_owned())
            .collect()
    };
    for at in 0..2 {
        let known = names(&theirs[at]);
        for name in names(&ours[at]) {
            assert!(known.contains(&name), "{name} is none of {known:?}");
        }
    }
    for line in [
        "Nbthread: 2",
        "Maxconn: 500",
        "node: here",
        "description: \"a test, of course\"",
        "Listeners: 5",
    ] {
        assert!(
            ours[1].lines().any(|other| other == line),
            "{line} in {}",
            ours[1]
        );
        assert!(
            theirs[1].lines().any(|other| other == line),
            "{line} in {}",
            theirs[1]
        );
    }
}

/// What a client sends and gets, to the letter, but for lists of commands and versions.
#[test]
fn clients_are_answered_as_haproxy_does() {
    let scripts: &[&[u8]] = &[
        b"",
        b"show cli level",
        b"show cli level\n",
        b"show cli level\r\n",
        b"  show\t cli   level  more \n",
        b"show cli level;show backend\n",
        b"show cli level\nshow backend\n",
        b"show cli level \\; show backend\n",
        b"show cli level <<\nshow backend\n\n",
        b"show cli level <<\nno end\n",
        b";show cli level\n",
        b"nothing\n",
        b"show cli\n",
        b"prompt\n",
        b"prompt\nshow cli level\nquit\nshow backend\n",
        b"prompt;show cli level\nprompt\nshow backend\n",
        b"prompt\nshow cli level <<\nx\ny\n\nshow backend\n",
        b"operator;show cli level;disable server be/a;user;show cli level;show sess;operator\n",
        b"set severity-output number;enable server be/none;show cli level;get weight be/a\n",
        b"set severity-output string;enable server be/none;show backend;set server be/a addr 127.0.0.1\n",
        b"quit;show backend\n",
        b"\x00\xff\xfe\n",
        b"show cli level\x00 x\n",
    ];
    let answers = with_both(FILE, |site| {
        let answer = |script: &&[u8]| {
            let text = site.send("admin", script);
            // The commands themselves differ: HAProxy has others.
            let lines = text.lines().filter(|line| !line.starts_with("  "));
            lines.collect::<Vec<_>>().join("\n")
        };
        scripts.iter().map(answer).collect::<Vec<_>>()
    });
    let [theirs, ours] = &answers;
    let mut complaints = String::new();
    for (script, (theirs, ours)) in scripts.iter().zip(theirs.iter().zip(ours)) {
        if theirs != ours {
            let script = String::from_utf8_lossy(script);
            complaints.push_str(&format!(
                "{script:?}\n  theirs: {theirs:?}\n  ours:   {ours:?}\n"
            ));
        }
    }
    assert!(complaints.is_empty(), "{complaints}");
}

#[test]
fn levels_allow_what_haproxys_do() {
    let commands = [
        "show cli level",
        "show sess",
        "show errors",
        "show backend",
        "get weight be/a",
        "clear counters",
        "clear counters all",
        "set table li key 192.0.2.1 data.gpc0 1",
        "set weight be/a 3",
        "disable server be/a",
        "enable server be/a",
        "set server be/a state ready",
        "shutdown session 0xffffffffffff",
        "shutdown sessions server be/a",
        "set maxconn server be/a 9",
        "operator",
    ];
    let answers = with_both(FILE, |site| {
        let mut denied = Vec::new();
        for level in ["user", "operator", "admin"] {
            for command in commands {
                let answer = site.send(level, format!("{command}\n").as_bytes());
                denied.push((level, command, answer == "Permission denied\n\n"));
            }
        }
        denied
    });
    assert_eq!(answers[0], answers[1]);
    assert!(answers[1].iter().any(|(.., denied)| *denied));
}

#[test]
fn a_client_that_does_not_end_is_closed_after_its_answer() {
    let site = Site::ours(FILE);
    let mut stream = site.client("admin");
    stream.write_all(b"show cli level\n").unwrap();
    assert_eq!(read_to_end(&mut stream), "admin\n\n");
}

#[test]
fn servers_are_taken_out_and_brought_back() {
    let site = Site::ours(FILE);
    let kept = site.visit(8000);
    assert_eq!(kept.server, 'a');
    assert_eq!(site.ask("disable server be/a"), "");
    assert_eq!(site.visit(8000).server, 'b', "only the backup is left");
    assert_eq!(site.ask("enable server be/c"), "");
    assert_eq!(site.visit(8000).server, 'c', "no backup serves any more");
    assert_eq!(site.ask("set server be/c state drain"), "");
    assert_eq!(site.visit(8000).server, 'b');
    assert_eq!(site.ask("set server be/a state ready"), "");
    assert_eq!(site.visit(8000).server, 'a');
    // Weights: none, then all of it.
    assert_eq!(site.ask("set server be/c state ready"), "");
    assert_eq!(site.ask("set server be/a weight 0"), "");
    for _ in 0..4 {
        assert_eq!(site.visit(8000).server, 'c');
    }
    // Another place.
    assert_eq!(site.ask("set server be/a weight 100%"), "");
    assert_eq!(site.ask("disable server be/c"), "");
    let said = site.ask("set server be/a addr 127.0.0.1 port 9002");
    assert_eq!(
        said,
        "no need to change the addr, port changed from '9001' to '9002' by 'stats socket command'\n"
    );
    assert_eq!(site.visit(8000).server, 'b');
    // Who was there stayed there.
    kept.leave();
}

/// The first word of each line of `show sess`.
fn sessions(site: &Site) -> Vec<String> {
    let text = site.ask("show sess");
    text.lines()
        .map(|line| line.split(':').next().expect("an id").to_owned())
        .collect()
}

#[test]
fn streams_are_shown_and_ended() {
    let site = Site::ours(FILE);
    let mut one = site.visit(8000);
    one.talk(b"12345");
    let text = site.ask("show sess");
    for word in [
        "proto=tcpv4",
        "fe=fe",
        "be=be",
        "srv=a",
        "up=5",
        "down=6",
        "scb=[8]",
    ] {
        let mut words = text.split_whitespace();
        assert!(words.any(|other| other == word), "{word} in {text}");
    }
    let ids = sessions(&site);
    assert_eq!(ids.len(), 1, "{text}");
    let full = site.ask(&format!("show sess {}", ids[0]));
    assert!(full.contains("backend=be (id=3 mode=tcp)"), "{full}");
    assert!(
        full.contains("server=a (id=1) addr=127.0.0.1:9001"),
        "{full}"
    );
    assert_eq!(site.ask(&format!("shutdown session {}", ids[0])), "");
    assert!(one.is_ended());
    let record = site.daemon.wait_records(1).expect("a record").remove(0);
    assert_eq!(record.end, "K-", "{}", record.line);
    let gone = eventually(BOUND, || sessions(&site).is_empty());
    assert!(gone, "{}", site.ask("show sess"));
    assert_eq!(
        site.ask(&format!("shutdown session {}", ids[0])),
        "No such session (use 'show sess').\n"
    );

    // All of one server, and none of another.
    let mut ended = [site.visit(8000), site.visit(8000)];
    let mut other = site.visit(8001);
    while other.server != 'b' {
        other = site.visit(8001);
    }
    assert_eq!(site.ask("shutdown sessions server be/a"), "");
    for visitor in &mut ended {
        assert!(visitor.is_ended());
    }
    other.talk(b"still here");
}

/// What a command's client does is nothing to others, and its time is limited.
#[test]
fn slow_and_silent_clients_lose_their_place() {
    let file = FILE.replace("stats timeout 5s", "stats timeout 1s\n    stats maxconn 2");
    let site = Site::ours(&file);
    // It asks for more than any buffer takes, and reads nothing.
    let mut slow = site.client("admin");
    let _ = slow.write_all(&b"help;".repeat(3000));
    let _silent = site.client("admin");
    // Both places are taken: the next one waits until they are given back.
    assert_eq!(site.ask("show cli level"), "admin\n");
    assert!(!read_to_end(&mut slow).is_empty());
}

#[test]
fn a_prompted_client_may_take_its_time() {
    let file = FILE.replace("stats timeout 5s", "stats timeout 20s");
    let site = Site::ours(&file);
    let mut stream = site.client("operator");
    let said = |stream: &mut UnixStream, text: &str, expected: &str| {
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = vec![0; expected.len()];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), expected);
    };
    said(&mut stream, "prompt\n", "\n> ");
    said(&mut stream, "show cli", "");
    said(&mut stream, " level\n", "operator\n\n> ");
    // Another client in between.
    assert_eq!(site.ask("show cli level"), "admin\n");
    said(&mut stream, "show backend\n", "# name\nbe\nli\nspare\n\n> ");
    said(&mut stream, "quit\n", "");
    assert_eq!(read_to_end(&mut stream), "");
}

#[test]
fn a_command_without_end_is_refused() {
    let site = Site::ours(FILE);
    let mut stream = site.client("admin");
    // The rest of it may meet a closed socket.
    let _ = stream.write_all(&[b'x'; 40_000]);
    assert_eq!(read_to_end(&mut stream), "");
    assert_eq!(site.ask("show cli level"), "admin\n");
}

/// Every kind of address, after rights were given up.
#[test]
fn sockets_of_every_kind() {
    let file = FILE.replace(
        "    stats timeout 5s",
        "    stats socket ipv4@127.0.0.1:8100 level user\n    stats socket abns@underpass-runtime-api level operator\n    uid 65534\n    stats timeout 5s",
    );
    let site = Site::ours(&file);
    let mut stream = site
        .net
        .client
        .run(|| TcpStream::connect(("127.0.0.1", 8100)))
        .expect("a connection");
    stream.write_all(b"show cli level\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "user\n\n");
    let abstract_name = {
        use std::os::linux::net::SocketAddrExt as _;
        std::os::unix::net::SocketAddr::from_abstract_name("underpass-runtime-api").unwrap()
    };
    let mut stream = site
        .net
        .client
        .run(|| UnixStream::connect_addr(&abstract_name))
        .expect("a connection");
    stream.write_all(b"show cli level\n").unwrap();
    assert_eq!(read_to_end(&mut stream), "operator\n\n");
    let listed = site.ask("show cli sockets");
    let path = site.sockets.path().display();
    assert_eq!(
        listed,
        format!(
            "# socket lvl processes\nunix@{path}/admin admin all\nunix@{path}/operator operator all\nunix@{path}/user user all\nipv4@127.0.0.1:8100 user all\nabns@underpass-runtime-api operator all\n"
        )
    );
    let mode = std::fs::metadata(site.sockets.path().join("user")).unwrap();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777,
        0o600
    );
}

/// A path that a dead daemon left behind is no obstacle, and one that somebody still serves is taken over.
#[test]
fn a_path_is_taken_over() {
    let site = Site::ours(FILE);
    let path = site.sockets.path().display().to_string();
    let second = FILE
        .replace("SOCKET", &path)
        .replace(":8000", ":8002")
        .replace(":8001", ":8003");
    let pid = |site: &Site| {
        let text = site.ask("show info");
        let line = text.lines().find_map(|line| line.strip_prefix("Pid: "));
        line.expect("a pid").to_owned()
    };
    let first = pid(&site);
    assert_eq!(first, site.daemon.pid().to_string());
    let successor = Launch::new(second)
        .expect("the binary under test")
        .start(&site.net.proxy)
        .expect("a running daemon");
    assert_eq!(pid(&site), successor.pid().to_string());
    // No temporary file is left.
    let files = std::fs::read_dir(&path).unwrap().count();
    assert_eq!(files, 3);
}

/// A listening socket that was opened by whoever started the daemon.
#[test]
fn an_inherited_socket() {
    use std::os::fd::AsRawFd as _;
    let dir = tempfile::tempdir().unwrap();
    let listener = std::os::unix::net::UnixListener::bind(dir.path().join("api")).unwrap();
    let net = Topology::loopback().expect("a host");
    let fd = listener.as_raw_fd();
    let file = format!(
        "global\n    stats socket fd@{fd} level admin\nlisten li\n    mode tcp\n    bind 127.0.0.1:8000\n    server a 127.0.0.1:9001\n"
    );
    let _daemon = Launch::new(file)
        .expect("the binary under test")
        .inherit(fd)
        .start(&net.proxy)
        .expect("a running daemon");
    let mut stream = UnixStream::connect(dir.path().join("api")).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.write_all(b"show cli level\n").unwrap();
    assert_eq!(read_to_end(&mut stream), "admin\n\n");
}
