//! The directory in which the relay's maps and links outlive the daemon.
//!
//! Below it there is one directory per network namespace, `net-<cookie>`, since interfaces are known by
//! their numbers there, and below that one per [`LAYOUT`]: maps by their names, `link-<interface>-in`,
//! `-out` and `-icmp`, and a directory `daemon-<number>` for every daemon whose flows are there. Who holds the
//! lock of the namespace's directory looks after all flows and is the only one to enter new ones; who
//! holds the lock of a daemon's directory is that daemon, alive. Locks go with the process, however
//! it ends.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use aya::util::KernelVersion;
use underpass_common::relay::LAYOUT;

use crate::sys::{bpffs, interface, process};

/// Where a BPF file system usually is.
const MOUNTED: &str = "/sys/fs/bpf";

/// The directory that is taken unless another is configured.
pub const USUAL: &str = "/sys/fs/bpf/underpass";

/// The first Linux whose links to interfaces can be pinned (tcx).
const FIRST: KernelVersion = KernelVersion::new(6, 6, 0);

/// Ends of the links' names, in the order of the engine's programs.
const ENDINGS: [&str; 3] = ["icmp", "in", "out"];

/// The directory, held by this daemon.
pub struct Pins {
    /// That of our layout.
    home: PathBuf,
    /// Number of this daemon.
    number: u64,
    /// Locked as long as we look after the flows.
    lock: Mutex<Option<File>>,
    /// Locked as long as we live.
    _alive: File,
}

/// What came of taking the directory.
#[derive(Debug)]
pub enum Taken {
    /// It is ours.
    Ours(Pins),
    /// A living daemon has it.
    Busy,
}

impl fmt::Debug for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pins").field("home", &self.home).finish()
    }
}

impl Pins {
    /// Takes the directory, which is made where it is missing.
    ///
    /// # Errors
    /// When it cannot be had, in words for the operator.
    pub fn take(directory: &Path) -> Result<Taken> {
        if KernelVersion::current().is_ok_and(|version| version < FIRST) {
            bail!("it wants Linux 6.6 (tcx)");
        }
        prepare(directory)?;
        let directory = of_namespace(directory)?;
        fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        let Some(lock) = lock(&directory).with_context(|| directory.display().to_string())? else {
            return Ok(Taken::Busy);
        };
        let home = directory.join(layout());
        fs::create_dir_all(&home).with_context(|| home.display().to_string())?;
        let (number, alive) = enter(&home).context("entering a daemon")?;
        Ok(Taken::Ours(Self {
            home,
            number,
            lock: Mutex::new(Some(lock)),
            _alive: alive,
        }))
    }

    /// Whether something is pinned that we know.
    #[must_use]
    pub fn exist(directory: &Path) -> bool {
        of_namespace(directory).is_ok_and(|of| of.join(layout()).join("RELAY_FLOWS").exists())
    }

    /// The number of this daemon, for the records of its flows.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Where a map is pinned.
    #[must_use]
    pub fn map(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    /// Where the link of a program, by its index, to an interface is pinned.
    #[must_use]
    pub fn link(&self, interface: u32, program: usize) -> PathBuf {
        let ending = ENDINGS[program];
        self.home.join(format!("link-{interface}-{ending}"))
    }

    /// The links that are pinned: interface and index of the program.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn links(&self) -> io::Result<Vec<(u32, usize)>> {
        let mut found = Vec::new();
        for name in names(&self.home)? {
            let Some((interface, ending)) = name
                .strip_prefix("link-")
                .and_then(|rest| rest.split_once('-'))
            else {
                continue;
            };
            let program = ENDINGS.iter().position(|known| *known == ending);
            if let (Ok(interface), Some(program)) = (interface.parse(), program) {
                found.push((interface, program));
            }
        }
        Ok(found)
    }

    /// Whether the daemon of this number lives. Forgets one that does not.
    #[must_use]
    pub fn is_alive(&self, number: u64) -> bool {
        if number == self.number {
            return true;
        }
        let path = self.home.join(format!("daemon-{number}"));
        match lock(&path) {
            Ok(None) => true,
            Ok(Some(_)) => {
                // Whoever comes next forgets it else.
                let _ = fs::remove_dir(&path);
                false
            }
            Err(_) => false,
        }
    }

    /// Lets another daemon look after the flows.
    pub fn let_go(&self) {
        drop(self.held().take());
    }

