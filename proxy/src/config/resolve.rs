//! A draft to the validated model: what only the whole configuration can show.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::checks;
use super::compile;
use super::diagnostic::{Diagnostics, Severity};
use super::draft::names;
use super::draft::rules::{RuleKind, RuleLine};
use super::draft::{Draft, Kind, LogLine, Proxy, ServerLine};
use super::keywords;
use super::lexer::Word;
use super::lookups::Lookups;
use super::model::balance::Balance;
use super::model::{
    Backend, BackendId, BindAddress, Config, Frontend, LogOptions, LogTarget, Mode, Server,
    ServerAddress,
};

/// Resolves names and splits every `listen`. The result counts only if nothing is an error.
pub(crate) fn resolve(
    mut draft: Draft,
    lookups: &dyn Lookups,
    diagnostics: &mut Diagnostics,
) -> Config {
    names::add_implicit(&mut draft, lookups);
    check_resolvers(&draft, diagnostics);
    check_defaults(&draft, diagnostics);
    check_ids(&draft, diagnostics);
    check_http_checks(&draft, diagnostics);
    let backends: HashMap<Arc<str>, BackendId> = draft
        .proxies
        .iter()
        .filter(|proxy| proxy.kind.has_back())
        .enumerate()
        // Nobody but its own clients can ask an agent for anything.
        .filter(|(_, proxy)| proxy.kind != Kind::Agent)
        .map(|(index, proxy)| (Arc::clone(&proxy.name), BackendId(index)))
        .collect();
    let compiled = compile::compile(&draft, diagnostics);
    let mut fronts = compiled.fronts.into_iter().map(Arc::new);
    let mut backs = compiled.backs.into_iter().map(Arc::new);
    let mut balances = compiled.balances.into_iter();
    let mut formats = compiled.formats.into_iter();
    let mut config = Config {
        tables: compiled.tables,
        ..Config::default()
    };
    for (proxy, number) in draft.proxies.iter().zip(numbers(&draft)) {
        if !proxy.settings.disabled {
            check_proxy(proxy, &backends, diagnostics);
            check_sources(proxy, diagnostics);
            check_verification(proxy, draft.tls.trust_servers, diagnostics);
            names::check(&draft.resolvers, proxy, diagnostics);
        }
        let log = log_options(proxy, &draft.global.logs);
        let own = matches!(proxy.kind, Kind::Listen | Kind::Agent)
            .then_some(BackendId(config.backends.len()));
        if proxy.kind.has_back() {
            let servers = proxy.servers.iter();
            let servers = servers.map(|line| {
                let mut server = server(line, draft.tls.trust_servers);
                names::link(&draft.resolvers, line, &mut server);
                server
            });
            let mut backend = backend(proxy, servers.collect(), log.clone());
            backend.number = number;
            backend.rules = backs.next().unwrap_or_default();
            backend.balance = balances.next().unwrap_or_default();
            config.backends.push(backend);
        }
        if proxy.kind.has_front() {
            let target = match &proxy.settings.default_backend {
                Some(word) => backends.get(word.as_str()).copied(),
                None => own,
            };
            let mut frontend = frontend(proxy, target, log);
            frontend.number = number;
            frontend.rules = fronts.next().unwrap_or_default();
            frontend.log.formats = formats.next().flatten();
            frontend.own_backend = own;
            config.frontends.push(frontend);
        }
    }
    let trust_servers = draft.tls.trust_servers;
    checks::finish(
        &draft.proxies,
        &mut config.backends,
        trust_servers,
        diagnostics,
    );
    config.global = draft.global;
    config.resolvers = draft.resolvers;
    config
}

/// Warns about a `defaults` that some proxies name and others get by its place.
fn check_defaults(draft: &Draft, diagnostics: &mut Diagnostics) {
    for defaults in &draft.defaults {
        if let Some(place) = defaults
            .used_by_place
            .as_ref()
            .filter(|_| defaults.used_by_name)
        {
            diagnostics.warning(
                place,
                format!(
                    "'defaults' section '{}' declared at {} is used here because it is the last one, and by name elsewhere; it is clearer to name it everywhere.",
                    defaults.name, defaults.position
                ),
            );
        }
    }
}

