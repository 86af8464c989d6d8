//! Fetches of bytes that either side sent, and of the TLS hello in them.

use super::{Call, Fetch};
use crate::config::diagnostic::Fault;
use crate::rules::hello::{self, Hello, Seen, Ticket};
use crate::rules::names::Names;
use crate::rules::sample::{Kind, Sample, Value};
use crate::rules::scene::{Needs, Payload, Scene};

/// The names of this family.
pub(super) const NAMES: &[&str] = &[
    "payload",
    "payload_lv",
    "req.len",
    "req.payload",
    "req.payload_lv",
    "req.ssl_alpn",
    "req.ssl_cipherlist",
    "req.ssl_ec_ext",
    "req.ssl_hello_type",
    "req.ssl_sni",
    "req.ssl_st_ext",
    "req.ssl_ver",
    "req_len",
    "req_ssl_hello_type",
    "req_ssl_sni",
    "req_ssl_ver",
    "res.len",
    "res.payload",
    "res.payload_lv",
    "res.ssl_hello_type",
    "rep_ssl_hello_type",
];

/// Compiles a call of this family.
pub(super) fn compile(call: Call<'_>, _names: &Names<'_>) -> Option<Result<Box<dyn Fetch>, Fault>> {
    let look = match call.name {
        "req.len" | "req_len" | "res.len" => plain(call, Look::Length),
        "req.payload" | "res.payload" | "payload" => block(call),
        "req.payload_lv" | "res.payload_lv" | "payload_lv" => prefixed(call),
        "req.ssl_hello_type" | "req_ssl_hello_type" | "res.ssl_hello_type"
        | "rep_ssl_hello_type" => plain(call, Look::HelloType),
        "req.ssl_ver" | "req_ssl_ver" => plain(call, Look::Version),
        "req.ssl_sni" | "req_ssl_sni" => plain(call, Look::Hello(Part::Sni)),
        "req.ssl_alpn" => plain(call, Look::Hello(Part::Alpn)),
        "req.ssl_st_ext" => plain(call, Look::Hello(Part::Ticket)),
        "req.ssl_ec_ext" => plain(call, Look::Hello(Part::Groups)),
        "req.ssl_cipherlist" => plain(call, Look::Hello(Part::Ciphers)),
        _ => return None,
    };
    let side = if call.name.starts_with("res.") || call.name.starts_with("rep_") {
        Side::Server
    } else {
        Side::Client
    };
    Some(look.map(|look| Box::new(PayloadFetch { side, look }) as Box<dyn Fetch>))
}

fn plain(call: Call<'_>, look: Look) -> Result<Look, Fault> {
    at_most(call, 0)?;
    Ok(look)
}

fn block(call: Call<'_>) -> Result<Look, Fault> {
    at_most(call, 2)?;
    Ok(Look::Block {
        offset: natural(call, 0, "offset")?,
        length: natural(call, 1, "length")?,
    })
}

fn prefixed(call: Call<'_>) -> Result<Look, Fault> {
    at_most(call, 3)?;
    let offset = natural(call, 0, "offset1")?;
    let size = natural(call, 1, "length")?;
    if size == 0 {
        return Err(fault(call, "payload length must be > 0"));
    }
    let end = offset + size;
    let start = match call.arguments.get(2).map(String::as_str) {
        None | Some("") => end,
        Some(text) => {
            let number: i64 = text
                .parse()
                .map_err(|_| fault(call, "payload offset2 is not a number"))?;
            let relative = text.starts_with(['+', '-']);
            let base = if relative {
                i64::try_from(end).unwrap_or(i64::MAX)
            } else {
                0
            };
            usize::try_from(base.saturating_add(number))
                .map_err(|_| fault(call, "payload offset2 too negative"))?
        }
    };
    Ok(Look::Prefixed {
        offset,
        size,
        start,
    })
}

/// A fault in a call.
pub(super) fn fault(call: Call<'_>, why: impl std::fmt::Display) -> Fault {
    call.word.fault(format!(
        "invalid args in fetch method '{}' : {why}",
        call.name
    ))
}

/// Refuses more than `most` arguments.
pub(super) fn at_most(call: Call<'_>, most: usize) -> Result<(), Fault> {
    // `name()` has one empty argument, and none that anybody meant.
    match call.arguments.get(most) {
        Some(extra) if !(most == 0 && call.arguments.len() == 1 && extra.is_empty()) => {
            Err(fault(call, format!("unexpected argument '{extra}'")))
        }
        _ => Ok(()),
    }
}

/// The argument of this place, which must be there and must not be negative.
fn natural(call: Call<'_>, at: usize, what: &str) -> Result<usize, Fault> {
    /// Far beyond any buffer, and far from any overflow.
    const MOST: usize = 1 << 31;
    let text = call
        .arguments
        .get(at)
        .map(String::as_str)
        .filter(|text| !text.is_empty())
        .ok_or_else(|| fault(call, format!("missing payload {what}")))?;
    let number: i64 = text
        .parse()
        .map_err(|_| fault(call, format!("payload {what} is not a number: '{text}'")))?;
    usize::try_from(number)
        .ok()
        .filter(|&number| number <= MOST)
        .ok_or_else(|| fault(call, format!("payload {what} must be positive: '{text}'")))
}

