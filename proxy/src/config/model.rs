//! The validated configuration: what the rest of the daemon reads.
//!
//! Nothing here refers back to text except through [`Position`]; every name is resolved, every
//! `listen` is split into a frontend and a backend of the same name, every default is filled in.

pub mod balance;
pub mod check;
pub mod log;
pub mod names;
pub mod remote;
pub mod rules;
pub mod tls;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use log::{LogAddress, LogFormat, LogFraming, LogOptions, LogSample, LogTarget};

/// Where a word of the configuration stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// File name as given on the command line.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column of the word's first byte, from 1; 0 where the whole line is meant.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Index of a backend in [`Config::backends`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BackendId(pub usize);

/// A whole, validated configuration.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The merged `global` sections.
    pub global: Global,
    /// `frontend` sections and the front half of `listen` sections, in file order.
    pub frontends: Vec<Frontend>,
    /// `backend` sections and the back half of `listen` sections, in file order.
    pub backends: Vec<Backend>,
    /// `resolvers` sections.
    pub resolvers: Vec<names::Resolvers>,
    /// Stick tables.
    pub tables: Vec<crate::rules::table::TableSettings>,
}

/// The merged `global` sections.
#[derive(Debug, Clone)]
pub struct Global {
    /// Worker threads; `None`: one per core that the process may run on.
    pub nbthread: Option<usize>,
    /// Concurrent connections of the whole process; `None`: what the descriptor limit allows.
    pub maxconn: Option<usize>,
    /// Targets of `log` lines.
    pub logs: Vec<LogTarget>,
    /// `log-tag`; `None`: the program's name.
    pub log_tag: Option<String>,
    /// `log-send-hostname`: the name that syslog headers say.
    pub log_send_hostname: Option<String>,
    /// `stats socket` lines.
    pub stats_sockets: Vec<StatsSocket>,
    /// `stats timeout`: inactivity of a runtime API client; `None`: our default.
    pub stats_timeout: Option<Duration>,
    /// `stats maxconn`: how many clients of the runtime API are served at once.
    pub stats_maxconn: usize,
    /// `pidfile`.
    pub pidfile: Option<PathBuf>,
    /// `daemon`: go to the background after start.
    pub daemon: bool,
    /// `node`, `description`.
    pub node: Option<String>,
    /// Free text for the statistics.
    pub description: Option<String>,
    /// `tune.bufsize`, bytes: the buffer a chatty direction starts with.
    pub bufsize: usize,
    /// `tune.pipesize`, bytes; `None`: our default.
    pub pipesize: Option<usize>,
    /// `tune.offload.cap`, bytes that may be in the kernel's hands per direction.
    pub offload_cap: u64,
    /// `tune.offload.flows`, flows that may be in the kernel's hands at once; `None`: our default.
    pub offload_flows: Option<u32>,
    /// `offload-pins`: where relayed flows outlive the daemon.
    pub pins: PinDirectory,
    /// `ulimit-n`, descriptors.
    pub ulimit_n: Option<u64>,
    /// `hard-stop-after`: how long a soft stop may take.
    pub hard_stop_after: Option<Duration>,
    /// `grace`: how long listeners stay open after a soft stop was asked for.
    pub grace: Option<Duration>,
    /// `user`/`uid`, resolved.
    pub uid: Option<u32>,
    /// `group`/`gid`, resolved.
    pub gid: Option<u32>,
    /// `chroot`.
    pub chroot: Option<PathBuf>,
    /// `guard xdp` lines.
    pub guards: Vec<GuardSetting>,
    /// `spread-checks`, percent of an interval.
    pub spread_checks: u8,
    /// `max-spread-checks`: the longest time over which first checks are spread.
    pub max_spread_checks: Option<Duration>,
    /// `tune.ssl.cachesize`: how many TLS sessions are kept to be resumed; 0: none.
    pub tls_session_cache: usize,
}

/// Where relayed flows outlive the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinDirectory {
    /// In the usual place, where that is there and can be used.
    Usual,
    /// Nowhere: they do not.
    Off,
    /// In this directory.
    At(PathBuf),
}

