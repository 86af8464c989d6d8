//! The way to a server, without any I/O: what to do next, given what has just happened. It moves
//! the server's side of the stream from INI to EST or CLO, and knows how the stream ends if it
//! does not get there.
//!
//! Whoever drives it does what [`Todo`] says and comes back with what became of it. Times are
//! passed in; every wait has an end, or the client's.

use std::time::{Duration, Instant};

use super::interface::{Move, State, StreamInterface};
use crate::config::model;
use crate::config::model::balance::Algorithm;
use crate::conn::state::ConnState;
use crate::observe::record::Termination;

/// Longest wait before a refused connection is tried again; shorter if the connect timeout is.
const TURN_AROUND: Duration = Duration::from_secs(1);

/// What the configuration says of reaching servers.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// `retries`.
    pub retries: u32,
    /// `option redispatch`: see [`model::Backend::redispatch`].
    pub redispatch: Option<i32>,
    /// `timeout connect`.
    pub connect: Option<Duration>,
    /// `timeout queue`; `None`: as long as a connection may take.
    pub queue: Option<Duration>,
    /// Balance takes turns: it does not matter which server a stream gets.
    pub any_server: bool,
}

impl Manner {
    /// As a backend's section says.
    #[must_use]
    pub fn new(backend: &model::Backend) -> Self {
        Self {
            retries: backend.retries,
            redispatch: backend.redispatch,
            connect: backend.timeouts.connect,
            // Without a limit of its own a queue has the one of connections.
            queue: backend.timeouts.queue.or(backend.timeouts.connect),
            any_server: matches!(
                backend.balance.algorithm,
                Algorithm::RoundRobin | Algorithm::StaticRr | Algorithm::Random { .. }
            ),
        }
    }

    /// Whether retry number `made` goes to another server, by `option redispatch n`: with n > 0
    /// every n-th, with n < 0 those at multiples of retries + 1 + n, which is the last for -1.
    fn redispatches(&self, made: u32) -> bool {
        let Some(n) = self.redispatch else {
            return false;
        };
        let every = if n > 0 {
            n.unsigned_abs()
        } else {
            (self.retries + 1).saturating_sub(n.unsigned_abs())
        };
        every > 0 && made.is_multiple_of(every)
    }
}

/// How the backend is, at a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlook {
    /// Servers that balance chooses from.
    pub servers: usize,
    /// The server that failed is not down.
    pub up: bool,
}

/// What has become of what was to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// This server serves it.
    Assigned(usize),
    /// It waits in a queue.
    Queued,
    /// No server takes it.
    NoServer,
    /// The queue of its server is full.
    QueueFull,
    /// In the queue: its server takes nothing any more.
    SentAway,
    /// The attempt succeeded.
    Connected,
    /// The attempt failed.
    Failed {
        /// How the stream ends if nothing more is tried.
        ending: Termination,
        /// No other attempt would help.
        hopeless: bool,
        /// How the backend is.
        outlook: Outlook,
    },
    /// The time of the wait is over.
    Elapsed,
    /// The client has left.
    ClientLeft,
    /// The client was idle for too long.
    ClientIdle,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Todo {
    /// Find a server.
    Assign {
        /// It has to be this one.
        wanted: Option<usize>,
        /// Not this one, if there is another.
        avoid: Option<usize>,
    },
    /// Wait in the queue, until then at the latest.
    Wait(Option<Instant>),
    /// Connect to the server, until then at the latest.
    Connect(Option<Instant>),
    /// Wait until then, with the server's place.
    Pause(Instant),
    /// Nothing: the server is reached.
    Reached,
    /// Nothing: the stream ends like this.
    Over(Termination),
}

/// One stream's way to a server.
#[derive(Debug, Clone)]
pub struct Pursuit {
    manner: Manner,
    side: StreamInterface,
    /// The server that it has to go to.
    wanted: Option<usize>,
    /// The server that it has, or had last.
    server: Option<usize>,
    /// Retries made.
    made: u32,
    redispatched: bool,
    /// The next attempt goes to whomever balance chooses.
    moving: bool,
}

impl Pursuit {
    /// A way to `wanted`, or to whomever balance chooses.
    #[must_use]
    pub fn new(manner: Manner, wanted: Option<usize>) -> Self {
        Self {
            manner,
            side: StreamInterface::new(),
            wanted,
            server: None,
            made: 0,
            redispatched: false,
            moving: false,
        }
    }

    /// Where the server's side is.
    #[must_use]
    pub const fn state(&self) -> State {
        self.side.state()
    }

    /// The state of the connection, in the states that have one.
    #[must_use]
    pub const fn connection(&self) -> ConnState {
        match self.side.state() {
            State::Con => ConnState::Connecting,
            State::Cer => ConnState::Error,
            State::Est => ConnState::Established,
            _ => ConnState::Closed,
        }
    }

    /// Retries made.
    #[must_use]
    pub const fn retries(&self) -> u32 {
        self.made
    }

