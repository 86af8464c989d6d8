//! Reads what runs into rows.

use super::Row;
use super::fill::{self, BackendFacts, FrontendFacts, ProbeFacts, ServerFacts};
use crate::admin::commands;
use crate::admin::operator::{Availability, Operator};
use crate::admin::sections::{Section, in_order};
use crate::backend::standing::{Admin, Op, Standing, Which};
use crate::backend::{Backend, Server};
use crate::config::model::Mode;
use crate::net::valve::Order;
use crate::observe::counters::Counters;
use crate::rules::scene::Millis;
use crate::worker::{FrontendState, Shared};

/// The number of the proxy of this name or number.
#[must_use]
pub fn proxy_number(shared: &Shared, text: &str) -> Option<u32> {
    let frontends = shared.frontends.iter().map(|frontend| {
        let config = &frontend.config;
        (&config.name, config.number)
    });
    let backends = shared
        .backends
        .iter()
        .map(|backend| (&backend.config.name, backend.config.number));
    let all = || frontends.clone().chain(backends.clone());
    let by_name = all().find(|(name, _)| ***name == *text);
    by_name
        .or_else(|| all().find(|(_, number)| number.to_string() == text))
        .map(|(_, number)| number)
}

/// A row for every frontend, server and backend, in the order of the file.
///
/// `full`: what only operators may see is in them; `counted`: a backend's status says how many of
/// its servers are up.
#[must_use]
pub fn rows(operator: &Operator, full: bool, counted: bool) -> Vec<Row> {
    let shared = &*operator.shared;
    let now = shared.clock.now();
    let mut rows = Vec::new();
    for section in in_order(shared) {
        match section {
            Section::Frontend(frontend) => rows.extend(frontend_row(frontend, shared, now)),
            Section::Backend(backend) => {
                let availability = operator.availability(backend.index);
                rows.extend(backend_rows(backend, availability, full, counted, now));
            }
        }
    }
    rows
}

fn frontend_row(frontend: &FrontendState, shared: &Shared, now: Millis) -> Option<Row> {
    let config = &frontend.config;
    (!config.disabled).then(|| {
        fill::frontend(&FrontendFacts {
            name: &config.name,
            number: config.number,
            counters: &frontend.counters,
            active: frontend.active.get(),
            most: frontend.places.most().unwrap_or(shared.most),
            status: match frontend.valve.order() {
                Order::Open => "OPEN",
                Order::Paused => "PAUSED",
                Order::Stopped => "STOP",
            },
            rate: frontend.rate.get(now),
            rate_limit: config.session_rate.unwrap_or(0),
            mode: match config.mode {
                Mode::Tcp => "tcp",
                Mode::Health => "health",
            },
        })
    })
}

fn backend_rows(
    backend: &Backend,
    availability: Availability,
    full: bool,
    counted: bool,
    now: Millis,
) -> Vec<Row> {
    let config = &backend.config;
    if config.disabled {
        return Vec::new();
    }
    let servers: Vec<(&Server, Standing)> = backend
        .servers
        .iter()
        .map(|server| (&**server, server.standing().clone()))
        .collect();
    let mut rows: Vec<Row> = servers
        .iter()
        .map(|(server, standing)| server_row(backend, server, standing, full, now))
        .collect();
    let takes = |backup: bool| {
        servers
            .iter()
            .filter(move |(server, _)| server.config.backup == backup)
            .filter(|(_, standing)| standing.takes().weight > 0)
    };
    let (main, backups) = (takes(false).count(), takes(true).count());
    let weigh = |(_, standing): &(&Server, Standing)| u64::from(standing.weight);
    // Backups serve only once nobody else does; all of them, or the first.
    let weight: u64 = if main > 0 {
        takes(false).map(weigh).sum()
    } else if config.all_backups {
        takes(true).map(weigh).sum()
    } else {
        takes(true).take(1).map(weigh).sum()
    };
    let is_up = weight > 0 || servers.is_empty();
    let mut status = if is_up { "UP" } else { "DOWN" }.to_owned();
    if counted {
        let up = servers.iter().filter(|(_, standing)| standing.takes().open);
        status.push_str(&format!(" ({}/{})", up.count(), servers.len()));
    }
    rows.push(fill::backend(&BackendFacts {
        name: &config.name,
        number: config.number,
        counters: &backend.counters,
        queued: backend.queued().0.into(),
        active: backend.active.get(),
        full: backend.full.max(1) as usize,
        status,
        weight,
        servers: servers.len(),
        main_servers: main as u64,
        backup_servers: backups as u64,
        downs: backend.counters.went_down.get(),
        downtime: availability.downtime(now) / 1000,
        since_change: now.0.saturating_sub(availability.changed.0) / 1000,
        rate: backend.rate.get(now),
        since_session: since_session(&backend.counters, now),
        balance: full.then(|| config.balance.name()),
    }));
    rows
}

