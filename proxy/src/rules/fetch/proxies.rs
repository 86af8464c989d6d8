//! Fetches of frontends, backends and servers: names and counts.

use super::{Call, Fetch};
use crate::config::diagnostic::Fault;
use crate::config::keywords::nearest;
use crate::rules::names::Names;
use crate::rules::sample::{Kind, Sample, Value};
use crate::rules::scene::{Needs, Place, Scene};

/// The names of this family.
pub(super) const NAMES: &[&str] = &[
    "dst_conn",
    "fe_conn",
    "fe_sess_rate",
    "fe_id",
    "fe_name",
    "be_conn",
    "be_conn_free",
    "be_sess_rate",
    "be_id",
    "be_name",
    "connslots",
    "nbsrv",
    "queue",
    "srv_conn",
    "srv_id",
    "srv_is_up",
    "srv_name",
];

/// A count of the running proxy.
#[derive(Debug, Clone, Copy)]
enum Count {
    ListenerConnections,
    FrontendConnections(usize),
    FrontendRate(usize),
    BackendConnections(usize),
    BackendRate(usize),
    /// -1: not limited.
    FreePlaces(usize),
    /// -1: not limited.
    FreeSlots(usize),
    ServersUp(usize),
    Queued(usize),
    ServerIsUp(usize, usize),
    ServerConnections(usize, usize),
}

/// Who the stream has to do with.
#[derive(Debug, Clone, Copy)]
enum Who {
    Frontend,
    Backend,
    Server,
}

/// Its name, or its number.
#[derive(Debug)]
struct Identity {
    who: Who,
    name: bool,
}

/// Compiles a call of this family.
pub(super) fn compile(call: Call<'_>, names: &Names<'_>) -> Option<Result<Box<dyn Fetch>, Fault>> {
    let identity = match call.name {
        "fe_name" => Some((Who::Frontend, true)),
        "fe_id" => Some((Who::Frontend, false)),
        "be_name" => Some((Who::Backend, true)),
        "be_id" => Some((Who::Backend, false)),
        "srv_name" => Some((Who::Server, true)),
        "srv_id" => Some((Who::Server, false)),
        _ => None,
    };
    if let Some((who, name)) = identity {
        let fetch = Identity { who, name };
        return Some(
            call.count(0..=0)
                .map(|()| -> Box<dyn Fetch> { Box::new(fetch) }),
        );
    }
    let found = match call.name {
        "dst_conn" => call.count(0..=0).map(|()| Count::ListenerConnections),
        "fe_conn" => frontend(call, names).map(Count::FrontendConnections),
        "fe_sess_rate" => frontend(call, names).map(Count::FrontendRate),
        "be_conn" => backend(call, names).map(Count::BackendConnections),
        "be_sess_rate" => backend(call, names).map(Count::BackendRate),
        "be_conn_free" => backend(call, names).map(Count::FreePlaces),
        "connslots" => backend(call, names).map(Count::FreeSlots),
        "nbsrv" => backend(call, names).map(Count::ServersUp),
        "queue" => backend(call, names).map(Count::Queued),
        "srv_is_up" => {
            server(call, names).map(|(backend, server)| Count::ServerIsUp(backend, server))
        }
        "srv_conn" => {
            server(call, names).map(|(backend, server)| Count::ServerConnections(backend, server))
        }
        _ => return None,
    };
    Some(found.map(|count| -> Box<dyn Fetch> { Box::new(count) }))
}

fn missing<'a>(
    call: Call<'_>,
    what: &str,
    name: &str,
    known: impl Iterator<Item = &'a str>,
) -> Fault {
    let hint = nearest(name, known)
        .map(|near| format!("; did you mean '{near}' maybe ?"))
        .unwrap_or_default();
    call.word.fault(format!(
        "unable to find {what} '{name}' referenced in arg 1 of '{}'{hint}.",
        call.name
    ))
}

fn frontend(call: Call<'_>, names: &Names<'_>) -> Result<usize, Fault> {
    call.count(0..=1)?;
    let name = call.text(0).unwrap_or(names.own);
    let own = names.frontend.filter(|_| call.text(0).is_none());
    own.or_else(|| names.frontends.get(name).copied())
        .ok_or_else(|| {
            let known = names.frontends.keys().map(AsRef::as_ref);
            missing(call, "frontend", name, known)
        })
}

