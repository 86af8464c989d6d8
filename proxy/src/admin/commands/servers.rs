//! What changes servers: `set server`, `enable server`, `disable server`, `set weight`.

use std::net::{IpAddr, SocketAddr};

use super::{Answer, Severity, Words};
use crate::admin::operator::{Change, Operator};
use crate::backend::Server;
use crate::backend::standing::{Admin, Op, Which};
use crate::config::check_host;
use crate::config::model::{ServerAddress, ServerPort};
use crate::stream::living::ServerAt;
use crate::worker::Shared;

/// `backend/server`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    backend: String,
    server: String,
}

/// A change of a server.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Command {
    name: Name,
    what: What,
}

/// What is to change.
#[derive(Debug, Clone, PartialEq)]
enum What {
    Ready,
    Drain,
    Maintenance,
    Weight(Weight),
    Address(IpAddr, Option<Port>),
    Health(Op),
    /// In the place of its agent.
    Agent(Op),
    /// One of its checks is made, or not.
    Checks(Which, bool),
    /// The host that it stands for.
    Host(String),
    /// Most streams; `None`: any number.
    Limit(Option<u32>),
    /// Nothing: this is said, if there is such a server.
    Nothing(Severity, &'static str),
}

/// A weight as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    Absolute(u16),
    /// Percent of the weight of its line.
    Percent(u64),
}

/// A port as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Port {
    Number(u16),
    /// What is none.
    Wrong(String),
}

type Parsed = Result<super::Command, Answer>;

/// The largest weight.
const MAX_WEIGHT: u16 = 256;

/// Who changes addresses, in messages and logs.
const BY: &str = "stats socket command";

/// Reads `backend/server`.
pub(super) fn name(text: &str) -> Result<Name, Answer> {
    match text.split_once('/') {
        Some((backend, server)) if !server.is_empty() => Ok(Name {
            backend: backend.to_owned(),
            server: server.to_owned(),
        }),
        _ => Err(Answer::error("Require 'backend/server'.\n")),
    }
}

fn change(words: &Words, what: What) -> Parsed {
    let name = name(words.get(2))?;
    Ok(super::Command::SetServer(Command { name, what }))
}

pub(super) fn enable(words: &Words) -> Parsed {
    change(words, What::Ready)
}

pub(super) fn disable(words: &Words) -> Parsed {
    change(words, What::Maintenance)
}

/// `enable` or `disable` of `health` or `agent`.
fn checks(words: &Words, enabled: bool) -> Parsed {
    let which = if words.get(1) == "agent" {
        Which::Agent
    } else {
        Which::Server
    };
    change(words, What::Checks(which, enabled))
}

pub(super) fn enable_checks(words: &Words) -> Parsed {
    checks(words, true)
}

pub(super) fn disable_checks(words: &Words) -> Parsed {
    checks(words, false)
}

pub(super) fn set_weight(words: &Words) -> Parsed {
    let name = name(words.get(2))?;
    let what = What::Weight(weight(words.get(3))?);
    Ok(super::Command::SetServer(Command { name, what }))
}

pub(super) fn set_maxconn(words: &Words) -> Parsed {
    let name = name(words.get(3))?;
    let what = What::Limit(limit(words.get(4))?);
    Ok(super::Command::SetServer(Command { name, what }))
}

pub(super) fn set_server(words: &Words) -> Parsed {
    let name = name(words.get(2))?;
    let argument = words.get(4);
    let what = match words.get(3) {
        "state" => match argument {
            "ready" => What::Ready,
            "drain" => What::Drain,
            "maint" => What::Maintenance,
            _ => {
                return Err(Answer::error(
                    "'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n",
                ));
            }
        },
        "weight" => What::Weight(weight(argument)?),
        "addr" => address(words)?,
        "health" => What::Health(match argument {
            "up" => Op::Running,
            "stopping" => Op::Stopping,
            "down" => Op::Stopped,
            _ => {
                return Err(Answer::error(
                    "'set server <srv> health' expects 'up', 'stopping', or 'down'.\n",
                ));
            }
        }),
        "agent" => What::Agent(match argument {
            "up" => Op::Running,
            "down" => Op::Stopped,
            _ => {
                return Err(Answer::error(
                    "'set server <srv> agent' expects 'up' or 'down'.\n",
                ));
            }
        }),
        "agent-send" => What::Nothing(
            Severity::Error,
            "agent checks are not enabled on this server.\n",
        ),
        // HAProxy ends neither of these lines.
        "agent-addr" | "agent-port" => What::Nothing(
            Severity::Warning,
            "agent checks are not enabled on this server",
        ),
        "check-addr" | "check-port" => What::Nothing(
            Severity::Warning,
            "health checks are not enabled on this server",
        ),
        "fqdn" if argument.is_empty() => {
            return Err(Answer::error("set server <b>/<s> fqdn requires a FQDN.\n"));
        }
        "fqdn" => What::Host(argument.to_owned()),
        "ssl" => What::Nothing(
            Severity::Error,
            "'set server <srv> ssl' is known to HAProxy but not available in this version.\n",
        ),
        _ => {
            return Err(Answer::error(
                "usage: set server <backend>/<server> addr | agent | agent-addr | agent-port | agent-send | check-addr | check-port | fqdn | health | ssl | state | weight\n",
            ));
        }
    };
    Ok(super::Command::SetServer(Command { name, what }))
}

