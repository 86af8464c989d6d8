//! Rule lines to rules, once every name of the configuration is known.

mod actions;
mod balance;
mod conditions;
mod limits;
mod routes;

use std::collections::HashMap;
use std::sync::Arc;

use super::diagnostic::{Diagnostics, Fault};
use super::draft::rules::{RuleKind, RuleLine};
use super::draft::{Draft, Kind, Proxy};
use super::lexer::Word;
use super::model::balance::Balance;
use super::model::rules::{BackRules, FrontRules};
use super::section::compile_formats;
use crate::observe::log::format::Formats;
use crate::rules::acl::Acls;
use crate::rules::names::{Names, SystemFiles, SystemHosts, TableFacts};
use crate::rules::ruleset::{Rule, Stage};
use crate::rules::table::{StoreSet, TableId, TableSettings};
use crate::rules::vars::VarNames;

/// What the rule lines of a configuration become.
#[derive(Debug, Default)]
pub(super) struct Compiled {
    /// By the index of the frontend.
    pub(super) fronts: Vec<FrontRules>,
    /// Their formats of lines, likewise.
    pub(super) formats: Vec<Option<Arc<Formats>>>,
    /// By the index of the backend.
    pub(super) backs: Vec<BackRules>,
    /// By the index of the backend.
    pub(super) balances: Vec<Balance>,
    /// The stick tables.
    pub(super) tables: Vec<TableSettings>,
}

/// What the lines of one proxy are compiled with.
struct Site<'a> {
    names: Names<'a>,
    /// Those of its `defaults`, and its own.
    acls: [Acls; 2],
    tables: &'a [TableSettings],
    /// The tables in which connection rules track every source so far.
    tracked: [Option<TableId>; 3],
}

impl Site<'_> {
    fn acls(&self, line: &RuleLine) -> &Acls {
        &self.acls[usize::from(!line.inherited)]
    }
}

/// Compiles everything; what is wrong with one line does not keep the next from being read.
pub(super) fn compile(draft: &Draft, diagnostics: &mut Diagnostics) -> Compiled {
    let mut tables = Vec::new();
    let mut table_names = HashMap::new();
    for proxy in &draft.proxies {
        let Some(settings) = &proxy.stick_table else {
            continue;
        };
        let facts = TableFacts {
            id: TableId(tables.len()),
            kind: settings.kind,
            stores: settings.stores,
        };
        // A frontend and a backend may share a name; the first one's table has it.
        table_names.entry(Arc::clone(&proxy.name)).or_insert(facts);
        tables.push(settings.clone());
    }
    let frontends = indices(draft.proxies.iter().filter(|proxy| proxy.kind.has_front()));
    let backends = draft
        .proxies
        .iter()
        .filter(|proxy| proxy.kind.has_back())
        .enumerate()
        .filter(|(_, proxy)| proxy.kind != Kind::Agent)
        .map(|(index, proxy)| {
            let servers = proxy.servers.iter();
            let servers = servers.map(|line| Arc::clone(&line.server.name)).collect();
            (Arc::clone(&proxy.name), (index, servers))
        })
        .collect();
    let vars = VarNames::default();
    let mut compiled = Compiled::default();
    for proxy in &draft.proxies {
        let names = Names {
            frontends: &frontends,
            backends: &backends,
            tables: &table_names,
            frontend: proxy.kind.has_front().then_some(compiled.fronts.len()),
            backend: proxy.kind.has_back().then_some(compiled.backs.len()),
            own: &proxy.name,
            files: &SystemFiles,
            hosts: &SystemHosts,
            vars: &vars,
        };
        let mut site = Site {
            names,
            acls: Default::default(),
            tables: &tables,
            tracked: [None; 3],
        };
        let (front, back) = proxy_rules(proxy, &mut site, diagnostics);
        if proxy.kind.has_front() {
            compiled.fronts.push(front);
            let lines = &proxy.settings.formats;
            let formats = compile_formats(lines, &site.names, diagnostics);
            compiled.formats.push(formats);
        }
        if proxy.kind.has_back() {
            let balance = balance::balance(proxy, &site).unwrap_or_else(|fault| {
                diagnostics.fault(fault);
                Balance::default()
            });
            compiled.balances.push(balance);
            compiled.backs.push(back);
        }
    }
    // What a stick line remembers of a key is its server.
    let sticks = |back| {
        let BackRules {
            sticking, storing, ..
        }: &BackRules = back;
        sticking.iter().chain(storing)
    };
    for stick in compiled.backs.iter().flat_map(sticks) {
        tables[stick.table.0].stores |= StoreSet::SERVER_ID;
    }
    compiled.tables = tables;
    compiled
}

