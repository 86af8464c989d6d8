//! The process: limits, identity, time zone, CPUs.

use std::io;

use super::check;

/// Raises the soft limit of open files to `wanted`, or to the hard limit where that is lower.
/// Returns the soft limit now in force.
///
/// # Errors
/// What the kernel says.
pub fn raise_file_limit(wanted: Option<u64>) -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is writable.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    let target = wanted.unwrap_or(limit.rlim_max);
    if target > limit.rlim_max {
        // Only the privileged may; whoever may not keeps the hard limit.
        let higher = libc::rlimit {
            rlim_cur: target,
            rlim_max: target,
        };
        // SAFETY: `higher` is readable.
        if check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const higher) }).is_ok() {
            return Ok(target);
        }
    }
    limit.rlim_cur = target.min(limit.rlim_max);
    // SAFETY: `limit` is readable.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    Ok(limit.rlim_cur)
}

/// The effective user id.
#[must_use]
pub fn effective_uid() -> u32 {
    // SAFETY: the call cannot fail and passes no memory.
    unsafe { libc::geteuid() }
}

/// Sends this process's group membership and identity to `gid` and `uid`, in that order, for good.
///
/// # Errors
/// What the kernel says; a half-way failure leaves the group changed, and the caller must exit.
pub fn become_user(uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    if let Some(gid) = gid {
        // SAFETY: zero groups need no memory.
        check(unsafe { libc::setgroups(0, std::ptr::null()) })?;
        // SAFETY: no memory is passed.
        check(unsafe { libc::setgid(gid) })?;
    }
    if let Some(uid) = uid {
        // SAFETY: no memory is passed.
        check(unsafe { libc::setuid(uid) })?;
    }
    Ok(())
}

/// Tells another process to finish its flows (SIGUSR1) or to stop now (SIGTERM).
///
/// # Errors
/// What the kernel says, such as no such process.
pub fn tell(pid: i32, finish: bool) -> io::Result<()> {
    let signal = if finish { libc::SIGUSR1 } else { libc::SIGTERM };
    // SAFETY: no memory is passed.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Goes to the background as `daemon(3)` does, keeping the directory and giving standard streams
/// to `/dev/null`. Must be called before any thread is started.
///
/// # Errors
/// What the C library says.
pub fn daemonize() -> io::Result<()> {
    // SAFETY: the caller has one thread only, as documented.
    check(unsafe { libc::daemon(1, 0) }).map(drop)
}

/// A local time, field by field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    /// Year, such as 2026.
    pub year: i32,
    /// Month, 0 to 11.
    pub month: usize,
    /// Day of the month, 1 to 31.
    pub day: i32,
    /// Hour, 0 to 23.
    pub hour: i32,
    /// Minute, 0 to 59.
    pub minute: i32,
    /// Second, 0 to 60.
    pub second: i32,
    /// Seconds that it is ahead of universal time.
    pub offset: i64,
}

/// Local time of `seconds` since the epoch.
#[must_use]
pub fn local_time(seconds: i64) -> LocalTime {
    // SAFETY: all-zero is a valid `tm`: integers, and a null pointer that nobody reads.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call.
    unsafe { libc::localtime_r(&raw const seconds, &raw mut tm) };
    fields(&tm)
}

/// Universal time of `seconds` since the epoch.
#[must_use]
pub fn gmt_time(seconds: i64) -> LocalTime {
    // SAFETY: all-zero is a valid `tm`: integers, and a null pointer that nobody reads.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call.
    unsafe { libc::gmtime_r(&raw const seconds, &raw mut tm) };
    fields(&tm)
}

fn fields(tm: &libc::tm) -> LocalTime {
    LocalTime {
        year: tm.tm_year + 1900,
        month: usize::try_from(tm.tm_mon).unwrap_or(0).min(11),
        day: tm.tm_mday,
        hour: tm.tm_hour,
        minute: tm.tm_min,
        second: tm.tm_sec,
        offset: tm.tm_gmtoff,
    }
}

/// The host's name; `localhost` where the system tells none.
#[must_use]
pub fn hostname() -> String {
    // Linux allows 64 bytes.
    let mut name = [0_u8; 256];
    // SAFETY: the kernel writes no more than the length that is passed.
    let result = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len()) };
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(0);
    if result != 0 || end == 0 {
        return "localhost".to_owned();
    }
    String::from_utf8_lossy(&name[..end]).into_owned()
}

/// `CLOCK_MONOTONIC` now, ns.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is writable; the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
