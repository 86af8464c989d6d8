//! Who has which address: questions, answers and the clock in, queries and changes of servers out.
//!
//! A server is a slot. A slot of a host takes one of the addresses of its name; a slot of a service
//! takes one of its records, which has a host name, a port and a weight ([`service`]).

pub mod errand;
mod service;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::choose::choose;
use super::inquiry::{Inquiry, Patience, Step};
use super::question::{Answer, Failure, Kind, Question, Service, Status};
use super::seen::{Identity, Seen};
use crate::config::model::names::{HostName, Wish};
use crate::rules::scene::Millis;
use crate::stream::living::ServerAt;

/// Why a server goes down whose name has no address for it; HAProxy's words, its blank included.
const NO_ADDRESS: &str = "No IP for server ";

/// A `resolvers` section.
#[derive(Debug, Clone)]
pub struct Section {
    /// How patiently it asks.
    pub patience: Patience,
    /// How long errors are borne, ms.
    pub holds: Holds,
}

/// `hold`, in ms.
#[derive(Debug, Clone, Copy)]
pub struct Holds {
    /// The last resolution is too fresh to be made again because of a check.
    pub valid: u64,
    /// There is no such name.
    pub nx: u64,
    /// The query was refused.
    pub refused: u64,
    /// Nobody answered.
    pub timeout: u64,
    /// Any other error.
    pub other: u64,
    /// A record is in answers no more.
    pub obsolete: u64,
}

impl Holds {
    fn of(&self, status: Status) -> u64 {
        match status {
            Status::Nx => self.nx,
            Status::Refused => self.refused,
            Status::Timeout => self.timeout,
            Status::Other => self.other,
        }
    }
}

/// A server whose name is resolved.
#[derive(Debug, Clone)]
pub struct SlotPlan {
    /// The server.
    pub at: ServerAt,
    /// Its name.
    pub host: HostName,
    /// Its section, by index.
    pub section: usize,
    /// What it wants of addresses.
    pub wish: Wish,
    /// The weights of SRV records do not count.
    pub ignore_weight: bool,
    /// What it starts with; `None`: it is in maintenance.
    pub address: Option<IpAddr>,
}

/// A query for all name servers of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Whose it is.
    pub inquiry: u64,
    /// Of which resolution: the answer gives it back.
    pub round: u64,
    /// The section, by index.
    pub section: usize,
    /// What to ask.
    pub question: Question,
}

/// Where an address came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// This name server of the section.
    Nameserver {
        /// The section, by index.
        section: usize,
        /// The name server, by index.
        nameserver: usize,
    },
    /// The same answer had served another server before.
    Cache,
    /// It came with an SRV record.
    Additional,
}

/// A change of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Another address.
    Address {
        /// The one before.
        from: Option<IpAddr>,
        /// The new one.
        to: IpAddr,
        /// Of an SRV record: the port.
        port: Option<u16>,
        /// Where it came from.
        by: By,
    },
    /// Another host, from an SRV record; `None`: it stands for nothing now.
    Host {
        /// The one before.
        from: Option<Arc<str>>,
        /// The new one.
        to: Option<Arc<str>>,
    },
    /// The weight of its SRV record, 0 to 256.
    Weight(u16),
    /// It has no address, and this is why.
    Down(&'static str),
    /// It has one again.
    Up {
        /// By an answer to a question of its own.
        answered: bool,
    },
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask.
    Ask(Ask),
    /// Change a server.
    Change(ServerAt, Effect),
}

#[derive(Debug)]
struct Slot {
    at: ServerAt,
    section: usize,
    wish: Wish,
    ignore_weight: bool,
    address: Option<IpAddr>,
    /// Its name, in lower case; a slot of a service has that of its record.
    host: Option<Arc<str>>,
    /// Who asks for addresses of the name.
    inquiry: Option<u64>,
    /// Of a slot of a service.
    service: Option<Place>,
    /// It is in maintenance.
    down: bool,
}

/// A slot's place in a service.
#[derive(Debug)]
struct Place {
    /// Who asks for the service.
    inquiry: u64,
    /// The port of the record that it has.
    port: Option<u16>,
    /// The weight that it was given last.
    weight: Option<u16>,
}

#[derive(Debug)]
struct Entry {
    section: usize,
    inquiry: Inquiry,
    addresses: Seen<IpAddr>,
    services: Seen<Service>,
}

