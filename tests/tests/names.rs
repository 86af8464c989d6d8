//! Servers by host name: the daemon asks a name server that the tests make say what they want.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use underpass_tests::daemon::{BOUND, Daemon, Launch, binary, is_haproxy};
use underpass_tests::dns::{Dns, Service};
use underpass_tests::netns::{Netns, Topology};
use underpass_tests::peer::{Buffers, Peer};
use underpass_tests::process::{Output, eventually};

/// Where clients connect to.
const PROXY: &str = "127.0.0.1:8000";
/// The port of servers that have no other.
const PORT: u16 = 9000;
/// What the tests wait for in vain if a `hold` is not respected, and how patient the section is.
const RESOLVERS: &str = "
resolvers dns
    nameserver ns1 127.0.0.1:5353
    timeout resolve 200ms
    timeout retry 100ms
    hold nx 1s
    hold timeout 1s
    hold refused 1s
    hold other 1s
";

/// A connection to the proxy, which may have reset it already.
fn connect() -> TcpStream {
    let peer = Peer::connect(PROXY.parse().unwrap(), Buffers::default()).unwrap();
    peer.into_socket().into()
}

/// A host with a name server, a daemon, and servers that say where they listen.
struct Site {
    daemon: Daemon,
    dns: Dns,
    net: Topology,
}

impl Site {
    /// With `servers` as the backend's lines; `prepare` fills the name server first.
    fn new(servers: &str, prepare: impl FnOnce(&Dns)) -> Self {
        Self::of(binary().unwrap(), servers, prepare)
    }

    /// With one server, whose name is resolved to the address of a program that serves.
    fn resolved() -> Self {
        let line = "server s1 web.test:9000 resolvers dns init-addr none resolve-prefer ipv4";
        let site = Self::new(line, |dns| dns.host("web.test", &["127.0.0.2"]));
        serve(site.host(), "127.0.0.2", PORT);
        site
    }

    fn of(program: PathBuf, servers: &str, prepare: impl FnOnce(&Dns)) -> Self {
        let net = Topology::loopback().unwrap();
        let dns = Dns::start(&net.proxy, nameserver()).unwrap();
        prepare(&dns);
        let config = format!(
            "global
    log stdout format raw local0
defaults
    mode tcp
    log global
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    retries 0
{RESOLVERS}
frontend fe
    bind {PROXY}
    default_backend be
backend be
    balance roundrobin
    {servers}
"
        );
        let daemon = Launch::program(program, config).start(&net.proxy).unwrap();
        Self { daemon, dns, net }
    }

    fn host(&self) -> &Netns {
        &self.net.proxy
    }

    fn lines(&mut self) -> Vec<String> {
        self.daemon.process().lines(Output::Stdout)
    }

    /// Waits for a line of the log.
    fn said(&mut self, line: &str) {
        let process = self.daemon.process();
        process
            .wait_lines(Output::Stdout, BOUND, line, |lines| {
                lines.iter().any(|known| known == line).then_some(())
            })
            .unwrap();
    }

    /// A connection through the proxy, and what the server calls itself; `None`: there is no server.
    fn connect(&self) -> Option<(TcpStream, String)> {
        let stream = self.host().run(connect);
        stream.set_read_timeout(Some(BOUND)).unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(1..) => Some((stream, line.trim_end().to_owned())),
            _ => None,
        }
    }

    /// The server that a new connection gets.
    fn reaches(&self) -> Option<String> {
        self.connect().map(|(_, server)| server)
    }

    /// Waits until new connections get this server, or none.
    fn comes_to(&self, expected: Option<&str>) {
        let mut last = None;
        let reached = eventually(BOUND, || {
            last = self.reaches();
            last.as_deref() == expected
        });
        assert!(reached, "{last:?} instead of {expected:?}");
    }
}

fn nameserver() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 5353))
}

/// A server that says its address and port, and then says again what it hears.
fn serve(ns: &Netns, ip: &str, port: u16) {
    let address = SocketAddr::new(ip.parse::<IpAddr>().unwrap(), port);
    let listener = ns.run(|| TcpListener::bind(address)).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut bytes = [0; 512];
                let _ = stream.write_all(format!("{address}\n").as_bytes());
                while let Ok(length @ 1..) = stream.read(&mut bytes) {
                    if stream.write_all(&bytes[..length]).is_err() {
                        break;
                    }
                }
            });
        }
    });
}

