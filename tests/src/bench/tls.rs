//! TLS as the load uses it: the certificate, and what the clients offer.
//!
//! All contestants get the same certificate and may use one version and one cipher suite, and clients offer one key
//! exchange: what is compared is the programs, not what they negotiate.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use rustls::{
    CipherSuite, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde::Serialize;

/// The only cipher suite of the contestants.
pub(crate) const CIPHER_SUITE: &str = "TLS_AES_128_GCM_SHA256";

/// The same, as it is negotiated.
pub(crate) const NEGOTIATED: CipherSuite = CipherSuite::TLS13_AES_128_GCM_SHA256;

/// The name in the certificate.
const NAME: &str = "bench.test";

/// Key and signature of the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KeyKind {
    /// ECDSA on P-256.
    P256,
    /// RSA with 2048 bits.
    Rsa2048,
}

impl KeyKind {
    /// For the report.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::P256 => "EC P-256",
            Self::Rsa2048 => "RSA 2048",
        }
    }

    const fn openssl(self) -> &'static [&'static str] {
        match self {
            Self::P256 => &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
            Self::Rsa2048 => &["-newkey", "rsa:2048"],
        }
    }
}

/// Where [`make_certificate`] puts certificate and key.
pub(crate) fn bundle(dir: &Path) -> PathBuf {
    dir.join("bench.pem")
}

/// Has openssl make a certificate, signed by itself, and writes it with its key as one PEM file.
///
/// # Errors
/// When openssl fails or `dir` cannot be written to.
pub(crate) fn make_certificate(kind: KeyKind, dir: &Path) -> Result<()> {
    let (key, certificate) = (dir.join("key.pem"), dir.join("certificate.pem"));
    let out = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-sha256", "-days", "30"])
        .args(kind.openssl())
        .args(["-subj", &format!("/CN={NAME}")])
        .args(["-addext", &format!("subjectAltName=DNS:{NAME}")])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .context("run openssl (package openssl)")?;
    ensure!(
        out.status.success(),
        "openssl req: {}",
        String::from_utf8_lossy(&out.stderr).trim()
    );
    let bundle = bundle(dir);
    let text = fs::read_to_string(certificate)? + &fs::read_to_string(key)?;
    fs::write(&bundle, text).with_context(|| bundle.display().to_string())
}

/// The name that clients ask for.
pub(crate) fn server_name() -> Result<ServerName<'static>> {
    ServerName::try_from(NAME).context("name of the server")
}

/// What clients offer: one version, cipher suite and key exchange. They verify nothing, which would be work of the
/// load's, and remember no session.
///
/// # Errors
/// When the library refuses the choice.
pub(crate) fn client() -> Result<ClientConfig> {
    offering(CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    })
}

/// A client that offers every cipher suite there is: what it gets is the contestant's choice.
///
/// # Errors
/// As [`client`].
pub(crate) fn undecided_client() -> Result<ClientConfig> {
    offering(aws_lc_rs::default_provider())
}

fn offering(provider: CryptoProvider) -> Result<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])
        .context("settings of the TLS clients")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Takes any certificate for good.
#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
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
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::RSA_PSS_SHA256,
        ]
    }
}

/// A server with a certificate of [`make_certificate`], for tests.
#[cfg(test)]
pub(crate) mod tests {
    use std::{
        io::{Read, Write},
        net::{Ipv4Addr, SocketAddr, TcpListener},
        thread::{self, JoinHandle},
    };

    use rustls::{ServerConfig, ServerConnection, StreamOwned};
    use rustls_pki_types::{PrivateKeyDer, pem::PemObject};

    use super::*;

    pub(crate) fn server_config(kind: KeyKind) -> Arc<ServerConfig> {
        let dir = tempfile::tempdir().unwrap();
        make_certificate(kind, dir.path()).unwrap();
        let pem = fs::read(bundle(dir.path())).unwrap();
        let certificates = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<Vec<_>, _>>()
            .unwrap();
        assert_eq!(certificates.len(), 1);
        let key = PrivateKeyDer::from_pem_slice(&pem).unwrap();
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(certificates, key)
                .unwrap();
        config.ticketer = aws_lc_rs::Ticketer::new().unwrap();
        Arc::new(config)
    }

    /// Serves `connections` connections, one after the other: calls `serve` on each, then closes it.
    pub(crate) fn server<F>(
        config: Arc<ServerConfig>,
        connections: usize,
        serve: F,
    ) -> (SocketAddr, JoinHandle<()>)
    where
        F: Fn(&mut StreamOwned<ServerConnection, std::net::TcpStream>) + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            for _ in 0..connections {
                let (stream, _) = listener.accept().unwrap();
                let session = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut tls = StreamOwned::new(session, stream);
                serve(&mut tls);
                tls.conn.send_close_notify();
                let _ = tls.flush();
            }
        });
        (address, server)
    }

    #[test]
    fn clients_settle_for_the_one_suite_with_either_key() {
        for kind in [KeyKind::P256, KeyKind::Rsa2048] {
            let (address, server) = server(server_config(kind), 1, |tls| {
                tls.write_all(b"hello").unwrap();
            });
            let session =
                rustls::ClientConnection::new(Arc::new(client().unwrap()), server_name().unwrap())
                    .unwrap();
            let stream = std::net::TcpStream::connect(address).unwrap();
            let mut tls = StreamOwned::new(session, stream);
            let mut text = String::new();
            tls.read_to_string(&mut text).unwrap();
            assert_eq!(text, "hello");
            let suite = tls.conn.negotiated_cipher_suite().unwrap();
            assert_eq!(suite.suite(), NEGOTIATED);
            server.join().unwrap();
        }
    }
}
