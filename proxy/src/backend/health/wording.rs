//! Log lines about servers, in HAProxy's words and at its levels.

use std::fmt::{self, Write as _};

use super::status::{Outcome, Verdict};
use crate::backend::standing::probe::Probe;
use crate::backend::standing::{Admin, News, Op, Standing, Which};
use crate::observe::log::LEVEL_NOTICE;

/// Urgency of the loss of the last server.
pub const LEVEL_EMERGENCY: u8 = 0;
/// Urgency of the loss of a server.
pub const LEVEL_ALERT: u8 = 1;

/// Which server a line is about.
#[derive(Debug, Clone)]
pub struct Title<'a> {
    /// Its backend.
    pub backend: &'a str,
    /// Its name.
    pub server: &'a str,
    /// `backup`.
    pub backup: bool,
    /// The server that it tracks, `backend/server`.
    pub tracks: Option<&'a str>,
    /// The host name that its address comes from.
    pub host: Option<std::sync::Arc<str>>,
}

impl fmt::Display for Title<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.backup {
            "Backup Server"
        } else {
            "Server"
        };
        write!(f, "{what} {}/{}", self.backend, self.server)
    }
}

impl Title<'_> {
    fn via(&self) -> String {
        self.tracks
            .map_or_else(String::new, |leader| format!(" via {leader}"))
    }

    fn host(&self) -> String {
        self.host
            .as_ref()
            .map_or_else(String::new, |host| format!(" ('{host}')"))
    }
}

/// Why a server's state changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Nothing that is told here: the server that it tracks, or a check that was told already.
    Silent,
    /// A check found this.
    Check(Verdict),
    /// Somebody said so.
    Words(String),
}

/// What is left of a backend after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Left {
    /// Servers that take new streams.
    pub active: usize,
    /// Backup servers that would.
    pub backup: usize,
    /// Streams that the server serves.
    pub sessions: u64,
    /// Streams that were taken out of its queue, or put there.
    pub requeued: u64,
    /// Streams that still wait there.
    pub queued: u64,
}

/// The line for a change, with its level.
#[must_use]
pub fn change(
    title: &Title<'_>,
    news: News,
    standing: &Standing,
    cause: &Cause,
    left: Left,
) -> (u8, String) {
    let up = if standing.op == Op::Stopped {
        "DOWN"
    } else {
        "UP"
    };
    let forced_drain = standing.admin.contains(Admin::FORCED_DRAIN);
    let quiet = |was_stopping: bool| {
        if was_stopping {
            LEVEL_NOTICE
        } else {
            LEVEL_ALERT
        }
    };
    let mut level = LEVEL_NOTICE;
    let mut text = title.to_string();
    // Writing to a string cannot fail.
    let _ = match news {
        News::Down { was_stopping } => {
            level = quiet(was_stopping);
            write!(text, " is DOWN{}", operational(title, cause))
        }
        News::Stopping => write!(text, " is stopping{}", operational(title, cause)),
        News::Up => write!(text, " is UP{}", operational(title, cause)),
        News::EntersMaint { was_stopping } => {
            level = quiet(was_stopping);
            let why = administrative(title, standing, cause, Admin::FORCED_MAINT);
            write!(text, " is going DOWN for maintenance{why}")
        }
        News::DownEntersMaint => {
            let why = administrative(title, standing, cause, Admin::FORCED_MAINT);
            write!(text, " was DOWN and now enters maintenance{why}")
        }
        News::LeavesMaint(flag) => {
            let ready = if standing.is_drained() {
                "DRAIN"
            } else {
                "READY"
            };
            if flag == Admin::RESOLVER_MAINT {
                write!(text, "{} is {up}/{ready} (resolves again)", title.host())
            } else if flag == Admin::INHERITED_MAINT {
                write!(text, " is {up}/{ready} (leaving maintenance)")
            } else {
                write!(text, " is {up}/{ready} (leaving forced maintenance)")
            }
        }
        News::RemainsMaint(flag) => {
            let via = title.via();
            if flag == Admin::RESOLVER_MAINT {
                let host = title.host();
                write!(
                    text,
                    "{host} resolves again but remains in maintenance{via}"
                )
            } else if flag == Admin::INHERITED_MAINT {
                write!(text, " remains in forced maintenance")
            } else {
                let what = "is leaving forced maintenance but remains in maintenance";
                write!(text, " {what}{via}")
            }
        }
        News::EntersDrain => {
            let why = administrative(title, standing, cause, Admin::FORCED_DRAIN);
            write!(text, " enters drain state{why}")
        }
        News::LeavesDrain => write!(text, " is {up} (leaving forced drain)"),
        News::RemainsDrain if forced_drain => write!(text, " remains in forced drain mode"),
        News::RemainsDrain => {
            let via = title.via();
            write!(
                text,
                " is leaving forced drain but remains in drain mode{via}"
            )
        }
    };
    let counts = matches!(
        news,
        News::Down { .. }
            | News::Stopping
            | News::Up
            | News::EntersMaint { .. }
            | News::EntersDrain
    );
    if counts {
        add_left(&mut text, standing, left);
    }
    text.push('.');
    (level, text)
}