    /// Whether it went to another server than it was meant for.
    #[must_use]
    pub const fn redispatched(&self) -> bool {
        self.redispatched
    }

    /// The server's side, at the end of the way.
    #[must_use]
    pub fn into_side(self) -> StreamInterface {
        self.side
    }

    /// Begins.
    pub fn start(&mut self) -> Todo {
        self.side.pass(Move::Request);
        self.look()
    }

    fn look(&self) -> Todo {
        Todo::Assign {
            wanted: self.wanted,
            avoid: self.server.filter(|_| self.wanted.is_none()),
        }
    }

    /// Goes on. What cannot happen now (an attempt that succeeds while there is none) is an error
    /// of the driver's and changes nothing.
    pub fn on(&mut self, event: Event, now: Instant) -> Todo {
        use State::{Con, Que, Req, Tar};
        match (self.side.state(), event) {
            (Req | Que, Event::Assigned(server)) => {
                self.assigned(server);
                self.connect(now)
            }
            (Req, Event::Queued) => {
                self.side.pass(Move::Queue);
                Todo::Wait(self.manner.queue.and_then(|limit| now.checked_add(limit)))
            }
            (Req, Event::NoServer) => self.over(Termination::SERVER_REFUSED),
            (Req, Event::QueueFull) => {
                // Another server has its own queue, where the choice was not balance's.
                if self.wanted.is_some() && self.manner.redispatch.is_some() {
                    self.wanted = None;
                    return self.look();
                }
                self.over(Termination::QUEUE_FULL)
            }
            (Que, Event::SentAway) => {
                self.wanted = None;
                self.side.pass(Move::Redispatch);
                self.look()
            }
            (Que, Event::Elapsed) => self.over(Termination::QUEUE_TIMEOUT),
            (Que, Event::ClientLeft) => self.over(Termination::CLIENT_GONE_QUEUED),
            (Que, Event::ClientIdle) => self.over(Termination::CLIENT_IDLE_QUEUED),
            (Con, Event::Connected) => {
                self.side.pass(Move::Connected);
                Todo::Reached
            }
            (
                Con,
                Event::Failed {
                    ending,
                    hopeless,
                    outlook,
                },
            ) => self.failed(ending, hopeless, outlook, now),
            (Con, Event::ClientLeft) => self.give_up(Termination::CLIENT_GONE_CONNECTING),
            (Con, Event::ClientIdle) => self.give_up(Termination::CLIENT_IDLE_RETRYING),
            (Tar, Event::Elapsed) => self.again(now),
            (Tar, Event::ClientLeft) => self.over(Termination::CLIENT_GONE_CONNECTING),
            (Tar, Event::ClientIdle) => self.over(Termination::CLIENT_IDLE_RETRYING),
            (state, event) => {
                debug_assert!(false, "{event:?} in {state}");
                tracing::error!(%state, ?event, "a stream's way to a server was lost");
                Todo::Over(Termination::INTERNAL_CONNECTING)
            }
        }
    }

    fn assigned(&mut self, server: usize) {
        self.side.pass(Move::Assign);
        self.redispatched |= self.server.is_some_and(|before| before != server);
        self.server = Some(server);
        self.moving = false;
    }

    fn connect(&mut self, now: Instant) -> Todo {
        self.side.pass(Move::Connect);
        Todo::Connect(self.manner.connect.and_then(|limit| now.checked_add(limit)))
    }

    fn failed(
        &mut self,
        ending: Termination,
        hopeless: bool,
        outlook: Outlook,
        now: Instant,
    ) -> Todo {
        self.side.pass(Move::ConnectFailed);
        if hopeless || self.made == self.manner.retries {
            return self.over(ending);
        }
        self.made += 1;
        let indifferent = self.wanted.is_none() && self.manner.any_server && outlook.servers > 1;
        self.moving = self.manner.redispatch.is_some()
            && (!outlook.up || indifferent || self.manner.redispatches(self.made));
        // A connection that timed out has waited already, and another server owes no pause.
        let elsewhere = self.moving && outlook.servers > 1;
        if ending == Termination::CONNECT_TIMEOUT || elsewhere {
            return self.again(now);
        }
        self.side.pass(Move::Pause);
        let connect = self.manner.connect.unwrap_or(TURN_AROUND);
        Todo::Pause(now + connect.min(TURN_AROUND))
    }

    /// Another attempt, at the same server or, where the configuration says so, at another.
    fn again(&mut self, now: Instant) -> Todo {
        if self.moving {
            self.wanted = None;
            self.side.pass(Move::Redispatch);
            return self.look();
        }
        self.side.pass(Move::Retry);
        self.connect(now)
    }

    fn give_up(&mut self, ending: Termination) -> Todo {
        self.side.pass(Move::Disconnect);
        self.over(ending)
    }

    fn over(&mut self, ending: Termination) -> Todo {
        self.side.pass(Move::Close);
        Todo::Over(ending)
    }
}

#[cfg(test)]
mod sim;

#[cfg(test)]
mod tests;
