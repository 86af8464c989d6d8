//! Converters between bytes and their written forms, and digests.

use aws_lc_rs::digest;
use bumpalo::collections::Vec as ArenaVec;
use data_encoding::{BASE64, Encoding, HEXUPPER, Specification};

use super::{Answer, Convert, answer};
use crate::config::diagnostic::Fault;
use crate::rules::fetch::Call;
use crate::rules::sample::{Kind, Value};
use crate::rules::scene::Scene;

pub(super) fn compile(call: Call<'_>) -> Answer {
    match call.name {
        "hex" => answer(call.count(0..=0).map(|()| Written::Hex)),
        "base64" => answer(call.count(0..=0).map(|()| Written::Base64)),
        "be2hex" => answer(chunks(call)),
        "b64dec" => answer(call.count(0..=0).map(|()| FromBase64::new())),
        "hex2i" => answer(call.count(0..=0).map(|()| FromHex)),
        "htonl" => answer(call.count(0..=0).map(|()| NetworkOrder)),
        "sha1" | "sha2" | "digest" => answer(algorithm(call).map(Digest)),
        _ => None,
    }
}

fn bytes(value: Value<'_>) -> Option<&[u8]> {
    match value {
        Value::Str(bytes) | Value::Bin(bytes) => Some(bytes),
        _ => None,
    }
}

#[derive(Debug)]
enum Written {
    Hex,
    Base64,
    /// Hexadecimal with something after every so many bytes.
    Chunks {
        separator: Box<[u8]>,
        size: usize,
        /// Leave out what does not fill a chunk.
        truncate: bool,
    },
}

fn chunks(call: Call<'_>) -> Result<Written, Fault> {
    call.count(0..=3)?;
    let size = call.parsed::<usize>(1, "a number of bytes")?.unwrap_or(0);
    if size == 0 && call.text(0).is_some() {
        return Err(call.refuse(0, "needs a chunk size after it"));
    }
    let truncate = call.parsed::<i64>(2, "an integer")?.unwrap_or(0) != 0;
    if size == 0 {
        return Ok(Written::Hex);
    }
    Ok(Written::Chunks {
        separator: call.text(0).unwrap_or_default().as_bytes().into(),
        size,
        truncate,
    })
}

impl Convert for Written {
    fn input(&self) -> Kind {
        Kind::Bin
    }

    fn output(&self) -> Kind {
        Kind::Str
    }

    fn convert<'a>(&self, value: Value<'a>, scene: &Scene<'a>) -> Option<Value<'a>> {
        let bytes = bytes(value)?;
        let encode = |encoding: &Encoding, bytes: &[u8]| {
            let out = scene
                .arena
                .alloc_slice_fill_copy(encoding.encode_len(bytes.len()), 0);
            encoding.encode_mut(bytes, out);
            out as &'a [u8]
        };
        Some(Value::Str(match self {
            Self::Hex => encode(&HEXUPPER, bytes),
            Self::Base64 => encode(&BASE64, bytes),
            Self::Chunks {
                separator,
                size,
                truncate,
            } => {
                let mut out = ArenaVec::new_in(scene.arena);
                for (index, chunk) in bytes.chunks(*size).enumerate() {
                    if *truncate && chunk.len() < *size {
                        break;
                    }
                    if index > 0 {
                        out.extend_from_slice(separator);
                    }
                    out.extend_from_slice(encode(&HEXUPPER, chunk));
                }
                out.into_bump_slice()
            }
        }))
    }
}

/// `b64dec`: the bits that fill up the last character may be anything.
#[derive(Debug)]
struct FromBase64(Encoding);

impl FromBase64 {
    fn new() -> Self {
        let mut specification: Specification = BASE64.specification();
        specification.check_trailing_bits = false;
        // What is a specification stays one without that check.
        Self(specification.encoding().unwrap_or(BASE64))
    }
}

impl Convert for FromBase64 {
    fn input(&self) -> Kind {
        Kind::Str
    }

    fn output(&self) -> Kind {
        Kind::Bin
    }

    fn convert<'a>(&self, value: Value<'a>, scene: &Scene<'a>) -> Option<Value<'a>> {
        let text = bytes(value)?;
        let length = self.0.decode_len(text.len()).ok()?;
        let out = scene.arena.alloc_slice_fill_copy(length, 0);
        let length = self.0.decode_mut(text, out).ok()?;
        Some(Value::Bin(&out[..length]))
    }
}

#[derive(Debug)]
struct FromHex;

impl Convert for FromHex {
    fn input(&self) -> Kind {
        Kind::Str
    }

    fn output(&self) -> Kind {
        Kind::Int
    }

    fn convert<'a>(&self, value: Value<'a>, _: &Scene<'a>) -> Option<Value<'a>> {
        bytes(value)?
            .iter()
            .try_fold(0_i64, |number, &b| {
                char::from(b)
                    .to_digit(16)
                    .map(|digit| number << 4 | i64::from(digit))
            })
            .map(Value::Int)
    }
}

/// `htonl`
#[derive(Debug)]
struct NetworkOrder;

impl Convert for NetworkOrder {
    fn input(&self) -> Kind {
        Kind::Int
    }

    fn output(&self) -> Kind {
        Kind::Bin
    }

    fn convert<'a>(&self, value: Value<'a>, scene: &Scene<'a>) -> Option<Value<'a>> {
        let Value::Int(number) = value else {
            return None;
        };
        let low = number as u32;
        Some(Value::Bin(scene.arena.alloc_slice_copy(&low.to_be_bytes())))
    }
}

#[derive(Debug)]
struct Digest(&'static digest::Algorithm);

fn algorithm(call: Call<'_>) -> Result<&'static digest::Algorithm, Fault> {
    match call.name {
        "sha1" => {
            call.count(0..=0)?;
            Ok(&digest::SHA1_FOR_LEGACY_USE_ONLY)
        }
        "sha2" => {
            call.count(0..=1)?;
            match call.parsed::<u32>(0, "a number of bits")?.unwrap_or(256) {
                224 => Ok(&digest::SHA224),
                256 => Ok(&digest::SHA256),
                384 => Ok(&digest::SHA384),
                512 => Ok(&digest::SHA512),
                _ => Err(call.refuse(0, "is not one of 224, 256, 384, 512")),
            }
        }
        _ => {
            call.count(1..=1)?;
            match call.arguments[0].to_ascii_lowercase().as_str() {
                "sha1" => Ok(&digest::SHA1_FOR_LEGACY_USE_ONLY),
                "sha224" => Ok(&digest::SHA224),
                "sha256" => Ok(&digest::SHA256),
                "sha384" => Ok(&digest::SHA384),
                "sha512" => Ok(&digest::SHA512),
                _ => Err(call.refuse(0, "is not one of sha1, sha224, sha256, sha384, sha512")),
            }
        }
    }
}

impl Convert for Digest {
    fn input(&self) -> Kind {
        Kind::Bin
    }

    fn output(&self) -> Kind {
        Kind::Bin
    }

    fn convert<'a>(&self, value: Value<'a>, scene: &Scene<'a>) -> Option<Value<'a>> {
        let digest = digest::digest(self.0, bytes(value)?);
        Some(Value::Bin(scene.arena.alloc_slice_copy(digest.as_ref())))
    }
}
