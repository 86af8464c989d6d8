//! Whether a server takes streams, and why not: its operational state, which checks change, and
//! its administrative one, which people and configurations change. A plain machine: it is told
//! what happens and when, and says what follows.

pub mod probe;

#[cfg(test)]
mod tests;

use bitflags::bitflags;

use super::balance::SCALE;
use crate::backend::health::status::{Outcome, Status, Verdict};
use crate::config::model;
use crate::config::model::check::OnError;
use crate::rules::scene::Millis;
use probe::Probe;

bitflags! {
    /// Why a server is in maintenance or drained. Bits and their values are HAProxy's.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Admin: u8 {
        /// Maintenance by request.
        const FORCED_MAINT = 0x01;
        /// Maintenance of the server that it tracks.
        const INHERITED_MAINT = 0x02;
        /// `disabled` on its line: why there was [`Admin::FORCED_MAINT`] at the start.
        const CONFIG_MAINT = 0x04;
        /// Drained by request.
        const FORCED_DRAIN = 0x08;
        /// The server that it tracks is drained.
        const INHERITED_DRAIN = 0x10;
        /// Its name has no address.
        const RESOLVER_MAINT = 0x20;
        /// Its name was changed at run time; no maintenance by itself.
        const NAME_MAINT = 0x40;
    }
}

impl Admin {
    /// Whatever keeps it from serving at all.
    pub const MAINT: Self = Self::FORCED_MAINT
        .union(Self::INHERITED_MAINT)
        .union(Self::RESOLVER_MAINT);
    /// Whatever keeps new streams away.
    pub const DRAIN: Self = Self::FORCED_DRAIN.union(Self::INHERITED_DRAIN);
}

/// The operational state. The numbers are HAProxy's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Op {
    /// It is down.
    Stopped = 0,
    /// It came up, and warms up.
    Starting = 1,
    /// It is up.
    #[default]
    Running = 2,
    /// It is up, and wants no new streams.
    Stopping = 3,
}

/// What a server takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Takes {
    /// Its weight for balance, in sixteenths; 0: no new streams.
    pub weight: u32,
    /// Whether streams that have to go there may.
    pub open: bool,
    /// How warm it is, percent: its limit of streams follows.
    pub warm: u8,
}

/// What a server is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// To be up, down or about to leave. Up is [`Op::Running`], also where it has to warm up first.
    Op(Op),
    /// One more reason for maintenance or drain.
    Set(Admin),
    /// One less.
    Clear(Admin),
}

/// What a server's state comes to, for those who read logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// It is down; `was_stopping`: nobody was sent there any more.
    Down {
        /// It was stopping or drained.
        was_stopping: bool,
    },
    /// It is about to leave.
    Stopping,
    /// It is up.
    Up,
    /// It was up, and is in maintenance.
    EntersMaint {
        /// It was stopping or drained.
        was_stopping: bool,
    },
    /// It was down, and is in maintenance.
    DownEntersMaint,
    /// This reason for maintenance was the last one.
    LeavesMaint(Admin),
    /// This reason for maintenance is gone, and there are others.
    RemainsMaint(Admin),
    /// It is drained.
    EntersDrain,
    /// It is not drained any more.
    LeavesDrain,
    /// It is still drained.
    RemainsDrain,
}

/// What follows from an order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Effects {
    /// Something is different.
    pub changed: bool,
    /// What to say, in order.
    pub news: Vec<News>,
    /// Its streams end.
    pub ends_streams: bool,
    /// The streams of the backend's backup servers end.
    pub ends_backup_streams: bool,
    /// It begins to warm up.
    pub warms_up: bool,
    /// It went down.
    pub went_down: bool,
    /// What the servers that track it are told.
    pub follow: Option<Order>,
}

/// What follows from a check.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Finding {
    /// It is worth a line where checks are logged.
    pub told: bool,
    /// It counts as a failed check.
    pub counts: bool,
    /// What the server is told.
    pub order: Option<Order>,
}

/// Which of a server's two checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Which {
    /// Of the server itself.
    Server,
    /// Of its agent.
    Agent,
}

