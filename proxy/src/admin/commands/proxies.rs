//! What is about proxies as a whole.

use std::time::SystemTime;

use super::{Answer, Words};
use crate::admin::stat::take;
use crate::observe::counters::Counters;
use crate::observe::log;
use crate::worker::Shared;

/// A command about proxies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// `show backend`
    ShowBackend,
    /// `show errors`, of one proxy or all
    ShowErrors(Option<String>),
    /// `clear counters`
    ClearHighest,
    /// `clear counters all`
    ClearCounters,
}

type Parsed = Result<super::Command, Answer>;

pub(super) fn show_backend(_: &Words) -> Parsed {
    Ok(super::Command::Proxies(Command::ShowBackend))
}

pub(super) fn show_errors(words: &Words) -> Parsed {
    let proxy = Some(words.get(2).to_owned()).filter(|name| !name.is_empty());
    Ok(super::Command::Proxies(Command::ShowErrors(proxy)))
}

pub(super) fn clear_highest(_: &Words) -> Parsed {
    Ok(super::Command::Proxies(Command::ClearHighest))
}

pub(super) fn clear_counters(_: &Words) -> Parsed {
    Ok(super::Command::Proxies(Command::ClearCounters))
}

impl Command {
    pub(super) fn run(self, shared: &Shared) -> Answer {
        match self {
            Self::ShowBackend => {
                let mut text = String::from("# name\n");
                for backend in &shared.backends {
                    text.push_str(&backend.config.name);
                    text.push('\n');
                }
                return Answer::Dump(text);
            }
            Self::ShowErrors(proxy) => {
                if proxy.is_some_and(|proxy| take::proxy_number(shared, &proxy).is_none()) {
                    return Answer::error("No such proxy.\n");
                }
                return Answer::Dump(format!(
                    "Total events captured on [{}] : 0\n",
                    log::date(SystemTime::now())
                ));
            }
            Self::ClearHighest => counters(shared).for_each(Counters::clear_highest),
            Self::ClearCounters => counters(shared).for_each(Counters::clear),
        }
        Answer::Done
    }
}

fn counters(shared: &Shared) -> impl Iterator<Item = &Counters> {
    let frontends = shared.frontends.iter().map(|frontend| &frontend.counters);
    let backends = shared.backends.iter().flat_map(|backend| {
        let servers = backend.servers.iter().map(|server| &server.counters);
        servers.chain([&backend.counters])
    });
    frontends.chain(backends)
}
