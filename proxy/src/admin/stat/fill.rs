//! Makes rows of what was read. Which columns a kind of row fills, and with what tags, is as
//! HAProxy does for `mode tcp`.

use super::{Kind, Row, Value};
use crate::backend::health::meter::Meter;
use crate::backend::health::status::Verdict;
use crate::observe::counters::Counters;

/// A frontend, as it was read.
#[derive(Debug)]
pub struct FrontendFacts<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its number.
    pub number: u32,
    /// Its counters.
    pub counters: &'a Counters,
    /// Its streams.
    pub active: u64,
    /// Most streams.
    pub most: usize,
    /// Sessions in the last second.
    pub rate: u64,
    /// Most sessions per second; 0: any number.
    pub rate_limit: u32,
    /// `mode`.
    pub mode: &'static str,
    /// `OPEN` and so on.
    pub status: &'static str,
}

/// A server, as it was read.
#[derive(Debug)]
pub struct ServerFacts<'a> {
    /// Its backend's name.
    pub backend: &'a str,
    /// Its backend's number.
    pub backend_number: u32,
    /// Its name.
    pub name: &'a str,
    /// Its number.
    pub number: u32,
    /// Its counters.
    pub counters: &'a Counters,
    /// Streams that wait for it.
    pub queued: u64,
    /// Streams that it serves.
    pub active: u64,
    /// Most streams.
    pub most: Option<usize>,
    /// Most streams that wait.
    pub most_queued: Option<usize>,
    /// `UP`, `DOWN`, `MAINT` and so on.
    pub status: String,
    /// It is in maintenance.
    pub maintained: bool,
    /// It is down.
    pub down: bool,
    /// The weight in force.
    pub weight: u16,
    /// `backup`.
    pub backup: bool,
    /// Since its state last changed, seconds.
    pub since_change: u64,
    /// Sessions in the last second.
    pub rate: u64,
    /// Since its last stream came, seconds.
    pub since_session: Option<u64>,
    /// Where it is; `None`: not for these eyes.
    pub address: Option<String>,
    /// How warm it is, percent; `None`: it is warm.
    pub warm: Option<u8>,
    /// The server that it tracks.
    pub tracked: Option<&'a str>,
    /// Whether streams are observed.
    pub observed: bool,
    /// How long it was down, seconds; `None`: nobody looks.
    pub downtime: Option<u64>,
    /// What its check and its agent found; `None`: there is none, or it is not made.
    pub probes: [Option<ProbeFacts>; 2],
}

/// A check, as it was read.
#[derive(Debug)]
pub struct ProbeFacts {
    /// What it found last.
    pub verdict: Verdict,
    /// `rise`, `fall`, and how far the server is.
    pub meter: Meter,
}

/// The columns of a check.
struct ProbeColumns {
    status: &'static str,
    code: &'static str,
    duration: &'static str,
    description: &'static str,
    last: &'static str,
    rise: &'static str,
    fall: &'static str,
    health: &'static str,
}

/// Those of a server's check and of its agent.
const PROBES: [ProbeColumns; 2] = [
    ProbeColumns {
        status: "check_status",
        code: "check_code",
        duration: "check_duration",
        description: "check_desc",
        last: "last_chk",
        rise: "check_rise",
        fall: "check_fall",
        health: "check_health",
    },
    ProbeColumns {
        status: "agent_status",
        code: "agent_code",
        duration: "agent_duration",
        description: "agent_desc",
        last: "last_agt",
        rise: "agent_rise",
        fall: "agent_fall",
        health: "agent_health",
    },
];

