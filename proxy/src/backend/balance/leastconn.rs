//! `leastconn`: the server with the fewest streams for its weight.

use std::cmp::Ordering;

use super::{Algorithm, Ask, Load, Member};

/// Looks at every server each time, which costs less than keeping an order that every stream's
/// beginning and end would change.
#[derive(Debug)]
pub struct LeastConn {
    /// The turn in which each server was chosen last, so that equals take turns.
    last: Vec<u64>,
    turn: u64,
}

impl LeastConn {
    /// For so many servers.
    #[must_use]
    pub fn new(servers: &[Member]) -> Self {
        Self {
            last: vec![0; servers.len()],
            turn: 0,
        }
    }
}

/// Which of two servers has less to do for its weight. Those that wait for a server count as well.
///
/// What counts is the load that the server would have with one more, except that idle servers are
/// equal whatever their weights, as in HAProxy.
fn by_load(a: &Load, b: &Load) -> Ordering {
    let streams = |load: &Load| u64::from(load.served) + u64::from(load.queued);
    match (streams(a), streams(b)) {
        (0, 0) => Ordering::Equal,
        (0, _) => Ordering::Less,
        (_, 0) => Ordering::Greater,
        // Fractions are compared over their common denominator, so that nothing is rounded.
        (ours, theirs) => {
            ((ours + 1) * u64::from(b.weight)).cmp(&((theirs + 1) * u64::from(a.weight)))
        }
    }
}

impl Algorithm for LeastConn {
    fn update(&mut self, _: &[Load]) {}

    fn choose(&mut self, servers: &[Load], ask: &Ask<'_>) -> Option<usize> {
        let free = servers
            .iter()
            .enumerate()
            .filter(|(_, load)| load.is_free());
        let best = free
            .filter(|&(at, _)| ask.avoid != Some(at))
            .min_by(|&(one, a), &(other, b)| {
                by_load(a, b).then_with(|| self.last[one].cmp(&self.last[other]))
            })
            .map(|(at, _)| at);
        let chosen = best.or_else(|| {
            ask.avoid
                .filter(|&at| servers.get(at).is_some_and(Load::is_free))
        })?;
        self.turn += 1;
        self.last[chosen] = self.turn;
        Some(chosen)
    }
}
