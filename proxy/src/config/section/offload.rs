//! `offload` and `offload-after`: ours.

use super::super::diagnostic::Fault;
use super::super::draft::Proxy;
use super::super::keywords::nearest;
use super::super::lexer::Word;
use super::super::model::{OffloadAfter, OffloadMode};
use super::super::units;
use super::{Args, Context};

const MODES: [(&str, OffloadMode); 7] = [
    ("auto", OffloadMode::Auto),
    ("off", OffloadMode::Off),
    ("buffer", OffloadMode::Buffer),
    ("pipe", OffloadMode::Pipe),
    ("redirect", OffloadMode::Redirect),
    ("relay", OffloadMode::Relay),
    ("bypass", OffloadMode::Bypass),
];

/// Reads an `offload` line.
pub(crate) fn mode(
    args: Args<'_>,
    proxy: &mut Proxy,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let names = MODES.map(|(name, _)| name);
    let word = args.first(&format!("one of '{}'", names.join("', '")))?;
    let Some(&(name, mode)) = MODES.iter().find(|(name, _)| *name == word.text) else {
        let hint = nearest(&word.text, names)
            .map(|near| format!("; did you mean '{near}' maybe ?"))
            .unwrap_or_default();
        return Err(word.fault(format!(
            "'offload' supports '{}' (got '{}'){hint}",
            names.join("', '"),
            word.text
        )));
    };
    if mode == OffloadMode::Bypass {
        context.diagnostics.warning(
            &word.position,
            format!(
                "'offload {name}' : this version does not have the '{name}' path; flows take the next one."
            ),
        );
    }
    proxy.settings.offload = Some(mode);
    args.at_most(1)
}

/// Reads an `offload-after` line.
pub(crate) fn after(args: Args<'_>, proxy: &mut Proxy) -> Result<(), Fault> {
    let word = args.first("a size (bytes, or with 'k', 'm', 'g') or a time with its unit")?;
    proxy.settings.offload_after = Some(threshold(word)?);
    args.at_most(1)
}

/// A size or a time. `5m` is five megabytes: promotion after minutes is of no use, and who wants
/// it writes `300s`.
fn threshold(word: &Word) -> Result<OffloadAfter, Fault> {
    if let Ok(bytes) = units::size(&word.text) {
        return Ok(OffloadAfter::Bytes(bytes));
    }
    match units::time(&word.text) {
        Ok(time) if time.has_unit => Ok(OffloadAfter::Age(time.duration)),
        _ => Err(word.fault(format!(
            "'offload-after' expects a size (bytes, or with 'k', 'm', 'g') or a time with its unit ('us', 'ms', 's', 'h', 'd'), got '{}'",
            word.text
        ))),
    }
}
