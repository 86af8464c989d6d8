//! Words, their positions, and what no input may do.

use proptest::prelude::*;

use super::*;

fn environment() -> Environment {
    [("SET", "v"), ("EMPTY", ""), ("LIST", " one  two ")]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn line(text: &[u8]) -> Result<Line, Fault> {
    let environment = environment();
    let variables = Variables {
        environment: &environment,
        section: "sec",
    };
    split(text, &"f.cfg".into(), 7, variables)
}

#[test]
fn words() {
    let table: &[(&str, &[&str])] = &[
        ("", &[]),
        ("  \t ", &[]),
        ("# a", &[]),
        ("a b\tc\r", &["a", "b", "c"]),
        ("a#b", &["a"]),
        (r"a\#b a\ b", &["a#b", "a b"]),
        (
            r#""a#b" '' "" "a'b" 'a"b'"#,
            &["a#b", "", "", "a'b", "a\"b"],
        ),
        (r#"a"b c"'d e'f"#, &["ab cd ef"]),
        (r"\n\r\t\x41\\\'", &["\n\r\tA\\'"]),
        (r#"'a\nb' "a\nb""#, &["a\\nb", "a\nb"]),
        (
            r#"\q "\q" \$SET "\$SET""#,
            &["\\q", "\\q", "\\$SET", "$SET"],
        ),
        ("a\\", &["a\\"]),
        ("\\\tb", &["\\", "b"]),
        (r#"$SET ${SET} '$SET'"#, &["$SET", "${SET}", "$SET"]),
        (
            r#""$SET" "x${SET}y" "$SET-d" "$NOPE""#,
            &["v", "xvy", "v-d", ""],
        ),
        (r#""${NOPE-a b}" "${EMPTY-d}" "${NOPE-}""#, &["a b", "", ""]),
        (
            r#""x${LIST[*]}y" "${LIST}""#,
            &["xone", "twoy", " one  two "],
        ),
        (r#""$.FILE" "${.LINE}" "$.SECTION""#, &["f.cfg", "7", "sec"]),
    ];
    for (text, expected) in table {
        let line = line(text.as_bytes()).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
        let words: Vec<&str> = line.words.iter().map(Word::as_str).collect();
        assert_eq!(&words, expected, "{text}");
    }
}

#[test]
fn words_stand_where_they_start() {
    let line = line(b" ab \"c d\"e\t'f' \\x41").unwrap();
    let columns: Vec<u32> = line.words.iter().map(|w| w.position.column).collect();
    assert_eq!(columns, [2, 5, 12, 16]);
    assert!(line.words.iter().all(|w| w.position.line == 7));
}

#[test]
fn mistakes_have_columns() {
    let table: &[(&[u8], u32)] = &[
        (b"a \"b", 3),
        (b"a 'b", 3),
        (b"a \\x4", 3),
        (b"a \\xg1", 3),
        (b"a \\x00", 3),
        (b"\"$\"", 3),
        (b"\"$1\"", 3),
        (b"\"${}\"", 4),
        (b"\"${SET\"", 3),
        (b"\"${NOPE-x\"", 3),
        (b"\"$.NOPE\"", 3),
        (b"ab\0c", 3),
        (b"'ab\0c'", 4),
        (b"x \xff\xfe", 3),
    ];
    for (text, column) in table {
        match line(text) {
            Err(fault) => assert_eq!(fault.position.column, *column, "{text:?} {fault:?}"),
            Ok(line) => panic!("{text:?} is {line:?}"),
        }
    }
}

#[test]
fn any_bytes_may_stand_in_a_comment() {
    assert_eq!(line(b"a # \xff\0").unwrap().words.len(), 1);
}

#[test]
fn a_trailing_backslash_is_noted() {
    assert_eq!(line(b"a \\").unwrap().trailing_backslash.unwrap().column, 3);
    assert_eq!(line(b"a \\\\").unwrap().trailing_backslash, None);
    assert_eq!(line(b"a # \\").unwrap().trailing_backslash, None);
}

proptest! {
    #[test]
    fn no_bytes_panic(text in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = line(&text);
    }

    #[test]
    fn no_near_syntax_panics(text in r#"[ab1 \\"'#$\{}\[\]*.x_\-\t]{0,40}"#) {
        let _ = line(text.as_bytes());
    }

    #[test]
    fn quoting_gives_the_words_back(words in prop::collection::vec("[^\0]*", 0..5)) {
        let text: Vec<String> = words.iter().map(|word| quote(word)).collect();
        let line = line(text.join(" ").as_bytes()).unwrap();
        let back: Vec<String> = line.words.into_iter().map(|word| word.text).collect();
        prop_assert_eq!(back, words);
    }
}