impl Default for Global {
    fn default() -> Self {
        Self {
            nbthread: None,
            maxconn: None,
            logs: Vec::new(),
            log_tag: None,
            log_send_hostname: None,
            stats_sockets: Vec::new(),
            stats_timeout: None,
            stats_maxconn: 10,
            pidfile: None,
            daemon: false,
            node: None,
            description: None,
            bufsize: 16 * 1024,
            pipesize: None,
            offload_cap: 4 << 20,
            offload_flows: None,
            pins: PinDirectory::Usual,
            ulimit_n: None,
            hard_stop_after: None,
            grace: None,
            uid: None,
            gid: None,
            chroot: None,
            guards: Vec::new(),
            spread_checks: 0,
            max_spread_checks: None,
            tls_session_cache: tls::DEFAULT_SESSION_CACHE,
        }
    }
}

/// A `guard xdp` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardSetting {
    /// The interface.
    pub interface: String,
    /// Where the program runs; `None`: in the driver if it can.
    pub mode: Option<GuardMode>,
    /// Where it was written.
    pub position: Position,
}

/// Where on an interface's way the guard runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuardMode {
    /// In the driver.
    Native,
    /// In the stack, right behind the driver.
    Generic,
}

/// One `stats socket` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatsSocket {
    /// Where it listens.
    pub address: BindAddress,
    /// Access level of its clients.
    pub level: StatsLevel,
    /// File mode of a UNIX socket.
    pub mode: Option<u32>,
    /// `uid`/`user` of a UNIX socket's file.
    pub uid: Option<u32>,
    /// `gid`/`group` of a UNIX socket's file.
    pub gid: Option<u32>,
    /// Where it was written.
    pub position: Position,
}

/// Access level of a runtime API client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatsLevel {
    /// May read non-sensitive things.
    User,
    /// May read everything.
    Operator,
    /// May change things.
    Admin,
}

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindAddress {
    /// An IP address and port (one entry per port of a range; `*` is 0.0.0.0).
    Inet(SocketAddr),
    /// A UNIX socket by path.
    Unix(PathBuf),
    /// A UNIX socket in the abstract name space.
    Abstract(Vec<u8>),
    /// A listening socket inherited as this descriptor.
    Fd(RawFd),
}

/// One listening address of a frontend.
#[derive(Debug, Clone)]
pub struct Bind {
    /// Where it listens.
    pub address: BindAddress,
    /// `name`.
    pub name: Option<Arc<str>>,
    /// `id`.
    pub id: Option<u32>,
    /// `backlog`; `None`: the frontend's, or its maxconn.
    pub backlog: Option<u32>,
    /// `maxconn` of this address.
    pub maxconn: Option<usize>,
    /// `interface`.
    pub interface: Option<String>,
    /// `mss`.
    pub mss: Option<u16>,
    /// `v6only` (true), `v4v6` (false), neither (`None`: the system's default).
    pub v6only: Option<bool>,
    /// `transparent`.
    pub transparent: bool,
    /// `defer-accept`.
    pub defer_accept: bool,
    /// `tfo`.
    pub tfo: bool,
    /// `tcp-ut`, milliseconds granularity.
    pub tcp_user_timeout: Option<Duration>,
    /// `accept-proxy`: every connection starts with a PROXY header.
    pub accept_proxy: bool,
    /// `ssl` and its parameters.
    pub tls: Option<Arc<tls::BindTls>>,
    /// `mode` of a UNIX socket's file.
    pub unix_mode: Option<u32>,
    /// `uid`/`user` of a UNIX socket's file.
    pub unix_uid: Option<u32>,
    /// `gid`/`group` of a UNIX socket's file.
    pub unix_gid: Option<u32>,
    /// Where it was written.
    pub position: Position,
}

