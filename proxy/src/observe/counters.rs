//! What is counted of frontends, backends and servers, as all workers count it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::rules::scene::Millis;

/// A number that only grows, or a highest value.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// One more.
    pub fn one(&self) {
        self.add(1);
    }

    /// Keeps the greater.
    pub fn raise(&self, to: u64) {
        if to > self.get() {
            self.0.fetch_max(to, Ordering::Relaxed);
        }
    }

    /// The number.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Replaces the number.
    pub fn set(&self, to: u64) {
        self.0.store(to, Ordering::Relaxed);
    }
}

/// The counters of a frontend, a backend or a server; what makes no sense for one stays 0. The
/// words in parentheses are HAProxy's columns.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections accepted (`conn_tot`).
    pub connections: Count,
    /// Streams (`stot`).
    pub sessions: Count,
    /// Most streams at once (`smax`).
    pub sessions_max: Count,
    /// Most streams in a second (`rate_max`).
    pub rate_max: Count,
    /// Bytes from clients (`bin`) of streams that have ended, or were accounted for.
    pub bytes_in: Count,
    /// Bytes to clients (`bout`), likewise.
    pub bytes_out: Count,
    /// Streams that a request rule refused (`dreq`).
    pub denied_requests: Count,
    /// Streams that a response rule refused (`dresp`).
    pub denied_responses: Count,
    /// Streams whose clients failed before they had asked for anything (`ereq`).
    pub failed_requests: Count,
    /// Connections that a connection rule refused (`dcon`).
    pub denied_connections: Count,
    /// Connections that a session rule refused (`dses`).
    pub denied_sessions: Count,
    /// Streams for which no server was reached (`econ`).
    pub failed_connections: Count,
    /// Streams that their servers reset (`eresp`).
    pub failed_responses: Count,
    /// Retries (`wretr`).
    pub retries: Count,
    /// Redispatches (`wredis`).
    pub redispatches: Count,
    /// Streams that their clients aborted (`cli_abrt`).
    pub client_aborts: Count,
    /// Streams that their servers aborted (`srv_abrt`).
    pub server_aborts: Count,
    /// Connections begun to servers (`connect`).
    pub attempts: Count,
    /// Streams that this process failed (`eint`).
    pub internal_errors: Count,
    /// Streams that balance sent here (`lbtot`).
    pub balanced: Count,
    /// Longest queue (`qmax`).
    pub queued_max: Count,
    /// Milliseconds waited in queues, summed over the streams of [`Counters::timed`].
    pub queue_time: Count,
    /// Milliseconds for connections, likewise.
    pub connect_time: Count,
    /// Milliseconds in all, likewise.
    pub total_time: Count,
    /// Streams whose times were added.
    pub timed: Count,
    /// Checks that failed while the server was not known to be down (`chkfail`).
    pub failed_checks: Count,
    /// Times that it went down (`chkdown`).
    pub went_down: Count,
    /// Times that too many streams failed in a row (`hanafail`).
    pub observed_failures: Count,
    /// Longest wait in queues of one of them, milliseconds (`qtime_max`).
    pub queue_time_max: Count,
    /// Longest connecting of one of them, milliseconds (`ctime_max`).
    pub connect_time_max: Count,
    /// Longest of them, milliseconds (`ttime_max`).
    pub total_time_max: Count,
    /// When the last stream came, milliseconds of the process's clock, plus 1 (`lastsess`); 0: none.
    pub last_session: Count,
}

/// How long a stream took, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// In queues.
    pub queue: u64,
    /// For connections.
    pub connect: u64,
    /// In all.
    pub total: u64,
}

impl Counters {
    /// Counts a stream that has come, which makes `active` at once and `rate` in the last second.
    pub fn stream(&self, active: u64, rate: u64, now: Millis) {
        self.sessions.one();
        self.sessions_max.raise(active);
        self.rate_max.raise(rate);
        self.last_session.set(now.0 + 1);
    }

    /// Adds the times of a stream that has ended.
    pub fn time(&self, taken: Taken) {
        self.queue_time.add(taken.queue);
        self.connect_time.add(taken.connect);
        self.total_time.add(taken.total);
        self.queue_time_max.raise(taken.queue);
        self.connect_time_max.raise(taken.connect);
        self.total_time_max.raise(taken.total);
        self.timed.one();
    }

    /// The times of the average stream.
    #[must_use]
    pub fn average(&self) -> Taken {
        let streams = self.timed.get().max(1);
        Taken {
            queue: self.queue_time.get() / streams,
            connect: self.connect_time.get() / streams,
            total: self.total_time.get() / streams,
        }
    }

    /// The longest times.
    #[must_use]
    pub fn longest(&self) -> Taken {
        Taken {
            queue: self.queue_time_max.get(),
            connect: self.connect_time_max.get(),
            total: self.total_time_max.get(),
        }
    }

    /// Forgets highest values.
    pub fn clear_highest(&self) {
        for highest in [
            &self.sessions_max,
            &self.rate_max,
            &self.queued_max,
            &self.queue_time_max,
            &self.connect_time_max,
            &self.total_time_max,
        ] {
            highest.set(0);
        }
    }

    /// Forgets everything but when the last stream came.
    pub fn clear(&self) {
        self.clear_highest();
        for count in [
            &self.connections,
            &self.sessions,
            &self.bytes_in,
            &self.bytes_out,
            &self.denied_requests,
            &self.denied_responses,
            &self.failed_requests,
            &self.denied_connections,
            &self.denied_sessions,
            &self.failed_connections,
            &self.failed_responses,
            &self.retries,
            &self.redispatches,
            &self.client_aborts,
            &self.server_aborts,
            &self.attempts,
            &self.internal_errors,
            &self.balanced,
            &self.queue_time,
            &self.connect_time,
            &self.total_time,
            &self.timed,
        ] {
            count.set(0);
        }
    }
}
