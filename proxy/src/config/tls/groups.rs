//! `curves` and `ecdhe`: key exchange groups.

use super::Choice;

/// The groups that this build has: the name used from here on, and its other names.
pub(crate) const GROUPS: [(&str, &[&str]); 5] = [
    ("X25519", &[]),
    ("P-256", &["prime256v1", "secp256r1"]),
    ("P-384", &["secp384r1"]),
    ("X25519MLKEM768", &[]),
    ("SecP256r1MLKEM768", &[]),
];

/// Groups that OpenSSL has and this build has not. Any other name is a mistake.
const ELSEWHERE: [&str; 14] = [
    "P-521",
    "secp521r1",
    "X448",
    "secp256k1",
    "secp224r1",
    "P-224",
    "brainpoolP256r1",
    "brainpoolP384r1",
    "brainpoolP512r1",
    "ffdhe2048",
    "ffdhe3072",
    "ffdhe4096",
    "ffdhe6144",
    "ffdhe8192",
];

/// Reads a colon-separated list of groups; case does not count.
///
/// # Errors
/// A sentence: a name that OpenSSL would not know either, or no group left.
pub(crate) fn read(text: &str) -> Result<Choice, String> {
    let available: Vec<&str> = GROUPS.iter().map(|(name, _)| *name).collect();
    let mut chosen: Vec<String> = Vec::new();
    let mut missing = Vec::new();
    for word in text.split(':').filter(|word| !word.is_empty()) {
        let same = |name: &&str| name.eq_ignore_ascii_case(word);
        let found = GROUPS
            .iter()
            .find(|(name, others)| same(name) || others.iter().any(&same));
        match found {
            Some((name, _)) if chosen.iter().any(|had| had == name) => {}
            Some((name, _)) => chosen.push((*name).to_owned()),
            None if ELSEWHERE.iter().any(same) => missing.push(word.to_owned()),
            None => {
                return Err(format!(
                    "unknown curve '{word}'; there is {}",
                    available.join(", ")
                ));
            }
        }
    }
    Choice::new(text, chosen, missing, &available)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_groups() {
        let choice = read("x25519:P-521:prime256v1:P-256").unwrap();
        assert_eq!(choice.chosen, ["X25519", "P-256"]);
        assert_eq!(choice.missing, ["P-521"]);
        for text in ["P-521", "X25519:FOO", ""] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
