//! OpenSSL's and HAProxy's words about TLS, turned into what this build can do. No I/O.

pub(super) mod alpn;
pub(crate) mod ciphers;
pub(crate) mod groups;
pub(super) mod versions;

/// The part of a wish that can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    /// What is there of it, most wanted first; never empty.
    pub(crate) chosen: Vec<String>,
    /// What is not, as it was written.
    pub(crate) missing: Vec<String>,
}

impl Choice {
    /// A choice, or the sentence that nothing of it is there; `available` is for that sentence.
    fn new(
        text: &str,
        chosen: Vec<String>,
        missing: Vec<String>,
        available: &[&str],
    ) -> Result<Self, String> {
        if chosen.is_empty() {
            return Err(format!(
                "nothing of '{text}' is available in this version; there is {}",
                available.join(", ")
            ));
        }
        Ok(Self { chosen, missing })
    }
}
