//! Formats of lines, next to Debian's haproxy: one file, the same visits, the same lines.

use std::fmt::Write as _;
use std::path::Path;

use underpass_tests::daemon::{self, Daemon};
use underpass_tests::log_lines::{HAPROXY, SERVER, Visit, mask, run, serve};
use underpass_tests::netns::Topology;
use underpass_tests::process::Output;

/// A frontend of the compared file, and who visits it.
struct Case {
    name: &'static str,
    /// Its lines, but for `bind`, `log` and `default_backend`.
    lines: String,
    backend: Option<&'static str>,
    bind: &'static str,
    target: &'static str,
    says: &'static str,
    visits: usize,
}

fn case(name: &'static str, lines: impl Into<String>) -> Case {
    Case {
        name,
        lines: lines.into(),
        backend: Some("be"),
        bind: "",
        target: "stdout format raw local0",
        says: "abc",
        visits: 1,
    }
}

/// With a format.
fn format(name: &'static str, format: &str) -> Case {
    case(name, format!("log-format \"{name} {format}\""))
}

impl Case {
    fn to(mut self, backend: Option<&'static str>) -> Self {
        self.backend = backend;
        self
    }

    fn bind(mut self, words: &'static str) -> Self {
        self.bind = words;
        self
    }

    /// The level stands before each line.
    fn with_levels(mut self) -> Self {
        self.target = "stdout format short local0";
        self
    }

    fn says(mut self, what: &'static str) -> Self {
        self.says = what;
        self
    }

    fn visits(mut self, count: usize) -> Self {
        self.visits = count;
        self
    }

    fn with(mut self, line: &str) -> Self {
        let _ = write!(self.lines, "\n    {line}");
        self
    }
}

/// Every variable that has a meaning for TCP, but for the number of the stream and the counter of lines.
const ALL: &str = "B=%B U=%U rc=%rc sq=%sq bq=%bq ac=%ac fc=%fc bc=%bc sc=%sc b=%b f=%f ft=%ft s=%s \
    ci=%ci cp=%cp fi=%fi fp=%fp bi=%bi bp=%bp si=%si sp=%sp T=%T Tl=%Tl t=%t Ts=%Ts ms=%ms Th=%Th \
    Tw=%Tw Tc=%Tc Td=%Td Tt=%Tt Tu=%Tu ts=%ts tsc=%tsc H=%H pid=%pid sslc=%sslc sslv=%sslv ID=%ID";

/// Of a stream that reached no server: haproxy counts in `%U` what it has read, and knows the address of the last
/// attempt.
const FAILED: &str = "B=%B rc=%rc sq=%sq bq=%bq ac=%ac fc=%fc bc=%bc sc=%sc b=%b f=%f ft=%ft s=%s ci=%ci cp=%cp \
    fi=%fi fp=%fp si=%si sp=%sp T=%T Tl=%Tl t=%t Ts=%Ts ms=%ms Th=%Th Tw=%Tw Tc=%Tc Td=%Td Tt=%Tt Tu=%Tu ts=%ts \
    tsc=%tsc H=%H pid=%pid sslc=%sslc sslv=%sslv ID=%ID";

/// Keys whose values differ from run to run.
const VOLATILE: &[&str] = &[
    "cp", "bp", "T", "Tl", "t", "Ts", "ms", "Th", "Tw", "Tc", "Td", "Tt", "Tu", "pid", "cport",
];

