//! The codec against a table of inputs, and against its own promises.

mod laws;
mod properties;
mod table;
mod writing;

// `laws` finds the codec by this name, here and in the fuzz target.
use crate::handshake::proxy_protocol;

use super::{Progress, Refusal, read};
use table::{Case, Expected};

/// What may follow a header in the same segment: data that looks like another one.
const DATA: &[&[u8]] = &[
    b"",
    b"\0",
    b"\r\n",
    b"PROXY UNKNOWN\r\n",
    b"\r\n\r\n\0\r\nQUIT\n",
];

#[test]
fn the_table_is_read_as_it_says() {
    let cases = table::cases();
    assert!(cases.len() >= 60, "{} cases", cases.len());
    for Case { name, expected } in &cases {
        match expected {
            Expected::Header(bytes, header) => {
                for data in DATA {
                    let received = [bytes, *data].concat();
                    assert_eq!(
                        read(&received),
                        Ok(Progress::Complete {
                            header: header.clone(),
                            length: bytes.len(),
                        }),
                        "{name}, followed by {data:?}"
                    );
                }
            }
            Expected::Refused {
                proof,
                rest,
                refusal,
            } => {
                let received = [proof.as_slice(), rest].concat();
                assert_eq!(read(&received), Err(*refusal), "{name}");
            }
            Expected::Partial(bytes, at_least) => assert_eq!(
                read(bytes),
                Ok(Progress::Partial {
                    at_least: *at_least,
                }),
                "{name}"
            ),
        }
    }
}

#[test]
fn every_beginning_of_a_header_asks_for_more() {
    for Case { name, expected } in table::cases() {
        let bytes = match expected {
            Expected::Header(bytes, _) | Expected::Partial(bytes, _) => bytes,
            Expected::Refused { .. } => continue,
        };
        for end in 0..bytes.len() {
            match read(&bytes[..end]) {
                Ok(Progress::Partial { at_least }) => assert!(
                    at_least > end,
                    "{name}: {at_least} bytes asked for after {end}"
                ),
                other => panic!("{name}: {other:?} after {end} bytes"),
            }
        }
    }
}

#[test]
fn receiving_only_what_is_asked_for_never_takes_data() {
    for Case { name, expected } in table::cases() {
        let Expected::Header(bytes, header) = expected else {
            continue;
        };
        let received = [bytes.as_slice(), b"data"].concat();
        let mut have = 0;
        let mut turns = 0;
        let length = loop {
            match read(&received[..have]) {
                Ok(Progress::Partial { at_least }) => have = at_least,
                Ok(Progress::Complete {
                    header: found,
                    length,
                }) => {
                    assert_eq!(found, header, "{name}");
                    break length;
                }
                Err(refusal) => panic!("{name}: {refusal}"),
            }
            turns += 1;
        };
        assert_eq!(have, length, "{name}: bytes taken");
        assert!(turns <= bytes.len(), "{name}: {turns} turns");
    }
}

#[test]
fn a_malformed_header_is_refused_at_the_byte_that_proves_it() {
    for Case { name, expected } in table::cases() {
        let Expected::Refused {
            proof,
            rest,
            refusal,
        } = expected
        else {
            continue;
        };
        let received = [proof.as_slice(), &rest].concat();
        for end in 0..=received.len() {
            let outcome = read(&received[..end]);
            if end < proof.len() {
                assert!(
                    matches!(outcome, Ok(Progress::Partial { .. })),
                    "{name}: {outcome:?} after {end} bytes of {}",
                    proof.len()
                );
            } else {
                assert_eq!(outcome, Err(refusal), "{name}, after {end} bytes");
            }
        }
    }
}

#[test]
fn the_table_keeps_every_promise() {
    for Case { expected, .. } in table::cases() {
        match expected {
            Expected::Header(bytes, _) | Expected::Partial(bytes, _) => laws::check(&bytes),
            Expected::Refused { proof, rest, .. } => laws::check(&[proof, rest].concat()),
        }
    }
}

/// A reason that no case of the table gives would not be known to be given at all.
#[test]
fn every_reason_is_in_the_table() {
    use std::collections::HashSet;
    use std::mem::{Discriminant, discriminant};

    let given: HashSet<Discriminant<Refusal>> = table::cases()
        .iter()
        .filter_map(|case| match &case.expected {
            Expected::Refused { refusal, .. } => Some(discriminant(refusal)),
            _ => None,
        })
        .collect();
    assert_eq!(given.len(), REASONS, "reasons given by the table");
}

/// The variants of [`Refusal`]: a new one does not compile until it is listed and counted here.
const REASONS: usize = 24;

#[expect(dead_code, reason = "exists to stop compiling")]
fn counted(refusal: Refusal) {
    match refusal {
        Refusal::NotAHeader { .. }
        | Refusal::Protocol
        | Refusal::Spaces(_)
        | Refusal::Missing(_)
        | Refusal::Address(_)
        | Refusal::OctetRange(_)
        | Refusal::LeadingZero(_)
        | Refusal::Port(_)
        | Refusal::PortRange(_)
        | Refusal::Trailing
        | Refusal::LineEnd
        | Refusal::LineTooLong
        | Refusal::Version(_)
        | Refusal::Command(_)
        | Refusal::Family(_)
        | Refusal::BlockTooLong { .. }
        | Refusal::BlockTooShort { .. }
        | Refusal::TlvTruncated { .. }
        | Refusal::TlvOverrun { .. }
        | Refusal::TlvTooLong { .. }
        | Refusal::Ssl
        | Refusal::ChecksumLength { .. }
        | Refusal::ChecksumTwice
        | Refusal::Checksum { .. } => {}
    }
}
