//! Parts of a client's certificate, as HAProxy names and writes them.
//!
//! The certificate is read again for every look: rules on it are rare, and one connection needs few.

use std::fmt::Write as _;

use aws_lc_rs::digest;
use bumpalo::Bump;
use bumpalo::collections::String as ArenaString;
use x509_parser::certificate::X509Certificate;
use x509_parser::parse_x509_certificate;
use x509_parser::time::ASN1Time;

use super::names::Form;
use crate::rules::sample::{Kind, Value};
use crate::tls::x509::Summary;

/// Algorithms of public keys by OID, with OpenSSL's short names.
const KEY_ALGORITHMS: &[(&str, &str)] = &[
    ("1.2.840.113549.1.1.1", "rsaEncryption"),
    ("1.2.840.113549.1.1.10", "rsassaPss"),
    ("1.2.840.10045.2.1", "id-ecPublicKey"),
    ("1.3.101.112", "ED25519"),
    ("1.3.101.113", "ED448"),
];

/// A part of a certificate.
#[derive(Debug)]
pub(super) enum Field {
    /// All of it.
    Der,
    /// Its serial number, without a leading zero.
    Serial,
    /// Its fingerprint.
    Sha1,
    /// The version of its form: 3, mostly.
    Version,
    /// `YYMMDDhhmmssZ`
    NotBefore,
    /// `YYMMDDhhmmssZ`
    NotAfter,
    /// The algorithm of its key.
    Key,
    /// The algorithm that signed it.
    Signature,
    /// Whose it is.
    Subject(Form),
    /// Who signed it.
    Issuer(Form),
}

impl Field {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Der | Self::Serial | Self::Sha1 => Kind::Bin,
            Self::Version => Kind::Int,
            _ => Kind::Str,
        }
    }

    /// This part of a certificate in DER; `None` where it has none.
    pub(super) fn of<'a>(&self, der: &'a [u8], arena: &'a Bump) -> Option<Value<'a>> {
        let parsed = || Some(parse_x509_certificate(der).ok()?.1);
        Some(match self {
            Self::Der => Value::Bin(der),
            Self::Sha1 => {
                let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, der);
                Value::Bin(arena.alloc_slice_copy(digest.as_ref()))
            }
            Self::Serial => {
                let serial = parsed()?;
                let bytes = match serial.raw_serial() {
                    // DER's sign of a positive number.
                    [0, rest @ ..] if !rest.is_empty() => rest,
                    all => all,
                };
                Value::Bin(arena.alloc_slice_copy(bytes))
            }
            Self::Version => Value::Int(i64::from(parsed()?.version().0) + 1),
            Self::NotBefore => Value::Str(date(&parsed()?.validity().not_before, arena)?),
            Self::NotAfter => Value::Str(date(&parsed()?.validity().not_after, arena)?),
            Self::Key => Value::Str(key_algorithm(&parsed()?).as_bytes()),
            Self::Signature => Value::Str(Summary::read(der).ok()?.signature?.as_bytes()),
            Self::Subject(form) => form.of(parsed()?.subject(), arena)?,
            Self::Issuer(form) => form.of(parsed()?.issuer(), arena)?,
        })
    }
}

fn key_algorithm(certificate: &X509Certificate<'_>) -> &'static str {
    let oid = certificate.public_key().algorithm.algorithm.to_id_string();
    KEY_ALGORITHMS
        .iter()
        .find(|(known, _)| *known == oid)
        .map_or("UNDEF", |(_, name)| name)
}

/// `YYMMDDhhmmssZ`; `None` outside of 2000 to 2099, which two digits of a year cannot tell.
fn date<'a>(time: &ASN1Time, arena: &'a Bump) -> Option<&'a [u8]> {
    let time = time.to_datetime();
    let year = time.year();
    if !(2000..2100).contains(&year) {
        return None;
    }
    let mut text = ArenaString::new_in(arena);
    write!(
        text,
        "{:02}{:02}{:02}{:02}{:02}{:02}Z",
        year - 2000,
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
    .ok()?;
    Some(text.into_bump_str().as_bytes())
}
