//! Network interfaces.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};

use socket2::{Domain, Socket, Type};

use super::check;
use super::socket::get_option;

/// A network interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    /// Its number in its network namespace.
    pub index: u32,
    /// Whether it is the loopback.
    pub loopback: bool,
    /// Whether it is one end of a veth pair.
    pub veth: bool,
}

/// The number of the calling thread's network namespace, which no other gets before the kernel starts
/// again.
///
/// # Errors
/// ENOPROTOOPT before Linux 5.14.
pub fn namespace() -> io::Result<u64> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    get_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_NETNS_COOKIE)
}

/// Finds an interface of the calling thread's network namespace by name.
///
/// # Errors
/// ENODEV when there is none, EINVAL when it cannot be a name.
pub fn find(name: &str) -> io::Result<Interface> {
    let name = CString::new(name)?;
    // SAFETY: `name` ends with a NUL and is only read.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all-zero is a valid `ifreq`: bytes and integers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let bytes = name.as_bytes_with_nul();
    if bytes.len() > request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    let socket = Socket::new(Domain::UNIX, Type::DGRAM.cloexec(), None)?;
    // SAFETY: the request names an interface, and has room for the flags that the kernel writes.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) })?;
    // SAFETY: the call has just written the flags.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    Ok(Interface {
        index,
        loopback: libc::c_int::from(flags) & libc::IFF_LOOPBACK != 0,
        veth: driver(&socket, &mut request).is_ok_and(|driver| driver.starts_with(b"veth\0")),
    })
}

/// The name of an interface of the calling thread's network namespace.
///
/// # Errors
/// ENXIO when there is none.
pub fn name(index: u32) -> io::Result<String> {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: `name` has the room that the call asks for.
    let found = unsafe { libc::if_indextoname(index, name.as_mut_ptr()) };
    if found.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just written a name that ends with a NUL.
    let name = unsafe { std::ffi::CStr::from_ptr(name.as_ptr()) };
    Ok(name.to_string_lossy().into_owned())
}

/// `struct ethtool_drvinfo`.
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    // What else the kernel says of a driver, 160 bytes of it.
    rest: [u8; 160],
}

/// The name of the driver of the interface that `request` names.
fn driver(socket: &Socket, request: &mut libc::ifreq) -> io::Result<[u8; 32]> {
    const ETHTOOL_GDRVINFO: u32 = 3;
    let mut info = DriverInfo {
        command: ETHTOOL_GDRVINFO,
        driver: [0; 32],
        rest: [0; 160],
    };
    request.ifr_ifru.ifru_data = (&raw mut info).cast();
    // SAFETY: the request names an interface, and points to what the command fills, of its size.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut *request) })?;
    Ok(info.driver)
}

const _: () = assert!(size_of::<DriverInfo>() == 196);
