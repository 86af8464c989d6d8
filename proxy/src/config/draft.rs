//! What the sections say, before names are resolved and `listen` is split.

pub(crate) mod balance;
pub(crate) mod check;
pub(crate) mod log;
pub(crate) mod names;
pub(crate) mod rules;
pub(crate) mod tls;

use std::net::SocketAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::lexer::Word;
use super::model::names::Resolvers;
use super::model::remote::Agent;
use super::model::{
    Bind, Global, LogTarget, Mode, OffloadAfter, OffloadMode, Position, Server, SocketOptions,
    SpliceHint, Timeouts,
};
use crate::rules::table::TableSettings;
use balance::BalanceSettings;
use check::{CheckSettings, CheckWords};
use log::FormatLines;
use names::NameWords;
use rules::RuleSettings;
use tls::{SendProxyWords, ServerTlsWords, TlsDefaults};

/// Everything read so far.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) global: Global,
    pub(crate) tls: TlsDefaults,
    /// Every `defaults` section, in order; the last one serves the proxies that name none.
    pub(crate) defaults: Vec<Proxy>,
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) resolvers: Vec<Resolvers>,
}

/// The sections that describe proxies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Defaults,
    Frontend,
    Backend,
    Listen,
    Agent,
}

impl Kind {
    /// The section's keyword.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Defaults => "defaults",
            Self::Frontend => "frontend",
            Self::Backend => "backend",
            Self::Listen => "listen",
            Self::Agent => "agent",
        }
    }

    /// How HAProxy calls one in messages.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Listen => "proxy",
            other => other.name(),
        }
    }

    pub(crate) fn has_front(self) -> bool {
        self != Self::Backend
    }

    pub(crate) fn has_back(self) -> bool {
        self != Self::Frontend
    }
}

/// One `defaults`, `frontend`, `backend` or `listen` section.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    pub(crate) kind: Kind,
    pub(crate) name: Arc<str>,
    pub(crate) position: Position,
    pub(crate) settings: Settings,
    pub(crate) binds: Vec<Bind>,
    /// Whether a `bind` line was there, even a wrong one.
    pub(crate) has_bind_line: bool,
    pub(crate) servers: Vec<ServerLine>,
    /// Of an `agent`.
    pub(crate) agent: Option<Agent>,
    pub(crate) stick_table: Option<TableSettings>,
    pub(crate) id: Option<(u32, Position)>,
    pub(crate) description: Option<String>,
    /// Of a `defaults`: a proxy named it after `from`.
    pub(crate) used_by_name: bool,
    /// Of a `defaults`: a proxy that names none took it.
    pub(crate) used_by_place: Option<Position>,
}

/// A `server` line.
#[derive(Debug, Clone)]
pub(crate) struct ServerLine {
    pub(crate) server: Server,
    /// It leaves it to `ssl-server-verify` whether the server's certificate is verified.
    pub(crate) verify_by_default: bool,
    /// `track`.
    pub(crate) track: Option<Word>,
    /// `resolvers`: the section that it names.
    pub(crate) resolvers: Option<Word>,
}

/// What a proxy takes over from its `defaults`.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) disabled: bool,
    pub(crate) mode: Mode,
    pub(crate) monitor_net: Vec<IpNet>,
    /// `option httpchk`, where it was written.
    pub(crate) http_check: Option<Word>,
    pub(crate) maxconn: Option<usize>,
    pub(crate) backlog: Option<u32>,
    pub(crate) timeouts: Timeouts,
    pub(crate) logs: Vec<LogLine>,
    pub(crate) log_tag: Option<String>,
    pub(crate) tcplog: bool,
    pub(crate) dontlognull: bool,
    pub(crate) dontlog_normal: bool,
    pub(crate) logasap: bool,
    pub(crate) log_separate_errors: bool,
    pub(crate) formats: FormatLines,
    pub(crate) default_backend: Option<Word>,
    /// `fullconn`
    pub(crate) fullconn: Option<usize>,
    /// `rate-limit sessions`
    pub(crate) session_rate: Option<u32>,
    /// `option allbackups`
    pub(crate) all_backups: bool,
    pub(crate) check: CheckSettings,
    pub(crate) balance: BalanceSettings,
    pub(crate) retries: u32,
    pub(crate) redispatch: Option<i32>,
    pub(crate) abortonclose: bool,
    pub(crate) independent_streams: bool,
    pub(crate) splice: SpliceHint,
    pub(crate) client_socket: SocketOptions,
    pub(crate) server_socket: SocketOptions,
    pub(crate) source: Option<SocketAddr>,
    pub(crate) offload: Option<OffloadMode>,
    pub(crate) offload_after: Option<OffloadAfter>,
    pub(crate) server: ServerSettings,
    pub(crate) rules: RuleSettings,
}

/// HAProxy's default number of connection retries.
const DEFAULT_RETRIES: u32 = 3;

impl Default for Settings {
    fn default() -> Self {
        Self {
            disabled: false,
            mode: Mode::default(),
            monitor_net: Vec::new(),
            http_check: None,
            maxconn: None,
            backlog: None,
            timeouts: Timeouts::default(),
            logs: Vec::new(),
            log_tag: None,
            tcplog: false,
            dontlognull: false,
            dontlog_normal: false,
            logasap: false,
            log_separate_errors: false,
            formats: FormatLines::default(),
            default_backend: None,
            fullconn: None,
            session_rate: None,
            all_backups: false,
            check: CheckSettings::default(),
            balance: BalanceSettings::default(),
            retries: DEFAULT_RETRIES,
            redispatch: None,
            abortonclose: false,
            independent_streams: false,
            splice: SpliceHint::default(),
            client_socket: SocketOptions::default(),
            server_socket: SocketOptions::default(),
            source: None,
            offload: None,
            offload_after: None,
            server: ServerSettings::default(),
            rules: RuleSettings::default(),
        }
    }
}

/// A `log` line of a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LogLine {
    /// `log global`.
    Global,
    Target(LogTarget),
}

/// What `default-server` presets.
#[derive(Debug, Clone)]
pub(crate) struct ServerSettings {
    pub(crate) weight: u16,
    pub(crate) backup: bool,
    pub(crate) maxconn: Option<usize>,
    pub(crate) minconn: Option<usize>,
    pub(crate) maxqueue: Option<usize>,
    pub(crate) check: CheckWords,
    pub(crate) names: NameWords,
    pub(crate) disabled: bool,
    pub(crate) source: Option<SocketAddr>,
    pub(crate) tls: ServerTlsWords,
    pub(crate) send_proxy: SendProxyWords,
    /// `rssl`.
    pub(crate) remote_tls: bool,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            weight: 1,
            backup: false,
            maxconn: None,
            minconn: None,
            maxqueue: None,
            check: CheckWords::default(),
            names: NameWords::default(),
            disabled: false,
            source: None,
            tls: ServerTlsWords::default(),
            send_proxy: SendProxyWords::default(),
            remote_tls: false,
        }
    }
}