/// A server's state.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The operational state.
    pub op: Op,
    /// The administrative state.
    pub admin: Admin,
    /// The weight in force, 0 to 256.
    pub weight: u16,
    /// The weight of its line.
    pub first_weight: u16,
    /// When the operational or administrative state last changed.
    pub changed: Millis,
    /// How long it was down, milliseconds, until it last came up.
    pub down_before: u64,
    /// `check`.
    pub check: Option<Probe>,
    /// `agent-check`.
    pub agent: Option<Probe>,
    /// How long it warms up, milliseconds; 0: not at all.
    slow_start: u64,
    /// How long it has warmed up, milliseconds.
    warmed: u64,
    ends_streams: bool,
    ends_backup_streams: bool,
}

impl Standing {
    /// As its line says.
    #[must_use]
    pub fn new(config: &model::Server) -> Self {
        let health = &config.health;
        let mut admin = Admin::empty();
        if config.disabled {
            admin |= Admin::FORCED_MAINT | Admin::CONFIG_MAINT;
        }
        if health.track.as_ref().is_some_and(|track| track.disabled) {
            admin |= Admin::INHERITED_MAINT;
        }
        admin.set(Admin::RESOLVER_MAINT, config.naming.unresolved);
        let slow_start = health.slow_start.unwrap_or_default().as_millis();
        let mut standing = Self {
            op: Op::Running,
            admin,
            weight: config.weight,
            first_weight: config.weight,
            changed: Millis(0),
            down_before: 0,
            check: health.check.as_ref().map(Probe::of_server),
            agent: health.agent.as_ref().map(Probe::of_agent),
            slow_start: u64::try_from(slow_start).unwrap_or(u64::MAX),
            warmed: 0,
            ends_streams: health.ends_streams,
            ends_backup_streams: health.ends_backup_streams && !config.backup,
        };
        if standing.is_in_maintenance() {
            standing.op = Op::Stopped;
            standing.pause(true);
            standing.overrule(Which::Server, Op::Stopped);
        }
        standing
    }

    /// What it takes now.
    #[must_use]
    pub fn takes(&self) -> Takes {
        let open = self.op != Op::Stopped && !self.is_in_maintenance();
        let new = open && self.op != Op::Stopping && !self.is_drained();
        // From one sixteenth on, in as many steps as there are.
        let (share, warm) = if self.op == Op::Starting && self.slow_start > 0 {
            let warmed = self.warmed.min(self.slow_start);
            let share = 1 + u64::from(SCALE) * warmed / self.slow_start;
            (share.min(u64::from(SCALE)), 100 * warmed / self.slow_start)
        } else {
            (u64::from(SCALE), 100)
        };
        Takes {
            weight: if new {
                u32::from(self.weight) * u32::try_from(share).unwrap_or(SCALE)
            } else {
                0
            },
            open,
            warm: u8::try_from(warm).unwrap_or(100),
        }
    }

    /// Whether it is in maintenance.
    #[must_use]
    pub fn is_in_maintenance(&self) -> bool {
        self.admin.intersects(Admin::MAINT)
    }

