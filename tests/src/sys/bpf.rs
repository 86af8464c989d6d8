//! eBPF programs of a few instructions, loaded without an object file.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use super::check;

// From the kernel's `bpf_cmd`, `bpf_map_type` and `bpf_prog_type`.
const MAP_CREATE: libc::c_long = 0;
const MAP_LOOKUP_ELEM: libc::c_long = 1;
const PROG_LOAD: libc::c_long = 5;
const OBJ_PIN: libc::c_long = 6;
const MAP_TYPE_ARRAY: u32 = 2;
const PROG_TYPE_SCHED_CLS: u32 = 3;

/// `union bpf_attr` as an array of words: every command here uses its first few, and wants the rest zero.
type Attributes = [u64; 8];

/// Does `command`.
///
/// # Safety
/// Every address in `attributes` must be valid for what `command` does with it.
unsafe fn bpf(command: libc::c_long, attributes: &Attributes) -> io::Result<libc::c_int> {
    let size = size_of::<Attributes>();
    // SAFETY: the kernel reads `size` bytes at the address; addresses within are the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size) };
    let result = libc::c_int::try_from(result).map_err(io::Error::other)?;
    check(result)?;
    Ok(result)
}

/// Two 32-bit fields that share a word.
fn pair(first: u32, second: u32) -> u64 {
    let [a, b, c, d] = first.to_ne_bytes();
    let [e, f, g, h] = second.to_ne_bytes();
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

/// The number of a descriptor, which is not negative, as a field.
fn number(fd: &OwnedFd) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// A number that a program counts in.
#[derive(Debug)]
pub struct Counter(OwnedFd);

impl Counter {
    /// A map of one 64-bit value.
    ///
    /// # Errors
    /// EPERM without CAP_BPF.
    pub fn new() -> io::Result<Self> {
        let mut attributes = Attributes::default();
        attributes[0] = pair(MAP_TYPE_ARRAY, 4);
        attributes[1] = pair(8, 1);
        // SAFETY: no addresses.
        let fd = unsafe { bpf(MAP_CREATE, &attributes) }?;
        // SAFETY: a new descriptor that nobody else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// What has been counted.
    ///
    /// # Errors
    /// EPERM without CAP_BPF.
    pub fn read(&self) -> io::Result<u64> {
        let (key, mut value) = (0_u32, 0_u64);
        let mut attributes = Attributes::default();
        attributes[0] = pair(number(&self.0), 0);
        attributes[1] = (&raw const key).addr() as u64;
        attributes[2] = (&raw mut value).expose_provenance() as u64;
        // SAFETY: the key is a u32 and the value a u64, as the map was made for, and both live through the call.
        unsafe { bpf(MAP_LOOKUP_ELEM, &attributes) }?;
        Ok(value)
    }

    /// Its number in this process, which a program names it by when it is loaded.
    #[must_use]
    pub fn fd(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

/// Loads `instructions` as a classifier of packets, under a licence that gives it all helpers.
///
/// # Errors
/// EPERM without CAP_BPF and CAP_NET_ADMIN; EINVAL and EACCES when the verifier refuses, with what it said.
pub fn load_classifier(instructions: &[u64]) -> io::Result<OwnedFd> {
    let licence = c"GPL";
    let mut said = vec![0_u8; 64 << 10];
    let mut attributes = Attributes::default();
    let count = u32::try_from(instructions.len()).map_err(io::Error::other)?;
    attributes[0] = pair(PROG_TYPE_SCHED_CLS, count);
    attributes[1] = instructions.as_ptr().addr() as u64;
    attributes[2] = licence.as_ptr().addr() as u64;
    attributes[3] = pair(1, u32::try_from(said.len()).map_err(io::Error::other)?);
    attributes[4] = said.as_mut_ptr().expose_provenance() as u64;
    // SAFETY: the instructions, the licence and the buffer, of the lengths given, live through the call.
    match unsafe { bpf(PROG_LOAD, &attributes) } {
        // SAFETY: a new descriptor that nobody else owns.
        Ok(fd) => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        Err(error) => {
            let end = said.iter().position(|byte| *byte == 0).unwrap_or(0);
            let said = String::from_utf8_lossy(&said[..end]);
            Err(io::Error::new(error.kind(), format!("{error}: {said}")))
        }
    }
}

/// Gives `object` the name `path` in the bpf file system.
///
/// # Errors
/// EEXIST when the name is taken; EPERM or EINVAL when it is not in a bpf file system.
pub fn pin(object: &impl AsFd, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_encoded_bytes())?;
    let mut attributes = Attributes::default();
    attributes[0] = path.as_ptr().addr() as u64;
    attributes[1] = pair(object.as_fd().as_raw_fd().cast_unsigned(), 0);
    // SAFETY: the path ends with a NUL and lives through the call.
    unsafe { bpf(OBJ_PIN, &attributes) }?;
    Ok(())
}
