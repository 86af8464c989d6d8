//! Versions, cipher suites and key exchange groups: from OpenSSL's names to the library's.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{self, cipher_suite as suites, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::{CipherSuite, SupportedCipherSuite, SupportedProtocolVersion, version};

use crate::config::model::tls::{TlsParameters, TlsVersion};

/// A cipher suite of TLS 1.2, and the words by which OpenSSL's cipher strings take it in.
struct Tls12Suite {
    suite: SupportedCipherSuite,
    name: &'static str,
    words: &'static [&'static str],
}

/// Words that every suite of TLS 1.2 here answers to: all are ephemeral, authenticated and AEAD.
const COMMON_WORDS: &[&str] = &[
    "ALL", "DEFAULT", "HIGH", "TLSv1.2", "ECDHE", "EECDH", "kECDHE", "kEECDH", "ECDH", "FIPS",
];

/// Most wanted first, as OpenSSL sorts them.
static TLS12: &[Tls12Suite] = &[
    Tls12Suite {
        suite: suites::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        name: "ECDHE-ECDSA-AES256-GCM-SHA384",
        words: &["ECDSA", "aECDSA", "AES", "AES256", "AESGCM", "SHA384"],
    },
    Tls12Suite {
        suite: suites::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        name: "ECDHE-RSA-AES256-GCM-SHA384",
        words: &["aRSA", "AES", "AES256", "AESGCM", "SHA384"],
    },
    Tls12Suite {
        suite: suites::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        name: "ECDHE-ECDSA-CHACHA20-POLY1305",
        words: &["ECDSA", "aECDSA", "CHACHA20"],
    },
    Tls12Suite {
        suite: suites::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        name: "ECDHE-RSA-CHACHA20-POLY1305",
        words: &["aRSA", "CHACHA20"],
    },
    Tls12Suite {
        suite: suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        name: "ECDHE-ECDSA-AES128-GCM-SHA256",
        words: &["ECDSA", "aECDSA", "AES", "AES128", "AESGCM", "SHA256"],
    },
    Tls12Suite {
        suite: suites::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        name: "ECDHE-RSA-AES128-GCM-SHA256",
        words: &["aRSA", "AES", "AES128", "AESGCM", "SHA256"],
    },
];

/// Suites of TLS 1.3, most wanted first, as OpenSSL sorts them.
static TLS13: &[(SupportedCipherSuite, &str)] = &[
    (suites::TLS13_AES_256_GCM_SHA384, "TLS_AES_256_GCM_SHA384"),
    (
        suites::TLS13_CHACHA20_POLY1305_SHA256,
        "TLS_CHACHA20_POLY1305_SHA256",
    ),
    (suites::TLS13_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256"),
];

/// OpenSSL's name of a cipher suite, as logs and PROXY headers have it.
pub fn cipher_name(suite: CipherSuite) -> Option<&'static str> {
    let tls12 = TLS12.iter().map(|known| (known.suite, known.name));
    TLS13
        .iter()
        .copied()
        .chain(tls12)
        .find(|(known, _)| known.suite() == suite)
        .map(|(_, name)| name)
}

/// What a handshake may choose from.
#[derive(Debug, Clone)]
pub struct Choices {
    /// Cipher suites and groups, most wanted first.
    pub provider: Arc<CryptoProvider>,
    /// Versions.
    pub versions: Vec<&'static SupportedProtocolVersion>,
}

/// Makes the choices that `parameters` leave. Words without a meaning here are told to `warn`,
/// and left out; the error says what left nothing to choose from.
pub fn choices(
    parameters: &TlsParameters,
    mut warn: impl FnMut(String),
) -> Result<Choices, String> {
    let min = parameters.min.unwrap_or(TlsVersion::V1_2);
    let max = parameters.max.unwrap_or(TlsVersion::V1_3);
    if min > max {
        return Err("ssl-min-ver is above ssl-max-ver".to_owned());
    }
    let mut cipher_suites = Vec::new();
    let mut versions = Vec::new();
    if max >= TlsVersion::V1_3 {
        cipher_suites.extend(tls13_suites(&parameters.ciphersuites, &mut warn)?);
        versions.push(&version::TLS13);
    }
    if min <= TlsVersion::V1_2 {
        cipher_suites.extend(tls12_suites(&parameters.ciphers, &mut warn)?);
        versions.push(&version::TLS12);
    }
    Ok(Choices {
        provider: Arc::new(CryptoProvider {
            cipher_suites,
            kx_groups: groups(&parameters.curves, &mut warn)?,
            ..aws_lc_rs::default_provider()
        }),
        versions,
    })
}

