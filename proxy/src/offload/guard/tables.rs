//! The program's maps, and how a plan gets into them.

use std::collections::HashMap as Slots;

use aya::Pod;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray};
use ipnet::IpNet;
use underpass_common::guard::bucket::Rate;
use underpass_common::guard::{
    ALLOWED, Guarded, ListenerKey, NO_RULE, NOTE_BYTES, Rule, SCOPE_BITS, SourceKey, key_v4,
    key_v6, scope,
};

use super::GuardError;
use super::plan::{Compiled, MOST_LISTENERS, MOST_NETWORKS, Plan, PlanError, RuleKey};
use crate::sys::rcu;

/// Sources that a rate is kept for; the kernel forgets the longest unseen for new ones. 96
/// bytes each, allocated at start.
pub const SOURCES: u32 = 65_536;
/// Rules that a guard may ever have had.
pub const RULES: u32 = 1024;

/// The maps by name, and their sizes. Networks and listeners are there twice while rules are
/// replaced.
pub const SIZES: [(&str, u32); 6] = [
    ("GUARD_LISTENERS", 2 * MOST_LISTENERS as u32),
    ("GUARD_NETS4", 2 * MOST_NETWORKS as u32),
    ("GUARD_NETS6", 2 * MOST_NETWORKS as u32),
    ("GUARD_SOURCES", SOURCES),
    ("GUARD_RULES", RULES),
    ("GUARD_REFUSED", RULES),
];

/// The maps.
pub struct Tables {
    /// The generation in force.
    pub active: Array<MapData, u32>,
    /// What is guarded.
    pub listeners: HashMap<MapData, ListenerKey, Guarded>,
    /// IPv4 networks.
    pub networks_v4: LpmTrie<MapData, [u8; 8], u32>,
    /// IPv6 networks.
    pub networks_v6: LpmTrie<MapData, [u8; 20], u32>,
    /// When a source's bucket is full again, `CLOCK_MONOTONIC`, ns.
    pub sources: HashMap<MapData, SourceKey, u64>,
    /// What rules do, by slot.
    pub rules: Array<MapData, Rule>,
    /// SYNs refused, by slot.
    pub refused: PerCpuArray<MapData, u64>,
    /// SYNs, by outcome.
    pub outcomes: PerCpuArray<MapData, u64>,
}

