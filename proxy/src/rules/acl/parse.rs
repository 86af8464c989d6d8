//! `<expression> [flags] [patterns]`

use std::path::Path;

use super::{Acl, Method};
use crate::config::diagnostic::Fault;
use crate::config::lexer::Word;
use crate::rules::expr::Expr;
use crate::rules::names::Names;
use crate::rules::pattern::{List, Reading};

/// Fetches that imply a method where they stand alone as an ACL; what the fetch is called where the
/// name is one of ACLs only.
const IMPLIED: &[(&str, &str, Method)] = &[
    ("payload", "payload", Method::Bin),
    ("payload_lv", "payload_lv", Method::Bin),
    ("req_ssl_ver", "req_ssl_ver", Method::Version),
    ("req.ssl_ver", "req.ssl_ver", Method::Version),
    ("ssl_fc_sni_end", "ssl_fc_sni", Method::End),
    ("ssl_fc_sni_reg", "ssl_fc_sni", Method::Reg),
];

/// Compiles an ACL; `opening` is the word before it.
pub(super) fn acl(opening: &Word, words: &[Word], names: &Names<'_>) -> Result<Acl, Fault> {
    let [expression, words @ ..] = words else {
        return Err(opening.fault("missing fetch method in ACL expression."));
    };
    let (expr, implied) = compile(expression, names)?;
    let default = implied
        .filter(|_| expr.is_plain())
        .or_else(|| Method::default_for(expr.kind()))
        // A variable's type is not known before it has a value.
        .filter(|_| expr.name() != "var" || !expr.is_plain());
    let mut parser = Parser {
        expr: &expr,
        names,
        method: default,
        implied,
        list: None,
        reading: Reading {
            fold: false,
            hosts: Some(names.hosts),
        },
        map: false,
    };
    let patterns = parser.flags(words)?;
    let Some(method) = parser.method else {
        return Err(expression.fault(format!(
            "matching method must be specified first (using '-m') when using a sample fetch of \
             this type ('{}').",
            expr.name()
        )));
    };
    let mut list = parser.list.take().unwrap_or_else(|| List::new(method));
    for pattern in patterns {
        let text = pattern.as_str();
        if text == "ne" && matches!(method, Method::Int | Method::Len | Method::Version) {
            return Err(pattern.fault("there is no 'ne': negate the ACL ('!') and use 'eq'."));
        }
        if text.is_empty() {
            return Err(pattern.fault("a pattern cannot be empty."));
        }
        if !list.comparison(text) {
            list.add(text.as_bytes(), parser.reading)
                .map_err(|why| pattern.fault(format!("{why}.")))?;
        }
    }
    let matcher = list
        .compile()
        .map_err(|why| expression.fault(format!("{why}.")))?;
    Ok(Acl { expr, matcher })
}

/// The expression, and the method that its fetch implies.
fn compile(word: &Word, names: &Names<'_>) -> Result<(Expr, Option<Method>), Fault> {
    let text = word.as_str();
    let end = text.find(['(', ',']).unwrap_or(text.len());
    let Some((name, fetch, method)) = IMPLIED.iter().find(|(name, ..)| *name == &text[..end])
    else {
        return Ok((Expr::compile(word, names)?, None));
    };
    let written = Word {
        text: format!("{fetch}{}", &text[name.len()..]),
        position: word.position.clone(),
    };
    Ok((Expr::compile(&written, names)?, Some(*method)))
}

struct Parser<'a> {
    expr: &'a Expr,
    names: &'a Names<'a>,
    method: Option<Method>,
    implied: Option<Method>,
    /// Patterns of files; begun with the first of them.
    list: Option<List>,
    /// `-i`, `-n`: of what comes after them.
    reading: Reading<'a>,
    /// `-M`: files that come after it are maps.
    map: bool,
}

impl Parser<'_> {
    /// Takes the flags; gives back the words after them.
    fn flags<'w>(&mut self, words: &'w [Word]) -> Result<&'w [Word], Fault> {
        let mut rest = words;
        while let [flag, after @ ..] = rest {
            if !flag.as_str().starts_with('-') {
                break;
            }
            let argument = || {
                after
                    .first()
                    .ok_or_else(|| flag.fault(format!("'{}' expects an argument.", flag.as_str())))
            };
            match flag.as_str() {
                "--" => return Ok(after),
                "-i" => self.reading.fold = true,
                "-n" => self.reading.hosts = None,
                "-M" => self.map = true,
                "-f" => self.file(argument()?)?,
                "-m" => self.named_method(argument()?)?,
                "-u" => {
                    let number = argument()?;
                    if number.as_str().parse::<i32>().is_err() {
                        return Err(number.fault("the argument of -u must be an integer."));
                    }
                }
                other => {
                    return Err(flag.fault(format!(
                        "'{other}' is not a valid ACL option. Please use '--' before any pattern \
                         beginning with a '-'."
                    )));
                }
            }
            let taken = if matches!(flag.as_str(), "-f" | "-m" | "-u") {
                2
            } else {
                1
            };
            rest = &rest[taken..];
        }
        Ok(rest)
    }

    fn named_method(&mut self, name: &Word) -> Result<(), Fault> {
        if self.list.is_some() {
            return Err(name.fault(
                "'-m' must only be specified before patterns and files in parsing ACL expression.",
            ));
        }
        let method = Method::parse(name.as_str()).ok_or_else(|| {
            name.fault(format!(
                "unknown matching method '{}' when parsing ACL expression.",
                name.as_str()
            ))
        })?;
        if !method.suits(self.expr.kind()) {
            return Err(name.fault(format!(
                "matching method '{}' cannot be used with '{}', which is {}.",
                name.as_str(),
                self.expr.name(),
                self.expr.kind()
            )));
        }
        // `-m int` on a version keeps the way that its patterns are written in.
        self.method = match (method, self.implied) {
            (Method::Int, Some(Method::Version)) if self.expr.is_plain() => Some(Method::Version),
            _ => Some(method),
        };
        Ok(())
    }

    fn file(&mut self, path: &Word) -> Result<(), Fault> {
        let method = self.method.ok_or_else(|| {
            path.fault(format!(
                "matching method must be specified first (using '-m') when using a sample fetch \
                 of this type ('{}').",
                self.expr.name()
            ))
        })?;
        let content = self
            .names
            .files
            .read(Path::new(path.as_str()))
            .map_err(|why| {
                path.fault(format!(
                    "failed to open pattern file <{}>: {why}.",
                    path.as_str()
                ))
            })?;
        let list = self.list.get_or_insert_with(|| List::new(method));
        let added = if self.map {
            list.add_map(&content, self.reading)
        } else {
            list.add_file(&content, self.reading)
        };
        added.map_err(|why| path.fault(format!("pattern file <{}>: {why}.", path.as_str())))
    }
}