/// A backend, as it was read.
#[derive(Debug)]
pub struct BackendFacts<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its number.
    pub number: u32,
    /// Its counters.
    pub counters: &'a Counters,
    /// Streams that wait for any server.
    pub queued: u64,
    /// Its streams.
    pub active: u64,
    /// Its `fullconn`.
    pub full: usize,
    /// `UP` or `DOWN`.
    pub status: String,
    /// The weight of all servers in force.
    pub weight: u64,
    /// How many servers it has.
    pub servers: usize,
    /// Its servers that take streams and are no backups.
    pub main_servers: u64,
    /// Its backup servers that take streams.
    pub backup_servers: u64,
    /// Times that it had no server left.
    pub downs: u64,
    /// How long it had none, seconds.
    pub downtime: u64,
    /// Since it last changed, seconds.
    pub since_change: u64,
    /// Sessions in the last second.
    pub rate: u64,
    /// Since its last stream came, seconds.
    pub since_session: Option<u64>,
    /// The name of its algorithm; `None`: not for these eyes.
    pub balance: Option<&'static str>,
}

/// The columns of TLS, which every row has.
const TLS: [&str; 3] = ["ssl_sess", "ssl_reused_sess", "ssl_failed_handshake"];

/// The columns of HTTP, which proxies have even where they speak none; whether they are gauges.
const HTTP: [(&str, bool); 21] = [
    ("h2_headers_rcvd", false),
    ("h2_data_rcvd", false),
    ("h2_settings_rcvd", false),
    ("h2_rst_stream_rcvd", false),
    ("h2_goaway_rcvd", false),
    ("h2_detected_conn_protocol_errors", false),
    ("h2_detected_strm_protocol_errors", false),
    ("h2_rst_stream_resp", false),
    ("h2_goaway_resp", false),
    ("h2_open_connections", true),
    ("h2_backend_open_streams", true),
    ("h2_total_connections", false),
    ("h2_backend_total_streams", false),
    ("h1_open_connections", true),
    ("h1_open_streams", true),
    ("h1_total_connections", false),
    ("h1_total_streams", false),
    ("h1_bytes_in", false),
    ("h1_bytes_out", false),
    ("h1_spliced_bytes_in", false),
    ("h1_spliced_bytes_out", false),
];

/// Puts values by what they are, under HAProxy's tags for that.
struct Filler(Row);

impl Filler {
    fn key(&mut self, column: &str, value: &str) {
        self.0.put(column, "KNS", Value::Text(value.to_owned()));
    }

    fn text(&mut self, column: &str, tags: &'static str, value: &str) {
        self.0.put(column, tags, Value::Text(value.to_owned()));
    }

    fn u32(&mut self, column: &str, tags: &'static str, value: u64) {
        self.0.put(column, tags, Value::U32(value));
    }

    /// A value at one instant.
    fn gauge(&mut self, column: &str, value: u64) {
        self.u32(column, "MGP", value);
    }

    /// A highest value.
    fn highest(&mut self, column: &str, value: u64) {
        self.u32(column, "MMP", value);
    }

    /// A number that only grows.
    fn count(&mut self, column: &str, value: u64) {
        self.0.put(column, "MCP", Value::U64(value));
    }

    fn identity(&mut self, proxy: u32, server: u32) {
        self.u32("pid", "KGP", 1);
        self.u32("iid", "KGS", proxy.into());
        self.u32("sid", "KGS", server.into());
    }

    /// Streams that wait.
    fn queue(&mut self, counters: &Counters, queued: u64) {
        self.gauge("qcur", queued);
        self.highest("qmax", counters.queued_max.get());
    }

    /// Streams, and what they have moved.
    fn streams(&mut self, counters: &Counters, active: u64, most: Option<usize>) {
        self.gauge("scur", active);
        self.highest("smax", counters.sessions_max.get());
        if let Some(most) = most {
            self.u32("slim", "CLP", most as u64);
        }
        self.count("stot", counters.sessions.get());
        self.count("bin", counters.bytes_in.get());
        self.count("bout", counters.bytes_out.get());
    }

    /// What went wrong on the way to a server and there.
    fn failures(&mut self, counters: &Counters) {
        self.count("dresp", counters.denied_responses.get());
        self.count("econ", counters.failed_connections.get());
        self.count("eresp", counters.failed_responses.get());
        self.count("wretr", counters.retries.get());
        self.count("wredis", counters.redispatches.get());
    }

    fn since_session(&mut self, seconds: Option<u64>) {
        let seconds = seconds.and_then(|seconds| i64::try_from(seconds).ok());
        self.0
            .put("lastsess", "MAP", Value::S32(seconds.unwrap_or(-1)));
    }

