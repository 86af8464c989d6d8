//! TLS on `bind` lines, and what `global` presets for them.

use std::path::PathBuf;
use std::sync::Arc;

use super::super::model::tls::{BindTls, CertificateSource, ClientVerify, TlsVersion};
use super::*;

/// A frontend with one `bind` line after lines of `global`.
fn text(global: &str, parameters: &str) -> String {
    format!(
        "global\n{global}frontend f\n mode health\n timeout client 1s\n bind :443 {parameters}\n"
    )
}

fn bind(global: &str, parameters: &str) -> Option<Arc<BindTls>> {
    let mut config = valid(&text(global, parameters));
    config.frontends.remove(0).binds.remove(0).tls
}

fn tls(global: &str, parameters: &str) -> Arc<BindTls> {
    bind(global, parameters).expect("'ssl' is on the line")
}

fn paths(tls: &BindTls) -> Vec<String> {
    let path = |source: &CertificateSource| match source {
        CertificateSource::Path(path, at) => format!("{} {}", path.display(), at.column),
        CertificateSource::List(path, at) => format!("list {} {}", path.display(), at.column),
    };
    tls.certificates.iter().map(path).collect()
}

#[test]
fn everything_at_once() {
    let tls = tls(
        "",
        "ssl crt /a.pem crt b crt-list l.txt ca-file ca.pem verify required alpn h2,http/1.1 strict-sni no-tls-tickets tls-ticket-keys keys ciphers ECDHE+CHACHA20 ciphersuites TLS_AES_128_GCM_SHA256 curves P-384:X25519 ecdhe P-256 prefer-client-ciphers ssl-min-ver TLSv1.3",
    );
    assert_eq!(paths(&tls), ["/a.pem 20", "b 31", "list l.txt 42"]);
    assert_eq!(tls.ca_file, Some(PathBuf::from("ca.pem")));
    assert_eq!(tls.verify, ClientVerify::Required);
    assert!(tls.strict_sni && tls.prefer_client_ciphers && !tls.tickets);
    assert_eq!(tls.ticket_keys, Some(PathBuf::from("keys")));
    let parameters = &tls.parameters;
    assert_eq!(parameters.alpn, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    assert_eq!(
        parameters.ciphers,
        [
            "ECDHE-ECDSA-CHACHA20-POLY1305",
            "ECDHE-RSA-CHACHA20-POLY1305"
        ]
    );
    assert_eq!(parameters.ciphersuites, ["TLS_AES_128_GCM_SHA256"]);
    assert_eq!(parameters.curves, ["P-384", "X25519"]);
    assert_eq!(
        (parameters.min, parameters.max),
        (Some(TlsVersion::V1_3), None)
    );
}

#[test]
fn silence_leaves_the_choice_to_the_library() {
    let tls = tls("", "ssl crt /a.pem");
    assert_eq!(tls.verify, ClientVerify::None);
    assert!(tls.tickets && !tls.strict_sni && !tls.prefer_client_ciphers);
    assert_eq!(tls.parameters, Default::default());
    assert_eq!(bind("", "").map(|_| ()), None);
}

#[test]
fn relative_paths_go_under_the_bases_that_were_said_before() {
    let global = " crt-base /c\n ca-base /d\n";
    let with = tls(
        global,
        "ssl crt a.pem crt /b.pem crt-list l.txt ca-file ca.pem verify optional tls-ticket-keys keys",
    );
    // Neither the list nor the keys are certificates: HAProxy leaves their paths alone.
    assert_eq!(paths(&with), ["/c/a.pem 20", "/b.pem 30", "list l.txt 46"]);
    assert_eq!(with.ca_file, Some(PathBuf::from("/d/ca.pem")));
    assert_eq!(with.ticket_keys, Some(PathBuf::from("keys")));
    assert_eq!(with.crt_base, Some(PathBuf::from("/c")));
    assert_eq!(with.ca_base, Some(PathBuf::from("/d")));

    let after = format!("{}global\n{global}", text("", "ssl crt a.pem"));
    let tls = valid(&after).frontends[0].binds[0].tls.clone().unwrap();
    assert_eq!(paths(&tls), ["a.pem 20"]);
}

#[test]
fn global_presets() {
    let global = " ssl-default-bind-options no-tlsv12 no-tls-tickets\n ssl-default-bind-options prefer-client-ciphers\n ssl-default-bind-ciphers AES128\n ssl-default-bind-ciphersuites TLS_AES_256_GCM_SHA384\n ssl-default-bind-curves P-384\n tune.ssl.cachesize 7\n";
    let silent = tls(global, "ssl crt /a.pem ecdhe P-256");
    assert!(!silent.tickets && silent.prefer_client_ciphers);
    let parameters = &silent.parameters;
    assert_eq!(
        (parameters.min, parameters.max),
        (Some(TlsVersion::V1_3), None)
    );
    assert_eq!(parameters.ciphers.len(), 2);
    assert_eq!(parameters.ciphersuites, ["TLS_AES_256_GCM_SHA384"]);
    assert_eq!(parameters.curves, ["P-384"]);
    assert_eq!(valid(&text(global, "")).global.tls_session_cache, 7);

    let own = tls(
        global,
        "ssl crt /a.pem ssl-min-ver TLSv1.2 ssl-max-ver TLSv1.2 ciphers AES256 curves X25519",
    );
    assert_eq!(own.parameters.max, Some(TlsVersion::V1_2));
    assert!(
        own.parameters
            .ciphers
            .iter()
            .all(|name| name.contains("AES256"))
    );
    assert_eq!(own.parameters.curves, ["X25519"]);
    assert_eq!(
        tls("", "ssl crt /a.pem ecdhe P-256").parameters.curves,
        ["P-256"]
    );
}

#[test]
fn a_range_of_addresses_shares_its_settings() {
    let config = valid("frontend f\n mode health\n bind :1-3 ssl crt /a.pem\n");
    let [a, b, c] = &config.frontends[0].binds[..] else {
        panic!("{config:?}");
    };
    let same = |other: &Bind| Arc::ptr_eq(a.tls.as_ref().unwrap(), other.tls.as_ref().unwrap());
    assert!(same(b) && same(c));
}

/// What is said of `parameters`, of that severity, without its line.
fn said(parameters: &str, severity: Severity) -> Vec<String> {
    remarks(&text("", parameters), severity)
        .into_iter()
        .map(|found| found.strip_prefix("5:").unwrap_or(&found).to_owned())
        .collect()
}

#[test]
fn mistakes() {
    let table = [
        (
            "ssl",
            "7 'bind :443' : no SSL certificate specified (use 'crt').",
        ),
        ("ssl crt", "16 'crt' : missing value"),
        (
            "ssl crt /a verify some",
            "30 'verify' : unknown verify method 'some'",
        ),
        (
            "ssl crt /a verify required",
            "7 'bind :443' : verify is enabled but no CA file specified.",
        ),
        (
            "ssl crt /a alpn h2,,x",
            "28 'alpn' : an empty protocol name",
        ),
        (
            "ssl crt /a ssl-min-ver TLSv1.4",
            "35 'ssl-min-ver' : unknown ssl/tls version 'TLSv1.4'",
        ),
        (
            "ssl crt /a ssl-max-ver TLSv1.1",
            "7 'bind :443' : the highest version asked for is TLSv1.1, but TLS 1.2 is the lowest",
        ),
        (
            "ssl crt /a no-tlsv12 no-tlsv13",
            "7 'bind :443' : all SSL/TLS versions are disabled.",
        ),
        (
            "ssl crt /a ciphers AES128-SHA",
            "31 'ciphers' : nothing of 'AES128-SHA' is available",
        ),
        (
            "ssl crt /a ciphersuites FOO",
            "36 'ciphersuites' : nothing of 'FOO' is available",
        ),
        ("ssl crt /a curves FOO", "30 'curves' : unknown curve 'FOO'"),
        (
            "ssl crt /a ca-file @system-ca verify required",
            "31 'ca-file' : '@system-ca' is not available on 'bind' lines",
        ),
    ];
    for (parameters, expected) in table {
        let found = said(parameters, Severity::Alert);
        let hit = found
            .first()
            .is_some_and(|found| found.starts_with(expected));
        assert!(hit, "{parameters}\n{found:?}\n{expected}");
    }
}

#[test]
fn what_has_no_effect_is_said() {
    let table = [
        ("crt /a", "12 'crt' has no effect without 'ssl'."),
        (
            "ssl strict-sni",
            "7 'bind :443' : no SSL certificate specified (use 'crt'); with 'strict-sni' every handshake fails.",
        ),
        (
            "ssl crt /a ca-file /b",
            "23 'ca-file' has no effect without 'verify optional'",
        ),
        (
            "ssl crt /a ca-verify-file /b",
            "23 'ca-verify-file' has no effect without 'verify optional'",
        ),
        (
            "ssl crt /a ca-file /b ca-verify-file /c verify required",
            "23 'ca-file' has no effect in this version",
        ),
        (
            "ssl crt /a ssl-min-ver TLSv1.0",
            "7 'bind :443' : TLSv1.0 is asked for, but TLS 1.2 is the lowest",
        ),
        (
            "ssl crt /a ciphers ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES128-GCM-SHA256:AES128-SHA",
            "31 'ciphers' : not available in this version and left out: DHE-RSA-AES128-GCM-SHA256, AES128-SHA.",
        ),
        (
            "ssl crt /a curves X25519:P-521",
            "30 'curves' : not available in this version and left out: P-521.",
        ),
    ];
    for (parameters, expected) in table {
        assert_eq!(said(parameters, Severity::Alert).len(), 0, "{parameters}");
        let found = said(parameters, Severity::Warning);
        let hit = found.len() == 1 && found[0].starts_with(expected);
        assert!(hit, "{parameters}\n{found:?}\n{expected}");
    }
    for parameters in [
        "ssl crt /a no-sslv3 no-tlsv10 no-tlsv11 ssl-min-ver TLSv1.2",
        "ssl crt-list /l ca-file /b",
        "ssl crt /a ca-verify-file /b verify optional",
        "ssl crt /a ciphers ECDHE+AESGCM:!aNULL:!MD5",
    ] {
        assert_eq!(said(parameters, Severity::Warning).len(), 0, "{parameters}");
    }
}

#[test]
fn words_of_global() {
    let wrong = [
        ("crt-base", "2:2 'crt-base' expects a directory path"),
        (
            "crt-base /a\n crt-base /b",
            "3:2 'crt-base' already specified.",
        ),
        (
            "ssl-server-verify some",
            "2:20 'ssl-server-verify' expects 'none' or 'required'",
        ),
        (
            "ssl-default-bind-options",
            "2:2 'ssl-default-bind-options' expects an option",
        ),
        (
            "ssl-default-bind-options no-tslv10",
            "2:27 unknown keyword 'no-tslv10' among 'ssl-default-bind-options'; did you mean 'no-tlsv10' maybe ?",
        ),
        (
            "ssl-default-server-options prefer-client-ciphers",
            "2:29 unknown keyword 'prefer-client-ciphers'",
        ),
        (
            "ssl-default-bind-ciphers FOO",
            "2:27 'ssl-default-bind-ciphers' : nothing of 'FOO'",
        ),
        (
            "tune.ssl.cachesize -1",
            "2:21 'tune.ssl.cachesize' expects an integer",
        ),
        (
            "tune.ssl.default-dh-param 512",
            "2:28 'tune.ssl.default-dh-param' expects an integer",
        ),
        (
            "tune.ssl.lifetime 5x",
            "2:20 'tune.ssl.lifetime' has an unknown time unit",
        ),
    ];
    for (line, expected) in wrong {
        let found = remarks(&within("global", line), Severity::Alert);
        assert_eq!(found.len(), 1, "{line} {found:?}");
        assert!(found[0].starts_with(expected), "{found:?} {expected}");
    }
    for line in [
        "tune.ssl.lifetime 300",
        "tune.ssl.maxrecord 1400",
        "tune.ssl.default-dh-param 2048",
        "ssl-dh-param-file /x",
        "ssl-default-server-options no-tls-tickets",
    ] {
        let found = remarks(&within("global", line), Severity::Warning);
        assert_eq!(found.len(), 1, "{line} {found:?}");
        assert!(found[0].contains("no effect in this version"), "{found:?}");
        assert!(remarks(&within("global", line), Severity::Alert).is_empty());
    }
}