impl Tables {
    /// Takes the maps from wherever `take` finds them by name.
    ///
    /// # Errors
    /// When one is missing or is not what it should be.
    pub fn from_maps(
        mut take: impl FnMut(&'static str) -> Option<Map>,
    ) -> Result<Self, GuardError> {
        fn get<M: TryFrom<Map, Error = MapError>>(
            take: &mut impl FnMut(&'static str) -> Option<Map>,
            map: &'static str,
        ) -> Result<M, GuardError> {
            let found = take(map).ok_or(GuardError::Missing(map))?;
            M::try_from(found).map_err(|error| GuardError::Map { map, error })
        }
        Ok(Self {
            active: get(&mut take, "GUARD_ACTIVE")?,
            listeners: get(&mut take, "GUARD_LISTENERS")?,
            networks_v4: get(&mut take, "GUARD_NETS4")?,
            networks_v6: get(&mut take, "GUARD_NETS6")?,
            sources: get(&mut take, "GUARD_SOURCES")?,
            rules: get(&mut take, "GUARD_RULES")?,
            refused: get(&mut take, "GUARD_REFUSED")?,
            outcomes: get(&mut take, "GUARD_OUTCOMES")?,
        })
    }

    /// The generation in force.
    ///
    /// # Errors
    /// When the kernel refuses to tell.
    pub fn generation(&self) -> Result<u8, GuardError> {
        let generation = self.active.get(&0, 0).map_err(named("GUARD_ACTIVE"))?;
        Ok(u8::from(generation & 1 == 1))
    }
}

/// Names the map in an error.
pub(super) fn named(map: &'static str) -> impl Fn(MapError) -> GuardError {
    move |error| GuardError::Map { map, error }
}

/// What a generation has in the maps, by key.
#[derive(Default)]
struct Entered {
    listeners: Vec<ListenerKey>,
    networks_v4: Vec<Key<[u8; 8]>>,
    networks_v6: Vec<Key<[u8; 20]>>,
}

/// Changes the maps. There is one for each set of maps.
pub struct Writer {
    tables: Tables,
    slots: Slots<RuleKey, u32>,
    entered: Entered,
}

impl Writer {
    /// Of maps that nothing has been entered into.
    #[must_use]
    pub fn new(tables: Tables) -> Self {
        Self {
            tables,
            slots: Slots::new(),
            entered: Entered::default(),
        }
    }

    /// The maps.
    #[must_use]
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Puts `plan` in the place of what is in force, all at once.
    ///
    /// # Errors
    /// When the plan cannot be carried out or a map refuses an entry; what was in force stays.
    pub fn replace(&mut self, plan: &Plan) -> Result<(), GuardError> {
        let compiled = plan.compile()?;
        self.enter_rules(plan, &compiled)?;
        let old = self.tables.generation()?;
        let new = old ^ 1;
        let mut entered = Entered::default();
        let filled = self
            .enter_networks(&compiled, new, &mut entered)
            .and_then(|()| self.enter_listeners(&compiled, new, &mut entered))
            .and_then(|()| {
                let switched = self.tables.active.set(0, u32::from(new), 0);
                switched.map_err(named("GUARD_ACTIVE"))
            });
        if let Err(error) = filled {
            self.remove(&entered);
            return Err(error);
        }
        // A program that still runs may have read the old number.
        rcu::wait_for_programs();
        let gone = std::mem::replace(&mut self.entered, entered);
        self.remove(&gone);
        Ok(())
    }

    /// Gives each rule a slot, for good: counters and used-up rates belong to slots.
    fn enter_rules(&mut self, plan: &Plan, compiled: &Compiled) -> Result<(), GuardError> {
        for key in compiled.rules() {
            let (id, how) = key;
            let next = self.slots.len();
            let slot = *self.slots.entry(key).or_insert(next as u32);
            if slot >= RULES {
                self.slots.remove(&key);
                let most = RULES as usize;
                let too_many = PlanError::TooMany {
                    what: "rules since the start",
                    found: next + 1,
                    most,
                };
                return Err(too_many.into());
            }
            let (note, note_length) = note(plan.notes.get(&id).map_or("", String::as_str));
            let rule = Rule {
                id,
                how: how.number(),
                note_length,
                note,
            };
            let entered = self.tables.rules.set(slot, rule, 0);
            entered.map_err(named("GUARD_RULES"))?;
        }
        Ok(())
    }

    fn slot(&self, rule: RuleKey) -> u32 {
        self.slots[&rule]
    }

    fn enter_networks(
        &mut self,
        compiled: &Compiled,
        generation: u8,
        entered: &mut Entered,
    ) -> Result<(), GuardError> {
        for &(policy, network, rule) in &compiled.networks {
            let value = rule.map_or(ALLOWED, |rule| self.slot(rule));
            let scope = scope(policy, generation);
            let bits = SCOPE_BITS + u32::from(network.prefix_len());
            match network {
                IpNet::V4(network) => enter(
                    &mut self.tables.networks_v4,
                    "GUARD_NETS4",
                    Key::new(bits, key_v4(scope, network.network().octets())),
                    value,
                    &mut entered.networks_v4,
                )?,
                IpNet::V6(network) => enter(
                    &mut self.tables.networks_v6,
                    "GUARD_NETS6",
                    Key::new(bits, key_v6(scope, &network.network().octets())),
                    value,
                    &mut entered.networks_v6,
                )?,
            }
        }
        Ok(())
    }

    fn enter_listeners(
        &mut self,
        compiled: &Compiled,
        generation: u8,
        entered: &mut Entered,
    ) -> Result<(), GuardError> {
        for &((family, address, port), policy) in &compiled.listeners {
            let key = ListenerKey {
                address,
                port,
                family: family as u8,
                generation,
            };
            let rate = compiled.rates[policy as usize];
            let guarded = Guarded {
                policy,
                rate_rule: rate.map_or(NO_RULE, |(rule, _)| self.slot(rule)),
                rate: rate.map_or(Rate::default(), |(_, rate)| rate),
            };
            let inserted = self.tables.listeners.insert(key, guarded, 0);
            inserted.map_err(named("GUARD_LISTENERS"))?;
            entered.listeners.push(key);
        }
        Ok(())
    }

    /// Takes entries out that nothing looks up any more.
    fn remove(&mut self, entries: &Entered) {
        let tables = &mut self.tables;
        // An entry that stays is not found by any program, and is overwritten when its generation
        // has the same network again.
        let listeners = entries
            .listeners
            .iter()
            .map(|key| tables.listeners.remove(key));
        let mut failed: Vec<_> = listeners.filter_map(Result::err).collect();
        let v4 = entries
            .networks_v4
            .iter()
            .map(|key| tables.networks_v4.remove(key));
        failed.extend(v4.filter_map(Result::err));
        let v6 = entries
            .networks_v6
            .iter()
            .map(|key| tables.networks_v6.remove(key));
        failed.extend(v6.filter_map(Result::err));
        if let Some(error) = failed.first() {
            tracing::warn!(%error, entries = failed.len(), "replaced rules of the guard stay in its maps");
        }
    }
}

fn enter<const N: usize>(
    trie: &mut LpmTrie<MapData, [u8; N], u32>,
    name: &'static str,
    key: Key<[u8; N]>,
    value: u32,
    entered: &mut Vec<Key<[u8; N]>>,
) -> Result<(), GuardError>
where
    [u8; N]: Pod,
{
    trie.insert(&key, value, 0).map_err(named(name))?;
    entered.push(key);
    Ok(())
}

/// The text as far as there is room for it, cut between characters.
fn note(text: &str) -> ([u8; NOTE_BYTES], u32) {
    let end = text.floor_char_boundary(NOTE_BYTES);
    let mut bytes = [0; NOTE_BYTES];
    bytes[..end].copy_from_slice(&text.as_bytes()[..end]);
    (bytes, end as u32)
}
