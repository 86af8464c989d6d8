//! Keys: values as a table stores them.

use std::fmt;
use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use smallvec::SmallVec;

use super::layout::Layout;
use super::settings::TableSettings;
use crate::rules::cast;
use crate::rules::sample::{Kind, Value};

/// A key of a table, made by [`super::Table::key`]. Keys of up to 32 bytes need no allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    kind: Kind,
    /// Its bytes.
    length: usize,
    /// As in an entry; of text: its length, and only as many words as it needs.
    words: SmallVec<[u32; 9]>,
}

/// Whether values of type `from` can ever be keys of a table of type `table`.
#[must_use]
pub fn can_be_key(from: Kind, table: Kind) -> bool {
    match table {
        Kind::Int => !matches!(from, Kind::Ipv6 | Kind::Bin),
        Kind::Ipv4 | Kind::Ipv6 | Kind::Address => !matches!(from, Kind::Bool | Kind::Bin),
        Kind::Str | Kind::Bin | Kind::Bool => true,
    }
}

impl Key {
    /// The key that a value stands for in a table; `None`: it cannot be one.
    pub(super) fn of(value: Value<'_>, settings: &TableSettings) -> Option<Self> {
        match settings.kind {
            Kind::Ipv4 => {
                let address = to_ipv4(value)?;
                Some(Self::short(Kind::Ipv4, address.to_bits()))
            }
            Kind::Ipv6 | Kind::Address => {
                // Text that is an IPv4 address is none here, as in HAProxy.
                let address = cast::ipv6(value)?;
                Some(Self::bytes(Kind::Ipv6, &address.octets()))
            }
            // The low 32 bits, whatever the sign.
            Kind::Int | Kind::Bool => {
                let low = cast::integer(value)? & i64::from(u32::MAX);
                Some(Self::short(Kind::Int, u32::try_from(low).ok()?))
            }
            // Up to the first NUL: HAProxy keeps text as C does.
            Kind::Str => Some(with_text(value, |text| {
                let text = &text[..text.len().min(settings.key_len)];
                let end = text.iter().position(|byte| *byte == 0);
                Self::text(&text[..end.unwrap_or(text.len())])
            })),
            Kind::Bin => Some(with_block(value, |block| {
                Self::block(block, settings.key_len)
            })),
        }
    }

    /// The same key in another table; `None`: its keys are of another type.
    pub(super) fn refit(&self, settings: &TableSettings) -> Option<Self> {
        if self.kind != settings.kind {
            return None;
        }
        match self.kind {
            Kind::Str | Kind::Bin => {
                let bytes = self.to_bytes();
                let value = if self.kind == Kind::Str {
                    Value::Str(&bytes)
                } else {
                    Value::Bin(&bytes)
                };
                Self::of(value, settings)
            }
            _ => Some(self.clone()),
        }
    }

    /// The key that an entry's words hold.
    pub(super) fn stored(words: &[u32], layout: &Layout) -> Self {
        Self {
            kind: layout.kind,
            length: match layout.kind {
                Kind::Str => words[0] as usize,
                _ => layout.key_len,
            },
            words: used(words, layout.kind).into(),
        }
    }

    /// Whether a table's entries have room for it.
    pub(super) fn fits(&self, layout: &Layout) -> bool {
        self.kind == layout.kind && self.words.len() <= layout.key_words
    }

    pub(super) fn words(&self) -> &[u32] {
        &self.words
    }

    fn short(kind: Kind, word: u32) -> Self {
        Self {
            kind,
            length: 4,
            words: SmallVec::from_slice(&[word]),
        }
    }

    fn bytes(kind: Kind, bytes: &[u8]) -> Self {
        Self {
            kind,
            length: bytes.len(),
            words: pack(bytes).collect(),
        }
    }

    fn text(text: &[u8]) -> Self {
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        Self {
            kind: Kind::Str,
            length: text.len(),
            words: std::iter::once(length).chain(pack(text)).collect(),
        }
    }

    /// Cut to `length` bytes, or filled up with zeros.
    fn block(block: &[u8], length: usize) -> Self {
        let mut key = Self::bytes(Kind::Bin, &block[..block.len().min(length)]);
        key.length = length;
        key.words.resize(length.div_ceil(4), 0);
        key
    }

