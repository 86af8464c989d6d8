//! `log` lines, formats, and what is logged of streams.

use super::*;
use crate::config::model::{LogFraming, LogSample};

#[test]
fn addresses_of_targets() {
    let table = [
        ("192.0.2.1", "udp@192.0.2.1:514"),
        ("udp6@::1:5140", "udp@[::1]:5140"),
        ("/dev/log", "uxdg@/dev/log"),
        ("uxdg@/x", "uxdg@/x"),
        ("abns@x", "abns@x"),
        ("tcp@192.0.2.1", "tcp@192.0.2.1:514"),
        ("tcp4@192.0.2.1:99", "tcp@192.0.2.1:99"),
        ("uxst@/x", "uxst@/x"),
        ("stdout", "stdout"),
        ("fd@5", "fd@5"),
    ];
    for (text, expected) in table {
        let (front, _) = proxy(&format!("log {text} local0"));
        assert_eq!(front.log.targets[0].address.to_string(), expected, "{text}");
    }
}

#[test]
fn what_a_target_gets() {
    let config = valid(
        "global\n log stderr local0\n log-send-hostname here\nlisten a\n log global\n log tcp@192.0.2.1 format priority sample 3-4,1:5 log-proto octet-count local0\n log-tag t\nlisten b\n log global\n",
    );
    assert_eq!(config.global.log_send_hostname.as_deref(), Some("here"));
    let [a, b] = &config.frontends[..] else {
        panic!("{:?}", config.frontends);
    };
    assert_eq!(a.log.targets[0].id, b.log.targets[0].id);
    assert_ne!(a.log.targets[0].id, a.log.targets[1].id);
    assert_eq!(a.log.targets[0].tag.as_deref(), Some("t"));
    assert_eq!(b.log.targets[0].tag, None);
    let target = &a.log.targets[1];
    assert_eq!(target.format, Some(LogFormat::Priority));
    let sample = LogSample {
        ranges: vec![1..=1, 3..=4],
        size: 5,
    };
    assert_eq!(target.sample.as_deref(), Some(&sample));
    let address = "192.0.2.1:514".parse().unwrap();
    let octets = LogFraming::OctetCount;
    assert_eq!(target.address, LogAddress::Tcp(address, octets));
}

#[test]
fn what_is_wrong_with_a_target_is_named() {
    let table = [
        ("log ring@x local0", "'ring@' is known to HAProxy"),
        (
            "log 192.0.2.1 format isso local0",
            "'isso'; did you mean 'iso' maybe ?",
        ),
        (
            "log 192.0.2.1 locl0",
            "'locl0'; did you mean 'local0' maybe ?",
        ),
        (
            "log 192.0.2.1 local0 warn",
            "unknown optional log level 'warn'",
        ),
        (
            "log 192.0.2.1 log-proto legacy local0",
            "'log-proto' is for 'tcp@'",
        ),
        ("log tcp@192.0.2.1 log-proto x local0", "(got 'x')"),
        (
            "log 192.0.2.1 sample 1 local0",
            "missing sample size in '1'",
        ),
        ("log 192.0.2.1 sample 0:2 local0", "wrong sample range '0'"),
        (
            "log 192.0.2.1 sample 3-1:4 local0",
            "wrong sample range '3-1'",
        ),
        (
            "log 192.0.2.1 sample 1,1-2:4 local0",
            "overlap at 1 in '1,1-2'",
        ),
        ("log 192.0.2.1 sample 1:x local0", "wrong sample size 'x'"),
        ("log 192.0.2.1 sample 1-3:2 local0", "sample size 2"),
    ];
    for (text, expected) in table {
        let found = remarks(&within("listen", text), Severity::Alert);
        assert!(
            found
                .iter()
                .any(|found| found.starts_with("2:") && found.contains(expected)),
            "{text}: {found:?}"
        );
    }
}

/// Whether a stream gets a line, whether it is one of its own, and whether it is early.
fn line(text: &str) -> (bool, bool, bool) {
    let config = valid(text);
    let log = &config.frontends[0].log;
    let own = log
        .formats
        .as_ref()
        .is_some_and(|formats| formats.stream.is_some());
    (log.tcplog, own, log.is_early())
}

#[test]
fn the_last_format_counts() {
    let table = [
        ("", (false, false, false)),
        ("option tcplog", (true, false, false)),
        ("option logasap", (false, false, false)),
        ("option tcplog\n option logasap", (true, false, true)),
        ("log-format %B", (true, true, false)),
        ("log-format %ci", (true, true, true)),
        ("option tcplog\n log-format %B", (true, true, false)),
        ("log-format %ci\n option tcplog", (true, false, false)),
        ("error-log-format %ci", (false, false, false)),
    ];
    for (text, expected) in table {
        assert_eq!(line(&within("frontend", text)), expected, "{text}");
    }
    let inherited =
        |defaults: &str, own: &str| line(&format!("defaults\n {defaults}\nfrontend f\n {own}\n"));
    assert_eq!(inherited("log-format %B", ""), (true, true, false));
    assert_eq!(
        inherited("log-format %B", "option tcplog"),
        (true, false, false)
    );
    assert_eq!(
        inherited("option tcplog", "log-format %ci"),
        (true, true, true)
    );
}

#[test]
fn formats_are_read_for_frontends() {
    let config = valid(
        "listen a\n log-format %B\n error-log-format %[src]\n log-format-sd [a@1\\ b=%[dst]]\n unique-id-format %pid-%fi\n option log-separate-errors\n option log-health-checks\n",
    );
    let log = &config.frontends[0].log;
    let formats = log.formats.as_ref().unwrap();
    assert!(formats.error.is_some() && formats.structured.is_some());
    assert!(formats.unique_id.is_some());
    assert_eq!(formats.expressions.len(), 2);
    assert!(log.separate_errors && config.backends[0].health.log);

    let warnings = remarks("backend b\n log-format %B\n", Severity::Warning);
    assert!(
        warnings[0].contains("'log-format' directive is ignored in backends"),
        "{warnings:?}"
    );
    for (text, expected) in [
        ("log-format", "2:2 'log-format' expects a format"),
        (
            "log-format a b",
            "2:15 'log-format' expects only one argument",
        ),
        (
            "log-format %nosuch",
            "2:13 'log-format' : unknown variable '%nosuch'",
        ),
        (
            "error-log-format %r",
            "2:19 'error-log-format' : '%r' only makes sense for HTTP",
        ),
    ] {
        let found = remarks(&within("frontend", text), Severity::Alert);
        assert!(
            found.iter().any(|found| found.starts_with(expected)),
            "{text}: {found:?}"
        );
    }
}
