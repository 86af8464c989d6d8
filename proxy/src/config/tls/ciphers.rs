//! `ciphers`: OpenSSL's cipher strings, as far as they select suites that this build has.
//! `ciphersuites`: names of TLS 1.3 suites.
//!
//! A cipher string is a small program over a list of suites, so it cannot be cut down to known
//! names: it is run here, over the few suites that are there. OpenSSL's `ciphers` command is what
//! the tests compare with.

use super::Choice;

/// The suites of TLS 1.2, by OpenSSL's names and in its order of preference.
pub(crate) const TLS12: [&str; 6] = [
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
];

/// The suites of TLS 1.3, in OpenSSL's order of preference.
pub(crate) const TLS13: [&str; 3] = [
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_AES_128_GCM_SHA256",
];

/// Words that every suite of [`TLS12`] answers to.
const ALIASES: [&str; 7] = [
    "ALL", "HIGH", "TLSv1.2", "ECDHE", "EECDH", "kECDHE", "kEECDH",
];

/// Whether `word` (a name, or one alias of a `+` chain) includes the suite `name`.
fn includes(word: &str, name: &str) -> bool {
    if word == name || ALIASES.contains(&word) {
        return true;
    }
    let aes = name.contains("-AES");
    match word {
        "ECDSA" | "aECDSA" => name.contains("-ECDSA-"),
        "aRSA" => name.contains("-RSA-"),
        "AES" | "AESGCM" | "FIPS" => aes,
        "AES128" => name.contains("-AES128-"),
        "AES256" => name.contains("-AES256-"),
        "CHACHA20" => !aes,
        _ => false,
    }
}

/// The key length, which `@STRENGTH` sorts by.
fn bits(name: &str) -> u32 {
    if name.contains("-AES128-") { 128 } else { 256 }
}

/// The suites while a cipher string is run over them: both lists in their order.
struct Lists {
    inactive: Vec<&'static str>,
    active: Vec<&'static str>,
}

