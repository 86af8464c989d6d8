//! Directories of the BPF file system for what outlives a daemon under test.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};

use crate::daemon::Daemon;

const BPFFS: &str = "/sys/fs/bpf";

/// What daemons that are told of no directory have in common.
const USUAL: &str = "/sys/fs/bpf/underpass/net-";

/// The map with the flows' records.
const RECORDS: &str = "RELAY_FLOWS";

/// A version that there will not be.
const STRANGER: &str = "v999";

/// Where the phase of each end stands in a flow's record: the high half of a word.
const PHASES: [usize; 2] = [116, 180];
const SETTLED: u8 = 4;

/// A directory of its own, removed with everything in it when this is dropped.
#[derive(Debug)]
pub struct PinDirectory(PathBuf);

impl PinDirectory {
    /// A name that nobody has; the daemon makes the directory. Removes those of test processes that
    /// are dead.
    #[must_use]
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        sweep();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("up-{}-{number}", std::process::id());
        Self(Path::new(BPFFS).join(name))
    }

    /// The one that a daemon has locked without being told of any.
    ///
    /// # Errors
    /// When there is none.
    pub fn usual(daemon: &Daemon) -> Result<Self> {
        let open = daemon.descriptors()?;
        let found = open
            .iter()
            .find(|path| path.starts_with(USUAL) && !path.contains("/daemon-"));
        Ok(Self(found.context("it has none")?.into()))
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The directory of the records that daemons of today keep, once there is one.
    ///
    /// # Errors
    /// When it cannot be looked for.
    pub fn home(&self) -> Result<Option<PathBuf>> {
        if !self.0.exists() {
            return Ok(None);
        }
        Ok(find(&self.0)?)
    }

    /// Makes what is pinned look like another version's.
    ///
    /// # Errors
    /// When nothing is pinned.
    pub fn estrange(&self) -> Result<PathBuf> {
        let home = self.home()?.context("nothing is pinned")?;
        let stranger = home.with_file_name(STRANGER);
        fs::rename(&home, &stranger)?;
        Ok(stranger)
    }

    /// How many relayed flows have sleeping sockets.
    ///
    /// # Errors
    /// When the pinned records cannot be read.
    pub fn settled(&self) -> Result<usize> {
        let home = self.home()?.context("nothing is pinned")?;
        let entries = dump(&home.join(RECORDS))?;
        let is_settled = |entry: &&serde_json::Value| {
            PHASES.iter().all(|&at| {
                let byte = entry["value"][at].as_str().unwrap_or_default();
                byte == format!("{SETTLED:#04x}")
            })
        };
        Ok(entries.iter().filter(is_settled).count())
    }
}

impl Default for PinDirectory {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for PinDirectory {
    fn drop(&mut self) {
        // The next process sweeps what is left.
        let _ = remove(&self.0);
    }
}

/// Looks for the records.
fn find(directory: &Path) -> io::Result<Option<PathBuf>> {
    if directory.join(RECORDS).exists() {
        return Ok(Some(directory.to_owned()));
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir()
            && entry.file_name() != STRANGER
            && let Some(found) = find(&entry.path())?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The entries of a pinned map.
fn dump(map: &Path) -> Result<Vec<serde_json::Value>> {
    let out = Command::new("bpftool")
        .args(["-j", "map", "dump", "pinned"])
        .arg(map)
        .output()
        .context("run bpftool")?;
    ensure!(
        out.status.success(),
        "bpftool: {}",
        String::from_utf8_lossy(&out.stdout)
    );
    Ok(serde_json::from_slice(&out.stdout)?)
}

fn remove(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_dir(directory)
}

/// Removes directories whose maker is dead. Failures are left to the next sweep.
fn sweep() {
    let Ok(entries) = fs::read_dir(BPFFS) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.strip_prefix("up-"))
            .and_then(|rest| rest.split('-').next())
            .and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            let _ = remove(&entry.path());
        }
    }
}
