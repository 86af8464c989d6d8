//! What the sections say of servers by host name.

use std::net::IpAddr;

use super::super::diagnostic::Diagnostics;
use super::super::lexer::Word;
use super::super::lookups::Lookups;
use super::super::model::Server;
use super::super::model::names::{Resolvers, Wish};
use super::super::section::system_nameservers;
use super::{Draft, Proxy, ServerLine};

/// The section that is there without being written.
const IMPLICIT: &str = "default";

/// One way to find the address that a server starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InitMethod {
    /// That of a state file.
    Last,
    /// The system's resolver.
    Libc,
    /// To start without one.
    None,
    /// This one.
    Ip(IpAddr),
}

/// The words of `server` and `default-server` lines.
#[derive(Debug, Clone, Default)]
pub(crate) struct NameWords {
    /// `init-addr`; empty: HAProxy's default.
    pub(crate) init: Vec<InitMethod>,
    pub(crate) resolvers: Option<Word>,
    pub(crate) wish: Wish,
    pub(crate) ignore_weight: bool,
}

/// Adds the section `default`, made of `/etc/resolv.conf`, where a server names it and nobody wrote it.
pub(crate) fn add_implicit(draft: &mut Draft, lookups: &dyn Lookups) {
    let mut lines = draft.proxies.iter().flat_map(|proxy| &proxy.servers);
    let Some(word) = lines.find_map(|line| {
        let word = line.resolvers.as_ref();
        word.filter(|word| word.text == IMPLICIT)
    }) else {
        return;
    };
    let written = draft
        .resolvers
        .iter()
        .any(|section| *section.name == *IMPLICIT);
    if written {
        return;
    }
    let mut section = Resolvers::new(IMPLICIT.into(), word.position.clone());
    if let Some(text) = lookups.resolv_conf() {
        // What is wrong with it is not this configuration's fault.
        let mut ignored = Diagnostics::default();
        system_nameservers(&text, &word.position, &mut section, &mut ignored);
    }
    if !section.nameservers.is_empty() {
        draft.resolvers.push(section);
    }
}

/// Finds the section that a server's line names.
pub(crate) fn link(sections: &[Resolvers], line: &ServerLine, server: &mut Server) {
    server.naming.resolvers = line.resolvers.as_ref().and_then(|word| {
        let mut names = sections.iter();
        names.position(|section| *section.name == *word.text)
    });
}

/// Refuses servers that name a section that is not there.
pub(crate) fn check(sections: &[Resolvers], proxy: &Proxy, diagnostics: &mut Diagnostics) {
    let mut said = None;
    for line in &proxy.servers {
        let Some(word) = &line.resolvers else {
            continue;
        };
        let known = sections.iter().any(|section| *section.name == *word.text);
        // The servers of a template share a word.
        if known || said == Some(&word.position) {
            continue;
        }
        said = Some(&word.position);
        diagnostics.alert(
            &word.position,
            format!(
                "{} '{}', server '{}': unable to find required resolvers '{}'",
                proxy.kind.noun(),
                proxy.name,
                line.server.name,
                word.text
            ),
        );
    }
}