/// What may move a flow's bytes: `offload`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum OffloadMode {
    /// The fastest path that this machine's measurements favour.
    #[default]
    Auto,
    /// User space only; pipes where the splice options ask for them.
    Off,
    /// User-space buffers only.
    Buffer,
    /// Pipes (splice) for raw flows.
    Pipe,
    /// The sockmap redirect for raw flows.
    Redirect,
    /// The packet relay.
    Relay,
    /// Same-host bypass.
    Bypass,
}

/// When a flow is worth promoting: `offload-after`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffloadAfter {
    /// After this many bytes, both directions together.
    Bytes(u64),
    /// After this long in DATA.
    Age(Duration),
}

/// `option splice-auto`, `splice-request`, `splice-response`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpliceHint {
    /// Use pipes where it seems worth it.
    pub auto: bool,
    /// Use pipes from client to server.
    pub request: bool,
    /// Use pipes from server to client.
    pub response: bool,
}

/// `option tcpka` and its halves, `nolinger`, `tcp-smart-*` and the like, as one side sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SocketOptions {
    /// Send TCP keep-alives.
    pub keepalive: bool,
    /// Reset instead of lingering at close.
    pub nolinger: bool,
}

/// The timeouts of a proxy; `None` is "no limit".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timeouts {
    /// Client inactivity.
    pub client: Option<Duration>,
    /// Server inactivity.
    pub server: Option<Duration>,
    /// Connection establishment.
    pub connect: Option<Duration>,
    /// Waiting for a connection slot.
    pub queue: Option<Duration>,
    /// Inactivity of an established bidirectional flow; supersedes client and server.
    pub tunnel: Option<Duration>,
    /// Client inactivity once one side has closed its sending half.
    pub client_fin: Option<Duration>,
    /// Server inactivity once one side has closed its sending half.
    pub server_fin: Option<Duration>,
    /// Health checks.
    pub check: Option<Duration>,
}

/// `mode` of a frontend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Mode {
    /// Streams are carried to servers.
    #[default]
    Tcp,
    /// Every connection is told that the proxy lives, and closed.
    Health,
}

/// A frontend, or the front half of a `listen`.
#[derive(Debug, Clone)]
pub struct Frontend {
    /// Its name.
    pub name: Arc<str>,
    /// `id`.
    pub id: Option<u32>,
    /// Its `id`, or the number that its place gives it; a `listen`'s halves have the same.
    pub number: u32,
    /// `description`.
    pub description: Option<String>,
    /// Its listening addresses.
    pub binds: Vec<Bind>,
    /// `mode`.
    pub mode: Mode,
    /// `monitor-net`: clients that get the monitor's answer instead of a stream.
    pub monitor_net: Vec<ipnet::IpNet>,
    /// `option httpchk`: the monitor's answer is an HTTP status line.
    pub http_check: bool,
    /// Of an `agent` section: what it does for its clients.
    pub agent: Option<remote::Agent>,
    /// Its rules.
    pub rules: Arc<rules::FrontRules>,
    /// Of a `listen`: its back half, whose rules are the frontend's own.
    pub own_backend: Option<BackendId>,
    /// `default_backend`; for a `listen`, its own back half.
    pub default_backend: Option<BackendId>,
    /// `maxconn`; `None`: no limit but the global one.
    pub maxconn: Option<usize>,
    /// `rate-limit sessions`: most new connections per second.
    pub session_rate: Option<u32>,
    /// `backlog`.
    pub backlog: Option<u32>,
    /// Timeouts (only the client's side is meaningful here).
    pub timeouts: Timeouts,
    /// Logging.
    pub log: LogOptions,
    /// `offload`; `None` where the section and its defaults are silent.
    pub offload: Option<OffloadMode>,
    /// `offload-after`.
    pub offload_after: Option<OffloadAfter>,
    /// Splice hints.
    pub splice: SpliceHint,
    /// `option clitcpka`/`tcpka`, `nolinger`.
    pub socket: SocketOptions,
    /// `option independent-streams`.
    pub independent_streams: bool,
    /// `disabled`.
    pub disabled: bool,
    /// Where the section starts.
    pub position: Position,
}

