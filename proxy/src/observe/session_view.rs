//! What is said of a living stream to whoever asks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::record::{Endpoint, Path, Termination};
use crate::stream::interface::State;
use crate::stream::living::{LivingStream, ServerAt};

/// A living stream, as it was when it was asked about.
#[derive(Debug, Clone)]
pub struct SessionView {
    /// Its number.
    pub id: u64,
    /// Its client.
    pub client: Endpoint,
    /// Its frontend.
    pub frontend: Arc<str>,
    /// Its backend, once chosen.
    pub backend: Option<Arc<str>>,
    /// Its server, once chosen.
    pub server: Option<Arc<str>>,
    /// Its server by index.
    pub place: Option<ServerAt>,
    /// Where its server's side stands.
    pub state: State,
    /// Since the accept.
    pub age: Duration,
    /// Bytes from the client and from the server.
    pub bytes: [u64; 2],
    /// Of them, bytes that the kernel moved.
    pub kernel: [u64; 2],
    /// What moves them.
    pub paths: [Path; 2],
    /// Connection attempts beyond the first.
    pub retries: u32,
    /// What it was told to end with.
    pub ending: Option<Termination>,
}

impl SessionView {
    /// A look at a stream.
    #[must_use]
    pub fn of(stream: &LivingStream, now: Instant) -> Self {
        let record = &stream.record;
        let both = [&record.up, &record.down];
        Self {
            id: record.id,
            client: record.client,
            frontend: Arc::clone(&record.frontend),
            backend: record.backend.get().cloned(),
            server: record.server.borrow().clone(),
            place: record.place.get(),
            state: record.state.get(),
            age: now.saturating_duration_since(record.times.get().accepted),
            bytes: both.map(|direction| direction.bytes()),
            kernel: both.map(|direction| direction.kernel_bytes()),
            paths: both.map(|direction| direction.path.get()),
            retries: record.retries.get(),
            ending: record.kill.thrown(),
        }
    }
}
