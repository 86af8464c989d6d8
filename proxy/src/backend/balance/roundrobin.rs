//! `roundrobin`: servers take turns in proportion to their weights in effect, and turns of one
//! server are spread as evenly as the weights allow.

use super::{Algorithm, Ask, Load, Member};

/// Smooth weighted round robin: before each turn everybody gets the credit of its weight, and who
/// has most takes the turn and pays for all of them.
#[derive(Debug)]
pub struct RoundRobin {
    shares: Vec<Share>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Share {
    weight: i64,
    /// How far this server is behind its share.
    credit: i64,
}

impl RoundRobin {
    /// For so many servers.
    #[must_use]
    pub fn new(servers: &[Member]) -> Self {
        Self {
            shares: vec![Share::default(); servers.len()],
        }
    }
}

impl Algorithm for RoundRobin {
    /// Credits outlive a change: weights change often while a server starts slowly, and the turns
    /// must not begin anew with the first server each time.
    fn update(&mut self, servers: &[Load]) {
        let weight = |load: &Load| i64::from(if load.is_there() { load.weight } else { 0 });
        let total: i64 = servers.iter().map(weight).sum();
        for (share, load) in self.shares.iter_mut().zip(servers) {
            let weight = weight(load);
            share.credit = if weight == 0 || share.weight == 0 {
                0
            } else {
                share.credit.clamp(-total, total)
            };
            share.weight = weight;
        }
    }

    fn choose(&mut self, servers: &[Load], ask: &Ask<'_>) -> Option<usize> {
        let mut total = 0;
        let mut best: Option<(usize, i64)> = None;
        for (at, (share, load)) in self.shares.iter_mut().zip(servers).enumerate() {
            // Who cannot take this turn saves up nothing for later.
            if share.weight == 0 || !load.is_free() || ask.avoid == Some(at) {
                continue;
            }
            share.credit += share.weight;
            total += share.weight;
            // The first of equals, so that equal weights go in file order.
            if best.is_none_or(|(_, credit)| share.credit > credit) {
                best = Some((at, share.credit));
            }
        }
        match best {
            Some((at, _)) => {
                self.shares[at].credit -= total;
                Some(at)
            }
            None => ask
                .avoid
                .filter(|&at| servers.get(at).is_some_and(Load::is_free)),
        }
    }
}
