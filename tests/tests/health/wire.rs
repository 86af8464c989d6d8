//! What checks send, and servers that are not stand-ins.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use underpass_tests::certs::{Certs, Leaf};
use underpass_tests::daemon::{self, BOUND, Launch};
use underpass_tests::netns::Topology;
use underpass_tests::openssl;
use underpass_tests::process::{Process, eventually};
use underpass_tests::stand_in::{StandIn, say};

use super::{config, programs, wait};

/// What checks send: as haproxy's, byte for byte, where it is not chance or a name.
#[test]
fn what_is_sent() {
    let cases = [
        ("redis", "option redis-check", ""),
        ("smtp", "option smtpchk EHLO me.example", ""),
        ("mysql", "option mysql-check user joe", ""),
        ("mysql-old", "option mysql-check user joe pre-41", ""),
        ("pgsql", "option pgsql-check user joe", ""),
        ("ldap", "option ldap-check", ""),
        (
            "v2",
            "option tcp-check\n    tcp-check expect string x",
            "send-proxy-v2",
        ),
        (
            "v2-check",
            "option tcp-check\n    tcp-check expect string x",
            "check-send-proxy send-proxy-v2 port 9007",
        ),
        (
            "none",
            "option tcp-check\n    tcp-check send hello\n    tcp-check expect string x",
            "send-proxy port 9008",
        ),
        (
            "agent",
            "",
            "agent-check agent-port 9009 agent-send \"how are you\\n\" agent-inter 500ms no-check",
        ),
    ];
    let mut sections = String::new();
    for (at, (name, lines, words)) in cases.iter().enumerate() {
        let port = 9000 + at;
        let _ = writeln!(
            sections,
            "backend {name}\n    {lines}\n    server s 127.0.0.1:{port} check inter 500ms {words}"
        );
    }
    let [theirs, ours] = programs().map(|program| {
        let net = Topology::loopback().expect("a host");
        let servers: Vec<StandIn> = net.server.run(|| {
            let start = |at: usize| {
                let port = 9000 + u16::try_from(at).expect("few");
                // One that talks first gets further.
                let script = if cases[at].0 == "smtp" {
                    vec![say("220 hi\r\n")]
                } else {
                    vec![]
                };
                StandIn::start(port, script).expect("a server")
            };
            (0..cases.len()).map(start).collect()
        });
        let _daemon = Launch::program(&program, config(&program, &sections))
            .start(&net.proxy)
            .expect("a daemon");
        // A second connection: the first one is over.
        let done = eventually(BOUND, || servers.iter().all(|server| server.served() > 1));
        assert!(done, "{}: a server is not checked", program.display());
        servers
            .iter()
            .map(|server| server.heard()[0].clone())
            .collect::<Vec<_>>()
    });
    for (at, (name, ..)) in cases.iter().enumerate() {
        assert_eq!(theirs[at], ours[at], "{name}: haproxy's first");
    }
}

/// A redis of Debian's, from its start to its end.
#[test]
fn a_real_redis() {
    let net = Topology::loopback().expect("a host");
    let sections = "backend b
    option redis-check
    server s 127.0.0.1:9000 check inter 100ms rise 1 fall 1
";
    let program = daemon::binary().expect("the binary under test");
    let mut daemon = Launch::program(&program, config(&program, sections))
        .start(&net.proxy)
        .expect("a daemon");
    wait(&mut daemon, "server that is down", |lines| {
        lines
            .iter()
            .any(|line| line.contains("b/s is DOWN, reason: Layer4"))
            .then_some(())
    });
    let mut command = net.server.command("redis-server");
    command.args(["--port", "9000", "--save", "", "--appendonly", "no"]);
    let redis = Process::spawn(&mut command).expect("redis-server");
    wait(&mut daemon, "server that is up", |lines| {
        let up = "b/s is UP, reason: Layer7 check passed, code: 0, info: \"Redis server is ok\"";
        lines.iter().any(|line| line.contains(up)).then_some(())
    });
    drop(redis);
    wait(&mut daemon, "server that is down again", |lines| {
        let down = lines.iter().filter(|line| line.contains("b/s is DOWN"));
        (down.count() == 2).then_some(())
    });
}

/// TLS checks of an OpenSSL server: with its authority, with another one, and with its own words for names.
#[test]
fn a_real_tls_server() {
    let net = Topology::loopback().expect("a host");
    let certs = Certs::new();
    certs.issue("server", &Leaf::new("server.example"));
    let strange = Certs::new();
    let pem = certs.dir().join("server.pem");
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 9000));
    let pem = pem.to_str().expect("a plain path");
    let server = openssl::Server::start(&net.server, at, ["-cert", pem, "-key", pem, "-www"]);
    let _server = server.expect("s_server");
    let section = |name: &str, words: String| {
        format!(
            "backend {name}\n    server s 127.0.0.1:9000 check inter 1s rise 1 fall 1 {words}\n"
        )
    };
    let (good, bad) = (certs.dir().display(), strange.dir().display());
    let sections = [
        "defaults\n    mode tcp\n    log global\n    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n    option log-health-checks\n".to_owned(),
        section(
            "trusted",
            format!("check-ssl check-sni server.example ca-file {good}/ca.pem"),
        ),
        section(
            "stranger",
            format!("check-ssl check-sni server.example ca-file {bad}/ca.pem"),
        ),
        section(
            "streams",
            "ssl verify none check-alpn h2,http/1.1".to_owned(),
        ),
        section("other-port", "ssl verify none port 9000".to_owned()),
        "backend script\n    option tcp-check\n    tcp-check connect ssl sni server.example\n    \
         server s 127.0.0.1:9000 check inter 1s verify none\n"
            .to_owned(),
    ]
    .concat();
    let names = ["trusted", "stranger", "streams", "other-port", "script"];
    let [theirs, ours] = programs().map(|program| {
        let mut daemon = Launch::program(&program, config(&program, &sections))
            .start(&net.proxy)
            .expect("a daemon");
        wait(&mut daemon, "line for every check", |lines| {
            let first = names.map(|name| {
                let about = format!("check for server {name}/s ");
                lines.iter().find(|line| line.contains(&about)).cloned()
            });
            first.iter().all(Option::is_some).then_some(first)
        })
    });
    assert_eq!(theirs, ours, "haproxy's lines first");
    assert!(
        ours.iter()
            .flatten()
            .next()
            .is_some_and(|line| line.contains("Layer6 check passed"))
    );
}
