//! Facts about the process: `show info`, `show version`, `show activity`.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Answer, Api, Severity, Words};
use crate::admin::stat::json::{self, Field};
use crate::admin::stat::text::quote;

/// A command about the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// `show info`
    Info(Format),
    /// `show version`
    Version,
    /// `show activity`
    Activity,
}

/// How facts are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Format {
    typed: bool,
    json: bool,
    described: bool,
}

type Parsed = Result<super::Command, Answer>;

pub(super) fn show_info(words: &Words) -> Parsed {
    let mut format = Format::default();
    for word in words.from(2) {
        match word.as_str() {
            "typed" => format.typed = true,
            "desc" => format.described = true,
            "json" => format.json = true,
            _ => {}
        }
    }
    Ok(super::Command::Info(Command::Info(format)))
}

pub(super) fn show_version(_: &Words) -> Parsed {
    Ok(super::Command::Info(Command::Version))
}

pub(super) fn show_activity(_: &Words) -> Parsed {
    Ok(super::Command::Info(Command::Activity))
}

impl Command {
    pub(super) fn run(self, api: &Api) -> Answer {
        match self {
            Self::Info(format) => Answer::Dump(write(&facts(&State::of(api)), format)),
            Self::Version => Answer::Said(Severity::Info, format!("{VERSION}\n")),
            Self::Activity => Answer::Dump(activity(api)),
        }
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What `show info` is made of.
#[derive(Debug, Clone, Default)]
struct State {
    workers: usize,
    process: u32,
    uptime: Duration,
    started: Duration,
    files: u64,
    most: usize,
    most_at_start: usize,
    active: u64,
    connections: u64,
    requests: u64,
    rate: u64,
    rate_max: u64,
    node: String,
    description: Option<String>,
    listeners: usize,
    dropped_logs: u64,
    bytes_out: u64,
}

impl State {
    fn of(api: &Api) -> Self {
        let operator = &api.operator;
        let shared = &operator.shared;
        let uptime = operator.started.elapsed();
        let now = shared.clock.now();
        let frontends = || shared.frontends.iter();
        let sum = |count: fn(&crate::worker::FrontendState) -> u64| -> u64 {
            frontends().map(|frontend| count(frontend)).sum()
        };
        let clients = api.clients.get();
        Self {
            workers: shared.workers,
            process: std::process::id(),
            uptime,
            started: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .saturating_sub(uptime),
            files: shared.files,
            most: shared.places.most().unwrap_or(shared.most),
            most_at_start: shared.most,
            active: shared.active.get(),
            connections: sum(|frontend| frontend.counters.connections.get()) + clients,
            requests: sum(|frontend| frontend.counters.sessions.get()) + clients,
            rate: frontends().map(|frontend| frontend.rate.get(now)).sum(),
            rate_max: frontends()
                .map(|frontend| frontend.counters.rate_max.get())
                .max()
                .unwrap_or(0),
            node: shared.global.node.clone().unwrap_or_else(host_name),
            description: shared.global.description.clone(),
            listeners: shared.global.stats_sockets.len()
                + frontends()
                    .filter(|frontend| !frontend.config.disabled)
                    .map(|frontend| frontend.config.binds.len())
                    .sum::<usize>(),
            dropped_logs: operator.logger.dropped(),
            bytes_out: sum(|frontend| {
                frontend.counters.bytes_in.get() + frontend.counters.bytes_out.get()
            }),
        }
    }
}

fn host_name() -> String {
    // It is the kernel's, and always there.
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim_end().to_owned()
}

/// A fact: HAProxy's number of it, its name, tags and type, its value, what it is.
struct Fact {
    number: u8,
    name: &'static str,
    tags: &'static str,
    value: String,
    says: &'static str,
}

impl Fact {
    /// As JSON has it: tags and type are one word here.
    fn field(&self) -> Field<'_> {
        let (tags, kind) = self.tags.split_once(':').unwrap_or((self.tags, "str"));
        Field {
            number: self.number.into(),
            name: self.name,
            tags,
            kind,
            value: &self.value,
        }
    }
}

fn facts(state: &State) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut fact = |number, name, tags, value: String, says| {
        facts.push(Fact {
            number,
            name,
            tags,
            value,
            says,
        });
    };
    let seconds = state.uptime.as_secs();
    let uptime = format!(
        "{}d {}h{:02}m{:02}s",
        seconds / 86_400,
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60
    );
    fact(
        0,
        "Name",
        "POS:str",
        "Underpass".into(),
        "Name of the product",
    );
    fact(
        1,
        "Version",
        "POS:str",
        VERSION.into(),
        "Version of the product",
    );
    fact(
        3,
        "Nbthread",
        "CGS:u32",
        state.workers.to_string(),
        "Workers",
    );
    fact(4, "Nbproc", "CGS:u32", "1".into(), "Processes");
    fact(
        5,
        "Process_num",
        "KGP:u32",
        "1".into(),
        "Which of them this is",
    );
    fact(6, "Pid", "SGP:u32", state.process.to_string(), "Process id");
    fact(7, "Uptime", "MDP:str", uptime, "Time since the start");
    fact(
        8,
        "Uptime_sec",
        "MDP:u32",
        seconds.to_string(),
        "Seconds since the start",
    );
    fact(
        13,
        "Ulimit-n",
        "CLP:u32",
        state.files.to_string(),
        "Most descriptors",
    );
    fact(
        14,
        "Maxsock",
        "CLP:u32",
        state.files.to_string(),
        "Most sockets",
    );
    fact(
        15,
        "Maxconn",
        "CLP:u32",
        state.most.to_string(),
        "Most streams at once",
    );
    fact(
        16,
        "Hard_maxconn",
        "CLP:u32",
        state.most_at_start.to_string(),
        "Most streams at once, as started with",
    );
    fact(
        17,
        "CurrConns",
        "MGP:u32",
        state.active.to_string(),
        "Streams now",
    );
    fact(
        18,
        "CumConns",
        "MCP:u32",
        state.connections.to_string(),
        "Connections accepted",
    );
    fact(
        19,
        "CumReq",
        "MCP:u32",
        state.requests.to_string(),
        "Streams in all",
    );
    fact(
        26,
        "ConnRate",
        "MRP:u32",
        state.rate.to_string(),
        "Connections in the last second",
    );
    fact(
        27,
        "ConnRateLimit",
        "CLP:u32",
        "0".into(),
        "Most connections per second; 0: no limit",
    );
    fact(
        28,
        "MaxConnRate",
        "MMP:u32",
        state.rate_max.to_string(),
        "Most connections in a second of one frontend",
    );
    fact(
        29,
        "SessRate",
        "MRP:u32",
        state.rate.to_string(),
        "Sessions in the last second",
    );
    fact(
        30,
        "SessRateLimit",
        "CLP:u32",
        "0".into(),
        "Most sessions per second; 0: no limit",
    );
    fact(
        31,
        "MaxSessRate",
        "MRP:u32",
        state.rate_max.to_string(),
        "Most sessions in a second of one frontend",
    );
    fact(
        50,
        "node",
        "COS:str",
        state.node.clone(),
        "Name of the node",
    );
    if let Some(description) = &state.description {
        let mut quoted = String::new();
        quote(description, &mut quoted);
        fact(51, "description", "COS:str", quoted, "What it is for");
    }
    fact(52, "Stopping", "MGP:u32", "0".into(), "1 while it drains");
    let jobs = state.active + state.listeners as u64;
    fact(
        53,
        "Jobs",
        "MGP:u32",
        jobs.to_string(),
        "Streams and listeners",
    );
    fact(
        54,
        "Unstoppable Jobs",
        "MGP:u32",
        "0".into(),
        "Those that a drain waits for in vain",
    );
    fact(
        55,
        "Listeners",
        "MGP:u32",
        state.listeners.to_string(),
        "Listening addresses",
    );
    fact(
        58,
        "DroppedLogs",
        "MGP:u32",
        state.dropped_logs.to_string(),
        "Log lines that were dropped",
    );
    fact(
        61,
        "TotalBytesOut",
        "MGP:u64",
        state.bytes_out.to_string(),
        "Bytes sent, both directions",
    );
    fact(
        66,
        "Build info",
        "POS:str",
        VERSION.into(),
        "Version of the build",
    );
    fact(
        70,
        "Start_time_sec",
        "MDP:u32",
        state.started.as_secs().to_string(),
        "When it started, seconds since 1970",
    );
    facts
}

