//! The guard as a configuration asks for it: what rules come to, what the daemon says of it, and when it goes.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use underpass_tests::daemon::{BOUND, binary};
use underpass_tests::netns::{Layout, Netns};
use underpass_tests::process::eventually;
use underpass_tests::rig::{Path, Rig};

const DENIED: &str = "10.0.1.100";

fn run(ns: &Netns, program: &str, words: &[&str]) -> String {
    let out = ns.command(program).args(words).output().expect(program);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{program} {words:?}: {said}");
    text
}

/// How a connection from `source` to `to` begins.
fn attempt(rig: &Rig, source: &str, bound: Duration) -> std::io::Result<Socket> {
    let source: IpAddr = source.parse().unwrap();
    let to = rig.proxy;
    rig.net.client.run(move || {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
        socket.connect_timeout(&to.into(), bound)?;
        Ok(socket)
    })
}

#[test]
fn rules_are_enforced_on_the_interface_and_explained() {
    let rig = Rig::with(Layout::Hosts, Path::Buffer, |config| {
        config
            .global("guard xdp eth0 generic")
            .frontend(format!(
                "tcp-request connection silent-drop if {{ src {DENIED} }}"
            ))
            .frontend("tcp-request connection reject if { src_port lt 1 }");
    });
    let net = &rig.net;
    run(
        &net.client,
        "ip",
        &["addr", "add", "10.0.1.100/24", "dev", "eth0"],
    );
    let guarded = || run(&net.proxy, "ip", &["link", "show", "eth0"]).contains("xdp");
    assert!(guarded(), "no program on the interface");

    // The SYN is never answered. A daemon that drops in silence has answered it before.
    let error = attempt(&rig, DENIED, Duration::from_millis(700)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{error}");
    let socket = attempt(&rig, "10.0.1.1", BOUND).unwrap();
    drop((rig.accept(), socket));

    let program = binary().unwrap();
    let why = run(&net.proxy, program.to_str().unwrap(), &["why", DENIED]);
    let line = why.lines().find(|line| line.starts_with(DENIED));
    let line = line.unwrap_or_else(|| panic!("{why}"));
    assert!(line.contains("dropped at "), "{line}");
    assert!(line.contains("its network is denied, by "), "{line}");
    assert!(line.contains(".cfg:"), "{line}");

    // It goes when the daemon drains, so that a successor finds the interface free.
    rig.daemon.signal(libc::SIGUSR1).unwrap();
    assert!(eventually(BOUND, || !guarded()), "the program stayed");
}

#[test]
fn the_check_says_where_each_rule_is_enforced() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("g.cfg");
    let text = "global\n    guard xdp eth0\nlisten p\n    mode tcp\n    bind 127.0.0.1:8000\n    timeout client 1s\n    \
                timeout server 1s\n    timeout connect 1s\n    tcp-request connection reject if { src 192.0.2.0/24 }\n    \
                tcp-request connection reject if { fe_conn gt 5 }\n    server s 127.0.0.1:8001\n";
    std::fs::write(&file, text).unwrap();
    let out = std::process::Command::new(binary().unwrap())
        .args(["-c", "-f"])
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{said}");
    let about = |line: u32| {
        let place = format!("g.cfg:{line}]");
        said.lines()
            .find(|text| text.contains(&place))
            .unwrap_or_else(|| panic!("nothing about line {line}: {said}"))
            .to_owned()
    };
    assert!(about(9).contains("the guard enforces this rule"), "{said}");
    let other = about(10);
    assert!(
        other.contains("cannot enforce") && other.contains("more than the source"),
        "{said}"
    );
}
