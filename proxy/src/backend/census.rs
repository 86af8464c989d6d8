//! Counts of the running proxy, as rules ask for them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::rules::scene::{Census, Millis};
use crate::rules::table::Window;
use crate::worker::Shared;

/// Sessions per second, by the window that stick tables count rates in.
#[derive(Debug, Default)]
pub struct SessionRate(Mutex<Window>);

/// One second, in milliseconds.
const SECOND: u32 = 1000;

impl SessionRate {
    /// One more. Returns how many that makes in the last second.
    pub fn count(&self, now: Millis) -> u64 {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        window.add(1, now.low(), SECOND);
        window.read(now.low(), SECOND)
    }

    /// One more, if that makes no more than `most` in a second.
    ///
    /// # Errors
    /// When to ask again.
    pub fn admit(&self, most: u32, now: Millis) -> Result<(), Duration> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if window.read(now.low(), SECOND) < u64::from(most) {
            window.add(1, now.low(), SECOND);
            return Ok(());
        }
        // The time that one of them takes at this rate.
        Err(Duration::from_millis(u64::from(
            (SECOND / most.max(1)).max(1),
        )))
    }

    /// How many there were in the last second.
    #[must_use]
    pub fn get(&self, now: Millis) -> u64 {
        let window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        window.read(now.low(), SECOND)
    }
}

impl Census for Shared {
    fn frontend_connections(&self, frontend: usize) -> u64 {
        self.frontends
            .get(frontend)
            .map_or(0, |frontend| frontend.active.get())
    }

    fn listener_connections(&self, frontend: usize, listener: u32) -> u64 {
        self.frontends.get(frontend).map_or(0, |frontend| {
            let binds = frontend.binds.iter().filter(|bind| bind.id == listener);
            binds.map(|bind| bind.active.get()).sum()
        })
    }

    fn frontend_number(&self, frontend: usize) -> u64 {
        let frontend = self.frontends.get(frontend);
        frontend.map_or(0, |frontend| frontend.config.number.into())
    }

    fn backend_number(&self, backend: usize) -> u64 {
        let backend = self.backends.get(backend);
        backend.map_or(0, |backend| backend.config.number.into())
    }

    fn server_number(&self, backend: usize, server: usize) -> u64 {
        let backend = self.backends.get(backend);
        let server = backend.and_then(|backend| backend.servers.get(server));
        server.map_or(0, |server| server.id.into())
    }

    fn frontend_rate(&self, frontend: usize) -> u64 {
        self.frontends
            .get(frontend)
            .map_or(0, |frontend| frontend.rate.get(self.clock.now()))
    }

    fn backend_connections(&self, backend: usize) -> u64 {
        self.backends
            .get(backend)
            .map_or(0, |backend| backend.active.get())
    }

    fn backend_rate(&self, backend: usize) -> u64 {
        self.backends
            .get(backend)
            .map_or(0, |backend| backend.rate.get(self.clock.now()))
    }

    fn queued(&self, backend: usize) -> u64 {
        self.backends
            .get(backend)
            .map_or(0, |backend| backend.queued().1.into())
    }

    fn servers_up(&self, backend: usize) -> u64 {
        self.backends.get(backend).map_or(0, |backend| {
            let (active, backups) = backend.in_force();
            (active + backups) as u64
        })
    }

    fn free_places(&self, backend: usize) -> Option<u64> {
        let backend = self.backends.get(backend)?;
        let mut free = 0;
        for server in backend.servers.iter().filter(|server| server.is_usable()) {
            let most = server.config.maxconn? as u64;
            free += most.saturating_sub(server.active.get());
        }
        Some(free)
    }

    fn free_slots(&self, backend: usize) -> Option<i64> {
        self.free_places(backend)
            .map(|free| i64::try_from(free).unwrap_or(i64::MAX))
    }

    fn server_is_up(&self, backend: usize, server: usize) -> bool {
        self.backends
            .get(backend)
            .and_then(|backend| backend.servers.get(server))
            .is_some_and(|server| server.is_usable())
    }

    fn server_connections(&self, backend: usize, server: usize) -> u64 {
        self.backends
            .get(backend)
            .and_then(|backend| backend.servers.get(server))
            .map_or(0, |server| server.active.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_fades_over_the_next_second() {
        let rate = SessionRate::default();
        for at in 0..100 {
            rate.count(Millis(5000 + at));
        }
        assert_eq!(rate.get(Millis(5999)), 100);
        assert_eq!(rate.get(Millis(6000)), 100);
        assert_eq!(rate.get(Millis(6500)), 50);
        assert_eq!(rate.get(Millis(6990)), 1);
        assert_eq!(rate.get(Millis(7000)), 0);
        rate.count(Millis(9000));
        assert_eq!(rate.get(Millis(9001)), 1);
    }
}
