//! Which commands there are, and who may give them.

use super::{
    Answer, Command, Words, connection, frontends, info, proxies, servers, servers_show, stat,
    streams, tables, usage,
};
use crate::config::model::StatsLevel;

/// A command.
#[derive(Clone, Copy)]
pub(super) struct Keyword {
    /// The words that it begins with.
    pub(super) words: &'static [&'static str],
    /// How it is written.
    pub(super) usage: &'static str,
    /// What it does.
    pub(super) says: &'static str,
    /// Who may give it.
    pub(super) level: StatsLevel,
    /// Whether it stands at the end of every list.
    pub(super) listed_last: bool,
    /// Reads the rest.
    pub(super) parse: fn(&Words) -> Result<Command, Answer>,
}

const fn keyword(
    words: &'static [&'static str],
    usage: &'static str,
    says: &'static str,
    level: StatsLevel,
    parse: fn(&Words) -> Result<Command, Answer>,
) -> Keyword {
    Keyword {
        words,
        usage,
        says,
        level,
        listed_last: false,
        parse,
    }
}

const fn last(keyword: Keyword) -> Keyword {
    Keyword {
        listed_last: true,
        ..keyword
    }
}

use StatsLevel::{Admin, Operator, User};

/// All commands, in the order of the alphabet.
pub(super) static KEYWORDS: &[Keyword] = &[
    keyword(
        &["clear", "counters", "all"],
        "clear counters all",
        "forget all counts",
        Admin,
        proxies::clear_counters,
    ),
    keyword(
        &["clear", "counters"],
        "clear counters",
        "forget highest values",
        Operator,
        proxies::clear_highest,
    ),
    keyword(
        &["clear", "table"],
        "clear table <table> [<filter>]*",
        "remove entries of a stick table, by data or key",
        Operator,
        tables::clear,
    ),
    keyword(
        &["disable", "agent"],
        "disable agent <bk>/<srv>",
        "no longer ask a server's agent",
        Admin,
        servers::disable_checks,
    ),
    keyword(
        &["disable", "frontend"],
        "disable frontend <frontend>",
        "have a frontend refuse connections for a while",
        Admin,
        frontends::disable,
    ),
    keyword(
        &["disable", "health"],
        "disable health <bk>/<srv>",
        "no longer check a server",
        Admin,
        servers::disable_checks,
    ),
    keyword(
        &["disable", "server"],
        "disable server <bk>/<srv>",
        "put a server into maintenance",
        Admin,
        servers::disable,
    ),
    keyword(
        &["enable", "agent"],
        "enable agent <bk>/<srv>",
        "ask a server's agent again",
        Admin,
        servers::enable_checks,
    ),
    keyword(
        &["enable", "frontend"],
        "enable frontend <frontend>",
        "have a frontend take connections again",
        Admin,
        frontends::enable,
    ),
    keyword(
        &["enable", "health"],
        "enable health <bk>/<srv>",
        "check a server again",
        Admin,
        servers::enable_checks,
    ),
    keyword(
        &["enable", "server"],
        "enable server <bk>/<srv>",
        "let a server serve again",
        Admin,
        servers::enable,
    ),
    keyword(
        &["get", "weight"],
        "get weight <bk>/<srv>",
        "the weight of a server, and that of its line",
        User,
        servers_show::get_weight,
    ),
    keyword(
        &["operator"],
        "operator",
        "give up all rights but an operator's",
        Operator,
        connection::operator,
    ),
    keyword(
        &["set", "maxconn", "frontend"],
        "set maxconn frontend <frontend> <value>",
        "change how many streams a frontend takes at once",
        Admin,
        frontends::set_maxconn,
    ),
    keyword(
        &["set", "maxconn", "global"],
        "set maxconn global <value>",
        "change how many streams the process takes at once",
        Admin,
        frontends::set_global_maxconn,
    ),
    keyword(
        &["set", "maxconn", "server"],
        "set maxconn server <bk>/<srv>",
        "change how many streams a server takes at once",
        Admin,
        servers::set_maxconn,
    ),
    keyword(
        &["set", "server"],
        "set server <bk>/<srv> [opts]",
        "change a server's state, weight, address or health",
        Admin,
        servers::set_server,
    ),
    keyword(
        &["set", "severity-output"],
        "set severity-output [none|number|string]",
        "say how grave each message is",
        User,
        connection::set_severity,
    ),
    keyword(
        &["set", "table"],
        "set table <table> key <k> [data.* <v>]*",
        "make or change an entry of a stick table",
        Operator,
        tables::set,
    ),
    keyword(
        &["set", "timeout"],
        "set timeout [cli] <delay>",
        "how long this connection may be silent",
        User,
        connection::set_timeout,
    ),
    keyword(
        &["set", "weight"],
        "set weight <bk>/<srv> <weight>[%]",
        "change a server's weight",
        Admin,
        servers::set_weight,
    ),
    keyword(
        &["show", "activity"],
        "show activity",
        "figures for developers",
        User,
        info::show_activity,
    ),
    keyword(
        &["show", "backend"],
        "show backend",
        "the names of all backends",
        User,
        proxies::show_backend,
    ),
    keyword(
        &["show", "cli", "level"],
        "show cli level",
        "the rights of this connection",
        User,
        connection::show_level,
    ),
    keyword(
        &["show", "cli", "sockets"],
        "show cli sockets",
        "where the runtime API listens",
        User,
        connection::show_sockets,
    ),
    keyword(
        &["show", "errors"],
        "show errors [<px>] [request|response]",
        "malformed messages; a TCP proxy has none",
        Operator,
        proxies::show_errors,
    ),
    keyword(
        &["show", "info"],
        "show info [desc|json|typed]*",
        "facts about the process",
        User,
        info::show_info,
    ),
    keyword(
        &["show", "servers", "conn"],
        "show servers conn [<backend>]",
        "the connections of servers",
        User,
        servers_show::conn,
    ),
    keyword(
        &["show", "servers", "state"],
        "show servers state [<backend>]",
        "what may change about servers",
        User,
        servers_show::state,
    ),
    keyword(
        &["show", "sess"],
        "show sess [<id>|all]",
        "the streams that live now, or one of them in full",
        Operator,
        streams::show,
    ),
    keyword(
        &["show", "stat"],
        "show stat [desc|json|no-maint|typed|up]*",
        "counters of proxies and servers",
        User,
        stat::show,
    ),
    keyword(
        &["show", "table"],
        "show table <table> [<filter>]*",
        "stick tables, or the entries of one, by data or key",
        User,
        tables::show,
    ),
    keyword(
        &["show", "version"],
        "show version",
        "the version of this process",
        User,
        info::show_version,
    ),
    keyword(
        &["shutdown", "frontend"],
        "shutdown frontend <frontend>",
        "close a frontend for good",
        Admin,
        frontends::shutdown,
    ),
    keyword(
        &["shutdown", "session"],
        "shutdown session [id]",
        "end a stream",
        Admin,
        streams::shutdown,
    ),
    keyword(
        &["shutdown", "sessions", "server"],
        "shutdown sessions server <bk>/<srv>",
        "end all streams of a server",
        Admin,
        streams::shutdown_server,
    ),
    keyword(
        &["user"],
        "user",
        "give up all rights but a user's",
        User,
        connection::user,
    ),
    last(keyword(
        &["help"],
        "help [<command>]",
        "the commands that begin like this, or all",
        User,
        usage::help,
    )),
    last(keyword(
        &["prompt"],
        "prompt",
        "stay connected and be prompted, or no longer",
        User,
        connection::prompt,
    )),
    last(keyword(
        &["quit"],
        "quit",
        "close the connection",
        User,
        connection::quit,
    )),
];

