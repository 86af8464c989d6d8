//! Health checks.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use regex::bytes::Regex;

use super::BackendId;
use super::tls::{ProxyVersion, ServerTls};
use crate::backend::health::status::Status;

/// How a server's health is found out, and what follows from it.
#[derive(Debug, Clone, Default)]
pub struct ServerHealth {
    /// `check`.
    pub check: Option<Check>,
    /// `agent-check`.
    pub agent: Option<Agent>,
    /// `track`: the server whose state it takes over.
    pub track: Option<Track>,
    /// `observe layer4`, of a server that is checked.
    pub observe: Option<Observe>,
    /// `slowstart`: how long it warms up.
    pub slow_start: Option<Duration>,
    /// `on-marked-down shutdown-sessions`.
    pub ends_streams: bool,
    /// `on-marked-up shutdown-backup-sessions`.
    pub ends_backup_streams: bool,
}

/// A server that another one tracks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// The backend's index.
    pub backend: BackendId,
    /// The server's index in it.
    pub server: usize,
    /// As log lines name it: `backend/server`.
    pub name: Arc<str>,
    /// It, or one that it tracks, is disabled by its line.
    pub disabled: bool,
}

/// The times between the ends of checks and the next ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intervals {
    /// `inter`.
    pub usual: Duration,
    /// `fastinter`: between up and down; `None`: as usual.
    pub changing: Option<Duration>,
    /// `downinter`; `None`: as usual.
    pub down: Option<Duration>,
}

/// `check` and its parameters.
#[derive(Debug, Clone)]
pub struct Check {
    /// The times between checks.
    pub intervals: Intervals,
    /// `rise`, at least 1.
    pub rise: u32,
    /// `fall`, at least 1.
    pub fall: u32,
    /// `addr`; `None`: the server's.
    pub address: Option<IpAddr>,
    /// `port`; `None`: the server's.
    pub port: Option<u16>,
    /// It speaks TLS: `check-ssl`, or `ssl` where neither `addr` nor `port` is given.
    pub ssl: bool,
    /// How it speaks TLS, where it or its script does.
    pub tls: Option<Arc<ServerTls>>,
    /// The PROXY header that it sends: `check-send-proxy`, or as streams where neither `addr` nor
    /// `port` is given.
    pub send_proxy: Option<ProxyVersion>,
    /// The version of a header that only its script asks for.
    pub proxy_version: ProxyVersion,
}

/// `agent-check` and its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// `agent-inter`.
    pub interval: Duration,
    /// `agent-addr`; `None`: the server's.
    pub address: Option<IpAddr>,
    /// `agent-port`.
    pub port: u16,
    /// `agent-send`.
    pub send: Option<Arc<[u8]>>,
}

/// `observe layer4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observe {
    /// `error-limit`: streams that fail in a row.
    pub limit: u32,
    /// What they come to.
    pub then: OnError,
}

/// `on-error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// Check again soon.
    FastInter,
    /// As one failed check.
    #[default]
    FailCheck,
    /// As many failed checks as leave one.
    SuddenDeath,
    /// The server is down.
    MarkDown,
}

/// What a backend says of its servers' checks.
#[derive(Debug, Clone, Default)]
pub struct BackendHealth {
    /// What a check does.
    pub script: Arc<Script>,
    /// `option log-health-checks`.
    pub log: bool,
}

/// What a check does, step by step. Where no step connects, it connects first.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// How its failures are told.
    pub flavour: Flavour,
    /// Its steps.
    pub steps: Vec<Step>,
}

/// Where a script comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flavour {
    /// There is none: a connection is all.
    #[default]
    Plain,
    /// `option tcp-check`.
    Written,
    /// A protocol's own check.
    Protocol,
}

/// A step of a script.
#[derive(Debug, Clone)]
pub struct Step {
    /// What to do.
    pub action: Action,
    /// `comment`.
    pub comment: Option<Arc<str>>,
}

/// What a step does.
#[derive(Debug, Clone)]
pub enum Action {
    /// Connects anew.
    Connect(Connect),
    /// Sends bytes.
    Send(Arc<[u8]>),
    /// Sends the first message of a TLS handshake of long ago.
    SendHello,
    /// Waits for an answer.
    Expect(Box<Expect>),
    /// `comment` alone: names the steps below it.
    Comment,
}

/// `tcp-check connect`.
#[derive(Debug, Clone, Default)]
pub struct Connect {
    /// `default`: with the parameters of the server's line too.
    pub default: bool,
    /// `addr`.
    pub address: Option<IpAddr>,
    /// `port`.
    pub port: Option<u16>,
    /// `ssl`.
    pub ssl: bool,
    /// `sni`.
    pub sni: Option<Arc<str>>,
    /// `alpn`.
    pub alpn: Option<Arc<[Vec<u8>]>>,
    /// `send-proxy`.
    pub send_proxy: bool,
    /// `linger`: it ends in order.
    pub linger: bool,
}

/// An answer that is expected.
#[derive(Debug, Clone)]
pub struct Expect {
    /// How it is recognised.
    pub pattern: Pattern,
    /// `!`: it is the answer that must not come.
    pub unwanted: bool,
    /// `min-recv`: bytes that decide; `None`: a mismatch waits for more.
    pub min_recv: Option<usize>,
    /// `ok-status`.
    pub ok: Status,
    /// `error-status`.
    pub error: Status,
    /// `tout-status`.
    pub timeout: Status,
    /// `on-success`.
    pub on_success: Option<Info>,
    /// `on-error`.
    pub on_error: Option<Info>,
    /// The answer begins with its code, a number of three digits.
    pub coded: bool,
    /// It is good once its line is whole: what is left of one must not pass for the next answer.
    pub whole_line: bool,
}

impl Expect {
    /// With HAProxy's defaults.
    #[must_use]
    pub fn new(pattern: Pattern) -> Self {
        Self {
            pattern,
            unwanted: false,
            min_recv: None,
            ok: Status::L7Ok,
            error: Status::L7Invalid,
            timeout: Status::L7Timeout,
            on_success: None,
            on_error: None,
            coded: false,
            whole_line: false,
        }
    }
}

/// How an answer is recognised.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// `string`: it has these bytes.
    Text(Arc<[u8]>),
    /// `binary`: likewise; shown as hexadecimal digits.
    Binary(Arc<[u8]>),
    /// `rstring`.
    Regex(Regex),
    /// `rbinary`: over the answer in upper-case hexadecimal digits.
    HexRegex(Regex),
    /// A MySQL server's first packet.
    MysqlGreeting,
    /// Its answer to a login, behind the first packet.
    MysqlReply,
    /// An LDAP server's answer to a bind.
    LdapBind,
    /// An agent's line.
    Agent,
}

/// What is said of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Info {
    /// This.
    Text(Arc<str>),
    /// Its first line, from this byte on, without the blanks before it.
    Line(usize),
    /// What it has from this byte on, up to a NUL.
    Chars(usize),
}
