//! Installing Debian packages.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::logged;
use crate::signals::Held;
use crate::workspace::{Workspace, find_program};

/// Whether packages can be installed here at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ability {
    /// By this user, now.
    May,
    /// Not by this user.
    NotRoot,
    /// There is no apt-get.
    NoApt,
}

/// Whether [`install`] is worth calling.
pub(crate) fn ability() -> Ability {
    if find_program("apt-get").is_none() {
        Ability::NoApt
    } else if rustix::process::geteuid().is_root() {
        Ability::May
    } else {
        Ability::NotRoot
    }
}

/// Those of the packages that are not installed.
pub(crate) fn missing<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"])
        .args(packages)
        .output();
    // It ends with status 1 as soon as one package is unknown, and still lists the others.
    let listing = output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).into_owned(),
    );
    not_installed(packages, &listing)
}

fn not_installed<'a>(packages: &[&'a str], listing: &str) -> Vec<&'a str> {
    packages
        .iter()
        .copied()
        .filter(|package| {
            !listing
                .lines()
                .any(|line| line.split_once(' ') == Some((package, "installed")))
        })
        .collect()
}

/// Installs packages without starting the services that some of them bring.
///
/// # Errors
///
/// If apt-get fails; its output is in the message's log file.
pub(crate) fn install(packages: &[&str], workspace: &Workspace) -> Result<()> {
    // From here to the end an interrupt only stops apt-get, so that the policy is taken away.
    let held = Held::new()?;
    let policy = NoServices::new(Path::new("/usr/sbin/policy-rc.d"))
        .context("cannot keep packages from starting their services")?;
    let result = logged(workspace, "apt-update", apt_get().arg("update"))
        .context("is a Debian mirror within reach?")
        .and_then(|()| {
            let mut command = apt_get();
            command
                .args(["install", "--yes", "--no-install-recommends"])
                .args(packages);
            logged(workspace, "apt-install", &mut command)
        });
    drop(policy);
    held.release()?;
    result
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        // Seconds to wait for another apt, as unattended upgrades run on a fresh machine.
        .args(["-o", "DPkg::Lock::Timeout=300"]);
    command
}

/// While it lives, packages do not start services when they are installed.
///
/// Debian's maintainer scripts ask `policy-rc.d`, which a machine has only if its administrator
/// wrote one; that one is then left as it is.
struct NoServices<'a> {
    ours: Option<&'a Path>,
}

impl<'a> NoServices<'a> {
    /// Also marks the file as ours, should a killed run leave it.
    const SCRIPT: &'static str =
        "#!/bin/sh\n# Written by underpass' `cargo xtask setup` while apt-get runs.\nexit 101\n";

    fn new(path: &'a Path) -> io::Result<Self> {
        let created = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(path);
        match created {
            Ok(mut file) => {
                let policy = Self { ours: Some(path) };
                file.write_all(Self::SCRIPT.as_bytes())?;
                Ok(policy)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let left_behind = fs::read_to_string(path).is_ok_and(|text| text == Self::SCRIPT);
                Ok(Self {
                    ours: left_behind.then_some(path),
                })
            }
            Err(error) => Err(error),
        }
    }
}

impl Drop for NoServices<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.ours
            && let Err(error) = fs::remove_file(path)
        {
            eprintln!("cannot remove {}: {error}", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{NoServices, not_installed};

    #[test]
    fn only_fully_installed_packages_count() {
        let listing = "curl installed\nsocat config-files\nzlib1g-dev installed\n";
        assert_eq!(
            not_installed(&["curl", "socat", "haproxy"], listing),
            ["socat", "haproxy"]
        );
    }

    #[test]
    fn policy_goes_away_again() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("policy-rc.d");
        let policy = NoServices::new(&path).expect("it can be written");
        assert!(path.exists());
        drop(policy);
        assert!(!path.exists());
    }

    #[test]
    fn policy_of_the_administrator_stays() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("policy-rc.d");
        fs::write(&path, "#!/bin/sh\nexit 0\n").expect("it can be written");
        drop(NoServices::new(&path).expect("it is left alone"));
        assert_eq!(
            fs::read_to_string(&path).expect("it is still there"),
            "#!/bin/sh\nexit 0\n"
        );
    }

    #[test]
    fn policy_left_by_a_killed_run_is_taken_over() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("policy-rc.d");
        fs::write(&path, NoServices::SCRIPT).expect("it can be written");
        drop(NoServices::new(&path).expect("it is taken over"));
        assert!(!path.exists());
    }
}
