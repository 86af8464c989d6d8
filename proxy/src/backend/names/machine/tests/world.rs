//! Names and their records, and one name server that answers at once.

use std::collections::HashMap;

use super::super::errand::Errand;
use super::super::*;

/// What the section bears, ms.
const HOLDS: Holds = Holds {
    valid: 500,
    nx: 5000,
    refused: 3000,
    timeout: 4000,
    other: 2000,
    obsolete: 0,
};

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn host(name: &str) -> HostName {
    if name.starts_with('_') {
        HostName::Service(name.into())
    } else {
        HostName::Host(name.into())
    }
}

/// A server of backend 0; its index is set by [`World::new`].
pub(super) fn plan(name: &str, address: Option<&str>) -> SlotPlan {
    SlotPlan {
        at: ServerAt {
            backend: 0,
            server: 0,
        },
        host: host(name),
        section: 0,
        wish: Wish::default(),
        ignore_weight: false,
        address: address.map(ip),
    }
}

/// What the name server says of a name.
#[derive(Debug, Clone)]
pub(super) enum Says {
    Addresses(Vec<IpAddr>),
    Services(Vec<Service>),
    /// Nothing, or an error.
    Fails(Option<Failure>),
}

pub(super) struct World {
    pub(super) machine: Machine,
    pub(super) slots: Vec<SlotPlan>,
    pub(super) now: Millis,
    zone: HashMap<String, Says>,
    asked: usize,
    /// When a name was last answered with records.
    pub(super) valid: HashMap<String, u64>,
    /// What the machine did, and when.
    pub(super) changes: Vec<(u64, ServerAt, Effect)>,
}

impl World {
    pub(super) fn new(slots: Vec<SlotPlan>) -> Self {
        Self::with(slots, |_| {})
    }

    pub(super) fn with(mut slots: Vec<SlotPlan>, change: impl FnOnce(&mut Section)) -> Self {
        let mut section = Section {
            patience: Patience {
                resolve: 1000,
                retry: 300,
                tries: 3,
                nameservers: 1,
            },
            holds: HOLDS,
        };
        change(&mut section);
        for (index, slot) in slots.iter_mut().enumerate() {
            slot.at.server = index;
        }
        let now = Millis(100_000);
        Self {
            machine: Machine::new(vec![section], slots.clone(), now),
            slots,
            now,
            zone: HashMap::new(),
            asked: 0,
            valid: HashMap::new(),
            changes: Vec::new(),
        }
    }

    pub(super) fn set(&mut self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|text| ip(text)).collect();
        self.zone
            .insert(name.to_owned(), Says::Addresses(addresses));
    }

    pub(super) fn says(&mut self, name: &str, says: Says) {
        self.zone.insert(name.to_owned(), says);
    }

    /// `None`: nobody answers.
    pub(super) fn fail(&mut self, name: &str, failure: Option<Failure>) {
        self.zone.insert(name.to_owned(), Says::Fails(failure));
    }

    /// Queries since the last call.
    pub(super) fn asked(&mut self) -> usize {
        std::mem::take(&mut self.asked)
    }

    /// What is known of a name, whatever is asked for.
    pub(super) fn known(&self, name: &str) -> Option<&Says> {
        self.zone.get(name)
    }

    fn answer(&self, question: &Question) -> Option<Result<Answer, Failure>> {
        let Some(says) = self.zone.get(&*question.name) else {
            return Some(Err(Failure::Nx));
        };
        let of_kind = |ip: &&IpAddr| ip.is_ipv4() == (question.kind == Kind::A);
        let answer = match says {
            Says::Fails(failure) => return failure.map(Err),
            Says::Addresses(all) if question.kind != Kind::Srv => {
                Answer::Addresses(all.iter().filter(of_kind).copied().collect())
            }
            Says::Services(all) if question.kind == Kind::Srv => Answer::Services(all.clone()),
            _ => return Some(Err(Failure::Empty)),
        };
        Some(match &answer {
            Answer::Addresses(none) if none.is_empty() => Err(Failure::Empty),
            Answer::Services(none) if none.is_empty() => Err(Failure::Empty),
            _ => Ok(answer),
        })
    }

    /// Lets `ms` pass, and gives the changes as lines: the server's index, and what happened.
    pub(super) fn run(&mut self, ms: u64) -> Vec<String> {
        let end = Millis(self.now.0 + ms);
        let before = self.changes.len();
        while let Some(due) = self.machine.due().filter(|due| *due <= end) {
            assert!(
                due >= self.now || self.asked == 0,
                "what was due was not done"
            );
            self.now = due.max(self.now);
            let actions = self.machine.tick(self.now);
            self.perform_all(actions);
        }
        self.now = end;
        self.lines(before)
    }

    /// Has the machine run an errand, and gives the changes that come of it.
    pub(super) fn errand(&mut self, errand: &Errand) -> Vec<String> {
        let before = self.changes.len();
        let actions = self.machine.run(errand, self.now);
        self.perform_all(actions);
        self.lines(before)
    }

    fn lines(&self, from: usize) -> Vec<String> {
        self.changes[from..]
            .iter()
            .map(|(_, at, effect)| line(at.server, effect))
            .collect()
    }

    fn perform_all(&mut self, mut actions: Vec<Action>) {
        while !actions.is_empty() {
            let mut next = Vec::new();
            for action in actions {
                next.extend(self.perform(action));
            }
            actions = next;
        }
    }

    fn perform(&mut self, action: Action) -> Vec<Action> {
        match action {
            Action::Change(at, effect) => {
                self.changes.push((self.now.0, at, effect));
                Vec::new()
            }
            Action::Ask(ask) => {
                self.asked += 1;
                let Some(answer) = self.answer(&ask.question) else {
                    return Vec::new();
                };
                if answer.is_ok() {
                    let name = ask.question.name.to_string();
                    self.valid.insert(name, self.now.0);
                }
                self.machine.answered(self.now, &ask, 0, answer)
            }
        }
    }
}

fn line(server: usize, effect: &Effect) -> String {
    match effect {
        Effect::Address { from, to, port, by } => {
            let from = from.map_or("(none)".to_owned(), |from| from.to_string());
            let port = port.map_or(String::new(), |port| format!(":{port}"));
            let by = match by {
                By::Nameserver {
                    section,
                    nameserver,
                } => format!("{section}/{nameserver}"),
                By::Cache => "cache".to_owned(),
                By::Additional => "additional".to_owned(),
            };
            format!("{server} {from} > {to}{port} by {by}")
        }
        Effect::Host { from, to } => {
            let text = |name: &Option<Arc<str>>| name.as_deref().unwrap_or("-").to_owned();
            format!("{server} {} is {}", text(from), text(to))
        }
        Effect::Weight(weight) => format!("{server} weighs {weight}"),
        Effect::Down(why) => format!("{server} down: {why}"),
        Effect::Up { answered: true } => format!("{server} up, answered"),
        Effect::Up { answered: false } => format!("{server} up"),
    }
}
