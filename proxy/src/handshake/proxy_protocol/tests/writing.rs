//! What is written, byte by byte.

use std::net::SocketAddr;

use super::super::{
    Addresses, Endpoint, Header, Outgoing, Progress, SslFacts, Version, kind, read, write,
};
use super::table::v2;

fn written(version: Version, what: &Outgoing<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    write(version, what, &mut out);
    out
}

fn text(what: &Outgoing<'_>) -> String {
    String::from_utf8(written(Version::V1, what)).unwrap()
}

fn read_back(bytes: &[u8]) -> Header {
    match read(bytes) {
        Ok(Progress::Complete { header, length }) => {
            assert_eq!(length, bytes.len());
            *header
        }
        other => panic!("{other:?}"),
    }
}

fn inet(address: &str) -> Endpoint {
    Endpoint::Inet(address.parse().unwrap())
}

#[test]
fn version_1_names_both_ends() {
    let table = [
        (
            "192.0.2.1:1024",
            "198.51.100.2:443",
            "PROXY TCP4 192.0.2.1 198.51.100.2 1024 443\r\n",
        ),
        (
            "[2001:db8::1]:1024",
            "[::1]:0",
            "PROXY TCP6 2001:db8::1 ::1 1024 0\r\n",
        ),
        (
            "192.0.2.1:1024",
            "[2001:db8::2]:443",
            "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1024 443\r\n",
        ),
        (
            "[2001:db8::1]:1024",
            "198.51.100.2:443",
            "PROXY TCP6 2001:db8::1 ::ffff:198.51.100.2 1024 443\r\n",
        ),
        // A listener of both families sees IPv4 clients like this.
        (
            "[::ffff:192.0.2.1]:1",
            "[::ffff:192.0.2.2]:2",
            "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 2\r\n",
        ),
    ];
    for (source, destination, line) in table {
        let what = Outgoing::proxied(inet(source), inet(destination));
        assert_eq!(text(&what), line);
    }
}

#[test]
fn version_1_says_unknown_where_an_end_is_not_of_ip() {
    let ip = inet("192.0.2.1:1024");
    for (source, destination) in [
        (Endpoint::Other, ip),
        (ip, Endpoint::Other),
        (Endpoint::Other, Endpoint::Other),
    ] {
        let what = Outgoing::proxied(source, destination);
        assert_eq!(text(&what), "PROXY UNKNOWN\r\n");
    }
    assert_eq!(text(&Outgoing::local()), "PROXY UNKNOWN\r\n");
}

#[test]
fn version_1_has_no_room_for_more() {
    let what = Outgoing {
        authority: Some(b"a.b.org"),
        ssl: Some(SslFacts::default()),
        crc32c: true,
        ..Outgoing::proxied(inet("192.0.2.1:1"), inet("192.0.2.2:2"))
    };
    assert_eq!(text(&what), "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n");
}

#[test]
fn version_2_names_both_ends() {
    let what = Outgoing::proxied(inet("192.0.2.1:1024"), inet("198.51.100.2:443"));
    let block = b"\xc0\0\x02\x01\xc6\x33\x64\x02\x04\0\x01\xbb";
    assert_eq!(written(Version::V2, &what), v2(0x21, 0x11, block));

    let what = Outgoing::proxied(inet("192.0.2.1:1024"), inet("[2001:db8::2]:443"));
    let block = [
        b"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x01".as_slice(),
        b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02",
        b"\x04\0\x01\xbb",
    ]
    .concat();
    assert_eq!(written(Version::V2, &what), v2(0x21, 0x21, &block));
}

#[test]
fn version_2_says_local_for_our_own_connections_and_without_ip() {
    let own: SocketAddr = "192.0.2.1:1024".parse().unwrap();
    for what in [
        Outgoing::local(),
        Outgoing::local_between(own, own),
        Outgoing::proxied(Endpoint::Other, Endpoint::Inet(own)),
        Outgoing::proxied(Endpoint::Inet(own), Endpoint::Other),
    ] {
        assert_eq!(written(Version::V2, &what), v2(0x20, 0, b""), "{what:?}");
    }
}

#[test]
fn our_own_connections_are_named_in_version_1_where_known() {
    let own = "192.0.2.1:1024".parse().unwrap();
    let server = "192.0.2.2:80".parse().unwrap();
    assert_eq!(
        text(&Outgoing::local_between(own, server)),
        "PROXY TCP4 192.0.2.1 192.0.2.2 1024 80\r\n"
    );
}