#[test]
fn addresses_of_both_families() {
    let mut site = Site::new(
        "server s1 web.test:9000 resolvers dns init-addr none",
        |dns| dns.host("web.test", &["127.0.0.2"]),
    );
    serve(site.host(), "127.0.0.2", PORT);
    serve(site.host(), "::1", PORT);
    site.said("be/s1 changed its IP from (none) to 127.0.0.2 by dns/ns1.");
    site.said("Server be/s1 administratively READY thanks to valid DNS answer.");
    site.comes_to(Some("127.0.0.2:9000"));
    site.dns.host("web.test", &["127.0.0.2", "::1"]);
    site.said("be/s1 changed its IP from 127.0.0.2 to ::1 by dns/ns1.");
    site.comes_to(Some("[::1]:9000"));
}

#[test]
fn a_living_stream_does_not_move_with_its_server() {
    let mut site = Site::resolved();
    serve(site.host(), "127.0.0.3", PORT);
    site.comes_to(Some("127.0.0.2:9000"));
    let (mut living, _) = site.connect().unwrap();
    site.dns.host("web.test", &["127.0.0.3"]);
    site.said("be/s1 changed its IP from 127.0.0.2 to 127.0.0.3 by dns/ns1.");
    assert_eq!(site.reaches().as_deref(), Some("127.0.0.3:9000"));
    living.write_all(b"still there").unwrap();
    let mut bytes = [0; 11];
    living.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"still there");
}

#[test]
fn services_with_ports_and_weights() {
    let mut site = Site::new("server-template s 3 _http._tcp.test resolvers dns", |dns| {
        dns.host("b.test", &["127.0.0.3"]);
        dns.service(
            "_http._tcp.test",
            &[
                Service {
                    host: "a.test",
                    port: 9001,
                    weight: 256,
                    address: Some("127.0.0.2"),
                },
                Service {
                    host: "b.test",
                    port: 9002,
                    weight: 768,
                    address: None,
                },
            ],
        );
    });
    serve(site.host(), "127.0.0.2", 9001);
    serve(site.host(), "127.0.0.3", 9002);
    site.said("be/s1 changed its IP from (none) to 127.0.0.2 by DNS additional record.");
    site.said("be/s1 changed its FQDN from (null) to a.test by 'SRV record'");
    site.said("be/s2 changed its FQDN from (null) to b.test by 'SRV record'");
    site.said("be/s2 changed its IP from (none) to 127.0.0.3 by dns/ns1.");
    site.comes_to(Some("127.0.0.2:9001"));
    site.comes_to(Some("127.0.0.3:9002"));
    let mut first = 0;
    for _ in 0..16 {
        let server = site.reaches().unwrap();
        first += usize::from(server == "127.0.0.2:9001");
    }
    assert_eq!(first, 4, "of 16, by weights of 1 and 3");
    site.dns.service("_http._tcp.test", &[]);
    // No record at all is an error, and borne for its hold.
    site.comes_to(None);
}

#[test]
fn a_template_grows_and_shrinks() {
    let mut site = Site::new(
        "server-template s 3 web.test:9000 resolvers dns init-addr none resolve-prefer ipv4",
        |dns| dns.host("web.test", &["127.0.0.2"]),
    );
    for last in 2..=5 {
        serve(site.host(), &format!("127.0.0.{last}"), PORT);
    }
    site.said("be/s1 changed its IP from (none) to 127.0.0.2 by dns/ns1.");
    site.comes_to(Some("127.0.0.2:9000"));
    let all = ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"];
    site.dns.host("web.test", &all);
    site.said("Server be/s3 administratively READY thanks to valid DNS answer.");
    let mut seen: Vec<String> = (0..6).filter_map(|_| site.reaches()).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert_eq!(seen[0], "127.0.0.2:9000", "its server has kept it");
    let (last, _) = seen[2].split_once(':').unwrap();
    site.dns.host("web.test", &[last]);
    let only = eventually(BOUND, || {
        (0..6).all(|_| site.reaches().as_deref() == Some(&*seen[2]))
    });
    assert!(only, "who is in no answer any more still serves");
    let moved = format!("changed its IP from {last} ");
    assert!(!site.lines().iter().any(|line| line.contains(&moved)));
}

