//! Where lines go, and what is logged.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::Arc;

use crate::observe::log::format::Formats;

/// One `log` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogTarget {
    /// Its number among the `log` lines of all files, from 0. Proxies that say `log global` share
    /// the lines of `global`.
    pub id: usize,
    /// Where the lines go.
    pub address: LogAddress,
    /// Syslog facility, 0 (kern) to 23 (local7).
    pub facility: u8,
    /// Least urgent level sent, 0 (emerg) to 7 (debug).
    pub max_level: u8,
    /// Most urgent level kept as it is; more urgent ones are sent as this.
    pub min_level: u8,
    /// Longest line in bytes, without its end, 80 to 65535.
    pub max_len: u16,
    /// `format`; `None`: [`LogFormat::Rfc3164`] with `log-send-hostname`, else
    /// [`LogFormat::Local`].
    pub format: Option<LogFormat>,
    /// `sample`: which of the lines it gets.
    pub sample: Option<Arc<LogSample>>,
    /// `log-tag` of the proxy that uses it; `None`: the process's.
    pub tag: Option<Arc<str>>,
}

/// Where a `log` line sends to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LogAddress {
    /// A datagram to an IP syslog server.
    Udp(SocketAddr),
    /// A datagram to a UNIX syslog socket.
    Unix(PathBuf),
    /// A datagram to a UNIX syslog socket in the abstract name space.
    Abstract(Vec<u8>),
    /// A connection to an IP syslog server.
    Tcp(SocketAddr, LogFraming),
    /// A connection to a UNIX syslog socket.
    UnixStream(PathBuf, LogFraming),
    /// The process's standard output.
    Stdout,
    /// The process's standard error.
    Stderr,
    /// An inherited descriptor.
    Fd(RawFd),
}

impl fmt::Display for LogAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(address) => write!(f, "udp@{address}"),
            Self::Unix(path) => write!(f, "uxdg@{}", path.display()),
            Self::Abstract(name) => write!(f, "abns@{}", String::from_utf8_lossy(name)),
            Self::Tcp(address, _) => write!(f, "tcp@{address}"),
            Self::UnixStream(path, _) => write!(f, "uxst@{}", path.display()),
            Self::Stdout => f.write_str("stdout"),
            Self::Stderr => f.write_str("stderr"),
            Self::Fd(fd) => write!(f, "fd@{fd}"),
        }
    }
}

/// How one line is told from the next on a connection (RFC 6587).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LogFraming {
    /// A line feed ends each, as HAProxy does it.
    #[default]
    LineFeed,
    /// Its length in decimal and a space come before each: `log-proto octet-count`.
    OctetCount,
}

/// What stands before a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Nothing.
    Raw,
    /// `<level>`.
    Short,
    /// `<priority>`.
    Priority,
    /// `<level>` and the time in ISO 8601.
    Timed,
    /// The time in ISO 8601.
    Iso,
    /// RFC 3164 without the host name.
    Local,
    /// RFC 3164.
    Rfc3164,
    /// RFC 5424.
    Rfc5424,
}

/// `sample <ranges>:<size>`: of each `size` lines, those in `ranges`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSample {
    /// Numbers from 1, in order.
    pub ranges: Vec<RangeInclusive<u32>>,
    /// How many lines make a round.
    pub size: u32,
}

impl LogSample {
    /// Whether the line of this number, counted from 0 over all rounds, is one of them.
    #[must_use]
    pub fn takes(&self, number: u64) -> bool {
        let place = number % u64::from(self.size.max(1)) + 1;
        self.ranges
            .iter()
            .any(|range| (u64::from(*range.start())..=u64::from(*range.end())).contains(&place))
    }
}

/// What frontends and backends log.
#[derive(Debug, Clone, Default)]
pub struct LogOptions {
    /// Targets, `log global` already replaced by the global ones.
    pub targets: Vec<LogTarget>,
    /// A line per stream: `option tcplog`, or a format of its own.
    pub tcplog: bool,
    /// `option dontlognull`.
    pub dontlognull: bool,
    /// `option dontlog-normal`.
    pub dontlog_normal: bool,
    /// `option logasap`.
    pub logasap: bool,
    /// `option log-separate-errors`.
    pub separate_errors: bool,
    /// `log-tag`.
    pub tag: Option<String>,
    /// `log-format` and its kin; `None`: there is none.
    pub formats: Option<Arc<Formats>>,
}

impl LogOptions {
    /// Whether a stream is logged as soon as it has a server: `option logasap`, or a format in
    /// which nothing is that only the end tells.
    #[must_use]
    pub fn is_early(&self) -> bool {
        let from_format = |formats: &Arc<Formats>| {
            let format = formats.stream.as_ref();
            format.is_some_and(|format| !format.waits_for_the_end())
        };
        self.tcplog && (self.logasap || self.formats.as_ref().is_some_and(from_format))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples() {
        let sample = LogSample {
            ranges: vec![1..=1, 3..=4],
            size: 5,
        };
        let taken: Vec<u64> = (0..10).filter(|&number| sample.takes(number)).collect();
        assert_eq!(taken, [0, 2, 3, 5, 7, 8]);
    }
}
