//! Round trips, and bytes of any kind.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::super::{Endpoint, Outgoing, Progress, SslFacts, Version, kind, read, write};
use super::laws;
use super::table::{self, Expected, v2};

fn address() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![
        any::<u32>().prop_map(|ip| IpAddr::V4(Ipv4Addr::from(ip))),
        any::<u128>().prop_map(|ip| IpAddr::V6(Ipv6Addr::from(ip))),
        any::<u32>().prop_map(|ip| IpAddr::V6(Ipv4Addr::from(ip).to_ipv6_mapped())),
        // Mostly zeroes, which text abbreviates.
        (any::<u8>(), 0..16_u32)
            .prop_map(|(byte, at)| { IpAddr::V6(Ipv6Addr::from(u128::from(byte) << (8 * at))) }),
    ];
    (ip, any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

/// What [`SslFacts`] refers to.
#[derive(Debug)]
struct Ssl {
    flags: [bool; 2],
    verify: u32,
    texts: [Option<String>; 5],
}

impl Ssl {
    fn facts(&self) -> SslFacts<'_> {
        let [version, cn, cipher, sig_alg, key_alg] =
            self.texts.each_ref().map(|text| text.as_deref());
        SslFacts {
            client_cert: self.flags[0],
            client_cert_in_session: self.flags[1],
            verify: self.verify,
            version,
            cn,
            cipher,
            sig_alg,
            key_alg,
        }
    }
}

fn ssl() -> impl Strategy<Value = Ssl> {
    let text = || option::of("[ -~äß]{0,60}");
    (
        any::<[bool; 2]>(),
        any::<u32>(),
        [text(), text(), text(), text(), text()],
    )
        .prop_map(|(flags, verify, texts)| Ssl {
            flags,
            verify,
            texts,
        })
}

/// Bytes that get further than bytes of no kind: headers with some of them changed.
fn nearly_a_header() -> impl Strategy<Value = Vec<u8>> {
    let valid: Vec<Vec<u8>> = table::cases()
        .into_iter()
        .map(|case| match case.expected {
            Expected::Header(bytes, _) | Expected::Partial(bytes, _) => bytes,
            Expected::Refused { proof, rest, .. } => [proof, rest].concat(),
        })
        .collect();
    let change = (any::<prop::sample::Index>(), any::<u8>());
    (
        prop::sample::select(valid),
        vec(change, 0..4),
        vec(any::<u8>(), 0..8),
    )
        .prop_map(|(mut bytes, changes, after)| {
            bytes.extend(after);
            for (at, byte) in changes {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                }
            }
            bytes
        })
}

/// A text line's words in any order and number.
fn nearly_a_line() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        Just("TCP4".to_owned()),
        Just("TCP6".to_owned()),
        Just("UNKNOWN".to_owned()),
        address().prop_map(|address| address.ip().to_string()),
        any::<u32>().prop_map(|number| number.to_string()),
        "[0-9a-f:. ]{0,12}",
    ];
    let end = prop_oneof![Just("\r\n"), Just("\n"), Just("\r"), Just("")];
    (vec(word, 0..7), end)
        .prop_map(|(words, end)| format!("PROXY {}{end}", words.join(" ")).into_bytes())
}

