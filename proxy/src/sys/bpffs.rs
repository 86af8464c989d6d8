//! The file system in which BPF objects outlive the processes that made them.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::check;

/// Whether `path` is in a BPF file system.
///
/// # Errors
/// What the kernel says, mostly that there is no such path.
pub fn is_bpffs(path: &Path) -> io::Result<bool> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: all-zero is a valid `statfs`: integers.
    let mut found: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: `path` ends with a NUL, `found` is writable.
    check(unsafe { libc::statfs(path.as_ptr(), &raw mut found) })?;
    Ok(found.f_type == libc::BPF_FS_MAGIC)
}

/// Mounts a BPF file system at `path`.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN, else what the kernel says.
pub fn mount(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let kind = c"bpf";
    // SAFETY: all three texts end with a NUL and are only read; there is no data.
    check(unsafe {
        libc::mount(
            kind.as_ptr(),
            path.as_ptr(),
            kind.as_ptr(),
            libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC,
            std::ptr::null(),
        )
    })
    .map(drop)
}