/// The numbers that statistics know proxies by, as HAProxy gives them: an `id` is taken as it is and
/// still uses up a turn, and a runtime API is a proxy of its own, the first.
fn numbers(draft: &Draft) -> Vec<u32> {
    let proxies = &draft.proxies;
    let given: HashSet<u32> = proxies
        .iter()
        .filter_map(|proxy| proxy.id.as_ref().map(|(id, _)| *id))
        .collect();
    let mut next = if draft.global.stats_sockets.is_empty() {
        1
    } else {
        2
    };
    let number = |proxy: &Proxy| {
        let number = match &proxy.id {
            Some((id, _)) => *id,
            None => {
                while given.contains(&next) {
                    next += 1;
                }
                next
            }
        };
        next += 1;
        number
    };
    proxies.iter().map(number).collect()
}

/// Warns about sections that nobody can be asked by.
fn check_resolvers(draft: &Draft, diagnostics: &mut Diagnostics) {
    for section in &draft.resolvers {
        if section.nameservers.is_empty() {
            diagnostics.warning(
                &section.position,
                format!(
                    "resolvers '{}' has no nameservers configured!",
                    section.name
                ),
            );
        }
    }
}

fn check_ids(draft: &Draft, diagnostics: &mut Diagnostics) {
    let mut seen: HashMap<u32, &Proxy> = HashMap::new();
    for proxy in &draft.proxies {
        let Some((id, position)) = &proxy.id else {
            continue;
        };
        match seen.get(id) {
            Some(other) => diagnostics.alert(
                position,
                format!(
                    "{} {} reuses same custom id as {} {} (declared at {}).",
                    proxy.kind.noun(),
                    proxy.name,
                    other.kind.noun(),
                    other.name,
                    other.position
                ),
            ),
            None => {
                seen.insert(*id, proxy);
            }
        }
    }
}

/// Refuses `option httpchk` where it would be about servers.
///
/// What a `defaults` says is judged where it is used.
fn check_http_checks(draft: &Draft, diagnostics: &mut Diagnostics) {
    let answers_monitors = |proxy: &Proxy| {
        let settings = &proxy.settings;
        proxy.kind.has_front()
            && (settings.mode == Mode::Health || !settings.monitor_net.is_empty())
    };
    let is_used = |word: &Word| {
        draft.proxies.iter().any(|proxy| {
            let check = proxy.settings.http_check.as_ref();
            check.is_some_and(|check| check.position == word.position)
        })
    };
    let mut refused: Vec<&Word> = Vec::new();
    for section in draft.proxies.iter().chain(&draft.defaults) {
        let Some(word) = &section.settings.http_check else {
            continue;
        };
        let judged_there = section.kind == Kind::Defaults && is_used(word);
        let said = refused.iter().any(|other| other.position == word.position);
        if !answers_monitors(section) && !judged_there && !said {
            refused.push(word);
            diagnostics.fault(keywords::OPTION.refuse(word));
        }
    }
}

/// Warns about PROXY headers that anybody can send: whoever reaches the address chooses the source
/// that logs and servers see.
fn check_sources(proxy: &Proxy, diagnostics: &mut Diagnostics) {
    // A rule that refuses connections looks at the socket's own source, before any header.
    let restricts = |line: &RuleLine| {
        line.kind == RuleKind::Connection
            && line
                .words
                .first()
                .is_some_and(|action| matches!(action.as_str(), "reject" | "silent-drop"))
    };
    if proxy.settings.rules.lines.iter().any(restricts) {
        return;
    }
    let mut last = None;
    for bind in proxy.binds.iter().filter(|bind| bind.accept_proxy) {
        let anybody = match &bind.address {
            BindAddress::Inet(address) => !address.ip().is_loopback(),
            BindAddress::Fd(_) => true,
            BindAddress::Unix(_) | BindAddress::Abstract(_) => false,
        };
        // One line may have many addresses.
        if anybody && last != Some(&bind.position) {
            last = Some(&bind.position);
            diagnostics.warning(
                &bind.position,
                format!(
                    "{} '{}' : 'accept-proxy' takes the PROXY header from anywhere: no 'tcp-request connection' rule restricts the source, so let only your own proxies reach this address.",
                    proxy.kind.noun(),
                    proxy.name
                ),
            );
        }
    }
}

