//! Who serves the next stream of a backend, and who waits: servers' places, and the queues before
//! them. No clock and no task in here: waiters are values that are handed back when it is their
//! turn.
//!
//! Two things hold between any two calls: nobody waits in the backend's queue while a server that
//! takes from it has room, and nobody waits in a server's own queue while that server has room.
//! So a stream that finds room never overtakes one that waits.

mod queue;

#[cfg(test)]
mod tests;

use std::fmt;

use crate::backend::balance::{Algorithm, Ask, Load, SCALE};
use crate::backend::standing::Takes;
use crate::config::model;
use queue::Queue;

/// What a server may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most streams at once; `None`: no limit.
    pub most: Option<u32>,
    /// Most streams at once while the backend is idle, no more than `most`.
    pub least: u32,
    /// Most streams in its own queue; `None`: no limit.
    pub queue: Option<u32>,
}

impl Limits {
    /// As a server's line says; of `maxconn` and `minconn`, one alone stands for both.
    #[must_use]
    pub fn new(server: &model::Server) -> Self {
        let number = |limit: usize| u32::try_from(limit).unwrap_or(u32::MAX);
        let most = match (server.maxconn, server.minconn) {
            (Some(most), Some(least)) => Some(most.max(least)),
            (most, least) => most.or(least),
        };
        Self {
            most: most.map(number),
            least: server.minconn.or(most).map_or(0, number),
            queue: server.maxqueue.map(number),
        }
    }
}

/// A server, as the dispatcher knows it.
#[derive(Debug)]
struct Post<W> {
    limits: Limits,
    backup: bool,
    takes: Takes,
    queue: Queue<W>,
}

impl<W> Post<W> {
    /// Most streams that it may serve while its backend has `members` streams.
    fn limit(&self, members: u32, full: u32) -> u32 {
        let Some(most) = self.limits.most else {
            return u32::MAX;
        };
        let mut limit = u64::from(most);
        if members < full {
            let share = limit * u64::from(members) / u64::from(full);
            limit = share.max(self.limits.least.into());
        }
        if self.takes.warm < 100 {
            limit = (limit * u64::from(self.takes.warm) / 100).max(1);
        }
        u32::try_from(limit).unwrap_or(u32::MAX)
    }

    fn is_dynamic(&self) -> bool {
        self.limits
            .most
            .is_some_and(|most| self.limits.least < most)
    }
}

/// A place in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// The server's own queue, or the backend's.
    server: Option<usize>,
    number: u64,
}

impl Ticket {
    /// The server whose own queue it is.
    #[must_use]
    pub const fn server(self) -> Option<usize> {
        self.server
    }
}

/// What becomes of a stream that needs a server.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict<W> {
    /// This server serves it, from now on.
    Serve(usize, W),
    /// It waits. `before`: how many wait before it in the server's queue and in the backend's.
    Wait {
        /// Its place.
        ticket: Ticket,
        /// How many are before it.
        before: [u32; 2],
    },
    /// No server takes it.
    NoServer,
    /// The queue of the server that it has to go to is full.
    QueueFull(usize),
}

/// What a waiter gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// A server's place.
    Serve(usize),
    /// Its server takes no streams any more: it has to ask again.
    Again,
}

/// A waiter whose turn has come.
#[derive(Debug, PartialEq, Eq)]
pub struct Grant<W> {
    /// The waiter.
    pub waiter: W,
    /// What it gets.
    pub turn: Turn,
}

/// The places and queues of a backend.
pub struct Dispatcher<W> {
    algorithm: Box<dyn Algorithm>,
    posts: Vec<Post<W>>,
    /// What the algorithm sees, by server.
    loads: Vec<Load>,
    queue: Queue<W>,
    /// Streams that are served or wait.
    members: u32,
    /// Members at which limits are at their greatest.
    full: u32,
    all_backups: bool,
    /// Some limit follows the members.
    dynamic: bool,
    /// Tickets so far: queues are one line, whoever came first is first.
    tickets: u64,
}

impl<W> fmt::Debug for Dispatcher<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher")
            .field("algorithm", &self.algorithm)
            .field("loads", &self.loads)
            .field("queued", &self.queue.len())
            .finish_non_exhaustive()
    }
}

/// A server at the start: its limits, whether it is a backup, and what it takes.
pub type Recruit = (Limits, bool, Takes);