fn add_left(text: &mut String, standing: &Standing, left: Left) {
    let Left {
        active,
        backup,
        sessions,
        requeued,
        queued,
    } = left;
    let on_backup = if active == 0 && backup > 0 {
        " Running on backup."
    } else {
        ""
    };
    let _ = if standing.op == Op::Stopped {
        write!(
            text,
            ". {active} active and {backup} backup servers left.{on_backup} {sessions} sessions active, {requeued} requeued, {queued} remaining in queue"
        )
    } else {
        write!(
            text,
            ". {active} active and {backup} backup servers online.{on_backup} {requeued} sessions requeued, {queued} total in queue"
        )
    };
}

/// Why, of an operational state.
fn operational(title: &Title<'_>, cause: &Cause) -> String {
    match cause {
        Cause::Check(verdict) => reason(verdict),
        Cause::Words(words) if !words.is_empty() => format!(", {words}"),
        Cause::Silent | Cause::Words(_) => title.via(),
    }
}

/// Why, of an administrative state; `forced`: the bit that says that it is nobody else's.
fn administrative(title: &Title<'_>, standing: &Standing, cause: &Cause, forced: Admin) -> String {
    let mut text = match cause {
        Cause::Words(words) if !words.is_empty() => format!(" ({words})"),
        _ => String::new(),
    };
    if !standing.admin.contains(forced) {
        text.push_str(&title.via());
    }
    text
}

/// What a check found.
fn reason(verdict: &Verdict) -> String {
    let mut text = format!(", reason: {}", verdict.status.text());
    if verdict.status.has_code() {
        let _ = write!(text, ", code: {}", verdict.code);
    }
    if !verdict.info.is_empty() {
        let _ = write!(text, ", info: \"{}\"", escape(&verdict.info));
    }
    if let Some(duration) = verdict.duration {
        let _ = write!(text, ", check duration: {}ms", duration.as_millis());
    }
    text
}

/// Characters that would break a line, or its quotes, as their codes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '"' || !(c.is_ascii_graphic() || c == ' ') {
            let _ = write!(out, "<{:02X}>", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// The line for a check, where checks are logged.
#[must_use]
pub fn check(title: &Title<'_>, which: Which, probe: &Probe, weight: u16) -> String {
    let verdict = &probe.verdict;
    let kind = match which {
        Which::Server => "Health",
        Which::Agent => "Agent",
    };
    let backup = if title.backup { "backup " } else { "" };
    let outcome = match verdict.status.outcome() {
        Outcome::Passed => "succeeded",
        Outcome::PassedWith => "conditionally succeeded",
        Outcome::Unknown | Outcome::Neutral | Outcome::Failed => "failed",
    };
    let (at, of) = probe.meter.position();
    let state = match (probe.meter.is_up(), weight) {
        (true, 0) => "DRAIN",
        (true, _) => "UP",
        (false, _) => "DOWN",
    };
    let reason = reason(verdict);
    let Title {
        backend, server, ..
    } = title;
    format!(
        "{kind} check for {backup}server {backend}/{server} {outcome}{reason}, status: {at}/{of} {state}."
    )
}

/// The line for a backend that has lost its last server; `kind`: its section, as HAProxy calls it.
#[must_use]
pub fn no_server(kind: &str, backend: &str) -> String {
    format!("{kind} {backend} has no server available!")
}