/// Refuses servers whose certificates should be verified against nothing.
fn check_verification(proxy: &Proxy, trust_servers: bool, diagnostics: &mut Diagnostics) {
    for line in &proxy.servers {
        let server = server(line, trust_servers);
        if let ServerAddress::Remote(remote) = &server.address
            && remote
                .tls
                .as_ref()
                .is_some_and(|tls| tls.verify && tls.sni.is_none())
        {
            diagnostics.push(
                Severity::Diag,
                &server.position,
                format!(
                    "'server {}/{}' : without 'sni' the agent accepts a certificate for any name.",
                    proxy.name, server.name
                ),
            );
        }
        let Some(tls) = server.tls.filter(|tls| tls.verify) else {
            continue;
        };
        let place = format!("'server {}/{}'", proxy.name, server.name);
        if tls.ca_file.is_none() {
            let why = if trust_servers {
                "verify is enabled but no CA file specified."
            } else {
                "verify is enabled by default but no CA file specified. Set 'ca-file' to the authorities that sign for the server ('@system-ca' for the system's). Where its certificate need not be checked, say 'verify none' on the 'server' line, or 'ssl-server-verify none' in the global section."
            };
            diagnostics.alert(&server.position, format!("{place} : {why}"));
        } else if tls.sni.is_none() && tls.verify_host.is_none() {
            diagnostics.push(
                Severity::Diag,
                &server.position,
                format!(
                    "{place} : without 'sni' or 'verifyhost' a certificate for any name is accepted."
                ),
            );
        }
    }
}

fn check_proxy(
    proxy: &Proxy,
    backends: &HashMap<Arc<str>, BackendId>,
    diagnostics: &mut Diagnostics,
) {
    let noun = proxy.kind.noun();
    let name = &proxy.name;
    let settings = &proxy.settings;
    let serves = settings.mode == Mode::Tcp || !proxy.kind.has_front();
    if !serves && !proxy.servers.is_empty() {
        diagnostics.warning(
            &proxy.position,
            format!("the servers of {noun} '{name}' are not used because of 'mode health'."),
        );
    }
    if proxy.kind.has_front() {
        if !proxy.has_bind_line {
            diagnostics.warning(
                &proxy.position,
                format!(
                    "{noun} '{name}' has no 'bind' directive. Please declare it as a backend if this was intended."
                ),
            );
        }
        match &settings.default_backend {
            Some(word) if !backends.contains_key(word.as_str()) => diagnostics.alert(
                &word.position,
                format!(
                    "Proxy '{name}': unable to find required default_backend: '{}'.",
                    word.text
                ),
            ),
            Some(word) if proxy.kind == Kind::Listen && *word.text == **name => diagnostics.alert(
                &word.position,
                format!("Proxy '{name}': loop detected for default_backend: '{name}'."),
            ),
            None if serves && proxy.kind == Kind::Frontend && !proxy.binds.is_empty() => diagnostics.warning(
                &proxy.position,
                format!("frontend '{name}' has no 'default_backend': it accepts connections that it cannot serve."),
            ),
            _ => {}
        }
    }
    if proxy
        .agent
        .as_ref()
        .is_some_and(|agent| agent.allow.is_empty())
    {
        diagnostics.warning(
            &proxy.position,
            format!("agent '{name}' has no 'allow' line: it refuses whatever it is asked for."),
        );
    }
    let timeouts = &settings.timeouts;
    let front = proxy.kind.has_front() && timeouts.client.is_none();
    let back = proxy.kind.has_back()
        && !proxy.servers.is_empty()
        && (timeouts.connect.is_none() || (timeouts.server.is_none() && timeouts.tunnel.is_none()));
    if serves && (front || back) {
        diagnostics.warning(
            &proxy.position,
            format!(
                "missing timeouts for {noun} '{name}'.\n   | While not properly invalid, idle or unreachable peers will hold connections for ever.\n   | To fix this, set all of these to a non-zero value: 'client', 'connect', 'server'."
            ),
        );
    }
}

