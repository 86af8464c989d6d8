//! What the sections say of health checks.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::super::lexer::Word;
use super::super::model::Position;
use super::super::model::check::{
    Action, Agent, BackendHealth, Check, Flavour, Intervals, Observe, OnError, Script,
    ServerHealth, Step,
};
use super::super::model::tls::{ProxyVersion, SendProxy, ServerTls};

/// HAProxy's default time between checks.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(2);
/// Its default numbers of checks that agree.
const DEFAULT_RISE: u32 = 2;
const DEFAULT_FALL: u32 = 3;
/// Its default number of streams that fail in a row.
const DEFAULT_ERROR_LIMIT: u32 = 10;

/// The words of `server` and `default-server` lines.
#[derive(Debug, Clone)]
pub(crate) struct CheckWords {
    pub(crate) check: bool,
    pub(crate) intervals: Intervals,
    pub(crate) rise: u32,
    pub(crate) fall: u32,
    pub(crate) address: Option<IpAddr>,
    pub(crate) port: Option<u16>,
    /// `check-ssl`, `no-check-ssl`.
    pub(crate) ssl: Option<bool>,
    pub(crate) sni: Option<Arc<str>>,
    pub(crate) alpn: Vec<Vec<u8>>,
    /// `check-send-proxy`.
    pub(crate) send_proxy: bool,
    pub(crate) agent: bool,
    pub(crate) agent_interval: Option<Duration>,
    pub(crate) agent_address: Option<IpAddr>,
    pub(crate) agent_port: Option<u16>,
    pub(crate) agent_send: Option<Arc<[u8]>>,
    pub(crate) track: Option<Word>,
    pub(crate) observe: bool,
    pub(crate) error_limit: u32,
    pub(crate) on_error: OnError,
    pub(crate) ends_streams: bool,
    pub(crate) ends_backup_streams: bool,
    pub(crate) slow_start: Option<Duration>,
}

impl Default for CheckWords {
    fn default() -> Self {
        Self {
            check: false,
            intervals: Intervals {
                usual: DEFAULT_INTERVAL,
                changing: None,
                down: None,
            },
            rise: DEFAULT_RISE,
            fall: DEFAULT_FALL,
            address: None,
            port: None,
            ssl: None,
            sni: None,
            alpn: Vec::new(),
            send_proxy: false,
            agent: false,
            agent_interval: None,
            agent_address: None,
            agent_port: None,
            agent_send: None,
            track: None,
            observe: false,
            error_limit: DEFAULT_ERROR_LIMIT,
            on_error: OnError::default(),
            ends_streams: false,
            ends_backup_streams: false,
            slow_start: None,
        }
    }
}

impl CheckWords {
    /// What they come to. `tls`: how checks speak TLS where they do; `streams`: whether streams
    /// speak it; `header`: the PROXY header of streams.
    pub(crate) fn health(
        &self,
        tls: Option<Arc<ServerTls>>,
        streams: bool,
        header: Option<SendProxy>,
    ) -> ServerHealth {
        // A check that goes where streams go speaks as they do.
        let same = self.port.is_none() && self.address.is_none();
        let version = header.map_or(ProxyVersion::V1, |header| header.version);
        let check = self.check.then(|| Check {
            intervals: self.intervals,
            rise: self.rise,
            fall: self.fall,
            address: self.address,
            port: self.port,
            ssl: self.ssl.unwrap_or(streams && same),
            tls,
            send_proxy: (self.send_proxy || (header.is_some() && same)).then_some(version),
            proxy_version: version,
        });
        let agent = self.agent_port.filter(|_| self.agent).map(|port| Agent {
            interval: self.agent_interval.unwrap_or(self.intervals.usual),
            address: self.agent_address,
            port,
            send: self.agent_send.clone(),
        });
        let observe = self.observe && self.check;
        ServerHealth {
            check,
            agent,
            track: None,
            observe: observe.then_some(Observe {
                limit: self.error_limit,
                then: self.on_error,
            }),
            slow_start: self.slow_start,
            ends_streams: self.ends_streams,
            ends_backup_streams: self.ends_backup_streams,
        }
    }
}

/// The lines of a proxy.
#[derive(Debug, Clone, Default)]
pub(crate) struct CheckSettings {
    /// What the last `option` about checks asks for.
    pub(crate) kind: CheckKind,
    /// `option log-health-checks`.
    pub(crate) log: bool,
    /// `tcp-check` lines.
    pub(crate) steps: Vec<Step>,
    /// The section that they stand in: those of a `defaults` give way to a proxy's own.
    pub(crate) section: Option<Position>,
    /// The first one.
    pub(crate) first: Option<Position>,
}

/// What a check does.
#[derive(Debug, Clone, Default)]
pub(crate) enum CheckKind {
    /// It connects.
    #[default]
    Connect,
    /// `option tcp-check`.
    Steps,
    /// The script of a protocol.
    Protocol(Arc<Script>),
}

impl CheckSettings {
    /// What they come to.
    pub(crate) fn health(&self) -> BackendHealth {
        let script = match &self.kind {
            CheckKind::Connect => Arc::default(),
            CheckKind::Steps => Arc::new(Script {
                flavour: Flavour::Written,
                steps: self.steps.clone(),
            }),
            CheckKind::Protocol(script) => Arc::clone(script),
        };
        BackendHealth {
            script,
            log: self.log,
        }
    }

    /// Whether `tcp-check` lines have a step that speaks TLS by itself.
    pub(crate) fn speaks_tls(&self) -> bool {
        self.steps
            .iter()
            .any(|step| matches!(&step.action, Action::Connect(connect) if connect.ssl))
    }
}
