//! TLS on both sides of the daemon.

use std::sync::Arc;

use rustls::ProtocolVersion;
use underpass_tests::certs::{Leaf, Versions};
use underpass_tests::tls_peer::{Close, TlsPeer};
use underpass_tests::tls_rig::{BACK, FRONT, Sides, TlsRig, Who, truncation};
use underpass_tests::tls_scenarios;

tls_scenarios!(Both);

#[test]
fn truncated_by_either() {
    for versions in [Versions::V12, Versions::V13] {
        for who in [Who::Client, Who::Server] {
            truncation(Sides::Both, versions, who);
        }
    }
}

/// `sni ssl_fc_sni` asks the server for the name that the client asked for, each time anew.
#[test]
fn name_handed_on() {
    let tls = TlsRig::with(Sides::Both, Versions::Both, |config, certs| {
        let both = Leaf::new(FRONT).and(BACK).and("third.example");
        certs.issue("front", &both);
        certs.issue("back", &both);
        config.server = config
            .server
            .replace(&format!("sni str({BACK})"), "sni ssl_fc_sni");
    });
    for name in [FRONT, BACK, "third.example", FRONT] {
        let client = TlsPeer::client(tls.rig.connect(), &tls.client, name);
        let mut client = client.ready();
        let mut server = TlsPeer::server(tls.rig.accept(), &tls.server).ready();
        assert_eq!(server.asked_for(), Some(name));
        client.finish(Close::Notify);
        server.expect_closed();
        server.finish(Close::Notify);
        client.expect_closed();
    }
    tls.rig.stop();
}

/// Each side has its own version of TLS.
#[test]
fn two_versions() {
    for (front, back) in [
        (Versions::V12, Versions::V13),
        (Versions::V13, Versions::V12),
    ] {
        let mut tls = TlsRig::new(Sides::Both, front);
        tls.server = Arc::new(tls.certs.server(back, "back", false));
        let client = TlsPeer::client(tls.rig.connect(), &tls.client, FRONT).ready();
        let server = TlsPeer::server(tls.rig.accept(), &tls.server).ready();
        let version = |of: Versions| match of {
            Versions::V12 => Some(ProtocolVersion::TLSv1_2),
            _ => Some(ProtocolVersion::TLSv1_3),
        };
        assert_eq!(client.version(), version(front));
        assert_eq!(server.version(), version(back));
        let exchange = underpass_tests::peer::Exchange::new(50, 1 << 20, 1 << 20);
        underpass_tests::endpoint::run(&exchange, client, server);
        tls.check(&tls.rig.record(), 1 << 20, 1 << 20, "--", "-");
        tls.rig.stop();
    }
}