fn server_row(
    backend: &Backend,
    server: &Server,
    standing: &Standing,
    full: bool,
    now: Millis,
) -> Row {
    let config = &server.config;
    let load = backend.load(server.index);
    // The limit may have been changed since; under `minconn` it is another at any moment.
    let most = match load {
        Some(load) if config.minconn.is_none() => {
            (load.limit != u32::MAX).then_some(load.limit as usize)
        }
        _ => config.maxconn,
    };
    let maintained = standing.admin.intersects(Admin::MAINT);
    let checks = [&standing.check, &standing.agent].into_iter().flatten();
    let is_checked = checks.clone().any(|probe| probe.enabled) || config.health.track.is_some();
    fill::server(&ServerFacts {
        backend: &backend.config.name,
        backend_number: backend.config.number,
        name: &config.name,
        number: server.id,
        counters: &server.counters,
        queued: load.map_or(0, |load| load.queued.into()),
        active: server.active.get(),
        most,
        most_queued: config.maxqueue,
        status: status(server, standing),
        maintained,
        down: !maintained && standing.op == Op::Stopped,
        weight: standing.weight,
        backup: config.backup,
        since_change: now.0.saturating_sub(standing.changed.0) / 1000,
        rate: server.rate.get(now),
        since_session: since_session(&server.counters, now),
        address: full.then(|| commands::address_text(server)),
        warm: (standing.op == Op::Starting).then(|| standing.takes().warm),
        tracked: config.health.track.as_ref().map(|track| &*track.name),
        observed: server.observer.is_some(),
        downtime: is_checked.then(|| standing.downtime(now) / 1000),
        probes: [Which::Server, Which::Agent].map(|which| {
            let probe = standing.probe(which).filter(|probe| probe.runs())?;
            Some(ProbeFacts {
                verdict: probe.verdict.clone(),
                meter: probe.meter,
            })
        }),
    })
}

/// HAProxy's words for a server's state.
fn status(server: &Server, standing: &Standing) -> String {
    let admin = standing.admin;
    let track = server.config.health.track.as_ref();
    if admin.contains(Admin::RESOLVER_MAINT) {
        return "MAINT (resolution)".to_owned();
    }
    if admin.contains(Admin::INHERITED_MAINT) && !admin.contains(Admin::FORCED_MAINT) {
        let leader = track.map_or("", |track| &*track.name);
        return format!("MAINT (via {leader})");
    }
    if admin.intersects(Admin::MAINT) {
        return "MAINT".to_owned();
    }
    let check = standing.check.as_ref().filter(|check| check.enabled);
    let agent = standing.agent.as_ref().filter(|agent| agent.enabled);
    // How far it is from changing sides, where it has begun to.
    let way = |settled: bool| match check.map(|check| check.meter.position()) {
        Some((at, of)) if !settled => format!(" {at}/{of}"),
        _ => String::new(),
    };
    let is_full = check.is_none_or(|check| check.meter.is_full());
    if standing.op == Op::Stopped {
        if agent.is_some_and(|agent| !agent.meter.is_up()) {
            return "DOWN (agent)".to_owned();
        }
        let cold = check.is_none_or(|check| check.meter.health() == 0);
        return format!("DOWN{}", way(cold));
    }
    if admin.intersects(Admin::DRAIN) {
        return "DRAIN".to_owned();
    }
    if standing.op == Op::Stopping {
        return format!("NOLB{}", way(is_full));
    }
    if check.is_none() && agent.is_none() && track.is_none() {
        return "no check".to_owned();
    }
    format!("UP{}", way(is_full))
}

fn since_session(counters: &Counters, now: Millis) -> Option<u64> {
    let last = counters.last_session.get().checked_sub(1)?;
    Some(now.0.saturating_sub(last) / 1000)
}
