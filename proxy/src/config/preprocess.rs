//! `.if`, `.elif`, `.else`, `.endif`, and the directives that print.

use super::condition;
use super::diagnostic::{Diagnostics, Fault, Severity};
use super::lexer::Word;
use super::model::{Environment, Position};

/// One open `.if`.
#[derive(Debug)]
struct Block {
    start: Position,
    state: State,
    seen_else: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// This branch's lines count.
    Active,
    /// A later branch may count.
    Waiting,
    /// No later branch counts.
    Done,
}

/// The conditional blocks that are open at a point of one file.
#[derive(Debug, Default)]
pub(crate) struct Preprocessor {
    blocks: Vec<Block>,
}

impl Preprocessor {
    /// Looks at a line; `true` if the parser shall see it.
    pub(crate) fn accept(
        &mut self,
        words: &[Word],
        environment: &Environment,
        diagnostics: &mut Diagnostics,
    ) -> bool {
        let Some(first) = words.first() else {
            return false;
        };
        if first.text.starts_with('.') {
            if let Err(fault) = self.directive(words, environment, diagnostics) {
                diagnostics.fault(fault);
            }
            return false;
        }
        self.is_active()
    }

    /// Reports the blocks that the file leaves open.
    pub(crate) fn finish(self, diagnostics: &mut Diagnostics) {
        for block in self.blocks {
            diagnostics.alert(&block.start, "non-terminated '.if' block.");
        }
    }

    fn is_active(&self) -> bool {
        self.blocks.iter().all(|block| block.state == State::Active)
    }

    fn directive(
        &mut self,
        words: &[Word],
        environment: &Environment,
        diagnostics: &mut Diagnostics,
    ) -> Result<(), Fault> {
        let name = &words[0];
        match name.as_str() {
            ".if" => self.open(words, environment),
            ".elif" => self.switch(words, environment, false),
            ".else" => {
                let switched = self.switch(words, environment, true);
                no_arguments(words)?;
                switched
            }
            ".endif" => {
                let popped = self.blocks.pop();
                no_arguments(words)?;
                popped
                    .map(|_| ())
                    .ok_or_else(|| name.fault("lone '.endif' with no matching '.if'."))
            }
            _ if !self.is_active() => Ok(()),
            ".diag" => print(words, Severity::Diag, diagnostics),
            ".notice" => print(words, Severity::Notice, diagnostics),
            ".warning" => print(words, Severity::Warning, diagnostics),
            ".alert" => print(words, Severity::Alert, diagnostics),
            other => Err(name.fault(format!("unknown directive '{other}'."))),
        }
    }

    fn open(&mut self, words: &[Word], environment: &Environment) -> Result<(), Fault> {
        let mut state = State::Done;
        let mut result = Ok(());
        if self.is_active() {
            (state, result) = decide(words, environment);
        }
        self.blocks.push(Block {
            start: words[0].position.clone(),
            state,
            seen_else: false,
        });
        result
    }

    /// `.elif` and `.else`.
    fn switch(
        &mut self,
        words: &[Word],
        environment: &Environment,
        is_else: bool,
    ) -> Result<(), Fault> {
        let name = &words[0];
        let Some(block) = self.blocks.last_mut() else {
            return Err(name.fault(format!("lone '{}' with no matching '.if'.", name.text)));
        };
        if block.seen_else {
            return Err(name.fault(format!("'{}' after '.else' is not permitted.", name.text)));
        }
        block.seen_else = is_else;
        let (state, result) = match block.state {
            State::Active | State::Done => (State::Done, Ok(())),
            State::Waiting if is_else => (State::Active, Ok(())),
            State::Waiting => decide(words, environment),
        };
        block.state = state;
        result
    }
}

/// The state after an `.if` or `.elif` that is reached. One that cannot be understood takes no
/// branch at all, so that one mistake is reported once.
fn decide(words: &[Word], environment: &Environment) -> (State, Result<(), Fault>) {
    let name = &words[0];
    let arguments: Vec<&str> = words[1..].iter().map(Word::as_str).collect();
    match condition::evaluate(&arguments.join(" "), environment) {
        Ok(true) => (State::Active, Ok(())),
        Ok(false) => (State::Waiting, Ok(())),
        Err(error) => {
            let position = locate(words, error.offset);
            let message = format!("{} in '{}'", error.message, name.text);
            (State::Done, Err(Fault::new(&position, message)))
        }
    }
}

/// Where in the line an offset of the joined arguments stands (exact where no quotes are used).
fn locate(words: &[Word], offset: usize) -> Position {
    let mut start = 0;
    let mut found = &words[0];
    let mut within = 0;
    for word in &words[1..] {
        if start > offset {
            break;
        }
        found = word;
        within = (offset - start).min(word.text.len());
        start += word.text.len() + 1;
    }
    let mut position = found.position.clone();
    position.column += u32::try_from(within).unwrap_or(0);
    position
}

fn no_arguments(words: &[Word]) -> Result<(), Fault> {
    match words.get(1) {
        None => Ok(()),
        Some(extra) => Err(extra.fault(format!(
            "Unexpected argument '{}' for '{}'.",
            extra.text, words[0].text
        ))),
    }
}

fn print(words: &[Word], severity: Severity, diagnostics: &mut Diagnostics) -> Result<(), Fault> {
    if let Some(extra) = words.get(2) {
        return Err(extra.fault(format!(
            "Unexpected argument '{}' for '{}'. Use quotes if the message should contain spaces.",
            extra.text, words[0].text
        )));
    }
    let text = words.get(1).map_or("", Word::as_str);
    diagnostics.push(severity, &words[0].position, format!("'{text}'."));
    Ok(())
}

#[cfg(test)]
mod tests;
