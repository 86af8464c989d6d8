//! TLS on `server` lines, and what `default-server` and `global` preset for them.

use std::path::PathBuf;
use std::sync::Arc;

use super::super::model::tls::{Authorities, ServerTls, SniExpression, TlsVersion};
use super::*;

/// A backend with one server after lines of `global` and of its own.
fn text(global: &str, lines: &str, parameters: &str) -> String {
    format!("global\n{global}backend b\n{lines} server s 192.0.2.1:443 {parameters}\n")
}

fn server(global: &str, lines: &str, parameters: &str) -> Option<Arc<ServerTls>> {
    let mut config = valid(&text(global, lines, parameters));
    config.backends.remove(0).servers.remove(0).tls
}

fn tls(parameters: &str) -> Arc<ServerTls> {
    server("", "", parameters).expect("'ssl' is on the line")
}

#[test]
fn everything_at_once() {
    let tls = tls(
        "ssl verify required ca-file ca.pem verifyhost a.test crt own.pem sni str(b.test) alpn h2 ciphers AES256 ciphersuites TLS_AES_128_GCM_SHA256 force-tlsv13 no-ssl-reuse",
    );
    assert!(tls.verify && !tls.reuse);
    assert_eq!(tls.ca_file, Some(Authorities::File("ca.pem".into())));
    assert_eq!(tls.verify_host.as_deref(), Some("a.test"));
    assert_eq!(tls.certificate, Some(PathBuf::from("own.pem")));
    assert_eq!(tls.sni, Some(SniExpression::Literal("b.test".into())));
    let parameters = &tls.parameters;
    assert_eq!(parameters.alpn, [b"h2".to_vec()]);
    assert_eq!(parameters.ciphers.len(), 2);
    assert_eq!(parameters.ciphersuites, ["TLS_AES_128_GCM_SHA256"]);
    assert_eq!(
        (parameters.min, parameters.max),
        (Some(TlsVersion::V1_3), None)
    );
    assert_eq!(tls.position.line, 3);
}

#[test]
fn names_to_send() {
    let sni = |expression: &str| {
        tls(&format!("ssl verify none sni {expression}"))
            .sni
            .clone()
    };
    let literal = |name: &str| Some(SniExpression::Literal(name.into()));
    assert_eq!(sni("str(a.test)"), literal("a.test"));
    assert_eq!(sni("\"str('a.test')\""), literal("a.test"));
    assert_eq!(sni("ssl_fc_sni"), Some(SniExpression::ClientSni));
    assert_eq!(sni("ssl_fc_sni()"), Some(SniExpression::ClientSni));
    assert_eq!(sni("fc_pp_authority"), Some(SniExpression::ProxyAuthority));
    for (expression, hint) in [
        ("req.hdr(host)", "'req.hdr(host)' is not available"),
        ("ssl_fc_sni,lower", "'ssl_fc_sni,lower' is not available"),
        ("a.test", "a fixed name is written 'str(a.test)'"),
        ("str()", "'str' expects a name"),
        ("str", "'str' expects a name"),
        (
            "str(a),lower",
            "there is 'str(name)', 'ssl_fc_sni' and 'fc_pp_authority'",
        ),
    ] {
        let found = remarks(
            &text("", "", &format!("ssl verify none sni {expression}")),
            Severity::Alert,
        );
        assert_eq!(found.len(), 1, "{expression} {found:?}");
        assert!(found[0].starts_with("3:45 'sni' : "), "{found:?}");
        assert!(found[0].contains(hint), "{found:?}");
    }
}

