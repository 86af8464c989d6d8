//! Certificates for one test, made by the openssl program in a directory that goes with the test.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tempfile::TempDir;

/// The kind of a certificate's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Elliptic curve P-256.
    P256,
    /// RSA of 2048 bits.
    Rsa2048,
}

/// What a certificate is to say.
#[derive(Clone, Debug)]
pub struct Leaf {
    names: Vec<String>,
    key: Key,
    authority: String,
    expired: bool,
}

impl Leaf {
    /// For the host `name`, which is also its common name; by the authority `ca`, valid today, P-256.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            names: vec![name.to_owned()],
            key: Key::P256,
            authority: CA.to_owned(),
            expired: false,
        }
    }

    /// For `name` too.
    #[must_use]
    pub fn and(mut self, name: &str) -> Self {
        self.names.push(name.to_owned());
        self
    }

    /// With an RSA key.
    #[must_use]
    pub fn rsa(mut self) -> Self {
        self.key = Key::Rsa2048;
        self
    }

    /// Signed by another authority.
    #[must_use]
    pub fn by(mut self, authority: &str) -> Self {
        authority.clone_into(&mut self.authority);
        self
    }

    /// Whose time is over.
    #[must_use]
    pub fn expired(mut self) -> Self {
        self.expired = true;
        self
    }
}

/// The authority that every set of certificates has from the start.
pub const CA: &str = "ca";
/// A second authority, which nobody is told to trust.
pub const STRANGER: &str = "stranger";

/// A directory of certificates. Every file has its name and `.pem`.
pub struct Certs {
    dir: TempDir,
}

impl Default for Certs {
    fn default() -> Self {
        Self::new()
    }
}

impl Certs {
    /// The two authorities, and no certificate yet.
    ///
    /// # Panics
    /// When the openssl program is missing or fails.
    #[must_use]
    pub fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("underpass-certs-")
            .tempdir()
            .expect("a directory");
        // The daemon under test may have given up its rights.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
        let certs = Self { dir };
        for name in [CA, STRANGER] {
            certs.make_authority(name);
        }
        certs
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The file `<name>.pem`.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.pem"))
    }

    /// The certificate of the authority that signs unless another is asked for.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.path(CA)
    }

    /// Writes a file, for example a list of certificates.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).expect("write a file");
        path
    }

    fn make_authority(&self, name: &str) {
        let config = format!(
            "[req]\ndistinguished_name=dn\nx509_extensions=ext\nprompt=no\n[dn]\nCN=test {name}\n[ext]\n\
             basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n"
        );
        let config = self.write(&format!("{name}.cnf"), &config);
        let (out, key) = (self.path(name), self.key(name));
        openssl(|command| {
            command.args(["req", "-x509", "-days", "30", "-nodes"]);
            command.args(EC).arg("-config").arg(&config);
            command.arg("-keyout").arg(&key).arg("-out").arg(&out)
        });
    }

    fn key(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.key"))
    }

    /// Makes the bundle `<file>.pem`: the certificate, then its key. One of the same name is replaced.
    ///
    /// # Panics
    /// When the openssl program fails.
    pub fn issue(&self, file: &str, leaf: &Leaf) -> PathBuf {
        let dir = self.dir.path().display();
        let Leaf {
            names, authority, ..
        } = leaf;
        let alternatives: Vec<String> = names.iter().map(|name| format!("DNS:{name}")).collect();
        let mut config = format!(
            "[req]\ndistinguished_name=dn\nprompt=no\n[dn]\nCN={}\n[ext]\nbasicConstraints=critical,CA:FALSE\n\
             keyUsage=critical,digitalSignature,keyEncipherment\nextendedKeyUsage=serverAuth,clientAuth\n\
             subjectAltName={}\n",
            names[0],
            alternatives.join(",")
        );
        let _ = write!(
            config,
            "[ca]\ndefault_ca=d\n[d]\ndatabase={dir}/{file}.db\nnew_certs_dir={dir}/issued\nrand_serial=yes\n\
             default_md=sha256\npolicy=p\nx509_extensions=ext\nunique_subject=no\nemail_in_dn=no\n\
             certificate={dir}/{authority}.pem\nprivate_key={dir}/{authority}.key\n[p]\ncommonName=supplied\n"
        );
        let config = self.write(&format!("{file}.cnf"), &config);
        self.write(&format!("{file}.db"), "");
        // Outside the directories that a daemon is pointed at.
        fs::create_dir_all(self.dir.path().join("issued")).expect("a directory");
        let work = |suffix: &str| self.dir.path().join(format!("{file}.{suffix}"));
        let (request, key, certificate) = (work("csr"), self.key(file), work("crt"));
        openssl(|command| {
            command.args(["req", "-new", "-nodes"]);
            match leaf.key {
                Key::P256 => command.args(EC),
                Key::Rsa2048 => command.args(["-newkey", "rsa:2048"]),
            };
            command.arg("-config").arg(&config);
            command.arg("-keyout").arg(&key).arg("-out").arg(&request)
        });
        // Both ends far away: a test never meets a certificate on its first or last day.
        let (from, to) = if leaf.expired {
            ("20200101000000Z", "20210101000000Z")
        } else {
            ("20200101000000Z", "20491231235959Z")
        };
        openssl(|command| {
            command.args([
                "ca",
                "-batch",
                "-notext",
                "-startdate",
                from,
                "-enddate",
                to,
            ]);
            command.arg("-config").arg(&config);
            command
                .arg("-in")
                .arg(&request)
                .arg("-out")
                .arg(&certificate)
        });
        let read = |path: &Path| fs::read_to_string(path).expect("what openssl wrote");
        let bundle = read(&certificate) + &read(&key);
        self.write(&format!("{file}.pem"), &bundle)
    }

    /// Makes a directory of copies of these bundles, to point a daemon at.
    ///
    /// # Panics
    /// When one cannot be copied.
    pub fn directory(&self, name: &str, bundles: &[&str]) -> PathBuf {
        let dir = self.dir.path().join(name);
        fs::create_dir_all(&dir).expect("a directory");
        for bundle in bundles {
            fs::copy(self.path(bundle), dir.join(format!("{bundle}.pem"))).expect("copy a bundle");
        }
        dir
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(self.ca()).expect("the authority's certificate");
        roots.add(ca).expect("an authority");
        roots
    }

    /// The chain and the key of the bundle `<name>.pem`.
    fn bundle(&self, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let path = self.path(name);
        let chain = CertificateDer::pem_file_iter(&path)
            .expect("a bundle")
            .map(|certificate| certificate.expect("a certificate"))
            .collect();
        (chain, PrivateKeyDer::from_pem_file(&path).expect("a key"))
    }

    /// A TLS client that trusts the authority, shows the bundle `show` if any, and remembers sessions.
    ///
    /// # Panics
    /// When a file is missing.
    #[must_use]
    pub fn client(&self, versions: Versions, show: Option<&str>) -> ClientConfig {
        let config = ClientConfig::builder_with_protocol_versions(versions.list())
            .with_root_certificates(self.roots());
        match show {
            None => config.with_no_client_auth(),
            Some(name) => {
                let (chain, key) = self.bundle(name);
                config
                    .with_client_auth_cert(chain, key)
                    .expect("a certificate and its key")
            }
        }
    }

    /// A TLS server with the bundle `name`, which asks its clients for a certificate of the authority if `ask`.
    ///
    /// # Panics
    /// When a file is missing.
    #[must_use]
    pub fn server(&self, versions: Versions, name: &str, ask: bool) -> ServerConfig {
        let builder = ServerConfig::builder_with_protocol_versions(versions.list());
        let builder = if ask {
            let roots = Arc::new(self.roots());
            let verifier = rustls::server::WebPkiClientVerifier::builder(roots).build();
            builder.with_client_cert_verifier(verifier.expect("a verifier"))
        } else {
            builder.with_no_client_auth()
        };
        let (chain, key) = self.bundle(name);
        builder
            .with_single_cert(chain, key)
            .expect("a certificate and its key")
    }
}

