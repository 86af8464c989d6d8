//! From a stream's key to the number that stands for it.

use crate::config::model::balance::{HashFunction, HashType};
use crate::rules::convert::hash::{Function, avalanche};

/// What makes a number of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hasher {
    input: Input,
    avalanche: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    /// An address: HAProxy takes no function to it.
    Address,
    Bytes(Function),
}

impl Hasher {
    /// For the octets of an address: `balance source`.
    #[must_use]
    pub fn of_source(settings: &HashType) -> Self {
        Self {
            input: Input::Address,
            avalanche: settings.avalanche,
        }
    }

    /// For any bytes: `balance hash`.
    #[must_use]
    pub fn of_bytes(settings: &HashType) -> Self {
        let function = match settings.function {
            HashFunction::Sdbm => Function::Sdbm,
            HashFunction::Djb2 => Function::Djb2,
            HashFunction::Wt6 => Function::Wt6,
            HashFunction::Crc32 => Function::Crc32,
        };
        Self {
            input: Input::Bytes(function),
            avalanche: settings.avalanche,
        }
    }

    /// The key's number.
    #[must_use]
    pub fn hash(&self, key: &[u8]) -> u32 {
        let hash = match self.input {
            Input::Address => fold(key),
            Input::Bytes(function) => function.of(key),
        };
        if self.avalanche {
            avalanche(hash)
        } else {
            hash
        }
    }
}

/// An address as one number: an IPv4 address as it is, the four words of an IPv6 address on top of
/// each other.
fn fold(octets: &[u8]) -> u32 {
    let (words, _) = octets.as_chunks::<4>();
    words
        .iter()
        .fold(0, |hash, word| hash ^ u32::from_be_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn addresses_are_folded() {
        assert_eq!(fold(&Ipv4Addr::new(127, 0, 0, 1).octets()), 0x7f00_0001);
        let six: Ipv6Addr = "2001:db8::1".parse().unwrap();
        assert_eq!(fold(&six.octets()), 0x2001_0db8 ^ 1);
    }
}
