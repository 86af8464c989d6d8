//! `observe layer4`: counts streams that fail in a row, and wakes the health checks.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Notify;

use crate::backend::Server;
use crate::config::model::check::{Observe, OnError};

/// What a server with `observe` counts. Workers count; the thread of the health checks acts.
#[derive(Debug)]
pub struct Observer {
    limit: u32,
    then: OnError,
    errors: AtomicU32,
    tripped: AtomicU32,
    wake: Notify,
}

impl Observer {
    /// By the server's line.
    #[must_use]
    pub fn new(config: Observe) -> Self {
        Self {
            limit: config.limit.max(1),
            then: config.then,
            errors: AtomicU32::new(0),
            tripped: AtomicU32::new(0),
            wake: Notify::new(),
        }
    }

    /// A connection to the server was established, or could not be.
    pub fn count(&self, ok: bool) {
        if ok {
            // Nearly always so already: a load leaves the line to all workers.
            if self.errors.load(Ordering::Relaxed) != 0 {
                self.errors.store(0, Ordering::Relaxed);
            }
            return;
        }
        let errors = self.errors.fetch_add(1, Ordering::Relaxed) + 1;
        if errors >= self.limit {
            self.errors.store(0, Ordering::Relaxed);
            self.tripped.store(errors, Ordering::Relaxed);
            self.wake.notify_one();
        }
    }

    /// Forgets failures: a check has passed.
    pub fn forget(&self) {
        self.errors.store(0, Ordering::Relaxed);
    }

    /// Waits until too many have failed in a row. Returns how many.
    pub async fn tripped(&self) -> u32 {
        loop {
            self.wake.notified().await;
            let count = self.tripped.swap(0, Ordering::Relaxed);
            if count > 0 {
                return count;
            }
        }
    }

    /// What that comes to.
    #[must_use]
    pub fn then(&self) -> OnError {
        self.then
    }
}

impl Server {
    /// To be told of every attempt to connect a stream to this server: whether it was established.
    pub fn observe(&self, ok: bool) {
        if let Some(observer) = &self.observer {
            observer.count(ok);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn only_failures_in_a_row_count() {
        let observer = Observer::new(Observe {
            limit: 3,
            then: OnError::MarkDown,
        });
        for ok in [false, false, true, false, false] {
            observer.count(ok);
        }
        assert_eq!(observer.tripped.load(Ordering::Relaxed), 0);
        observer.count(false);
        assert_eq!(observer.tripped().await, 3);
        observer.count(false);
        observer.count(false);
        observer.forget();
        observer.count(false);
        assert_eq!(observer.tripped.load(Ordering::Relaxed), 0);
    }
}
