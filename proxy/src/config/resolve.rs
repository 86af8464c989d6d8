//! A draft to the validated model: what only the whole configuration can show.

use std::collections::HashMap;
use std::sync::Arc;

use super::diagnostic::Diagnostics;
use super::draft::{Draft, Kind, LogLine, Proxy};
use super::effect;
use super::model::{Backend, BackendId, Config, Frontend, LogOptions, LogTarget, Mode};

/// Resolves names and splits every `listen`. The result counts only if nothing is an error.
pub(crate) fn resolve(draft: Draft, diagnostics: &mut Diagnostics) -> Config {
    check_defaults(&draft, diagnostics);
    check_ids(&draft, diagnostics);
    let backends: HashMap<Arc<str>, BackendId> = draft
        .proxies
        .iter()
        .filter(|proxy| proxy.kind.has_back())
        .enumerate()
        .map(|(index, proxy)| (Arc::clone(&proxy.name), BackendId(index)))
        .collect();
    let mut config = Config::default();
    for proxy in &draft.proxies {
        if !proxy.settings.disabled {
            check_proxy(proxy, &backends, diagnostics);
        }
        let log = log_options(proxy, &draft.global.logs);
        if proxy.kind.has_back() {
            config.backends.push(backend(proxy, log.clone()));
        }
        if proxy.kind.has_front() {
            let target = match &proxy.settings.default_backend {
                Some(word) => backends.get(word.as_str()).copied(),
                None => backends
                    .get(&proxy.name)
                    .copied()
                    .filter(|_| proxy.kind == Kind::Listen),
            };
            config.frontends.push(frontend(proxy, target, log));
        }
    }
    config.global = draft.global;
    effect::warn(&config, diagnostics);
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

fn check_proxy(
    proxy: &Proxy,
    backends: &HashMap<Arc<str>, BackendId>,
    diagnostics: &mut Diagnostics,
) {
    let noun = proxy.kind.noun();
    let name = &proxy.name;
    let settings = &proxy.settings;
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
            None if proxy.kind == Kind::Frontend && !proxy.binds.is_empty() => diagnostics.warning(
                &proxy.position,
                format!("frontend '{name}' has no 'default_backend': it accepts connections that it cannot serve."),
            ),
            _ => {}
        }
    }
    let timeouts = &settings.timeouts;
    let front = proxy.kind.has_front() && timeouts.client.is_none();
    let back = proxy.kind.has_back()
        && !proxy.servers.is_empty()
        && (timeouts.connect.is_none() || (timeouts.server.is_none() && timeouts.tunnel.is_none()));
    if front || back {
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
    LogOptions {
        targets,
        tcplog: settings.tcplog,
        dontlognull: settings.dontlognull,
        dontlog_normal: settings.dontlog_normal,
        logasap: settings.logasap,
        tag: settings.log_tag.clone(),
    }
}

fn frontend(proxy: &Proxy, default_backend: Option<BackendId>, log: LogOptions) -> Frontend {
    let settings = &proxy.settings;
    Frontend {
        name: Arc::clone(&proxy.name),
        id: proxy.id.as_ref().map(|(id, _)| *id),
        description: proxy.description.clone(),
        binds: proxy.binds.clone(),
        mode: Mode::Tcp,
        monitor_net: Vec::new(),
        http_check: false,
        default_backend,
        maxconn: settings.maxconn,
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

fn backend(proxy: &Proxy, log: LogOptions) -> Backend {
    let settings = &proxy.settings;
    Backend {
        name: Arc::clone(&proxy.name),
        id: proxy.id.as_ref().map(|(id, _)| *id),
        description: proxy.description.clone(),
        servers: proxy.servers.clone(),
        balance: settings.balance,
        timeouts: settings.timeouts,
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
