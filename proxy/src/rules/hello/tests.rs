//! Hellos of real clients, whole, in pieces, in several records, and damaged.

use std::sync::Arc;

use bumpalo::Bump;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;

/// A client's first message, and what is in it.
struct Shape {
    name: &'static str,
    bytes: Vec<u8>,
    sni: Option<&'static str>,
    alpn: &'static [&'static str],
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(u8::is_ascii_hexdigit)
        .map(|digit| char::from(digit).to_digit(16).unwrap() as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

fn rustls_hello(post_quantum: bool) -> Vec<u8> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = if post_quantum {
        vec![kx_group::X25519MLKEM768, kx_group::X25519]
    } else {
        vec![kx_group::X25519]
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"acme-tls/1".to_vec(), b"h2".to_vec()];
    let name = ServerName::try_from("rustls.example").unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

fn shapes() -> Vec<Shape> {
    macro_rules! stored {
        ($name:literal, $sni:expr, $alpn:expr) => {
            Shape {
                name: $name,
                bytes: unhex(include_str!(concat!("samples/", $name, ".hex"))),
                sni: $sni,
                alpn: $alpn,
            }
        };
    }
    let web: &[&str] = &["h2", "http/1.1"];
    let rustls = |name, post_quantum| Shape {
        name,
        bytes: rustls_hello(post_quantum),
        sni: Some("rustls.example"),
        alpn: &["acme-tls/1", "h2"],
    };
    vec![
        stored!("openssl", Some("www.openssl.example"), web),
        stored!("openssl-tls12", Some("old.openssl.example"), &[]),
        stored!("openssl-no-sni", None, &[]),
        stored!("curl", Some("curl.example"), web),
        stored!("gnutls", Some("localhost"), &[]),
        stored!("node", Some("node.example"), &["http/1.1"]),
        stored!("java", Some("java.example"), &["h2"]),
        stored!("grease", Some("grease.example"), web),
        rustls("rustls", false),
        rustls("rustls with a post-quantum key share", true),
    ]
}

/// The message's bytes without the header of its one record.
fn unwrapped(record: &[u8]) -> &[u8] {
    &record[RECORD_HEADER..]
}

/// A message in records with these lengths, and what is left over in one more.
fn in_records(message: &[u8], lengths: impl IntoIterator<Item = usize>) -> Vec<u8> {
    let mut stream = Vec::new();
    let mut rest = message;
    let mut wrap = |fragment: &[u8]| {
        let length = u16::try_from(fragment.len()).unwrap();
        stream.extend([HANDSHAKE_RECORD, 3, 1]);
        stream.extend(length.to_be_bytes());
        stream.extend(fragment);
    };
    for length in lengths {
        if rest.is_empty() {
            break;
        }
        let (now, later) = rest.split_at(length.min(rest.len()));
        wrap(now);
        rest = later;
    }
    if !rest.is_empty() {
        wrap(rest);
    }
    stream
}

#[track_caller]
fn check(shape: &Shape, stream: &[u8]) {
    let arena = Bump::new();
    let Seen::Complete(hello) = client_hello(stream, &arena) else {
        panic!("{}: {:?}", shape.name, client_hello(stream, &arena));
    };
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    assert_eq!(hello.version, 0x0303, "{}", shape.name);
    assert_eq!(hello.sni().map(text), shape.sni, "{}", shape.name);
    let alpn: Vec<&str> = hello.alpn().map(text).collect();
    assert_eq!(alpn, shape.alpn, "{}", shape.name);
    assert!(hello.names_groups(), "{}", shape.name);
    assert_eq!(
        offered_version(stream, &arena),
        Seen::Complete(0x0003_0003),
        "{}",
        shape.name
    );
}

#[test]
fn every_prefix_is_partial_and_the_whole_is_complete() {
    for shape in shapes() {
        let arena = Bump::new();
        for end in 0..shape.bytes.len() {
            let prefix = &shape.bytes[..end];
            assert_eq!(
                client_hello(prefix, &arena),
                Seen::Partial,
                "{} at {end}",
                shape.name
            );
            assert_eq!(message(prefix, &arena), Seen::Partial);
            assert_eq!(offered_version(prefix, &arena), Seen::Partial);
        }
        check(&shape, &shape.bytes);
        // What follows is nobody's business.
        let mut more = shape.bytes.clone();
        more.extend([HANDSHAKE_RECORD, 0, 0]);
        check(&shape, &more);
        assert_eq!(arena.allocated_bytes(), 0, "one record is read in place");
    }
}

#[test]
fn cut_into_two_records_anywhere() {
    for shape in shapes() {
        let whole = unwrapped(&shape.bytes);
        for cut in 1..whole.len() {
            let stream = in_records(whole, [cut]);
            check(&shape, &stream);
            let arena = Bump::new();
            let prefix = &stream[..stream.len() - 1];
            assert_eq!(client_hello(prefix, &arena), Seen::Partial, "cut at {cut}");
        }
    }
}

#[test]
fn a_post_quantum_key_share_makes_it_large() {
    let lengths = [false, true].map(|post_quantum| rustls_hello(post_quantum).len());
    assert!(lengths[0] < 600 && lengths[1] > 1300, "{lengths:?}");
}

#[test]
fn tickets_and_groups() {
    let arena = Bump::new();
    let ticket = |extensions: &[u8]| {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0x13, 1, 1, 0]);
        body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
        body.extend(extensions);
        let mut whole = vec![CLIENT_HELLO, 0, 0, u8::try_from(body.len()).unwrap()];
        whole.extend(body);
        match client_hello(&in_records(&whole, []), &arena) {
            Seen::Complete(hello) => (hello.ticket(), hello.names_groups()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(ticket(&[]), (Ticket::Unknown, false));
    assert_eq!(ticket(&[0, 35, 0, 0]), (Ticket::Wanted, false));
    assert_eq!(ticket(&[0, 35, 0, 1, 9]), (Ticket::Shown, false));
    assert_eq!(
        ticket(&[0, 10, 0, 4, 0, 2, 0, 29, 0, 35, 0, 0]),
        (Ticket::Wanted, true)
    );
    // An extension that is longer than all of them ends the list.
    assert_eq!(ticket(&[0, 10, 0, 4, 0]), (Ticket::Unknown, false));
}

#[test]
fn other_streams() {
    let arena = Bump::new();
    let hello = rustls_hello(false);
    let with = |at: usize, byte: u8| {
        let mut bytes = hello.clone();
        bytes[at] = byte;
        bytes
    };
    for (bytes, why) in [
        (b"GET / HTTP/1.0\r\n\r\n".to_vec(), "HTTP"),
        (b"SSH-2.0-OpenSSH\r\n".to_vec(), "SSH"),
        (vec![0], "one zero"),
        (vec![HANDSHAKE_RECORD, 2], "a record of SSL 2"),
        (vec![HANDSHAKE_RECORD, 3, 1, 0, 0], "an empty record"),
        (
            vec![HANDSHAKE_RECORD, 3, 1, 0xff, 0xff],
            "a record too long",
        ),
        (with(0, 23), "application data"),
        (with(6, 0xff), "a message too long"),
        (vec![21, 3, 3, 0, 2, 2, 40], "an alert"),
    ] {
        assert_eq!(message(&bytes, &arena), Seen::NotTls, "{why}");
    }
    for (bytes, why) in [
        (with(5, 2), "a ServerHello"),
        (with(9, 2), "version 2.3"),
        (with(43, 33), "a session longer than 32 bytes"),
    ] {
        assert!(
            matches!(message(&bytes, &arena), Seen::Complete(_)),
            "{why}"
        );
        assert_eq!(client_hello(&bytes, &arena), Seen::NotTls, "{why}");
    }
    assert_eq!(
        message(&with(5, 2), &arena).and(|message| Some(message.kind)),
        Seen::Complete(2)
    );
}

/// An SSL 2.0 hello for `version`, with a header of two bytes or of three.
fn sslv2(version: [u8; 2], long: bool, padding: u8) -> Vec<u8> {
    let mut body = vec![CLIENT_HELLO, version[0], version[1], 0, 6, 0, 0, 0, 16];
    body.extend([1, 0, 0x80, 3, 0, 0x80]);
    body.extend([5; 16]);
    let length = u8::try_from(body.len()).unwrap();
    let mut bytes = if long {
        vec![0, length, padding]
    } else {
        vec![0x80, length]
    };
    bytes.extend(body);
    bytes.extend(vec![0; padding.into()]);
    bytes
}

#[test]
fn hellos_of_ssl_2() {
    let arena = Bump::new();
    for (bytes, version) in [
        (sslv2([0, 2], false, 0), 2),
        (sslv2([3, 1], false, 0), 0x0003_0001),
        (sslv2([3, 0], true, 0), 0x0003_0000),
        (sslv2([3, 0], true, 7), 0x0003_0000),
    ] {
        for end in 0..bytes.len() {
            assert_eq!(offered_version(&bytes[..end], &arena), Seen::Partial);
        }
        assert_eq!(offered_version(&bytes, &arena), Seen::Complete(version));
        assert_eq!(message(&bytes, &arena), Seen::NotTls);
        for (at, why) in [
            (1, "length"),
            (2, "kind"),
            (6, "ciphers"),
            (10, "challenge"),
        ] {
            let mut wrong = bytes.clone();
            // A header of three bytes shifts the rest by one.
            let at = if wrong[0] == 0 && at > 1 { at + 1 } else { at };
            wrong[at] ^= 0x41;
            assert_eq!(offered_version(&wrong, &arena), Seen::NotTls, "{why}");
        }
    }
}

/// All that can be asked of a stream.
fn ask(bytes: &[u8]) -> (Seen<u8>, Seen<u32>, Seen<Vec<Vec<u8>>>) {
    let arena = Bump::new();
    let kind = message(bytes, &arena).and(|message| Some(message.kind));
    let version = offered_version(bytes, &arena);
    let parts = client_hello(bytes, &arena).and(|hello| {
        let mut parts: Vec<Vec<u8>> = hello.alpn().map(<[u8]>::to_vec).collect();
        parts.extend(hello.sni().map(<[u8]>::to_vec));
        parts.push(hello.ciphers.to_vec());
        parts.push(hello.session_id.to_vec());
        parts.push(vec![hello.names_groups().into(), hello.ticket() as u8]);
        Some(parts)
    });
    (kind, version, parts)
}

/// Once there is an answer, more bytes do not change it.
fn is_stable<T: PartialEq + std::fmt::Debug>(earlier: &Seen<T>, later: &Seen<T>) -> bool {
    *earlier == Seen::Partial || earlier == later
}

proptest! {
    #[test]
    fn any_split_into_records_reads_the_same(
        which in any::<Index>(),
        lengths in vec(1usize..200, 0..40),
    ) {
        let shapes = shapes();
        let shape = which.get(&shapes);
        check(shape, &in_records(unwrapped(&shape.bytes), lengths));
    }

    #[test]
    fn answers_never_change(
        which in any::<Index>(),
        lengths in vec(1usize..300, 0..8),
        changes in vec((any::<Index>(), any::<u8>()), 0..6),
        cuts in vec(any::<Index>(), 0..6),
        end in any::<Index>(),
    ) {
        let shapes = shapes();
        let mut bytes = in_records(unwrapped(&which.get(&shapes).bytes), lengths);
        for (at, byte) in changes {
            // Most of what decides is near the beginning.
            let at = at.index(bytes.len());
            let at = if byte % 2 == 0 { at % 60 } else { at };
            bytes[at] = byte;
        }
        for cut in cuts {
            bytes.remove(cut.index(bytes.len()));
        }
        let earlier = ask(&bytes[..end.index(bytes.len())]);
        let later = ask(&bytes);
        prop_assert!(is_stable(&earlier.0, &later.0), "{earlier:?} {later:?}");
        prop_assert!(is_stable(&earlier.1, &later.1), "{earlier:?} {later:?}");
        prop_assert!(is_stable(&earlier.2, &later.2), "{earlier:?} {later:?}");
    }

    #[test]
    fn noise_is_survived(bytes in vec(any::<u8>(), 0..200), tls in any::<bool>()) {
        let mut bytes = bytes;
        if tls && bytes.len() > 6 {
            bytes[..6].copy_from_slice(&[HANDSHAKE_RECORD, 3, 1, 0, 40, CLIENT_HELLO]);
        }
        let later = ask(&bytes);
        for end in 0..bytes.len() {
            let earlier = ask(&bytes[..end]);
            prop_assert!(is_stable(&earlier.0, &later.0));
            prop_assert!(is_stable(&earlier.1, &later.1));
            prop_assert!(is_stable(&earlier.2, &later.2));
        }
    }
}
