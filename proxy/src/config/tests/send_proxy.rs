//! PROXY headers: `accept-proxy`, `send-proxy` and its kin.

use super::super::model::tls::{ProxyOptions, ProxyVersion, SendProxy};
use super::*;

fn header(lines: &str, parameters: &str) -> Option<SendProxy> {
    let text = format!("backend b\n{lines} server s 192.0.2.1:80 {parameters}\n");
    valid(&text).backends[0].servers[0].send_proxy
}

#[test]
fn which_header_is_sent() {
    let v1 = Some(SendProxy {
        version: ProxyVersion::V1,
        options: ProxyOptions::empty(),
    });
    let v2 = |options| {
        Some(SendProxy {
            version: ProxyVersion::V2,
            options,
        })
    };
    let ssl = ProxyOptions::SSL;
    let cn = ssl | ProxyOptions::CERT_CN;
    // What HAProxy 2.6 sends with each.
    let table = [
        ("", None),
        ("send-proxy", v1),
        ("send-proxy-v2", v2(ProxyOptions::empty())),
        ("send-proxy send-proxy-v2", v2(ProxyOptions::empty())),
        ("send-proxy-v2-ssl", v2(ssl)),
        ("send-proxy-v2-ssl-cn", v2(cn)),
        ("send-proxy-v2 proxy-v2-options cert-cn", v2(cn)),
        (
            "send-proxy-v2 proxy-v2-options crc32c,authority proxy-v2-options ssl-cipher",
            v2(ssl | ProxyOptions::CRC32C | ProxyOptions::AUTHORITY | ProxyOptions::SSL_CIPHER),
        ),
        (
            "send-proxy-v2 proxy-v2-options unique-id",
            v2(ProxyOptions::UNIQUE_ID),
        ),
        ("send-proxy no-send-proxy", None),
        ("send-proxy-v2-ssl-cn no-send-proxy-v2-ssl-cn", None),
        ("send-proxy send-proxy-v2-ssl no-send-proxy-v2-ssl", v1),
        ("send-proxy-v2-ssl no-send-proxy-v2", v1),
        ("proxy-v2-options ssl", v1),
    ];
    for (parameters, expected) in table {
        assert_eq!(header("", parameters), expected, "{parameters}");
    }
    let preset = " default-server send-proxy-v2\n";
    assert_eq!(header(preset, ""), v2(ProxyOptions::empty()));
    assert_eq!(header(preset, "no-send-proxy-v2"), None);
}

#[test]
fn options_are_checked() {
    let remarks = |parameters: &str, severity| {
        let text = format!("backend b\n server s 192.0.2.1:80 {parameters}\n");
        remarks(&text, severity)
    };
    for (parameters, expected) in [
        (
            "proxy-v2-options foo",
            "2:41 'proxy-v2-options' : unknown option 'foo'",
        ),
        (
            "proxy-v2-options ssl,,authority",
            "2:41 'proxy-v2-options' : unknown option ''",
        ),
    ] {
        let found = remarks(parameters, Severity::Alert);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(expected), "{found:?}");
    }
    let warned = |parameters: &str, what: &str| {
        let found = remarks(parameters, Severity::Warning);
        found.iter().any(|found| found.contains(what))
    };
    let v1 = "a version 1 header is sent";
    assert!(warned("proxy-v2-options ssl", v1));
    assert!(!warned("send-proxy-v2 proxy-v2-options ssl", v1));
    // It is sent, so there is nothing to say about it.
    let unique = "send-proxy-v2 proxy-v2-options unique-id";
    assert!(!warned(unique, "unique-id"));
}

#[test]
fn accepting_headers_from_anywhere_is_warned_about() {
    let warnings = |bind: &str| {
        let text = format!("frontend f\n mode health\n bind {bind} accept-proxy\n");
        assert!(valid(&text).frontends[0].binds[0].accept_proxy);
        remarks(&text, Severity::Warning)
    };
    for bind in [":80", ":80-90,:99", "192.0.2.1:80", "[::]:80", "fd@3"] {
        let found = warnings(bind);
        assert_eq!(found.len(), 1, "{bind} {found:?}");
        assert!(found[0].starts_with("3:7 ") && found[0].contains("from anywhere"));
    }
    for bind in ["127.0.0.1:80", "[::1]:80", "unix@/x", "abns@x"] {
        assert_eq!(warnings(bind).len(), 0, "{bind}");
    }
}
