//! Compiles the eBPF programs.

use std::env::consts::ARCH;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::toolchain::BpfToolchain;
use crate::workspace::{Workspace, check};

const TARGET: &str = if cfg!(target_endian = "big") {
    "bpfeb-unknown-none"
} else {
    "bpfel-unknown-none"
};

/// Compiles the eBPF programs and leaves the object at [`Workspace::ebpf_object`].
///
/// # Errors
///
/// If it does not compile or the object cannot be written.
pub(crate) fn build(workspace: &Workspace, toolchain: &BpfToolchain) -> Result<PathBuf> {
    let target_directory = workspace.target("ebpf");
    check(
        toolchain
            .cargo(workspace)
            .args(["build", "--release", "--package", "underpass-ebpf"])
            .args(["-Z", "build-std=core", "--target", TARGET])
            .arg("--target-dir")
            .arg(&target_directory)
            .env("CARGO_ENCODED_RUSTFLAGS", flags(toolchain.linker())),
        "compiling the eBPF programs",
    )?;
    let built = target_directory
        .join(TARGET)
        .join("release")
        .join("underpass-ebpf");
    let object = workspace.ebpf_object();
    copy_if_different(&built, &object)?;
    Ok(object)
}

/// The compiler's flags, in the form that carries any path: separated by 0x1f.
fn flags(linker: &Path) -> OsString {
    // aya-ebpf picks the layout of `pt_regs` by it; named as Rust names the architecture.
    let arch = if ARCH.starts_with("riscv64") {
        "riscv64"
    } else {
        ARCH
    };
    let mut flags = OsString::from(format!("--cfg=bpf_target_arch=\"{arch}\""));
    for flag in [
        // Source lines in the verifier's log, and the types in BTF.
        "-Cdebuginfo=2",
        "-Clink-arg=--btf",
        // Atomic operations that return a value, 32-bit jumps.
        "-Ctarget-cpu=v3",
        "-Clinker=",
    ] {
        flags.push("\x1f");
        flags.push(flag);
    }
    flags.push(linker);
    flags
}

/// Copies a file, but leaves a copy with the same content as old as it is: the daemon is compiled
/// again whenever the object is newer.
fn copy_if_different(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    if let Some(directory) = to.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(to, new).with_context(|| format!("cannot write {}", to.display()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::flags;

    #[test]
    fn linker_path_is_one_flag_whatever_it_contains() {
        let flags = flags(Path::new("/a b/bpf-linker"));
        let flags = flags.to_str().expect("the flags are UTF-8");
        assert_eq!(
            flags.split('\x1f').next_back(),
            Some("-Clinker=/a b/bpf-linker")
        );
    }
}
