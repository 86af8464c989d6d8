//! `log-format` and its kin: the lines, and the language of their formats.

use std::sync::Arc;

use super::super::diagnostic::{Diagnostics, Fault};
use super::super::draft::log::{FormatLine, FormatLines};
use super::super::draft::{Kind, Proxy};
use super::super::keywords::nearest;
use super::super::lexer::Word;
use super::{Args, Context};
use crate::observe::log::format::{
    Expression, Flags, Format, Formats, HTTP_ONLY, Piece, TCPLOG, Variable,
};
use crate::rules::expr::Expr;
use crate::rules::names::Names;
use crate::rules::scene::Needs;

/// The keywords of this file.
pub(crate) const KEYWORDS: [&str; 4] = [
    "error-log-format",
    "log-format",
    "log-format-sd",
    "unique-id-format",
];

/// Reads a line of this file.
pub(crate) fn line(
    args: Args<'_>,
    proxy: &mut Proxy,
    context: &mut Context<'_>,
) -> Result<(), Fault> {
    let keyword = args.keyword();
    let name = keyword.as_str();
    let text = args
        .get(1)
        .filter(|word| !word.text.is_empty())
        .ok_or_else(|| keyword.fault(format!("'{name}' expects a format as its argument.")))?;
    if let Some(extra) = args.get(2) {
        return Err(extra.fault(format!(
            "'{name}' expects only one argument (got '{}' besides): spaces have to be escaped, or the format to be quoted.",
            extra.text
        )));
    }
    if proxy.kind == Kind::Backend {
        context.diagnostics.warning(
            &keyword.position,
            format!(
                "backend '{}' : '{name}' directive is ignored in backends.",
                proxy.name
            ),
        );
    }
    let settings = &mut proxy.settings;
    let line = Some(FormatLine {
        keyword: keyword.clone(),
        text: text.clone(),
    });
    match name {
        "log-format" => {
            settings.tcplog = true;
            settings.formats.stream = line;
        }
        "error-log-format" => settings.formats.error = line,
        "log-format-sd" => settings.formats.structured = line,
        _ => settings.formats.unique_id = line,
    }
    Ok(())
}

/// Compiles the formats of a frontend; `None`: it has none.
pub(crate) fn compile(
    lines: &FormatLines,
    names: &Names<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Arc<Formats>> {
    let mut expressions = Vec::new();
    let mut compile = |line: &Option<FormatLine>| -> Option<Format> {
        let line = line.as_ref()?;
        let mut parser = Parser {
            line,
            names,
            expressions: &mut expressions,
        };
        parser
            .format()
            .map_err(|fault| diagnostics.fault(fault))
            .ok()
    };
    let is_tcplog = |line: &FormatLine| line.text.text == TCPLOG;
    let stream = lines.stream.as_ref().filter(|line| !is_tcplog(line));
    let stream = compile(&stream.cloned());
    let error = compile(&lines.error);
    let structured = compile(&lines.structured);
    let unique_id = compile(&lines.unique_id);
    let any = [&stream, &error, &structured, &unique_id];
    any.iter().any(|format| format.is_some()).then(|| {
        let formats = Formats {
            stream,
            error,
            structured,
            unique_id,
            expressions,
            ..Formats::default()
        };
        Arc::new(formats.settled())
    })
}

struct Parser<'a> {
    line: &'a FormatLine,
    names: &'a Names<'a>,
    expressions: &'a mut Vec<Expression>,
}