fn cases() -> Vec<Case> {
    vec![
        format("numbers", "B=%B U=%U rc=%rc sq=%sq bq=%bq"),
        format("counts", "%ac/%fc/%bc/%sc %B"),
        format("names", "b=%b f=%f ft=%ft s=%s B=%B"),
        format("ends", "%ci fi=%fi:%fp si=%si:%sp bi=%bi cport=%cp bp=%bp"),
        format("dates", "T=%T Tl=%Tl t=%t Ts=%Ts ms=%ms"),
        format("durations", "Th=%Th Tw=%Tw Tc=%Tc Td=%Td Tt=%Tt Tu=%Tu"),
        format("all", ALL),
        format("hex", &format!("%{{+X}}o {ALL}")),
        format("quoted", &format!("%{{+Q}}o {ALL}")),
        format("hex-quoted", &format!("%{{+Q,+X}}o {ALL}")),
        format("escaped", &format!("%{{+E}}o {ALL}")),
        format("letters", "%ts %tsc"),
        format("host", "%H %{+Q}H"),
        format("counter", "%lc %{+X}lc %B").visits(3),
        format("spaces", "  a   b %B  %B %%%B%%  "),
        format("text", "{a|b}: [%b]/(%s),'%b'#%B;%B_%B-%B.%B"),
        format("flags", "%{+Q}s %s %{+Q}o %s %{-Q}s %s %{-Q}o %s %{+Q,-Q}s"),
        format(
            "expressions",
            "%[src] %[int(255)] %{+X}[int(255)] %[str(a)] %[bool(1)] %[always_false] %[be_name] %[fe_name] %[srv_name] %[src,ipmask(8)] %[int(5),add(3)] %[so_id] %[dst_port]",
        ),
        format(
            "brackets",
            "%[str(a]b)] %{+E}[str(a]b)] %{+Q,+E}[str(a]b)] %{+Q}[src,concat(x])]",
        ),
        format("absent", "%[var(txn.no)] %{+Q}[var(txn.no)] %B"),
        format("kept", "%[var(txn.kept)] %[var(sess.first)] %B")
            .with("tcp-request session set-var(sess.first) src_port,add(1),mul(0)")
            .with("tcp-request inspect-delay 5s")
            .with("tcp-request content set-var(txn.kept) req.len if { req.len gt 2 }"),
        format("tracked", "%[sc0_conn_cnt] %[src_conn_cnt] %B")
            .with("stick-table type ip size 10 store conn_cnt")
            .with("tcp-request connection track-sc0 src")
            .visits(2),
        format("id", "%ID %{+Q}ID %B").with("unique-id-format %{+X}o\\ %ci_%fi:%fp-%b"),
        format("v6", "%ci %{+X}ci %{+Q}ci %{+Q,+X}ci %fi %B").bind("[::1]"),
        format("unix", "%ci %cp %fi %fp %{+Q}ci %{+X}cp %[src] %B").bind("unix"),
        format("header", "%ci %cp %fi %fp %[src] %[fc_rcvd_proxy] %B")
            .bind("accept-proxy")
            .says("PROXY TCP4 192.0.2.1 192.0.2.9 1001 1002\r\nabc"),
        format("refused", FAILED).to(Some("dead")),
        format("refused-early", "%b/%s %ci").to(Some("dead")),
        format("asap", ALL).with("option logasap"),
        format("asap-refused", "B=%B Tt=%Tt Tu=%Tu %ts")
            .to(Some("dead"))
            .with("option logasap"),
        format("nowhere", FAILED).to(None),
        format("denied", FAILED).with("tcp-request content reject"),
        format("level", "%B")
            .with_levels()
            .with("tcp-request content set-log-level warning"),
        format("silent", "%B").with("tcp-request content set-log-level silent"),
        format("separate", "%B")
            .with_levels()
            .with("option log-separate-errors"),
        format("separate-error", "%B %ts")
            .with_levels()
            .with("option log-separate-errors")
            .to(Some("dead")),
        format("separate-asked", "%B %ts")
            .with_levels()
            .with("option log-separate-errors")
            .with("tcp-request content set-log-level debug")
            .to(Some("dead")),
        format("no-normal", "%B").with("option dontlog-normal"),
        format("no-normal-error", "%B %ts")
            .with("option dontlog-normal")
            .to(Some("dead")),
        format("no-null", "%B").with("option dontlognull").says(""),
        format("no-null-data", "%B").with("option dontlognull"),
        // Bytes that have not come when the server refuses are none.
        format("no-null-refused", "%B %ts")
            .with("option dontlognull")
            .with("tcp-request inspect-delay 5s")
            .with("tcp-request content accept if { req.len gt 0 }")
            .to(Some("dead")),
        format("no-null-denied", "%B %ts")
            .with("option dontlognull")
            .with("tcp-request inspect-delay 5s")
            .with("tcp-request content reject if { req.len gt 0 }"),
        case("tcplog-last", "log-format \"no %B\"\n    option tcplog"),
        case(
            "format-last",
            "option tcplog\n    log-format \"format-last %B\"",
        ),
        case("error-format", "log-format \"no %B\"")
            .with(&format!("error-log-format \"error-format {ALL}\""))
            .bind("accept-proxy")
            .says("GET / HTTP/1.0\r\n\r\n"),
        case(
            "error-level",
            "option tcplog\n    option log-separate-errors",
        )
        .with("error-log-format \"error-level %f %ts %ft\"")
        .with_levels()
        .bind("accept-proxy")
        .says("GET / HTTP/1.0\r\n\r\n"),
        case(
            "error-only",
            "error-log-format \"error-only %f %s\"\n    option dontlog-normal",
        )
        .bind("accept-proxy")
        .says("GET / HTTP/1.0\r\n\r\n"),
        case("other-error", "log-format \"other-error %B %ts\"")
            .with("error-log-format \"no %B\"")
            .to(Some("dead")),
    ]
}

