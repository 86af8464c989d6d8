//! `cargo xtask bench`: measures the release build; the bench itself is in `tests/`.

use std::ffi::OsString;

use anyhow::Result;

use crate::setup::Need;
use crate::workspace::{Workspace, check};
use crate::{build, progress};

/// Sets up, builds and runs the bench with `arguments`.
///
/// # Errors
///
/// If a step or the bench fails.
pub(crate) fn bench(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    let daemon = build::build(workspace, Need::Bench)?;
    progress("bench", "underpass-bench");
    check(
        workspace
            .cargo()
            .args(["run", "--release", "--package", "underpass-tests"])
            .args(["--bin", "underpass-bench", "--"])
            .args(arguments)
            .env("UNDERPASS_BIN", daemon),
        "the bench",
    )
}