impl Parser<'_> {
    fn fault(&self, why: impl std::fmt::Display) -> Fault {
        let name = self.line.keyword.as_str();
        self.line.text.fault(format!("'{name}' : {why}"))
    }

    fn format(&mut self) -> Result<Format, Fault> {
        let line = self.line;
        let mut pieces = Pieces::default();
        // What `%o` says, for all variables that follow.
        let mut common = Flags::default();
        let mut rest = line.text.as_str();
        while let Some(at) = rest.find(['%', ' ']) {
            pieces.text(&rest[..at]);
            if rest[at..].starts_with(' ') {
                pieces.space();
                rest = &rest[at + 1..];
                continue;
            }
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                pieces.text("%");
                rest = after;
                continue;
            }
            let (flags, after) = self.flags(rest, common)?;
            if let Some(inside) = after.strip_prefix('[') {
                let (piece, after) = self.expression(inside, flags)?;
                pieces.add(piece);
                rest = after;
                continue;
            }
            let end = after
                .find(|c: char| !c.is_ascii_alphanumeric())
                .unwrap_or(after.len());
            let (name, after) = after.split_at(end);
            if name == "o" {
                common = flags;
            } else {
                pieces.add(Piece::Variable(self.variable(name, after)?, flags));
            }
            rest = after;
        }
        pieces.text(rest);
        Ok(Format {
            pieces: pieces.done,
        })
    }

    /// `{+Q,-X}`, and what follows it.
    fn flags<'t>(&self, text: &'t str, common: Flags) -> Result<(Flags, &'t str), Fault> {
        let Some(inside) = text.strip_prefix('{') else {
            return Ok((common, text));
        };
        let Some((list, after)) = inside.split_once('}') else {
            return Err(self.fault(format!("missing '}}' after '%{{{inside}'.")));
        };
        let mut flags = common;
        for written in list.split(',').map(str::trim).filter(|w| !w.is_empty()) {
            let flag = match written.trim_start_matches(['+', '-']) {
                "Q" => Flags::QUOTE,
                "X" => Flags::HEX,
                "E" => Flags::ESCAPE,
                _ => Flags::empty(),
            };
            match (written.as_bytes()[0], flag.is_empty()) {
                (b'+', false) => flags |= flag,
                (b'-', false) => flags -= flag,
                _ => {
                    return Err(self.fault(format!(
                        "'{written}' in '%{{{list}}}' is no flag: they are Q, X and E, each behind '+' or '-'."
                    )));
                }
            }
        }
        Ok((flags, after))
    }

    /// What is between the brackets, and what follows them.
    fn expression<'t>(&mut self, text: &'t str, flags: Flags) -> Result<(Piece, &'t str), Fault> {
        let end = end_of_expression(text)
            .ok_or_else(|| self.fault(format!("missing ']' after '{text}'.")))?;
        let word = Word {
            text: text[..end].to_owned(),
            position: self.line.text.position.clone(),
        };
        let expr = Expr::compile(&word, self.names)
            .map_err(|fault| self.fault(format!("in '%[{}]': {}", word.text, fault.message)))?;
        let of_server = expr.name().starts_with("srv_");
        let bytes = Needs::REQUEST | Needs::RESPONSE;
        if expr.needs().intersects(bytes) && !of_server {
            return Err(self.fault(format!(
                "'{}' looks at bytes that are gone when a line is written; keep what they tell in a variable, with a content rule and 'set-var'.",
                word.text
            )));
        }
        let of_connection = ["ssl_", "fc_"]
            .iter()
            .any(|family| expr.name().starts_with(family));
        self.expressions.push(Expression {
            expr,
            of_connection,
        });
        let piece = Piece::Expression(self.expressions.len() - 1, flags);
        Ok((piece, &text[end + 1..]))
    }

    fn variable(&self, name: &str, after: &str) -> Result<Variable, Fault> {
        if name.is_empty() {
            let found = after.chars().next();
            let found = found.map_or("the end".to_owned(), |c| format!("'{c}'"));
            return Err(self.fault(format!(
                "the name of a variable is expected after '%', found {found}; '%%' stands for a '%'."
            )));
        }
        if let Some(variable) = Variable::by_name(name) {
            return Ok(variable);
        }
        if HTTP_ONLY.contains(&name) {
            return Err(self.fault(format!(
                "'%{name}' only makes sense for HTTP; this is a TCP proxy."
            )));
        }
        let known = Variable::ALL.iter().map(|known| known.name());
        let hint = nearest(name, known.chain(HTTP_ONLY.iter().copied()))
            .map(|near| format!("; did you mean '%{near}' maybe ?"))
            .unwrap_or_default();
        Err(self.fault(format!(
            "unknown variable '%{name}'{hint} ('%%' stands for a '%')"
        )))
    }
}

/// Where the bracket is that ends an expression: the first one outside of arguments.
fn end_of_expression(text: &str) -> Option<usize> {
    let mut inside = false;
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (c, quote) {
            (']', None) if !inside => return Some(at),
            (_, Some(open)) if c == open => quote = None,
            // What else follows a backslash stays what it is.
            ('\\', None | Some('"')) if inside && chars.as_str().starts_with(['\\', '"', '\'']) => {
                chars.next();
            }
            ('\'' | '"', None) if inside => quote = Some(c),
            ('(', None) => inside = true,
            (')', None) => inside = false,
            _ => {}
        }
    }
    None
}

/// Pieces, with neighbouring texts joined and spaces merged.
#[derive(Default)]
struct Pieces {
    done: Vec<Piece>,
}

impl Pieces {
    fn text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if let Some(Piece::Text(before)) = self.done.last_mut() {
            *before = format!("{before}{text}").into();
        } else {
            self.done.push(Piece::Text(text.into()));
        }
    }

    fn space(&mut self) {
        if !matches!(self.done.last(), None | Some(Piece::Space)) {
            self.done.push(Piece::Space);
        }
    }

    fn add(&mut self, piece: Piece) {
        self.done.push(piece);
    }
}

#[cfg(test)]
mod tests;
