//! `use_backend`, `use-server` and `stick` lines.

use std::sync::Arc;

use super::super::diagnostic::Fault;
use super::super::draft::rules::RuleLine;
use super::super::lexer::Word;
use super::super::model::BackendId;
use super::super::model::rules::{
    Piece, Route, ServerRoute, ServerTarget, Stick, StickUse, Target,
};
use super::{Site, actions, conditions, missing};
use crate::rules::expr::Expr;
use crate::rules::ruleset::Stage;

/// Compiles `use_backend <name> [if|unless <condition>]`.
pub(super) fn use_backend(line: &RuleLine, site: &Site<'_>) -> Result<Route, Fault> {
    let (words, condition) = conditions::split(&line.words);
    let name = only(words, line, "a backend name")?;
    let target = if name.text.contains("%[") {
        Target::Named(pieces(name, site)?)
    } else {
        let index = site.names.backends.get(name.as_str());
        let index = index.map(|(index, _)| *index).ok_or_else(|| {
            name.fault(format!(
                "Proxy '{}': unable to find required use_backend: '{}'.",
                site.names.own, name.text
            ))
        })?;
        Target::Fixed(BackendId(index))
    };
    Ok(Route {
        target,
        when: conditions::when(condition, line, Stage::Choice, "'use_backend' rule", site)?,
    })
}

/// Compiles `use-server <name> if|unless <condition>`.
pub(super) fn use_server(line: &RuleLine, site: &Site<'_>) -> Result<ServerRoute, Fault> {
    let (words, condition) = conditions::split(&line.words);
    let name = only(words, line, "a server name")?;
    let servers = site.names.backends.get(site.names.own);
    let server = if name.text.contains("%[") {
        ServerTarget::Named(pieces(name, site)?)
    } else {
        let found = servers
            .and_then(|(_, servers)| servers.iter().position(|server| **server == *name.text))
            .ok_or_else(|| {
                name.fault(format!(
                    "unable to find server '{}' in proxy '{}' referenced in a 'use-server' rule.",
                    name.text, site.names.own
                ))
            })?;
        ServerTarget::Fixed(found)
    };
    Ok(ServerRoute {
        server,
        when: conditions::when(condition, line, Stage::Choice, "'use-server' rule", site)?,
    })
}

/// Compiles a `stick` line, and says where it is evaluated. `stick on` is a `match` and a
/// `store-request` in one.
pub(super) fn stick(line: &RuleLine, site: &Site<'_>) -> Result<(Stage, Stick), Fault> {
    let (words, condition) = conditions::split(&line.words);
    let Some((what, rest)) = words.split_first() else {
        return Err(missing(
            &line.keyword,
            "'on', 'match', 'store-request' or 'store-response'",
        ));
    };
    let (stage, purpose) = match what.as_str() {
        "on" => (Stage::Choice, StickUse::MATCH | StickUse::STORE),
        "match" => (Stage::Choice, StickUse::MATCH),
        "store-request" => (Stage::Choice, StickUse::STORE),
        "store-response" => (Stage::Memory, StickUse::STORE),
        other => {
            return Err(what.fault(format!(
                "'stick' expects 'on', 'match', 'store-request' or 'store-response' (got \
                 '{other}')."
            )));
        }
    };
    let rest = match stage {
        Stage::Memory => &*of_response(rest),
        _ => rest,
    };
    let (key, table) = actions::key(
        rest,
        what,
        &format!(
            "'stick {}' expects 'table <table>', 'if' or 'unless' after the key",
            what.text
        ),
        stage,
        site,
    )?;
    let place = match stage {
        Stage::Memory => actions::place(stage),
        _ => "'stick' rule",
    };
    let when = conditions::when(condition, line, stage, place, site)?;
    let stick = Stick {
        purpose,
        key,
        table,
        when,
    };
    Ok((stage, stick))
}

/// The same words, the first of them an expression about the response: `payload` and `payload_lv` do
/// not say whose bytes they mean.
fn of_response(words: &[Word]) -> Vec<Word> {
    let mut words = words.to_vec();
    if let Some(key) = words.first_mut() {
        let name = key.text.split(['(', ',']).next().unwrap_or_default();
        if matches!(name, "payload" | "payload_lv") {
            key.text.insert_str(0, "res.");
        }
    }
    words
}

fn only<'a>(words: &'a [Word], line: &RuleLine, what: &str) -> Result<&'a Word, Fault> {
    match words {
        [word] => Ok(word),
        [] => Err(missing(&line.keyword, what)),
        [_, extra, ..] => Err(extra.fault(format!(
            "'{}' expects 'if' or 'unless' after the name, got '{}'.",
            line.keyword.text, extra.text
        ))),
    }
}

/// A name with `%[expression]` in it.
fn pieces(word: &Word, site: &Site<'_>) -> Result<Vec<Piece>, Fault> {
    let mut pieces = Vec::new();
    let mut rest = word.as_str();
    while let Some(at) = rest.find("%[") {
        if at > 0 {
            pieces.push(Piece::Text(Arc::from(&rest[..at])));
        }
        let after = &rest[at + 2..];
        let end = after
            .find(']')
            .ok_or_else(|| word.fault(format!("missing ']' in '{}'.", word.text)))?;
        let inner = Word {
            text: after[..end].to_owned(),
            position: word.position.clone(),
        };
        let expr = Expr::compile(&inner, &site.names)?;
        actions::check_needs(&expr, &inner, Stage::Choice)?;
        pieces.push(Piece::Expr(expr));
        rest = &after[end + 1..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(Arc::from(rest)));
    }
    Ok(pieces)
}
