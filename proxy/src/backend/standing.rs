//! Whether a server takes streams, and why not: its operational state, which checks change, and
//! its administrative one, which people and configurations change.

use bitflags::bitflags;

use crate::config::model;
use crate::rules::scene::Millis;

bitflags! {
    /// Why a server is in maintenance or drained. Bits and their values are HAProxy's.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Admin: u8 {
        /// Maintenance by request.
        const FORCED_MAINT = 0x01;
        /// Maintenance of the server that it tracks.
        const INHERITED_MAINT = 0x02;
        /// `disabled` on its line.
        const CONFIG_MAINT = 0x04;
        /// Drained by request.
        const FORCED_DRAIN = 0x08;
        /// The server that it tracks is drained.
        const INHERITED_DRAIN = 0x10;
        /// Its name has no address.
        const RESOLVER_MAINT = 0x20;
        /// Its name was changed and is not resolved yet.
        const NAME_MAINT = 0x40;
    }
}

impl Admin {
    /// Whatever keeps it from serving at all.
    pub const MAINT: Self = Self::FORCED_MAINT
        .union(Self::INHERITED_MAINT)
        .union(Self::CONFIG_MAINT)
        .union(Self::RESOLVER_MAINT)
        .union(Self::NAME_MAINT);
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

/// Parts that a weight has, so that a server that warms up has more than one step.
pub const WEIGHT_SCALE: u32 = 16;

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
}

impl Standing {
    /// As its line says.
    #[must_use]
    pub fn new(config: &model::Server) -> Self {
        let mut admin = Admin::empty();
        admin.set(Admin::CONFIG_MAINT, config.disabled);
        admin.set(Admin::RESOLVER_MAINT, config.naming.unresolved);
        Self {
            op: Op::Running,
            admin,
            weight: config.weight,
            first_weight: config.weight,
            changed: Millis(0),
        }
    }

    /// What it takes now.
    #[must_use]
    pub fn takes(&self) -> Takes {
        let open = self.op != Op::Stopped && !self.admin.intersects(Admin::MAINT);
        let new = open && self.op != Op::Stopping && !self.admin.intersects(Admin::DRAIN);
        Takes {
            weight: if new {
                u32::from(self.weight) * WEIGHT_SCALE
            } else {
                0
            },
            open,
            warm: 100,
        }
    }
}
