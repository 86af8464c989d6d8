//! Statistics of proxies and servers, in HAProxy's columns.
//!
//! [`take`] reads what runs into plain values, [`fill`] makes rows of them, [`text`] writes rows.

pub mod columns;
pub mod fill;
pub mod json;
pub mod take;
pub mod text;

use std::fmt;

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A frontend.
    Frontend,
    /// A backend.
    Backend,
    /// A server.
    Server,
}

/// A value and its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `u32`
    U32(u64),
    /// `u64`
    U64(u64),
    /// `s32`
    S32(i64),
    /// `str`
    Text(String),
}

impl Value {
    /// HAProxy's name of its type.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::U32(_) => "u32",
            Self::U64(_) => "u64",
            Self::S32(_) => "s32",
            Self::Text(_) => "str",
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::U32(value) | Self::U64(value) => value.fmt(f),
            Self::S32(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
        }
    }
}

/// A value in a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The column's place in [`columns::NAMES`].
    pub column: usize,
    /// Origin, nature and scope of the value: HAProxy's three letters.
    pub tags: &'static str,
    /// The value.
    pub value: Value,
}

/// A row; columns without a cell are empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What it is about.
    pub kind: Kind,
    /// The proxy's number.
    pub proxy: u32,
    /// The server's number; 0 for proxies.
    pub server: u32,
    /// It is a server in maintenance.
    pub maintained: bool,
    /// It is a server that is down.
    pub down: bool,
    /// Its values, in the order of columns.
    pub cells: Vec<Cell>,
}

impl Row {
    /// An empty row.
    #[must_use]
    pub fn new(kind: Kind, proxy: u32, server: u32) -> Self {
        Self {
            kind,
            proxy,
            server,
            maintained: false,
            down: false,
            cells: Vec::new(),
        }
    }

    /// Fills a column; columns are filled in their order.
    pub(crate) fn put(&mut self, column: &str, tags: &'static str, value: Value) {
        let from = self.cells.last().map_or(0, |cell| cell.column + 1);
        let found = columns::NAMES[from..]
            .iter()
            .position(|name| *name == column);
        debug_assert!(found.is_some(), "{column} is no column behind the last one");
        if let Some(at) = found {
            self.cells.push(Cell {
                column: from + at,
                tags,
                value,
            });
        }
    }
}
