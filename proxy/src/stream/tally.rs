//! What a stream adds to the counters of its frontend, backend and server.

use std::time::Instant;

use crate::backend::{Backend, Server};
use crate::observe::counters::{Counters, Taken};
use crate::observe::record::{FlowRecord, Termination};
use crate::rules::scene::Millis;
use crate::worker::{FrontendState, Shared};

/// Counts a stream that a frontend takes.
pub fn taken(shared: &Shared, frontend: &FrontendState) {
    let now = shared.clock.now();
    let rate = frontend.rate.count(now);
    frontend.counters.stream(frontend.active.get(), rate, now);
}

/// Counts a stream that a backend gets, itself among the backend's streams already.
pub fn admitted(shared: &Shared, backend: &Backend) {
    let now = shared.clock.now();
    let rate = backend.rate.count(now);
    backend.counters.stream(backend.active.get(), rate, now);
}

/// Counts a stream that a server gets, itself among the server's streams already.
pub fn assigned(server: &Server, now: Millis) {
    let rate = server.rate.count(now);
    server.counters.stream(server.active.get(), rate, now);
}

/// Does something to the counters of everybody who has to do with a stream: its frontend, its
/// backend, its server.
fn each(
    shared: &Shared,
    frontend: &FrontendState,
    record: &FlowRecord,
    mut count: impl FnMut(Who, &Counters),
) {
    count(Who::Frontend, &frontend.counters);
    let Some(backend) = record
        .backend_index
        .get()
        .and_then(|at| shared.backends.get(at))
    else {
        return;
    };
    count(Who::Backend, &backend.counters);
    let place = record.place.get();
    if let Some(server) = place.and_then(|at| backend.servers.get(at.server)) {
        count(Who::Server, &server.counters);
    }
}

/// Whose counters they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Frontend,
    Backend,
    Server,
}

/// Counts the bytes that a stream has moved since the last time.
pub fn bytes(shared: &Shared, frontend: &FrontendState, record: &FlowRecord) {
    let moved = [record.up.bytes(), record.down.bytes()];
    let before = record.counted.replace(moved);
    if moved == before {
        return;
    }
    each(shared, frontend, record, |_, counters| {
        counters.bytes_in.add(moved[0] - before[0]);
        counters.bytes_out.add(moved[1] - before[1]);
    });
}

/// Counts a stream that has ended.
pub fn ended(
    shared: &Shared,
    frontend: &FrontendState,
    record: &FlowRecord,
    termination: Termination,
) {
    bytes(shared, frontend, record);
    let times = record.times.get();
    let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let connect = times.connecting.zip(times.connected);
    each(shared, frontend, record, |who, counters| {
        let front = who == Who::Frontend;
        match (termination.0, termination.1) {
            ('P', 'R') if who != Who::Server => counters.denied_requests.one(),
            ('P', 'D') => counters.denied_responses.one(),
            ('C' | 'c', 'R') if front => counters.failed_requests.one(),
            ('C' | 'c', _) if !front => counters.client_aborts.one(),
            ('S', 'D') if !front => {
                counters.failed_responses.one();
                counters.server_aborts.one();
            }
            ('s', 'D') if !front => counters.server_aborts.one(),
            // Nobody was there who could have failed.
            ('s', 'Q') if who == Who::Backend => counters.failed_connections.one(),
            ('I', _) => counters.internal_errors.one(),
            _ => {}
        }
        if front {
            return;
        }
        if let Some((from, to)) = connect {
            counters.time(Taken {
                queue: millis(from - times.accepted),
                connect: millis(to - from),
                total: millis(Instant::now() - times.accepted),
            });
        }
    });
}
