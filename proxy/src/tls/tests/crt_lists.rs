//! The lines of `crt-list` files, good and bad.

use std::path::{Path, PathBuf};

use super::super::crt_list::{Entry, Options, parse};
use crate::config::model::tls::{ClientVerify, TlsParameters, TlsVersion};

/// The only entry of a line.
fn entry(line: &str) -> Entry {
    let mut entries = parse(line).unwrap_or_else(|errors| panic!("{line}: {errors:?}"));
    assert_eq!(entries.len(), 1, "{line}");
    entries.remove(0)
}

#[test]
fn lines_with_names() {
    let table: [(&str, &str, &[&str]); 16] = [
        ("a.pem", "a.pem", &[]),
        ("  a.pem\t", "a.pem", &[]),
        ("a.pem one two", "a.pem", &["one", "two"]),
        ("a.pem *.one !two.one", "a.pem", &["*.one", "!two.one"]),
        ("a.pem !*", "a.pem", &["!*"]),
        ("a.pem []", "a.pem", &[]),
        ("a.pem [] one", "a.pem", &["one"]),
        ("a.pem[]one", "a.pem", &["one"]),
        ("a.pem [no-ca-names]one two", "a.pem", &["one", "two"]),
        ("'my files/a.pem' one", "my files/a.pem", &["one"]),
        ("\"my files/a.pem\"", "my files/a.pem", &[]),
        (r"my\ files/a.pem", "my files/a.pem", &[]),
        (r"a\[1\].pem", "a[1].pem", &[]),
        (r#""a \" b.pem""#, "a \" b.pem", &[]),
        (r"'a\b.pem'", r"a\b.pem", &[]),
        ("a.pem #one", "a.pem", &["#one"]),
    ];
    for (line, certificate, filters) in table {
        let entry = entry(line);
        assert_eq!(entry.certificate, Path::new(certificate), "{line}");
        assert_eq!(entry.filters, filters, "{line}");
    }
}

#[test]
fn lines_with_options() {
    let silent = Options::default;
    let words = |words: &[&str]| Some(words.iter().map(|&word| word.to_owned()).collect());
    let remarked = |remark: &str| Options {
        remarks: vec![remark.to_owned()],
        ..silent()
    };
    let table = [
        (
            "alpn h2",
            Options {
                alpn: Some(vec![b"h2".to_vec()]),
                ..silent()
            },
        ),
        (
            "alpn h2,http/1.1 verify none",
            Options {
                alpn: Some(vec![b"h2".to_vec(), b"http/1.1".to_vec()]),
                verify: Some(ClientVerify::None),
                ..silent()
            },
        ),
        (
            "verify optional",
            Options {
                verify: Some(ClientVerify::Optional),
                ..silent()
            },
        ),
        (
            "verify required",
            Options {
                verify: Some(ClientVerify::Required),
                ..silent()
            },
        ),
        (
            "ca-file 'my ca.pem'",
            Options {
                ca_file: Some("my ca.pem".into()),
                ..silent()
            },
        ),
        (
            "ssl-min-ver TLSv1.3",
            Options {
                min: Some(Some(TlsVersion::V1_3)),
                ..silent()
            },
        ),
        (
            "ssl-max-ver TLSv1.2",
            Options {
                max: Some(TlsVersion::V1_2),
                ..silent()
            },
        ),
        (
            "ssl-min-ver TLSv1.0",
            Options {
                min: Some(None),
                ..remarked("ssl-min-ver below TLSv1.2: TLSv1.2 is the lowest here")
            },
        ),
        (
            // Taken out and put back: OpenSSL has what was not taken out first.
            "ciphers ECDHE+CHACHA20+aRSA:ALL:-AES128:!ECDSA",
            Options {
                ciphers: words(&["ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-RSA-AES256-GCM-SHA384"]),
                ..silent()
            },
        ),
        (
            "ciphers AES128-SHA:ECDHE-RSA-AES128-GCM-SHA256",
            Options {
                ciphers: words(&["ECDHE-RSA-AES128-GCM-SHA256"]),
                ..remarked("ciphers: not available in this version and left out: AES128-SHA")
            },
        ),
        (
            "ciphersuites TLS_AES_128_GCM_SHA256",
            Options {
                ciphersuites: words(&["TLS_AES_128_GCM_SHA256"]),
                ..silent()
            },
        ),
        (
            "curves P-384:secp256r1",
            Options {
                curves: words(&["P-384", "P-256"]),
                ..silent()
            },
        ),
        (
            "ecdhe X25519",
            Options {
                curves: words(&["X25519"]),
                ..silent()
            },
        ),
        ("allow-0rtt", remarked("allow-0rtt has no effect")),
        ("no-ca-names", remarked("no-ca-names has no effect")),
        (
            "npn h2",
            remarked("npn has no effect: alpn has taken its place"),
        ),
    ];
    for (options, expected) in table {
        let entry = entry(&format!("a.pem [{options}] one"));
        assert_eq!(entry.options, expected, "{options}");
        assert_eq!(entry.filters, ["one"], "{options}");
    }
}

#[test]
fn lines_that_cannot_be_understood() {
    let long = format!("a [alpn {}]", "x".repeat(256));
    let table = [
        ("[alpn h2] a.pem", "starts with the name of a certificate"),
        ("] a.pem", "starts with the name of a certificate"),
        ("a.pem [alpn h2", "'[' without ']'"),
        ("a.pem ]", "']' without '['"),
        ("a.pem [alpn [h2]]", "a second '['"),
        (
            "a.pem one [alpn h2]",
            "between the certificate and the names",
        ),
        ("a.pem [] []", "between the certificate and the names"),
        ("a.pem !", "'!' without a name"),
        ("a.pem 'one", "no closing '"),
        ("\"a.pem", "no closing \""),
        ("a.pem one\\", "a '\\' ends the line"),
        ("a [alpn]", "option 'alpn' without a value"),
        ("a [verify]", "option 'verify' without a value"),
        ("a [ciphers]", "option 'ciphers' without a value"),
        ("a [alpn h2,]", "empty name"),
        (&long, "longer than 255"),
        ("a [verify maybe]", "none of none, optional, required"),
        ("a [ssl-min-ver TLSv1.4]", "version 'TLSv1.4'"),
        ("a [ssl-max-ver TLSv1.1]", "TLSv1.2 is the lowest"),
        ("a [ciphers AES128-SHA]", "ciphers: nothing of 'AES128-SHA'"),
        ("a [ciphersuites FOO]", "ciphersuites: nothing of 'FOO'"),
        ("a [curves FOO]", "curves: unknown curve 'FOO'"),
        ("a [crl-file x]", "'crl-file' is not available"),
        ("a [foo]", "unknown option 'foo'"),
        ("a [alpn h2 foo]", "unknown option 'foo'"),
    ];
    for (line, expected) in table {
        let errors = parse(line).unwrap_err();
        assert_eq!(errors.len(), 1, "{line}");
        assert!(errors[0].reason.contains(expected), "{line}: {errors:?}");
        assert_eq!(errors[0].line, 1, "{line}");
    }
}

#[test]
fn lines_are_counted_with_those_that_say_nothing() {
    let lines = parse("# a list\n\n a.pem one\n\t# more [\r\n  \nb.pem\n").unwrap();
    let found: Vec<_> = lines
        .iter()
        .map(|entry| (entry.line, entry.certificate.to_str().unwrap()))
        .collect();
    assert_eq!(found, [(3, "a.pem"), (6, "b.pem")]);
    assert_eq!(parse("\n#\n"), Ok(Vec::new()));
    // All that is wrong is told at once.
    let errors = parse("a.pem\n\nb.pem [foo]\n#\nc.pem !").unwrap_err();
    let told: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        ["line 3: unknown option 'foo'", "line 5: '!' without a name"]
    );
}

#[test]
fn a_line_goes_on_top_of_its_bind_line_and_below_its_bases() {
    let bind = TlsParameters {
        alpn: vec![b"h2".to_vec()],
        ciphersuites: vec!["TLS_AES_256_GCM_SHA384".to_owned()],
        min: Some(TlsVersion::V1_3),
        ..TlsParameters::default()
    };
    assert_eq!(entry("a").options.apply(&bind), bind);
    let mut line = entry("a.pem [alpn x ssl-min-ver TLSv1.1 curves P-256 ca-file /ca.pem]");
    let applied = line.options.apply(&bind);
    assert_eq!(applied.alpn, [b"x"]);
    assert_eq!(applied.ciphersuites, bind.ciphersuites);
    assert_eq!(
        (applied.min, applied.curves),
        (None, vec!["P-256".to_owned()])
    );
    line.complete(&Some("/crt".into()), &Some("/ca".into()));
    assert_eq!(line.certificate, Path::new("/crt/a.pem"));
    assert_eq!(line.options.ca_file, Some(PathBuf::from("/ca.pem")));
}