fn address(words: &Words) -> Result<What, Answer> {
    let text = words.get(4);
    if text.is_empty() {
        return Err(Answer::error(
            "set server <b>/<s> addr requires an address and optionally a port.\n",
        ));
    }
    let ip = text
        .parse()
        .map_err(|_| Answer::error(format!("Invalid addr '{text}' by '{BY}'\n")))?;
    let port = (words.get(5) == "port").then(|| {
        let text = words.get(6);
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(port) if is_number => Port::Number(port),
            _ => Port::Wrong(text.to_owned()),
        }
    });
    Ok(What::Address(ip, port))
}

fn weight(text: &str) -> Result<Weight, Answer> {
    if text.is_empty() {
        return Err(Answer::error("Require <weight> or <weight%>.\n"));
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let negative = text.starts_with('-');
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = unsigned.split_at(digits);
    if number.is_empty() {
        // HAProxy ends neither of these lines.
        return Err(Answer::error(
            "Empty weight string empty or preceded by garbage",
        ));
    }
    let number: u64 = number.parse().unwrap_or(u64::MAX);
    match rest {
        "%" if negative => Err(Answer::error("Relative weight must be positive.\n")),
        "%" => Ok(Weight::Percent(number)),
        "" => u16::try_from(number)
            .ok()
            .filter(|number| *number <= MAX_WEIGHT && !negative)
            .map(Weight::Absolute)
            .ok_or_else(|| {
                Answer::error("Absolute weight can only be between 0 and 256 inclusive.\n")
            }),
        _ => Err(Answer::error("Trailing garbage in weight string")),
    }
}

/// Reads a limit of streams; 0 is none.
fn limit(text: &str) -> Result<Option<u32>, Answer> {
    if text.is_empty() {
        return Err(Answer::error("Require <maxconn>.\n"));
    }
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return Err(Answer::error("maxconn string empty or preceded by garbage"));
    }
    if digits < unsigned.len() {
        return Err(Answer::error("Trailing garbage in maxconn string"));
    }
    if text.starts_with('-') {
        return Err(Answer::error("Maxconn must be positive.\n"));
    }
    let limit = unsigned.parse().unwrap_or(u32::MAX);
    Ok((limit > 0).then_some(limit))
}

impl Weight {
    /// What it comes to where the line says `first`.
    fn of(self, first: u16) -> u16 {
        match self {
            Self::Absolute(weight) => weight,
            Self::Percent(percent) => {
                let weight = u64::from(first).saturating_mul(percent) / 100;
                u16::try_from(weight).unwrap_or(MAX_WEIGHT).min(MAX_WEIGHT)
            }
        }
    }
}

impl Name {
    /// Where it is.
    ///
    /// # Errors
    /// What is said when there is none.
    pub(super) fn find(&self, shared: &Shared) -> Result<ServerAt, Answer> {
        let backend = shared
            .backends
            .iter()
            .position(|backend| *backend.config.name == *self.backend)
            .ok_or_else(|| Answer::error("No such backend.\n"))?;
        let server = shared.backends[backend]
            .servers
            .iter()
            .position(|server| *server.config.name == *self.server)
            .ok_or_else(|| Answer::error("No such server.\n"))?;
        Ok(ServerAt { backend, server })
    }
}

