//! The commands of the runtime API, one file per family: a line becomes a [`Command`], which is
//! then done. Words, levels, answers and errors are HAProxy's, so that its tools work.

mod connection;
mod frontends;
mod info;
mod keywords;
mod proxies;
mod servers;
mod servers_show;
mod stat;
mod streams;
mod tables;
mod usage;
mod words;

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::operator::Operator;
use crate::config::model::StatsLevel;
use crate::observe::counters::Count;

pub(crate) use servers_show::address_text;
pub use words::Words;

/// What commands are done with.
#[derive(Debug)]
pub struct Api {
    /// Reaches the running proxy.
    pub operator: Rc<Operator>,
    /// How many clients there have been.
    pub clients: Count,
}

/// What is known of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// What it may do.
    pub level: StatsLevel,
    /// Whether it is prompted, and stays.
    pub interactive: bool,
    /// It wants to be gone.
    pub leaving: bool,
    /// How long it may be silent or slow.
    pub timeout: Duration,
    severities: Severities,
}

/// Whether answers say how grave they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Severities {
    /// They do not.
    #[default]
    None,
    /// As syslog's number.
    Number,
    /// As syslog's word.
    Text,
}

impl Client {
    /// A client that has just come.
    #[must_use]
    pub fn new(level: StatsLevel, timeout: Duration) -> Self {
        Self {
            level,
            interactive: false,
            leaving: false,
            timeout,
            severities: Severities::None,
        }
    }

    /// What stands before an answer.
    #[must_use]
    pub fn prefix(&self, severity: Severity) -> String {
        match self.severities {
            Severities::None => String::new(),
            Severities::Number => format!("[{}]: ", severity as u8),
            Severities::Text => format!("[{}]: ", severity.word()),
        }
    }
}

/// How grave an answer is: syslog's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Severity {
    /// It was not done.
    Error = 3,
    /// It was not done, or something changed that others rely on.
    Warning = 4,
    /// There was nothing to do.
    Notice = 5,
    /// As asked.
    Info = 6,
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Self::Error => "err",
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Info => "info",
        }
    }
}

/// What a client is told. An empty line follows each.
pub enum Answer {
    /// It is done, and there is nothing to say.
    Done,
    /// A message, with its line end.
    Said(Severity, String),
    /// A whole text.
    Dump(String),
    /// A long text, made as it is sent.
    Pieces(Box<dyn Iterator<Item = String>>),
}

impl Answer {
    /// It cannot be done: HAProxy's words.
    pub(crate) fn error(text: impl Into<String>) -> Self {
        Self::Said(Severity::Error, text.into())
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("Done"),
            Self::Said(severity, text) => write!(f, "Said({severity:?}, {text:?})"),
            Self::Dump(text) => write!(f, "Dump({text:?})"),
            Self::Pieces(_) => f.write_str("Pieces"),
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    Usage(usage::Command),
    Connection(connection::Command),
    Info(info::Command),
    Stat(stat::Query),
    Streams(streams::Command),
    ShowServers(servers_show::Command),
    SetServer(servers::Command),
    Proxies(proxies::Command),
    Frontends(frontends::Command),
    Tables(tables::Command),
}

/// The number that a word begins with; 0 if with none.
fn number(word: &str) -> i64 {
    let sign = usize::from(word.starts_with(['-', '+']));
    let digits = word[sign..].bytes().take_while(u8::is_ascii_digit).count();
    word[..sign + digits].parse().unwrap_or(0)
}

/// Reads a command.
///
/// # Errors
/// What is said instead of doing it.
fn parse(words: &Words, level: StatsLevel) -> Result<Command, Answer> {
    let Some(keyword) = keywords::find(words) else {
        return Err(usage::unknown(words));
    };
    if level < keyword.level {
        return Err(Answer::error("Permission denied\n"));
    }
    (keyword.parse)(words)
}

/// Reads a line and does what it says.
pub async fn obey(line: &[u8], payload: Option<Vec<u8>>, api: &Api, client: &mut Client) -> Answer {
    let words = Words::of(line, payload);
    let command = match parse(&words, client.level) {
        Ok(command) => command,
        Err(answer) => return answer,
    };
    match command {
        Command::Usage(command) => command.run(),
        Command::Connection(command) => command.run(client, &api.operator.shared.global),
        Command::Info(command) => command.run(api),
        Command::Stat(query) => query.run(client.level, &api.operator).await,
        Command::Streams(command) => command.run(&api.operator).await,
        Command::ShowServers(command) => command.run(&api.operator.shared),
        Command::SetServer(command) => command.run(&api.operator),
        Command::Proxies(command) => command.run(&api.operator.shared),
        Command::Frontends(command) => command.run(&api.operator).await,
        Command::Tables(command) => command.run(&api.operator.shared),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_what_words_begin_with() {
        let table = [
            ("12", 12),
            ("-1", -1),
            ("3x", 3),
            ("x", 0),
            ("", 0),
            ("-", 0),
        ];
        for (word, expected) in table {
            assert_eq!(number(word), expected, "{word}");
        }
    }
}
