//! What `feature()`, `version_atleast()` and `-vv` answer.

/// The HAProxy version whose configuration language this is.
pub const LANGUAGE_VERSION: &str = "2.6.12";

/// Names that `feature()` knows, and whether this build has them.
///
/// Upper-case names are HAProxy's, so that files which test them keep working.
pub const FEATURES: &[(&str, bool)] = &[
    ("ACCEPT4", true),
    ("CPU_AFFINITY", false),
    ("EPOLL", true),
    ("GETADDRINFO", true),
    ("LINUX_SPLICE", true),
    ("LINUX_TPROXY", true),
    ("LUA", false),
    ("NS", false),
    ("OFFLOAD", true),
    // TLS is here by another library; a file that asks means the words, not the library.
    ("OPENSSL", true),
    ("PCRE", false),
    ("PCRE2", false),
    ("PROMEX", false),
    ("QUIC", false),
    ("SLZ", false),
    ("SYSTEMD", false),
    ("TFO", true),
    ("THREAD", true),
    ("TPROXY", true),
    ("UNDERPASS", true),
    ("ZLIB", false),
];

/// Whether the feature `name` is built in.
pub fn has(name: &str) -> bool {
    FEATURES.iter().any(|&(known, on)| on && known == name)
}

/// A version as HAProxy orders them: `2.6-dev3` before `2.6`, `2.6` before `2.6.1`.
type Version = (u32, u32, bool, u32);

fn version(text: &str) -> Version {
    let number = |text: &str| {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        (text[..digits].parse().unwrap_or(0), digits)
    };
    let (major, len) = number(text);
    let rest = text[len..].strip_prefix('.').unwrap_or("");
    let (minor, len) = number(rest);
    let rest = &rest[len..];
    if let Some(dev) = rest.strip_prefix("-dev") {
        return (major, minor, false, number(dev).0);
    }
    let patch = rest.strip_prefix('.').map_or(0, |rest| number(rest).0);
    (major, minor, true, patch)
}

/// Whether [`LANGUAGE_VERSION`] is at least `wanted`; missing parts of it count as zero.
pub fn version_at_least(wanted: &str) -> bool {
    version(LANGUAGE_VERSION) >= version(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_haproxy_orders_them() {
        for older in [
            "",
            "0",
            "abc",
            "1.8",
            "2.5.99",
            "2.6-dev19",
            "2.6",
            "2.6.12",
        ] {
            assert!(version_at_least(older), "{older}");
        }
        for newer in ["2.6.13", "2.7-dev1", "2.7", "3", "3.0.1"] {
            assert!(!version_at_least(newer), "{newer}");
        }
    }

    #[test]
    fn features_are_sorted_and_case_sensitive() {
        assert!(FEATURES.is_sorted());
        assert!(has("EPOLL") && !has("epoll") && !has("QUIC") && !has("NOPE"));
    }
}
