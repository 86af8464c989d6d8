//! `-v` and `-vv`.

use std::fmt::Write as _;

use crate::config::features::{FEATURES, LANGUAGE_VERSION};

/// What `-v` prints, and with `verbose` what `-vv` does.
pub fn text(verbose: bool) -> String {
    let mut out = format!("Underpass version {}\n", env!("CARGO_PKG_VERSION"));
    if verbose {
        // The form that scripts look for in HAProxy's own output.
        let features: Vec<String> = FEATURES
            .iter()
            .map(|&(name, on)| format!("{}{name}", if on { '+' } else { '-' }))
            .collect();
        let _ = writeln!(
            out,
            "Configuration language : HAProxy {LANGUAGE_VERSION}, mode tcp"
        );
        let _ = writeln!(out, "Feature list : {}", features.join(" "));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_named_only_when_asked_for() {
        assert!(!text(false).contains("Feature list"));
        let verbose = text(true);
        assert!(verbose.contains(" +EPOLL ") && verbose.contains(" -LUA "));
    }
}
