//! Handshakes in memory, with certificates made on the spot and settings read from configuration
//! text.

mod certificates;
mod crt_lists;
mod loading;
mod names;
mod resuming;
mod servers;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_RSA_SHA256, RsaKeySize, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::Acceptor;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};
use tempfile::TempDir;

use super::{BindContext, Contexts};
use crate::config::model::{Config, Environment};
use crate::config::{self, Source};

/// A certificate's key.
#[derive(Clone, Copy)]
enum Key {
    Ec,
    Rsa,
}

/// An authority and the files of a test.
struct Place {
    directory: TempDir,
    authority: Issuer<'static, KeyPair>,
    authority_pem: String,
}

impl Place {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "test authority");
        let authority_pem = params.self_signed(&key).unwrap().pem();
        let place = Self {
            directory: TempDir::new().unwrap(),
            authority: Issuer::new(params, key),
            authority_pem,
        };
        place.write("ca.pem", &place.authority_pem);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Chain and key of a certificate for `names`, which ended in 2001 where `expired`.
    fn issue(&self, key: Key, names: &[&str], expired: bool) -> (String, String) {
        let key = match key {
            Key::Ec => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(),
            Key::Rsa => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap(),
        };
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let common_name = names[0].clone();
        let mut params = CertificateParams::new(names).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        if expired {
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(2001, 1, 1);
        }
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// A bundle of one file.
    fn bundle(&self, file: &str, names: &[&str]) -> PathBuf {
        let (chain, key) = self.issue(Key::Ec, names, false);
        self.write(file, &(chain + &key))
    }

    /// What clients that trust the authority use.
    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(self.authority_pem.as_bytes()).unwrap();
        roots.add(authority).unwrap();
        roots
    }

    fn client(&self) -> ClientConfig {
        ClientConfig::builder()
            .with_root_certificates(self.roots())
            .with_no_client_auth()
    }

    /// A client that shows a certificate.
    fn client_with(&self, chain: &str, key: &str) -> ClientConfig {
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes())
            .map(Result::unwrap)
            .collect();
        ClientConfig::builder()
            .with_root_certificates(self.roots())
            .with_client_auth_cert(
                chain,
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap()
    }

    /// The settings of a `bind` line with these words, paths relative to the directory.
    fn bind(&self, words: &str) -> Result<Loaded, Vec<String>> {
        Loaded::new(&format!(
            "global\n crt-base {0}\n ca-base {0}\nfrontend f\n mode tcp\n timeout client 1s\n \
             bind 127.0.0.1:1 ssl {words}\n default_backend b\nbackend b\n mode tcp\n \
             timeout connect 1s\n timeout server 1s\n server s 127.0.0.1:2\n",
            self.directory.path().display()
        ))
    }

    /// The settings of a `server` line with these words.
    fn server(&self, words: &str) -> Result<Loaded, Vec<String>> {
        Loaded::new(&format!(
            "global\n crt-base {0}\n ca-base {0}\nbackend b\n mode tcp\n timeout connect 1s\n \
             timeout server 1s\n server s 127.0.0.1:2 ssl {words}\n",
            self.directory.path().display()
        ))
    }
}

/// A configuration and its contexts.
struct Loaded {
    config: Config,
    contexts: Contexts,
}

impl Loaded {
    fn new(text: &str) -> Result<Self, Vec<String>> {
        let outcome = config::load(&[Source::new("test.cfg", text)], &Environment::new());
        let Some(config) = outcome.config else {
            panic!("{:?}", outcome.diagnostics);
        };
        match Contexts::load(&config) {
            Ok(contexts) => Ok(Self { config, contexts }),
            Err(errors) => Err(errors.iter().map(ToString::to_string).collect()),
        }
    }

    fn context(&self) -> Arc<BindContext> {
        let settings = self.config.frontends[0].binds[0].tls.as_ref().unwrap();
        self.contexts.bind(settings)
    }
}

/// A handshake that is over.
struct Met {
    client: ClientConnection,
    server: ServerConnection,
}

impl Met {
    /// The names in the certificate that the client was shown.
    fn names(&self) -> Vec<String> {
        let leaf = &self.client.peer_certificates().unwrap()[0];
        let summary = super::x509::Summary::read(leaf).unwrap();
        summary.names().map(str::to_owned).collect()
    }
}

/// A client meets a `bind` line's context. Errors are the words of whoever refused.
fn meet(context: &BindContext, config: ClientConfig, name: &str) -> Result<Met, String> {
    meet_shared(context, &Arc::new(config), name)
}

fn meet_shared(
    context: &BindContext,
    config: &Arc<ClientConfig>,
    name: &str,
) -> Result<Met, String> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut flight = Vec::new();
    client.write_tls(&mut flight).unwrap();
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut flight.as_slice()).unwrap();
    let accepted = acceptor.accept().unwrap().unwrap();
    let choice = context
        .choose_for(&accepted.client_hello())
        .ok_or("no certificate")?;
    let server = accepted
        .into_connection(choice.config)
        .map_err(|(error, _)| error.to_string())?;
    finish(client, server)
}

/// Passes records to and fro until both have what they need, the tickets after the handshake
/// included.
fn finish(mut client: ClientConnection, mut server: ServerConnection) -> Result<Met, String> {
    for _ in 0..10 {
        let mut flight = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut flight).unwrap();
        }
        let mut rest = flight.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client
                .process_new_packets()
                .map_err(|error| format!("client: {error}"))?;
        }
        let mut flight = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut flight).unwrap();
        }
        let mut rest = flight.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server
                .process_new_packets()
                .map_err(|error| format!("server: {error}"))?;
        }
        if !server.wants_write() && !client.wants_write() {
            break;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(Met { client, server })
}

/// Whether one of the messages names the file.
fn names_file(messages: &[String], file: &Path) -> bool {
    let file = file.to_string_lossy();
    messages.iter().any(|message| message.contains(&*file))
}
