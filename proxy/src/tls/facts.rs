//! What an established handshake tells others: PROXY headers, and logs.

use std::sync::Arc;

use rustls::{CommonState, HandshakeKind, ProtocolVersion};

use super::pem::Certificate;
use super::versions;
use super::x509;

/// An established connection with a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionFacts {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite, by OpenSSL's name.
    pub cipher: &'static str,
    /// Whether the client has shown a certificate, in this connection or in the one that it
    /// resumes.
    pub client_certificate: bool,
    /// Whether the session of an earlier connection was resumed.
    pub resumed: bool,
    /// The common name of the client's certificate.
    pub client_name: Option<String>,
    /// OpenSSL's result of the verification of the client's certificate: always 0, "ok", for a
    /// client whose certificate is refused does not get this far.
    pub verify_result: u32,
    /// What signed our certificate: `RSA-SHA256`, `ecdsa-with-SHA256`.
    pub signature: Option<&'static str>,
    /// Our certificate's key: `RSA2048`, `EC256`.
    pub key: Option<Arc<str>>,
}

impl SessionFacts {
    /// The facts of a connection; `None` until its version and cipher are agreed upon. `ours` is
    /// the certificate that was chosen for it.
    pub fn of(connection: &CommonState, ours: Option<&Certificate>) -> Option<Self> {
        let (version, cipher) = (version(connection)?, cipher(connection)?);
        let leaf = connection
            .peer_certificates()
            .and_then(|chain| chain.first());
        let summary = ours.map(|certificate| &certificate.summary);
        Some(Self {
            version,
            cipher,
            client_certificate: leaf.is_some(),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            client_name: leaf.and_then(|der| x509::subject_common_name(der)),
            verify_result: 0,
            signature: summary.and_then(|summary| summary.signature),
            key: summary.and_then(|summary| summary.key.clone()),
        })
    }
}

/// `TLSv1.2` or `TLSv1.3`; `None` until it is agreed upon.
#[must_use]
pub fn version(connection: &CommonState) -> Option<&'static str> {
    match connection.protocol_version()? {
        ProtocolVersion::TLSv1_2 => Some("TLSv1.2"),
        ProtocolVersion::TLSv1_3 => Some("TLSv1.3"),
        _ => None,
    }
}

/// The cipher suite by OpenSSL's name; `None` until it is agreed upon.
#[must_use]
pub fn cipher(connection: &CommonState) -> Option<&'static str> {
    versions::cipher_name(connection.negotiated_cipher_suite()?.suite())
}

/// The size of the cipher's key in bits; `None` until it is agreed upon.
#[must_use]
pub fn key_size(connection: &CommonState) -> Option<u16> {
    // AES says it in its name; ChaCha20 has one size.
    cipher(connection).map(|name| {
        if name.contains("AES128") || name.contains("AES_128") {
            128
        } else {
            256
        }
    })
}
