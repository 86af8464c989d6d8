//! Verification of the peer's certificate, on both sides.
//!
//! Beyond what the library does by itself, two habits of OpenSSL are kept: a certificate that
//! stands in the file of authorities is accepted as it is (self-signed ones are used like that),
//! and the common name counts where a certificate has no alternative name.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::sni::Pattern;
use super::x509::Summary;
use crate::config::model::tls::ClientVerify;

/// Authorities that may have signed the peer's certificate.
#[derive(Debug)]
pub struct Roots {
    store: Arc<RootCertStore>,
    certificates: Vec<CertificateDer<'static>>,
}

impl Roots {
    /// Of these certificates, those that can be understood. The error says that none can.
    pub fn new(certificates: Vec<CertificateDer<'static>>) -> Result<Self, String> {
        let mut store = RootCertStore::empty();
        let (added, _) = store.add_parsable_certificates(certificates.iter().cloned());
        if added == 0 {
            return Err("none of its certificates can be understood".to_owned());
        }
        Ok(Self {
            store: Arc::new(store),
            certificates,
        })
    }

    /// Their certificates.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// Whether this very certificate is among them; an error if it is and is not valid now.
    fn pins(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Result<bool, Error> {
        if !self.certificates.iter().any(|known| known == certificate) {
            return Ok(false);
        }
        let bad = Error::InvalidCertificate(CertificateError::BadEncoding);
        let summary = Summary::read(certificate).map_err(|_| bad.clone())?;
        let now = i64::try_from(now.as_secs()).map_err(|_| bad)?;
        if now < summary.not_before {
            Err(CertificateError::NotValidYet.into())
        } else if now > summary.not_after {
            Err(CertificateError::Expired.into())
        } else {
            Ok(true)
        }
    }
}

/// What a client is asked to show; `None` for nothing.
///
/// # Errors
///
/// Where authorities are needed and there are none.
pub fn client_verifier(
    verify: ClientVerify,
    roots: Option<&Arc<Roots>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
    if verify == ClientVerify::None {
        return Ok(None);
    }
    let roots = roots.ok_or("verify needs a ca-file")?;
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots.store), Arc::clone(provider));
    let builder = if verify == ClientVerify::Optional {
        builder.allow_unauthenticated()
    } else {
        builder
    };
    Ok(Some(Arc::new(ClientVerifier {
        inner: builder.build().map_err(|error| error.to_string())?,
        roots: Arc::clone(roots),
    })))
}

#[derive(Debug)]
struct ClientVerifier {
    inner: Arc<dyn ClientCertVerifier>,
    roots: Arc<Roots>,
}

impl ClientCertVerifier for ClientVerifier {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.roots.pins(end_entity, now)? {
            return Ok(ClientCertVerified::assertion());
        }
        self.inner
            .verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// What a server's certificate is held against.
///
/// The chain must lead to one of the authorities. Its name must be the one that was sent to the
/// server; where none was sent (the name is an IP address then) the one that was configured; where
/// there is neither, any name will do.
#[derive(Debug)]
pub struct ServerVerifier {
    roots: Arc<Roots>,
    host: Option<ServerName<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerVerifier {
    /// Verification by `roots`, and by `host` where no name is sent.
    pub fn new(
        roots: Arc<Roots>,
        host: Option<ServerName<'static>>,
        provider: &CryptoProvider,
    ) -> Self {
        Self {
            roots,
            host,
            algorithms: provider.signature_verification_algorithms,
        }
    }

    fn verify_name(
        &self,
        certificate: &CertificateDer<'_>,
        sent: &ServerName<'_>,
    ) -> Result<(), Error> {
        let wanted = match (sent, &self.host) {
            (ServerName::DnsName(_), _) => sent,
            (_, Some(host)) => host,
            (_, None) => return Ok(()),
        };
        let parsed = ParsedCertificate::try_from(certificate)?;
        verify_server_name(&parsed, wanted).or_else(|error| {
            if is_common_name(certificate, wanted) {
                Ok(())
            } else {
                Err(error)
            }
        })
    }
}

/// Whether a certificate without alternative names has `wanted` for its common name.
fn is_common_name(certificate: &CertificateDer<'_>, wanted: &ServerName<'_>) -> bool {
    let (ServerName::DnsName(wanted), Ok(summary)) = (wanted, Summary::read(certificate)) else {
        return false;
    };
    let pattern = summary.common_name.as_deref().map(Pattern::new);
    let wanted = wanted.as_ref().to_ascii_lowercase();
    summary.alternative_names.is_empty()
        && pattern.is_some_and(|pattern| pattern != Pattern::Any && pattern.matches(&wanted))
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !self.roots.pins(end_entity, now)? {
            verify_server_cert_signed_by_trust_anchor(
                &ParsedCertificate::try_from(end_entity)?,
                &self.roots.store,
                intermediates,
                now,
                self.algorithms.all,
            )?;
        }
        self.verify_name(end_entity, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// `verify none`: whoever answers is taken for the server.
///
/// Signatures are not looked at either: who can answer in the server's place can sign with a
/// certificate of his own, and old servers' certificates are not refused.
#[derive(Debug)]
pub struct NoVerification {
    algorithms: WebPkiSupportedAlgorithms,
}

impl NoVerification {
    /// No verification; the provider says which signatures are asked for.
    pub fn new(provider: &CryptoProvider) -> Self {
        Self {
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

impl ServerCertVerifier for NoVerification {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
