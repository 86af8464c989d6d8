//! The loads that contestants are put under. A new one is one entry in [`ALL`].

use std::ffi::OsString;

use serde::{Deserialize, Serialize};

use crate::load::Outcome;

/// Bytes per transfer of the bulk loads: as large as a big download, small
/// enough that one run sees many.
pub(crate) const TRANSFER_BYTES: u64 = 20_000_000;

/// Body of a small reply.
pub(crate) const REPLY_BYTES: usize = 100;

/// What a workload's rate counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Unit {
    /// HTTP requests on kept-alive connections.
    Requests,
    /// Bytes of content.
    Bytes,
    /// Connections, each with one HTTP request.
    Connections,
}

impl Unit {
    /// How many of the unit CPU seconds are given for.
    pub(crate) const fn cpu_per(self) -> f64 {
        match self {
            Self::Requests | Self::Connections => 100_000.0,
            Self::Bytes => 1e9,
        }
    }

    /// That quantity in words.
    pub(crate) const fn cpu_per_name(self) -> &'static str {
        match self {
            Self::Requests => "100k req",
            Self::Connections => "100k conn",
            Self::Bytes => "GB",
        }
    }

    /// Name of a rate in this unit, as a column heading.
    pub(crate) const fn rate_name(self) -> &'static str {
        match self {
            Self::Requests => "req/s",
            Self::Connections => "conn/s",
            Self::Bytes => "GB/s",
        }
    }
}

/// What makes the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Generator {
    /// wrk on kept-alive connections.
    Replies,
    /// wrk with a connection per request.
    Connect,
    /// Transfers to the own sink.
    Bulk,
    /// The own client with a connection per request.
    Handshakes(Sessions),
}

/// Which handshakes are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sessions {
    /// Clients remember nothing.
    Full,
    /// Clients resume the session of their last connection.
    Resumed,
}

/// One load.
#[derive(Debug)]
pub(crate) struct Workload {
    /// Name on the command line and in the results.
    pub(crate) name: &'static str,
    /// For the reader of the table.
    pub(crate) about: &'static str,
    /// What is counted.
    pub(crate) unit: Unit,
    /// Connections at a time.
    pub(crate) connections: usize,
    /// What makes it.
    pub(crate) generator: Generator,
}

impl Workload {
    /// How many streams a proxy has carried for a load that went so. Connections that the end of the load cut off are
    /// not among them where each carries one request.
    pub(crate) fn streams(&self, outcome: &Outcome) -> u64 {
        match self.generator {
            Generator::Replies => self.connections as u64,
            Generator::Connect | Generator::Handshakes(_) | Generator::Bulk => outcome.requests,
        }
    }

    /// Whether it can be put on a contestant that terminates TLS, or on one that does not.
    pub(crate) fn suits(&self, tls: bool) -> bool {
        // wrk does not say which handshakes it makes; the own client does it for TLS.
        !tls || self.generator != Generator::Connect
    }

    /// Whether it runs without being asked for by name in a run that has TLS, or has none.
    pub(crate) fn by_default(&self, tls: bool) -> bool {
        tls || !matches!(self.generator, Generator::Handshakes(_))
    }
}

/// Every workload, in the order of the tables.
pub(crate) const ALL: &[Workload] = &[
    small("small-1", "100 B replies, 1 connection", 1),
    small("small-32", "100 B replies, 32 connections", 32),
    small("small-256", "100 B replies, 256 connections", 256),
    bulk("bulk-1", "20 MB transfers, 1 connection", 1),
    bulk("bulk-4", "20 MB transfers, 4 connections", 4),
    Workload {
        name: "connect-32",
        about: "a new connection per 100 B reply, 32 at a time",
        unit: Unit::Connections,
        connections: 32,
        generator: Generator::Connect,
    },
    Workload {
        name: "handshake-full",
        about: "a new connection with a full handshake per 100 B reply, 16 at a time; raw rows: without handshake",
        unit: Unit::Connections,
        connections: 16,
        generator: Generator::Handshakes(Sessions::Full),
    },
    Workload {
        name: "handshake-resumed",
        about: "a new connection with a resumed session per 100 B reply, 16 at a time; raw rows: without handshake",
        unit: Unit::Connections,
        connections: 16,
        generator: Generator::Handshakes(Sessions::Resumed),
    },
];

const fn small(name: &'static str, about: &'static str, connections: usize) -> Workload {
    Workload {
        name,
        about,
        unit: Unit::Requests,
        connections,
        generator: Generator::Replies,
    }
}

const fn bulk(name: &'static str, about: &'static str, connections: usize) -> Workload {
    Workload {
        name,
        about,
        unit: Unit::Bytes,
        connections,
        generator: Generator::Bulk,
    }
}

/// Arguments of wrk for an HTTP workload against `url`.
pub(crate) fn wrk_arguments(
    workload: &Workload,
    script: &std::path::Path,
    seconds: u64,
    url: &str,
) -> Vec<OsString> {
    // One thread per core of the smallest machine that makes sense; one
    // connection cannot use two.
    let threads = workload.connections.min(2);
    let mut arguments: Vec<OsString> = vec![
        format!("-t{threads}").into(),
        format!("-c{}", workload.connections).into(),
        format!("-d{seconds}s").into(),
        "--timeout".into(),
        "5s".into(),
        "-s".into(),
        script.into(),
    ];
    if workload.generator == Generator::Connect {
        arguments.push("-H".into());
        arguments.push("Connection: close".into());
    }
    arguments.push(url.into());
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for (i, a) in ALL.iter().enumerate() {
            assert!(ALL[i + 1..].iter().all(|b| b.name != a.name));
        }
    }

    #[test]
    fn wrk_never_has_more_threads_than_connections() {
        let one = &ALL[0];
        let args = wrk_arguments(one, "s.lua".as_ref(), 3, "http://h/");
        assert_eq!(args[0], "-t1");
        assert_eq!(args[1], "-c1");
        assert_eq!(args[2], "-d3s");
        assert!(!args.iter().any(|a| a == "Connection: close"));
    }

    #[test]
    fn connection_workload_asks_the_server_to_close() {
        let connect = ALL
            .iter()
            .find(|w| w.generator == Generator::Connect)
            .unwrap();
        let args = wrk_arguments(connect, "s.lua".as_ref(), 3, "http://h/");
        assert!(args.iter().any(|a| a == "Connection: close"));
        assert_eq!(args.last().unwrap(), "http://h/");
    }

    #[test]
    fn handshakes_are_counted_by_the_client_that_knows_them() {
        for workload in ALL {
            assert!(workload.suits(false));
            let wrk_connects = workload.generator == Generator::Connect;
            assert_eq!(workload.suits(true), !wrk_connects);
        }
        let plain: Vec<_> = ALL.iter().filter(|w| w.by_default(false)).collect();
        assert!(plain.iter().all(|w| !w.name.starts_with("handshake")));
        assert!(ALL.iter().all(|w| w.by_default(true)));
    }
}
