//! TLVs of version 2.

use super::{BLOCK4, Case, STREAM4, header, inet4, refused, v2};
use crate::handshake::proxy_protocol::{Command, Refusal, Version, kind, tlv};

pub(super) fn accepted() -> Vec<Case> {
    let with = |name, tlvs: &[u8]| {
        header(
            name,
            v2(0x21, STREAM4, &[BLOCK4, tlvs].concat()),
            Version::V2,
            Command::Proxy,
            inet4(),
            tlvs,
        )
    };
    let summed = summed(b"\x03\0\x04\0\0\0\0\x02\0\x01a");
    vec![
        with("TLV of a type that is not assigned", b"\xee\0\x03abc"),
        with("empty TLVs", b"\x01\0\0\x02\0\0\x05\0\0\x04\0\0"),
        with("padding", b"\x04\0\x05\0\0\0\0\0"),
        with(
            "host, protocol, ID",
            b"\x02\0\x07a.b.org\x01\0\x02h2\x05\0\x02id",
        ),
        with("two of a type", b"\x02\0\x01a\x02\0\x01b"),
        with(
            "longest host",
            &[b"\x02\0\xff".as_slice(), &[b'h'; 255]].concat(),
        ),
        with(
            "longest ID",
            &[b"\x05\0\x80".as_slice(), &[7; 128]].concat(),
        ),
        with(
            "longest TLV",
            &[b"\xe0\x3f\xe1".as_slice(), &[1; 0x3fe1]].concat(),
        ),
        with("ssl, empty", b"\x20\0\x05\0\0\0\0\0"),
        with(
            "ssl with its parts",
            b"\x20\0\x16\x01\0\0\0\0\x21\0\x07TLSv1.3\x22\0\x01c\xaa\0\0",
        ),
        header(
            "checksum",
            summed.clone(),
            Version::V2,
            Command::Proxy,
            inet4(),
            &summed[28..],
        ),
        // Computed by another implementation, over the same fields.
        header(
            "checksum, from elsewhere",
            v2(0x21, STREAM4, &[BLOCK4, KNOWN_CHECKSUM].concat()),
            Version::V2,
            Command::Proxy,
            inet4(),
            KNOWN_CHECKSUM,
        ),
    ]
}

/// The only TLV of a header with [`BLOCK4`].
const KNOWN_CHECKSUM: &[u8] = b"\x03\0\x04\x66\xdc\xbd\x94";

pub(super) fn malformed() -> Vec<Case> {
    let with = |name, tlvs: &[u8], refusal| {
        let proof = v2(0x21, STREAM4, &[BLOCK4, tlvs].concat());
        refused(name, proof, b"", refusal)
    };
    let mut wrong = summed(b"\x02\0\x01a\x03\0\x04\0\0\0\0");
    wrong[20] ^= 1;
    let at = wrong.len() - 4;
    let announced = u32::from_be_bytes(wrong[at..].try_into().unwrap());
    let computed = tlv::checksum_with_zeroes_at(&wrong, at);
    vec![
        with(
            "one byte of a TLV",
            b"\x02",
            Refusal::TlvTruncated { left: 1 },
        ),
        with(
            "two bytes of a TLV",
            b"\x04\0\0\x02\0",
            Refusal::TlvTruncated { left: 2 },
        ),
        with(
            "TLV beyond the block",
            b"\x02\0\x02a",
            Refusal::TlvOverrun {
                kind: kind::AUTHORITY,
                length: 2,
            },
        ),
        with(
            "TLV far beyond the block",
            b"\xee\xff\xffa",
            Refusal::TlvOverrun {
                kind: 0xee,
                length: 65535,
            },
        ),
        refused(
            "TLV beyond the block, and data to fill it",
            v2(0x21, STREAM4, &[BLOCK4, b"\x02\0\x02a"].concat()),
            b"bcdef",
            Refusal::TlvOverrun {
                kind: kind::AUTHORITY,
                length: 2,
            },
        ),
        with(
            "ALPN beyond the block",
            b"\x01\x01\0",
            Refusal::TlvOverrun {
                kind: kind::ALPN,
                length: 256,
            },
        ),
        with(
            "host too long",
            &[b"\x02\x01\0".as_slice(), &[b'h'; 256]].concat(),
            Refusal::TlvTooLong {
                kind: kind::AUTHORITY,
                length: 256,
                limit: 255,
            },
        ),
        with(
            "ID too long",
            &[b"\x05\0\x81".as_slice(), &[7; 129]].concat(),
            Refusal::TlvTooLong {
                kind: kind::UNIQUE_ID,
                length: 129,
                limit: 128,
            },
        ),
        with("ssl too short", b"\x20\0\x04\0\0\0\0", Refusal::Ssl),
        with("ssl of no bytes", b"\x20\0\0", Refusal::Ssl),
        with(
            "ssl with a part of a part",
            b"\x20\0\x07\x01\0\0\0\0\x21\0",
            Refusal::Ssl,
        ),
        with(
            "ssl with a part beyond it",
            b"\x20\0\x09\x01\0\0\0\0\x21\0\x02T\x04\0\0",
            Refusal::Ssl,
        ),
        with(
            "checksum of 3 bytes",
            b"\x03\0\x03\0\0\0",
            Refusal::ChecksumLength { length: 3 },
        ),
        with(
            "checksum of no bytes",
            b"\x03\0\0",
            Refusal::ChecksumLength { length: 0 },
        ),
        with(
            "two checksums",
            b"\x03\0\x04\0\0\0\0\x03\0\x04\0\0\0\0",
            Refusal::ChecksumTwice,
        ),
        refused(
            "checksum of another header",
            wrong,
            b"",
            Refusal::Checksum {
                announced,
                computed,
            },
        ),
    ]
}

/// A header with these TLVs, of which the first of type CRC32C, with zeroes in it, is filled in.
fn summed(tlvs: &[u8]) -> Vec<u8> {
    let mut header = v2(0x21, STREAM4, &[BLOCK4, tlvs].concat());
    let zeroes = b"\x03\0\x04\0\0\0\0";
    let at = header
        .windows(zeroes.len())
        .position(|window| window == zeroes)
        .unwrap()
        + 3;
    let checksum = crc32c::crc32c(&header);
    header[at..at + 4].copy_from_slice(&checksum.to_be_bytes());
    header
}
