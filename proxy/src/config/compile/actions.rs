//! The actions of `tcp-request` and `tcp-response` lines.

use super::super::diagnostic::Fault;
use super::super::draft::rules::RuleLine;
use super::super::keywords;
use super::super::lexer::Word;
use super::{Site, conditions, limits, missing};
use crate::rules::action::{Action, Gpc, Operand, Part, Ruling};
use crate::rules::expr::Expr;
use crate::rules::ruleset::{Rule, Stage};
use crate::rules::table::{TableId, can_be_key};
use crate::rules::vars::VarId;

/// How a stage is called in messages.
pub(super) fn place(stage: Stage) -> &'static str {
    match stage {
        Stage::Connection => "'tcp-request connection' rule",
        Stage::Session => "'tcp-request session' rule",
        Stage::Request => "'tcp-request content' rule",
        Stage::Response => "'tcp-response content' rule",
        Stage::Choice => "rule",
        Stage::Memory => "'stick store-response' rule",
    }
}

/// Compiles one line.
pub(super) fn rule(line: &RuleLine, stage: Stage, site: &Site<'_>) -> Result<Rule, Fault> {
    let (words, condition) = conditions::split(&line.words);
    let Some((name, arguments)) = words.split_first() else {
        return Err(missing(&line.keyword, "an action"));
    };
    let call = Call {
        name,
        arguments,
        stage,
        site,
    };
    let action = call.compile()?;
    Ok(Rule {
        action,
        limit: limits::of(condition, site),
        when: conditions::when(condition, line, stage, place(stage), site)?,
        position: name.position.clone(),
    })
}

/// An action as it is written.
struct Call<'a> {
    name: &'a Word,
    arguments: &'a [Word],
    stage: Stage,
    site: &'a Site<'a>,
}

impl Call<'_> {
    fn compile(&self) -> Result<Action, Fault> {
        let (name, argument) = split_call(self.name)?;
        self.check_stage(name)?;
        match name {
            "accept" => self.alone(Action::Rule(Ruling::Accept)),
            "reject" => self.alone(Action::Rule(Ruling::Reject)),
            "silent-drop" => self.alone(Action::Rule(Ruling::SilentDrop)),
            "close" => self.alone(Action::Rule(Ruling::Close)),
            "expect-proxy" => match self.arguments {
                [layer] if layer.text == "layer4" => Ok(Action::ExpectProxy),
                _ => Err(self.fault("expects 'layer4'")),
            },
            "track-sc0" => self.track(0),
            "track-sc1" => self.track(1),
            "track-sc2" => self.track(2),
            "sc-inc-gpc0" => self.increment(argument, Gpc::Zero),
            "sc-inc-gpc1" => self.increment(argument, Gpc::One),
            "sc-set-gpt0" => {
                let slot = self.slot(argument)?;
                let value = self.one("an integer or an expression")?;
                let value = match value.text.parse::<u32>() {
                    Ok(number) => Operand::Number(number),
                    Err(_) => Operand::Expr(self.expression(value)?),
                };
                Ok(Action::SetTag { slot, value })
            }
            "set-src" => self.address(Part::Source),
            "set-src-port" => self.address(Part::SourcePort),
            "set-dst" => self.address(Part::Destination),
            "set-dst-port" => self.address(Part::DestinationPort),
            "set-mark" => {
                let value = self.one("an integer between 0 and 4294967295")?;
                let mark = number(&value.text).and_then(|mark| u32::try_from(mark).ok());
                mark.map(Action::SetMark)
                    .ok_or_else(|| value.fault(format!("invalid mark '{}'.", value.text)))
            }
            "set-tos" => {
                let value = self.one("an integer between 0 and 255")?;
                let tos = number(&value.text).and_then(|tos| u8::try_from(tos).ok());
                tos.map(Action::SetTos)
                    .ok_or_else(|| value.fault(format!("invalid TOS '{}'.", value.text)))
            }
            "set-var" => {
                let id = self.variable(argument)?;
                let value = self.expression(self.one("an expression")?)?;
                Ok(Action::SetVar { id, value })
            }
            "unset-var" => {
                let action = Action::UnsetVar(self.variable(argument)?);
                self.alone(action)
            }
            "set-log-level" => {
                let level = self.one("a log level or 'silent'")?;
                let level = match level.as_str() {
                    "silent" => None,
                    other => Some(
                        super::super::section::log_level(other)
                            .ok_or_else(|| level.fault(format!("unknown log level '{other}'.")))?,
                    ),
                };
                Ok(Action::SetLogLevel(level))
            }
            _ => Err(keywords::ACTION.refuse(&self.bare(name))),
        }
    }

    /// The action's name as a word of its own.
    fn bare(&self, name: &str) -> Word {
        Word {
            text: name.to_owned(),
            position: self.name.position.clone(),
        }
    }

    fn check_stage(&self, name: &str) -> Result<(), Fault> {
        let here = match name {
            "expect-proxy" => self.stage == Stage::Connection,
            "close" => self.stage == Stage::Response,
            "track-sc0" | "track-sc1" | "track-sc2" => self.stage != Stage::Response,
            "set-src" | "set-src-port" | "set-dst" | "set-dst-port" => {
                self.stage != Stage::Response
            }
            "set-log-level" => matches!(self.stage, Stage::Request | Stage::Response),
            _ => true,
        };
        if here {
            return Ok(());
        }
        Err(self.name.fault(format!(
            "'{name}' cannot be used in a {}.",
            place(self.stage)
        )))
    }

    fn fault(&self, what: &str) -> Fault {
        self.name.fault(format!("'{}' {what}.", self.name.text))
    }

    fn alone(&self, action: Action) -> Result<Action, Fault> {
        match self.arguments.first() {
            None => Ok(action),
            Some(extra) => Err(extra.fault(format!(
                "'{}' cannot handle unexpected argument '{}' (only 'if' or 'unless' may follow).",
                self.name.text, extra.text
            ))),
        }
    }

    fn one(&self, what: &str) -> Result<&Word, Fault> {
        match self.arguments {
            [word] => Ok(word),
            [] => Err(self.fault(&format!("expects {what}"))),
            [_, extra, ..] => Err(extra.fault(format!(
                "'{}' cannot handle unexpected argument '{}' (only 'if' or 'unless' may follow).",
                self.name.text, extra.text
            ))),
        }
    }

    /// An expression of which everything that it looks at is there.
    fn expression(&self, word: &Word) -> Result<Expr, Fault> {
        let expr = Expr::compile(word, &self.site.names)?;
        check_needs(&expr, word, self.stage)?;
        Ok(expr)
    }

    fn track(&self, slot: usize) -> Result<Action, Fault> {
        let (key, table) = key(
            self.arguments,
            self.name,
            &format!("'{}' expects 'table <table>' after the key", self.name.text),
            self.stage,
            self.site,
        )?;
        Ok(Action::Track { slot, key, table })
    }

    fn slot(&self, argument: Option<&str>) -> Result<usize, Fault> {
        match argument {
            Some("0") => Ok(0),
            Some("1") => Ok(1),
            Some("2") => Ok(2),
            _ => Err(self.fault("expects the number of a tracked counter, 0 to 2, in brackets")),
        }
    }

    fn increment(&self, argument: Option<&str>, counter: Gpc) -> Result<Action, Fault> {
        let slot = self.slot(argument)?;
        self.alone(Action::Increment { slot, counter })
    }

    fn address(&self, part: Part) -> Result<Action, Fault> {
        let value = self.expression(self.one("an expression")?)?;
        Ok(Action::SetAddress { part, value })
    }

    fn variable(&self, argument: Option<&str>) -> Result<VarId, Fault> {
        let name = argument.unwrap_or_default();
        self.site.names.vars.id(name).ok_or_else(|| {
            self.fault("expects the name of a variable in brackets, as sess.name (scopes: proc, sess, txn, req, res)")
        })
    }
}

