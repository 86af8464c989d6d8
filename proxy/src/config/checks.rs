//! What only the whole configuration shows of health checks: who tracks whom, and whether checks
//! can be made as they are asked for.

use std::sync::Arc;

use super::diagnostic::Diagnostics;
use super::draft::Proxy;
use super::draft::check::CheckKind;
use super::lexer::Word;
use super::model::check::{Action, Flavour, Track};
use super::model::{Backend, BackendId, ServerAddress};

/// Completes the checks of `backends`, which were made of `proxies`, those with a back half, in
/// order. `trust_servers`: `ssl-server-verify none`.
pub(crate) fn finish(
    proxies: &[Proxy],
    backends: &mut [Backend],
    trust_servers: bool,
    diagnostics: &mut Diagnostics,
) {
    let proxies: Vec<&Proxy> = proxies.iter().filter(|p| p.kind.has_back()).collect();
    for (proxy, backend) in proxies.iter().zip(backends.iter_mut()) {
        ignored_steps(proxy, diagnostics);
        if !proxy.settings.disabled {
            secure(proxy, backend, trust_servers, diagnostics);
            ports(backend, diagnostics);
        }
    }
    let mut tracks = Vec::new();
    for (at, proxy) in proxies.iter().enumerate() {
        for (index, line) in proxy.servers.iter().enumerate() {
            if let Some(word) = &line.track {
                tracks.push(((at, index), leader(word, at, index, backends, diagnostics)));
            }
        }
    }
    for (at, leader) in &tracks {
        if let Some(leader) = leader {
            follow(*at, *leader, &tracks, backends, diagnostics);
        }
    }
}

/// A server by its backend's index and its own.
type Place = (usize, usize);

/// Finds the server that another one tracks.
fn leader(
    word: &Word,
    backend: usize,
    server: usize,
    backends: &[Backend],
    diagnostics: &mut Diagnostics,
) -> Option<Place> {
    let own = &backends[backend];
    let place = format!("'server {}/{}'", own.name, own.servers[server].name);
    let (at, name) = match word.text.rsplit_once('/') {
        None => (Some(backend), word.as_str()),
        Some((proxy, name)) => {
            let found = backends.iter().position(|other| *other.name == *proxy);
            if found.is_none() {
                diagnostics.alert(
                    &word.position,
                    format!("{place} : unable to find required proxy '{proxy}' for tracking."),
                );
            }
            (found, name)
        }
    };
    let at = at?;
    let found = backends[at].servers.iter().position(|s| *s.name == *name);
    if found.is_none() {
        diagnostics.alert(
            &word.position,
            format!("{place} : unable to find required server '{name}' for tracking."),
        );
    }
    Some((at, found?))
}

/// Has a server track its leader, unless the chain of leaders leads back, or to nobody who knows.
fn follow(
    at: Place,
    leader: Place,
    tracks: &[(Place, Option<Place>)],
    backends: &mut [Backend],
    diagnostics: &mut Diagnostics,
) {
    let name = |place: Place| {
        let backend = &backends[place.0];
        format!("{}/{}", backend.name, backend.servers[place.1].name)
    };
    let next = |place: Place| {
        let mut all = tracks.iter();
        all.find(|(from, _)| *from == place).map(|(_, to)| *to)
    };
    let mut last = leader;
    let mut disabled = false;
    // Longer than all servers together: a loop that this one is not on.
    for _ in 0..=tracks.len() {
        let server = &backends[last.0].servers[last.1];
        disabled |= server.disabled;
        let position = backends[at.0].servers[at.1].position.clone();
        if last == at {
            diagnostics.alert(
                &position,
                format!(
                    "'server {}' : unable to track {} as it belongs to a tracking chain looping back to {}.",
                    name(at),
                    name(leader),
                    name(last)
                ),
            );
            return;
        }
        match next(last) {
            // Its own trouble is said at its own line.
            Some(None) => return,
            Some(Some(further)) => last = further,
            None => {
                if server.health.check.is_none() && server.health.agent.is_none() {
                    diagnostics.alert(
                        &position,
                        format!(
                            "'server {}' : unable to use {} for tracking as it does not have any check nor agent enabled.",
                            name(at),
                            name(leader)
                        ),
                    );
                    return;
                }
                break;
            }
        }
    }
    let track = Track {
        backend: BackendId(leader.0),
        server: leader.1,
        name: Arc::from(name(leader)),
        disabled,
    };
    backends[at.0].servers[at.1].health.track = Some(track);
}

/// Warns about steps that nobody takes.
fn ignored_steps(proxy: &Proxy, diagnostics: &mut Diagnostics) {
    let check = &proxy.settings.check;
    let own = check.section.as_ref() == Some(&proxy.position);
    if own
        && !matches!(check.kind, CheckKind::Steps)
        && let Some(position) = &check.first
    {
        diagnostics.warning(
            position,
            format!(
                "{} '{}' uses tcp-check rules without 'option tcp-check', so the rules are ignored.",
                proxy.kind.noun(),
                proxy.name
            ),
        );
    }
}

/// Settles which checks speak TLS, and refuses those whose servers should be verified against
/// nothing.
fn secure(
    proxy: &Proxy,
    backend: &mut Backend,
    trust_servers: bool,
    diagnostics: &mut Diagnostics,
) {
    let script = &backend.health.script;
    let written = script.flavour == Flavour::Written;
    let by_script = written && proxy.settings.check.speaks_tls();
    for (server, line) in backend.servers.iter_mut().zip(&proxy.servers) {
        let Some(check) = &mut server.health.check else {
            continue;
        };
        if !check.ssl && !by_script {
            check.tls = None;
            continue;
        }
        let Some(tls) = &mut check.tls else { continue };
        if line.verify_by_default {
            Arc::make_mut(tls).verify = !trust_servers;
        }
        // Where streams speak TLS too, it was said of them.
        if tls.verify && tls.ca_file.is_none() && server.tls.is_none() {
            diagnostics.alert(
                &server.position,
                format!(
                    "'server {}/{}' : its checks speak TLS, and verify is enabled but no CA file specified. Set 'ca-file' to the authorities that sign for the server ('@system-ca' for the system's), or say 'verify none'.",
                    backend.name, server.name
                ),
            );
        }
    }
}

/// Refuses checks that do not know where to connect to.
fn ports(backend: &Backend, diagnostics: &mut Diagnostics) {
    let steps = &backend.health.script.steps;
    let connects = || {
        steps.iter().filter_map(|step| match &step.action {
            Action::Connect(connect) => Some(connect),
            _ => None,
        })
    };
    let by_script = connects().next().is_some() && connects().all(|c| c.port.is_some());
    for server in &backend.servers {
        let Some(check) = &server.health.check else {
            continue;
        };
        let own = match &server.address {
            ServerAddress::Inet(address) => address.port() != 0,
            _ => true,
        };
        if !own && check.port.is_none() && !by_script {
            diagnostics.alert(
                &server.position,
                format!(
                    "backend '{}': server '{}' has neither service port nor check port.",
                    backend.name, server.name
                ),
            );
        }
    }
}