#[test]
fn a_server_is_verified_unless_the_file_says_otherwise() {
    let verify = |global: &str, parameters: &str| server(global, "", parameters).unwrap().verify;
    assert!(verify("", "ssl ca-file @system-ca"));
    assert!(!verify("", "ssl verify none"));
    assert!(!verify(" ssl-server-verify none\n", "ssl"));
    assert!(verify(
        " ssl-server-verify none\n",
        "ssl verify required ca-file /ca"
    ));

    let alerts = |text: &str| remarks(text, Severity::Alert);
    let found = alerts(&text("", "", "ssl"));
    assert!(
        found[0].starts_with("3:2 'server b/s' : verify is enabled by default but no CA file"),
        "{found:?}"
    );
    let trusting = " ssl-server-verify none\n";
    let found = alerts(&text(trusting, "", "ssl verify required"));
    assert!(
        found[0].starts_with("4:2 'server b/s' : verify is enabled but no CA file"),
        "{found:?}"
    );
    // The last word of all `global` sections counts, as in HAProxy.
    let later = format!("{}global\n{trusting}", text("", "", "ssl"));
    assert!(
        !valid(&later).backends[0].servers[0]
            .tls
            .as_ref()
            .unwrap()
            .verify
    );
}

#[test]
fn a_certificate_for_any_name_is_remarked_on() {
    let diags = |parameters: &str| remarks(&text("", "", parameters), Severity::Diag).len();
    assert_eq!(diags("ssl ca-file /ca"), 1);
    assert_eq!(diags("ssl ca-file /ca verifyhost x"), 0);
    assert_eq!(diags("ssl ca-file /ca sni str(x)"), 0);
    assert_eq!(diags("ssl verify none"), 0);
}

#[test]
fn defaults_and_what_takes_them_back() {
    let presets = " default-server ssl verify none verifyhost a no-ssl-reuse alpn h2 sni str(x)\n";
    let tls = server("", presets, "verifyhost b ssl-reuse").unwrap();
    assert_eq!(tls.verify_host.as_deref(), Some("b"));
    assert!(tls.reuse && !tls.verify);
    assert_eq!(tls.parameters.alpn, [b"h2".to_vec()]);
    assert_eq!(
        server("", presets, "no-verifyhost").unwrap().verify_host,
        None
    );
    assert_eq!(server("", presets, "no-ssl"), None);

    let global = " crt-base /c\n ca-base /d\n ssl-default-server-options force-tlsv12\n ssl-default-server-ciphers AES128\n";
    let tls = server(global, "", "ssl ca-file a crt b").unwrap();
    assert_eq!(tls.ca_file, Some(Authorities::File("/d/a".into())));
    assert_eq!(tls.certificate, Some(PathBuf::from("/c/b")));
    assert_eq!(tls.parameters.max, Some(TlsVersion::V1_2));
    assert_eq!(tls.parameters.ciphers.len(), 2);
}

#[test]
fn mistakes() {
    let table = [
        (
            "",
            "ssl verify optional",
            "3:36 'verify' : unknown verify method 'optional'",
        ),
        (
            "",
            "ssl verify none ca-file @x",
            "3:49 'ca-file' : unknown source '@x'",
        ),
        (
            "",
            "ssl verify none ssl-min-ver TLSv1.3 ssl-max-ver TLSv1.2",
            "3:2 'server b/s' : all SSL/TLS versions are disabled.",
        ),
        (
            "",
            "ssl verify none strict-sni",
            "3:41 unknown keyword 'strict-sni' among the parameters of 'server'",
        ),
        (
            " default-server no-tlsv13\n",
            "",
            "3:17 'no-tlsv13' option is not accepted in default-server sections",
        ),
    ];
    for (lines, parameters, expected) in table {
        let found = remarks(&text("", lines, parameters), Severity::Alert);
        assert_eq!(found.len(), 1, "{parameters} {found:?}");
        assert!(found[0].starts_with(expected), "{found:?}\n{expected}");
    }
    let warned = |lines: &str, parameters: &str| {
        let all = remarks(&text("", lines, parameters), Severity::Warning);
        all.iter()
            .filter(|found| found.contains("no effect"))
            .count()
    };
    assert_eq!(warned("", "sni str(x) alpn h2"), 1);
    assert_eq!(warned("", "ssl verify none no-tls-tickets"), 1);
    // A preset may be for other servers.
    assert_eq!(warned(" default-server sni str(x)\n", ""), 0);
    assert_eq!(warned("", "ssl verify none sni str(x)"), 0);
}
