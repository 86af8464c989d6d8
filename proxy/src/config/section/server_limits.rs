//! How much a server takes: `maxconn`, `minconn`, `maxqueue`, `weight`.

use super::super::diagnostic::Fault;
use super::super::draft::ServerSettings;
use super::super::lexer::Word;
use super::super::units;

/// HAProxy's largest weight.
const MAX_WEIGHT: u16 = 256;

/// Reads a parameter about limits; false where it is none.
pub(crate) fn parameter(
    name: &Word,
    value: &Word,
    settings: &mut ServerSettings,
) -> Result<bool, Fault> {
    match name.as_str() {
        "weight" => settings.weight = units::integer("weight", value, 0..=MAX_WEIGHT)?,
        "maxconn" => settings.maxconn = limit(name, value)?,
        "minconn" => settings.minconn = limit(name, value)?,
        "maxqueue" => settings.maxqueue = limit(name, value)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// A number of streams; 0: no limit.
fn limit(name: &Word, value: &Word) -> Result<Option<usize>, Fault> {
    let limit = units::integer(name.as_str(), value, 0..=i32::MAX as usize)?;
    Ok((limit > 0).then_some(limit))
}
