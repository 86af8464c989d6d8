//! TCP_RULES: `tcp-request connection`, before anything is read, and `tcp-request session`, once the
//! handshakes are done.

use std::net::SocketAddr;
use std::sync::Arc;

use super::incoming::{Entrance, Incoming};
use super::{Handlers, Outcome};
use crate::config::model::rules::FrontRules;
use crate::conn::Connection;
use crate::rules::action::Ruling;
use crate::rules::ruleset::{Progress, Rule};
use crate::rules::run::{Reached, Setting, Sight};
use crate::rules::scene::ClientTcp;
use crate::rules::session::SocketEffect;
use crate::sys::{socket, tcp};

/// The rules of a place and what they are evaluated with.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Those of the frontend.
    pub front: &'a FrontRules,
    /// What does not change meanwhile.
    pub setting: Setting<'a>,
}

impl ClientTcp for Connection {
    fn info(&self) -> Option<tcp::Info> {
        tcp::info(self.fd()).ok()
    }

    fn local_address(&self) -> Option<SocketAddr> {
        socket2::SockRef::from(&self.fd())
            .local_addr()
            .ok()?
            .as_socket()
    }
}

/// Asks the rules that see the connection alone.
pub(super) fn connection(entrance: &Entrance<'_>, incoming: &mut Incoming) -> Outcome {
    let Some(rules) = entrance.rules else {
        return Outcome::DONE;
    };
    ask(&rules.setting, &rules.front.connection, incoming)
}

/// Asks the rules that see what the handshakes brought.
pub(super) fn session(entrance: &Entrance<'_>, incoming: &mut Incoming) -> Outcome {
    let Some(rules) = entrance.rules else {
        return Outcome::DONE;
    };
    let outcome = ask(&rules.setting, &rules.front.session, incoming);
    if matches!(outcome, Outcome::Done(_)) {
        incoming.session.begin(rules.setting.now);
    }
    outcome
}

fn ask(setting: &Setting<'_>, rules: &[Arc<Rule>], incoming: &mut Incoming) -> Outcome {
    let mut owed = Handlers::empty();
    if rules.is_empty() {
        return Outcome::Done(owed);
    }
    let Incoming {
        connection,
        session,
        proxy,
        ..
    } = incoming;
    let sight = Sight {
        last_look: true,
        client_tcp: Some(connection),
        proxy: proxy.as_deref(),
        tls: connection.ssl(),
        ..Sight::default()
    };
    let reached = setting.run(rules, &mut Progress::default(), session, sight, |effect| {
        if !carry_out(connection, effect) {
            owed |= Handlers::ACCEPT_PROXY;
        }
    });
    match reached {
        // At a last look nothing is waited for: what is not known by now does not hold.
        Reached::Ruling(Ruling::Accept | Ruling::Close, _) | Reached::Waits => Outcome::Done(owed),
        Reached::Ruling(refused, _) => Outcome::Denied(refused),
    }
}

/// Does what a rule asks of the socket; false: it asks for a header instead.
pub(crate) fn carry_out(connection: &Connection, effect: SocketEffect) -> bool {
    let done = match effect {
        SocketEffect::Mark(mark) => socket::set_mark(connection.fd(), mark),
        SocketEffect::Tos(tos) => socket::set_tos(connection.fd(), tos),
        SocketEffect::ExpectProxy => return false,
    };
    if let Err(error) = done {
        tracing::debug!(%error, ?effect, "a socket refused what a rule asked for");
    }
    true
}
