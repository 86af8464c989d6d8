//! A topology with its servers running, ready for load.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result};
use underpass_tests::netns::{Layout, LinkOptions, Netns, Topology};

use crate::{
    bulk::Source,
    contestant::{Contestant, Kind, Route},
    log_sink::LogSink,
    service::{self, Service},
    workload::Unit,
};

/// The servers' and the proxies' ports, below the range clients are given.
const HTTP: u16 = 8000;
const BULK: u16 = 8001;
const HTTP_PROXY: u16 = 9000;
const BULK_PROXY: u16 = 9001;
const LOG: u16 = 9514;

/// Where log lines are counted, in the proxies' namespace.
pub(crate) fn log_sink() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, LOG).into()
}

/// The topologies by name, in the order of the tables.
pub(crate) const ALL: &[(&str, Layout)] =
    &[("hosts", Layout::Hosts), ("loopback", Layout::Loopback)];

/// Hosts, links and servers. Idle, they cost nothing: both topologies of a run stand at the same time.
pub(crate) struct Site {
    // Fields are dropped in this order: the servers before the hosts they run on.
    _http: Service,
    _bulk: Source,
    log: Option<LogSink>,
    hosts: Topology,
    name: &'static str,
}

impl Site {
    /// Builds the topology and starts the servers, and if `logs` what counts log lines.
    ///
    /// # Errors
    /// When a namespace, a link or a server cannot be had.
    pub(crate) fn build(
        name: &'static str,
        layout: Layout,
        workers: usize,
        logs: bool,
        dir: &Path,
    ) -> Result<Self> {
        let hosts = match layout {
            Layout::Hosts => Topology::hosts(&LinkOptions {
                routed: true,
                ..LinkOptions::default()
            }),
            Layout::Loopback => Topology::loopback(),
        }?;
        for ns in [&hosts.client, &hosts.proxy, &hosts.server] {
            // New connections by the ten thousand per second leave many ports waiting.
            ns.sysctl("net/ipv4/ip_local_port_range", "10000 65535")?;
        }
        let server = hosts.server_addr.ipv4();
        let dir = dir.join(name);
        std::fs::create_dir_all(&dir)?;
        let http = service::http_server(
            &hosts.server,
            &hosts.client,
            (server, HTTP).into(),
            workers,
            &dir,
        )?;
        let bulk = Source::start(&hosts.server, (server, BULK).into())?;
        let log = logs
            .then(|| LogSink::start(&hosts.proxy, log_sink()))
            .transpose()?;
        Ok(Self {
            _http: http,
            _bulk: bulk,
            log,
            hosts,
            name,
        })
    }

    /// Name of the topology.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// What counts log lines, if anybody sends them.
    pub(crate) fn log(&self) -> Option<&LogSink> {
        self.log.as_ref()
    }

    /// Where load comes from.
    pub(crate) fn client(&self) -> &Netns {
        &self.hosts.client
    }

    /// Where proxies run.
    pub(crate) fn proxy(&self) -> &Netns {
        &self.hosts.proxy
    }

    /// What a proxy listens on and leads to: HTTP, then bulk.
    pub(crate) fn routes(&self) -> [Route; 2] {
        let (proxy, server) = (self.hosts.proxy_addr.ipv4(), self.hosts.server_addr.ipv4());
        [(HTTP_PROXY, HTTP), (BULK_PROXY, BULK)].map(|(from, to)| Route {
            listen: (proxy, from).into(),
            server: (server, to).into(),
        })
    }

    /// Where a client of `contestant` connects for a load counted in `unit`.
    pub(crate) fn target(&self, contestant: &Contestant, unit: Unit) -> SocketAddr {
        let [http, bulk] = self.routes();
        let route = match unit {
            Unit::Bytes => bulk,
            Unit::Requests | Unit::Connections => http,
        };
        match contestant.kind {
            Kind::Direct => route.server,
            Kind::Haproxy | Kind::Underpass => route.listen,
        }
    }
}

/// First line that `program` prints when run with `argument`, on either output.
pub(crate) fn version(program: &Path, argument: &str) -> Result<String> {
    let out = Command::new(program)
        .arg(argument)
        .output()
        .with_context(|| format!("run {}", program.display()))?;
    let text = [out.stdout, out.stderr].concat();
    Ok(String::from_utf8_lossy(&text)
        .lines()
        .next()
        .unwrap_or("unknown")
        .trim()
        .to_owned())
}
