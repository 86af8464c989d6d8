//! `cargo xtask lint`: formatting, and clippy with warnings as errors.

use anyhow::Result;

use crate::progress;
use crate::workspace::{Workspace, check};

/// Checks every crate; needs no set-up.
///
/// # Errors
///
/// If anything is to be corrected.
pub(crate) fn lint(workspace: &Workspace) -> Result<()> {
    progress("lint", "formatting");
    check(
        workspace.cargo().args(["fmt", "--all", "--check"]),
        "`cargo fmt --check`",
    )?;
    progress("lint", "clippy on the daemon, the tests and the tasks");
    check(
        workspace
            .cargo()
            .args(["clippy", "--workspace", "--exclude", "underpass-ebpf"])
            .args(["--all-targets", "--", "-D", "warnings"]),
        "clippy",
    )?;
    progress("lint", "clippy on the eBPF programs");
    check(
        workspace
            .cargo()
            .args(["clippy", "--package", "underpass-ebpf", "--target-dir"])
            .arg(workspace.target("ebpf-lint"))
            .args(["--", "-D", "warnings"])
            // Checked as a host program, for which there is a clippy. The programs use unstable
            // intrinsics, and without std a panic can only abort.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_PROFILE_DEV_PANIC", "abort"),
        "clippy on the eBPF programs",
    )?;
    progress("lint", "formatting of the fuzz targets, and clippy on them");
    let fuzz = workspace.root().join("tests/fuzz/Cargo.toml");
    check(
        workspace
            .cargo()
            .args(["fmt", "--check", "--manifest-path"])
            .arg(&fuzz),
        "`cargo fmt --check` of the fuzz targets",
    )?;
    check(
        workspace
            .cargo()
            .args(["clippy", "--locked", "--lib", "--bins", "--manifest-path"])
            .arg(&fuzz)
            .arg("--target-dir")
            .arg(workspace.target("fuzz-lint"))
            .args(["--", "-D", "warnings"])
            // Nothing is linked, so that the fuzzer itself, in C++, need not be compiled: with the
            // name of a library its build script only passes that on.
            .env("CUSTOM_LIBFUZZER_PATH", "not-linked/libfuzzer.a"),
        "clippy on the fuzz targets",
    )
}
