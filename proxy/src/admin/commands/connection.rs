//! What is about the connection of the client itself.

use std::time::Duration;

use super::{Answer, Client, Severities, Severity, Words};
use crate::config::model::{BindAddress, Global, StatsLevel};
use crate::config::units;

/// A command about the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// `prompt`
    Prompt,
    /// `quit`
    Quit,
    /// `operator` and `user`
    Lower(StatsLevel),
    /// `show cli level`
    ShowLevel,
    /// `show cli sockets`
    ShowSockets,
    /// `set timeout cli`
    SetTimeout(Duration),
    /// `set severity-output`
    SetSeverity(Severities),
}

type Parsed = Result<super::Command, Answer>;

fn parsed(command: Command) -> Parsed {
    Ok(super::Command::Connection(command))
}

pub(super) fn prompt(_: &Words) -> Parsed {
    parsed(Command::Prompt)
}

pub(super) fn quit(_: &Words) -> Parsed {
    parsed(Command::Quit)
}

pub(super) fn operator(_: &Words) -> Parsed {
    parsed(Command::Lower(StatsLevel::Operator))
}

pub(super) fn user(_: &Words) -> Parsed {
    parsed(Command::Lower(StatsLevel::User))
}

pub(super) fn show_level(_: &Words) -> Parsed {
    parsed(Command::ShowLevel)
}

pub(super) fn show_sockets(_: &Words) -> Parsed {
    parsed(Command::ShowSockets)
}

pub(super) fn set_timeout(words: &Words) -> Parsed {
    if words.get(2) != "cli" {
        return Err(Answer::error("'set timeout' only supports 'cli'.\n"));
    }
    let text = words.get(3);
    if text.is_empty() {
        return Err(Answer::error("Expects an integer value.\n"));
    }
    // A bare number is seconds here, unlike in the configuration.
    let text = if text.ends_with(|last: char| last.is_ascii_digit()) {
        format!("{text}s")
    } else {
        text.to_owned()
    };
    match units::time(&text) {
        Ok(time) if !time.duration.is_zero() => parsed(Command::SetTimeout(time.duration)),
        _ => Err(Answer::error("Invalid timeout value.\n")),
    }
}

pub(super) fn set_severity(words: &Words) -> Parsed {
    parsed(Command::SetSeverity(match words.get(2) {
        "none" => Severities::None,
        "number" => Severities::Number,
        "string" => Severities::Text,
        _ => {
            return Err(Answer::error(
                "one of 'none', 'number', 'string' is a required argument\n",
            ));
        }
    }))
}

impl Command {
    pub(super) fn run(self, client: &mut Client, global: &Global) -> Answer {
        match self {
            Self::Prompt => client.interactive = !client.interactive,
            Self::Quit => client.leaving = true,
            Self::Lower(level) => client.level = client.level.min(level),
            Self::SetTimeout(timeout) => client.timeout = timeout,
            Self::SetSeverity(severities) => client.severities = severities,
            Self::ShowLevel => {
                return Answer::Said(Severity::Info, format!("{}\n", level_name(client.level)));
            }
            Self::ShowSockets => return Answer::Dump(sockets(global)),
        }
        Answer::Done
    }
}

fn level_name(level: StatsLevel) -> &'static str {
    match level {
        StatsLevel::User => "user",
        StatsLevel::Operator => "operator",
        StatsLevel::Admin => "admin",
    }
}

fn sockets(global: &Global) -> String {
    let mut text = String::from("# socket lvl processes\n");
    for socket in &global.stats_sockets {
        let address = match &socket.address {
            BindAddress::Inet(address) if address.is_ipv4() => format!("ipv4@{address}"),
            BindAddress::Inet(address) => format!("ipv6@{address}"),
            other => crate::net::listen::describe(other),
        };
        text.push_str(&format!("{address} {} all\n", level_name(socket.level)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeout(text: &str) -> Result<Duration, String> {
        match set_timeout(&Words::of(text.as_bytes(), None)) {
            Ok(super::super::Command::Connection(Command::SetTimeout(timeout))) => Ok(timeout),
            Err(Answer::Said(_, text)) => Err(text),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn timeouts_are_in_seconds() {
        assert_eq!(timeout("set timeout cli 5"), Ok(Duration::from_secs(5)));
        assert_eq!(
            timeout("set timeout cli 500ms"),
            Ok(Duration::from_millis(500))
        );
        for wrong in ["0", "abc", "5x", "-1"] {
            let line = format!("set timeout cli {wrong}");
            assert_eq!(
                timeout(&line),
                Err("Invalid timeout value.\n".into()),
                "{wrong}"
            );
        }
        assert_eq!(
            timeout("set timeout cli"),
            Err("Expects an integer value.\n".into())
        );
    }

    #[test]
    fn rights_only_go() {
        let mut client = Client::new(StatsLevel::User, Duration::from_secs(1));
        Command::Lower(StatsLevel::Operator).run(&mut client, &Global::default());
        assert_eq!(client.level, StatsLevel::User);
    }
}