    /// Times of streams. What waits for a response is HTTP.
    fn times(&mut self, counters: &Counters) {
        let average = counters.average();
        let columns = [
            ("qtime", average.queue),
            ("ctime", average.connect),
            ("rtime", 0),
            ("ttime", average.total),
        ];
        for (column, value) in columns {
            self.u32(column, "MaP", value);
        }
    }

    fn longest_times(&mut self, counters: &Counters) {
        let longest = counters.longest();
        let columns = [
            ("qtime_max", longest.queue),
            ("ctime_max", longest.connect),
            ("rtime_max", 0),
            ("ttime_max", longest.total),
        ];
        for (column, value) in columns {
            self.highest(column, value);
        }
    }

    fn probe(&mut self, probe: &ProbeFacts, columns: &ProbeColumns) {
        let verdict = &probe.verdict;
        self.text(columns.status, "MOP", verdict.status.code());
        if verdict.status.has_code() {
            self.u32(columns.code, "MOP", verdict.code.into());
        }
        if let Some(duration) = verdict.duration {
            let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            self.0.put(columns.duration, "MDP", Value::U64(millis));
        }
        self.text(columns.description, "MOP", verdict.status.text());
        self.text(columns.last, "MOP", &verdict.info);
        self.u32(columns.rise, "CGS", probe.meter.rise().into());
        self.u32(columns.fall, "CGS", probe.meter.fall().into());
        self.u32(columns.health, "CGS", probe.meter.health().into());
    }

    fn tls(&mut self) {
        for column in TLS {
            self.count(column, 0);
        }
    }

    fn http(&mut self) {
        for (column, is_gauge) in HTTP {
            let tags = if is_gauge { "MGP" } else { "MCP" };
            self.0.put(column, tags, Value::U64(0));
        }
    }

    fn compression(&mut self) {
        for column in ["comp_in", "comp_out", "comp_byp", "comp_rsp"] {
            self.count(column, 0);
        }
    }
}

/// A frontend's row.
#[must_use]
pub fn frontend(facts: &FrontendFacts<'_>) -> Row {
    let counters = facts.counters;
    let mut row = Filler(Row::new(Kind::Frontend, facts.number, 0));
    row.key("pxname", facts.name);
    row.key("svname", "FRONTEND");
    row.streams(counters, facts.active, Some(facts.most));
    row.count("dreq", counters.denied_requests.get());
    row.count("dresp", counters.denied_responses.get());
    row.count("ereq", counters.failed_requests.get());
    row.text("status", "SGP", facts.status);
    row.identity(facts.number, 0);
    row.u32("type", "CGS", 0);
    row.u32("rate", "MRP", facts.rate);
    row.u32("rate_lim", "CLP", facts.rate_limit.into());
    row.highest("rate_max", counters.rate_max.get());
    row.u32("req_rate", "MRP", 0);
    row.highest("req_rate_max", 0);
    row.count("req_tot", 0);
    row.compression();
    row.text("mode", "CGS", facts.mode);
    row.u32("conn_rate", "MRP", facts.rate);
    row.highest("conn_rate_max", counters.rate_max.get());
    row.count("conn_tot", counters.connections.get());
    row.count("dcon", counters.denied_connections.get());
    row.count("dses", counters.denied_sessions.get());
    row.count("wrew", 0);
    row.count("eint", counters.internal_errors.get());
    row.tls();
    row.http();
    row.0
}

