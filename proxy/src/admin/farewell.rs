//! What is said when proxies stop.

use super::operator::Operator;
use super::sections::{Section, in_order};
use crate::backend::Backend;
use crate::net::valve::Order;
use crate::observe::log::LEVEL_WARNING;
use crate::worker::FrontendState;

/// Tells that the frontend has stopped, with the backend that it is one `listen` with.
pub fn tell(operator: &Operator, frontend: &FrontendState) {
    let own = frontend.config.own_backend;
    let backend = own.and_then(|own| operator.shared.backends.get(own.0));
    let connections = frontend.counters.connections.get();
    let served = backend.map_or(0, |backend| sessions(backend));
    let text = line(&frontend.config.name, connections, served);
    operator.logger.text(&frontend.logs, LEVEL_WARNING, text);
}

/// Tells that all proxies that have not stopped before have stopped now: in HAProxy's order, the last first.
pub fn tell_all(operator: &Operator) {
    let shared = &operator.shared;
    for section in in_order(shared).into_iter().rev() {
        match section {
            Section::Frontend(frontend) => {
                if !frontend.config.disabled && frontend.valve.order() != Order::Stopped {
                    tell(operator, frontend);
                }
            }
            Section::Backend(backend) => {
                let mut frontends = shared.frontends.iter();
                let is_half = frontends.any(|frontend| {
                    let own = frontend.config.own_backend;
                    own.is_some_and(|own| own.0 == backend.index)
                });
                if !is_half && !backend.config.disabled {
                    let text = line(&backend.config.name, 0, sessions(backend));
                    operator.tell(backend.index, LEVEL_WARNING, text);
                }
            }
        }
    }
}

fn sessions(backend: &Backend) -> u64 {
    backend.counters.sessions.get()
}

/// HAProxy's words.
fn line(name: &str, front: u64, back: u64) -> String {
    format!("Proxy {name} stopped (cumulated conns: FE: {front}, BE: {back}).")
}
