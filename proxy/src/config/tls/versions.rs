//! `ssl-min-ver`, `ssl-max-ver`, `force-*` and `no-*`: which versions a side speaks.

use super::super::model::tls::TlsVersion;

/// A version that a file may name. Those below TLS 1.2 exist as words only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    Ssl30,
    Tls10,
    Tls11,
    Tls12,
    Tls13,
}

/// Every version, its name in a value, and its name at the end of `no-` and `force-`.
const NAMES: [(Version, &str, &str); 5] = [
    (Version::Ssl30, "SSLv3", "sslv3"),
    (Version::Tls10, "TLSv1.0", "tlsv10"),
    (Version::Tls11, "TLSv1.1", "tlsv11"),
    (Version::Tls12, "TLSv1.2", "tlsv12"),
    (Version::Tls13, "TLSv1.3", "tlsv13"),
];

impl Version {
    /// The value of `ssl-min-ver` and `ssl-max-ver`.
    pub(crate) fn from_value(text: &str) -> Option<Self> {
        let found = NAMES.iter().find(|name| name.1 == text);
        found.map(|name| name.0)
    }

    /// What follows `no-` or `force-`.
    pub(crate) fn from_suffix(text: &str) -> Option<Self> {
        let found = NAMES.iter().find(|name| name.2 == text);
        found.map(|name| name.0)
    }

    fn name(self) -> &'static str {
        NAMES[self as usize].1
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// What a line says of versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Versions {
    pub(crate) min: Option<Version>,
    pub(crate) max: Option<Version>,
    disabled: u8,
}

/// Which versions are spoken, and what is to be said about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Range {
    /// The lowest one, unless it is the lowest there is.
    pub(crate) min: Option<TlsVersion>,
    /// The highest one, unless it is the highest there is.
    pub(crate) max: Option<TlsVersion>,
    /// Sentences.
    pub(crate) warnings: Vec<String>,
}

impl Versions {
    /// `force-*`.
    pub(crate) fn force(&mut self, version: Version) {
        self.min = Some(version);
        self.max = Some(version);
    }

    /// `no-*`.
    pub(crate) fn disable(&mut self, version: Version) {
        self.disabled |= version.bit();
    }

    /// These, and `defaults` where these are silent.
    pub(crate) fn or(self, defaults: Self) -> Self {
        Self {
            min: self.min.or(defaults.min),
            max: self.max.or(defaults.max),
            disabled: self.disabled | defaults.disabled,
        }
    }

    /// What is left of TLS 1.2 and 1.3.
    ///
    /// # Errors
    /// A sentence, where nothing is left.
    pub(crate) fn range(self) -> Result<Range, String> {
        if let Some(max) = self.max.filter(|max| *max < Version::Tls12) {
            return Err(format!(
                "the highest version asked for is {}, but TLS 1.2 is the lowest in this version",
                max.name()
            ));
        }
        let mut warnings = Vec::new();
        if let Some(min) = self.min.filter(|min| *min < Version::Tls12) {
            warnings.push(format!(
                "{} is asked for, but TLS 1.2 is the lowest in this version",
                min.name()
            ));
        }
        // As in HAProxy, a range takes precedence.
        let ranged = self.min.is_some() || self.max.is_some();
        let here = Version::Tls12.bit() | Version::Tls13.bit();
        if ranged && self.disabled & here != 0 {
            warnings.push(
                "'no-tlsv12' and 'no-tlsv13' are ignored beside 'ssl-min-ver', 'ssl-max-ver' and 'force-*'"
                    .to_owned(),
            );
        }
        let spoken = |version: Version| {
            self.min.is_none_or(|min| version >= min)
                && self.max.is_none_or(|max| version <= max)
                && (ranged || self.disabled & version.bit() == 0)
        };
        let (min, max) = match (spoken(Version::Tls12), spoken(Version::Tls13)) {
            (true, true) => (None, None),
            (true, false) => (None, Some(TlsVersion::V1_2)),
            (false, true) => (Some(TlsVersion::V1_3), None),
            (false, false) => return Err("all SSL/TLS versions are disabled".to_owned()),
        };
        Ok(Range { min, max, warnings })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(words: &str) -> Result<Range, String> {
        let mut versions = Versions::default();
        for word in words.split_whitespace() {
            if let Some(suffix) = word.strip_prefix("no-") {
                versions.disable(Version::from_suffix(suffix).unwrap());
            } else if let Some(suffix) = word.strip_prefix("force-") {
                versions.force(Version::from_suffix(suffix).unwrap());
            } else if let Some(value) = word.strip_prefix("min-") {
                versions.min = Version::from_value(value);
            } else if let Some(value) = word.strip_prefix("max-") {
                versions.max = Version::from_value(value);
            }
        }
        versions.range()
    }

    #[test]
    fn ranges() {
        const BOTH: Option<(bool, bool)> = Some((true, true));
        // Which of TLS 1.2 and 1.3, and how many warnings.
        let table = [
            ("", BOTH, 0),
            ("no-sslv3 no-tlsv10 no-tlsv11", BOTH, 0),
            ("min-TLSv1.2", BOTH, 0),
            ("min-TLSv1.0", BOTH, 1),
            ("min-TLSv1.3", Some((false, true)), 0),
            ("max-TLSv1.2", Some((true, false)), 0),
            ("no-tlsv12", Some((false, true)), 0),
            ("no-tlsv13", Some((true, false)), 0),
            ("force-tlsv12", Some((true, false)), 0),
            ("force-tlsv13", Some((false, true)), 0),
            ("min-TLSv1.2 no-sslv3", BOTH, 0),
            ("min-TLSv1.2 no-tlsv13", BOTH, 1),
            ("min-TLSv1.0 max-TLSv1.2", Some((true, false)), 1),
            ("max-TLSv1.1", None, 0),
            ("force-tlsv10", None, 0),
            ("no-tlsv12 no-tlsv13", None, 0),
            ("min-TLSv1.3 max-TLSv1.2", None, 0),
        ];
        for (words, spoken, warnings) in table {
            let found = range(words).ok();
            let got = found.as_ref().map(|range| {
                (
                    range.min != Some(TlsVersion::V1_3),
                    range.max != Some(TlsVersion::V1_2),
                )
            });
            assert_eq!(got, spoken, "{words}");
            let said = found.map_or(0, |range| range.warnings.len());
            assert_eq!(said, warnings, "{words}");
        }
    }

    #[test]
    fn a_line_is_completed_by_defaults() {
        let mut defaults = Versions::default();
        defaults.disable(Version::Tls12);
        let mut line = Versions::default();
        line.disable(Version::Tls10);
        let both = line.or(defaults).range().unwrap();
        assert_eq!((both.min, both.max), (Some(TlsVersion::V1_3), None));

        defaults.force(Version::Tls13);
        line.max = Some(Version::Tls12);
        assert!(line.or(defaults).range().is_err());
    }
}
