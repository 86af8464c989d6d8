//! Which compiler and linker make the eBPF object.
//!
//! rustup's stable compiler makes the daemon, but it can neither build `core` for the BPF target
//! nor does it come with the linker. Two sets of tools can:
//!
//! - a rustup nightly with `rust-src`, and a `bpf-linker` on PATH, taken as they are;
//! - Debian's `rustc-web` with its sources, and the `bpf-linker` that set-up compiles against the
//!   same LLVM into the workspace's `.tools`.
//!
//! Whichever is complete is used, Debian's first, since its versions are known to go together.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::workspace::{Workspace, find_program, stdout_of};

/// The version of `bpf-linker` that set-up installs.
pub(crate) const BPF_LINKER_VERSION: &str = "0.13.0";
/// The major version of the LLVM that `bpf-linker` is compiled against.
pub(crate) const LLVM_MAJOR: &str = "22";

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// A complete set of tools for the eBPF object.
#[derive(Debug, Clone)]
pub(crate) enum BpfToolchain {
    /// Debian's compiler; the linker from `.tools`.
    Debian {
        /// The linker.
        linker: PathBuf,
    },
    /// A rustup nightly.
    Nightly {
        /// The linker.
        linker: PathBuf,
    },
}

impl BpfToolchain {
    /// The set of tools that is complete on this machine, if one is.
    pub(crate) fn installed(workspace: &Workspace) -> Option<Self> {
        if debian_compiler().is_ok()
            && let Some(linker) = own_linker(workspace)
        {
            return Some(Self::Debian { linker });
        }
        let linker = find_program("bpf-linker")?;
        nightly_has_sources().then_some(Self::Nightly { linker })
    }

    /// A cargo that compiles with these tools.
    pub(crate) fn cargo(&self, workspace: &Workspace) -> Command {
        match self {
            Self::Debian { .. } => {
                let mut command = workspace.cargo();
                command
                    .env("RUSTC", DEBIAN_RUSTC)
                    // A release compiler, which has to be told that `-Z build-std` is meant.
                    .env("RUSTC_BOOTSTRAP", "1");
                command
            }
            Self::Nightly { .. } => {
                let mut command = Command::new("rustup");
                command
                    .args(["run", "nightly", "cargo"])
                    .current_dir(workspace.root())
                    .env_remove("RUSTC")
                    .env_remove("RUSTUP_TOOLCHAIN");
                command
            }
        }
    }

    /// The linker.
    pub(crate) fn linker(&self) -> &Path {
        match self {
            Self::Debian { linker } | Self::Nightly { linker } => linker,
        }
    }

    /// One line for people.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Debian { linker } => {
                format!("Debian's rustc-web, {}", linker.display())
            }
            Self::Nightly { linker } => {
                format!("rustup's nightly, {}", linker.display())
            }
        }
    }
}

/// Whether Debian's compiler and its sources are there and fit [`LLVM_MAJOR`].
///
/// # Errors
///
/// Says what does not fit.
pub(crate) fn debian_compiler() -> Result<()> {
    let Some(version) = stdout_of(Command::new(DEBIAN_RUSTC).arg("-vV")) else {
        bail!("{DEBIAN_RUSTC} is missing or does not run");
    };
    match field(&version, "LLVM version: ") {
        Some(llvm) if llvm.split('.').next() == Some(LLVM_MAJOR) => {}
        llvm => bail!(
            "{DEBIAN_RUSTC} is built on LLVM {}, and bpf-linker {BPF_LINKER_VERSION} is set up for \
             LLVM {LLVM_MAJOR}; a rustup nightly with rust-src and a bpf-linker on PATH serve as well",
            llvm.unwrap_or("of an unknown version")
        ),
    }
    let sources = Path::new("/usr/lib/rustlib/src/rust/library/core/Cargo.toml");
    if !sources.is_file() {
        bail!("the sources of Debian's compiler are missing (package rust-web-src)");
    }
    Ok(())
}

/// The pinned `bpf-linker` in `.tools`, if it is there and runs.
pub(crate) fn own_linker(workspace: &Workspace) -> Option<PathBuf> {
    let linker = workspace.tools().join("bin").join("bpf-linker");
    let version = stdout_of(Command::new(&linker).arg("--version"))?;
    (version.trim().strip_prefix("bpf-linker ") == Some(BPF_LINKER_VERSION)).then_some(linker)
}

fn nightly_has_sources() -> bool {
    let mut rustc = Command::new("rustup");
    rustc
        .args(["run", "nightly", "rustc", "--print", "sysroot"])
        // Asking must not start a download.
        .env("RUSTUP_AUTO_INSTALL", "0");
    stdout_of(&mut rustc).is_some_and(|sysroot| {
        Path::new(sysroot.trim())
            .join("lib/rustlib/src/rust/library/core/Cargo.toml")
            .is_file()
    })
}

/// The rest of the line of `rustc -vV` that starts with `name`.
fn field<'a>(version: &'a str, name: &str) -> Option<&'a str> {
    version.lines().find_map(|line| line.strip_prefix(name))
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn llvm_version_is_found_in_verbose_version() {
        let text = "rustc 1.96.0 (abc 2026-05-25)\nhost: x86_64-unknown-linux-gnu\nrelease: 1.96.0\nLLVM version: 22.1.8\n";
        assert_eq!(field(text, "LLVM version: "), Some("22.1.8"));
        assert_eq!(field("rustc 1.96.0\n", "LLVM version: "), None);
    }
}
