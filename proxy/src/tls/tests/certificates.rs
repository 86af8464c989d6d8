//! Which certificate, and which settings, a client gets.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, ProtocolVersion, version};

use super::super::verify::NoVerification;
use super::{Key, Place, meet};

#[test]
fn the_name_chooses_the_certificate() {
    let place = Place::new();
    place.bundle("first.pem", &["first.example"]);
    place.bundle("second.pem", &["second.example", "also.example"]);
    place.bundle("wild.pem", &["*.wild.example"]);
    let words = "crt first.pem crt second.pem crt wild.pem";
    let loose = place.bind(words).unwrap().context();
    let strict = place
        .bind(&format!("{words} strict-sni"))
        .unwrap()
        .context();
    let cases = [
        ("first.example", Some("first.example")),
        ("second.example", Some("second.example")),
        ("ALSO.example", Some("second.example")),
        ("a.wild.example", Some("*.wild.example")),
        ("wild.example", None),
        ("a.b.wild.example", None),
        ("third.example", None),
    ];
    for (name, expected) in cases {
        let client = || {
            // The default certificate is not this name's: the test looks at which one it is.
            let mut config = place.client();
            let provider = aws_lc_rs::default_provider();
            config
                .dangerous()
                .set_certificate_verifier(Arc::new(NoVerification::new(&provider)));
            config
        };
        let shown = meet(&loose, client(), name).unwrap().names();
        assert_eq!(shown[0], expected.unwrap_or("first.example"), "{name}");
        match (meet(&strict, client(), name), expected) {
            (Ok(met), Some(expected)) => assert_eq!(met.names()[0], expected, "{name}"),
            (Err(error), None) => assert_eq!(error, "no certificate", "{name}"),
            (outcome, _) => panic!("{name}: {:?}", outcome.map(|met| met.names())),
        }
    }
}

#[test]
fn a_strict_line_without_certificates_refuses_everybody() {
    let place = Place::new();
    let context = place.bind("strict-sni").unwrap().context();
    assert!(context.choose(Some("first.example")).is_none());
    assert!(context.choose(None).is_none());
}

#[test]
fn relative_paths_in_a_list_are_under_the_bases() {
    let place = Place::new();
    place.bundle("s.pem", &["s.example"]);
    place.write("list.txt", "s.pem [verify optional ca-file s.pem]\n");
    let words = format!("crt-list {} strict-sni", place.path("list.txt").display());
    let context = place.bind(&words).unwrap().context();
    assert!(context.choose(Some("s.example")).is_some());
}

#[test]
fn whose_order_of_ciphers_counts() {
    let place = Place::new();
    place.bundle("s.pem", &["s.example"]);
    for (words, ours) in [
        ("crt s.pem", true),
        ("crt s.pem prefer-client-ciphers", false),
    ] {
        let context = place.bind(words).unwrap().context();
        let config = context.choose(Some("s.example")).unwrap();
        assert_eq!(config.ignore_client_order, ours, "{words}");
    }
}

#[test]
fn filters_of_a_list_replace_the_names_and_may_exclude() {
    let place = Place::new();
    place.bundle("first.pem", &["first.example"]);
    place.bundle("wild.pem", &["x.example", "*.example"]);
    let first = place.path("first.pem");
    let wild = place.path("wild.pem");
    let list = format!(
        "# names\n{} other.example\n{} [alpn h2] *.example !not.example\n",
        first.display(),
        wild.display()
    );
    place.write("list.txt", &list);
    let list = place.path("list.txt");
    let words = format!("crt-list {} strict-sni", list.display());
    let context = place.bind(&words).unwrap().context();
    assert!(context.choose(Some("some.example")).is_some());
    assert!(context.choose(Some("not.example")).is_none());
    let other = context.choose(Some("other.example")).unwrap();
    assert!(other.alpn_protocols.is_empty());
    let some = context.choose(Some("some.example")).unwrap();
    assert_eq!(some.alpn_protocols, [b"h2".to_vec()]);
}

