//! What the guard did, and what it would do.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use aya::maps::MapError;
use aya::maps::lpm_trie::Key;
use underpass_common::guard::bucket::{self, Rate};
use underpass_common::guard::frame::Family;
use underpass_common::guard::{
    self, EVERY_ADDRESS, Guarded, Judgement, ListenerKey, Outcome, RESET, Reason, Rule, SCOPE_BITS,
    SourceKey,
};

use super::GuardError;
use super::plan::{How, Listener, family, from_octets, octets};
use super::tables::{Tables, named};
use crate::sys::process::monotonic_ns;

/// Why connections of a source are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The number of the rule.
    pub rule: u32,
    /// Where it is written, if the plan said so.
    pub note: String,
    /// How.
    pub how: How,
    /// By network or by rate.
    pub reason: Reason,
    /// How long from now until the next connection would be let in; `None`: as long as the rules
    /// stay.
    pub until: Option<Duration>,
    /// Where: each address ("every address" of a family is its unspecified one) and port.
    pub listeners: Vec<Listener>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.how {
            How::Drop => "dropped",
            How::Reset => "reset",
        };
        let reason = match self.reason {
            Reason::Network => "its network is denied",
            Reason::Rate => "it is over its rate",
        };
        let until = match self.until {
            None => "as long as the rules stay".to_owned(),
            Some(until) => format!("for another {:.3} s", until.as_secs_f64()),
        };
        let at: Vec<String> = self
            .listeners
            .iter()
            .map(|listener| match listener {
                (Some(IpAddr::V6(address)), port) => format!("[{address}]:{port}"),
                (Some(address), port) => format!("{address}:{port}"),
                (None, port) => format!("*:{port}"),
            })
            .collect();
        write!(f, "{how} at {}: {reason}, by ", at.join(" "))?;
        if self.note.is_empty() {
            write!(f, "rule {}", self.rule)?;
        } else {
            f.write_str(&self.note)?;
        }
        write!(f, ", {until}")
    }
}

/// What has been counted since the guard was attached: SYNs, retransmissions among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// By what became of them.
    pub outcomes: Vec<(Outcome, u64)>,
    /// Refused, by number of the rule.
    pub rules: BTreeMap<u32, u64>,
}

impl Counters {
    /// How many had this outcome.
    #[must_use]
    pub fn of(&self, outcome: Outcome) -> u64 {
        let found = self.outcomes.iter().find(|(known, _)| *known == outcome);
        found.map_or(0, |(_, count)| *count)
    }

    /// How many were refused, whatever the reason.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.rules.values().sum()
    }
}

/// The maps of a guard, read only: those of this process's own, or those of another's.
pub struct View<T>(T);

impl<T: Borrow<Tables>> View<T> {
    /// Reads these maps.
    pub fn of(tables: T) -> Self {
        Self(tables)
    }

    fn tables(&self) -> &Tables {
        self.0.borrow()
    }

    /// What has been counted.
    ///
    /// # Errors
    /// When the kernel refuses to tell.
    pub fn counters(&self) -> Result<Counters, GuardError> {
        let tables = self.tables();
        let mut counters = Counters::default();
        for outcome in Outcome::ALL {
            let values = tables.outcomes.get(&(outcome as u32), 0);
            let values = values.map_err(named("GUARD_OUTCOMES"))?;
            counters.outcomes.push((outcome, values.iter().sum()));
        }
        for slot in 0..tables.rules.len() {
            let rule = self.rule(slot)?;
            if rule == EMPTY {
                // Slots are given out in order.
                break;
            }
            let values = tables.refused.get(&slot, 0);
            let values = values.map_err(named("GUARD_REFUSED"))?;
            *counters.rules.entry(rule.id).or_default() += values.iter().sum::<u64>();
        }
        Ok(counters)
    }