impl<W> Dispatcher<W> {
    /// A dispatcher with nobody to serve. `full`: the members at which limits are at their
    /// greatest.
    #[must_use]
    pub fn new(
        algorithm: Box<dyn Algorithm>,
        servers: impl IntoIterator<Item = Recruit>,
        full: u32,
        all_backups: bool,
    ) -> Self {
        let posts: Vec<_> = servers
            .into_iter()
            .map(|(limits, backup, takes)| Post {
                limits,
                backup,
                takes,
                queue: Queue::default(),
            })
            .collect();
        let load = Load {
            weight: 0,
            usable: false,
            served: 0,
            queued: 0,
            limit: 0,
        };
        let mut dispatcher = Self {
            algorithm,
            loads: vec![load; posts.len()],
            dynamic: posts.iter().any(Post::is_dynamic),
            posts,
            queue: Queue::default(),
            members: 0,
            full: full.max(1),
            all_backups,
            tickets: 0,
        };
        dispatcher.regroup();
        dispatcher
    }

    /// Finds a server for a stream. `wanted`: the server that it has to go to, rather than one
    /// that balance chooses. Others' turns may come with the limits that follow the members: see
    /// [`Dispatcher::pump`].
    pub fn assign(&mut self, wanted: Option<usize>, ask: &Ask<'_>, waiter: W) -> Verdict<W> {
        self.members += 1;
        self.relimit();
        let verdict = self.judge(wanted, ask, waiter);
        if matches!(verdict, Verdict::NoServer | Verdict::QueueFull(_)) {
            self.members -= 1;
            self.relimit();
        }
        verdict
    }

    fn judge(&mut self, wanted: Option<usize>, ask: &Ask<'_>, waiter: W) -> Verdict<W> {
        let chosen = match wanted {
            Some(server) if self.posts.get(server).is_none_or(|post| !post.takes.open) => {
                return Verdict::NoServer;
            }
            Some(server) => Some(server),
            // Nobody overtakes those who wait for any server; a stream with a server of its own does
            // not wait for any.
            None if !self.queue.is_empty() && ask.key.is_none() => None,
            None => self.algorithm.choose(&self.loads, ask),
        };
        let Some(server) = chosen else {
            if !self.loads.iter().any(|load| load.usable) {
                return Verdict::NoServer;
            }
            return self.enqueue(None, waiter);
        };
        let post = &self.posts[server];
        if self.has_room(server) && post.queue.is_empty() {
            self.take(server);
            return Verdict::Serve(server, waiter);
        }
        if post
            .limits
            .queue
            .is_some_and(|most| post.queue.len() >= most)
        {
            return Verdict::QueueFull(server);
        }
        self.enqueue(Some(server), waiter)
    }

    fn enqueue(&mut self, server: Option<usize>, waiter: W) -> Verdict<W> {
        let number = self.tickets;
        self.tickets += 1;
        let before = [
            server.map_or(0, |server| self.posts[server].queue.len()),
            self.queue.len(),
        ];
        match server {
            None => self.queue.push(number, waiter),
            Some(server) => {
                self.posts[server].queue.push(number, waiter);
                self.loads[server].queued += 1;
                self.algorithm.changed(server, &self.loads);
            }
        }
        Verdict::Wait {
            ticket: Ticket { server, number },
            before,
        }
    }

    /// Takes a waiter out of its queue; `None` where its turn has come already. Others' turns may
    /// come with the limits that follow the members: see [`Dispatcher::pump`].
    pub fn abandon(&mut self, ticket: Ticket) -> Option<W> {
        let waiter = match ticket.server {
            None => self.queue.remove(ticket.number)?,
            Some(server) => {
                let waiter = self.posts[server].queue.remove(ticket.number)?;
                self.loads[server].queued -= 1;
                self.algorithm.changed(server, &self.loads);
                waiter
            }
        };
        self.members -= 1;
        self.relimit();
        Some(waiter)
    }

    /// A stream has left its server.
    pub fn release(&mut self, server: usize) {
        let load = &mut self.loads[server];
        debug_assert!(load.served > 0, "a place was given back twice");
        load.served = load.served.saturating_sub(1);
        self.members = self.members.saturating_sub(1);
        self.algorithm.changed(server, &self.loads);
        self.relimit();
    }