    /// Takes back what was let go; `false` where another daemon has it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn retake(&self) -> io::Result<bool> {
        let mut held = self.held();
        if held.is_none()
            && let Some(directory) = self.home.parent()
        {
            *held = lock(directory)?;
        }
        Ok(held.is_some())
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Option<File>> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Layouts of other versions beside ours.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn strangers(&self) -> io::Result<Vec<PathBuf>> {
        let Some(directory) = self.home.parent() else {
            return Ok(Vec::new());
        };
        let known = self.home.file_name().and_then(|name| name.to_str());
        let mut found: Vec<PathBuf> = names(directory)?
            .into_iter()
            .filter(|name| Some(name.as_str()) != known)
            .map(|name| directory.join(name))
            .collect();
        found.sort();
        Ok(found)
    }

    /// Removes the maps and links of our layout, and no daemon's mark.
    ///
    /// # Errors
    /// What could not be removed.
    pub fn clear(&self) -> io::Result<()> {
        for entry in entries(&self.home)? {
            if !entry.file_type()?.is_dir() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Removes what is pinned in our layout: nothing outlives us.
    ///
    /// # Errors
    /// What could not be removed.
    pub fn remove(&self) -> io::Result<()> {
        remove(&self.home, &mut Vec::new())
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        // Left to the next daemon where it does not work.
        let _ = fs::remove_dir(self.home.join(format!("daemon-{}", self.number)));
    }
}

/// Removes everything that is pinned in the directory, and the directory. Flows that were relayed
/// are the stack's from then on, which knows nothing of them: the next packet of each end is answered
/// with a reset. Returns what was removed.
///
/// # Errors
/// When a living daemon has the directory, or something cannot be removed.
pub fn clean(directory: &Path) -> Result<Vec<PathBuf>> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    if !bpffs::is_bpffs(directory)? {
        bail!("{} is in no BPF file system", directory.display());
    }
    let mut locks = Vec::new();
    for name in names(directory)? {
        let path = directory.join(name);
        let Some(lock) = lock(&path)? else {
            bail!("a running daemon has {}: stop it first", path.display());
        };
        locks.push(lock);
    }
    let mut removed = Vec::new();
    remove(directory, &mut removed).with_context(|| directory.display().to_string())?;
    Ok(removed)
}

/// Whether [`USUAL`] can be used as it is: somebody has mounted a BPF file system.
///
/// # Errors
/// What the kernel says.
pub fn can_be_used() -> io::Result<bool> {
    bpffs::is_bpffs(Path::new(MOUNTED))
}

/// The name of our layout's directory.
fn layout() -> String {
    format!("v{LAYOUT}")
}

/// The directory of this network namespace. Its number is never that of another, as long as the kernel
/// runs, and so long lives what is pinned.
fn of_namespace(directory: &Path) -> io::Result<PathBuf> {
    Ok(directory.join(format!("net-{}", interface::namespace()?)))
}

/// Sees to it that the directory exists and is where objects can be pinned.
fn prepare(directory: &Path) -> Result<()> {
    let usual = Path::new(MOUNTED);
    if directory.starts_with(usual) && usual.exists() && !bpffs::is_bpffs(usual)? {
        bpffs::mount(usual).with_context(|| format!("mounting a BPF file system at {MOUNTED}"))?;
    }
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    if !bpffs::is_bpffs(directory)? {
        // It may be ours just now, and then it is empty.
        let _ = fs::remove_dir(directory);
        bail!("{} is in no BPF file system", directory.display());
    }
    Ok(())
}

/// Locks a directory; `None`: somebody else has.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = File::open(path)?;
    match file.try_lock() {
        // It may have been removed, and made anew, in between.
        Ok(()) if file.metadata()?.ino() != fs::metadata(path)?.ino() => Ok(None),
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Makes the directory of this daemon, with a number that no other has.
fn enter(home: &Path) -> io::Result<(u64, File)> {
    let mut number = process::monotonic_ns();
    loop {
        let path = home.join(format!("daemon-{number}"));
        match fs::create_dir(&path) {
            Ok(()) => {
                let file = lock(&path)?.ok_or(io::ErrorKind::ResourceBusy)?;
                return Ok((number, file));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    }
}

fn names(directory: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(directory)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

/// What is in a directory; links first, so that who removes them in this order leaves no program that
/// looks for maps without their records.
fn entries(directory: &Path) -> io::Result<Vec<fs::DirEntry>> {
    let mut entries: Vec<_> = fs::read_dir(directory)?.collect::<io::Result<_>>()?;
    entries.sort_by_key(|entry| {
        let name = entry.file_name();
        (!name.to_string_lossy().starts_with("link-"), name)
    });
    Ok(entries)
}

/// Removes what is in a directory, and the directory.
fn remove(directory: &Path, removed: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in entries(directory)? {
        if entry.file_type()?.is_dir() {
            remove(&entry.path(), removed)?;
        } else {
            fs::remove_file(entry.path())?;
            removed.push(entry.path());
        }
    }
    fs::remove_dir(directory)?;
    removed.push(directory.to_owned());
    Ok(())
}