fn indices<'a>(proxies: impl Iterator<Item = &'a Proxy>) -> HashMap<Arc<str>, usize> {
    proxies
        .enumerate()
        .map(|(index, proxy)| (Arc::clone(&proxy.name), index))
        .collect()
}

fn proxy_rules(
    proxy: &Proxy,
    site: &mut Site<'_>,
    diagnostics: &mut Diagnostics,
) -> (FrontRules, BackRules) {
    let settings = &proxy.settings.rules;
    let mut front = FrontRules {
        request_delay: settings.request_delay,
        ..FrontRules::default()
    };
    let mut back = BackRules {
        request_delay: settings.request_delay,
        response_delay: settings.response_delay,
        ..BackRules::default()
    };
    for line in &settings.lines {
        if let Err(fault) = one_line(line, proxy, site, &mut front, &mut back) {
            diagnostics.fault(fault);
        }
    }
    warn_about_delays(proxy, &front, &back, diagnostics);
    (front, back)
}

fn one_line(
    line: &RuleLine,
    proxy: &Proxy,
    site: &mut Site<'_>,
    front: &mut FrontRules,
    back: &mut BackRules,
) -> Result<(), Fault> {
    let rule = |stage: Stage| -> Result<Rule, Fault> { actions::rule(line, stage, site) };
    match line.kind {
        RuleKind::Acl => {
            let acls = &mut site.acls[usize::from(!line.inherited)];
            acls.add(&line.words, &line.keyword, &site.names)?;
        }
        // What a `defaults` says of the other half is no concern of this one.
        RuleKind::Connection | RuleKind::Session if !proxy.kind.has_front() => {}
        RuleKind::Response if !proxy.kind.has_back() => {}
        RuleKind::Connection => {
            let rule = rule(Stage::Connection)?;
            limits::note(line, &rule, site);
            front.connection.push(Arc::new(rule));
        }
        RuleKind::Session => front.session.push(Arc::new(rule(Stage::Session)?)),
        RuleKind::Request => {
            let rule = Arc::new(rule(Stage::Request)?);
            if proxy.kind.has_front() {
                front.request.push(Arc::clone(&rule));
            }
            if proxy.kind.has_back() {
                back.request.push(rule);
            }
        }
        RuleKind::Response => back.response.push(Arc::new(rule(Stage::Response)?)),
        RuleKind::UseBackend if proxy.kind.has_front() => {
            front.routes.push(routes::use_backend(line, site)?);
        }
        RuleKind::UseServer if proxy.kind.has_back() => {
            back.servers.push(routes::use_server(line, site)?);
        }
        RuleKind::Stick if proxy.kind.has_back() => {
            let (stage, stick) = routes::stick(line, site)?;
            match stage {
                Stage::Memory => back.storing.push(stick),
                _ => back.sticking.push(stick),
            }
        }
        RuleKind::UseBackend | RuleKind::UseServer | RuleKind::Stick => {}
    }
    Ok(())
}

/// Warns where rules look at bytes that nobody waits for.
fn warn_about_delays(
    proxy: &Proxy,
    front: &FrontRules,
    back: &BackRules,
    diagnostics: &mut Diagnostics,
) {
    use crate::rules::scene::Needs;
    let settings = &proxy.settings.rules;
    let waits = |rules: &[Arc<Rule>], what: Needs| {
        rules.iter().find_map(|rule| {
            let when = rule.when.as_ref()?;
            when.condition
                .needs()
                .contains(what)
                .then(|| rule.position.clone())
        })
    };
    let request = if proxy.kind.has_front() {
        &front.request
    } else {
        &back.request
    };
    if settings.request_delay.is_none()
        && let Some(position) = waits(request, Needs::REQUEST)
    {
        diagnostics.warning(
            &position,
            format!(
                "a 'tcp-request content' rule explicitly depends on request contents in {} '{}' without any 'tcp-request inspect-delay' setting: it is decided on what has come by then, which is often nothing.",
                proxy.kind.noun(),
                proxy.name
            ),
        );
    }
    if settings.response_delay.is_none()
        && let Some(position) = waits(&back.response, Needs::RESPONSE)
    {
        diagnostics.warning(
            &position,
            format!(
                "a 'tcp-response content' rule explicitly depends on response contents in {} '{}' without any 'tcp-response inspect-delay' setting: it is decided on what has come by then, which is often nothing.",
                proxy.kind.noun(),
                proxy.name
            ),
        );
    }
}

/// What to say where a line ends too early.
fn missing(keyword: &Word, what: &str) -> Fault {
    keyword.fault(format!("'{}' expects {what}.", keyword.text))
}
