//! What is said of servers: `show servers state`, `show servers conn`, `get weight`.

use std::sync::Arc;

use super::servers::{self, Name};
use super::{Answer, Words};
use crate::backend::standing::{Admin, Op};
use crate::backend::{Backend, Server};
use crate::config::model::{ServerAddress, ServerPort};
use crate::worker::Shared;

/// A command that shows servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// `show servers state`, of one backend or all
    State(Option<String>),
    /// `show servers conn`, likewise
    Conn(Option<String>),
    /// `get weight`
    Weight(Name),
}

type Parsed = Result<super::Command, Answer>;

const STATE_HEADER: &str = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port\n";

fn backend(words: &Words) -> Option<String> {
    Some(words.get(3).to_owned()).filter(|name| !name.is_empty())
}

pub(super) fn state(words: &Words) -> Parsed {
    Ok(super::Command::ShowServers(Command::State(backend(words))))
}

pub(super) fn conn(words: &Words) -> Parsed {
    Ok(super::Command::ShowServers(Command::Conn(backend(words))))
}

pub(super) fn get_weight(words: &Words) -> Parsed {
    let name = servers::name(words.get(2))?;
    Ok(super::Command::ShowServers(Command::Weight(name)))
}

impl Command {
    pub(super) fn run(self, shared: &Shared) -> Answer {
        match self {
            Self::State(name) => {
                let now = shared.clock.now().0;
                each(
                    shared,
                    name.as_deref(),
                    STATE_HEADER.to_owned(),
                    |backend, server| state_line(backend, server, now),
                )
            }
            Self::Conn(name) => {
                let threads = shared.workers;
                let header = format!(
                    "# bkname/svname bkid/svid addr port - purge_delay used_cur used_max need_est unsafe_nb safe_nb idle_lim idle_cur idle_per_thr[{threads}]\n"
                );
                each(shared, name.as_deref(), header, |backend, server| {
                    conn_line(backend, server, threads)
                })
            }
            Self::Weight(name) => match name.find(shared) {
                Ok(at) => {
                    let standing = shared.backends[at.backend].servers[at.server].standing();
                    Answer::Dump(format!(
                        "{} (initial {})\n",
                        standing.weight, standing.first_weight
                    ))
                }
                Err(answer) => answer,
            },
        }
    }
}

/// A line for each server of a backend, or of all.
fn each(
    shared: &Shared,
    name: Option<&str>,
    header: String,
    line: impl Fn(&Backend, &Server) -> String,
) -> Answer {
    let mut text = header;
    let is_meant = |backend: &&Arc<Backend>| name.is_none_or(|name| *backend.config.name == *name);
    let mut found = false;
    for backend in shared.backends.iter().filter(is_meant) {
        found = true;
        if !backend.config.disabled {
            for server in &backend.servers {
                text.push_str(&line(backend, server));
            }
        }
    }
    if name.is_some() && !found {
        return Answer::error("Can't find backend.\n");
    }
    Answer::Dump(text)
}

/// Address and port in columns of their own; what has none has a dash and 0.
fn place(server: &Server) -> (String, u16) {
    match server.address() {
        ServerAddress::Inet(address) => (address.ip().to_string(), address.port()),
        _ => ("-".to_owned(), 0),
    }
}

fn state_line(backend: &Backend, server: &Server, now: u64) -> String {
    let standing = server.standing();
    let maintained = standing.admin.intersects(Admin::MAINT);
    let op = if maintained { Op::Stopped } else { standing.op };
    let (address, port) = place(server);
    // As HAProxy says of servers without checks: status 1 (none), result 0 (none), health as if
    // they had just come up, or none and checks paused where the line says `disabled`.
    let (status, result, health, checking) = match &standing.check {
        Some(check) => (
            check.verdict.status as u8,
            check.result(),
            check.meter.health(),
            // The last bit that is told is that of a pause.
            check.state() & 0x0f,
        ),
        None if server.config.disabled => (1, 0, 0, 8),
        None => (1, 0, 2, 0),
    };
    let agent = standing
        .agent
        .as_ref()
        .map_or(0, |agent| agent.state() & 0x1f);
    let name = |name: Option<Arc<str>>| name.unwrap_or_else(|| "-".into());
    format!(
        "{} {} {} {} {address} {} {} {} {} {} {status} {result} {health} {checking} {agent} {} {} {} {port} {} {} 0 - - 0\n",
        backend.config.number,
        backend.config.name,
        server.id,
        server.config.name,
        op as u8,
        standing.admin.bits(),
        standing.weight,
        standing.first_weight,
        now.saturating_sub(standing.changed.0) / 1000,
        u8::from(backend.config.id.is_some()),
        u8::from(server.config.id.is_some()),
        name(server.fqdn()),
        name(server.srv_record()),
        u8::from(server.tls.is_some()),
    )
}

fn conn_line(backend: &Backend, server: &Server, threads: usize) -> String {
    let (address, port) = place(server);
    let used = server.active.get();
    // No connection is kept idle: their delay is HAProxy's default, their numbers are 0.
    format!(
        "{}/{} {}/{} {address} {port} - 5000 {used} {} {used} 0 0 -1 0{}\n",
        backend.config.name,
        server.config.name,
        backend.config.number,
        server.id,
        server.counters.sessions_max.get(),
        " 0".repeat(threads),
    )
}

/// An address as statistics write it.
pub(crate) fn address_text(server: &Server) -> String {
    match server.address() {
        ServerAddress::Inet(address) => match server.config.port {
            ServerPort::Offset(offset) => format!("{}:{offset:+}", bracketed(&address.ip())),
            _ => address.to_string(),
        },
        ServerAddress::Unix(_) | ServerAddress::Abstract(_) => "unix".to_owned(),
        ServerAddress::Remote(remote) => remote.target.to_string(),
        ServerAddress::Asked => String::new(),
    }
}

fn bracketed(ip: &std::net::IpAddr) -> String {
    if ip.is_ipv6() {
        format!("[{ip}]")
    } else {
        ip.to_string()
    }
}
