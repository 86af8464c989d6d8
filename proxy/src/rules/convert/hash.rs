//! Hashes that spread keys. None of them resists an adversary.

use xxhash_rust::{xxh3, xxh32, xxh64};

use super::{Answer, Convert, answer};
use crate::config::diagnostic::Fault;
use crate::rules::fetch::Call;
use crate::rules::sample::{Kind, Value};
use crate::rules::scene::Scene;

/// A function from bytes to a number; balancing uses them too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Crc32,
    Crc32c,
    Djb2,
    Sdbm,
    Wt6,
}

#[derive(Debug)]
enum Hash {
    /// With or without [`avalanche`].
    Short(Function, bool),
    Xxh32(u32),
    Xxh64(u64),
    Xxh3(u64),
}

pub(super) fn compile(call: Call<'_>) -> Answer {
    let short = match call.name {
        "crc32" => Some(Function::Crc32),
        "crc32c" => Some(Function::Crc32c),
        "djb2" => Some(Function::Djb2),
        "sdbm" => Some(Function::Sdbm),
        "wt6" => Some(Function::Wt6),
        "xxh32" | "xxh64" | "xxh3" => None,
        _ => return None,
    };
    answer(hash(call, short))
}

fn hash(call: Call<'_>, short: Option<Function>) -> Result<Hash, Fault> {
    call.count(0..=1)?;
    // A seed that is negative counts by its bits.
    let argument = call.parsed::<i64>(0, "an integer")?.unwrap_or(0);
    Ok(match (short, call.name) {
        (Some(function), _) => Hash::Short(function, argument != 0),
        (None, "xxh32") => Hash::Xxh32(argument as u32),
        (None, "xxh64") => Hash::Xxh64(argument as u64),
        (None, _) => Hash::Xxh3(argument as u64),
    })
}

impl Convert for Hash {
    fn input(&self) -> Kind {
        Kind::Bin
    }

    fn output(&self) -> Kind {
        Kind::Int
    }

    fn convert<'a>(&self, value: Value<'a>, _: &Scene<'a>) -> Option<Value<'a>> {
        let (Value::Str(bytes) | Value::Bin(bytes)) = value else {
            return None;
        };
        Some(Value::Int(match *self {
            Self::Short(function, mix) => {
                let hash = function.of(bytes);
                i64::from(if mix { avalanche(hash) } else { hash })
            }
            Self::Xxh32(seed) => i64::from(xxh32::xxh32(bytes, seed)),
            Self::Xxh64(seed) => xxh64::xxh64(bytes, seed).cast_signed(),
            Self::Xxh3(seed) => xxh3::xxh3_64_with_seed(bytes, seed).cast_signed(),
        }))
    }
}

impl Function {
    /// The number of these bytes.
    pub(crate) fn of(self, bytes: &[u8]) -> u32 {
        match self {
            Self::Crc32 => crc32fast::hash(bytes),
            Self::Crc32c => crc32c::crc32c(bytes),
            Self::Djb2 => bytes.iter().fold(5381_u32, |hash, &b| {
                hash.wrapping_mul(33).wrapping_add(u32::from(b))
            }),
            Self::Sdbm => bytes.iter().fold(0_u32, |hash, &b| {
                hash.wrapping_mul(65599).wrapping_add(u32::from(b))
            }),
            Self::Wt6 => wt6(bytes),
        }
    }
}

/// William Torres's hash with two halves that rotate each other.
fn wt6(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (0xa53c_965a_u32, 0x5ca6_953a_u32);
    let (mut left, mut right) = (6_u32, 18_u32);
    for &byte in bytes {
        a = !(a ^ u32::from(byte));
        b = !b.wrapping_add(u32::from(byte));
        (a, b) = (b.rotate_left(left), a.rotate_left(right));
        let mixed = ((a >> 16) ^ b) & 0xffff;
        left = mixed & 0x1f;
        right = mixed >> 11;
    }
    a ^ b
}

/// A prime near to three quarters of what 32 bits hold.
const SPREAD: u32 = 3_221_225_473;

/// Bob Jenkins's function that lets every bit of its input change about half of the output's, spread once
/// more, as HAProxy does.
pub(crate) fn avalanche(mut a: u32) -> u32 {
    a = a.wrapping_add(0x7ed5_5d16).wrapping_add(a << 12);
    a = a ^ 0xc761_c23c ^ (a >> 19);
    a = a.wrapping_add(0x1656_67b1).wrapping_add(a << 5);
    a = a.wrapping_add(0xd3a2_646c) ^ (a << 9);
    a = a.wrapping_add(0xfd70_46c5).wrapping_add(a << 3);
    a = a ^ 0xb55a_4f09 ^ (a >> 16);
    a.wrapping_mul(SPREAD)
}
