//! What a value of one type is as another one.
//!
//! The table is HAProxy's. What is possible is known when rules are compiled ([`is_possible`]); a value
//! may still have no counterpart when it is looked at ([`cast`]), and then there is none.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use bumpalo::Bump;
use bumpalo::collections::String as ArenaString;

use super::sample::{Kind, Value};

/// Whether values of type `from` may have a counterpart of type `to`.
#[must_use]
pub fn is_possible(from: Kind, to: Kind) -> bool {
    match (from, to) {
        (Kind::Bool, Kind::Ipv4 | Kind::Ipv6 | Kind::Address) => false,
        (Kind::Ipv4 | Kind::Ipv6 | Kind::Address, Kind::Bool) => true,
        (Kind::Ipv6, Kind::Int) => false,
        (Kind::Bin, to) => matches!(to, Kind::Bin | Kind::Str),
        _ => true,
    }
}

/// The value as one of type `to`; new text goes to `arena`.
///
/// - numbers and addresses as text are what a person would write; text as a number is the digits
///   that it begins with, 0 without any;
/// - true and false are the numbers 1 and 0; an IPv4 address is a number in its natural order; an IPv6 address is an IPv4 one only if it
///   is mapped (`::ffff:…`); text as an IPv4 address is the one that it begins with (`1.2.3.4:80`);
/// - bytes as text end before the first NUL.
#[must_use]
pub fn cast<'a>(value: Value<'a>, to: Kind, arena: &'a Bump) -> Option<Value<'a>> {
    match to {
        Kind::Bool => boolean(value).map(Value::Bool),
        Kind::Int => integer(value).map(Value::Int),
        Kind::Ipv4 => ipv4(value).map(Value::Ipv4),
        Kind::Ipv6 => ipv6(value).map(Value::Ipv6),
        Kind::Address => match value {
            Value::Ipv6(_) => Some(value),
            Value::Str(text) => address(text),
            _ => ipv4(value).map(Value::Ipv4),
        },
        Kind::Str => Some(Value::Str(string(value, arena))),
        Kind::Bin => binary(value, arena).map(Value::Bin),
    }
}

/// The value as true or false.
#[must_use]
pub fn boolean(value: Value<'_>) -> Option<bool> {
    match value {
        Value::Bool(is) => Some(is),
        Value::Ipv4(address) => Some(!address.is_unspecified()),
        _ => integer(value).map(|number| number != 0),
    }
}

/// The value as a number.
#[must_use]
pub fn integer(value: Value<'_>) -> Option<i64> {
    match value {
        Value::Bool(is) => Some(i64::from(is)),
        Value::Int(number) => Some(number),
        Value::Ipv4(address) => Some(i64::from(address.to_bits())),
        Value::Str(text) => leading_number(text),
        Value::Ipv6(_) | Value::Bin(_) => None,
    }
}

pub(super) fn ipv4(value: Value<'_>) -> Option<Ipv4Addr> {
    match value {
        Value::Ipv4(address) => Some(address),
        Value::Ipv6(address) => address.to_ipv4_mapped(),
        // The lower half counts, as an address has no more bits.
        Value::Int(number) => Some(Ipv4Addr::from_bits(number as u32)),
        Value::Str(text) => dotted(text),
        Value::Bool(_) | Value::Bin(_) => None,
    }
}

pub(super) fn ipv6(value: Value<'_>) -> Option<Ipv6Addr> {
    match value {
        Value::Ipv6(address) => Some(address),
        Value::Str(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => ipv4(value).map(|address| address.to_ipv6_mapped()),
    }
}

fn address(text: &[u8]) -> Option<Value<'static>> {
    dotted(text).map(Value::Ipv4).or_else(|| {
        let text = std::str::from_utf8(text).ok()?;
        text.parse().ok().map(Value::Ipv6)
    })
}

/// The IPv4 address that text begins with. What follows it does not matter, unless it is a digit or
/// a dot.
fn dotted(text: &[u8]) -> Option<Ipv4Addr> {
    let end = text
        .iter()
        .position(|b| !b.is_ascii_digit() && *b != b'.')
        .unwrap_or(text.len());
    let mut octets = [0_u8; 4];
    let mut parts = text[..end].split(|b| *b == b'.');
    for octet in &mut octets {
        *octet = parts
            .next()
            .filter(|digits| !digits.is_empty())?
            .iter()
            .try_fold(0_u8, |number, digit| {
                number.checked_mul(10)?.checked_add(digit - b'0')
            })?;
    }
    parts.next().is_none().then(|| octets.into())
}

/// The value as text.
#[must_use]
pub fn string<'a>(value: Value<'a>, arena: &'a Bump) -> &'a [u8] {
    let mut out = ArenaString::new_in(arena);
    // Writing to memory cannot fail.
    let _ = match value {
        Value::Str(text) => return text,
        Value::Bin(bytes) => {
            let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
            return &bytes[..end];
        }
        Value::Bool(is) => write!(out, "{}", u8::from(is)),
        Value::Int(number) => write!(out, "{number}"),
        Value::Ipv4(address) => write!(out, "{address}"),
        Value::Ipv6(address) => write!(out, "{address}"),
    };
    out.into_bump_str().as_bytes()
}

fn binary<'a>(value: Value<'a>, arena: &'a Bump) -> Option<&'a [u8]> {
    match value {
        Value::Str(bytes) | Value::Bin(bytes) => Some(bytes),
        Value::Bool(is) => Some(arena.alloc_slice_copy(&i64::from(is).to_be_bytes())),
        Value::Int(number) => Some(arena.alloc_slice_copy(&number.to_be_bytes())),
        Value::Ipv4(address) => Some(arena.alloc_slice_copy(&address.octets())),
        Value::Ipv6(address) => Some(arena.alloc_slice_copy(&address.octets())),
    }
}

/// The number that text begins with: a sign, then digits. One that is too large is the largest
/// there is. `None`: there is no text at all.
fn leading_number(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [] => return None,
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let mut number = 0_i64;
    for &b in digits.iter().take_while(|b| b.is_ascii_digit()) {
        let digit = i64::from(b - b'0');
        number = number.saturating_mul(10);
        number = if negative {
            number.saturating_sub(digit)
        } else {
            number.saturating_add(digit)
        };
    }
    Some(number)
}

#[cfg(test)]
mod tests;