#[test]
fn every_tlv_is_written_in_its_place() {
    let what = Outgoing {
        ssl: Some(SslFacts {
            client_cert: true,
            client_cert_in_session: true,
            verify: 18,
            version: Some("TLSv1.3"),
            cn: Some("c"),
            cipher: Some("X"),
            sig_alg: Some("S"),
            key_alg: Some("K"),
        }),
        alpn: Some(b"h2"),
        authority: Some(b"a.b.org"),
        unique_id: Some(b"id"),
        ..Outgoing::proxied(inet("192.0.2.1:1024"), inet("198.51.100.2:443"))
    };
    let block = [
        b"\xc0\0\x02\x01\xc6\x33\x64\x02\x04\0\x01\xbb".as_slice(),
        b"\x01\0\x02h2",
        b"\x02\0\x07a.b.org",
        b"\x05\0\x02id",
        b"\x20\0\x1f\x07\0\0\0\x12",
        b"\x21\0\x07TLSv1.3",
        b"\x22\0\x01c",
        b"\x25\0\x01K",
        b"\x24\0\x01S",
        b"\x23\0\x01X",
    ]
    .concat();
    let bytes = written(Version::V2, &what);
    assert_eq!(bytes, v2(0x21, 0x11, &block));

    let tlvs = read_back(&bytes).tlvs;
    assert_eq!(tlvs.alpn(), what.alpn);
    assert_eq!(tlvs.authority(), what.authority);
    assert_eq!(tlvs.unique_id(), what.unique_id);
    assert_eq!(tlvs.iter().count(), 4);
    let ssl = tlvs.ssl().unwrap();
    assert!(ssl.spoken());
    assert!(ssl.certificate_in_connection());
    assert!(ssl.certificate_in_session());
    assert_eq!(ssl.verify, 18);
    assert_eq!(ssl.version(), Some(b"TLSv1.3".as_slice()));
    assert_eq!(ssl.cn(), Some(b"c".as_slice()));
    assert_eq!(ssl.cipher(), Some(b"X".as_slice()));
    assert_eq!(ssl.sig_alg(), Some(b"S".as_slice()));
    assert_eq!(ssl.key_alg(), Some(b"K".as_slice()));
    assert_eq!(ssl.get(kind::NOOP), None);
}

#[test]
fn a_client_without_tls_is_said_to_be_one() {
    let what = Outgoing {
        ssl: Some(SslFacts::default()),
        ..Outgoing::proxied(inet("192.0.2.1:1"), inet("192.0.2.2:2"))
    };
    let bytes = written(Version::V2, &what);
    assert!(bytes.ends_with(b"\x20\0\x05\0\0\0\0\0"));
    let tlvs = read_back(&bytes).tlvs;
    let ssl = tlvs.ssl().unwrap();
    assert!(!ssl.spoken() && !ssl.certificate_in_connection() && !ssl.certificate_in_session());
    assert_eq!(ssl.version(), None);
}

#[test]
fn a_checksum_covers_the_whole_header() {
    let what = Outgoing {
        authority: Some(b"a.b.org"),
        crc32c: true,
        ..Outgoing::proxied(inet("192.0.2.1:1024"), inet("198.51.100.2:443"))
    };
    let bytes = written(Version::V2, &what);
    assert_eq!(bytes[28..31], *b"\x03\0\x04");
    // Without the byte at 28 there is no TLV of this type, and no checksum.
    for at in (0..bytes.len()).filter(|at| *at != 28) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert_ne!(read(&changed), read(&bytes), "byte {at} is covered");
        let same = matches!(
            read(&changed),
            Ok(Progress::Complete { ref header, .. })
                if matches!(header.addresses, Addresses::Inet { .. })
        );
        assert!(!same, "byte {at} is changed, and the header is read");
    }
}

#[test]
fn what_does_not_fit_is_left_out() {
    let long = [b'x'; 70_000];
    let text = str::from_utf8(&long[..256]).unwrap();
    let what = Outgoing {
        alpn: Some(&long[..256]),
        authority: Some(&long),
        unique_id: Some(&long[..129]),
        ssl: Some(SslFacts {
            version: Some("TLSv1.2"),
            cn: Some(text),
            ..SslFacts::default()
        }),
        crc32c: true,
        ..Outgoing::proxied(inet("192.0.2.1:1"), inet("192.0.2.2:2"))
    };
    let tlvs = read_back(&written(Version::V2, &what)).tlvs;
    let kinds: Vec<_> = tlvs.iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [kind::CRC32C, kind::SSL]);
    let ssl = tlvs.ssl().unwrap();
    assert_eq!(ssl.version(), Some(b"TLSv1.2".as_slice()));
    assert_eq!(ssl.cn(), None);
}

#[test]
fn a_header_is_appended() {
    let mut out = b"before".to_vec();
    let what = Outgoing {
        crc32c: true,
        ..Outgoing::proxied(inet("192.0.2.1:1"), inet("192.0.2.2:2"))
    };
    write(Version::V2, &what, &mut out);
    let after = out.strip_prefix(b"before").unwrap();
    assert_eq!(after, written(Version::V2, &what));
}
