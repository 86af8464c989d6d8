//! What the daemon wants to know of a certificate: names, validity, algorithms.

use std::sync::Arc;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;
use x509_parser::public_key::PublicKey;

/// Signature algorithms by OID, with OpenSSL's short names, which is what HAProxy sends and logs.
const SIGNATURES: &[(&str, &str)] = &[
    ("1.2.840.113549.1.1.5", "RSA-SHA1"),
    ("1.2.840.113549.1.1.14", "RSA-SHA224"),
    ("1.2.840.113549.1.1.11", "RSA-SHA256"),
    ("1.2.840.113549.1.1.12", "RSA-SHA384"),
    ("1.2.840.113549.1.1.13", "RSA-SHA512"),
    ("1.2.840.113549.1.1.10", "RSASSA-PSS"),
    ("1.2.840.10045.4.1", "ecdsa-with-SHA1"),
    ("1.2.840.10045.4.3.1", "ecdsa-with-SHA224"),
    ("1.2.840.10045.4.3.2", "ecdsa-with-SHA256"),
    ("1.2.840.10045.4.3.3", "ecdsa-with-SHA384"),
    ("1.2.840.10045.4.3.4", "ecdsa-with-SHA512"),
    ("1.3.101.112", "ED25519"),
    ("1.3.101.113", "ED448"),
];

/// Named curves by OID, and their size in bits.
const CURVES: &[(&str, u32)] = &[
    ("1.2.840.10045.3.1.7", 256),
    ("1.3.132.0.34", 384),
    ("1.3.132.0.35", 521),
];

/// Parts of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The DNS names of its subject alternative name.
    pub alternative_names: Vec<String>,
    /// The first common name of its subject.
    pub common_name: Option<String>,
    /// First second of its validity, since 1970.
    pub not_before: i64,
    /// Last second of its validity, since 1970.
    pub not_after: i64,
    /// The algorithm that signed it, by OpenSSL's name.
    pub signature: Option<&'static str>,
    /// The kind and size of its key: `RSA2048`, `EC256`.
    pub key: Option<Arc<str>>,
    /// Its public key, with algorithm, in DER.
    pub public_key: Vec<u8>,
}

impl Summary {
    /// Reads a certificate in DER. The error says what is wrong with it.
    pub fn read(der: &[u8]) -> Result<Self, String> {
        let (_, certificate) =
            parse_x509_certificate(der).map_err(|error| format!("not a certificate: {error}"))?;
        Ok(Self {
            alternative_names: alternative_names(&certificate)?,
            common_name: common_name(&certificate),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            signature: signature(&certificate),
            key: key(&certificate),
            public_key: certificate.public_key().raw.to_vec(),
        })
    }

    /// Every name that a client may ask it by.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.alternative_names
            .iter()
            .map(String::as_str)
            .chain(self.common_name.as_deref())
    }

    /// Whether it is valid at `now`, in seconds since 1970.
    pub fn is_valid_at(&self, now: i64) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }
}

/// The first common name of a certificate's subject.
pub fn subject_common_name(der: &[u8]) -> Option<String> {
    let (_, certificate) = parse_x509_certificate(der).ok()?;
    common_name(&certificate)
}

fn common_name(certificate: &X509Certificate<'_>) -> Option<String> {
    let attribute = certificate.subject().iter_common_name().next()?;
    attribute.as_str().ok().map(str::to_owned)
}

fn alternative_names(certificate: &X509Certificate<'_>) -> Result<Vec<String>, String> {
    let extension = certificate
        .subject_alternative_name()
        .map_err(|error| format!("its subject alternative name is malformed: {error}"))?;
    Ok(extension.map_or_else(Vec::new, |extension| {
        extension
            .value
            .general_names
            .iter()
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some((*name).to_owned()),
                _ => None,
            })
            .collect()
    }))
}

fn signature(certificate: &X509Certificate<'_>) -> Option<&'static str> {
    let oid = certificate.signature_algorithm.algorithm.to_id_string();
    SIGNATURES
        .iter()
        .find(|(known, _)| *known == oid)
        .map(|(_, name)| *name)
}

fn key(certificate: &X509Certificate<'_>) -> Option<Arc<str>> {
    let public_key = certificate.public_key();
    match public_key.parsed().ok()? {
        PublicKey::RSA(key) => Some(format!("RSA{}", key.key_size()).into()),
        PublicKey::EC(_) => {
            let curve = public_key.algorithm.parameters.as_ref()?.as_oid().ok()?;
            let curve = curve.to_id_string();
            let (_, bits) = CURVES.iter().find(|(known, _)| *known == curve)?;
            Some(format!("EC{bits}").into())
        }
        _ => None,
    }
}
