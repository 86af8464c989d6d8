//! Diagnostics to text: HAProxy's form, and one for people.

use std::fmt::Write as _;

use crate::config::Source;
use crate::config::diagnostic::{Diagnostic, Severity};

/// One line per diagnostic as HAProxy writes it.
pub(super) fn haproxy(diagnostics: &[Diagnostic], pid: u32) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics {
        let label = format!("[{}]", diagnostic.severity);
        let _ = writeln!(
            out,
            "{label:<10} ({pid}) : config : parsing [{}] : {}",
            diagnostic.position, diagnostic.message
        );
    }
    out
}

/// Escape sequences, or nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    colours: bool,
}

impl Style {
    pub(super) fn new(colours: bool) -> Self {
        Self { colours }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

const BOLD: &str = "1";
const BLUE: &str = "1;34";

fn heading(severity: Severity) -> (&'static str, &'static str) {
    match severity {
        Severity::Alert => ("error", "1;31"),
        Severity::Warning => ("warning", "1;33"),
        Severity::Notice => ("notice", "1;36"),
        Severity::Diag => ("diagnostic", "1;36"),
    }
}

/// Each diagnostic with its source line and a mark under the word.
pub(super) fn pretty(diagnostics: &[Diagnostic], sources: &[Source], style: Style) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics {
        one(&mut out, diagnostic, sources, style);
    }
    out
}

fn one(out: &mut String, diagnostic: &Diagnostic, sources: &[Source], style: Style) {
    let position = &diagnostic.position;
    let (name, colour) = heading(diagnostic.severity);
    let _ = writeln!(
        out,
        "{}{}",
        style.paint(colour, name),
        style.paint(BOLD, &format!(": {}", diagnostic.message))
    );
    let number = position.line.to_string();
    let margin = " ".repeat(number.len());
    let place = if position.column == 0 {
        position.to_string()
    } else {
        format!("{position}:{}", position.column)
    };
    let _ = writeln!(out, "{margin}{} {place}", style.paint(BLUE, "-->"));
    if let Some(line) = source_line(sources, diagnostic) {
        let bar = style.paint(BLUE, "|");
        let _ = writeln!(out, "{margin} {bar}");
        let text = String::from_utf8_lossy(line);
        let _ = writeln!(
            out,
            "{} {bar} {}",
            style.paint(BLUE, &number),
            text.trim_end()
        );
        if position.column > 0 {
            let mark = style.paint(colour, &mark(line, position.column as usize - 1));
            let _ = writeln!(
                out,
                "{margin} {bar} {}{mark}",
                indent(line, position.column as usize - 1)
            );
        }
    }
    out.push('\n');
}

fn source_line<'a>(sources: &'a [Source], diagnostic: &Diagnostic) -> Option<&'a [u8]> {
    let source = sources
        .iter()
        .find(|source| source.name == diagnostic.position.file)?;
    let index = diagnostic.position.line.checked_sub(1)? as usize;
    source.text.split(|&b| b == b'\n').nth(index)
}

/// As wide as the line's first `column` bytes; tabs stay tabs so that it lines up.
fn indent(line: &[u8], column: usize) -> String {
    let before = &line[..column.min(line.len())];
    String::from_utf8_lossy(before)
        .chars()
        .map(|c| if c == '\t' { '\t' } else { ' ' })
        .collect()
}

/// A caret per character of the word at `column`, at least one.
fn mark(line: &[u8], column: usize) -> String {
    let rest = line.get(column..).unwrap_or_default();
    let end = rest
        .iter()
        .position(u8::is_ascii_whitespace)
        .unwrap_or(rest.len());
    let width = String::from_utf8_lossy(&rest[..end]).chars().count();
    "^".repeat(width.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Position;

    fn diagnostic(line: u32, column: u32) -> Diagnostic {
        Diagnostic {
            severity: Severity::Alert,
            position: Position {
                file: "a.cfg".into(),
                line,
                column,
            },
            message: "wrong".to_owned(),
        }
    }

    #[test]
    fn the_mark_stands_under_the_word() {
        let sources = [Source::new("a.cfg", "one\n\tsérver tèst x\n")];
        let text = pretty(&[diagnostic(2, 10)], &sources, Style::new(false));
        assert_eq!(
            text,
            "error: wrong\n --> a.cfg:2:10\n  |\n2 | \tsérver tèst x\n  | \t       ^^^^\n\n"
        );
    }

    #[test]
    fn positions_outside_the_text_do_not_panic() {
        let sources = [Source::new("a.cfg", "one\n")];
        for (line, column) in [(0, 0), (1, 0), (1, 99), (9, 1)] {
            let text = pretty(&[diagnostic(line, column)], &sources, Style::new(true));
            assert!(text.contains("wrong"));
        }
    }

    #[test]
    fn haproxys_form() {
        assert_eq!(
            haproxy(&[diagnostic(3, 4)], 7),
            "[ALERT]    (7) : config : parsing [a.cfg:3] : wrong\n"
        );
    }
}
