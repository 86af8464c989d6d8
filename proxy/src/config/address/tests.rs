//! The forms that addresses take.

use super::*;

/// A resolver that knows one host.
struct One;

impl Lookups for One {
    fn host(&self, name: &str) -> Vec<IpAddr> {
        if name == "web" {
            vec!["fd00::1".parse().unwrap(), "192.0.2.1".parse().unwrap()]
        } else {
            Vec::new()
        }
    }

    fn user(&self, _: &str) -> Option<u32> {
        None
    }

    fn group(&self, _: &str) -> Option<u32> {
        None
    }
}

fn inet(ip: &str, port: Port) -> Address {
    let ip = ip.parse().unwrap();
    Address::Inet { ip, port }
}

#[test]
fn streams() {
    use Port::{Absent, Offset, One as Single, Range};
    let table = [
        (":80", inet("0.0.0.0", Single(80))),
        ("*:80", inet("0.0.0.0", Single(80))),
        ("192.0.2.1", inet("192.0.2.1", Absent)),
        ("192.0.2.1:", inet("192.0.2.1", Absent)),
        ("192.0.2.1:+8", inet("192.0.2.1", Offset(8))),
        ("192.0.2.1:-8", inet("192.0.2.1", Offset(-8))),
        (":80-90", inet("0.0.0.0", Range(80, 90))),
        (":::80", inet("::", Single(80))),
        ("::1:80", inet("::1", Single(80))),
        ("[::1]:80", inet("::1", Single(80))),
        ("[::1]", inet("::1", Absent)),
        ("2001:db8::1:8080", inet("2001:db8::1", Single(8080))),
        ("::ffff:192.0.2.1:80", inet("::ffff:192.0.2.1", Single(80))),
        ("ipv4@:80", inet("0.0.0.0", Single(80))),
        ("ipv6@:80", inet("::", Single(80))),
        ("ipv6@::1:80", inet("::1", Single(80))),
        ("ip@192.0.2.1:80", inet("192.0.2.1", Single(80))),
        ("tcp6@[::1]:80", inet("::1", Single(80))),
        ("stream+ipv4@*:80", inet("0.0.0.0", Single(80))),
        ("web:80", inet("fd00::1", Single(80))),
        ("ipv4@web:80", inet("192.0.2.1", Single(80))),
        ("/run/x", Address::Unix("/run/x".into())),
        ("/run/a@b:1", Address::Unix("/run/a@b:1".into())),
        ("unix@x", Address::Unix("x".into())),
        ("uxst@/x", Address::Unix("/x".into())),
        ("abns@x", Address::Abstract(b"x".to_vec())),
        ("fd@3", Address::Fd(3)),
    ];
    for (text, expected) in table {
        assert_eq!(stream(text, &One), Ok(expected), "{text}");
    }
}

#[test]
fn mistakes_name_the_text() {
    let long = format!("unix@/{}", "x".repeat(200));
    let table = [
        ("::1", "invalid address"),
        ("::80", "invalid address"),
        ("300.1.1.1:80", "could not resolve"),
        ("nosuch:80", "could not resolve"),
        ("ipv4@::1:80", "invalid address"),
        ("ipv6@192.0.2.1:80", "invalid address"),
        (":70000", "invalid port '70000'"),
        (":80x", "invalid character 'x'"),
        (":90-80", "invalid port range"),
        (":80-", "invalid port"),
        ("[::1:80", "missing ']'"),
        ("[::1]80", "unexpected '80'"),
        ("fd@", "not a valid integer"),
        ("fd@-1", "not a valid integer"),
        ("unix@", "missing path"),
        ("abns@", "abstract"),
        ("udp@:80", "dgram-type"),
        ("dgram+ip@:80", "dgram-type"),
        ("quic4@:80", "QUIC"),
        ("sockpair@3", "sockpair"),
        ("rtcp@a/b", "rtcp"),
        ("foo@1.2.3.4:80", "unknown address family 'foo@'"),
        (&long, "too long"),
        ("", "environment variable missing"),
    ];
    for (text, expected) in table {
        let why = stream(text, &One).expect_err(text);
        assert!(why.contains(expected), "{text}: {why}");
    }
}

#[test]
fn datagrams_and_single_sockets() {
    let is_stream = |text| log(text, &One).unwrap().1;
    assert!(!is_stream("udp@192.0.2.1:514"));
    assert!(!is_stream("192.0.2.1"));
    assert!(is_stream("tcp@192.0.2.1:514"));
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    assert_eq!(socket("192.0.2.1", &One), Ok(address("192.0.2.1:0")));
    assert_eq!(socket("[::1]:9", &One), Ok(address("[::1]:9")));
    for text in ["192.0.2.1:1-2", "192.0.2.1:+1", "/x", "nosuch"] {
        assert!(socket(text, &One).is_err(), "{text}");
    }
}