    /// Whether it is drained.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.admin.intersects(Admin::DRAIN)
    }

    /// How long it has been down, milliseconds.
    #[must_use]
    pub fn downtime(&self, now: Millis) -> u64 {
        let current = if self.op == Op::Stopped {
            since(self.changed, now)
        } else {
            0
        };
        self.down_before + current
    }

    /// One of its checks.
    #[must_use]
    pub fn probe(&self, which: Which) -> Option<&Probe> {
        match which {
            Which::Server => self.check.as_ref(),
            Which::Agent => self.agent.as_ref(),
        }
    }

    /// One of its checks, to be changed.
    pub fn probe_mut(&mut self, which: Which) -> Option<&mut Probe> {
        match which {
            Which::Server => self.check.as_mut(),
            Which::Agent => self.agent.as_mut(),
        }
    }

    /// Obeys. `leader`: the operational state of the server that it tracks.
    pub fn obey(&mut self, order: Order, now: Millis, leader: Option<Op>) -> Effects {
        let mut effects = Effects::default();
        match order {
            Order::Op(op) => self.turn(op, now, &mut effects),
            Order::Set(flag) => self.set(flag, now, &mut effects),
            Order::Clear(flag) => self.clear(flag, now, leader, &mut effects),
        }
        effects
    }

    fn turn(&mut self, op: Op, now: Millis, effects: &mut Effects) {
        let is_up = matches!(self.op, Op::Starting | Op::Running);
        let already = match op {
            Op::Stopped | Op::Stopping => self.op == op,
            Op::Starting | Op::Running => is_up,
        };
        if already || self.is_in_maintenance() {
            return;
        }
        effects.changed = true;
        self.stamp(now);
        match op {
            Op::Stopped => {
                let was_stopping = self.was_stopping();
                self.op = op;
                effects.news.push(News::Down { was_stopping });
                self.go_down(effects);
            }
            Op::Stopping => {
                self.op = op;
                effects.news.push(News::Stopping);
            }
            Op::Starting | Op::Running => {
                self.come_up(effects);
                effects.news.push(News::Up);
            }
        }
        if self.is_drained() {
            effects.news.push(News::RemainsDrain);
        }
        effects.follow = Some(Order::Op(op));
    }

    /// Whether nobody is sent there any more, though it is up.
    fn was_stopping(&self) -> bool {
        self.op == Op::Stopping || self.is_drained()
    }

    fn go_down(&mut self, effects: &mut Effects) {
        effects.went_down = true;
        effects.ends_streams = self.ends_streams;
    }

    /// Something changes now: counts the time that it was down until then.
    fn stamp(&mut self, now: Millis) {
        if self.op == Op::Stopped {
            self.down_before += since(self.changed, now);
        }
        self.changed = now;
    }

    fn come_up(&mut self, effects: &mut Effects) {
        self.warmed = 0;
        effects.warms_up = self.slow_start > 0;
        self.op = if effects.warms_up {
            Op::Starting
        } else {
            Op::Running
        };
        effects.ends_backup_streams = self.ends_backup_streams && self.weight > 0;
    }

    fn set(&mut self, flag: Admin, now: Millis, effects: &mut Effects) {
        if self.admin.contains(flag) {
            return;
        }
        effects.changed = true;
        let before = self.admin;
        let was_stopping = self.was_stopping();
        self.admin |= flag;
        if Admin::MAINT.contains(flag) {
            if before.intersects(Admin::MAINT) {
                return;
            }
            effects.follow = Some(Order::Set(Admin::INHERITED_MAINT));
            self.pause(true);
            if self.op == Op::Stopped {
                effects.news.push(News::DownEntersMaint);
                return;
            }
            self.stamp(now);
            self.op = Op::Stopped;
            if let Some(check) = &mut self.check {
                check.meter.clear();
            }
            self.go_down(effects);
            effects.news.push(News::EntersMaint { was_stopping });
        } else if Admin::DRAIN.contains(flag) {
            let drained = before.intersects(Admin::DRAIN);
            if !drained {
                effects.follow = Some(Order::Set(Admin::INHERITED_DRAIN));
            }
            if self.is_in_maintenance() {
                return;
            }
            if drained {
                effects.news.push(News::RemainsDrain);
            } else {
                self.stamp(now);
                effects.news.push(News::EntersDrain);
            }
        }
    }

    fn clear(&mut self, flag: Admin, now: Millis, leader: Option<Op>, effects: &mut Effects) {
        if !self.admin.contains(flag) {
            return;
        }
        effects.changed = true;
        self.admin -= flag;
        if Admin::MAINT.contains(flag) {
            if self.is_in_maintenance() {
                effects.news.push(News::RemainsMaint(flag));
                return;
            }
            effects.follow = Some(Order::Clear(Admin::INHERITED_MAINT));
            self.leave_maintenance(now, leader, effects);
            effects.news.push(News::LeavesMaint(flag));
            if self.is_drained() {
                effects.news.push(News::RemainsDrain);
            }
        } else if Admin::DRAIN.contains(flag) {
            if !self.is_drained() {
                effects.follow = Some(Order::Clear(Admin::INHERITED_DRAIN));
            }
            if self.is_in_maintenance() {
                return;
            }
            if self.is_drained() {
                effects.news.push(News::RemainsDrain);
            } else {
                self.stamp(now);
                effects.news.push(News::LeavesDrain);
            }
        }
    }

    /// Up, with the benefit of the doubt, unless the server that it tracks is down.
    fn leave_maintenance(&mut self, now: Millis, leader: Option<Op>, effects: &mut Effects) {
        self.pause(false);
        for probe in [&mut self.check, &mut self.agent].into_iter().flatten() {
            if probe.enabled {
                probe.meter.doubt();
            }
        }
        if leader == Some(Op::Stopped) {
            return;
        }
        self.stamp(now);
        if leader == Some(Op::Stopping) {
            self.op = Op::Stopping;
        } else {
            self.come_up(effects);
        }
    }

    /// Whether all checks that run call it up.
    fn passes(&self) -> bool {
        let all = [&self.check, &self.agent];
        let mut running = all.into_iter().flatten().filter(|probe| probe.enabled);
        running.all(|probe| probe.meter.is_up())
    }

    /// The server's own checks are not made in maintenance. Its agent is still asked: it may be the
    /// one who ends the maintenance.
    fn pause(&mut self, paused: bool) {
        if let Some(check) = &mut self.check {
            check.paused = paused;
        }
    }

    /// A check has ended: keeps what it found, and says what follows.
    pub fn found(&mut self, which: Which, verdict: Verdict) -> Finding {
        let outcome = verdict.status.outcome();
        let status = verdict.status;
        let Some(probe) = self.probe_mut(which) else {
            return Finding::default();
        };
        let news = probe.verdict.status != status;
        probe.verdict = verdict;
        // Only an agent that says so takes its server down: not one that cannot be asked.
        let ignored = which == Which::Agent && status < Status::L7Ok;
        let moved = match outcome {
            Outcome::Unknown | Outcome::Neutral => return Finding::default(),
            Outcome::Failed => !ignored && probe.meter.fail(),
            Outcome::Passed | Outcome::PassedWith => probe.meter.pass(),
        };
        let down = probe.meter.health() == 0;
        let order = match outcome {
            Outcome::Failed if down && (which == Which::Server || status == Status::L7Wrong) => {
                Some(Op::Stopped)
            }
            Outcome::Passed if self.passes() => {
                // An agent does not know better than the server itself that it stays.
                let stays = which == Which::Agent && self.op == Op::Stopping;
                (!stays).then_some(Op::Running)
            }
            Outcome::PassedWith if self.passes() && which == Which::Server => Some(Op::Stopping),
            _ => None,
        };
        Finding {
            told: news || moved,
            counts: moved && outcome == Outcome::Failed,
            order: order.map(Order::Op),
        }
    }

    /// Too many streams have failed in a row.
    pub fn observed(&mut self, then: OnError, count: u32) -> Finding {
        let Some(check) = &mut self.check else {
            return Finding::default();
        };
        match then {
            OnError::FastInter => return Finding::default(),
            OnError::FailCheck => {}
            OnError::SuddenDeath => check.meter.weaken(),
            OnError::MarkDown => check.meter.doubt(),
        }
        let info = format!(
            "Detected {count} consecutive errors, last one was: L4 unsuccessful connection"
        );
        self.found(Which::Server, Verdict::with(Status::Observed, info))
    }

    /// How long to wait for the next check, milliseconds.
    #[must_use]
    pub fn interval(&self, which: Which) -> u64 {
        self.probe(which)
            .map_or(u64::MAX, |probe| probe.interval(self.op == Op::Stopped))
    }

    /// Warms up a little more. False: it is not warming up any more.
    pub fn warm_up(&mut self, now: Millis) -> bool {
        if self.op != Op::Starting {
            return false;
        }
        self.warmed = since(self.changed, now);
        if self.warmed >= self.slow_start {
            self.op = Op::Running;
        }
        self.op == Op::Starting
    }

    /// How long to wait for the next step of warming up, milliseconds: a twentieth of it, at least
    /// a second, and not beyond its end.
    #[must_use]
    pub fn warm_up_step(&self) -> u64 {
        let left = self.slow_start.saturating_sub(self.warmed);
        (self.slow_start / 20).max(1000).min(left).max(1)
    }

    /// Somebody knows better than its checks.
    pub fn overrule(&mut self, which: Which, op: Op) {
        if let Some(probe) = self.probe_mut(which) {
            match op {
                Op::Stopped => probe.meter.clear(),
                Op::Starting | Op::Running | Op::Stopping => probe.meter.fill(),
            }
        }
    }
}

/// Milliseconds between two moments.
fn since(then: Millis, now: Millis) -> u64 {
    now.0.saturating_sub(then.0)
}