/// Which versions of TLS a peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// Only TLS 1.2.
    V12,
    /// Only TLS 1.3.
    V13,
    /// Both.
    Both,
}

static ONLY_12: &[&SupportedProtocolVersion] = &[&TLS12];
static ONLY_13: &[&SupportedProtocolVersion] = &[&TLS13];
static BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

impl Versions {
    fn list(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::V12 => ONLY_12,
            Self::V13 => ONLY_13,
            Self::Both => BOTH,
        }
    }
}

const EC: [&str; 4] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

fn openssl(arguments: impl FnOnce(&mut Command) -> &mut Command) {
    let mut command = Command::new("openssl");
    arguments(&mut command).stdin(Stdio::null());
    let out = command.output().expect("run openssl (package openssl)");
    assert!(
        out.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verify(certs: &Certs, name: &str) -> bool {
        let out = Command::new("openssl")
            .arg("verify")
            .arg("-CAfile")
            .arg(certs.ca())
            .arg(certs.path(name))
            .output()
            .unwrap();
        out.status.success()
    }

    #[test]
    fn only_what_the_authority_signed_and_is_in_time_is_valid() {
        let certs = Certs::new();
        certs.issue("good", &Leaf::new("a.example").and("*.b.example"));
        certs.issue("rsa", &Leaf::new("a.example").rsa());
        certs.issue("expired", &Leaf::new("a.example").expired());
        certs.issue("strange", &Leaf::new("a.example").by(STRANGER));
        for (name, valid) in [
            ("good", true),
            ("rsa", true),
            ("expired", false),
            ("strange", false),
        ] {
            assert_eq!(verify(&certs, name), valid, "{name}");
        }
    }
}
