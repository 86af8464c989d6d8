//! What holds for any bytes. The property tests and the fuzz target check these.

use super::proxy_protocol::{
    Addresses, Command, Endpoint, Header, MAX_BLOCK, Outgoing, Progress, Refusal, SslFacts,
    Version, kind, read, write,
};

/// Checks everything that holds for `bytes` as the beginning of a connection.
///
/// # Panics
///
/// If something does not hold.
pub(super) fn check(bytes: &[u8]) {
    let outcome = read(bytes);
    assert_eq!(outcome, in_pieces(bytes), "bytes one at a time");
    match &outcome {
        Ok(Progress::Complete { header, length }) => {
            assert!(*length <= bytes.len());
            assert_eq!(read(&bytes[..*length]), outcome, "without the data");
            well_formed(header, *length);
            survives_writing(header);
        }
        Ok(Progress::Partial { at_least }) => {
            assert!(*at_least > bytes.len());
            assert!(*at_least <= 16 + MAX_BLOCK);
        }
        Err(_) => {}
    }
    for more in [b"\0".as_slice(), b"\r\n", b"PROXY TCP4 1.1.1.1"] {
        if !matches!(outcome, Ok(Progress::Partial { .. })) {
            assert_eq!(
                read(&[bytes, more].concat()),
                outcome,
                "followed by {more:?}"
            );
        }
    }
}

/// The outcome for the same bytes when they arrive one at a time: the first that is final.
fn in_pieces(bytes: &[u8]) -> Result<Progress, Refusal> {
    // Inside the block of a version 2 header nothing is looked at; long ones would take long.
    const ALL: usize = 256;

    let ends = (0..bytes.len().min(ALL)).chain([bytes.len()]);
    let mut asked = 0;
    let mut outcome = read(&[]);
    for end in ends {
        outcome = read(&bytes[..end]);
        match &outcome {
            Ok(Progress::Partial { at_least }) => {
                assert!(*at_least >= asked, "asks for less than before");
                asked = *at_least;
            }
            Ok(Progress::Complete { length, .. }) => {
                assert!(*length >= asked, "is shorter than was asked for");
                break;
            }
            Err(_) => break,
        }
    }
    outcome
}

/// What every header is like, whatever it was read from.
fn well_formed(header: &Header, length: usize) {
    match header.version {
        Version::V1 => {
            assert!((15..=107).contains(&length));
            assert_eq!(header.command, Command::Proxy);
            assert!(header.tlvs.is_empty());
            assert!(!matches!(header.addresses, Addresses::Unix { .. }));
        }
        Version::V2 => assert!((16..=16 + MAX_BLOCK).contains(&length)),
    }
    if header.command == Command::Local {
        assert_eq!(header.addresses, Addresses::Unknown);
        assert!(header.tlvs.is_empty());
    }
    match &header.addresses {
        Addresses::Inet {
            source,
            destination,
        } => assert_eq!(source.is_ipv4(), destination.is_ipv4()),
        Addresses::Unix {
            source,
            destination,
        } => assert!(source.len() <= 108 && destination.len() <= 108),
        Addresses::Unknown => {}
    }
    let tlvs = &header.tlvs;
    assert!(tlvs.iter().all(|(kind, _)| tlvs.get(kind).is_some()));
    assert_eq!(tlvs.ssl().is_some(), tlvs.get(kind::SSL).is_some());
}

/// Writes what was read, in both versions, and reads it again.
fn survives_writing(header: &Header) {
    for version in [Version::V1, Version::V2] {
        let outgoing = sent_on(header);
        let mut written = b"before".to_vec();
        write(version, &outgoing, &mut written);
        let written = &written[b"before".len()..];
        let Ok(Progress::Complete {
            header: again,
            length,
        }) = read(written)
        else {
            panic!("{outgoing:?} is written as {written:?}, which is not read");
        };
        assert_eq!(length, written.len());
        assert_eq!(again.version, version);
        assert_eq!(again.inet(), header.inet());
        if version == Version::V2 && header.inet().is_some() {
            assert_eq!(again.tlvs.authority(), outgoing.authority);
            assert_eq!(again.tlvs.unique_id(), outgoing.unique_id);
            let alpn = outgoing.alpn.filter(|alpn| alpn.len() <= 255);
            assert_eq!(again.tlvs.alpn(), alpn);
            assert_eq!(again.tlvs.ssl().is_some(), outgoing.ssl.is_some());
            assert_eq!(again.tlvs.get(kind::CRC32C).is_some(), outgoing.crc32c);
        }
    }
}

/// What a proxy would say that sends on what it was told.
fn sent_on(header: &Header) -> Outgoing<'_> {
    fn text(bytes: Option<&[u8]>) -> Option<&str> {
        str::from_utf8(bytes?).ok()
    }

    let (source, destination) = match header.inet() {
        Some((source, destination)) => (Endpoint::Inet(source), Endpoint::Inet(destination)),
        None => (Endpoint::Other, Endpoint::Other),
    };
    Outgoing {
        command: header.command,
        ssl: header.tlvs.ssl().map(|ssl| SslFacts {
            client_cert: ssl.certificate_in_connection(),
            client_cert_in_session: ssl.certificate_in_session(),
            verify: ssl.verify,
            version: text(ssl.version()),
            cn: text(ssl.cn()),
            cipher: text(ssl.cipher()),
            sig_alg: text(ssl.sig_alg()),
            key_alg: text(ssl.key_alg()),
        }),
        alpn: header.tlvs.alpn(),
        authority: header.tlvs.authority(),
        unique_id: header.tlvs.unique_id(),
        crc32c: header.tlvs.get(kind::CRC32C).is_some(),
        ..Outgoing::proxied(source, destination)
    }
}
