//! Sessions that go on in another connection.

use std::sync::Arc;

use rustls::{ClientConfig, HandshakeKind, version};

use super::{Key, Place, meet_shared};

#[test]
fn sessions_are_resumed_also_after_a_reload() {
    let place = Place::new();
    place.bundle("s.pem", &["s.example"]);
    for tickets in ["", "no-tls-tickets"] {
        for version in [&version::TLS12, &version::TLS13] {
            let loaded = place.bind(&format!("crt s.pem {tickets}")).unwrap();
            let context = loaded.context();
            let client = Arc::new(
                ClientConfig::builder_with_protocol_versions(&[version])
                    .with_root_certificates(place.roots())
                    .with_no_client_auth(),
            );
            let kind = |client| {
                let met = meet_shared(&context, client, "s.example").unwrap();
                let kinds = [met.client.handshake_kind(), met.server.handshake_kind()];
                assert_eq!(kinds[0], kinds[1]);
                kinds[0].unwrap()
            };
            assert_eq!(kind(&client), HandshakeKind::Full);
            assert_eq!(
                kind(&client),
                HandshakeKind::Resumed,
                "{tickets} {version:?}"
            );
            loaded.contexts.reload().unwrap();
            assert_eq!(
                kind(&client),
                HandshakeKind::Resumed,
                "{tickets} {version:?}"
            );
        }
    }
}

#[test]
fn a_session_does_not_spare_the_certificate_of_another_line() {
    let place = Place::new();
    place.bundle("s.pem", &["s.example"]);
    let open = place.bind("crt s.pem").unwrap();
    let closed = place
        .bind("crt s.pem verify required ca-file ca.pem")
        .unwrap();
    let client = Arc::new(place.client());
    assert!(meet_shared(&open.context(), &client, "s.example").is_ok());
    assert!(meet_shared(&closed.context(), &client, "s.example").is_err());
    let (chain, key) = place.issue(Key::Ec, &["client"], false);
    let client = Arc::new(place.client_with(&chain, &key));
    assert!(meet_shared(&closed.context(), &client, "s.example").is_ok());
}
