//! What rules do.

use super::expr::Expr;
use super::table::TableId;
use super::vars::VarId;

/// Which of a table's general purpose counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gpc {
    /// `gpc0`
    Zero,
    /// `gpc1`
    One,
}

/// Which address or port an action changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The source's address.
    Source,
    /// The source's port.
    SourcePort,
    /// The destination's address.
    Destination,
    /// The destination's port.
    DestinationPort,
}

/// How a rule ends the evaluation of its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// The connection or stream goes on.
    Accept,
    /// It is closed.
    Reject,
    /// It is dropped without a packet: its peer is left to time out.
    SilentDrop,
    /// `tcp-response content close`: the server's connection is closed, what it sent is passed on.
    Close,
}

/// What a rule does when its condition holds.
#[derive(Debug)]
pub enum Action {
    /// Ends the evaluation.
    Rule(Ruling),
    /// `expect-proxy layer4`
    ExpectProxy,
    /// `track-sc<slot> <key> [table <table>]`
    Track {
        /// 0 to 2.
        slot: usize,
        /// What to look the entry up by.
        key: Expr,
        /// Where.
        table: TableId,
    },
    /// `sc-inc-gpc0(<slot>)`, `sc-inc-gpc1(<slot>)`
    Increment {
        /// 0 to 2.
        slot: usize,
        /// Which counter.
        counter: Gpc,
    },
    /// `sc-set-gpt0(<slot>) <value>`
    SetTag {
        /// 0 to 2.
        slot: usize,
        /// The new value.
        value: Operand,
    },
    /// `set-src`, `set-src-port`, `set-dst`, `set-dst-port`
    SetAddress {
        /// What it changes.
        part: Part,
        /// The new value.
        value: Expr,
    },
    /// `set-mark`
    SetMark(u32),
    /// `set-tos`
    SetTos(u8),
    /// `set-var`
    SetVar {
        /// Which one.
        id: VarId,
        /// The new value.
        value: Expr,
    },
    /// `unset-var`
    UnsetVar(VarId),
    /// `set-log-level`: `None`: the stream is not logged.
    SetLogLevel(Option<u8>),
}

/// A number written down or looked up.
#[derive(Debug)]
pub enum Operand {
    /// Written down.
    Number(u32),
    /// Looked up.
    Expr(Expr),
}
