//! Typed values that fetches yield, converters change and patterns match.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The type of a value, known when rules are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// True or false.
    Bool,
    /// A signed 64-bit integer.
    Int,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// An address of either family; values are of one or the other.
    Address,
    /// Text: bytes without a meaning as a whole block.
    Str,
    /// Bytes.
    Bin,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "a boolean",
            Self::Int => "an integer",
            Self::Ipv4 => "an IPv4 address",
            Self::Ipv6 => "an IPv6 address",
            Self::Address => "an IP address",
            Self::Str => "a string",
            Self::Bin => "binary data",
        })
    }
}

/// A value. `'a`: the life of what it was taken from and of the evaluation's scratch memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// True or false.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// An IPv4 address.
    Ipv4(Ipv4Addr),
    /// An IPv6 address.
    Ipv6(Ipv6Addr),
    /// Text.
    Str(&'a [u8]),
    /// Bytes.
    Bin(&'a [u8]),
}

impl From<IpAddr> for Value<'_> {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::Ipv4(address),
            IpAddr::V6(address) => Self::Ipv6(address),
        }
    }
}

/// What a fetch found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample<'a> {
    /// A value that stays what it is.
    Is(Value<'a>),
    /// A value that more input may change.
    SoFar(Value<'a>),
    /// Nothing, and nothing will come.
    Absent,
    /// Nothing yet: more input may bring it.
    NotYet,
}

impl<'a> Sample<'a> {
    /// The value, if there is one now.
    #[must_use]
    pub fn value(self) -> Option<Value<'a>> {
        match self {
            Self::Is(value) | Self::SoFar(value) => Some(value),
            Self::Absent | Self::NotYet => None,
        }
    }

    /// Whether more input may change it.
    #[must_use]
    pub fn may_change(self) -> bool {
        matches!(self, Self::SoFar(_) | Self::NotYet)
    }

    /// The same certainty about what `change` makes of the value; `None` from it is nothing.
    #[must_use]
    pub fn map<'b>(self, change: impl FnOnce(Value<'a>) -> Option<Value<'b>>) -> Sample<'b> {
        match self {
            Self::Is(value) => change(value).map_or(Sample::Absent, Sample::Is),
            Self::SoFar(value) => change(value).map_or(Sample::NotYet, Sample::SoFar),
            Self::Absent => Sample::Absent,
            Self::NotYet => Sample::NotYet,
        }
    }
}
