//! What others ask of the machine: to resolve a name early, to resolve another name.

use std::sync::Arc;

use super::{Action, Machine};
use crate::backend::names::question::Kind;
use crate::rules::scene::Millis;
use crate::stream::living::ServerAt;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Errand {
    /// The server's check has failed: perhaps it is elsewhere by now.
    Doubt(ServerAt),
    /// The server stands for another host.
    Rename(ServerAt, Arc<str>),
}

impl Machine {
    /// Does as it is asked. A slot of a service has the host of its record and no other.
    pub fn run(&mut self, errand: &Errand, now: Millis) -> Vec<Action> {
        match errand {
            Errand::Doubt(at) => self.doubt(*at, now),
            Errand::Rename(at, host) => self.rename(*at, host, now),
        }
        self.tick(now)
    }

    /// Asks at once, unless the last resolution is too fresh to have missed anything.
    fn doubt(&mut self, at: ServerAt, now: Millis) {
        let Some(id) = self.slot(at).and_then(|slot| self.slots[slot].inquiry) else {
            return;
        };
        if let Some(entry) = self.entries.get_mut(&id) {
            let fresh = self.sections[entry.section].holds.valid;
            entry.inquiry.hurry(now, fresh);
        }
    }

    /// The address stays until there is an answer for the new name.
    fn rename(&mut self, at: ServerAt, host: &Arc<str>, now: Millis) {
        let Some(index) = self.slot(at) else {
            return;
        };
        let slot = &self.slots[index];
        if slot.service.is_some() {
            return;
        }
        let name: Arc<str> = host.to_ascii_lowercase().into();
        let kind: Kind = slot.wish.family.into();
        let inquiry = self.inquiry(slot.section, &name, kind, now);
        // Others have asked for it before: their answer is there already.
        if let Some(entry) = self.entries.get_mut(&inquiry) {
            entry.inquiry.hurry(now, 0);
        }
        let slot = &mut self.slots[index];
        slot.host = Some(name);
        slot.inquiry = Some(inquiry);
        self.forget_unused();
    }

    fn slot(&self, at: ServerAt) -> Option<usize> {
        self.slots.binary_search_by_key(&at, |slot| slot.at).ok()
    }
}