/// HAProxy's commands that are not here.
const NOT_YET: &[&[&str]] = &[
    &["abort", "ssl"],
    &["add", "acl"],
    &["add", "map"],
    &["add", "server"],
    &["add", "ssl"],
    &["clear", "acl"],
    &["clear", "map"],
    &["commit", "acl"],
    &["commit", "map"],
    &["commit", "ssl"],
    &["del", "acl"],
    &["del", "map"],
    &["del", "server"],
    &["del", "ssl"],
    &["disable", "dynamic-cookie"],
    &["enable", "dynamic-cookie"],
    &["get", "acl"],
    &["get", "map"],
    &["get", "var"],
    &["new", "ssl"],
    &["prepare", "acl"],
    &["prepare", "map"],
    &["set", "dynamic-cookie-key"],
    &["set", "map"],
    &["set", "profiling"],
    &["set", "rate-limit"],
    &["set", "ssl"],
    &["set", "var"],
    &["show", "acl"],
    &["show", "cache"],
    &["show", "env"],
    &["show", "events"],
    &["show", "fd"],
    &["show", "libs"],
    &["show", "map"],
    &["show", "peers"],
    &["show", "pools"],
    &["show", "profiling"],
    &["show", "resolvers"],
    &["show", "schema"],
    &["show", "ssl"],
    &["show", "startup-logs"],
    &["show", "tasks"],
    &["show", "threads"],
    &["show", "tls-keys"],
    &["show", "trace"],
    &["trace"],
];

/// The command that a line begins with.
pub(super) fn find(words: &Words) -> Option<&'static Keyword> {
    KEYWORDS
        .iter()
        .find(|keyword| words.common(keyword.words) == keyword.words.len())
}

/// The name of a command that only HAProxy has.
pub(super) fn not_yet(words: &Words) -> Option<String> {
    NOT_YET
        .iter()
        .find(|name| words.common(name) == name.len())
        .map(|name| name.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_there_or_not_and_once() {
        let mut all: Vec<&[&str]> = KEYWORDS.iter().map(|keyword| keyword.words).collect();
        all.extend(NOT_YET);
        for (at, words) in all.iter().enumerate() {
            for (other_at, other) in all.iter().enumerate() {
                assert!(
                    at >= other_at || !other.starts_with(words),
                    "{words:?} hides {other:?}"
                );
            }
        }
        for keyword in KEYWORDS {
            assert!(keyword.usage.starts_with(&keyword.words.join(" ")));
        }
    }

    #[test]
    fn commands_are_found_by_all_their_words() {
        let found = |line: &str| find(&Words::of(line.as_bytes(), None)).map(|found| found.words);
        assert_eq!(
            found("show servers state be"),
            Some(&["show", "servers", "state"][..])
        );
        assert_eq!(found("show servers"), None);
        assert_eq!(
            found("shutdown session 0x1"),
            Some(&["shutdown", "session"][..])
        );
        assert_eq!(found(""), None);
    }
}
