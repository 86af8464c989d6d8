//! Versions, cipher suites and key exchange groups: from OpenSSL's names to the library's.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{self, cipher_suite as suites, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::{CipherSuite, SupportedCipherSuite, SupportedProtocolVersion, version};

use crate::config::model::tls::{TlsParameters, TlsVersion};
use crate::config::tls::ciphers;

/// The library's suites by OpenSSL's names: those of [`ciphers::TLS12`] and [`ciphers::TLS13`].
static SUITES: [(&str, SupportedCipherSuite); 9] = [
    ("TLS_AES_256_GCM_SHA384", suites::TLS13_AES_256_GCM_SHA384),
    (
        "TLS_CHACHA20_POLY1305_SHA256",
        suites::TLS13_CHACHA20_POLY1305_SHA256,
    ),
    ("TLS_AES_128_GCM_SHA256", suites::TLS13_AES_128_GCM_SHA256),
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        suites::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        suites::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        suites::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        suites::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        suites::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
];

/// The library's groups by the names of [`config::tls::groups`](crate::config::tls::groups).
static GROUPS: [(&str, &dyn SupportedKxGroup); 5] = [
    ("X25519", kx_group::X25519),
    ("P-256", kx_group::SECP256R1),
    ("P-384", kx_group::SECP384R1),
    ("X25519MLKEM768", kx_group::X25519MLKEM768),
    ("SecP256r1MLKEM768", kx_group::SECP256R1MLKEM768),
];

/// OpenSSL's name of a cipher suite, as logs and PROXY headers have it.
pub fn cipher_name(suite: CipherSuite) -> Option<&'static str> {
    let known = SUITES.iter().find(|(_, known)| known.suite() == suite);
    known.map(|(name, _)| *name)
}

/// What a handshake may choose from.
#[derive(Debug, Clone)]
pub struct Choices {
    /// Cipher suites and groups, most wanted first.
    pub provider: Arc<CryptoProvider>,
    /// Versions.
    pub versions: Vec<&'static SupportedProtocolVersion>,
}

/// Makes the choices that `parameters` leave.
///
/// # Errors
/// When nothing is left to choose from, or a name is none that reading a configuration leaves.
pub fn choices(parameters: &TlsParameters) -> Result<Choices, String> {
    let min = parameters.min.unwrap_or(TlsVersion::V1_2);
    let max = parameters.max.unwrap_or(TlsVersion::V1_3);
    if min > max {
        return Err("ssl-min-ver is above ssl-max-ver".to_owned());
    }
    let mut cipher_suites = Vec::new();
    let mut versions = Vec::new();
    if max >= TlsVersion::V1_3 {
        cipher_suites.extend(suites_of(&parameters.ciphersuites, &ciphers::TLS13)?);
        versions.push(&version::TLS13);
    }
    if min <= TlsVersion::V1_2 {
        cipher_suites.extend(suites_of(&parameters.ciphers, &ciphers::TLS12)?);
        versions.push(&version::TLS12);
    }
    let kx_groups = if parameters.curves.is_empty() {
        aws_lc_rs::DEFAULT_KX_GROUPS.to_vec()
    } else {
        let names = parameters.curves.iter().map(String::as_str);
        named(names, &GROUPS)?
    };
    Ok(Choices {
        provider: Arc::new(CryptoProvider {
            cipher_suites,
            kx_groups,
            ..aws_lc_rs::default_provider()
        }),
        versions,
    })
}

/// The suites of these names, or of all in `every` where there are none.
fn suites_of(names: &[String], every: &[&str]) -> Result<Vec<SupportedCipherSuite>, String> {
    if names.is_empty() {
        named(every.iter().copied(), &SUITES)
    } else {
        named(names.iter().map(String::as_str), &SUITES)
    }
}

fn named<'a, T: Copy>(
    names: impl Iterator<Item = &'a str>,
    table: &[(&str, T)],
) -> Result<Vec<T>, String> {
    let find = |name: &str| {
        let found = table.iter().find(|(known, _)| *known == name);
        found
            .map(|(_, value)| *value)
            .ok_or_else(|| format!("'{name}' is not available here"))
    };
    names.map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tls::groups;

    #[test]
    fn every_name_that_a_configuration_can_leave_is_known() {
        let all = TlsParameters {
            ciphers: ciphers::TLS12.map(str::to_owned).to_vec(),
            ciphersuites: ciphers::TLS13.map(str::to_owned).to_vec(),
            curves: groups::GROUPS.map(|(name, _)| name.to_owned()).to_vec(),
            ..TlsParameters::default()
        };
        let named = choices(&all).unwrap().provider;
        let suites = named.cipher_suites.iter().map(SupportedCipherSuite::suite);
        let names: Vec<_> = suites.map(|suite| cipher_name(suite).unwrap()).collect();
        assert_eq!(names, [&ciphers::TLS13[..], &ciphers::TLS12[..]].concat());
        assert_eq!(named.kx_groups.len(), groups::GROUPS.len());
        // Nothing said is the same as every suite, in the same order.
        let silent = choices(&TlsParameters::default()).unwrap().provider;
        assert_eq!(silent.cipher_suites, named.cipher_suites);
    }

    #[test]
    fn what_cannot_be_had_is_named() {
        let unknown = TlsParameters {
            ciphers: vec!["AES128-SHA".to_owned()],
            ..TlsParameters::default()
        };
        assert!(choices(&unknown).unwrap_err().contains("'AES128-SHA'"));
        let crossed = TlsParameters {
            min: Some(TlsVersion::V1_3),
            max: Some(TlsVersion::V1_2),
            ..TlsParameters::default()
        };
        assert!(choices(&crossed).unwrap_err().contains("above"));
    }
}