fn log_options(proxy: &Proxy, global: &[LogTarget]) -> LogOptions {
    let settings = &proxy.settings;
    let mut targets = Vec::new();
    for line in &settings.logs {
        match line {
            LogLine::Global => targets.extend_from_slice(global),
            LogLine::Target(target) => targets.push(target.clone()),
        }
    }
    let tag: Option<Arc<str>> = settings.log_tag.as_deref().map(Arc::from);
    for target in &mut targets {
        target.tag.clone_from(&tag);
    }
    LogOptions {
        targets,
        tcplog: settings.tcplog,
        dontlognull: settings.dontlognull,
        dontlog_normal: settings.dontlog_normal,
        logasap: settings.logasap,
        separate_errors: settings.log_separate_errors,
        tag: settings.log_tag.clone(),
        formats: None,
    }
}

fn frontend(proxy: &Proxy, default_backend: Option<BackendId>, log: LogOptions) -> Frontend {
    let settings = &proxy.settings;
    Frontend {
        name: Arc::clone(&proxy.name),
        id: proxy.id.as_ref().map(|(id, _)| *id),
        number: 0,
        description: proxy.description.clone(),
        binds: proxy.binds.clone(),
        mode: settings.mode,
        monitor_net: settings.monitor_net.clone(),
        http_check: settings.http_check.is_some(),
        agent: proxy.agent.clone(),
        rules: Arc::default(),
        own_backend: None,
        default_backend,
        maxconn: settings.maxconn,
        session_rate: settings.session_rate,
        backlog: settings.backlog,
        timeouts: settings.timeouts,
        log,
        offload: settings.offload,
        offload_after: settings.offload_after,
        splice: settings.splice,
        socket: settings.client_socket,
        independent_streams: settings.independent_streams,
        disabled: settings.disabled,
        position: proxy.position.clone(),
    }
}

/// A server with its verification settled.
fn server(line: &ServerLine, trust_servers: bool) -> Server {
    let mut server = line.server.clone();
    if line.verify_by_default {
        if let Some(tls) = &mut server.tls {
            Arc::make_mut(tls).verify = !trust_servers;
        }
        if let ServerAddress::Remote(remote) = &mut server.address
            && let Some(tls) = &mut Arc::make_mut(remote).tls
        {
            tls.verify = !trust_servers;
        }
    }
    server
}

fn backend(proxy: &Proxy, servers: Vec<Server>, log: LogOptions) -> Backend {
    let settings = &proxy.settings;
    Backend {
        name: Arc::clone(&proxy.name),
        id: proxy.id.as_ref().map(|(id, _)| *id),
        number: 0,
        description: proxy.description.clone(),
        servers,
        rules: Arc::default(),
        balance: Balance::default(),
        timeouts: settings.timeouts,
        fullconn: settings.fullconn,
        all_backups: settings.all_backups,
        health: settings.check.health(),
        retries: settings.retries,
        redispatch: settings.redispatch,
        log,
        offload: settings.offload,
        offload_after: settings.offload_after,
        splice: settings.splice,
        socket: settings.server_socket,
        independent_streams: settings.independent_streams,
        abortonclose: settings.abortonclose,
        source: settings.source,
        disabled: settings.disabled,
        position: proxy.position.clone(),
    }
}
