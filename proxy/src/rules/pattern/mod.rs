//! Patterns: what values are matched against.