fn backend(call: Call<'_>, names: &Names<'_>) -> Result<usize, Fault> {
    call.count(0..=1)?;
    let name = call.text(0).unwrap_or(names.own);
    let own = names.backend.filter(|_| call.text(0).is_none());
    own.or_else(|| names.backends.get(name).map(|(index, _)| *index))
        .ok_or_else(|| {
            let known = names.backends.keys().map(AsRef::as_ref);
            missing(call, "backend", name, known)
        })
}

fn server(call: Call<'_>, names: &Names<'_>) -> Result<(usize, usize), Fault> {
    call.count(1..=1)?;
    let text = &call.arguments[0];
    let (backend, server) = text.split_once('/').unwrap_or((names.own, text));
    let (index, servers) = names.backends.get(backend).ok_or_else(|| {
        let known = names.backends.keys().map(AsRef::as_ref);
        missing(call, "proxy", backend, known)
    })?;
    servers
        .iter()
        .position(|name| **name == *server)
        .map(|server| (*index, server))
        .ok_or_else(|| missing(call, "server", server, servers.iter().map(AsRef::as_ref)))
}

impl Fetch for Count {
    fn kind(&self) -> Kind {
        match self {
            Self::ServerIsUp(..) => Kind::Bool,
            _ => Kind::Int,
        }
    }

    fn needs(&self) -> Needs {
        Needs::empty()
    }

    fn look<'a>(&self, scene: &Scene<'a>) -> Sample<'a> {
        let census = scene.census;
        let number = match *self {
            Self::ListenerConnections => {
                census.listener_connections(scene.frontend.index, scene.listener.0)
            }
            Self::FrontendConnections(index) => census.frontend_connections(index),
            Self::FrontendRate(index) => census.frontend_rate(index),
            Self::BackendConnections(index) => census.backend_connections(index),
            Self::BackendRate(index) => census.backend_rate(index),
            Self::ServersUp(index) => census.servers_up(index),
            Self::Queued(index) => census.queued(index),
            Self::ServerConnections(backend, server) => census.server_connections(backend, server),
            Self::FreePlaces(index) => match census.free_places(index) {
                Some(places) => places,
                None => return Sample::Is(Value::Int(-1)),
            },
            Self::FreeSlots(index) => {
                return Sample::Is(Value::Int(census.free_slots(index).unwrap_or(-1)));
            }
            Self::ServerIsUp(backend, server) => {
                return Sample::Is(Value::Bool(census.server_is_up(backend, server)));
            }
        };
        Sample::Is(Value::Int(i64::try_from(number).unwrap_or(i64::MAX)))
    }
}

impl Fetch for Identity {
    fn kind(&self) -> Kind {
        if self.name { Kind::Str } else { Kind::Int }
    }

    fn needs(&self) -> Needs {
        match self.who {
            Who::Frontend => Needs::empty(),
            Who::Backend => Needs::STREAM,
            Who::Server => Needs::RESPONSE,
        }
    }

    fn look<'a>(&self, scene: &Scene<'a>) -> Sample<'a> {
        let census = scene.census;
        let of_frontend = |place: Place<'a>| (place.name, census.frontend_number(place.index));
        let found = match self.who {
            Who::Frontend => Some(of_frontend(scene.frontend)),
            // As long as none is chosen, a stream belongs to its frontend.
            Who::Backend => Some(scene.backend.map_or_else(
                || of_frontend(scene.frontend),
                |place| (place.name, census.backend_number(place.index)),
            )),
            Who::Server => scene.server.map(|place| {
                let backend = scene.backend.map_or(0, |backend| backend.index);
                (place.name, census.server_number(backend, place.index))
            }),
        };
        let value = |(name, number): (&'a str, u64)| {
            if self.name {
                Value::Str(name.as_bytes())
            } else {
                Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
            }
        };
        found.map_or(Sample::Absent, |found| Sample::Is(value(found)))
    }
}
