//! Conditions that are a limit on how often a source connects, which the guard can enforce.

use super::super::draft::rules::RuleLine;
use super::super::lexer::Word;
use super::Site;
use crate::rules::action::Action;
use crate::rules::ruleset::{Limit, Rule};
use crate::rules::table::{StoreSet, TableId};

/// Remembers where a rule tracks every source.
pub(super) fn note(line: &RuleLine, rule: &Rule, site: &mut Site<'_>) {
    if let Action::Track { slot, table, .. } = rule.action
        && rule.when.is_none()
        && line.words.get(1).is_some_and(|key| key.text == "src")
    {
        site.tracked[slot].get_or_insert(table);
    }
}

/// The limit that a condition comes to: `if { src_conn_rate(<table>) gt <n> }`, or `sc0_conn_rate`
/// of what was tracked before.
pub(super) fn of(condition: Option<(&Word, &[Word])>, site: &Site<'_>) -> Option<Limit> {
    let (keyword, words) = condition?;
    let [open, fetch, operator, number, close] = words else {
        return None;
    };
    if keyword.text != "if" || open.text != "{" || close.text != "}" {
        return None;
    }
    let number: u32 = number.text.parse().ok()?;
    let connections = match operator.as_str() {
        "gt" => number,
        "ge" => number.checked_sub(1)?,
        _ => return None,
    };
    let settings = site.tables.get(table(fetch.as_str(), site)?.0)?;
    if !settings.stores.contains(StoreSet::CONN_RATE) {
        return None;
    }
    Some(Limit {
        connections,
        period: settings.periods.conn,
    })
}

/// The table whose rate of the source a fetch gives.
fn table(fetch: &str, site: &Site<'_>) -> Option<TableId> {
    let (name, argument) = match fetch.split_once('(') {
        None => (fetch, None),
        Some((name, rest)) => (name, Some(rest.strip_suffix(')')?)),
    };
    let slot = match name {
        "src_conn_rate" => {
            let name = argument.unwrap_or(site.names.own);
            return site.names.tables.get(name).map(|facts| facts.id);
        }
        "sc0_conn_rate" => 0,
        "sc1_conn_rate" => 1,
        "sc2_conn_rate" => 2,
        _ => return None,
    };
    // With a table named, the entry is looked up there instead.
    site.tracked[slot].filter(|_| argument.is_none())
}
