//! The first message of SSL 2.0, which later clients sent, too, to reach servers of either kind.

use super::{CLIENT_HELLO, Reader, Seen, version_number};

/// The version that it offers. It must be there as a whole, and its lengths must agree.
pub(super) fn offered_version(bytes: &[u8]) -> Seen<u32> {
    read(bytes).unwrap_or(Seen::Partial)
}

/// `None`: more bytes are needed.
fn read(bytes: &[u8]) -> Option<Seen<u32>> {
    let mut reader = Reader(bytes);
    let length = reader.number()?;
    // The first bit tells a header of two bytes from one of three, which has a length of padding.
    let (length, padding) = if length & 0x8000 == 0 {
        (length & 0x3fff, reader.byte()?)
    } else {
        (length & 0x7fff, 0)
    };
    if reader.byte()? != CLIENT_HELLO {
        return Some(Seen::NotTls);
    }
    let version = reader.take(2)?;
    let ciphers = usize::from(reader.number()?);
    let session = usize::from(reader.number()?);
    let challenge = usize::from(reader.number()?);
    let content = ciphers + session + challenge;
    let well_formed = ciphers.is_multiple_of(3)
        && matches!(session, 0 | 16)
        && (16..=32).contains(&challenge)
        && usize::from(length) == 9 + content;
    if !well_formed {
        return Some(Seen::NotTls);
    }
    reader.take(content + usize::from(padding))?;
    Some(Seen::Complete(version_number([version[0], version[1]])))
}
