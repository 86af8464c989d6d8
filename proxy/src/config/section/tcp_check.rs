//! `tcp-check` lines: the steps of a health check.

use std::sync::Arc;

use data_encoding::HEXLOWER_PERMISSIVE;
use regex::bytes::{Regex, RegexBuilder};

use super::super::diagnostic::Fault;
use super::super::draft::Proxy;
use super::super::lexer::Word;
use super::super::model::check::{Action, Connect, Expect, Info, Pattern, Step};
use super::super::units;
use super::proxy::{Side, warn_if_ignored};
use super::{Args, Context, server_check};
use crate::backend::health::status::Status;

/// What HAProxy has and we have not.
const NOT_YET: [&str; 6] = [
    "send-lf",
    "send-binary-lf",
    "set-var",
    "set-var-fmt",
    "unset-var",
    "via-socks4",
];

/// Reads a `tcp-check` line.
pub(crate) fn line(
    args: Args<'_>,
    proxy: &mut Proxy,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let keyword = args.keyword();
    let what = args.first("'comment', 'connect', 'send', 'send-binary' or 'expect'")?;
    let mut words = Words {
        rest: args.from(2),
        what,
    };
    let (action, comment) = match what.as_str() {
        "comment" => {
            let text = words.value(what, "a string")?;
            (Action::Comment, Some(Arc::from(text.as_str())))
        }
        "connect" => connect(&mut words, context)?,
        "send" => {
            let text = words.value(what, "a string")?;
            let bytes = Arc::from(text.text.as_bytes());
            (Action::Send(bytes), words.comment_only()?)
        }
        "send-binary" => {
            let text = words.value(what, "hexadecimal digits")?;
            let bytes = binary(what, text)?;
            (Action::Send(bytes), words.comment_only()?)
        }
        "expect" => expect(&mut words)?,
        other => {
            let name = other.split('(').next().unwrap_or(other);
            return Err(what.fault(if NOT_YET.contains(&name) {
                format!("'tcp-check {name}' is known to HAProxy but not available in this version.")
            } else {
                format!(
                    "'tcp-check' only supports 'comment', 'connect', 'send', 'send-binary', 'expect' but got '{other}'"
                )
            }));
        }
    };
    let check = &mut proxy.settings.check;
    if check.section.as_ref() != Some(&proxy.position) {
        // Those of the `defaults` are not added to.
        check.steps.clear();
        check.section = Some(proxy.position.clone());
        check.first = Some(keyword.position.clone());
    }
    let mut before = check.steps.iter();
    let first = before.find(|step| !matches!(step.action, Action::Comment));
    let connects = matches!(action, Action::Connect(_));
    if connects && first.is_some_and(|step| !matches!(step.action, Action::Connect(_))) {
        return Err(what.fault(
            "'tcp-check connect' : the first step has to be a 'connect' too, but for comments, where any step is one.",
        ));
    }
    check.steps.push(Step { action, comment });
    warn_if_ignored(proxy, "tcp-check", keyword, Side::Back, context);
    Ok(())
}

/// The words behind `tcp-check <what>`.
struct Words<'a> {
    rest: &'a [Word],
    what: &'a Word,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a Word> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// The argument of `name`, which may not be empty.
    fn value(&mut self, name: &Word, expected: &str) -> Result<&'a Word, Fault> {
        match self.next() {
            Some(word) if !word.text.is_empty() => Ok(word),
            _ => Err(self.fault(
                name,
                &format!("'{}' expects {expected} as argument.", name.text),
            )),
        }
    }

    fn fault(&self, word: &Word, why: &str) -> Fault {
        word.fault(format!("'tcp-check {}' : {why}", self.what.text))
    }

    /// All that may follow is a comment.
    fn comment_only(&mut self) -> Result<Option<Arc<str>>, Fault> {
        let mut comment = None;
        while let Some(word) = self.next() {
            if word.text != "comment" {
                let why = format!("expects 'comment' but got '{}' as argument.", word.text);
                return Err(self.fault(word, &why));
            }
            comment = Some(self.comment(word)?);
        }
        Ok(comment)
    }

    fn comment(&mut self, name: &Word) -> Result<Arc<str>, Fault> {
        Ok(Arc::from(self.value(name, "a string")?.as_str()))
    }
}

fn connect(
    words: &mut Words<'_>,
    context: &Context<'_>,
) -> Result<(Action, Option<Arc<str>>), Fault> {
    let mut connect = Connect::default();
    let mut comment = None;
    while let Some(word) = words.next() {
        match word.as_str() {
            "default" => connect.default = true,
            "ssl" => connect.ssl = true,
            "send-proxy" => connect.send_proxy = true,
            "linger" => connect.linger = true,
            "port" => {
                let value = words.value(word, "a port number")?;
                connect.port = Some(units::integer(
                    "tcp-check connect port",
                    value,
                    1..=u16::MAX,
                )?);
            }
            "addr" => {
                let value = words.value(word, "<ipv4|ipv6>")?;
                let (ip, port) = server_check::host(word, value, context)?;
                connect.address = Some(ip);
                connect.port = port.or(connect.port);
            }
            "sni" => connect.sni = Some(words.value(word, "a string")?.as_str().into()),
            "alpn" => {
                let value = words.value(word, "a list of protocols")?;
                connect.alpn = Some(server_check::protocols(word, value)?.into());
            }
            "comment" => comment = Some(words.comment(word)?),
            "via-socks4" | "proto" => {
                return Err(words.fault(
                    word,
                    &format!(
                        "'{}' is known to HAProxy but not available in this version.",
                        word.text
                    ),
                ));
            }
            other => {
                return Err(words.fault(
                    word,
                    &format!(
                        "expects 'comment', 'port', 'addr', 'send-proxy', 'ssl', 'sni', 'alpn', 'linger' or 'default' but got '{other}' as argument."
                    ),
                ));
            }
        }
    }
    Ok((Action::Connect(connect), comment))
}

