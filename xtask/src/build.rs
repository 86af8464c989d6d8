//! `cargo xtask build`: the daemon with its eBPF programs, for release.

use std::path::PathBuf;

use anyhow::Result;

use crate::setup::{self, Need};
use crate::workspace::{Workspace, check};
use crate::{ebpf, progress};

/// Sets up what is missing, compiles both halves and returns the daemon's path.
///
/// # Errors
///
/// If a step cannot be done; the message says what would help.
pub(crate) fn build(workspace: &Workspace, need: Need) -> Result<PathBuf> {
    programs(workspace, need)?;
    progress("daemon", "compiling for release");
    check(
        workspace
            .cargo()
            .args(["build", "--release", "--package", "underpass"]),
        "compiling the daemon",
    )?;
    Ok(workspace.daemon())
}

/// Sets up what is missing, compiles the eBPF programs and returns their object's path.
///
/// # Errors
///
/// If a step cannot be done; the message says what would help.
pub(crate) fn programs(workspace: &Workspace, need: Need) -> Result<PathBuf> {
    let toolchain = setup::run(workspace, need)?;
    progress("ebpf", &format!("compiling with {}", toolchain.describe()));
    ebpf::build(workspace, &toolchain)
}
