//! What rules have made of a connection so far: the addresses they see, the entries they track, the
//! variables they set.

use std::cell::RefCell;
use std::net::SocketAddr;

use super::action::{Action, Gpc, Operand, Part};
use super::cast;
use super::sample::{Kind, Value};
use super::scene::{Millis, Scene};
use super::table::Tracked;
use super::vars::Vars;
use crate::observe::record::{Endpoint, LogLevel};

/// What rules have made of a connection so far. It goes from the connection's handlers to its
/// stream, and what it tracks is given back when it is dropped.
#[derive(Debug)]
pub struct Session {
    /// The source that rules, logs and headers see.
    pub source: Endpoint,
    /// What a PROXY header or `set-dst` made of the destination; `None`: it is the socket's.
    pub destination: Option<SocketAddr>,
    /// The entries that `track-sc0` to `track-sc2` hold.
    pub tracked: [Option<Tracked>; 3],
    /// Variables.
    pub vars: RefCell<Vars>,
    /// `set-log-level`.
    pub log_level: LogLevel,
}

/// What an action asks of the connection's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketEffect {
    /// `SO_MARK`.
    Mark(u32),
    /// `IP_TOS` or `IPV6_TCLASS`.
    Tos(u8),
    /// A PROXY header comes first.
    ExpectProxy,
}

impl Session {
    /// A connection that no rule has seen.
    #[must_use]
    pub fn new(source: Endpoint) -> Self {
        Self {
            source,
            destination: None,
            tracked: [None, None, None],
            vars: RefCell::default(),
            log_level: LogLevel::default(),
        }
    }

    /// The source's IP address and port.
    #[must_use]
    pub fn source_address(&self) -> Option<SocketAddr> {
        match self.source {
            Endpoint::Inet(address) => Some(address),
            Endpoint::Unix => None,
        }
    }

    /// The connection has become a session: what is tracked counts it.
    pub fn begin(&self, now: Millis) {
        for entry in self.tracked.iter().flatten() {
            entry.started_session(now);
        }
    }

    /// What is tracked, as a scene shows it.
    #[must_use]
    pub fn tracked(&self) -> [Option<&Tracked>; 3] {
        self.tracked.each_ref().map(Option::as_ref)
    }

    /// The values that an action needs, looked up while the scene can still see the session. Actions on
    /// variables are carried out by it.
    #[must_use]
    pub fn prepare(action: &Action, scene: &Scene<'_>) -> Prepared {
        match action {
            // The first one that is tracked stays, and no other is counted.
            Action::Track { slot, .. } if scene.tracked[*slot].is_some() => Prepared::Nothing,
            Action::Track { key, table, .. } => {
                let table = scene.tables.get(*table);
                key.evaluate(scene)
                    .value()
                    .and_then(|value| table.key(value))
                    .and_then(|key| table.track(&key, scene.now))
                    .map_or(Prepared::Nothing, Prepared::Entry)
            }
            Action::SetTag { value, .. } => match value {
                Operand::Number(number) => Prepared::Number(i64::from(*number)),
                Operand::Expr(expr) => expr
                    .evaluate(scene)
                    .value()
                    .and_then(|value| cast::cast(value, Kind::Int, scene.arena))
                    .map_or(Prepared::Nothing, |value| match value {
                        Value::Int(number) => Prepared::Number(number),
                        _ => Prepared::Nothing,
                    }),
            },
            Action::SetAddress { part, value } => {
                let wanted = match part {
                    Part::Source | Part::Destination => Kind::Address,
                    Part::SourcePort | Part::DestinationPort => Kind::Int,
                };
                let old = match part {
                    Part::Source | Part::SourcePort => scene.source,
                    Part::Destination | Part::DestinationPort => scene.destination(),
                };
                value
                    .evaluate(scene)
                    .value()
                    .and_then(|value| cast::cast(value, wanted, scene.arena))
                    .and_then(|value| changed(old, value))
                    .map_or(Prepared::Nothing, Prepared::Address)
            }
            Action::SetVar { id, value } => {
                if let Some(value) = value.evaluate(scene).value() {
                    scene.vars.set(*id, value);
                }
                Prepared::Nothing
            }
            Action::UnsetVar(id) => {
                scene.vars.unset(*id);
                Prepared::Nothing
            }
            _ => Prepared::Nothing,
        }
    }

    /// Carries an action out. What concerns the socket is given back.
    pub fn apply(
        &mut self,
        action: &Action,
        prepared: Prepared,
        now: Millis,
    ) -> Option<SocketEffect> {
        match (action, prepared) {
            (Action::Track { slot, .. }, Prepared::Entry(entry)) => {
                self.tracked[*slot].get_or_insert(entry);
            }
            (Action::Increment { slot, counter }, _) => {
                if let Some(entry) = &self.tracked[*slot] {
                    match counter {
                        Gpc::Zero => entry.inc_gpc0(now),
                        Gpc::One => entry.inc_gpc1(now),
                    };
                }
            }
            (Action::SetTag { slot, .. }, Prepared::Number(number)) => {
                if let Some(entry) = &self.tracked[*slot] {
                    entry.set_gpt0(u32::try_from(number).unwrap_or(u32::MAX), now);
                }
            }
            (Action::SetAddress { part, .. }, Prepared::Address(address)) => match part {
                Part::Source | Part::SourcePort => self.source = Endpoint::Inet(address),
                Part::Destination | Part::DestinationPort => self.destination = Some(address),
            },
            (Action::SetMark(mark), _) => return Some(SocketEffect::Mark(*mark)),
            (Action::SetTos(tos), _) => return Some(SocketEffect::Tos(*tos)),
            (Action::ExpectProxy, _) => return Some(SocketEffect::ExpectProxy),
            (Action::SetLogLevel(level), _) => {
                self.log_level = level.map_or(LogLevel::Silent, LogLevel::Level);
            }
            _ => {}
        }
        None
    }
}

/// An address of which `value` replaces the IP address or, if it is a number, the port; an address
/// that was none has no port (0).
fn changed(old: Option<SocketAddr>, value: Value<'_>) -> Option<SocketAddr> {
    let port = old.map_or(0, |old| old.port());
    match value {
        Value::Ipv4(ip) => Some(SocketAddr::new(ip.into(), port)),
        Value::Ipv6(ip) => Some(SocketAddr::new(ip.into(), port)),
        Value::Int(port) => {
            let mut address = old?;
            address.set_port(u16::try_from(port).ok()?);
            Some(address)
        }
        _ => None,
    }
}

/// The values that an action needs.
#[derive(Debug)]
pub enum Prepared {
    /// None, or there was none.
    Nothing,
    /// An entry to track.
    Entry(Tracked),
    /// A number.
    Number(i64),
    /// The whole new address.
    Address(SocketAddr),
}
