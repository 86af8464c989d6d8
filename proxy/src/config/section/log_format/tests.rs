use std::collections::HashMap;
use std::sync::Arc;

use super::*;
use crate::config::model::Position;
use crate::rules::names::{SystemFiles, SystemHosts};
use crate::rules::vars::VarNames;

fn word(text: &str) -> Word {
    Word {
        text: text.to_owned(),
        position: Position {
            file: Arc::from("x.cfg"),
            line: 7,
            column: 12,
        },
    }
}

/// What can be named where frontend `fe` is all there is.
fn with_names<T>(look: impl FnOnce(&Names<'_>) -> T) -> T {
    look(&Names {
        frontends: &HashMap::new(),
        backends: &HashMap::new(),
        tables: &HashMap::new(),
        frontend: Some(0),
        backend: None,
        own: "fe",
        files: &SystemFiles,
        hosts: &SystemHosts,
        vars: &VarNames::default(),
    })
}

/// The pieces of a format and how many expressions it has, or what is wrong with it.
fn parsed(text: &str) -> Result<(Vec<Piece>, usize), String> {
    let line = FormatLine {
        keyword: word("log-format"),
        text: word(text),
    };
    with_names(|names| {
        let mut expressions = Vec::new();
        let mut parser = Parser {
            line: &line,
            names,
            expressions: &mut expressions,
        };
        match parser.format() {
            Ok(format) => Ok((format.pieces, expressions.len())),
            Err(fault) => {
                assert_eq!(fault.position.line, 7);
                Err(fault.message)
            }
        }
    })
}

fn pieces(text: &str) -> Vec<Piece> {
    parsed(text).unwrap().0
}

fn text(text: &str) -> Piece {
    Piece::Text(text.into())
}

fn plain(variable: Variable) -> Piece {
    Piece::Variable(variable, Flags::empty())
}

#[test]
fn texts_spaces_and_variables() {
    assert_eq!(
        pieces("  a  b%%%ci:%cp_%s  "),
        [
            text("a"),
            Piece::Space,
            text("b%"),
            plain(Variable::ClientIp),
            text(":"),
            plain(Variable::ClientPort),
            text("_"),
            plain(Variable::Server),
            Piece::Space,
        ]
    );
    assert_eq!(pieces("100%%"), [text("100%")]);
}

#[test]
fn every_name_is_found_again() {
    for variable in Variable::ALL {
        let format = format!("%{}", variable.name());
        assert_eq!(pieces(&format), [plain(*variable)], "{format}");
        assert!(!HTTP_ONLY.contains(&variable.name()), "{format}");
    }
}

#[test]
fn flags_are_added_taken_away_and_passed_on() {
    let of = |text: &str| -> Vec<Flags> {
        let flags = |piece: Piece| match piece {
            Piece::Variable(_, flags) | Piece::Expression(_, flags) => Some(flags),
            _ => None,
        };
        pieces(text).into_iter().filter_map(flags).collect()
    };
    let (q, x, e) = (Flags::QUOTE, Flags::HEX, Flags::ESCAPE);
    assert_eq!(of("%{+Q}s%s"), [q, Flags::empty()]);
    assert_eq!(of("%{+Q,+E}o %s%{-Q}s%{+X}s"), [q | e, e, q | e | x]);
    assert_eq!(of("%{+X}o%s%{-X}o%s"), [x, Flags::empty()]);
    assert_eq!(of("%{ +Q , -Q }s%{}s"), [Flags::empty(); 2]);
    assert_eq!(of("%{+E}[src]"), [e]);
}

#[test]
fn expressions_end_where_they_end() {
    assert_eq!(
        pieces("[%[src]]"),
        [text("["), Piece::Expression(0, Flags::empty()), text("]"),]
    );
    for inside in ["str(a]b)", "str(']'),upper", r#"str("a)]\"]")"#] {
        let (found, expressions) = parsed(&format!("%[{inside}]%[src,ipmask(8)]")).unwrap();
        assert_eq!((found.len(), expressions), (2, 2), "{inside}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let table = [
        ("a %", "found the end"),
        ("a % b", "found ' '"),
        ("%(x)b", "found '('"),
        ("%{+Q}", "found the end"),
        ("%{+Q", "missing '}' after '%{+Q'"),
        ("%{+Z}b", "'+Z' in '%{+Z}' is no flag"),
        ("%{Q}b", "'Q' in '%{Q}' is no flag"),
        ("%zzz", "unknown variable '%zzz'"),
        ("%cipx", "unknown variable '%cipx'"),
        ("%tss", "did you mean '%ts' maybe ?"),
        ("%r", "'%r' only makes sense for HTTP"),
        ("%ST", "'%ST' only makes sense for HTTP"),
        ("%hrl", "'%hrl' only makes sense for HTTP"),
        ("%[src", "missing ']' after 'src'"),
        ("%[srk]", "in '%[srk]': "),
        ("%[src,uper]", "in '%[src,uper]': "),
        ("%[req.len]", "'req.len' looks at bytes that are gone"),
        ("%[res.payload(0,1)]", "looks at bytes that are gone"),
        ("%[]", "in '%[]': missing fetch method"),
    ];
    for (format, expected) in table {
        let message = parsed(format).unwrap_err();
        assert!(
            message.starts_with("'log-format' : "),
            "{format}: {message}"
        );
        assert!(message.contains(expected), "{format}: {message}");
    }
}

#[test]
fn only_some_wait_for_the_end() {
    let waits = |text: &str| {
        let pieces = pieces(text);
        Format { pieces }.waits_for_the_end()
    };
    assert!(!waits("%ci %cp %b/%s %t %[src] %si %bi %rt"));
    for late in ["%B", "%ts", "%ID", "%ac", "%path", "%Tc"] {
        assert!(waits(late), "{late}");
    }
}

#[test]
fn the_tcp_line_as_a_format_is_the_tcp_line() {
    let lines = FormatLines {
        stream: Some(FormatLine {
            keyword: word("log-format"),
            text: word(TCPLOG),
        }),
        ..FormatLines::default()
    };
    with_names(|names| {
        let mut diagnostics = Diagnostics::default();
        assert!(compile(&lines, names, &mut diagnostics).is_none());
        assert!(!diagnostics.has_errors());
    });
}
