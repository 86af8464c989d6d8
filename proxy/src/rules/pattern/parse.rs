//! Patterns as they are written.

use std::net::{Ipv4Addr, Ipv6Addr};

use data_encoding::HEXLOWER_PERMISSIVE;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::networks::AddressPattern;
use crate::rules::names::HostNames;

/// Integers, both ends included.
pub(super) type Range = (i64, i64);

/// How integers are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    AtLeast,
    MoreThan,
    AtMost,
    LessThan,
}

impl Comparison {
    pub(super) fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "eq" => Self::Equal,
            "ge" => Self::AtLeast,
            "gt" => Self::MoreThan,
            "le" => Self::AtMost,
            "lt" => Self::LessThan,
            _ => return None,
        })
    }

    fn range(self, number: i64) -> Range {
        match self {
            Self::Equal => (number, number),
            Self::AtLeast => (number, i64::MAX),
            // Nothing is more than the most: an empty range.
            Self::MoreThan => number
                .checked_add(1)
                .map_or((1, 0), |above| (above, i64::MAX)),
            Self::AtMost => (i64::MIN, number),
            Self::LessThan => number
                .checked_sub(1)
                .map_or((1, 0), |below| (i64::MIN, below)),
        }
    }
}

/// What numbers look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notation {
    /// Digits.
    Decimal,
    /// `major.minor`, of which the minor part is the lower 16 bits.
    Version,
}

impl Notation {
    fn number(self, text: &str) -> Result<i64, String> {
        let digits = |text: &str| {
            if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            text.parse::<i64>().ok()
        };
        match self {
            Self::Decimal => digits(text).ok_or_else(|| format!("'{text}' is not a number")),
            Self::Version => {
                let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
                digits(major)
                    .zip(digits(minor))
                    .filter(|&(major, minor)| major < 1 << 16 && minor < 1 << 16)
                    .map(|(major, minor)| major << 16 | minor)
                    .ok_or_else(|| format!("'{text}' is not a version number"))
            }
        }
    }
}

/// A number or a range: `5`, `5:7`, `:7`, `5:`. A dash separates as a colon does, so that there are
/// no negative numbers except after a comparison.
pub(super) fn range(
    text: &str,
    comparison: Option<Comparison>,
    notation: Notation,
) -> Result<Range, String> {
    if let Some(comparison) = comparison
        && let Some(digits) = text.strip_prefix('-')
    {
        let number = notation.number(digits)?;
        return Ok(comparison.range(-number));
    }
    let (low, high) = match text.find([':', '-']) {
        None => {
            let number = notation.number(text)?;
            return Ok(comparison.unwrap_or(Comparison::Equal).range(number));
        }
        Some(at) => (&text[..at], &text[at + 1..]),
    };
    let invalid = || format!("'{text}' is not a valid number range");
    if low.is_empty() && high.is_empty() {
        return Err(invalid());
    }
    let bound = |text: &str, open: i64| match text {
        "" => Ok(open),
        text => notation.number(text),
    };
    let (low, high) = (bound(low, i64::MIN)?, bound(high, i64::MAX)?);
    if low > high {
        return Err(invalid());
    }
    match comparison {
        None | Some(Comparison::Equal) => Ok((low, high)),
        Some(_) => Err(format!(
            "'{text}' is a range, which only 'eq' can be used with"
        )),
    }
}

/// An address or a network of either family. With `hosts`, a host name stands for its IPv4 address,
/// and an IPv4 address may be abbreviated.
pub(super) fn address(text: &str, hosts: Option<&dyn HostNames>) -> Result<AddressPattern, String> {
    let invalid = |why: &str| format!("'{text}' is not a valid IPv4 or IPv6 address{why}");
    if text.contains(':') {
        return ipv6(text)
            .map(|net| AddressPattern::Net(IpNet::V6(net)))
            .ok_or_else(|| invalid(""));
    }
    let (name, mask) = match text.split_once('/') {
        Some((name, mask)) => (name, mask4(mask).ok_or_else(|| invalid(""))?),
        None => (text, u32::MAX),
    };
    let address = match (name.parse::<Ipv4Addr>(), hosts) {
        (Ok(address), _) => address,
        (Err(_), None) if is_host_name(name) => {
            return Err(invalid(" (host names are not looked up here)"));
        }
        (Err(_), Some(hosts)) if is_host_name(name) => hosts
            .ipv4(name)
            .map_err(|why| invalid(&format!(", nor is there such a host: {why}")))?,
        (Err(_), Some(_)) => abbreviated(name).ok_or_else(|| invalid(""))?,
        (Err(_), None) => return Err(invalid("")),
    };
    network4(address, mask).ok_or_else(|| invalid(""))
}

