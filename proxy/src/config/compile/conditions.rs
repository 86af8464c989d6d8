//! The end of a rule line: `if` or `unless`, and what follows.

use super::super::diagnostic::Fault;
use super::super::draft::rules::RuleLine;
use super::super::lexer::Word;
use super::Site;
use crate::rules::acl::Condition;
use crate::rules::ruleset::{Stage, When};

/// Splits words at `if` or `unless`.
pub(super) fn split(words: &[Word]) -> (&[Word], Option<(&Word, &[Word])>) {
    match words
        .iter()
        .position(|word| matches!(word.as_str(), "if" | "unless"))
    {
        Some(at) => (&words[..at], Some((&words[at], &words[at + 1..]))),
        None => (words, None),
    }
}

/// Compiles a condition.
pub(super) fn when(
    condition: Option<(&Word, &[Word])>,
    line: &RuleLine,
    stage: Stage,
    place: &str,
    site: &Site<'_>,
) -> Result<Option<When>, Fault> {
    let Some((keyword, words)) = condition else {
        return Ok(None);
    };
    let condition = Condition::compile(
        keyword,
        words,
        site.acls(line),
        &site.names,
        stage.available(),
        place,
    )?;
    Ok(Some(When {
        condition,
        negated: keyword.text == "unless",
    }))
}
