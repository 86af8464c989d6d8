//! Where things are, and how cargo is called.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use anyhow::{Context as _, Result, bail};

/// The paths of one workspace.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// The workspace that this program was compiled from.
    pub(crate) fn find() -> Self {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest.parent().unwrap_or(manifest).to_path_buf();
        // The same rule as in `proxy/build.rs`, which looks for the eBPF object there.
        let target =
            root.join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| OsString::from("target")));
        Self { root, target }
    }

    /// The directory of the workspace's `Cargo.toml`.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Programs that only this workspace uses.
    pub(crate) fn tools(&self) -> PathBuf {
        self.root.join(".tools")
    }

    /// A directory of its own for what one compiler or set of flags makes, so that it neither
    /// waits for cargo's lock on the main one nor invalidates it.
    pub(crate) fn target(&self, name: &str) -> PathBuf {
        self.target.join(name)
    }

    /// The eBPF object that the daemon's build script embeds.
    pub(crate) fn ebpf_object(&self) -> PathBuf {
        self.target.join("bpf").join("underpass-ebpf.o")
    }

    /// The daemon, built for release.
    pub(crate) fn daemon(&self) -> PathBuf {
        self.target.join("release").join("underpass")
    }

    /// The output of a set-up step, kept for when it fails.
    pub(crate) fn log(&self, step: &str) -> PathBuf {
        self.target.join("xtask").join(format!("{step}.log"))
    }

    /// A call of the cargo that started this program, at the workspace's root.
    pub(crate) fn cargo(&self) -> Command {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut command = Command::new(cargo);
        command.current_dir(&self.root);
        for (name, _) in env::vars_os() {
            if is_package_variable(&name) {
                command.env_remove(name);
            }
        }
        command
    }
}

/// Whether cargo set this variable for xtask's own package.
///
/// Build scripts ask to be run again when some of these change, so that a cargo called from here
/// would otherwise compile what a cargo called by hand has compiled already.
fn is_package_variable(name: &OsStr) -> bool {
    name.to_str()
        .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
}

/// Runs a command with this program's own output, and fails when it does.
///
/// # Errors
///
/// If it cannot be started or does not end with status 0; `what` then says what it was for.
pub(crate) fn check(command: &mut Command, what: &str) -> Result<()> {
    let status = status(command)?;
    if !status.success() {
        bail!("{what} failed ({status})");
    }
    Ok(())
}

/// Runs a command with this program's own output.
///
/// # Errors
///
/// If it cannot be started.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    command
        .status()
        .with_context(|| format!("cannot start {}", command.get_program().display()))
}

/// Runs a command and returns what it wrote to its standard output, if it ended with status 0.
pub(crate) fn stdout_of(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Looks for a program on PATH, and where Debian puts those that an ordinary user's PATH omits.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
}
