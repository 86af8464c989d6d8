//! Guards that run on this machine, in whatever process: found among the kernel's programs, so that
//! nothing has to be left anywhere for them to be found by.

use std::net::IpAddr;

use aya::maps::{Map, MapData, MapInfo};
use aya::programs::loaded_programs;
use underpass_common::guard::PROGRAM;

use super::GuardError;
use super::tables::Tables;
use super::view::View;

/// The guards that run; needs CAP_SYS_ADMIN.
///
/// # Errors
/// When the kernel does not show its programs or their maps.
pub fn guards() -> Result<Vec<View<Tables>>, GuardError> {
    let search = |error: &dyn std::error::Error| GuardError::Search(chain(error));
    let mut found = Vec::new();
    for program in loaded_programs() {
        let program = program.map_err(|error| search(&error))?;
        if program.name() != PROGRAM.as_bytes() {
            continue;
        }
        // A program that has ended meanwhile shows no maps.
        let Ok(Some(ids)) = program.map_ids() else {
            continue;
        };
        let mut maps = Vec::new();
        for id in ids {
            let info = MapInfo::from_id(id).map_err(|error| search(&error))?;
            let data = MapData::from_id(id).map_err(|error| search(&error))?;
            let map = Map::from_map_data(data).map_err(|error| search(&error))?;
            maps.push((info.name().to_vec(), map));
        }
        let tables = Tables::from_maps(|name| {
            let at = maps.iter().position(|(own, _)| own == name.as_bytes())?;
            Some(maps.swap_remove(at).1)
        })?;
        found.push(View::of(tables));
    }
    Ok(found)
}

/// What `underpass why <address>` says: a line per guard and refusing rule.
///
/// # Errors
/// When the kernel refuses to tell.
pub fn why(source: IpAddr) -> Result<String, GuardError> {
    let guards = guards()?;
    if guards.is_empty() {
        return Ok("no guard runs on this machine\n".to_owned());
    }
    let mut out = String::new();
    for guard in &guards {
        for refusal in guard.why(source)? {
            out.push_str(&format!("{source} {refusal}\n"));
        }
    }
    if out.is_empty() {
        out = format!("{source} is refused by no guard\n");
    }
    Ok(out)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