    /// Its bytes: those of the address or number most significant first.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let words = match self.kind {
            Kind::Str => &self.words[1..],
            _ => &self.words[..],
        };
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        bytes.truncate(self.length);
        bytes
    }
}

impl fmt::Display for Key {
    /// As `show table` shows it: text with escapes, blocks as hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, &self.words[..]) {
            (Kind::Ipv4, [word]) => Ipv4Addr::from_bits(*word).fmt(f),
            (Kind::Int, [word]) => word.fmt(f),
            (Kind::Ipv6, words) => {
                let bits = words
                    .iter()
                    .fold(0, |bits: u128, word| bits << 32 | u128::from(*word));
                Ipv6Addr::from_bits(bits).fmt(f)
            }
            (Kind::Str, _) => {
                for byte in self.to_bytes() {
                    match byte {
                        b'\t' => f.write_str("\\t")?,
                        b'\n' => f.write_str("\\n")?,
                        b'\r' => f.write_str("\\r")?,
                        0x1b => f.write_str("\\e")?,
                        b'\\' | b' ' | b'=' => write!(f, "\\{}", char::from(byte))?,
                        b'!'..=b'~' => write!(f, "{}", char::from(byte))?,
                        _ => write!(f, "\\x{byte:02X}")?,
                    }
                }
                Ok(())
            }
            _ => self
                .to_bytes()
                .iter()
                .try_for_each(|byte| write!(f, "{byte:02X}")),
        }
    }
}

/// The words of an entry's key that matter.
pub(super) fn used(words: &[u32], kind: Kind) -> &[u32] {
    match kind {
        Kind::Str => &words[..1 + (words[0] as usize).div_ceil(4)],
        _ => words,
    }
}

/// Four bytes to a word, the first one highest.
fn pack(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    bytes.chunks(4).map(|chunk| {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        u32::from_be_bytes(word)
    })
}

/// As everywhere, but for text, of which the beginning is enough.
fn to_ipv4(value: Value<'_>) -> Option<Ipv4Addr> {
    match value {
        Value::Str(text) => leading_ipv4(text),
        _ => cast::ipv4(value),
    }
}

/// The address that text begins with. Zeros may lead each number, and anything but a dot may follow
/// the last one, a port or a mask, say.
fn leading_ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0_u8; 4];
    let mut rest = text;
    for (place, octet) in octets.iter_mut().enumerate() {
        if place > 0 {
            rest = rest.strip_prefix(b".")?;
        }
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, after) = rest.split_at(digits);
        if number.is_empty() || after.first() == Some(&b'.') && place == 3 {
            return None;
        }
        for digit in number {
            *octet = octet.checked_mul(10)?.checked_add(digit - b'0')?;
        }
        rest = after;
    }
    Some(octets.into())
}

/// Text on the stack: no address or number is longer.
fn with_text<R>(value: Value<'_>, then: impl FnOnce(&[u8]) -> R) -> R {
    let mut buffer = [0; 48];
    let room = buffer.len();
    let mut rest = &mut buffer[..];
    // It fits, so that nothing can go wrong.
    let _ = match value {
        Value::Str(text) | Value::Bin(text) => return then(text),
        Value::Bool(is) => write!(rest, "{}", u8::from(is)),
        Value::Int(number) => write!(rest, "{number}"),
        Value::Ipv4(address) => write!(rest, "{address}"),
        Value::Ipv6(address) => write!(rest, "{address}"),
    };
    let length = room - rest.len();
    then(&buffer[..length])
}

fn with_block<R>(value: Value<'_>, then: impl FnOnce(&[u8]) -> R) -> R {
    match value {
        Value::Str(bytes) | Value::Bin(bytes) => then(bytes),
        Value::Bool(is) => then(&i64::from(is).to_be_bytes()),
        Value::Int(number) => then(&number.to_be_bytes()),
        Value::Ipv4(address) => then(&address.octets()),
        Value::Ipv6(address) => then(&address.octets()),
    }
}
