//! PEM files: a certificate with its chain and key, or a set of authorities.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::pem::{self, PemObject, SectionKind};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::x509::Summary;

/// Files of a directory that belong to other files of it.
const RESERVED_EXTENSIONS: &[&str] = &["key", "issuer", "ocsp", "sctl"];

/// What a name that is not a file may stand for: one file per kind of key.
const BUNDLE_EXTENSIONS: &[&str] = &["ecdsa", "rsa", "dsa"];

/// A certificate of ours, ready to sign.
#[derive(Debug)]
pub struct Certificate {
    /// The file that it is from.
    pub path: PathBuf,
    /// The chain and the key.
    pub key: Arc<CertifiedKey>,
    /// What it says of itself.
    pub summary: Summary,
}

impl Certificate {
    /// Whether its key is an elliptic one, which is cheaper to sign with than RSA and goes first
    /// where a client takes both.
    pub fn is_ecdsa(&self) -> bool {
        self.key.key.algorithm() == SignatureAlgorithm::ECDSA
    }

    /// Whether it can sign in one of the ways that a client takes.
    pub fn can_sign(&self, schemes: &[SignatureScheme]) -> bool {
        self.key.key.choose_scheme(schemes).is_some()
    }
}

/// Why a file cannot be used. The text names the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

impl FileError {
    /// A fault of the file at `path`.
    pub fn new(path: &Path, reason: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    fn io(path: &Path, error: &io::Error) -> Self {
        Self::new(path, plain(error))
    }
}

/// The system's words for an error, without its number.
fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// The files that `path` stands for: itself; every certificate of it, in name order, if it is a
/// directory; one per kind of key (`.ecdsa`, `.rsa`, `.dsa`) if it does not exist but these do.
pub fn expand(path: &Path) -> Result<Vec<PathBuf>, FileError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => files_of(path, is_certificate_name),
        Ok(_) => Ok(vec![path.to_owned()]),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let bundle: Vec<_> = BUNDLE_EXTENSIONS
                .iter()
                .map(|extension| suffixed(path, extension))
                .filter(|file| file.is_file())
                .collect();
            if bundle.is_empty() {
                Err(FileError::io(path, &error))
            } else {
                Ok(bundle)
            }
        }
        Err(error) => Err(FileError::io(path, &error)),
    }
}

/// The files of a directory that `wanted` takes, in name order; at least one.
pub fn files_of(path: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>, FileError> {
    let fault = |error: io::Error| FileError::io(path, &error);
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(fault)? {
        let file = entry.map_err(fault)?.path();
        if wanted(&file) && file.is_file() {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(FileError::new(path, "the directory has no certificate"));
    }
    files.sort();
    Ok(files)
}

fn is_certificate_name(file: &Path) -> bool {
    let hidden = file
        .file_name()
        .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let reserved = file
        .extension()
        .is_some_and(|extension| RESERVED_EXTENSIONS.iter().any(|known| extension == *known));
    !hidden && !reserved
}

/// `path` with `.extension` after its whole name.
pub fn suffixed(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

/// Reads a certificate, its chain and its key from one file, or the key from `<path>.key`.
pub fn read_certificate(path: &Path, provider: &CryptoProvider) -> Result<Certificate, FileError> {
    let fault = |reason: String| FileError::new(path, reason);
    let text = fs::read(path).map_err(|error| FileError::io(path, &error))?;
    let chain = parse_chain(&text).map_err(fault)?;
    let key = match parse_key(&text).map_err(fault)? {
        Some(key) => key,
        None => read_key_beside(path)?,
    };
    let summary = Summary::read(&chain[0]).map_err(fault)?;
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|_| fault("the private key is of no kind known here".to_owned()))?;
    if !belongs(&*key, &summary) {
        return Err(fault(
            "the private key is not that of the certificate".to_owned(),
        ));
    }
    Ok(Certificate {
        path: path.to_owned(),
        key: Arc::new(CertifiedKey::new(chain, key)),
        summary,
    })
}

fn read_key_beside(path: &Path) -> Result<PrivateKeyDer<'static>, FileError> {
    let beside = suffixed(path, "key");
    let text = match fs::read(&beside) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let reason = format!("no private key in it, and no file {}", beside.display());
            return Err(FileError::new(path, reason));
        }
        Err(error) => return Err(FileError::io(&beside, &error)),
    };
    parse_key(&text)
        .map_err(|reason| FileError::new(&beside, reason))?
        .ok_or_else(|| FileError::new(&beside, "no private key in it"))
}

// The library's own comparison takes certificates of version 3 only.
fn belongs(key: &dyn SigningKey, summary: &Summary) -> bool {
    key.public_key()
        .is_none_or(|public| public.as_ref() == summary.public_key)
}

/// The certificates of a PEM text, in order; at least one.
pub fn parse_chain(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = CertificateDer::pem_slice_iter(text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| describe(&error))?;
    if !chain.is_empty() {
        return Ok(chain);
    }
    let has_section = <(SectionKind, Vec<u8>)>::pem_slice_iter(text).any(|section| section.is_ok());
    Err(if has_section {
        "no certificate in it".to_owned()
    } else {
        "not a PEM file".to_owned()
    })
}

/// The first private key of a PEM text.
fn parse_key(text: &[u8]) -> Result<Option<PrivateKeyDer<'static>>, String> {
    match PrivateKeyDer::from_pem_slice(text) {
        Ok(key) => Ok(Some(key)),
        Err(pem::Error::NoItemsFound) if is_encrypted(text) => {
            Err("its private key is encrypted, which is not available in this version".to_owned())
        }
        Err(pem::Error::NoItemsFound) => Ok(None),
        Err(error) => Err(describe(&error)),
    }
}

fn is_encrypted(text: &[u8]) -> bool {
    const HEAD: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
    text.windows(HEAD.len()).any(|window| window == HEAD)
}

fn describe(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { end_marker } => format!(
            "PEM section {} has no end",
            String::from_utf8_lossy(end_marker)
        ),
        pem::Error::IllegalSectionStart { line } => {
            format!("malformed PEM line {:?}", String::from_utf8_lossy(line))
        }
        pem::Error::Base64Decode(_) => "a PEM section is not base64".to_owned(),
        error => format!("{error:?}"),
    }
}

/// Reads the certificates of a file of authorities.
pub fn read_authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let text = fs::read(path).map_err(|error| FileError::io(path, &error))?;
    parse_chain(&text).map_err(|reason| FileError::new(path, reason))
}