    /// From now on a server takes this. Whoever waits for one that takes nothing has to ask again.
    pub fn set_takes(&mut self, server: usize, takes: Takes) -> Vec<Grant<W>> {
        self.posts[server].takes = takes;
        let mut grants = Vec::new();
        if !takes.open {
            while let Some(waiter) = self.posts[server].queue.pop() {
                self.members -= 1;
                grants.push(Grant {
                    waiter,
                    turn: Turn::Again,
                });
            }
            self.loads[server].queued = 0;
        }
        self.regroup();
        // Nobody is left to wait for.
        if !self.loads.iter().any(|load| load.usable) {
            while let Some(waiter) = self.queue.pop() {
                self.members -= 1;
                grants.push(Grant {
                    waiter,
                    turn: Turn::Again,
                });
            }
        }
        self.relimit();
        grants
    }

    /// Another limit for a server; `None`: no limit.
    pub fn set_limit(&mut self, server: usize, most: Option<u32>) {
        let limits = &mut self.posts[server].limits;
        limits.most = most;
        limits.least = limits.least.min(most.unwrap_or(0));
        self.dynamic = self.posts.iter().any(Post::is_dynamic);
        self.relimit_all();
    }

    /// The next waiter whose turn has come, until there is none: to be called until then after
    /// everything that may have made room.
    pub fn pump(&mut self) -> Option<Grant<W>> {
        if self.queue.is_empty() && self.loads.iter().all(|load| load.queued == 0) {
            return None;
        }
        for server in 0..self.posts.len() {
            if !self.has_room(server) {
                continue;
            }
            // Who waits for this very server and who waits for any stand in one line.
            let own = self.posts[server].queue.first();
            let any = self.queue.first().filter(|_| {
                let load = &self.loads[server];
                load.usable && load.weight > 0
            });
            let own_first = match (own, any) {
                (None, None) => continue,
                (Some(own), Some(any)) => own < any,
                (own, _) => own.is_some(),
            };
            let waiter = if own_first {
                self.loads[server].queued -= 1;
                self.posts[server].queue.pop()
            } else {
                self.queue.pop()
            };
            if let Some(waiter) = waiter {
                self.take(server);
                return Some(Grant {
                    waiter,
                    turn: Turn::Serve(server),
                });
            }
        }
        None
    }

    /// Streams that wait in the backend's own queue, and in all of its queues.
    #[must_use]
    pub fn queued(&self) -> (u32, u32) {
        let own = self.queue.len();
        let servers: u32 = self.loads.iter().map(|load| load.queued).sum();
        (own, own + servers)
    }

    /// What a server has to do.
    #[must_use]
    pub fn load(&self, server: usize) -> Option<Load> {
        self.loads.get(server).copied()
    }

    /// Servers that balance chooses from now.
    pub fn in_force(&self) -> impl Iterator<Item = usize> + '_ {
        let usable = |(server, load): (usize, &Load)| load.usable.then_some(server);
        self.loads.iter().enumerate().filter_map(usable)
    }

    fn has_room(&self, server: usize) -> bool {
        let load = &self.loads[server];
        self.posts[server].takes.open && load.served < load.limit
    }

    /// One of the members is served by this server now.
    fn take(&mut self, server: usize) {
        self.loads[server].served += 1;
        self.algorithm.changed(server, &self.loads);
    }

    /// Finds out anew which servers balance chooses from: those that are no backups, or without
    /// any of them, backups.
    fn regroup(&mut self) {
        let serves = |post: &&Post<W>| post.takes.weight > 0;
        let main = self.posts.iter().any(|post| !post.backup && serves(&post));
        let first_backup = self
            .posts
            .iter()
            .position(|post| post.backup && serves(&post));
        for (server, (post, load)) in self.posts.iter().zip(&mut self.loads).enumerate() {
            load.weight = post.takes.weight;
            load.usable = serves(&post)
                && if main {
                    !post.backup
                } else {
                    self.all_backups || first_backup == Some(server)
                };
        }
        self.relimit_all();
        self.algorithm.update(&self.loads);
    }

    fn relimit(&mut self) {
        if self.dynamic {
            self.relimit_all();
        }
    }

    fn relimit_all(&mut self) {
        for (post, load) in self.posts.iter().zip(&mut self.loads) {
            load.limit = post.limit(self.members, self.full);
        }
    }
}

/// What a server takes that is simply up.
#[must_use]
pub fn up(weight: u16) -> Takes {
    Takes {
        weight: u32::from(weight) * SCALE,
        open: true,
        warm: 100,
    }
}
