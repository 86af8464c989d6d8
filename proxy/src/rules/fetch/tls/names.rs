//! Distinguished names as text.

use bumpalo::Bump;
use bumpalo::collections::Vec as ArenaVec;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::rules::sample::Value;

/// Attributes by OID, with OpenSSL's short names.
const ATTRIBUTES: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.15", "businessCategory"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.41", "name"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.65", "pseudonym"),
    ("2.5.4.97", "organizationIdentifier"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
];

/// How a distinguished name is told.
#[derive(Debug)]
pub(super) enum Form {
    /// `/C=FR/O=Example/CN=www`
    OneLine,
    /// `CN=www,O=Example,C=FR`, with RFC 2253's escapes.
    Rfc2253,
    /// The value of one attribute.
    Entry {
        /// OpenSSL's short name of the attribute, in any case.
        name: Box<str>,
        /// Which one of them: from 1 on from the beginning, from -1 on from the end.
        occurrence: i64,
    },
}

impl Form {
    /// A name in this form; `None` where it has no such attribute, or nothing at all.
    pub(super) fn of<'a>(&self, name: &X509Name<'_>, arena: &'a Bump) -> Option<Value<'a>> {
        let mut text = ArenaVec::new_in(arena);
        match self {
            Self::OneLine => {
                for attribute in name.iter_attributes() {
                    text.push(b'/');
                    push_name(&mut text, attribute);
                    text.extend_from_slice(attribute.as_slice());
                }
            }
            Self::Rfc2253 => rfc2253(&mut text, name),
            Self::Entry {
                name: wanted,
                occurrence,
            } => {
                let found = entry(name, wanted, *occurrence)?;
                text.extend_from_slice(found.as_slice());
            }
        }
        (!text.is_empty()).then(|| Value::Str(text.into_bump_slice()))
    }
}

fn short_name(oid: &str) -> Option<&'static str> {
    let (_, name) = ATTRIBUTES.iter().find(|(known, _)| *known == oid)?;
    Some(name)
}

fn push_name(text: &mut ArenaVec<'_, u8>, attribute: &AttributeTypeAndValue<'_>) {
    let oid = attribute.attr_type().to_id_string();
    let name = short_name(&oid).unwrap_or(&oid);
    text.extend_from_slice(name.as_bytes());
    text.push(b'=');
}

fn entry<'n, 'c>(
    name: &'n X509Name<'c>,
    wanted: &str,
    occurrence: i64,
) -> Option<&'n AttributeTypeAndValue<'c>> {
    let is_wanted = |attribute: &&AttributeTypeAndValue<'_>| {
        let oid = attribute.attr_type().to_id_string();
        short_name(&oid)
            .unwrap_or(&oid)
            .eq_ignore_ascii_case(wanted)
    };
    let count = name.iter_attributes().filter(is_wanted).count();
    let from_start = match usize::try_from(occurrence.unsigned_abs()).ok()? {
        0 => return None,
        nth if occurrence > 0 => nth - 1,
        nth => count.checked_sub(nth)?,
    };
    name.iter_attributes().filter(is_wanted).nth(from_start)
}

fn rfc2253(text: &mut ArenaVec<'_, u8>, name: &X509Name<'_>) {
    let parts: ArenaVec<'_, _> = ArenaVec::from_iter_in(name.iter_rdn(), text.bump());
    for (at, part) in parts.iter().rev().enumerate() {
        if at > 0 {
            text.push(b',');
        }
        for (at, attribute) in part.iter().enumerate() {
            if at > 0 {
                text.push(b'+');
            }
            push_name(text, attribute);
            push_escaped(text, attribute.as_slice());
        }
    }
}

fn push_escaped(text: &mut ArenaVec<'_, u8>, value: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for (at, &byte) in value.iter().enumerate() {
        let first = at == 0;
        let last = at + 1 == value.len();
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => {
                text.extend_from_slice(&[b'\\', byte]);
            }
            b'#' if first => text.extend_from_slice(b"\\#"),
            b' ' if first || last => text.extend_from_slice(b"\\ "),
            0x20..=0x7e => text.push(byte),
            _ => {
                let digit = |nibble: u8| HEX[usize::from(nibble)];
                text.extend_from_slice(&[b'\\', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
}