/// Whether a text may be the name of a host: what ends in a number is a mistaken address.
fn is_host_name(text: &str) -> bool {
    let last = text.rsplit('.').next().unwrap_or_default();
    last.starts_with(|c: char| c.is_ascii_alphabetic())
}

fn ipv6(text: &str) -> Option<Ipv6Net> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, length.parse().ok()?),
        None => (text, 128),
    };
    let address: Ipv6Addr = address.parse().ok()?;
    Ipv6Net::new(address, length).ok().map(|net| net.trunc())
}

fn network4(address: Ipv4Addr, mask: u32) -> Option<AddressPattern> {
    let address = address.to_bits() & mask;
    let length = mask.leading_ones();
    if length + mask.trailing_zeros() < u32::BITS {
        return Some(AddressPattern::Masked { address, mask });
    }
    let length = u8::try_from(length).ok()?;
    Ipv4Net::new(Ipv4Addr::from_bits(address), length)
        .ok()
        .map(|net| AddressPattern::Net(IpNet::V4(net)))
}

/// A mask as a number of bits or in dotted form.
pub(in crate::rules) fn mask4(text: &str) -> Option<u32> {
    if let Ok(mask) = text.parse::<Ipv4Addr>() {
        return Some(mask.to_bits());
    }
    let length: u32 = text.parse().ok().filter(|length| *length <= 32)?;
    Some(u32::MAX.checked_shl(32 - length).unwrap_or(0))
}

/// A mask as a number of bits or as an address.
pub(in crate::rules) fn mask6(text: &str) -> Option<u128> {
    if let Ok(mask) = text.parse::<Ipv6Addr>() {
        return Some(mask.to_bits());
    }
    let length: u32 = text.parse().ok().filter(|length| *length <= 128)?;
    Some(u128::MAX.checked_shl(128 - length).unwrap_or(0))
}

/// An IPv4 address whose middle octets may be left out where they are zero: `127.1`.
fn abbreviated(text: &str) -> Option<Ipv4Addr> {
    let mut parts = text.split('.');
    let last = parts.next_back()?;
    let octet = |part: &str| {
        let plain = part == "0" || !part.starts_with('0');
        (plain && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse::<u32>().ok())?
    };
    let mut bits = 0_u32;
    let mut shift = 32_u32;
    for part in parts {
        shift = shift.checked_sub(8).filter(|shift| *shift > 0)?;
        bits |= octet(part).filter(|part| *part < 256)? << shift;
    }
    // The last part fills what is left of the address.
    let last = octet(last)?;
    (u64::from(last) >> shift == 0).then(|| Ipv4Addr::from_bits(bits | last))
}

/// Pairs of hexadecimal digits.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>, String> {
    if !text.len().is_multiple_of(2) {
        return Err(format!(
            "'{text}': an even number of hex digits is expected"
        ));
    }
    HEXLOWER_PERMISSIVE
        .decode(text.as_bytes())
        .map_err(|_| format!("'{text}' is not made of hex digits"))
}

/// The patterns in a file: one per line, without the spaces before it. Lines that are empty or begin
/// with `#` are none.
pub(super) fn lines(content: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    (1..)
        .zip(content.split(|&b| b == b'\n'))
        .filter_map(|(number, line)| {
            if line.first() == Some(&b'#') {
                return None;
            }
            let start = line.iter().position(|b| !matches!(b, b' ' | b'\t'))?;
            let line = &line[start..];
            let end = line.iter().position(|b| *b == b'\r').unwrap_or(line.len());
            (end > 0).then(|| (number, &line[..end]))
        })
}

/// The lines of a map: number, key, and what it means, without spaces at its end.
pub(in crate::rules) fn pairs(content: &[u8]) -> impl Iterator<Item = (usize, &[u8], &[u8])> {
    lines(content).map(|(number, line)| {
        let space = |b: &u8| matches!(b, b' ' | b'\t');
        let end = line.iter().position(space).unwrap_or(line.len());
        let (key, rest) = line.split_at(end);
        let start = rest.iter().position(|b| !space(b)).unwrap_or(rest.len());
        let end = rest
            .iter()
            .rposition(|b| !space(b))
            .map_or(start, |at| at + 1);
        (number, key, &rest[start..end])
    })
}