/// The name stops to be resolved in this way; the server serves on for its hold, and comes back.
fn lost_and_found(lose: impl FnOnce(&Dns)) {
    let mut site = Site::resolved();
    site.comes_to(Some("127.0.0.2:9000"));
    lose(&site.dns);
    let asked = site.dns.queries().len();
    let again = eventually(BOUND, || site.dns.queries().len() > asked);
    assert!(again, "nobody asked again");
    assert_eq!(site.reaches().as_deref(), Some("127.0.0.2:9000"), "held");
    site.comes_to(None);
    site.dns.host("web.test", &["127.0.0.3"]);
    serve(site.host(), "127.0.0.3", PORT);
    site.said("be/s1 changed its IP from (none) to 127.0.0.3 by dns/ns1.");
    site.comes_to(Some("127.0.0.3:9000"));
}

#[test]
fn a_name_that_is_gone() {
    lost_and_found(|dns| dns.fails("web.test", ResponseCode::NXDomain));
}

#[test]
fn a_name_that_is_refused() {
    lost_and_found(|dns| dns.fails("web.test", ResponseCode::Refused));
}

#[test]
fn a_name_server_with_an_error() {
    lost_and_found(|dns| dns.fails("web.test", ResponseCode::ServFail));
}

#[test]
fn a_name_server_that_is_silent() {
    lost_and_found(|dns| dns.is_silent("web.test"));
}

#[test]
fn a_name_server_that_goes_and_comes() {
    let mut site = Site::resolved();
    serve(site.host(), "127.0.0.3", PORT);
    site.comes_to(Some("127.0.0.2:9000"));
    let Site { daemon, dns, net } = site;
    drop(dns);
    // Nobody answers at its port, and the kernel says so.
    let gone = eventually(BOUND, || {
        let stream = net.proxy.run(connect);
        stream.set_read_timeout(Some(BOUND)).unwrap();
        !matches!((&stream).read(&mut [0]), Ok(1..))
    });
    assert!(gone, "the server outlives its name server and the hold");
    let dns = Dns::start(&net.proxy, nameserver()).unwrap();
    dns.host("web.test", &["127.0.0.3"]);
    site = Site { daemon, dns, net };
    site.said("be/s1 changed its IP from (none) to 127.0.0.3 by dns/ns1.");
    site.comes_to(Some("127.0.0.3:9000"));
}

