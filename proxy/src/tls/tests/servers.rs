//! What a `server` line makes of the certificate that it is shown.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConnection, ServerConfig, ServerConnection};

use super::super::ClientFacts;
use super::{Key, Loaded, Met, Place, finish};

/// Our client's side, as a `server` line has it, meets a server with this certificate.
fn approach(
    loaded: &Loaded,
    facts: ClientFacts<'_>,
    bundle: &(String, String),
) -> Result<Met, String> {
    let settings = loaded.config.backends[0].servers[0].tls.as_ref().unwrap();
    let context = loaded.contexts.server(settings);
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let name = context.name(&facts, Some(address));
    let client = ClientConnection::new(context.config(None), name).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(bundle.0.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(bundle.1.as_bytes()).unwrap();
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let server = ServerConnection::new(Arc::new(server)).unwrap();
    finish(client, server)
}

#[test]
fn the_chain_and_the_name_are_checked_as_configured() {
    let place = Place::new();
    let stranger = Place::new();
    let good = place.issue(Key::Ec, &["s.example"], false);
    let old = place.issue(Key::Ec, &["s.example"], true);
    let strange = stranger.issue(Key::Ec, &["s.example"], false);
    // Words; the client's own name; good, expired and strange certificate accepted.
    let cases = [
        ("verify none", None, [true, true, true]),
        ("ca-file ca.pem", None, [true, false, false]),
        (
            "ca-file ca.pem verifyhost s.example",
            None,
            [true, false, false],
        ),
        (
            "ca-file ca.pem verifyhost t.example",
            None,
            [false, false, false],
        ),
        (
            "ca-file ca.pem sni str(s.example)",
            None,
            [true, false, false],
        ),
        (
            "ca-file ca.pem sni str(t.example)",
            None,
            [false, false, false],
        ),
        (
            "ca-file ca.pem sni ssl_fc_sni",
            Some("s.example"),
            [true, false, false],
        ),
        (
            "ca-file ca.pem sni ssl_fc_sni",
            Some("t.example"),
            [false, false, false],
        ),
        ("ca-file ca.pem sni ssl_fc_sni", None, [true, false, false]),
        (
            "ca-file ca.pem sni str(s.example) verifyhost t.example",
            None,
            [true, false, false],
        ),
    ];
    for (words, sni, expected) in cases {
        let loaded = place.server(words).unwrap();
        for (bundle, expected) in [&good, &old, &strange].into_iter().zip(expected) {
            let facts = ClientFacts {
                sni,
                ..ClientFacts::default()
            };
            let met = approach(&loaded, facts, bundle);
            assert_eq!(met.is_ok(), expected, "{words} {sni:?}: {:?}", met.err());
        }
    }
}

#[test]
fn the_name_is_sent_only_where_one_is_configured() {
    let place = Place::new();
    let good = place.issue(Key::Ec, &["s.example"], false);
    let facts = ClientFacts {
        sni: Some("client.example"),
        authority: Some("authority.example"),
        asked: Some("asked.example"),
    };
    let cases = [
        ("verify none", None),
        ("verify none sni str(x.example)", Some("x.example")),
        ("verify none sni ssl_fc_sni", Some("client.example")),
        ("verify none sni fc_pp_authority", Some("authority.example")),
    ];
    for (words, expected) in cases {
        let met = approach(&place.server(words).unwrap(), facts, &good).unwrap();
        assert_eq!(met.server.server_name(), expected, "{words}");
    }
}