fn write(facts: &[Fact], format: Format) -> String {
    if format.json {
        return json::fields(facts.iter().map(Fact::field));
    }
    let mut text = String::new();
    for fact in facts {
        // Writing to a text cannot fail.
        let _ = if format.typed {
            write!(
                text,
                "{}.{}.1:{}:{}",
                fact.number, fact.name, fact.tags, fact.value
            )
        } else {
            write!(text, "{}: {}", fact.name, fact.value)
        };
        if format.described {
            let _ = write!(text, ":\"{}\"", fact.says);
        }
        text.push('\n');
    }
    text
}

/// What HAProxy shows per thread; of that only the clock and what was accepted mean something here.
fn activity(api: &Api) -> String {
    let shared = &api.operator.shared;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let accepted: u64 = shared
        .frontends
        .iter()
        .map(|frontend| frontend.counters.connections.get())
        .sum();
    format!(
        "thread_id: 1 (1..{})\ndate_now: {}.{:06}\naccepted: {accepted}\n",
        shared.workers,
        now.as_secs(),
        now.subsec_micros()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(format: Format) -> String {
        let state = State {
            workers: 2,
            process: 77,
            uptime: Duration::from_secs(90_061),
            node: "n".into(),
            description: Some("d, e".into()),
            ..State::default()
        };
        write(&facts(&state), format)
    }

    #[test]
    fn plain_facts() {
        let text = text(Format::default());
        for line in [
            "Name: Underpass",
            "Nbthread: 2",
            "Pid: 77",
            "Uptime: 1d 1h01m01s",
            "Uptime_sec: 90061",
            "node: n",
            "description: \"d, e\"",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in {text}");
        }
        assert!(!text.contains("\n\n"));
    }

    #[test]
    fn typed_and_described_facts() {
        let format = Format {
            typed: true,
            described: true,
            ..Format::default()
        };
        let text = text(format);
        let mut lines = text.lines();
        assert_eq!(
            lines.next(),
            Some("0.Name.1:POS:str:Underpass:\"Name of the product\"")
        );
        assert!(lines.any(|line| line == "6.Pid.1:SGP:u32:77:\"Process id\""));
    }

    #[test]
    fn facts_as_json() {
        let format = Format {
            json: true,
            ..Format::default()
        };
        let text = text(format);
        let pid = "{\"field\":{\"pos\":6,\"name\":\"Pid\"},\"processNum\":1,\"tags\":{\"origin\":\"Status\",\
                   \"nature\":\"Gauge\",\"scope\":\"Process\"},\"value\":{\"type\":\"u32\",\"value\":77}}";
        assert!(text.contains(pid), "{text}");
        assert!(text.starts_with("[{\"field\":{\"pos\":0,") && text.ends_with("}}]\n"));
    }
}
