//! Variables: values that rules keep for later rules.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

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

/// The longest text or bytes that a variable of the process keeps. The configuration bounds how many
/// of these there are, and this how much memory they take, though rules may add to a value for ever.
pub const LONGEST_SHARED: usize = 16 << 10;

/// Which variable: its place among all that the configuration names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VarId {
    number: u32,
    scope: Scope,
}

/// The variables that the configuration names.
#[derive(Debug, Default)]
pub struct VarNames {
    ids: RefCell<HashMap<String, VarId>>,
}

impl VarNames {
    /// The variable of this name (`scope.name`); `None`: there is no such scope, or no name.
    pub fn id(&self, name: &str) -> Option<VarId> {
        let (scope, rest) = name.split_once('.')?;
        let scope = match scope {
            "proc" => Scope::Process,
            "sess" => Scope::Session,
            "txn" => Scope::Transaction,
            "req" => Scope::Request,
            "res" => Scope::Response,
            _ => return None,
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.');
        if rest.is_empty() || !rest.bytes().all(plain) {
            return None;
        }
        let mut ids = self.ids.borrow_mut();
        let number = u32::try_from(ids.len()).ok()?;
        Some(
            *ids.entry(name.to_owned())
                .or_insert(VarId { number, scope }),
        )
    }
}

/// A value that is kept.
#[derive(Debug, Clone)]
enum Kept {
    Plain(Value<'static>),
    Str(Box<[u8]>),
    Bin(Box<[u8]>),
}

/// Variables that live and end together: those of a connection, or those of the process.
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

/// The variables of the process, which all workers share.
#[derive(Debug, Default)]
pub struct ProcessVars(RwLock<Vars>);

/// The variables that a rule sees: those of its connection, and those of the process.
#[derive(Debug, Clone, Copy)]
pub struct Variables<'a> {
    own: &'a RefCell<Vars>,
    shared: &'a ProcessVars,
}

impl<'a> Variables<'a> {
    /// Those of a connection and those of the process.
    #[must_use]
    pub fn new(own: &'a RefCell<Vars>, shared: &'a ProcessVars) -> Self {
        Self { own, shared }
    }

    /// Looks at a value. `look` must not look at other variables.
    pub fn look<T>(&self, id: VarId, look: impl FnOnce(Option<Value<'_>>) -> T) -> T {
        match id.scope {
            // A panic in between leaves whole values behind.
            Scope::Process => {
                let shared = self.shared.0.read();
                look(shared.unwrap_or_else(PoisonError::into_inner).get(id))
            }
            _ => look(self.own.borrow().get(id)),
        }
    }

    /// Keeps a value where `allowed` of the one that is there now.
    pub fn set_if(
        &self,
        id: VarId,
        value: Value<'_>,
        allowed: impl FnOnce(Option<Value<'_>>) -> bool,
    ) {
        let set = |vars: &mut Vars| {
            if allowed(vars.get(id)) {
                vars.set(id, value);
            }
        };
        match (id.scope, value) {
            (Scope::Process, Value::Str(bytes) | Value::Bin(bytes))
                if bytes.len() > LONGEST_SHARED => {}
            (Scope::Process, _) => {
                let shared = self.shared.0.write();
                set(&mut shared.unwrap_or_else(PoisonError::into_inner));
            }
            _ => set(&mut self.own.borrow_mut()),
        }
    }

    /// Keeps a value.
    pub fn set(&self, id: VarId, value: Value<'_>) {
        self.set_if(id, value, |_| true);
    }

    /// Forgets a value.
    pub fn unset(&self, id: VarId) {
        match id.scope {
            Scope::Process => {
                let shared = self.shared.0.write();
                shared.unwrap_or_else(PoisonError::into_inner).unset(id);
            }
            _ => self.own.borrow_mut().unset(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(variables: Variables<'_>, id: VarId) -> Option<String> {
        variables.look(id, |value| value.map(|value| format!("{value:?}")))
    }

    #[test]
    fn only_those_of_the_process_are_shared() {
        let names = VarNames::default();
        let id = |name| names.id(name).unwrap();
        let shared = ProcessVars::default();
        let (one, other) = (RefCell::default(), RefCell::default());
        let (one, other) = (
            Variables::new(&one, &shared),
            Variables::new(&other, &shared),
        );
        for (name, there) in [
            ("proc.x", true),
            ("sess.x", false),
            ("txn.x", false),
            ("req.x", false),
            ("res.x", false),
        ] {
            one.set(id(name), Value::Int(5));
            let expected = there.then(|| "Int(5)".to_owned());
            assert_eq!(get(other, id(name)), expected, "{name}");
            assert!(get(one, id(name)).is_some(), "{name}");
            other.unset(id(name));
            assert_eq!(get(one, id(name)).is_none(), there, "{name}");
        }
    }

    #[test]
    fn what_is_shared_is_bounded() {
        let names = VarNames::default();
        let (mine, everybodys) = (names.id("sess.x").unwrap(), names.id("proc.x").unwrap());
        let (own, shared) = (RefCell::default(), ProcessVars::default());
        let variables = Variables::new(&own, &shared);
        let longest = vec![b'a'; LONGEST_SHARED];
        let longer = vec![b'b'; LONGEST_SHARED + 1];
        variables.set(everybodys, Value::Str(&longest));
        for value in [Value::Str(&longer), Value::Bin(&longer)] {
            variables.set(everybodys, value);
            variables.look(everybodys, |value| {
                assert_eq!(value, Some(Value::Str(&longest)), "the old one stays");
            });
        }
        variables.set(mine, Value::Str(&longer));
        variables.look(mine, |value| assert_eq!(value, Some(Value::Str(&longer))));
    }
}
