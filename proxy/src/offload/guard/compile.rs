//! Connection rules to a plan: what of them the guard can decide from a source alone.

use std::collections::HashSet;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::plan::{How, Listener, Plan, Policy, RateLimit, SHORTEST_PERIOD, Verdict};
use crate::config::model::{BindAddress, Config, Frontend, Mode, Position};
use crate::rules::acl::networks::{SourceTest, Term};
use crate::rules::action::{Action, Ruling};
use crate::rules::ruleset::Rule;

/// Where a rule is enforced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Where the rule was written.
    pub position: Position,
    /// The guard enforces it; else why it stays in the daemon. The daemon asks every rule again in
    /// any case.
    pub guarded: Result<(), &'static str>,
}

/// A plan, and which rule went where.
#[derive(Debug, Default)]
pub struct Compiled {
    /// What the guard is to do.
    pub plan: Plan,
    /// The rules that refuse or accept, in the order of the frontends and their lines.
    pub placed: Vec<Placed>,
}

/// What a rule says of a source.
struct Step {
    test: SourceTest,
    negated: bool,
    verdict: Verdict,
}

/// Compiles the connection rules of every frontend.
#[must_use]
pub fn compile(config: &Config) -> Compiled {
    let mut compiled = Compiled::default();
    for frontend in &config.frontends {
        let listeners = listeners(frontend);
        if listeners.is_empty() || frontend.disabled || frontend.mode == Mode::Health {
            continue;
        }
        let mut policy = policy(frontend, &mut compiled);
        if policy.networks.is_empty() && policy.rate.is_none() {
            continue;
        }
        policy.listeners = listeners;
        compiled.plan.policies.push(policy);
    }
    compiled
}

fn listeners(frontend: &Frontend) -> Vec<Listener> {
    let mut listeners: Vec<Listener> = Vec::new();
    for bind in &frontend.binds {
        let BindAddress::Inet(address) = &bind.address else {
            continue;
        };
        let listener = (Some(address.ip()), address.port());
        if !listeners.contains(&listener) {
            listeners.push(listener);
        }
    }
    listeners
}

fn policy(frontend: &Frontend, compiled: &mut Compiled) -> Policy {
    // Monitors are answered before any rule is asked.
    let monitors = frontend.monitor_net.iter();
    let mut networks: Vec<(IpNet, Verdict)> = monitors.map(|net| (*net, Verdict::Allow)).collect();
    let mut steps = Vec::new();
    let mut rate = None;
    // Why no further rule can be enforced.
    let mut stopped = None;
    for rule in &frontend.rules.connection {
        let Action::Rule(ruling) = rule.action else {
            if !matches!(rule.action, Action::Track { .. }) {
                stopped = stopped.or(Some("it comes after a rule that changes something"));
            }
            continue;
        };
        let guarded = match stopped {
            Some(why) => Err(why),
            None => place(rule, ruling, &mut steps, &mut rate, compiled),
        };
        if guarded.is_err() && ruling == Ruling::Accept {
            stopped = stopped.or(Some(
                "it comes after an 'accept' that looks at more than the source",
            ));
        }
        if rate.is_some() {
            stopped = stopped.or(Some("it comes after a limit that the guard enforces"));
        }
        compiled.placed.push(Placed {
            position: rule.position.clone(),
            guarded,
        });
    }
    networks.extend(flatten(&steps));
    Policy {
        listeners: Vec::new(),
        networks,
        rate,
    }
}

/// Adds one rule to the steps, or makes it the limit.
fn place(
    rule: &Rule,
    ruling: Ruling,
    steps: &mut Vec<Step>,
    rate: &mut Option<RateLimit>,
    compiled: &mut Compiled,
) -> Result<(), &'static str> {
    let how = match ruling {
        Ruling::Reject => How::Reset,
        Ruling::SilentDrop => How::Drop,
        Ruling::Accept | Ruling::Close => How::Drop,
    };
    let number = |compiled: &mut Compiled| {
        let number = u32::try_from(compiled.placed.len() + 1).unwrap_or(u32::MAX);
        compiled
            .plan
            .notes
            .insert(number, rule.position.to_string());
        number
    };
    if let Some(limit) = rule.limit.filter(|_| ruling != Ruling::Accept) {
        if limit.period < SHORTEST_PERIOD {
            return Err("its period is shorter than the guard can tell apart");
        }
        *rate = Some(RateLimit {
            per_source_connections: limit.connections,
            period: limit.period,
            rule: number(compiled),
            how,
        });
        return Ok(());
    }
    let (test, negated) = match &rule.when {
        None => (always(), false),
        Some(when) => match when.condition.as_networks() {
            Some(test) => (test, when.negated),
            None => return Err("it looks at more than the source"),
        },
    };
    let verdict = if ruling == Ruling::Accept {
        Verdict::Allow
    } else {
        Verdict::Deny {
            rule: number(compiled),
            how,
        }
    };
    steps.push(Step {
        test,
        negated,
        verdict,
    });
    Ok(())
}

/// Holds for every source.
fn always() -> SourceTest {
    SourceTest {
        any: vec![Vec::new()],
    }
}

/// Networks of which the longest one around a source tells what the first step that holds says of
/// it, longest first. Where no step holds, within a network of which one does, sources are left to
/// the daemon.
fn flatten(steps: &[Step]) -> Vec<(IpNet, Verdict)> {
    if steps.is_empty() {
        return Vec::new();
    }
    let indexed: Vec<Indexed<'_>> = steps.iter().map(Indexed::new).collect();
    let mut regions: HashSet<IpNet> = steps
        .iter()
        .flat_map(|step| step.test.any.iter().flatten())
        .flat_map(|term| term.networks.iter().map(IpNet::trunc))
        .collect();
    let whole: [IpNet; 2] = [Ipv4Net::default().into(), Ipv6Net::default().into()];
    regions.extend(whole);
    let mut regions: Vec<IpNet> = regions.into_iter().collect();
    regions.sort_unstable_by_key(|net| (std::cmp::Reverse(net.prefix_len()), *net));
    regions
        .into_iter()
        .filter_map(|region| {
            let verdict = indexed
                .iter()
                .find(|step| step.holds(region))
                .map(|step| step.step.verdict);
            match verdict {
                Some(verdict) => Some((region, verdict)),
                // Nothing around the whole family denies it.
                None if region.prefix_len() == 0 => None,
                None => Some((region, Verdict::Allow)),
            }
        })
        .collect()
}

/// A step whose networks can be looked up.
struct Indexed<'a> {
    step: &'a Step,
    any: Vec<Vec<(bool, HashSet<IpNet>)>>,
}

impl<'a> Indexed<'a> {
    fn new(step: &'a Step) -> Self {
        let term = |term: &Term| {
            let networks = term.networks.iter().map(IpNet::trunc).collect();
            (term.negated, networks)
        };
        let all = |all: &Vec<Term>| all.iter().map(term).collect();
        Self {
            step,
            any: step.test.any.iter().map(all).collect(),
        }
    }

    /// Whether it holds for the sources in `region` that no other region within it contains.
    fn holds(&self, region: IpNet) -> bool {
        let within = |networks: &HashSet<IpNet>| {
            (0..=region.prefix_len()).any(|length| {
                IpNet::new(region.addr(), length).is_ok_and(|net| networks.contains(&net.trunc()))
            })
        };
        let holds = self.any.iter().any(|all| {
            all.iter()
                .all(|(negated, networks)| within(networks) != *negated)
        });
        holds != self.step.negated
    }
}

#[cfg(test)]
mod tests;