/// A server's row.
#[must_use]
pub fn server(facts: &ServerFacts<'_>) -> Row {
    let counters = facts.counters;
    let mut row = Filler(Row::new(Kind::Server, facts.backend_number, facts.number));
    row.0.maintained = facts.maintained;
    row.0.down = facts.down;
    row.key("pxname", facts.backend);
    row.key("svname", facts.name);
    row.queue(counters, facts.queued);
    row.streams(counters, facts.active, facts.most);
    row.failures(counters);
    row.text("status", "SGP", &facts.status);
    row.u32("weight", "MaP", facts.weight.into());
    row.u32("act", "SGP", u64::from(!facts.backup));
    row.u32("bck", "SGP", u64::from(facts.backup));
    if facts.observed {
        row.count("hanafail", counters.observed_failures.get());
    }
    if let Some(downtime) = facts.downtime {
        row.count("chkfail", counters.failed_checks.get());
        row.count("chkdown", counters.went_down.get());
        row.u32("downtime", "MCP", downtime);
    }
    row.u32("lastchg", "MAP", facts.since_change);
    if let Some(warm) = facts.warm {
        row.u32("throttle", "MaP", warm.into());
    }
    if let Some(tracked) = facts.tracked {
        row.text("tracked", "CNS", tracked);
    }
    for (probe, columns) in facts.probes.iter().zip(&PROBES) {
        if let Some(probe) = probe {
            row.probe(probe, columns);
        }
    }
    if let Some(most) = facts.most_queued {
        row.u32("qlimit", "CLS", most as u64);
    }
    row.identity(facts.backend_number, facts.number);
    row.count("lbtot", counters.balanced.get());
    row.u32("type", "CGS", 2);
    row.u32("rate", "MRP", facts.rate);
    row.highest("rate_max", counters.rate_max.get());
    row.count("cli_abrt", counters.client_aborts.get());
    row.count("srv_abrt", counters.server_aborts.get());
    row.since_session(facts.since_session);
    row.times(counters);
    if let Some(address) = &facts.address {
        row.text("addr", "CGS", address);
    }
    row.text("mode", "CGS", "tcp");
    row.count("wrew", 0);
    row.count("connect", counters.attempts.get());
    row.count("reuse", 0);
    row.gauge("srv_icur", 0);
    row.longest_times(counters);
    row.count("eint", counters.internal_errors.get());
    // HAProxy counts these where connections are kept for another use, which streams of TCP are not.
    row.gauge("idle_conn_cur", 0);
    row.gauge("safe_conn_cur", 0);
    row.gauge("used_conn_cur", 0);
    row.gauge("need_conn_est", 0);
    row.u32("uweight", "MaP", facts.weight.into());
    row.tls();
    row.0
}

/// A backend's row.
#[must_use]
pub fn backend(facts: &BackendFacts<'_>) -> Row {
    let counters = facts.counters;
    let mut row = Filler(Row::new(Kind::Backend, facts.number, 0));
    row.key("pxname", facts.name);
    row.key("svname", "BACKEND");
    row.queue(counters, facts.queued);
    row.streams(counters, facts.active, Some(facts.full));
    row.count("dreq", counters.denied_requests.get());
    row.failures(counters);
    row.text("status", "SGP", &facts.status);
    row.u32("weight", "MaP", facts.weight);
    row.gauge("act", facts.main_servers);
    row.gauge("bck", facts.backup_servers);
    row.count("chkdown", facts.downs);
    row.u32("lastchg", "MAP", facts.since_change);
    if facts.servers > 0 {
        row.u32("downtime", "MCP", facts.downtime);
    }
    row.identity(facts.number, 0);
    row.count("lbtot", counters.balanced.get());
    row.u32("type", "CGS", 1);
    row.gauge("rate", facts.rate);
    row.gauge("rate_max", counters.rate_max.get());
    row.count("cli_abrt", counters.client_aborts.get());
    row.count("srv_abrt", counters.server_aborts.get());
    row.compression();
    row.since_session(facts.since_session);
    row.times(counters);
    row.text("mode", "CGS", "tcp");
    if let Some(balance) = facts.balance {
        row.text("algo", "CGS", balance);
    }
    row.count("wrew", 0);
    row.count("connect", counters.attempts.get());
    row.count("reuse", 0);
    row.longest_times(counters);
    row.count("eint", counters.internal_errors.get());
    row.u32("uweight", "MaP", facts.weight);
    for column in [
        "agg_server_status",
        "agg_server_check_status",
        "agg_check_status",
    ] {
        row.gauge(column, 0);
    }
    row.tls();
    row.http();
    row.0
}

#[cfg(test)]
mod tests;
