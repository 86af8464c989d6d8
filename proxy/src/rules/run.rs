//! Evaluates a list of rules for a session, as far as what has come allows.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use bumpalo::Bump;

use super::action::Ruling;
use super::ruleset::{Progress, Rule, Step, step};
use super::scene::{Census, ClientTcp, Millis, Payload, Place, Scene};
use super::session::{Session, SocketEffect};
use super::table::Tables;
use super::vars::{ProcessVars, Variables};
use crate::conn::data::ssl::SslSock;
use crate::handshake::proxy_protocol::Header;

/// What every evaluation on a worker has.
#[derive(Debug)]
pub struct Scratch {
    /// Memory for values that converters make. It is kept, so that a worker that has evaluated its
    /// rules once allocates nothing for the next connection.
    arena: RefCell<Bump>,
    random: Cell<u64>,
}

impl Scratch {
    /// Scratch memory whose random numbers begin at `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            arena: RefCell::default(),
            random: Cell::new(seed | 1),
        }
    }

    /// The next number of a 64-bit linear congruential generator (Knuth's MMIX constants), its
    /// weak low bits mixed with the high ones.
    pub fn random(&self) -> u64 {
        let state = self
            .random
            .get()
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.random.set(state);
        state ^ (state >> 32)
    }
}

/// What does not change while a connection's rules are evaluated.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    /// Scratch memory of the worker.
    pub scratch: &'a Scratch,
    /// The time.
    pub now: Millis,
    /// The frontend.
    pub frontend: Place<'a>,
    /// The `id` and `name` of the listening address.
    pub listener: (u32, &'a str),
    /// The stick tables.
    pub tables: &'a Tables,
    /// The variables of the process.
    pub vars: &'a ProcessVars,
    /// The running proxy's counts.
    pub census: &'a dyn Census,
}

/// What there is to look at besides, depending on where rules are evaluated.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sight<'a> {
    /// See [`Scene::last_look`].
    pub last_look: bool,
    /// TCP's state of the client's connection.
    pub client_tcp: Option<&'a dyn ClientTcp>,
    /// The PROXY header that came in.
    pub proxy: Option<&'a Header>,
    /// The client's TLS session.
    pub tls: Option<&'a SslSock>,
    /// The backend, once chosen.
    pub backend: Option<Place<'a>>,
    /// The server, once chosen.
    pub server: Option<Place<'a>>,
    /// What the client sent.
    pub request: Option<Payload<'a>>,
    /// What the server sent.
    pub response: Option<Payload<'a>>,
}

/// How far an evaluation got.
#[derive(Debug)]
pub enum Reached<'r> {
    /// It is over; the rule that ended it, if one did.
    Ruling(Ruling, Option<&'r Rule>),
    /// More input may decide the next rule.
    Waits,
}

impl<'a> Setting<'a> {
    /// What rules see of `session` at this moment, in `arena`.
    #[must_use]
    pub fn scene<'s>(&'s self, session: &'s Session, sight: Sight<'s>, arena: &'s Bump) -> Scene<'s>
    where
        'a: 's,
    {
        Scene {
            now: self.now,
            arena,
            random: self.scratch.random(),
            last_look: sight.last_look,
            source: session.source_address(),
            new_destination: session.destination,
            client_tcp: sight.client_tcp,
            frontend: self.frontend,
            listener: self.listener,
            proxy: sight.proxy,
            tls: sight.tls,
            backend: sight.backend,
            server: sight.server,
            request: sight.request,
            response: sight.response,
            tracked: session.tracked(),
            tables: self.tables,
            vars: Variables::new(&session.vars, self.vars),
            census: self.census,
        }
    }

    /// Looks at `session` once.
    pub fn look<T>(
        &self,
        session: &Session,
        sight: Sight<'_>,
        look: impl FnOnce(&Scene<'_>) -> T,
    ) -> T {
        // Nothing that is looked at evaluates rules of its own, so the arena is free here.
        let mut arena = self.scratch.arena.borrow_mut();
        let seen = look(&self.scene(session, sight, &arena));
        arena.reset();
        seen
    }

    /// Evaluates `rules` from `progress` on and carries out what they do to the session; what
    /// concerns the socket goes to `effect`.
    pub fn run<'r>(
        &self,
        rules: &'r [Arc<Rule>],
        progress: &mut Progress,
        session: &mut Session,
        sight: Sight<'_>,
        mut effect: impl FnMut(SocketEffect),
    ) -> Reached<'r> {
        loop {
            let next = self.look(session, sight, |scene| match step(rules, progress, scene) {
                Step::Done(ruling, rule) => Err(Reached::Ruling(ruling, rule)),
                Step::Wait => Err(Reached::Waits),
                Step::Do(rule) => Ok((rule, Session::prepare(&rule.action, scene))),
            });
            match next {
                Err(reached) => return reached,
                Ok((rule, prepared)) => {
                    if let Some(asked) = session.apply(&rule.action, prepared, self.now) {
                        effect(asked);
                    }
                }
            }
        }
    }
}