    /// Why connections of `source` are refused now: an entry per refusing rule. The source's
    /// bucket is looked at, and nothing is taken from it.
    ///
    /// # Errors
    /// When the kernel refuses to tell.
    pub fn why(&self, source: IpAddr) -> Result<Vec<Refusal>, GuardError> {
        let tables = self.tables();
        let generation = tables.generation()?;
        let now = monotonic_ns();
        let reader = Reader { tables, now };
        let mut refusals: BTreeMap<(u32, bool), Refusal> = BTreeMap::new();
        for entry in tables.listeners.iter() {
            let (key, guarded) = match entry {
                Ok(entry) => entry,
                // Removed while it was read: of a generation that is no longer in force.
                Err(MapError::KeyNotFound) => continue,
                Err(error) => return Err(named("GUARD_LISTENERS")(error)),
            };
            if key.generation != generation || key.family != family(source) as u8 {
                continue;
            }
            let judgement = guard::judge_source(&key, &guarded, &octets(source), &reader);
            let Judgement::Refuse {
                rule: slot, reason, ..
            } = judgement
            else {
                continue;
            };
            let place = (slot, reason == Reason::Rate);
            let refusal = match refusals.entry(place) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    let rule = self.rule(slot)?;
                    let length = (rule.note_length as usize).min(rule.note.len());
                    entry.insert(Refusal {
                        rule: rule.id,
                        note: String::from_utf8_lossy(&rule.note[..length]).into_owned(),
                        how: if rule.how == RESET {
                            How::Reset
                        } else {
                            How::Drop
                        },
                        reason,
                        until: (reason == Reason::Rate)
                            .then(|| reader.wait(&octets(source), &guarded)),
                        listeners: Vec::new(),
                    })
                }
            };
            refusal.listeners.push(listener(&key));
        }
        Ok(refusals
            .into_values()
            .map(|mut refusal| {
                refusal.listeners.sort_unstable();
                refusal
            })
            .collect())
    }

    fn rule(&self, slot: u32) -> Result<Rule, GuardError> {
        let rule = self.tables().rules.get(&slot, 0);
        rule.map_err(named("GUARD_RULES"))
    }
}

/// A slot that no rule has had yet.
const EMPTY: Rule = Rule {
    id: 0,
    how: 0,
    note_length: 0,
    note: [0; guard::NOTE_BYTES],
};

/// The listener behind a key.
fn listener(key: &ListenerKey) -> Listener {
    let address = if key.address == EVERY_ADDRESS && key.family == Family::V4 as u8 {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    } else {
        from_octets(key.address)
    };
    (Some(address), key.port)
}

/// Asks the maps as the program does, and takes nothing from a bucket.
struct Reader<'t> {
    tables: &'t Tables,
    now: u64,
}

impl Reader<'_> {
    /// The source's bucket: when it is full again.
    fn full_at(&self, source: &SourceKey) -> u64 {
        self.tables.sources.get(source, 0).unwrap_or_default()
    }

    /// Until the next token.
    fn wait(&self, source: &[u8; 16], guarded: &Guarded) -> Duration {
        let key = SourceKey {
            address: *source,
            rule: guarded.rate_rule,
        };
        let wait = bucket::take(self.full_at(&key), self.now, &guarded.rate).err();
        Duration::from_nanos(wait.unwrap_or_default())
    }
}

impl guard::Tables for Reader<'_> {
    fn generation(&self) -> u8 {
        self.tables.generation().unwrap_or_default()
    }

    fn listener(&self, key: &ListenerKey) -> Option<Guarded> {
        self.tables.listeners.get(key, 0).ok()
    }

    fn network_v4(&self, key: &[u8; 8]) -> Option<u32> {
        let key = Key::new(SCOPE_BITS + 32, *key);
        self.tables.networks_v4.get(&key, 0).ok()
    }

    fn network_v6(&self, key: &[u8; 20]) -> Option<u32> {
        let key = Key::new(SCOPE_BITS + 128, *key);
        self.tables.networks_v6.get(&key, 0).ok()
    }

    fn admit(&self, source: &SourceKey, rate: &Rate) -> bool {
        bucket::take(self.full_at(source), self.now, rate).is_ok()
    }
}
