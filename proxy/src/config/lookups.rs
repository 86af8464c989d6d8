//! Names that only the machine can resolve: hosts, users, groups.

use std::fs;
use std::net::{IpAddr, ToSocketAddrs};

/// Resolves names, so that tests need neither a resolver nor `/etc/passwd`.
pub trait Lookups {
    /// The addresses of a host, best first; empty if it has none.
    fn host(&self, name: &str) -> Vec<IpAddr>;
    /// The text of `/etc/resolv.conf`; `None` where it cannot be read.
    fn resolv_conf(&self) -> Option<String> {
        None
    }
    /// The number of a user.
    fn user(&self, name: &str) -> Option<u32>;
    /// The number of a group.
    fn group(&self, name: &str) -> Option<u32>;
}

/// The machine's own names: the system's resolver, `/etc/passwd` and `/etc/group`.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemLookups;

impl Lookups for SystemLookups {
    fn host(&self, name: &str) -> Vec<IpAddr> {
        (name, 0)
            .to_socket_addrs()
            .map(|found| found.map(|address| address.ip()).collect())
            .unwrap_or_default()
    }

    fn resolv_conf(&self) -> Option<String> {
        let text = fs::read("/etc/resolv.conf").ok()?;
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    fn user(&self, name: &str) -> Option<u32> {
        number_in(&fs::read("/etc/passwd").ok()?, name)
    }

    fn group(&self, name: &str) -> Option<u32> {
        number_in(&fs::read("/etc/group").ok()?, name)
    }
}

/// The third field of the line whose first is `name`.
fn number_in(table: &[u8], name: &str) -> Option<u32> {
    table.split(|&b| b == b'\n').find_map(|line| {
        let mut fields = line.split(|&b| b == b':');
        if fields.next()? != name.as_bytes() {
            return None;
        }
        std::str::from_utf8(fields.nth(1)?).ok()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_the_third_field() {
        let table = b"root:x:0:0::/root:/bin/sh\nodd\nwww:x:33:33::/:\n";
        assert_eq!(number_in(table, "root"), Some(0));
        assert_eq!(number_in(table, "www"), Some(33));
        assert_eq!(number_in(table, "odd"), None);
        assert_eq!(number_in(table, "w"), None);
    }
}
