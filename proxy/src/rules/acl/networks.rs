//! Conditions that look at the source's network and at nothing else.

use ipnet::IpNet;

use super::{Acl, Condition};
use crate::rules::pattern::Method;

/// Whether the source is in one of some networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// It must be in none of them.
    pub negated: bool,
    /// The networks; an IPv6 one does not hold for IPv4 addresses, nor the other way round.
    pub networks: Vec<IpNet>,
}

/// A disjunction of conjunctions of [`Term`]s: it holds if all terms of one of its members do. One
/// without members never holds, an empty member always does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceTest {
    /// The conjunctions.
    pub any: Vec<Vec<Term>>,
}

/// What one ACL contributes.
enum Part {
    Constant(bool),
    Networks(Vec<IpNet>),
}

impl SourceTest {
    pub(super) fn of(condition: &Condition) -> Option<Self> {
        let mut any = Vec::new();
        for suite in &condition.suites {
            let mut all = Some(Vec::new());
            for term in suite {
                let mut always = false;
                let mut networks = Vec::new();
                for acl in &term.acls {
                    match part(acl)? {
                        Part::Constant(is) => always |= is,
                        Part::Networks(nets) => networks.extend(nets),
                    }
                }
                let known = if always {
                    Some(true)
                } else {
                    networks.is_empty().then_some(false)
                };
                match known {
                    Some(is) if is != term.negated => {}
                    // It never holds, whatever its other terms say; these are still looked at.
                    Some(_) => all = None,
                    None => {
                        if let Some(all) = &mut all {
                            all.push(Term {
                                negated: term.negated,
                                networks,
                            });
                        }
                    }
                }
            }
            any.extend(all);
        }
        if any.iter().any(Vec::is_empty) {
            any = vec![Vec::new()];
        }
        Some(Self { any })
    }
}

fn part(acl: &Acl) -> Option<Part> {
    if !acl.expr.is_plain() {
        return None;
    }
    match (acl.expr.name(), acl.matcher.method()) {
        ("always_true", Method::Bool | Method::Found) | ("always_false", Method::Found) => {
            Some(Part::Constant(true))
        }
        ("always_false", Method::Bool) => Some(Part::Constant(false)),
        ("src", Method::Ip) => acl.matcher.networks().map(Part::Networks),
        _ => None,
    }
}