impl Lists {
    /// Cuts the suites that `wanted` selects out of a list.
    fn cut(list: &mut Vec<&'static str>, wanted: impl Fn(&str) -> bool) -> Vec<&'static str> {
        let (cut, left) = list.iter().partition(|name| wanted(name));
        *list = left;
        cut
    }

    fn apply(&mut self, command: char, wanted: impl Fn(&str) -> bool) {
        match command {
            '!' => {
                Self::cut(&mut self.active, &wanted);
                Self::cut(&mut self.inactive, &wanted);
            }
            '-' => {
                // What was taken out comes back before what never was in.
                let mut removed = Self::cut(&mut self.active, &wanted);
                removed.append(&mut self.inactive);
                self.inactive = removed;
            }
            '+' => {
                let mut moved = Self::cut(&mut self.active, &wanted);
                self.active.append(&mut moved);
            }
            _ => {
                let mut added = Self::cut(&mut self.inactive, &wanted);
                self.active.append(&mut added);
            }
        }
    }
}

/// Runs a cipher string.
///
/// # Errors
/// A sentence, where no suite is left.
pub(crate) fn tls12(text: &str) -> Result<Choice, String> {
    let mut lists = Lists {
        inactive: TLS12.to_vec(),
        active: Vec::new(),
    };
    let mut missing = Vec::new();
    let terms = text
        .split([':', ',', ' ', ';'])
        .filter(|term| !term.is_empty());
    for (index, term) in terms.enumerate() {
        if term == "@STRENGTH" {
            lists
                .active
                .sort_by_key(|name| std::cmp::Reverse(bits(name)));
            continue;
        }
        // `@SECLEVEL=n` bounds key sizes; the suites here satisfy all of its levels.
        if term.starts_with('@') {
            continue;
        }
        let (command, words) = match term.chars().next() {
            Some(sign @ ('!' | '-' | '+')) => (sign, &term[1..]),
            _ => (' ', term),
        };
        // OpenSSL knows the word only as the first one.
        let words = if index == 0 && words == "DEFAULT" {
            "ALL"
        } else {
            words
        };
        let wanted = |name: &str| words.split('+').all(|word| includes(word, name));
        if command == ' ' && !TLS12.iter().any(|name| wanted(name)) {
            missing.push(term.to_owned());
        }
        lists.apply(command, wanted);
    }
    let chosen = lists.active.into_iter().map(str::to_owned).collect();
    Choice::new(text, chosen, missing, &TLS12)
}

/// Reads a colon-separated list of TLS 1.3 suites.
///
/// # Errors
/// A sentence, where no suite is left.
pub(crate) fn tls13(text: &str) -> Result<Choice, String> {
    let names = text.split(':').filter(|name| !name.is_empty());
    let mut chosen: Vec<String> = Vec::new();
    let mut missing = Vec::new();
    for name in names.map(str::to_owned) {
        if !TLS13.contains(&name.as_str()) {
            missing.push(name);
        } else if !chosen.contains(&name) {
            chosen.push(name);
        }
    }
    Choice::new(text, chosen, missing, &TLS13)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Short names for the suites of a choice.
    fn chosen(text: &str) -> String {
        let short = |name: &String| {
            let auth = if name.contains("ECDSA") { 'e' } else { 'r' };
            let cipher = if name.contains("CHACHA") {
                "c".to_owned()
            } else {
                bits(name).to_string()
            };
            format!("{auth}{cipher}")
        };
        match tls12(text) {
            Ok(choice) => choice
                .chosen
                .iter()
                .map(short)
                .collect::<Vec<_>>()
                .join(" "),
            Err(_) => String::new(),
        }
    }

    #[test]
    fn cipher_strings() {
        // The right column is what OpenSSL 3.0's `ciphers` command prints of these suites.
        let table = [
            ("HIGH", "e256 r256 ec rc e128 r128"),
            ("DEFAULT:!aECDSA", "r256 rc r128"),
            ("CHACHA20:ALL", "ec rc e256 r256 e128 r128"),
            ("ALL:-AESGCM:ALL", "ec rc e256 r256 e128 r128"),
            ("ALL:+ECDSA", "r256 rc r128 e256 ec e128"),
            ("AES128:ALL:@STRENGTH", "e256 r256 ec rc e128 r128"),
            ("FIPS", "e256 r256 e128 r128"),
            ("ECDHE+RSA", ""),
            ("SHA384", ""),
            ("EECDH+AESGCM:EDH+AESGCM", "e256 r256 e128 r128"),
            ("ALL:!AES256:AES256", "ec rc e128 r128"),
            ("ecdhe", ""),
            ("AESGCM CHACHA20", "e256 r256 e128 r128 ec rc"),
            ("AES128+DEFAULT", ""),
            ("kECDHE+aRSA", "r256 rc r128"),
            ("ALL:-ECDSA:AES128", "r256 rc r128 e128"),
            ("ALL:@SECLEVEL=2:!aNULL:!MD5", "e256 r256 ec rc e128 r128"),
            ("+AESGCM", ""),
            ("", ""),
        ];
        for (text, expected) in table {
            assert_eq!(chosen(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let choice = tls12(
            "ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES128-GCM-SHA256:kRSA:!aNULL:-NOPE:ECDHE+AESCCM",
        )
        .unwrap();
        assert_eq!(choice.chosen, ["ECDHE-RSA-AES128-GCM-SHA256"]);
        assert_eq!(
            choice.missing,
            ["DHE-RSA-AES128-GCM-SHA256", "kRSA", "ECDHE+AESCCM"]
        );
        let why = tls12("AES128-SHA").unwrap_err();
        assert!(
            why.contains("'AES128-SHA'") && why.contains(TLS12[0]),
            "{why}"
        );
    }

    #[test]
    fn suites_of_tls_1_3() {
        let choice = tls13("TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_CCM_SHA256").unwrap();
        assert_eq!(choice.chosen, ["TLS_CHACHA20_POLY1305_SHA256"]);
        assert_eq!(choice.missing, ["TLS_AES_128_CCM_SHA256"]);
        let twice = format!("{0}:{1}:{0}", TLS13[2], TLS13[0]);
        assert_eq!(tls13(&twice).unwrap().chosen, [TLS13[2], TLS13[0]]);
        assert!(tls13("ECDHE-RSA-AES128-GCM-SHA256").is_err());
    }
}
