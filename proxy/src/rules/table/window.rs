//! Rates over a sliding window, as HAProxy defines them.
//!
//! Events are counted per period. A reading takes all of the current period and as much of the one
//! before as the window, which ends now, still covers, as if its events had been spread evenly.

/// Events of the current period and of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Window {
    /// When the current period began, in milliseconds; it wraps around after 49.7 days.
    pub(super) began: u32,
    /// Events of the current period.
    pub(super) current: u64,
    /// Events of the period before.
    pub(super) previous: u64,
}

impl Window {
    /// Counts `events` at `now`; returns those of the current period.
    pub fn add(&mut self, events: u64, now: u32, period: u32) -> u64 {
        if self.current == 0 && self.previous == 0 {
            self.began = now;
        } else if now.wrapping_sub(self.began) >= period {
            self.previous = self.current;
            self.current = 0;
            self.began = self.began.wrapping_add(period);
            // Nothing happened for a whole period: the next one starts with this event.
            if now.wrapping_sub(self.began) >= period {
                self.previous = 0;
                self.began = now;
            }
        }
        self.current = self.current.saturating_add(events);
        self.current
    }

    /// Events per period, as of `now`.
    #[must_use]
    pub fn read(&self, now: u32, period: u32) -> u64 {
        let elapsed = u64::from(now.wrapping_sub(self.began));
        let period = u64::from(period);
        let (current, previous, remains) = if elapsed <= period {
            (self.current, self.previous, period - elapsed)
        } else if elapsed <= 2 * period {
            (0, self.current, 2 * period - elapsed)
        } else {
            (0, 0, 0)
        };
        // A single event would vanish at once when its share falls below 1: it counts as one for
        // the whole of the period.
        if current == 0 && previous <= 1 {
            return previous;
        }
        let share = u128::from(previous) * u128::from(remains) / u128::from(period);
        current.saturating_add(u64::try_from(share).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Readings at these times after ten events at 1000, in periods of 100 ms.
    #[test]
    fn a_burst_fades_over_the_period_after_its_own() {
        let mut window = Window::default();
        for _ in 0..10 {
            window.add(1, 1000, 100);
        }
        let readings = [1000, 1099, 1100, 1101, 1150, 1189, 1191, 1200, 1201, 5000]
            .map(|now| window.read(now, 100));
        assert_eq!(readings, [10, 10, 10, 9, 5, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn a_single_event_counts_for_two_periods() {
        let mut window = Window::default();
        window.add(1, 1010, 100);
        let readings = [1010, 1100, 1199, 1200, 1201].map(|now| window.read(now, 100));
        assert_eq!(readings, [1, 1, 1, 1, 1]);
        assert_eq!([1210, 1211].map(|now| window.read(now, 100)), [1, 0]);
    }

    #[test]
    fn periods_follow_each_other_while_events_come() {
        let mut window = Window::default();
        window.add(4, 1000, 100);
        assert_eq!(window.add(3, 1150, 100), 3);
        assert_eq!((window.began, window.previous), (1100, 4));
        assert_eq!(window.read(1150, 100), 3 + 2);
        assert_eq!(window.add(1, 1400, 100), 1);
        assert_eq!((window.began, window.previous), (1400, 0));
    }

    #[test]
    fn the_clock_may_wrap_around() {
        let mut window = Window::default();
        window.add(4, u32::MAX - 20, 100);
        window.add(4, 50, 100);
        assert_eq!(window.read(50, 100), 8);
        assert_eq!(window.add(4, 79, 100), 4);
        assert_eq!((window.began, window.previous), (79, 8));
    }
}
