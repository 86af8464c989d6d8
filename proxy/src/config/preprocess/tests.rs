//! Which lines the parser sees, and what is said about the rest.

use super::super::lexer::{Variables, split};
use super::*;

/// The plain lines that pass, and `line:column message` of what is said.
fn run(text: &str) -> (Vec<String>, Vec<String>) {
    let environment = Environment::new();
    let mut diagnostics = Diagnostics::default();
    let mut preprocessor = Preprocessor::default();
    let mut passed = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let variables = Variables {
            environment: &environment,
            section: "",
        };
        let line = split(line.as_bytes(), &"f".into(), number, variables).unwrap();
        if preprocessor.accept(&line.words, &environment, &mut diagnostics) {
            passed.push(line.words[0].text.clone());
        }
    }
    preprocessor.finish(&mut diagnostics);
    let said = diagnostics
        .into_vec()
        .into_iter()
        .map(|d| format!("{}:{} {}", d.position.line, d.position.column, d.message))
        .collect();
    (passed, said)
}

#[test]
fn branches() {
    let table: &[(&str, &[&str])] = &[
        ("a\n\n# x\nb", &["a", "b"]),
        (".if 1\na\n.else\nb\n.endif\nc", &["a", "c"]),
        (".if 0\na\n.else\nb\n.endif", &["b"]),
        (".if 0\na\n.elif 1\nb\n.elif 1\nc\n.else\nd\n.endif", &["b"]),
        (".if 1\n.if 0\na\n.else\nb\n.endif\nc\n.endif", &["b", "c"]),
        (
            ".if 0\n.if 1\na\n.else\nb\n.endif\n.elif 1\nc\n.endif",
            &["c"],
        ),
        (
            ".if 0\n.if bogus(\n.elif bogus\n.endif\n.alert x\n.bogus\n.endif\na",
            &["a"],
        ),
        (".if\na\n.endif", &[]),
        (".if 0 || 1\na\n.endif", &["a"]),
        (".if 1\n.elif bogus\n.else\n.endif\na", &["a"]),
    ];
    for (text, expected) in table {
        let (passed, said) = run(text);
        assert_eq!(&passed, expected, "{text}");
        assert!(said.is_empty(), "{text} {said:?}");
    }
}

#[test]
fn mistakes() {
    let table: &[(&str, &str)] = &[
        (".if 1", "1:1 non-terminated"),
        ("  .endif", "1:3 lone '.endif'"),
        (".else", "1:1 lone '.else'"),
        (".elif 1", "1:1 lone '.elif'"),
        (".if 1\n.else\n.else\n.endif", "3:1 '.else' after '.else'"),
        (".if 1\n.else\n.elif 1\n.endif", "3:1 '.elif' after '.else'"),
        (".if 1\n.else x\n.endif", "2:7 Unexpected argument 'x'"),
        (".if 1\n.endif x", "2:8 Unexpected argument 'x'"),
        (".if 1 2\n.endif", "1:7 unexpected character '2'"),
        (".if 1 && foo\n.endif", "1:10 unparsable"),
        (".if 0\n.elif foo\nx\n.else\ny\n.endif", "2:7 unparsable"),
        (".notice a b", "1:11 Unexpected argument 'b'"),
        (".foo", "1:1 unknown directive '.foo'"),
    ];
    for (text, expected) in table {
        let (_, said) = run(text);
        assert_eq!(said.len(), 1, "{text} {said:?}");
        assert!(said[0].starts_with(expected), "{text} {said:?}");
    }
}

#[test]
fn directives_that_print() {
    let (_, said) = run(".notice a\n.warning \"b c\"\n.alert d\n.diag e");
    assert_eq!(said, ["1:1 'a'.", "2:1 'b c'.", "3:1 'd'.", "4:1 'e'."]);
}
