//! Variables: values that rules keep for later rules.

use std::cell::RefCell;
use std::collections::HashMap;

use super::sample::Value;

/// Where a variable lives, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `proc.`: as long as the process.
    Process,
    /// `sess.`: as long as the client's connection.
    Session,
    /// `txn.`: as long as the stream.
    Transaction,
    /// `req.`: until the server answers.
    Request,
    /// `res.`: while the server's answer is looked at.
    Response,
}

/// Which variable: its place among all that the configuration names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VarId(pub u32);

/// The variables that the configuration names.
#[derive(Debug, Default)]
pub struct VarNames {
    ids: RefCell<HashMap<String, VarId>>,
}

impl VarNames {
    /// The variable of this name (`scope.name`); `None`: there is no such scope, or no name.
    pub fn id(&self, name: &str) -> Option<VarId> {
        let (scope, rest) = name.split_once('.')?;
        let known = matches!(scope, "proc" | "sess" | "txn" | "req" | "res");
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.');
        if !known || rest.is_empty() || !rest.bytes().all(plain) {
            return None;
        }
        let mut ids = self.ids.borrow_mut();
        let next = VarId(u32::try_from(ids.len()).ok()?);
        Some(*ids.entry(name.to_owned()).or_insert(next))
    }
}

/// A value that is kept.
#[derive(Debug, Clone)]
enum Kept {
    Plain(Value<'static>),
    Str(Box<[u8]>),
    Bin(Box<[u8]>),
}

/// The variables of one connection.
#[derive(Debug, Default)]
pub struct Vars {
    values: Vec<(VarId, Kept)>,
}

impl Vars {
    /// Keeps a value.
    pub fn set(&mut self, id: VarId, value: Value<'_>) {
        let kept = match value {
            Value::Str(text) => Kept::Str(text.into()),
            Value::Bin(bytes) => Kept::Bin(bytes.into()),
            Value::Bool(is) => Kept::Plain(Value::Bool(is)),
            Value::Int(number) => Kept::Plain(Value::Int(number)),
            Value::Ipv4(address) => Kept::Plain(Value::Ipv4(address)),
            Value::Ipv6(address) => Kept::Plain(Value::Ipv6(address)),
        };
        match self.values.iter_mut().find(|(other, _)| *other == id) {
            Some((_, old)) => *old = kept,
            None => self.values.push((id, kept)),
        }
    }

    /// Forgets a value.
    pub fn unset(&mut self, id: VarId) {
        self.values.retain(|(other, _)| *other != id);
    }

    /// A value that was kept.
    #[must_use]
    pub fn get(&self, id: VarId) -> Option<Value<'_>> {
        self.values
            .iter()
            .find(|(other, _)| *other == id)
            .map(|(_, kept)| match kept {
                Kept::Plain(value) => *value,
                Kept::Str(text) => Value::Str(text),
                Kept::Bin(bytes) => Value::Bin(bytes),
            })
    }
}