impl Command {
    pub(super) fn run(self, operator: &Operator) -> Answer {
        let at = match self.name.find(&operator.shared) {
            Ok(at) => at,
            Err(answer) => return answer,
        };
        let Some((backend, server)) = operator.server(at) else {
            return Answer::error("No such server.\n");
        };
        let (change, said) = match self.what {
            What::Ready => (
                admin(Admin::empty(), Admin::FORCED_MAINT | Admin::FORCED_DRAIN),
                None,
            ),
            What::Drain => (admin(Admin::FORCED_DRAIN, Admin::FORCED_MAINT), None),
            What::Maintenance => (admin(Admin::FORCED_MAINT, Admin::FORCED_DRAIN), None),
            What::Weight(weight) => {
                let weight = weight.of(server.config.weight);
                let usual = weight == 0 || weight == server.config.weight;
                if backend.config.balance.is_static() && !usual {
                    return Answer::error(
                        "Backend is using a static LB algorithm and only accepts weights '0%' and '100%'.\n",
                    );
                }
                (Change::Weight(weight), None)
            }
            What::Health(op) => {
                let why = "changed from CLI".to_owned();
                (Change::Op { op, why }, None)
            }
            What::Agent(op) => {
                if server.config.health.agent.is_none() {
                    return Answer::error("agent checks are not enabled on this server.\n");
                }
                let why = "changed from CLI".to_owned();
                (Change::AgentOp { op, why }, None)
            }
            What::Checks(which, enabled) => {
                let health = &server.config.health;
                let (there, lacking) = match which {
                    Which::Server => (
                        health.check.is_some(),
                        "Health checks are not configured on this server, cannot enable.\n",
                    ),
                    Which::Agent => (
                        health.agent.is_some(),
                        "Agent was not configured on this server, cannot enable.\n",
                    ),
                };
                if enabled && !there {
                    return Answer::error(lacking);
                }
                (Change::Checks(which, enabled), None)
            }
            What::Address(ip, port) => match moved(server, ip, port) {
                (Some(to), said) => (Change::Address(to), Some(said)),
                (None, said) => return Answer::Said(Severity::Warning, said),
            },
            What::Host(host) => return rename(operator, at, server, &host),
            What::Limit(most) => {
                backend.set_limit(at.server, most);
                return Answer::Done;
            }
            What::Nothing(severity, said) => return Answer::Said(severity, said.to_owned()),
        };
        operator.change(at, &change);
        match said {
            Some(said) => Answer::Said(Severity::Warning, said),
            None => Answer::Done,
        }
    }
}

/// Has a server stand for another host.
fn rename(operator: &Operator, at: ServerAt, server: &Server, host: &str) -> Answer {
    let naming = &server.config.naming;
    if naming.resolvers.is_none() || naming.host.is_none() {
        return Answer::error(
            "set server <b>/<s> fqdn failed because no resolution is configured.\n",
        );
    }
    if server.srv_record().is_some() {
        return Answer::error(
            "set server <b>/<s> fqdn failed because SRV resolution is configured.\n",
        );
    }
    let before = server.fqdn();
    let before = before.as_deref().unwrap_or("(null)");
    let backend = &operator.shared.backends[at.backend].config.name;
    let name = format!("{backend}/{}", server.config.name);
    let said = if before.eq_ignore_ascii_case(host) {
        format!("no need to change the FDQN by '{BY}'\n")
    } else if check_host(host).is_err() {
        format!("could not update {name} FQDN by '{BY}'\n")
    } else {
        operator.rename(at, host.into());
        format!("{name} changed its FQDN from {before} to {host} by '{BY}'\n")
    };
    Answer::Said(Severity::Warning, said)
}

fn admin(set: Admin, clear: Admin) -> Change {
    let why = String::new();
    Change::Admin { set, clear, why }
}

