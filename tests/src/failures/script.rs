//! When which server fails, and how: a function of the seed.

use std::time::Duration;

/// How a server fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing listens: connections are refused.
    Refuse,
    /// It accepts nothing and its backlog is full: connections stay without an answer.
    Hang,
    /// It resets connections as soon as it has them.
    ResetAtOnce,
    /// It resets connections with half of its answer sent.
    ResetMidway,
    /// It answers, after a while.
    Slow,
}

const FAULTS: [Fault; 5] = [
    Fault::Refuse,
    Fault::Hang,
    Fault::ResetAtOnce,
    Fault::ResetMidway,
    Fault::Slow,
];

impl Fault {
    /// How long it lasts, from and to, in milliseconds. Those that nothing can be done about are short.
    const fn lasts(self) -> (u64, u64) {
        match self {
            Self::Refuse | Self::Hang => (600, 1800),
            Self::ResetAtOnce | Self::ResetMidway => (300, 900),
            Self::Slow => (500, 1500),
        }
    }
}

/// How long a server is well, from and to, in milliseconds.
const WELL: (u64, u64) = (800, 2500);

/// How long a fault is put off that would leave no server well, in milliseconds.
const PUT_OFF: u64 = 200;

/// A server changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Since the begin.
    pub at: Duration,
    /// Its index.
    pub server: usize,
    /// What it does from now on; without a fault it is well.
    pub mode: Option<Fault>,
}

/// The events of the first `length`, in order. All servers begin well, and one of them is at every moment.
#[must_use]
pub fn events(seed: u64, servers: usize, length: Duration) -> Vec<Event> {
    let mut random = Random::new(seed);
    let mut modes = vec![None; servers];
    let mut next: Vec<u64> = (0..servers).map(|_| random.between(WELL)).collect();
    let mut events = Vec::new();
    loop {
        let Some(server) = (0..servers).min_by_key(|&server| next[server]) else {
            return events;
        };
        let now = next[server];
        let at = Duration::from_millis(now);
        if at >= length {
            return events;
        }
        let others_well = (0..servers).any(|other| other != server && modes[other].is_none());
        let mode = match modes[server] {
            Some(_) => None,
            None if !others_well => {
                next[server] = now + PUT_OFF;
                continue;
            }
            None => {
                let number = random.between((0, FAULTS.len() as u64 - 1));
                FAULTS.into_iter().nth(usize::try_from(number).unwrap_or(0))
            }
        };
        next[server] = now + random.between(mode.map_or(WELL, Fault::lasts));
        modes[server] = mode;
        events.push(Event { at, server, mode });
    }
}

/// A stream of numbers that look random.
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// splitmix64.
    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `from` to `to`, both included.
    pub(super) const fn between(&mut self, (from, to): (u64, u64)) -> u64 {
        from + self.next() % (to - from + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_seed_is_a_script() {
        assert_eq!(events(7, 3, MINUTE), events(7, 3, MINUTE));
        assert_ne!(events(7, 3, MINUTE), events(8, 3, MINUTE));
    }

    #[test]
    fn one_server_is_always_well() {
        for seed in 0..100 {
            let mut modes = [None; 3];
            let mut before = Duration::ZERO;
            for event in events(seed, 3, MINUTE) {
                assert!(event.at >= before && event.at < MINUTE);
                before = event.at;
                assert_ne!(modes[event.server].is_none(), event.mode.is_none());
                modes[event.server] = event.mode;
                assert!(modes.iter().any(Option::is_none), "seed {seed}");
            }
        }
    }

    #[test]
    fn every_fault_comes() {
        let events = events(1, 3, MINUTE);
        for fault in FAULTS {
            assert!(events.iter().any(|e| e.mode == Some(fault)), "{fault:?}");
        }
    }
}
