//! Puts the eBPF object where `include_bytes!` finds it: `$OUT_DIR/underpass-ebpf`.
//!
//! The object is compiled beforehand by `cargo xtask build`, with another compiler than the
//! daemon's. Without one, an empty file takes its place: `cargo check` and clippy then need no
//! set-up, and a daemon built so says at start that it carries no eBPF object.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// Names an eBPF object elsewhere than in the target directory.
const OBJECT_VARIABLE: &str = "UNDERPASS_EBPF_OBJECT";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed={OBJECT_VARIABLE}");
    println!("cargo::rerun-if-env-changed=CARGO_TARGET_DIR");

    let embedded =
        PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?).join("underpass-ebpf");

    if let Some(object) = env::var_os(OBJECT_VARIABLE).map(PathBuf::from) {
        println!("cargo::rerun-if-changed={}", object.display());
        fs::copy(&object, &embedded)
            .map_err(|error| format!("{OBJECT_VARIABLE}={}: {error}", object.display()))?;
        return Ok(());
    }

    // The directory, and not the file, is watched: cargo takes a missing file as always changed,
    // and would compile the daemon again at every call until there is one.
    let directory = target_directory()?.join("bpf");
    fs::create_dir_all(&directory)?;
    println!("cargo::rerun-if-changed={}", directory.display());

    let object = directory.join("underpass-ebpf.o");
    if object.is_file() {
        fs::copy(&object, &embedded)?;
    } else {
        println!("cargo::warning=no eBPF object embedded; `cargo xtask build` makes one");
        fs::write(&embedded, b"")?;
    }
    Ok(())
}

/// The target directory by the rule that xtask follows too (`xtask/src/workspace.rs`).
fn target_directory() -> Result<PathBuf, Box<dyn Error>> {
    let manifest =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("CARGO_MANIFEST_DIR is not set")?);
    let workspace = manifest.parent().unwrap_or(Path::new("/"));
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    Ok(workspace.join(target))
}