/// A backend, or the back half of a `listen`.
#[derive(Debug, Clone)]
pub struct Backend {
    /// Its name.
    pub name: Arc<str>,
    /// `id`.
    pub id: Option<u32>,
    /// Its `id`, or the number that its place gives it; a `listen`'s halves have the same.
    pub number: u32,
    /// `description`.
    pub description: Option<String>,
    /// Its servers, in file order.
    pub servers: Vec<Server>,
    /// Its rules.
    pub rules: Arc<rules::BackRules>,
    /// How it chooses servers.
    pub balance: balance::Balance,
    /// Timeouts (connect, server, queue, tunnel, server-fin, check).
    pub timeouts: Timeouts,
    /// `fullconn`: the streams at which servers take their `maxconn`; `None`: a tenth of what the
    /// frontends may send here.
    pub fullconn: Option<usize>,
    /// `option allbackups`: all backup servers serve, not only the first.
    pub all_backups: bool,
    /// What it says of its servers' checks.
    pub health: check::BackendHealth,
    /// `retries`.
    pub retries: u32,
    /// `option redispatch [n]`: `None` off; `Some(n)` as HAProxy defines n (default -1).
    pub redispatch: Option<i32>,
    /// Logging of the servers' own events; streams are logged as their frontend says.
    pub log: LogOptions,
    /// `offload`; `None` where the section and its defaults are silent.
    pub offload: Option<OffloadMode>,
    /// `offload-after`.
    pub offload_after: Option<OffloadAfter>,
    /// Splice hints.
    pub splice: SpliceHint,
    /// `option srvtcpka`/`tcpka`, `nolinger`.
    pub socket: SocketOptions,
    /// `option independent-streams`.
    pub independent_streams: bool,
    /// `option abortonclose`.
    pub abortonclose: bool,
    /// `source` address for every server.
    pub source: Option<SocketAddr>,
    /// `disabled`.
    pub disabled: bool,
    /// Where the section starts.
    pub position: Position,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerAddress {
    /// An IP address and a port (0 unless [`ServerPort::Fixed`]). An unspecified address
    /// (`0.0.0.0`, `*`, `::`) stands for the one that the client connected to.
    Inet(SocketAddr),
    /// A UNIX socket by path.
    Unix(PathBuf),
    /// A UNIX socket in the abstract name space.
    Abstract(Vec<u8>),
    /// `rtcp@`: an agent makes the connection.
    Remote(Arc<remote::RemoteAddress>),
    /// Of an agent: where its client asks it to connect to.
    Asked,
}

/// How a server's port follows from its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServerPort {
    /// The port of its address.
    #[default]
    Fixed,
    /// No port was given: the port that the client connected to.
    SameAsClient,
    /// `+N`/`-N`: the port that the client connected to, moved by this much.
    Offset(i32),
}

/// One `server` line.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its name.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: ServerAddress,
    /// How the port is meant.
    pub port: ServerPort,
    /// `weight`, 0 to 256; 0 takes no new flow.
    pub weight: u16,
    /// `backup`.
    pub backup: bool,
    /// `maxconn`; `None`: unlimited.
    pub maxconn: Option<usize>,
    /// `minconn`: the limit while the backend is idle; `None`: `maxconn` at any time.
    pub minconn: Option<usize>,
    /// `maxqueue`: most streams in its own queue; `None`: unlimited.
    pub maxqueue: Option<usize>,
    /// Its checks.
    pub health: check::ServerHealth,
    /// Its host name.
    pub naming: names::ServerName,
    /// `disabled`.
    pub disabled: bool,
    /// `id`.
    pub id: Option<u32>,
    /// `source` address.
    pub source: Option<SocketAddr>,
    /// `send-proxy` and its kin.
    pub send_proxy: Option<tls::SendProxy>,
    /// `ssl` and its parameters.
    pub tls: Option<Arc<tls::ServerTls>>,
    /// Where it was written.
    pub position: Position,
}

/// Named values for `${VAR}`, injected so that tests need no process environment.
pub type Environment = BTreeMap<String, String>;
