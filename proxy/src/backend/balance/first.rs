//! `first`: the server with the lowest id that has room, so that as few servers as possible are in
//! use.

use super::{Algorithm, Ask, Load, Member};

/// Servers by their ids. Weights do not matter, except that 0 takes nothing.
#[derive(Debug)]
pub struct First {
    order: Vec<usize>,
}

impl First {
    /// Of these servers.
    #[must_use]
    pub fn new(servers: &[Member]) -> Self {
        let mut order: Vec<usize> = (0..servers.len()).collect();
        order.sort_by_key(|&at| servers[at].id);
        Self { order }
    }
}

impl Algorithm for First {
    fn update(&mut self, _: &[Load]) {}

    fn choose(&mut self, servers: &[Load], ask: &Ask<'_>) -> Option<usize> {
        let order = self.order.iter().copied();
        let free = order.filter(|&at| servers.get(at).is_some_and(Load::is_free));
        let (mut others, mut avoided) = (free.clone(), free);
        others
            .find(|&at| ask.avoid != Some(at))
            .or_else(|| avoided.find(|&at| ask.avoid == Some(at)))
    }
}
