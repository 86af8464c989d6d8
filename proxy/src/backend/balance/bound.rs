//! `hash-balance-factor`: no server gets much more than its share.

use super::Load;

/// How much more than the average a server may have.
#[derive(Debug)]
pub(super) struct Bound {
    /// Percent of the average; 0: no bound.
    factor: u32,
    /// Where each server's share begins among the weights of all, and after them their total.
    starts: Vec<u64>,
}

impl Bound {
    /// With this factor, in percent; 0: no bound.
    pub(super) fn new(factor: u32) -> Self {
        Self {
            factor,
            starts: vec![0],
        }
    }

    /// Weights or usability have changed.
    pub(super) fn update(&mut self, servers: &[Load]) {
        self.starts.clear();
        let mut total = 0;
        for load in servers {
            self.starts.push(total);
            total += u64::from(if load.is_there() { load.weight } else { 0 });
        }
        self.starts.push(total);
    }

    /// The bound with one stream more than there are now.
    ///
    /// Linear in the number of servers where there is a factor; nothing is kept that could come to
    /// differ from the servers' own counts.
    pub(super) fn now(&self, servers: &[Load]) -> Places<'_> {
        let places = (self.factor > 0).then(|| {
            let served: u64 = servers.iter().map(|load| u64::from(load.served)).sum();
            ((served + 1) * u64::from(self.factor)).div_ceil(100)
        });
        Places {
            starts: &self.starts,
            places,
        }
    }
}

/// How many streams servers may have at a moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places<'a> {
    starts: &'a [u64],
    /// Of all servers together; `None`: no bound.
    places: Option<u64>,
}

impl Places<'_> {
    /// Whether a server may have one more.
    ///
    /// Places are dealt out along the servers by weight, so that their sum is exactly what there
    /// is; a server always has one.
    pub(super) fn allow(self, server: usize, load: &Load) -> bool {
        let Some(places) = self.places else {
            return true;
        };
        let [start, end] = [server, server + 1].map(|at| self.starts.get(at).copied().unwrap_or(0));
        let total = self.starts.last().copied().unwrap_or(0).max(1);
        let up_to =
            |weight: u64| (u128::from(places) * u128::from(weight) / u128::from(total)) as u64;
        let mine = up_to(end).saturating_sub(up_to(start)).max(1);
        u64::from(load.served) < mine
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn load(weight: u32, served: u32) -> Load {
        Load {
            weight,
            usable: true,
            served,
            queued: 0,
            limit: u32::MAX,
        }
    }

    #[test]
    fn no_factor_no_bound() {
        let servers = [load(1, 1000), load(1, 0)];
        let mut bound = Bound::new(0);
        bound.update(&servers);
        assert!(bound.now(&servers).allow(0, &servers[0]));
    }

    #[test]
    fn one_and_a_half_times_the_average() {
        // With the next one there are 20 streams: an average of 10, 15 at most.
        let mut bound = Bound::new(150);
        bound.update(&[load(16, 0), load(16, 0)]);
        let verdict = |served: [u32; 2]| {
            let servers = served.map(|served| load(16, served));
            let places = bound.now(&servers);
            [0, 1].map(|at| places.allow(at, &servers[at]))
        };
        assert_eq!(verdict([14, 5]), [true, true]);
        assert_eq!(verdict([15, 4]), [false, true]);
    }

    proptest! {
        #[test]
        fn somebody_may_always_have_one_more(
            servers in prop::collection::vec((0u32..100, 0u32..50), 1..20),
            factor in 101u32..300,
        ) {
            let servers: Vec<_> = servers.into_iter().map(|(weight, served)| load(weight, served)).collect();
            prop_assume!(servers.iter().any(Load::is_there));
            let mut bound = Bound::new(factor);
            bound.update(&servers);
            let places = bound.now(&servers);
            let mut there = servers.iter().enumerate().filter(|(_, load)| load.is_there());
            prop_assert!(there.any(|(at, load)| places.allow(at, load)));
        }
    }
}
