//! `help`, and what is said of commands that there are not.

use super::keywords::{self, KEYWORDS, Keyword};
use super::{Answer, Severity, Words};
use crate::config::keywords::distance as edits;

/// `help`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command(Words);

/// How many near commands are named.
const NEAR: usize = 5;

pub(super) fn help(words: &Words) -> Result<super::Command, Answer> {
    Ok(super::Command::Usage(Command(words.clone())))
}

impl Command {
    pub(super) fn run(self) -> Answer {
        let head = "The following commands are valid at this level:\n";
        let text = list(head, self.0.from(1));
        Answer::Said(Severity::Info, text)
    }
}

/// What is said of a line that is no command.
pub(super) fn unknown(words: &Words) -> Answer {
    if let Some(name) = keywords::not_yet(words) {
        return Answer::error(format!(
            "'{name}' is known to HAProxy but not available in this version.\n"
        ));
    }
    let head = if words.get(0).is_empty() {
        "Unknown command. Please enter one of the following commands only:\n"
    } else {
        "Unknown command, but maybe one of the following ones is a better match:\n"
    };
    Answer::Said(Severity::Info, list(head, words.from(0)))
}

fn list(head: &str, words: &[String]) -> String {
    let mut text = head.to_owned();
    let last = KEYWORDS.iter().filter(|keyword| keyword.listed_last);
    for keyword in near(words).into_iter().chain(last) {
        text.push_str(&format!("  {:<40}: {}\n", keyword.usage, keyword.says));
    }
    text
}

/// The commands that begin with most of these words; of those, the ones nearest to the next word.
fn near(words: &[String]) -> Vec<&'static Keyword> {
    let usual = KEYWORDS.iter().filter(|keyword| !keyword.listed_last);
    let common = |keyword: &Keyword| {
        let pairs = words.iter().zip(keyword.words);
        pairs.take_while(|(word, other)| word == other).count()
    };
    let most = usual.clone().map(common).max().unwrap_or(0);
    let best: Vec<&Keyword> = usual.filter(|keyword| common(keyword) == most).collect();
    let Some(next) = words.get(most) else {
        return best;
    };
    let distance = |keyword: &Keyword| {
        let other = keyword.words.get(most).copied().unwrap_or("");
        // The beginning of a word may be all of it that was typed.
        let begun = other.get(..next.len()).unwrap_or(other);
        edits(next, begun).min(edits(next, other))
    };
    let mut ranked: Vec<(usize, usize)> = best
        .iter()
        .enumerate()
        .map(|(at, keyword)| (distance(keyword), at))
        .collect();
    ranked.sort_unstable();
    // What is much further off than the nearest was not meant.
    let furthest = ranked.first().map_or(0, |(nearest, _)| nearest + 1);
    let mut near: Vec<usize> = ranked
        .into_iter()
        .take_while(|(distance, _)| *distance <= furthest)
        .take(NEAR)
        .map(|(_, at)| at)
        .collect();
    near.sort_unstable();
    near.into_iter().map(|at| best[at]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(answer: &Answer) -> &str {
        match answer {
            Answer::Said(_, text) => text,
            other => panic!("{other:?}"),
        }
    }

    fn unknown_line(line: &str) -> String {
        said(&unknown(&Words::of(line.as_bytes(), None))).to_owned()
    }

    #[test]
    fn an_empty_line_names_all_commands() {
        let text = unknown_line("");
        let (head, list) = text.split_once('\n').unwrap();
        assert_eq!(
            head,
            "Unknown command. Please enter one of the following commands only:"
        );
        assert_eq!(list.lines().count(), KEYWORDS.len());
    }

    #[test]
    fn a_wrong_word_names_what_is_near() {
        let text = unknown_line("show sta");
        let (head, list) = text.split_once('\n').unwrap();
        assert!(head.ends_with("a better match:"), "{head}");
        assert!(list.starts_with("  show "), "{list}");
        assert!(list.contains("  show stat "), "{list}");
        assert!(!list.contains("  shutdown"), "{list}");
        assert!(list.lines().count() <= NEAR + 3, "{list}");
        assert!(unknown_line("shutdown").contains("  shutdown sessions server"));
    }

    #[test]
    fn help_takes_the_beginning_of_a_command() {
        let command = Command(Words::of(b"help show servers", None));
        let text = said(&command.run()).to_owned();
        let begun = text
            .lines()
            .filter(|line| line.starts_with("  show servers"));
        assert_eq!(begun.count(), 2, "{text}");
        assert_eq!(text.lines().count(), 1 + 2 + 3, "{text}");
    }

    #[test]
    fn what_haproxy_has_besides_is_said() {
        assert_eq!(
            unknown_line("show fd 3"),
            "'show fd' is known to HAProxy but not available in this version.\n"
        );
    }
}