impl Identity for IpAddr {
    fn is(&self, other: &Self) -> bool {
        self == other
    }
}

impl Identity for Service {
    fn is(&self, other: &Self) -> bool {
        (&self.target, self.port) == (&other.target, other.port)
    }
}

/// All names, and all servers that have one.
#[derive(Debug)]
pub struct Machine {
    sections: Vec<Section>,
    entries: BTreeMap<u64, Entry>,
    next: u64,
    /// In the order of the configuration.
    slots: Vec<Slot>,
    actions: Vec<Action>,
}

impl Machine {
    /// Has everything to ask at `now`.
    #[must_use]
    pub fn new(sections: Vec<Section>, mut plans: Vec<SlotPlan>, now: Millis) -> Self {
        plans.sort_by_key(|plan| plan.at);
        let mut machine = Self {
            sections,
            entries: BTreeMap::new(),
            next: 0,
            slots: Vec::new(),
            actions: Vec::new(),
        };
        for plan in plans {
            let name: Arc<str> = plan.host.text().to_ascii_lowercase().into();
            let mut slot = Slot {
                at: plan.at,
                section: plan.section,
                address: plan.address,
                host: None,
                inquiry: None,
                service: None,
                down: plan.address.is_none(),
                wish: plan.wish,
                ignore_weight: plan.ignore_weight,
            };
            match plan.host {
                HostName::Host(_) => {
                    let kind = slot.wish.family.into();
                    slot.inquiry = Some(machine.inquiry(plan.section, &name, kind, now));
                    slot.host = Some(name);
                }
                HostName::Service(_) => {
                    slot.service = Some(Place {
                        inquiry: machine.inquiry(plan.section, &name, Kind::Srv, now),
                        port: None,
                        weight: None,
                    });
                }
            }
            machine.slots.push(slot);
        }
        machine
    }

    /// When [`Machine::tick`] has something to do.
    #[must_use]
    pub fn due(&self) -> Option<Millis> {
        let entries = self.entries.values();
        entries.filter_map(|entry| entry.inquiry.due()).min()
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Millis) -> Vec<Action> {
        let ids: Vec<u64> = self.entries.keys().copied().collect();
        for id in ids {
            if let Some(entry) = self.entries.get_mut(&id) {
                let step = entry.inquiry.tick(now);
                self.step(now, id, step, None);
            }
        }
        std::mem::take(&mut self.actions)
    }

    /// A name server's answer to `ask`.
    pub fn answered(
        &mut self,
        now: Millis,
        ask: &Ask,
        nameserver: usize,
        answer: Result<Answer, Failure>,
    ) -> Vec<Action> {
        if let Some(entry) = self.entries.get_mut(&ask.inquiry) {
            let step = entry
                .inquiry
                .answered(now, ask.round, ask.question.kind, answer);
            self.step(now, ask.inquiry, step, Some(nameserver));
        }
        std::mem::take(&mut self.actions)
    }

    /// The address that a server has, whoever gave it: people change addresses too.
    pub fn observe(&mut self, at: ServerAt, address: IpAddr) {
        if let Ok(index) = self.slots.binary_search_by_key(&at, |slot| slot.at) {
            let slot = &mut self.slots[index];
            if !slot.down {
                slot.address = Some(address);
            }
        }
    }

    /// The servers that have an address.
    pub fn resolved(&self) -> impl Iterator<Item = ServerAt> {
        let up = self.slots.iter().filter(|slot| !slot.down);
        up.map(|slot| slot.at)
    }

    /// Who asks this; asks from `now` on if nobody did.
    fn inquiry(&mut self, section: usize, name: &Arc<str>, kind: Kind, now: Millis) -> u64 {
        let known = self.entries.iter().find(|(_, entry)| {
            let inquiry = &entry.inquiry;
            entry.section == section && inquiry.kind == kind && inquiry.name == *name
        });
        if let Some((id, _)) = known {
            return *id;
        }
        let patience = self.sections[section].patience;
        let id = self.next;
        self.next += 1;
        let entry = Entry {
            section,
            inquiry: Inquiry::new(Arc::clone(name), kind, patience, now),
            addresses: Seen::default(),
            services: Seen::default(),
        };
        self.entries.insert(id, entry);
        id
    }