fn tls13_suites(
    names: &[String],
    warn: &mut impl FnMut(String),
) -> Result<Vec<SupportedCipherSuite>, String> {
    if names.is_empty() {
        return Ok(TLS13.iter().map(|(suite, _)| *suite).collect());
    }
    let mut found = Vec::new();
    for name in names {
        match TLS13.iter().find(|(_, known)| known == name) {
            Some((suite, _)) if !found.contains(suite) => found.push(*suite),
            Some(_) => {}
            None => warn(format!("ciphersuites: '{name}' is not available here")),
        }
    }
    if found.is_empty() {
        return Err(format!(
            "ciphersuites: none of '{}' is available here",
            names.join(":")
        ));
    }
    Ok(found)
}

/// Reads OpenSSL's cipher string: names and `+`-joined words, each to add, `!` to ban, `-` to
/// remove, or `+` to move to the end.
fn tls12_suites(
    words: &[String],
    warn: &mut impl FnMut(String),
) -> Result<Vec<SupportedCipherSuite>, String> {
    if words.is_empty() {
        return Ok(TLS12.iter().map(|known| known.suite).collect());
    }
    let mut chosen: Vec<&Tls12Suite> = Vec::new();
    let mut banned: Vec<&Tls12Suite> = Vec::new();
    let is_in = |list: &[&Tls12Suite], suite: &Tls12Suite| {
        list.iter().any(|other| other.suite == suite.suite)
    };
    for word in words {
        let (sign, term) = match word.split_at_checked(1) {
            Some((sign @ ("!" | "-" | "+"), term)) => (sign, term),
            _ => ("", word.as_str()),
        };
        // Security levels and sorting: every suite here has 128 bits or more.
        if term.starts_with('@') {
            continue;
        }
        let matching: Vec<_> = TLS12.iter().filter(|suite| suite.answers(term)).collect();
        match sign {
            "" => {
                if matching.is_empty() {
                    warn(format!("ciphers: '{term}' is not available here"));
                }
                for suite in matching {
                    if !is_in(&chosen, suite) && !is_in(&banned, suite) {
                        chosen.push(suite);
                    }
                }
            }
            "+" => {
                let (moved, kept) = chosen
                    .into_iter()
                    .partition::<Vec<_>, _>(|suite| is_in(&matching, suite));
                chosen = kept;
                chosen.extend(moved);
            }
            sign => {
                chosen.retain(|suite| !is_in(&matching, suite));
                if sign == "!" {
                    banned.extend(matching);
                }
            }
        }
    }
    if chosen.is_empty() {
        return Err(format!(
            "ciphers: none of '{}' is available here",
            words.join(":")
        ));
    }
    Ok(chosen.into_iter().map(|known| known.suite).collect())
}

impl Tls12Suite {
    fn answers(&self, term: &str) -> bool {
        term == self.name
            || term
                .split('+')
                .all(|word| COMMON_WORDS.contains(&word) || self.words.contains(&word))
    }
}

fn groups(
    names: &[String],
    warn: &mut impl FnMut(String),
) -> Result<Vec<&'static dyn SupportedKxGroup>, String> {
    if names.is_empty() {
        return Ok(aws_lc_rs::DEFAULT_KX_GROUPS.to_vec());
    }
    let mut found: Vec<&'static dyn SupportedKxGroup> = Vec::new();
    for name in names {
        match group(name) {
            Some(group) if found.iter().all(|known| known.name() != group.name()) => {
                found.push(group);
            }
            Some(_) => {}
            None => warn(format!("curves: '{name}' is not available here")),
        }
    }
    if found.is_empty() {
        return Err(format!(
            "curves: none of '{}' is available here",
            names.join(":")
        ));
    }
    Ok(found)
}

fn group(name: &str) -> Option<&'static dyn SupportedKxGroup> {
    match name.to_ascii_lowercase().as_str() {
        "x25519" => Some(kx_group::X25519),
        "p-256" | "prime256v1" | "secp256r1" => Some(kx_group::SECP256R1),
        "p-384" | "secp384r1" => Some(kx_group::SECP384R1),
        "x25519mlkem768" => Some(kx_group::X25519MLKEM768),
        "secp256r1mlkem768" => Some(kx_group::SECP256R1MLKEM768),
        "mlkem768" => Some(kx_group::MLKEM768),
        "mlkem1024" => Some(kx_group::MLKEM1024),
        _ => None,
    }
}