fn expect(words: &mut Words<'_>) -> Result<(Action, Option<Arc<str>>), Fault> {
    let mut expect = None;
    let mut comment = None;
    let mut unwanted = false;
    let mut rest = Expect::new(Pattern::Agent);
    let what = words.what;
    if words.rest.is_empty() {
        return Err(words.fault(what, "expects at least a matching pattern as arguments."));
    }
    while let Some(word) = words.next() {
        match word.as_str() {
            "comment" => comment = Some(words.comment(word)?),
            "min-recv" => {
                let value = words.value(word, "an integer")?;
                let most = i64::from(i32::MAX);
                let bytes: i64 = units::integer("tcp-check expect min-recv", value, -1..=most)?;
                rest.min_recv = usize::try_from(bytes).ok();
            }
            "ok-status" => {
                let all = [
                    Status::L7Ok,
                    Status::L7Conditional,
                    Status::L6Ok,
                    Status::L4Ok,
                ];
                rest.ok = status(words, word, &all)?;
            }
            "error-status" => {
                let all = [
                    Status::L7Invalid,
                    Status::L7Wrong,
                    Status::L6Invalid,
                    Status::L4Error,
                ];
                rest.error = status(words, word, &all)?;
            }
            "tout-status" => {
                let all = [Status::L7Timeout, Status::L6Timeout, Status::L4Timeout];
                rest.timeout = status(words, word, &all)?;
            }
            "on-success" => rest.on_success = Some(info(words, word)?),
            "on-error" => rest.on_error = Some(info(words, word)?),
            "status-code" | "string-lf" | "binary-lf" => {
                return Err(words.fault(
                    word,
                    &format!(
                        "'{}' is known to HAProxy but not available in this version.",
                        word.text
                    ),
                ));
            }
            "!" if expect.is_none() => unwanted = true,
            text => {
                let bare = text.strip_prefix('!').unwrap_or(text);
                unwanted |= bare != text;
                if !["string", "binary", "rstring", "rbinary"].contains(&bare) {
                    return Err(words.fault(
                        word,
                        &format!(
                            "only supports min-recv, '[!]binary', '[!]string', '[!]rstring', '[!]rbinary' or comment but got '{text}' as argument."
                        ),
                    ));
                }
                if expect.is_some() {
                    return Err(words.fault(word, "only one pattern is expected."));
                }
                let value = words.value(word, "a <pattern>")?;
                expect = Some(pattern(words, bare, word, value)?);
            }
        }
    }
    let Some(pattern) = expect else {
        return Err(words.fault(what, "expects at least a matching pattern as arguments."));
    };
    if unwanted && rest.min_recv.is_some() {
        return Err(words.fault(what, "[!] not supported with 'min-recv'."));
    }
    let expect = Expect {
        pattern,
        unwanted,
        ..rest
    };
    Ok((Action::Expect(Box::new(expect)), comment))
}

fn pattern(words: &Words<'_>, kind: &str, name: &Word, value: &Word) -> Result<Pattern, Fault> {
    let compiled = || -> Result<Regex, Fault> {
        RegexBuilder::new(&value.text)
            .unicode(false)
            .build()
            .map_err(|error| {
                let why = error.to_string();
                let why = why.lines().last().unwrap_or_default();
                words.fault(value, &format!("regex '{}' is invalid ({why})", value.text))
            })
    };
    Ok(match kind {
        "string" => Pattern::Text(value.text.as_bytes().into()),
        "binary" => Pattern::Binary(binary(name, value)?),
        "rstring" => Pattern::Regex(compiled()?),
        _ => Pattern::HexRegex(compiled()?),
    })
}

fn binary(name: &Word, value: &Word) -> Result<Arc<[u8]>, Fault> {
    let why = match HEXLOWER_PERMISSIVE.decode(value.text.as_bytes()) {
        Ok(bytes) => return Ok(bytes.into()),
        Err(error) if error.kind == data_encoding::DecodeKind::Length => {
            "an even number of hex digit is expected".to_owned()
        }
        Err(error) => {
            let found = value
                .text
                .get(error.position..)
                .and_then(|rest| rest.chars().next());
            format!(
                "an hex digit is expected (found '{}')",
                found.unwrap_or(' ')
            )
        }
    };
    Err(value.fault(format!(
        "'tcp-check {}' : '{}' invalid binary string ({why}).",
        name.text, value.text
    )))
}

fn status(words: &mut Words<'_>, name: &Word, all: &[Status]) -> Result<Status, Fault> {
    let value = words.value(name, "a string")?;
    let found = Status::by_code(&value.text).filter(|status| all.contains(status));
    found.ok_or_else(|| {
        let names: Vec<String> = all.iter().map(|s| format!("'{}'", s.code())).collect();
        let why = format!(
            "'{}' only supports {} (got '{}').",
            name.text,
            names.join(", "),
            value.text
        );
        words.fault(value, &why)
    })
}

/// A text; sample expressions in it are not available.
fn info(words: &mut Words<'_>, name: &Word) -> Result<Info, Fault> {
    let value = words.value(name, "a string")?;
    if value.text.contains('%') {
        let why = format!(
            "'{}' : log-format expressions are not available in this version (got '{}').",
            name.text, value.text
        );
        return Err(words.fault(value, &why));
    }
    Ok(Info::Text(value.as_str().into()))
}