/// The file, and the visits to its frontends.
fn script(dir: &Path, for_haproxy: bool) -> (String, Vec<Visit>) {
    let mut text = String::from(
        "global\n    nbthread 1\n    maxconn 200\n    log-tag t\ndefaults\n    mode tcp\n    \
         timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n    retries 0\n",
    );
    if !for_haproxy {
        text.push_str("    offload off\n");
    }
    let mut visits = Vec::new();
    for (number, case) in cases().into_iter().enumerate() {
        let port = 8000 + number;
        let (to, words) = match case.bind {
            "unix" => (dir.join("s").display().to_string(), ""),
            "[::1]" => (format!("[::1]:{port}"), ""),
            words => (format!("127.0.0.1:{port}"), words),
        };
        let address = if to.starts_with('/') {
            format!("unix@{to}")
        } else {
            to.clone()
        };
        let _ = writeln!(
            text,
            "frontend {}\n    bind {address} {words}\n    log {}\n    {}",
            case.name, case.target, case.lines
        );
        if let Some(backend) = case.backend {
            let _ = writeln!(text, "    default_backend {backend}");
        }
        let visit = Visit {
            to,
            says: case.says,
        };
        visits.extend(std::iter::repeat_n(visit, case.visits));
    }
    let _ = writeln!(
        text,
        "backend be\n    server srv {SERVER}\nbackend dead\n    server d1 127.0.0.1:9"
    );
    (text, visits)
}

/// The lines without what differs from run to run, by what they say.
fn lines(daemon: &mut Daemon) -> Vec<String> {
    let lines = daemon.process().lines(Output::Stdout);
    let mut lines: Vec<String> = lines
        .iter()
        .filter(|line| !is_news(line))
        .map(|line| match tcplog(line) {
            Some(line) => line,
            None => mask(line, VOLATILE),
        })
        .collect();
    lines.sort();
    lines
}

/// Haproxy says here too that a proxy stops.
fn is_news(line: &str) -> bool {
    line.contains("Proxy ") && line.contains(" stopped (")
}

/// What both programs say in a line of `option tcplog`, without dates, ports and times.
fn tcplog(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split(' ').collect();
    let ([_, date, frontend, place, _, bytes, letters, counts, queues], _) =
        words.split_first_chunk()?;
    (date.starts_with('[') && counts.split('/').count() == 5)
        .then(|| format!("{frontend} {place} {bytes} {letters} {counts} {queues}"))
}

#[test]
fn formats_say_what_haproxys_say() {
    let net = Topology::loopback().unwrap();
    serve(&net).unwrap();
    let ours = daemon::binary().unwrap();
    let [theirs, ours] = [Path::new(HAPROXY), &ours].map(|program| {
        // The socket of one must be gone before the other makes its own.
        let dir = tempfile::tempdir().unwrap();
        let (text, visits) = script(dir.path(), daemon::is_haproxy(program));
        let mut daemon = run(program, &text, &net, &visits).unwrap();
        lines(&mut daemon)
    });
    assert!(theirs.len() >= 40, "{theirs:#?}");
    let mut differences = String::new();
    for line in theirs.iter().filter(|line| !ours.contains(line)) {
        let _ = writeln!(differences, "haproxy: {line}");
    }
    for line in ours.iter().filter(|line| !theirs.contains(line)) {
        let _ = writeln!(differences, "we     : {line}");
    }
    assert!(differences.is_empty(), "{differences}");
    assert_eq!(theirs, ours);
}

