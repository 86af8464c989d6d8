//! One run over all files that a configuration names: each is read once, every fault is kept.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use x509_parser::time::ASN1Time;

use super::pem::{self, Certificate, FileError};
use super::verify::Roots;
use crate::config::model::Position;
use crate::config::model::tls::Authorities;

/// Where systems keep the authorities that they trust.
const SYSTEM_AUTHORITIES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Files that count in a directory of authorities.
const AUTHORITY_EXTENSIONS: &[&str] = &["pem", "crt", "cer"];

/// Why the TLS settings of a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError {
    /// The word or line of the configuration that it is about.
    pub position: Position,
    /// What is wrong, with the name of the file.
    pub message: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.position, self.message)
    }
}

impl std::error::Error for LoadError {}

/// What is usable but likely not meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadWarning {
    /// The word or line of the configuration that it is about.
    pub position: Position,
    /// What to tell the user.
    pub message: String,
}

impl fmt::Display for LoadWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.position, self.message)
    }
}

/// A run over the files.
#[derive(Debug)]
pub struct Loader {
    provider: CryptoProvider,
    now: i64,
    certificates: HashMap<PathBuf, Result<Arc<Certificate>, FileError>>,
    authorities: HashMap<PathBuf, Result<Arc<Roots>, FileError>>,
    errors: Vec<LoadError>,
    warnings: Vec<LoadWarning>,
}

/// What a run without faults leaves behind.
#[derive(Debug)]
pub struct Loaded {
    /// Certificates of ours that were read.
    pub certificates: usize,
    /// What is worth a remark.
    pub warnings: Vec<LoadWarning>,
}

impl Default for Loader {
    fn default() -> Self {
        Self::new()
    }
}

impl Loader {
    /// A run that starts now.
    pub fn new() -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |age| age.as_secs());
        Self {
            provider: aws_lc_rs::default_provider(),
            now: i64::try_from(now).unwrap_or(i64::MAX),
            certificates: HashMap::new(),
            authorities: HashMap::new(),
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Notes a fault.
    pub fn error(&mut self, position: &Position, message: impl Into<String>) {
        let error = LoadError {
            position: position.clone(),
            message: message.into(),
        };
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    /// Notes a remark.
    pub fn warn(&mut self, position: &Position, message: impl Into<String>) {
        let warning = LoadWarning {
            position: position.clone(),
            message: message.into(),
        };
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// The run's outcome: every fault, if there is any.
    pub fn finish(self) -> Result<Loaded, Vec<LoadError>> {
        if self.errors.is_empty() {
            Ok(Loaded {
                certificates: self.certificates.len(),
                warnings: self.warnings,
            })
        } else {
            Err(self.errors)
        }
    }

    /// The certificates that `path` stands for. Faults are noted for `position`, behind `context`.
    pub fn certificates(
        &mut self,
        path: &Path,
        position: &Position,
        context: &str,
    ) -> Vec<Arc<Certificate>> {
        match pem::expand(path) {
            Ok(files) => files
                .iter()
                .filter_map(|file| self.certificate(file, position, context))
                .collect(),
            Err(error) => {
                self.error(position, format!("{context}{error}"));
                Vec::new()
            }
        }
    }

    /// The certificate in a file.
    pub fn certificate(
        &mut self,
        file: &Path,
        position: &Position,
        context: &str,
    ) -> Option<Arc<Certificate>> {
        let read = match self.certificates.entry(file.to_owned()) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(vacant) => vacant
                .insert(pem::read_certificate(file, &self.provider).map(Arc::new))
                .clone(),
        };
        match read {
            Ok(certificate) => {
                self.remark_on(&certificate, position, context);
                Some(certificate)
            }
            Err(error) => {
                self.error(position, format!("{context}{error}"));
                None
            }
        }
    }

    fn remark_on(&mut self, certificate: &Certificate, position: &Position, context: &str) {
        let summary = &certificate.summary;
        let file = certificate.path.display();
        if !summary.is_valid_at(self.now) {
            let message = if self.now > summary.not_after {
                format!("the certificate expired on {}", date(summary.not_after))
            } else {
                format!("the certificate is valid from {}", date(summary.not_before))
            };
            self.warn(position, format!("{context}{file}: {message}"));
        }
        let stapled = pem::suffixed(&certificate.path, "ocsp");
        if fs::metadata(&stapled).is_ok_and(|metadata| metadata.len() > 0) {
            let message = "OCSP responses have no effect in this version";
            self.warn(
                position,
                format!("{context}{}: {message}", stapled.display()),
            );
        }
    }

    /// The authorities of a file, a directory, or the system.
    pub fn authorities(
        &mut self,
        authorities: &Authorities,
        position: &Position,
        context: &str,
    ) -> Option<Arc<Roots>> {
        let path = match authorities {
            Authorities::File(path) => path.clone(),
            Authorities::System => match system_authorities() {
                Some(path) => path,
                None => {
                    let tried = SYSTEM_AUTHORITIES.join(", ");
                    let message = format!("{context}@system-ca: none of {tried} exists");
                    self.error(position, message);
                    return None;
                }
            },
        };
        let read = match self.authorities.entry(path) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(vacant) => {
                let read = read_roots(vacant.key());
                vacant.insert(read).clone()
            }
        };
        read.map_err(|error| self.error(position, format!("{context}{error}")))
            .ok()
    }
}

fn system_authorities() -> Option<PathBuf> {
    let named = env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    named
        .into_iter()
        .chain(SYSTEM_AUTHORITIES.iter().map(PathBuf::from))
        .find(|path| path.is_file())
}

fn read_roots(path: &Path) -> Result<Arc<Roots>, FileError> {
    let mut certificates = Vec::new();
    if path.is_dir() {
        let files = pem::files_of(path, |file| {
            file.extension()
                .is_some_and(|extension| AUTHORITY_EXTENSIONS.iter().any(|e| extension == *e))
        })?;
        for file in files {
            certificates.extend(pem::read_authorities(&file)?);
        }
    } else {
        certificates = pem::read_authorities(path)?;
    }
    Roots::new(certificates)
        .map(Arc::new)
        .map_err(|reason| FileError::new(path, reason))
}

fn date(seconds: i64) -> String {
    ASN1Time::from_timestamp(seconds).map_or_else(
        |_| format!("second {seconds} since 1970"),
        |time| time.to_string(),
    )
}
