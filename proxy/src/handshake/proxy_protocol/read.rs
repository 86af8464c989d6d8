//! Reading: which version it is, and how far the header has come.

use super::header::Header;
use super::refusal::Refusal;
use super::{v1, v2};

/// How far a header has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// What has come may be the beginning of a header.
    Partial {
        /// The header's whole length is not less than this, in bytes, and this is more than has
        /// come. Whoever receives no further than this takes nothing of the data behind it.
        at_least: usize,
    },
    /// It is there.
    Complete {
        /// What it says.
        header: Box<Header>,
        /// How many bytes it has; what follows is data.
        length: usize,
    },
}

/// Reads the header at the beginning of `bytes`, which is everything received so far, from the
/// connection's first byte on.
///
/// The answer to some bytes does not depend on how they arrived, and more bytes never change a
/// refusal or a complete header.
///
/// # Errors
///
/// As soon as no bytes that may follow can make it a header that is accepted, why. Two things are
/// looked at only when they are there as a whole: an IPv6 address as text, and what a version 2
/// header contains after its length.
pub fn read(bytes: &[u8]) -> Result<Progress, Refusal> {
    match bytes.first() {
        None => Ok(Progress::Partial {
            at_least: v1::SHORTEST,
        }),
        // The first byte of "PROXY " and that of the signature differ.
        Some(b'P') => v1::read(bytes),
        Some(b'\r') => v2::read(bytes),
        Some(&byte) => Err(Refusal::NotAHeader { at: 0, byte }),
    }
}

/// Whether `bytes` begin with the whole of `start`; no, if they end before its end.
///
/// # Errors
///
/// If they differ from it.
pub(super) fn begins_with(bytes: &[u8], start: &[u8]) -> Result<bool, Refusal> {
    match bytes
        .iter()
        .zip(start)
        .position(|(byte, want)| byte != want)
    {
        Some(at) => Err(Refusal::NotAHeader {
            at,
            byte: bytes[at],
        }),
        None => Ok(bytes.len() >= start.len()),
    }
}
