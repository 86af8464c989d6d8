//! `static-rr`: turns by the weights that the configuration gives, along a list made in advance.

use super::map::Map;
use super::{Algorithm, Ask, Load, Member};

/// Goes round a [`Map`].
#[derive(Debug)]
pub struct StaticRr {
    map: Map,
    turns: Turns,
}

impl StaticRr {
    /// Of these servers.
    #[must_use]
    pub fn new(servers: &[Member]) -> Self {
        Self {
            map: Map::new(servers),
            turns: Turns::default(),
        }
    }
}

impl Algorithm for StaticRr {
    fn update(&mut self, servers: &[Load]) {
        self.map.update(servers);
    }

    fn choose(&mut self, servers: &[Load], ask: &Ask<'_>) -> Option<usize> {
        self.turns.next(&self.map, servers, ask.avoid)
    }
}

/// How far round a [`Map`] the turns are.
#[derive(Debug, Default)]
pub(super) struct Turns {
    next: usize,
}

impl Turns {
    /// The next server that can take a stream at once; `avoid` only if nobody else can.
    pub(super) fn next(
        &mut self,
        map: &Map,
        servers: &[Load],
        avoid: Option<usize>,
    ) -> Option<usize> {
        let may = |at: usize| servers.get(at).is_some_and(Load::is_free);
        let slots = map.slots();
        // The map shrinks when servers leave.
        let from = if self.next < slots.len() {
            self.next
        } else {
            0
        };
        let mut way = (from..slots.len()).chain(0..from);
        let found = way.find(|&slot| {
            let at = slots[slot] as usize;
            avoid != Some(at) && may(at)
        });
        match found {
            Some(slot) => {
                self.next = slot + 1;
                Some(slots[slot] as usize)
            }
            None => avoid.filter(|&at| may(at)),
        }
    }
}