/// Whose bytes.
#[derive(Debug, Clone, Copy)]
enum Side {
    Client,
    Server,
}

/// What to look at.
#[derive(Debug, Clone, Copy)]
enum Look {
    /// How many bytes there are.
    Length,
    /// `length` bytes from `offset` on; all there are where it is 0.
    Block { offset: usize, length: usize },
    /// Bytes from `start` on, as many as the number in the `size` bytes at `offset` says.
    Prefixed {
        offset: usize,
        size: usize,
        start: usize,
    },
    /// The kind of the first handshake message.
    HelloType,
    /// The version that the client offers.
    Version,
    /// Part of the client's hello.
    Hello(Part),
}

/// A part of a client's hello.
#[derive(Debug, Clone, Copy)]
enum Part {
    Sni,
    Alpn,
    Ticket,
    Groups,
    Ciphers,
}

impl Part {
    fn kind(self) -> Kind {
        match self {
            Self::Sni | Self::Alpn => Kind::Str,
            Self::Ticket => Kind::Int,
            Self::Groups => Kind::Bool,
            Self::Ciphers => Kind::Bin,
        }
    }

    fn of<'a>(self, hello: &Hello<'a>) -> Option<Value<'a>> {
        match self {
            Self::Sni => hello.sni().map(Value::Str),
            Self::Alpn => hello.alpn().next().map(Value::Str),
            Self::Ticket => Some(Value::Int(match hello.ticket() {
                Ticket::Unknown => 0,
                Ticket::Wanted => 1,
                Ticket::Shown => 2,
            })),
            Self::Groups => Some(Value::Bool(hello.names_groups())),
            Self::Ciphers => Some(Value::Bin(hello.ciphers)),
        }
    }
}

#[derive(Debug)]
struct PayloadFetch {
    side: Side,
    look: Look,
}

impl Fetch for PayloadFetch {
    fn kind(&self) -> Kind {
        match self.look {
            Look::Length | Look::HelloType | Look::Version => Kind::Int,
            Look::Block { .. } | Look::Prefixed { .. } => Kind::Bin,
            Look::Hello(part) => part.kind(),
        }
    }

    fn needs(&self) -> Needs {
        match self.side {
            Side::Client => Needs::REQUEST,
            Side::Server => Needs::RESPONSE,
        }
    }

    fn look<'a>(&self, scene: &Scene<'a>) -> Sample<'a> {
        let payload = match self.side {
            Side::Client => scene.request,
            Side::Server => scene.response,
        };
        let Some(payload) = payload else {
            return Sample::Absent;
        };
        let bytes = payload.bytes;
        let arena = scene.arena;
        match self.look {
            Look::Length => so_far(&payload, Value::Int(integer(bytes.len()))),
            Look::Block { offset, length } => block_of(&payload, offset, length),
            Look::Prefixed {
                offset,
                size,
                start,
            } => prefixed_of(&payload, offset, size, start),
            Look::HelloType => seen(&payload, hello::message(bytes, arena), |message| {
                Some(Value::Int(message.kind.into()))
            }),
            Look::Version => seen(&payload, hello::offered_version(bytes, arena), |version| {
                Some(Value::Int(version.into()))
            }),
            Look::Hello(part) => seen(&payload, hello::client_hello(bytes, arena), |hello| {
                part.of(&hello)
            }),
        }
    }
}

fn integer(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A value that more bytes would change.
fn so_far<'a>(payload: &Payload<'a>, value: Value<'a>) -> Sample<'a> {
    if payload.complete {
        Sample::Is(value)
    } else {
        Sample::SoFar(value)
    }
}

/// Nothing without more bytes.
fn missing<'a>(payload: &Payload<'a>) -> Sample<'a> {
    if payload.complete {
        Sample::Absent
    } else {
        Sample::NotYet
    }
}

fn block_of<'a>(payload: &Payload<'a>, offset: usize, length: usize) -> Sample<'a> {
    let Some(rest) = payload.bytes.get(offset..) else {
        return missing(payload);
    };
    if length == 0 {
        return so_far(payload, Value::Bin(rest));
    }
    rest.get(..length)
        .map_or_else(|| missing(payload), |block| Sample::Is(Value::Bin(block)))
}

fn prefixed_of<'a>(payload: &Payload<'a>, offset: usize, size: usize, start: usize) -> Sample<'a> {
    let Some(prefix) = payload.bytes.get(offset..offset + size) else {
        return missing(payload);
    };
    let length = prefix
        .iter()
        .fold(0u32, |length, &byte| length << 8 | u32::from(byte)) as usize;
    if length == 0 {
        return Sample::Absent;
    }
    payload
        .bytes
        .get(start..)
        .and_then(|rest| rest.get(..length))
        .map_or_else(|| missing(payload), |block| Sample::Is(Value::Bin(block)))
}

/// What a look for TLS came to.
fn seen<'a, T>(
    payload: &Payload<'a>,
    seen: Seen<T>,
    value: impl FnOnce(T) -> Option<Value<'a>>,
) -> Sample<'a> {
    match seen {
        Seen::NotTls => Sample::Absent,
        Seen::Partial => missing(payload),
        Seen::Complete(found) => value(found).map_or(Sample::Absent, Sample::Is),
    }
}

#[cfg(test)]
mod tests;
