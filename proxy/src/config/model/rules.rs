//! The rules of a proxy, compiled.

use std::sync::Arc;
use std::time::Duration;

use super::BackendId;
use crate::rules::expr::Expr;
use crate::rules::ruleset::{Rule, When};
use crate::rules::table::TableId;

/// The rules of a frontend.
#[derive(Debug, Default)]
pub struct FrontRules {
    /// `tcp-request connection`
    pub connection: Vec<Arc<Rule>>,
    /// `tcp-request session`
    pub session: Vec<Arc<Rule>>,
    /// `tcp-request content`
    pub request: Vec<Arc<Rule>>,
    /// `tcp-request inspect-delay`
    pub request_delay: Option<Duration>,
    /// `use_backend`
    pub routes: Vec<Route>,
}

/// The rules of a backend.
#[derive(Debug, Default)]
pub struct BackRules {
    /// `tcp-request content`
    pub request: Vec<Arc<Rule>>,
    /// `tcp-request inspect-delay`
    pub request_delay: Option<Duration>,
    /// `tcp-response content`
    pub response: Vec<Arc<Rule>>,
    /// `tcp-response inspect-delay`
    pub response_delay: Option<Duration>,
    /// `use-server`
    pub servers: Vec<ServerRoute>,
    /// `stick on`, `stick match`, `stick store-request`
    pub sticking: Vec<Stick>,
    /// `stick store-response`
    pub storing: Vec<Stick>,
}

/// A `use_backend` line.
#[derive(Debug)]
pub struct Route {
    /// Where it leads.
    pub target: Target,
    /// When; `None`: always.
    pub when: Option<When>,
}

/// What a `use_backend` line names.
#[derive(Debug)]
pub enum Target {
    /// This backend.
    Fixed(BackendId),
    /// The backend whose name these make; another rule decides if there is none.
    Named(Vec<Piece>),
}

/// A part of a name.
#[derive(Debug)]
pub enum Piece {
    /// As it is written.
    Text(Arc<str>),
    /// Looked up.
    Expr(Expr),
}

/// A `use-server` line.
#[derive(Debug)]
pub struct ServerRoute {
    /// Which server.
    pub server: ServerTarget,
    /// When; `None`: always.
    pub when: Option<When>,
}

/// What a `use-server` line names.
#[derive(Debug)]
pub enum ServerTarget {
    /// The server of this index in its backend.
    Fixed(usize),
    /// The server whose name these make; another rule decides if there is none.
    Named(Vec<Piece>),
}

bitflags::bitflags! {
    /// What a `stick` line is for.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct StickUse: u8 {
        /// The entry's server is used again.
        const MATCH = 1;
        /// The entry remembers the server.
        const STORE = 2;
    }
}

/// A `stick` line.
#[derive(Debug)]
pub struct Stick {
    /// What it is for.
    pub purpose: StickUse,
    /// What to look the entry up by.
    pub key: Expr,
    /// Where.
    pub table: TableId,
    /// When; `None`: always.
    pub when: Option<When>,
}