    fn change(&mut self, slot: usize, effect: Effect) {
        let at = self.slots[slot].at;
        self.actions.push(Action::Change(at, effect));
    }

    fn step(&mut self, now: Millis, id: u64, step: Step, nameserver: Option<usize>) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let section = entry.section;
        let holds = self.sections[section].holds;
        match step {
            Step::Wait => {}
            Step::Ask(kind) => {
                let ask = Ask {
                    inquiry: id,
                    round: entry.inquiry.round(),
                    section,
                    question: Question {
                        name: Arc::clone(&entry.inquiry.name),
                        kind,
                    },
                };
                self.actions.push(Action::Ask(ask));
            }
            Step::Valid(Answer::Addresses(addresses)) => {
                entry.addresses.update(now, addresses, holds.obsolete);
                let by = nameserver.map_or(By::Cache, |nameserver| By::Nameserver {
                    section,
                    nameserver,
                });
                self.give_addresses(id, by);
            }
            Step::Valid(Answer::Services(services)) => {
                entry.services.update(now, services, holds.obsolete);
                self.give_services(id, now);
            }
            Step::Failed(status) if !entry.inquiry.holds(now, holds.of(status)) => {
                entry.addresses.clear();
                entry.services.clear();
                for slot in self.asking(id) {
                    self.take_down(slot, status.why());
                }
                self.give_services(id, now);
            }
            Step::Failed(_) => {}
        }
    }

    /// The slots that take addresses from this inquiry.
    fn asking(&self, id: u64) -> Vec<usize> {
        let slots = self.slots.iter().enumerate();
        slots
            .filter(|(_, slot)| slot.inquiry == Some(id))
            .map(|(index, _)| index)
            .collect()
    }

    /// Gives every slot of a host its address.
    fn give_addresses(&mut self, id: u64, first: By) {
        let Some(entry) = self.entries.get(&id) else {
            return;
        };
        let addresses: Vec<IpAddr> = entry.addresses.iter().copied().collect();
        let mut owners = self.owners(&Arc::clone(&entry.inquiry.name));
        let mut by = first;
        for index in self.asking(id) {
            let slot = &self.slots[index];
            let (backend, before) = (slot.at.backend, slot.address);
            let found = choose(addresses.iter().copied(), &slot.wish, before, |ip| {
                let owners = owners.get(&(backend, ip));
                owners.into_iter().flatten().any(|owner| {
                    // Servers may have begun with the same address: the first of them keeps it.
                    *owner < index || (*owner > index && before != Some(ip))
                })
            });
            if let Some(ip) = before {
                let all = owners.entry((backend, ip)).or_default();
                all.remove(&index);
            }
            match found {
                Some(ip) => {
                    owners.entry((backend, ip)).or_default().insert(index);
                    self.give_address(index, ip, by);
                    self.bring_up(index, true);
                }
                None => self.take_down(index, NO_ADDRESS),
            }
            // What the first of them leaves is not news.
            by = By::Cache;
        }
    }

    /// Who has which address, by backend, among the servers of one name.
    fn owners(&self, name: &Arc<str>) -> HashMap<(usize, IpAddr), BTreeSet<usize>> {
        let mut owners: HashMap<_, BTreeSet<_>> = HashMap::new();
        for (index, slot) in self.slots.iter().enumerate() {
            if let Some(ip) = slot.address
                && slot.host.as_ref() == Some(name)
            {
                let all = owners.entry((slot.at.backend, ip)).or_default();
                all.insert(index);
            }
        }
        owners
    }

    fn give_address(&mut self, index: usize, to: IpAddr, by: By) {
        let slot = &mut self.slots[index];
        let from = slot.address.replace(to);
        if from != Some(to) {
            let port = slot.service.as_ref().and_then(|place| place.port);
            self.change(index, Effect::Address { from, to, port, by });
        }
    }

    fn bring_up(&mut self, index: usize, answered: bool) {
        if std::mem::take(&mut self.slots[index].down) {
            self.change(index, Effect::Up { answered });
        }
    }

    fn take_down(&mut self, index: usize, why: &'static str) {
        let slot = &mut self.slots[index];
        slot.address = None;
        if !std::mem::replace(&mut slot.down, true) {
            self.change(index, Effect::Down(why));
        }
    }
}

#[cfg(test)]
mod tests;
