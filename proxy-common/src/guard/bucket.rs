//! How often a source may connect: a token bucket.
//!
//! A bucket of as many tokens as connections are allowed per period, full at first, refilled
//! evenly. It is kept as the one point in time at which it will be full again, so that it fits into
//! a word that a compare-and-swap moves.

/// A limit. Nanoseconds.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rate {
    /// Time in which one connection is earned.
    pub interval_ns: u64,
    /// What an empty bucket needs to fill: the interval times the connections of one period.
    pub fill_ns: u64,
}

impl Rate {
    /// `connections` per `period_ns`; `None` if that cannot be told in whole nanoseconds to better
    /// than a thousandth, or is none at all.
    #[must_use]
    pub fn new(connections: u32, period_ns: u64) -> Option<Self> {
        let interval_ns = period_ns.checked_div(u64::from(connections))?;
        (interval_ns >= 1000).then(|| Self {
            interval_ns,
            fill_ns: interval_ns * u64::from(connections),
        })
    }
}

/// Takes a token at `now` from the bucket that will be full at `full_at` (0: a source never seen).
///
/// # Errors
/// There is none; the nanoseconds until there is one.
#[inline(always)]
pub fn take(full_at: u64, now: u64, rate: &Rate) -> Result<u64, u64> {
    let from = if full_at > now { full_at } else { now };
    let next = from + rate.interval_ns;
    let missing = next - now;
    if missing <= rate.fill_ns {
        Ok(next)
    } else {
        Err(missing - rate.fill_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_full_bucket_gives_exactly_the_connections_of_a_period_at_once() {
        for connections in [1, 3, 7, 1000, 999_983] {
            let rate = Rate::new(connections, SECOND).expect("a rate");
            let mut full_at = 0;
            for _ in 0..connections {
                full_at = take(full_at, 5, &rate).expect("a token");
            }
            let wait = take(full_at, 5, &rate).expect_err("the bucket is empty");
            assert_eq!(wait, rate.interval_ns);
            assert!(take(full_at, 5 + wait, &rate).is_ok());
            assert!(take(full_at, 4 + wait, &rate).is_err());
        }
    }

    #[test]
    fn a_steady_flood_gets_the_rate() {
        for (connections, period) in [(5, SECOND), (100, 10 * SECOND), (3000, SECOND / 10)] {
            let rate = Rate::new(connections, period).expect("a rate");
            let (mut full_at, mut accepted, mut now) = (0, 0_u64, 77 * SECOND);
            let end = now + 100 * period;
            // Four attempts for each that is earned, at times that do not divide the interval.
            while now < end {
                if let Ok(next) = take(full_at, now, &rate) {
                    full_at = next;
                    accepted += 1;
                }
                now += rate.interval_ns / 4 - 3;
            }
            // The full bucket at the start counts as one period more.
            let expected = u64::from(connections) * 101;
            assert!(
                accepted.abs_diff(expected) * 100 <= expected,
                "{accepted} {expected}"
            );
        }
    }

    #[test]
    fn limits_that_cannot_be_told_are_none() {
        assert_eq!(Rate::new(0, SECOND), None);
        assert_eq!(Rate::new(2_000_000, SECOND), None);
        assert_eq!(Rate::new(1, 0), None);
        assert!(Rate::new(1_000_000, SECOND).is_some());
    }
}
