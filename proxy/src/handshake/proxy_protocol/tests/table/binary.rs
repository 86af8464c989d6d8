//! Version 2 without its TLVs.

use super::{BLOCK4, Case, STREAM4, STREAM6, UNIX, header, inet4, refused, v2};
use crate::handshake::proxy_protocol::{Addresses, Command, MAX_BLOCK, Refusal, Version};

pub(super) fn accepted() -> Vec<Case> {
    let proxy = |name, family, block: &[u8], addresses| {
        header(
            name,
            v2(0x21, family, block),
            Version::V2,
            Command::Proxy,
            addresses,
            b"",
        )
    };
    let local = |name, family, block: &[u8]| {
        header(
            name,
            v2(0x20, family, block),
            Version::V2,
            Command::Local,
            Addresses::Unknown,
            b"",
        )
    };
    let mut block6 = [0; 36];
    block6[..2].copy_from_slice(&[0x20, 0x01]);
    block6[15] = 1;
    block6[31] = 2;
    block6[32..].copy_from_slice(&[0xff, 0xff, 0, 80]);
    let mut paths = [0; 216];
    paths[..8].copy_from_slice(b"/run/a.s");
    // Behind the end of the path: what the sender's memory held.
    paths[9..12].copy_from_slice(b"old");
    paths[108..].fill(b'd');
    let mut abstract_names = [0; 216];
    abstract_names[..5].copy_from_slice(b"\0n\0me");
    vec![
        proxy("TCP over IPv4", STREAM4, BLOCK4, inet4()),
        proxy(
            "TCP over IPv6",
            STREAM6,
            &block6,
            Addresses::Inet {
                source: "[2001::1]:65535".parse().unwrap(),
                destination: "[::2]:80".parse().unwrap(),
            },
        ),
        proxy(
            "UNIX, a path and one without NUL",
            UNIX,
            &paths,
            Addresses::Unix {
                source: b"/run/a.s".to_vec(),
                destination: vec![b'd'; 108],
            },
        ),
        proxy(
            "UNIX, an abstract name and none",
            UNIX,
            &abstract_names,
            Addresses::Unix {
                source: b"\0n\0me".to_vec(),
                destination: Vec::new(),
            },
        ),
        proxy("UDP over IPv4", 0x12, BLOCK4, Addresses::Unknown),
        proxy("UDP over IPv6", 0x22, &block6, Addresses::Unknown),
        proxy("UNIX datagrams", 0x32, &paths, Addresses::Unknown),
        proxy("unspecified", 0x00, b"", Addresses::Unknown),
        proxy(
            "unspecified with a block",
            0x00,
            b"\xff\xff\xff\xff",
            Addresses::Unknown,
        ),
        proxy(
            "unspecified with the longest block",
            0x00,
            &[0xaa; MAX_BLOCK],
            Addresses::Unknown,
        ),
        local("LOCAL", 0x00, b""),
        local("LOCAL with addresses", STREAM4, BLOCK4),
        local("LOCAL with a block too short for its family", STREAM6, b"x"),
        local("LOCAL with a family that is not assigned", 0xff, b"garbage"),
        local("LOCAL with what is no TLV", 0x00, b"\x01\xff\xff"),
    ]
}

pub(super) fn malformed() -> Vec<Case> {
    let start = |byte: u8, family: u8, length: u16| {
        let mut header = v2(byte, family, b"");
        header[14..].copy_from_slice(&length.to_be_bytes());
        header
    };
    let cut = |mut header: Vec<u8>, length| {
        header.truncate(length);
        header
    };
    vec![
        refused(
            "signature with another second byte",
            b"\r\r",
            b"\n\n\0\r\nQUIT\n\x20\0\0\0",
            Refusal::NotAHeader { at: 1, byte: b'\r' },
        ),
        refused(
            "signature without its NUL",
            b"\r\n\r\n\r",
            b"\nQUIT\n\x20\0\0\0",
            Refusal::NotAHeader { at: 4, byte: b'\r' },
        ),
        refused(
            "signature with another last byte",
            b"\r\n\r\n\0\r\nQUIT\r",
            b"\n\x20\0\0\0",
            Refusal::NotAHeader {
                at: 11,
                byte: b'\r',
            },
        ),
        refused(
            "version 1 in binary",
            cut(start(0x11, STREAM4, 12), 13),
            b"\x11\0\x0c",
            Refusal::Version(1),
        ),
        refused(
            "version 3",
            cut(start(0x31, STREAM4, 12), 13),
            b"\x11\0\x0c",
            Refusal::Version(3),
        ),
        refused(
            "command 2",
            cut(start(0x22, STREAM4, 12), 13),
            b"\x11\0\x0c",
            Refusal::Command(2),
        ),
        refused(
            "command 15",
            cut(start(0x2f, STREAM4, 12), 13),
            b"\x11\0\x0c",
            Refusal::Command(15),
        ),
        refused(
            "family 4",
            cut(start(0x21, 0x41, 12), 14),
            b"\0\x0c",
            Refusal::Family(0x41),
        ),
        refused(
            "transport 3",
            cut(start(0x21, 0x13, 12), 14),
            b"\0\x0c",
            Refusal::Family(0x13),
        ),
        refused(
            "IPv4 without transport",
            cut(start(0x21, 0x10, 12), 14),
            b"\0\x0c",
            Refusal::Family(0x10),
        ),
        refused(
            "transport without family",
            cut(start(0x21, 0x01, 12), 14),
            b"\0\x0c",
            Refusal::Family(0x01),
        ),
        refused(
            "no room for IPv4 addresses",
            start(0x21, STREAM4, 11),
            BLOCK4,
            Refusal::BlockTooShort {
                announced: 11,
                needed: 12,
            },
        ),
        refused(
            "IPv4 of length zero",
            start(0x21, STREAM4, 0),
            BLOCK4,
            Refusal::BlockTooShort {
                announced: 0,
                needed: 12,
            },
        ),
        refused(
            "no room for IPv6 addresses",
            start(0x21, STREAM6, 35),
            [0; 35],
            Refusal::BlockTooShort {
                announced: 35,
                needed: 36,
            },
        ),
        refused(
            "no room for UNIX addresses",
            start(0x21, UNIX, 215),
            [0; 215],
            Refusal::BlockTooShort {
                announced: 215,
                needed: 216,
            },
        ),
        refused(
            "no room for addresses of datagrams",
            start(0x21, 0x22, 12),
            BLOCK4,
            Refusal::BlockTooShort {
                announced: 12,
                needed: 36,
            },
        ),
        refused(
            "longer than accepted",
            start(0x21, STREAM4, 16369),
            BLOCK4,
            Refusal::BlockTooLong { announced: 16369 },
        ),
        refused(
            "LOCAL longer than accepted",
            start(0x20, 0, u16::MAX),
            b"",
            Refusal::BlockTooLong { announced: 65535 },
        ),
    ]
}