/// `name(argument)` in two; `None` where there are no brackets.
fn split_call(word: &Word) -> Result<(&str, Option<&str>), Fault> {
    match word.text.split_once('(') {
        None => Ok((word.as_str(), None)),
        Some((name, rest)) => match rest.strip_suffix(')') {
            Some(argument) => Ok((name, Some(argument))),
            None => Err(word.fault(format!("missing ')' in '{}'.", word.text))),
        },
    }
}

/// A decimal or hexadecimal number.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Refuses an expression that looks at what cannot be there.
pub(super) fn check_needs(expr: &Expr, word: &Word, stage: Stage) -> Result<(), Fault> {
    if stage.available().contains(expr.needs()) {
        return Ok(());
    }
    Err(word.fault(format!(
        "'{}' looks at something that is not there yet (or no more) in a {}.",
        word.text,
        place(stage)
    )))
}

/// Reads `<key> [table <table>]`, where the key can be one of the table's. `name` is what they belong
/// to, `expected` begins the message where something else follows the key.
pub(super) fn key(
    words: &[Word],
    name: &Word,
    expected: &str,
    stage: Stage,
    site: &Site<'_>,
) -> Result<(Expr, TableId), Fault> {
    let (key, table) = match words {
        [key] => (key, None),
        [key, table, name] if table.text == "table" => (key, Some(name)),
        [] => return Err(missing(name, "a key")),
        [_, extra, ..] => {
            return Err(extra.fault(format!("{expected}, got '{}'.", extra.text)));
        }
    };
    let expr = Expr::compile(key, &site.names)?;
    check_needs(&expr, key, stage)?;
    let facts = site
        .names
        .table(table.map(Word::as_str), table.unwrap_or(key))?;
    if !can_be_key(expr.kind(), facts.kind) {
        return Err(key.fault(format!(
            "the type of '{}' cannot be a key of a stick-table of this type.",
            key.text
        )));
    }
    Ok((expr, facts.id))
}
