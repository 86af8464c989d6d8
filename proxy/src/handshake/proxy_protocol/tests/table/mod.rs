//! Inputs and what becomes of them.

mod binary;
mod text;
mod tlvs;

use std::net::SocketAddr;

use crate::handshake::proxy_protocol::{Addresses, Command, Header, Refusal, Tlvs, Version};

/// One input.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) expected: Expected,
}

/// What becomes of it.
pub(super) enum Expected {
    /// These bytes are this header.
    Header(Vec<u8>, Box<Header>),
    /// It is refused when the last byte of `proof` is there and not before, whatever follows.
    Refused {
        proof: Vec<u8>,
        rest: Vec<u8>,
        refusal: Refusal,
    },
    /// More is needed, up to at least this length in bytes.
    Partial(Vec<u8>, usize),
}

/// The table.
pub(super) fn cases() -> Vec<Case> {
    [
        text::accepted(),
        text::malformed(),
        binary::accepted(),
        binary::malformed(),
        tlvs::accepted(),
        tlvs::malformed(),
        partial(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

const STREAM4: u8 = 0x11;
const STREAM6: u8 = 0x21;
const UNIX: u8 = 0x31;

/// 192.0.2.1:1024 to 198.51.100.2:443.
const BLOCK4: &[u8] = b"\xc0\0\x02\x01\xc6\x33\x64\x02\x04\0\x01\xbb";

fn inet4() -> Addresses {
    Addresses::Inet {
        source: SocketAddr::from(([192, 0, 2, 1], 1024)),
        destination: SocketAddr::from(([198, 51, 100, 2], 443)),
    }
}

fn partial() -> Vec<Case> {
    let partial = |name, bytes: &[u8], at_least| Case {
        name,
        expected: Expected::Partial(bytes.to_vec(), at_least),
    };
    vec![
        partial("nothing yet", b"", 15),
        partial("one byte of version 1", b"P", 15),
        partial("one byte of version 2", b"\r", 16),
        partial("TCP4 and nothing else", b"PROXY TCP4 ", 32),
        partial("TCP6 and nothing else", b"PROXY TCP6 ", 22),
        partial(
            "a port that may go on",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 4",
            43,
        ),
        partial("CR", b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 4\r", 43),
        partial(
            "fixed part without its last byte",
            &v2(0x21, 0x11, b"")[..15],
            16,
        ),
        partial(
            "addresses without their last byte",
            &v2(0x21, STREAM4, BLOCK4)[..27],
            28,
        ),
        partial(
            "block of which nothing has come",
            &v2(0x21, STREAM4, &[0; 300])[..16],
            316,
        ),
    ]
}

fn header(
    name: &'static str,
    bytes: Vec<u8>,
    version: Version,
    command: Command,
    addresses: Addresses,
    tlvs: &[u8],
) -> Case {
    let header = Header {
        version,
        command,
        addresses,
        tlvs: Tlvs::of_header(&bytes, bytes.len() - tlvs.len()).expect(name),
    };
    Case {
        name,
        expected: Expected::Header(bytes, Box::new(header)),
    }
}

fn refused(
    name: &'static str,
    proof: impl AsRef<[u8]>,
    rest: impl AsRef<[u8]>,
    refusal: Refusal,
) -> Case {
    Case {
        name,
        expected: Expected::Refused {
            proof: proof.as_ref().to_vec(),
            rest: rest.as_ref().to_vec(),
            refusal,
        },
    }
}

/// A version 2 header from its bytes and its block.
pub(super) fn v2(version_command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap();
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend_from_slice(&[version_command, family]);
    header.extend_from_slice(&length.to_be_bytes());
    header.extend_from_slice(block);
    header
}
