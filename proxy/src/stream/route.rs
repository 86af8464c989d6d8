//! Where a stream goes: `use_backend`, `use-server`, `stick`.

use std::sync::Arc;

use crate::backend::{Backend, Server};
use crate::config::model::BackendId;
use crate::config::model::rules::{
    Piece, Route, ServerRoute, ServerTarget, Stick, StickUse, Target,
};
use crate::rules::acl::Truth;
use crate::rules::cast;
use crate::rules::ruleset::When;
use crate::rules::sample::{Kind, Value};
use crate::rules::scene::{Millis, Scene};
use crate::rules::table::{Column, Key, TableId, Tables};

fn applies(when: Option<&When>, scene: &Scene<'_>) -> bool {
    when.is_none_or(|when| when.holds(scene) == Truth::True)
}

/// The backend of the first `use_backend` line that applies; `None`: none does.
#[must_use]
pub fn backend(
    routes: &[Route],
    scene: &Scene<'_>,
    by_name: impl Fn(&[u8]) -> Option<BackendId>,
) -> Option<BackendId> {
    routes
        .iter()
        .filter(|route| applies(route.when.as_ref(), scene))
        .find_map(|route| match &route.target {
            Target::Fixed(id) => Some(*id),
            Target::Named(pieces) => by_name(&name(pieces, scene)),
        })
}

fn name(pieces: &[Piece], scene: &Scene<'_>) -> Vec<u8> {
    let mut name = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => name.extend_from_slice(text.as_bytes()),
            Piece::Expr(expr) => {
                let value = expr.evaluate(scene).value();
                let text = value.and_then(|value| cast::cast(value, Kind::Str, scene.arena));
                if let Some(Value::Str(text)) = text {
                    name.extend_from_slice(text);
                }
            }
        }
    }
    name
}

/// The server of the first `use-server` line that applies and whose server may be used.
#[must_use]
pub fn server(rules: &[ServerRoute], scene: &Scene<'_>, backend: &Backend) -> Option<Arc<Server>> {
    rules
        .iter()
        .filter(|rule| applies(rule.when.as_ref(), scene))
        .filter_map(|rule| match &rule.server {
            ServerTarget::Fixed(index) => backend.servers.get(*index),
            ServerTarget::Named(pieces) => {
                let wanted = name(pieces, scene);
                let mut servers = backend.servers.iter();
                servers.find(|server| server.config.name.as_bytes() == wanted)
            }
        })
        .find(|server| server.is_usable())
        .cloned()
}

/// An entry that is to remember the server.
#[derive(Debug)]
pub struct ToStore {
    /// The table.
    pub table: TableId,
    /// The entry's key.
    pub key: Key,
}

/// What the `stick` lines say: the server that an entry remembers, if it may be used, and the
/// entries that are to remember the server which the stream gets.
#[must_use]
pub fn stick(
    sticking: &[Stick],
    scene: &Scene<'_>,
    backend: &Backend,
) -> (Option<Arc<Server>>, Vec<ToStore>) {
    let mut matched = None;
    let mut stores: Vec<ToStore> = Vec::new();
    for line in sticking {
        let matches = line.purpose.contains(StickUse::MATCH) && matched.is_none();
        let stores_here = line.purpose.contains(StickUse::STORE)
            && !stores.iter().any(|store| store.table == line.table);
        if !(matches || stores_here) || !applies(line.when.as_ref(), scene) {
            continue;
        }
        let table = scene.tables.get(line.table);
        let Some(key) = line
            .key
            .evaluate(scene)
            .value()
            .and_then(|value| table.key(value))
        else {
            continue;
        };
        if matches
            && let Some(row) = table.lookup(&key, scene.now)
            && let Some(id) = row.get(Column::ServerId)
        {
            matched = backend.by_id(id).filter(|server| server.is_usable());
        }
        if stores_here {
            let table = line.table;
            stores.push(ToStore { table, key });
        }
    }
    (matched, stores)
}

/// What the `stick store-response` lines say: more entries that are to remember the server. Of these
/// lines, too, the first that stores into a table has it, whatever the request has stored there.
#[must_use]
pub fn stick_of_response(storing: &[Stick], scene: &Scene<'_>) -> Vec<ToStore> {
    let mut stores: Vec<ToStore> = Vec::new();
    for line in storing {
        let is_full = stores.iter().any(|store| store.table == line.table);
        if is_full || !applies(line.when.as_ref(), scene) {
            continue;
        }
        let table = scene.tables.get(line.table);
        let value = line.key.evaluate(scene).value();
        if let Some(key) = value.and_then(|value| table.key(value)) {
            let table = line.table;
            stores.push(ToStore { table, key });
        }
    }
    stores
}

/// Lets the entries remember the server that the stream got.
pub fn store(stores: &[ToStore], server: &Server, tables: &Tables, now: Millis) {
    for ToStore { table, key } in stores {
        tables.get(*table).update(key, now, |entry| {
            entry.set(Column::ServerId, u64::from(server.id));
        });
    }
}