#[test]
fn the_client_chooses_between_keys_for_one_name() {
    let place = Place::new();
    for (file, key) in [("s.pem.ecdsa", Key::Ec), ("s.pem.rsa", Key::Rsa)] {
        let (chain, key) = place.issue(key, &["same.example"], false);
        place.write(file, &(chain + &key));
    }
    let context = place.bind("crt s.pem").unwrap().context();
    let only = |name: &str| {
        let mut provider = aws_lc_rs::default_provider();
        provider
            .cipher_suites
            .retain(|suite| format!("{:?}", suite.suite()).contains(name));
        assert!(!provider.cipher_suites.is_empty());
        ClientConfig::builder_with_provider(provider.into())
            .with_protocol_versions(&[&version::TLS12])
            .unwrap()
            .with_root_certificates(place.roots())
            .with_no_client_auth()
    };
    for suite in ["ECDHE_ECDSA", "ECDHE_RSA"] {
        let met = meet(&context, only(suite), "same.example").unwrap();
        let chosen = met.server.negotiated_cipher_suite().unwrap().suite();
        assert!(format!("{chosen:?}").contains(suite));
    }
}

#[test]
fn alpn_is_agreed_upon_and_its_absence_is_no_obstacle() {
    let place = Place::new();
    place.bundle("s.pem", &["s.example"]);
    let context = place.bind("crt s.pem alpn h2,http/1.1").unwrap().context();
    /// What a client offers, and what is agreed upon.
    type Case<'a> = (&'a [&'a [u8]], Option<&'a [u8]>);
    let cases: [Case<'_>; 4] = [
        (&[b"http/1.1"], Some(b"http/1.1")),
        (&[b"http/1.1", b"h2"], Some(b"h2")),
        (&[b"spdy/3"], None),
        (&[], None),
    ];
    for (offered, agreed) in cases {
        let mut client = place.client();
        client.alpn_protocols = offered.iter().map(|protocol| protocol.to_vec()).collect();
        let met = meet(&context, client, "s.example").unwrap();
        assert_eq!(met.server.alpn_protocol(), agreed, "{offered:?}");
    }
}

#[test]
fn versions_are_bounded() {
    let place = Place::new();
    place.bundle("s.pem", &["s.example"]);
    let client = |versions: &[&'static rustls::SupportedProtocolVersion]| {
        ClientConfig::builder_with_protocol_versions(versions)
            .with_root_certificates(place.roots())
            .with_no_client_auth()
    };
    let old = place
        .bind("crt s.pem ssl-max-ver TLSv1.2")
        .unwrap()
        .context();
    let new = place
        .bind("crt s.pem ssl-min-ver TLSv1.3")
        .unwrap()
        .context();
    let met = meet(&old, client(rustls::ALL_VERSIONS), "s.example").unwrap();
    assert_eq!(
        met.server.protocol_version(),
        Some(ProtocolVersion::TLSv1_2)
    );
    let met = meet(&new, client(rustls::ALL_VERSIONS), "s.example").unwrap();
    assert_eq!(
        met.server.protocol_version(),
        Some(ProtocolVersion::TLSv1_3)
    );
    assert!(meet(&old, client(&[&version::TLS13]), "s.example").is_err());
    assert!(meet(&new, client(&[&version::TLS12]), "s.example").is_err());
}

#[test]
fn client_certificates_are_asked_for_as_configured() {
    let place = Place::new();
    let stranger = Place::new();
    place.bundle("s.pem", &["s.example"]);
    let (chain, key) = place.issue(Key::Ec, &["client"], false);
    let (old_chain, old_key) = place.issue(Key::Ec, &["client"], true);
    let (strange_chain, strange_key) = stranger.issue(Key::Ec, &["client"], false);
    // Verify, client without, good, expired, of another authority.
    let cases = [
        ("none", [true, true, true, true]),
        ("optional", [true, true, false, false]),
        ("required", [false, true, false, false]),
    ];
    for (verify, expected) in cases {
        let words = format!("crt s.pem verify {verify} ca-file ca.pem");
        let context = place.bind(&words).unwrap().context();
        let clients = [
            place.client(),
            place.client_with(&chain, &key),
            place.client_with(&old_chain, &old_key),
            place.client_with(&strange_chain, &strange_key),
        ];
        for (client, expected) in clients.into_iter().zip(expected) {
            let met = meet(&context, client, "s.example");
            assert_eq!(met.is_ok(), expected, "{verify}: {:?}", met.err());
        }
        let met = meet(&context, place.client_with(&chain, &key), "s.example").unwrap();
        let shown = met.server.peer_certificates().is_some();
        assert_eq!(shown, verify != "none");
    }
}