fn nearly_a_block() -> impl Strategy<Value = Vec<u8>> {
    let family = prop::sample::select(vec![0x00, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32]);
    let kind = prop_oneof![
        prop::sample::select(vec![
            kind::ALPN,
            kind::AUTHORITY,
            kind::CRC32C,
            kind::NOOP,
            kind::UNIQUE_ID,
            kind::SSL,
        ]),
        any::<u8>(),
    ];
    let tlv = (kind, vec(any::<u8>(), 0..40), -1..2_i32).prop_map(|(kind, value, off)| {
        let length = u16::try_from(value.len() as i32 + off).unwrap_or(0);
        let mut tlv = vec![kind];
        tlv.extend_from_slice(&length.to_be_bytes());
        tlv.extend(value);
        tlv
    });
    (0x20..0x22_u8, family, vec(tlv, 0..6)).prop_map(|(command, family, tlvs)| {
        let addresses = match family {
            0x11 | 0x12 => 12,
            0x21 | 0x22 => 36,
            0x31 | 0x32 => 216,
            _ => 0,
        };
        v2(
            command,
            family,
            &[vec![0x5a; addresses], tlvs.concat()].concat(),
        )
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        source in address(),
        destination in address(),
        ssl in option::of(ssl()),
        alpn in option::of(vec(any::<u8>(), 0..=255)),
        authority in option::of("[a-z.-]{0,255}"),
        unique_id in option::of(vec(any::<u8>(), 0..=128)),
        crc32c in any::<bool>(),
        data in vec(any::<u8>(), 0..20),
    ) {
        let what = Outgoing {
            ssl: ssl.as_ref().map(Ssl::facts),
            alpn: alpn.as_deref(),
            authority: authority.as_deref().map(str::as_bytes),
            unique_id: unique_id.as_deref(),
            crc32c,
            ..Outgoing::proxied(Endpoint::Inet(source), Endpoint::Inet(destination))
        };
        for version in [Version::V1, Version::V2] {
            let mut bytes = Vec::new();
            write(version, &what, &mut bytes);
            let written = bytes.len();
            bytes.extend_from_slice(&data);
            let Ok(Progress::Complete { header, length }) = read(&bytes) else {
                panic!("{:?}", read(&bytes));
            };
            prop_assert_eq!(length, written);
            prop_assert_eq!(header.version, version);
            let (read_source, read_destination) = header.inet().unwrap();
            for (sent, read, other) in [
                (source, read_source, destination),
                (destination, read_destination, source),
            ] {
                prop_assert_eq!(sent.port(), read.port());
                prop_assert_eq!(sent.ip().to_canonical(), read.ip().to_canonical());
                prop_assert_eq!(read.is_ipv4(), sent.is_ipv4() && other.is_ipv4());
            }
            if version == Version::V2 {
                let tlvs = &header.tlvs;
                prop_assert_eq!(tlvs.alpn(), what.alpn);
                prop_assert_eq!(tlvs.authority(), what.authority);
                prop_assert_eq!(tlvs.unique_id(), what.unique_id);
                prop_assert_eq!(tlvs.get(kind::CRC32C).is_some(), crc32c);
                prop_assert_eq!(tlvs.ssl().is_some(), ssl.is_some());
                if let (Some(read), Some(sent)) = (tlvs.ssl(), what.ssl) {
                    prop_assert_eq!(read.spoken(), sent.version.is_some());
                    prop_assert_eq!(read.certificate_in_connection(), sent.client_cert);
                    prop_assert_eq!(read.certificate_in_session(), sent.client_cert_in_session);
                    prop_assert_eq!(read.verify, sent.verify);
                    for (read, sent) in [
                        (read.version(), sent.version),
                        (read.cn(), sent.cn),
                        (read.cipher(), sent.cipher),
                        (read.sig_alg(), sent.sig_alg),
                        (read.key_alg(), sent.key_alg),
                    ] {
                        prop_assert_eq!(read, sent.map(str::as_bytes));
                    }
                }
            }
        }
    }

    #[test]
    fn any_bytes_keep_the_promises(bytes in vec(any::<u8>(), 0..300)) {
        laws::check(&bytes);
    }

    #[test]
    fn changed_headers_keep_the_promises(bytes in nearly_a_header()) {
        laws::check(&bytes);
    }

    #[test]
    fn lines_keep_the_promises(bytes in nearly_a_line()) {
        laws::check(&bytes);
    }

    #[test]
    fn blocks_keep_the_promises(bytes in nearly_a_block()) {
        laws::check(&bytes);
    }

    /// Any text that is accepted as addresses is what the standard library reads, without the
    /// spellings that the protocol forbids.
    #[test]
    fn an_accepted_line_says_what_it_seems_to(bytes in nearly_a_line()) {
        if let Ok(Progress::Complete { header, length }) = read(&bytes)
            && let Some((source, destination)) = header.inet()
        {
            let line = str::from_utf8(&bytes[..length]).unwrap();
            let words: Vec<_> = line.strip_suffix("\r\n").unwrap().split(' ').collect();
            let [_, family, source_ip, destination_ip, source_port, destination_port] = words[..]
            else {
                panic!("{line:?} is read as {header:?}");
            };
            prop_assert_eq!(family == "TCP4", source.is_ipv4());
            prop_assert_eq!(source_ip.parse(), Ok(source.ip()));
            prop_assert_eq!(destination_ip.parse(), Ok(destination.ip()));
            prop_assert_eq!(source_port, source.port().to_string());
            prop_assert_eq!(destination_port, destination.port().to_string());
        }
    }
}
