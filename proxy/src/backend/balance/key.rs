//! What a stream is hashed by.

use std::net::IpAddr;

use crate::config::model::balance::{Balance, Key};
use crate::rules::cast;
use crate::rules::sample::{Kind, Value};
use crate::rules::scene::Scene;

/// The key that a backend's algorithm wants of a stream; `None`: it wants none, or there is nothing.
/// New bytes go to the scene's arena.
#[must_use]
pub fn key<'a>(balance: &Balance, scene: &Scene<'a>) -> Option<&'a [u8]> {
    match balance.key() {
        Key::None => None,
        Key::Source => match scene.source?.ip() {
            IpAddr::V4(address) => Some(scene.arena.alloc_slice_copy(&address.octets())),
            IpAddr::V6(address) => Some(scene.arena.alloc_slice_copy(&address.octets())),
        },
        Key::Expr(expr) => {
            let value = expr.evaluate(scene).value()?;
            match cast::cast(value, Kind::Bin, scene.arena)? {
                Value::Bin(bytes) => Some(bytes),
                _ => None,
            }
        }
    }
}