#[test]
fn an_answer_that_does_not_fit_is_asked_for_by_tcp() {
    if is_haproxy(&binary().unwrap()) {
        return; // It does not ask again.
    }
    let many: Vec<String> = (2..=200).map(|last| format!("127.0.0.{last}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut site = Site::new(
        "server s1 web.test:9000 resolvers dns init-addr none resolve-prefer ipv4",
        |dns| {
            dns.host("web.test", &many);
            dns.cuts();
        },
    );
    site.said("be/s1 changed its IP from (none) to 127.0.0.2 by dns/ns1.");
    let queries = site.dns.queries();
    let kind = RecordType::A;
    let [first, second, ..] = &queries[..] else {
        panic!("{queries:?}");
    };
    assert_eq!((first.kind, first.tcp), (kind, false));
    assert_eq!((second.kind, second.tcp), (kind, true));
}

#[test]
fn a_name_server_may_be_asked_by_tcp_only() {
    let servers = "server s1 web.test:9000 resolvers tcp init-addr none
resolvers tcp
    nameserver ns2 tcp@127.0.0.1:5353
    timeout resolve 200ms";
    let mut site = Site::new(servers, |dns| dns.host("web.test", &["::1"]));
    site.said("be/s1 changed its IP from (none) to ::1 by tcp/ns2.");
    assert!(site.dns.queries().iter().all(|query| query.tcp));
}

#[test]
fn the_first_valid_answer_of_two_name_servers_counts() {
    let servers = "server s1 web.test:9000 resolvers two init-addr none
resolvers two
    nameserver faulty 127.0.0.9:5353
    nameserver good 127.0.0.1:5353
    timeout resolve 200ms
    timeout retry 2s";
    let mut site = Site::new(servers, |dns| dns.host("web.test", &["127.0.0.2"]));
    // It refuses everything; until it is there, its port is closed.
    let faulty = Dns::start(site.host(), SocketAddr::from(([127, 0, 0, 9], 5353))).unwrap();
    faulty.fails("web.test", ResponseCode::Refused);
    site.said("be/s1 changed its IP from (none) to 127.0.0.2 by two/good.");
    site.dns.host("web.test", &["127.0.0.3"]);
    site.said("be/s1 changed its IP from 127.0.0.2 to 127.0.0.3 by two/good.");
    assert!(!faulty.queries().is_empty());
}

#[test]
fn what_a_server_starts_with() {
    let site = Site::new(
        "server s1 localhost:9000 init-addr libc resolve-prefer ipv4",
        |_| {},
    );
    serve(site.host(), "127.0.0.1", PORT);
    serve(site.host(), "::1", PORT);
    let reached = site.reaches().unwrap();
    assert!(
        ["127.0.0.1:9000", "[::1]:9000"].contains(&&*reached),
        "{reached}"
    );
    assert!(site.dns.queries().is_empty(), "no section, no questions");

    let site = Site::new("server s1 web.test:9000 init-addr libc,127.0.0.4", |_| {});
    serve(site.host(), "127.0.0.4", PORT);
    assert_eq!(site.reaches().as_deref(), Some("127.0.0.4:9000"));

    let site = Site::new("server s1 web.test:9000 init-addr none", |_| {});
    assert_eq!(site.reaches(), None, "in maintenance");

    // As by default where there is a section.
    let mut site = Site::new("server s1 web.test:9000 resolvers dns", |dns| {
        dns.host("web.test", &["127.0.0.2"]);
    });
    serve(site.host(), "127.0.0.2", PORT);
    site.said("be/s1 changed its IP from (none) to 127.0.0.2 by dns/ns1.");
    site.comes_to(Some("127.0.0.2:9000"));
}

/// What is logged of names while they change, in order.
fn story(program: PathBuf) -> Vec<String> {
    const LINES: usize = 10;
    let servers = "server s1 web.test:9000 resolvers dns init-addr none
    server s2 web.test:9001 resolvers dns init-addr none
    server s3 web.test:9002 resolvers dns init-addr none resolve-opts allow-dup-ip";
    let mut site = Site::of(program, servers, |dns| dns.host("web.test", &["127.0.0.2"]));
    site.said("Server be/s3 administratively READY thanks to valid DNS answer.");
    let mut known = vec!["127.0.0.3", "127.0.0.2"];
    site.dns.host("web.test", &known);
    site.said("Server be/s2 administratively READY thanks to valid DNS answer.");
    known.push("fd00::1");
    site.dns.host("web.test", &known);
    site.said("be/s3 changed its IP from 127.0.0.2 to fd00::1 by DNS cache.");
    known.push("fd00::2");
    site.dns.host("web.test", &known);
    site.said("be/s2 changed its IP from (none) to fd00::2 by DNS cache.");
    let parts = ["changed its IP", "changed its FQDN", "thanks to valid DNS"];
    let process = site.daemon.process();
    process
        .wait_lines(Output::Stdout, BOUND, "lines about names", |lines| {
            let about = lines
                .iter()
                .filter(|line| parts.iter().any(|part| line.contains(part)));
            let about: Vec<String> = about.cloned().collect();
            (about.len() >= LINES).then_some(about)
        })
        .unwrap()
}

#[test]
fn the_log_is_haproxys() {
    let haproxy = PathBuf::from("/usr/sbin/haproxy");
    assert_eq!(story(binary().unwrap()), story(haproxy));
}

/// A server whose check fails may be elsewhere by now: nobody waits for the next resolution.
#[test]
fn a_failed_check_has_the_name_asked_for() {
    let servers = "server s1 web.test:9000 check inter 100ms fall 1 rise 1 resolvers patient init-addr none resolve-prefer ipv4

resolvers patient
    nameserver ns1 127.0.0.1:5353
    timeout resolve 1h
    hold valid 300ms";
    let mut site = Site::new(servers, |dns| dns.host("web.test", &["127.0.0.2"]));
    serve(site.host(), "127.0.0.3", PORT);
    site.said("be/s1 changed its IP from (none) to 127.0.0.2 by patient/ns1.");
    site.dns.host("web.test", &["127.0.0.3"]);
    site.said("be/s1 changed its IP from 127.0.0.2 to 127.0.0.3 by patient/ns1.");
    site.comes_to(Some("127.0.0.3:9000"));
}