/// What only we have, and the line of `option tcplog` written as a format.
#[test]
fn our_own_variables() {
    const TCPLOG: &str = "%ci:%cp [%t] %f %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq \
        up=%U path=%path kernel=%kernel flips=%flips why=%why end=%end";
    let net = Topology::loopback().unwrap();
    serve(&net).unwrap();
    let front = |name: &str, port: u16, line: &str| {
        format!("frontend {name}\n    bind 127.0.0.1:{port}\n    {line}\n    default_backend be\n")
    };
    let text = format!(
        "global\n    nbthread 1\n    log stdout format raw local0\ndefaults\n    mode tcp\n    log global\n    \
         offload buffer\n    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n{}{}{}{}backend be\n    server srv {SERVER}\n",
        front("a", 8000, "option tcplog"),
        front("b", 8001, &format!("log-format \"{TCPLOG}\"")),
        front("c", 8002, &format!("log-format \"{TCPLOG} more\"")),
        front(
            "d",
            8003,
            "log-format \"%pathup %pathdown %kernelup %kerneldown %flipsup %flipsdown %{+Q}why %{+Q}end %why %end\""
        ),
    );
    let visits = (8000..8004).map(|port| Visit {
        to: format!("127.0.0.1:{port}"),
        says: "abc",
    });
    let visits: Vec<Visit> = visits.collect();
    let mut daemon = run(&daemon::binary().unwrap(), &text, &net, &visits).unwrap();
    let lines = daemon.process().lines(Output::Stdout);
    let streams: Vec<&String> = lines
        .iter()
        .filter(|line| !line.starts_with("Proxy "))
        .collect();
    let [plain, same, more, parts] = streams[..] else {
        panic!("{lines:#?}");
    };
    let shape = |line: &str, name: &str| {
        let line = underpass_tests::log_lines::collapse(line);
        line.replacen(&format!("] {name} "), "] x ", 1)
    };
    assert_eq!(shape(plain, "a"), shape(same, "b"));
    assert_eq!(
        format!("{} more", shape(plain, "a")),
        shape(more, "c"),
        "{lines:#?}"
    );
    assert!(
        plain.contains(" 5 -- 1/1/0/0/0 0/0 up=3 path=buffer/buffer"),
        "{plain}"
    );
    assert_eq!(parts, "buffer buffer 0 0 0 0 \"\" \"\" - -");
}

/// A format in which nothing is that only the end tells is written as soon as the server is reached.
#[test]
fn a_line_that_need_not_wait_does_not() {
    let net = Topology::loopback().unwrap();
    serve(&net).unwrap();
    for program in [Path::new(HAPROXY), &daemon::binary().unwrap()] {
        let text = format!(
            "global\n    nbthread 1\ndefaults\n    mode tcp\n    log stdout format raw local0\n    \
             timeout connect 5s\n    timeout client 60s\n    timeout server 60s\nfrontend f\n    bind 127.0.0.1:8000\n    \
             log-format \"early %b/%s %[src]\"\n    default_backend be\nfrontend g\n    bind 127.0.0.1:8001\n    \
             log-format \"late %B\"\n    default_backend be\nbackend be\n    server srv {SERVER}\n"
        );
        let launch = daemon::Launch::program(program, text);
        let mut daemon = launch.start(&net.proxy).unwrap();
        let connect = |port| {
            let to = ([127, 0, 0, 1], port).into();
            let buffers = underpass_tests::peer::Buffers::default();
            let connect = || underpass_tests::peer::Peer::connect(to, buffers).unwrap();
            net.client.run(connect)
        };
        let late = connect(8001);
        assert_eq!(late.read(5).unwrap(), b"hello");
        let early = connect(8000);
        let wait = |daemon: &mut Daemon, what: &str| {
            let found = daemon
                .process()
                .wait_lines(Output::Stdout, daemon::BOUND, what, |lines| {
                    lines.iter().find(|line| line.contains(what)).cloned()
                });
            found.unwrap()
        };
        assert_eq!(wait(&mut daemon, "early"), "early be/srv 127.0.0.1");
        let lines = daemon.process().lines(Output::Stdout);
        assert!(!lines.iter().any(|line| line.contains("late")), "{lines:?}");
        late.finish();
        late.expect_eof();
        assert_eq!(wait(&mut daemon, "late"), "late 5");
        assert_eq!(early.read(5).unwrap(), b"hello");
        early.finish();
        early.expect_eof();
    }
}