/// Where a server is to be, if that is elsewhere, and what is said of it.
fn moved(server: &Server, ip: IpAddr, port: Option<Port>) -> (Option<SocketAddr>, String) {
    let ServerAddress::Inet(now) = server.address() else {
        return (None, format!("Invalid addr '{ip}' by '{BY}'\n"));
    };
    let mut to = now;
    let mut said = if now.ip() == ip {
        "no need to change the addr".to_owned()
    } else {
        to.set_ip(ip);
        format!("IP changed from '{}' to '{ip}'", now.ip())
    };
    match port {
        None => {}
        Some(_) if server.config.port != ServerPort::Fixed => {
            said.push_str(", the port follows the client's and cannot be changed in this version");
        }
        Some(Port::Number(port)) if port == now.port() => {
            said.push_str(", no need to change the port");
        }
        Some(Port::Number(port)) => {
            to.set_port(port);
            said.push_str(&format!(", port changed from '{}' to '{port}'", now.port()));
        }
        Some(Port::Wrong(text)) => {
            said.push_str(&format!(", problem converting port '{text}' to an int"));
        }
    }
    said.push_str(&format!(" by '{BY}'\n"));
    ((to != now).then_some(to), said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<What, String> {
        let words = Words::of(line.as_bytes(), None);
        let parsed = match words.get(1) {
            "weight" => set_weight(&words),
            _ => set_server(&words),
        };
        match parsed {
            Ok(super::super::Command::SetServer(command)) => {
                let name = Name {
                    backend: "b".into(),
                    server: "s".into(),
                };
                assert_eq!(command.name, name);
                Ok(command.what)
            }
            Err(Answer::Said(_, text)) => Err(text),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn names_need_both_halves() {
        for wrong in ["", "b", "b/", "set server b"] {
            assert_eq!(
                parse(&format!("set server {wrong}")),
                Err("Require 'backend/server'.\n".into()),
                "{wrong}"
            );
        }
    }

    #[test]
    fn weights() {
        let table = [
            ("7", Ok(Weight::Absolute(7))),
            ("+256", Ok(Weight::Absolute(256))),
            ("0%", Ok(Weight::Percent(0))),
            ("200%", Ok(Weight::Percent(200))),
            (
                "257",
                Err("Absolute weight can only be between 0 and 256 inclusive.\n"),
            ),
            (
                "-1",
                Err("Absolute weight can only be between 0 and 256 inclusive.\n"),
            ),
            (
                "99999999999999999999",
                Err("Absolute weight can only be between 0 and 256 inclusive.\n"),
            ),
            ("-5%", Err("Relative weight must be positive.\n")),
            ("", Err("Require <weight> or <weight%>.\n")),
            ("%", Err("Empty weight string empty or preceded by garbage")),
            ("1x", Err("Trailing garbage in weight string")),
            ("5%x", Err("Trailing garbage in weight string")),
        ];
        for (text, expected) in table {
            let expected = expected.map(What::Weight).map_err(str::to_owned);
            assert_eq!(parse(&format!("set weight b/s {text}")), expected, "{text}");
        }
        assert_eq!(Weight::Percent(50).of(10), 5);
        assert_eq!(Weight::Percent(u64::MAX).of(10), 256);
        assert_eq!(Weight::Absolute(3).of(10), 3);
    }

    #[test]
    fn limits() {
        assert_eq!(limit("5").unwrap(), Some(5));
        assert_eq!(limit("0").unwrap(), None);
        for (text, expected) in [
            ("", "Require <maxconn>.\n"),
            ("abc", "maxconn string empty or preceded by garbage"),
            ("5x", "Trailing garbage in maxconn string"),
            ("-5", "Maxconn must be positive.\n"),
        ] {
            assert!(
                matches!(limit(text), Err(Answer::Said(_, said)) if said == expected),
                "{text}"
            );
        }
    }

    #[test]
    fn states_and_health() {
        assert_eq!(parse("set server b/s state drain"), Ok(What::Drain));
        assert_eq!(
            parse("set server b/s health down"),
            Ok(What::Health(Op::Stopped))
        );
        assert!(
            parse("set server b/s state")
                .unwrap_err()
                .contains("'ready', 'drain'")
        );
        assert!(
            parse("set server b/s health x")
                .unwrap_err()
                .contains("'up', 'stopping'")
        );
        assert!(
            parse("set server b/s x")
                .unwrap_err()
                .starts_with("usage: set server ")
        );
    }

    #[test]
    fn addresses() {
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let table = [
            ("192.0.2.1", None),
            ("192.0.2.1 port 80", Some(Port::Number(80))),
            ("192.0.2.1 port", Some(Port::Wrong(String::new()))),
            ("192.0.2.1 port +3", Some(Port::Wrong("+3".into()))),
            ("192.0.2.1 port 99999", Some(Port::Wrong("99999".into()))),
            ("192.0.2.1 other 80", None),
        ];
        for (text, port) in table {
            let parsed = parse(&format!("set server b/s addr {text}"));
            assert_eq!(parsed, Ok(What::Address(ip, port)), "{text}");
        }
        assert_eq!(
            parse("set server b/s addr x:1"),
            Err("Invalid addr 'x:1' by 'stats socket command'\n".into())
        );
    }
}
