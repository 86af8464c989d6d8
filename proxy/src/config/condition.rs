//! Conditional expressions: what stands after `.if`, `.elif` and `-cc`.

use super::features;
use super::model::Environment;

/// Why an expression cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionError {
    /// Byte offset in the expression.
    pub offset: usize,
    /// What is wrong there.
    pub message: String,
}

/// Deepest nesting of parentheses and negations: protects the stack from hostile input.
const MAX_DEPTH: usize = 256;

/// Evaluates `expression`; an empty one is false.
///
/// The whole expression is checked even where its value is known early.
///
/// # Errors
/// Where it cannot be understood.
pub fn evaluate(expression: &str, environment: &Environment) -> Result<bool, ConditionError> {
    if expression.is_empty() {
        return Ok(false);
    }
    let mut parser = Parser {
        text: expression,
        at: 0,
        depth: 0,
        environment,
    };
    let value = parser.disjunction()?;
    parser.skip_spaces();
    match parser.rest().chars().next() {
        None => Ok(value),
        Some(c) => Err(parser.error(
            parser.at,
            format!(
                "unexpected character '{c}' at the end of conditional expression '{expression}'"
            ),
        )),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    environment: &'a Environment,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn error(&self, offset: usize, message: String) -> ConditionError {
        ConditionError { offset, message }
    }

    fn unparsable(&self, offset: usize) -> ConditionError {
        self.error(
            offset,
            format!(
                "unparsable conditional expression '{}'",
                &self.text[offset..]
            ),
        )
    }

    fn skip_spaces(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t']).len();
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip_spaces();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn disjunction(&mut self) -> Result<bool, ConditionError> {
        let mut value = self.conjunction()?;
        while self.take("||") {
            value |= self.conjunction()?;
        }
        Ok(value)
    }

    fn conjunction(&mut self) -> Result<bool, ConditionError> {
        let mut value = self.term()?;
        while self.take("&&") {
            value &= self.term()?;
        }
        Ok(value)
    }

    fn term(&mut self) -> Result<bool, ConditionError> {
        self.skip_spaces();
        let start = self.at;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(start, "conditional expression is nested too deep".into()));
        }
        let value = if self.take("!") {
            !self.term()?
        } else if self.take("(") {
            let value = self.disjunction()?;
            if !self.take(")") {
                return Err(self.error(
                    start,
                    format!(
                        "expected ')' after conditional expression '{}'",
                        &self.text[start..]
                    ),
                ));
            }
            value
        } else if let Some(value) = self.number() {
            value
        } else {
            self.predicate()?
        };
        self.depth -= 1;
        Ok(value)
    }

    /// A C integer (decimal, `0x…`, `0…`): true unless zero.
    fn number(&mut self) -> Option<bool> {
        let rest = self.rest();
        let unsigned = rest.strip_prefix(['-', '+']).unwrap_or(rest);
        let prefix = rest.len() - unsigned.len();
        let hexadecimal = unsigned
            .strip_prefix("0x")
            .or_else(|| unsigned.strip_prefix("0X"))
            .filter(|digits| digits.starts_with(|c: char| c.is_ascii_hexdigit()));
        let (digits, skipped): (&str, usize) = match hexadecimal {
            Some(digits) => (leading(digits, |b| b.is_ascii_hexdigit()), prefix + 2),
            None => (leading(unsigned, |b| b.is_ascii_digit()), prefix),
        };
        if digits.is_empty() {
            return None;
        }
        let value = digits.bytes().any(|b| b != b'0');
        self.at += skipped + digits.len();
        Some(value)
    }

    fn predicate(&mut self) -> Result<bool, ConditionError> {
        let start = self.at;
        let name = leading(self.rest(), |b| b.is_ascii_alphanumeric() || b == b'_').to_owned();
        let wanted = match name.as_str() {
            "defined" | "feature" | "version_atleast" | "version_before" => 1,
            "streq" | "strneq" => 2,
            _ => return Err(self.unparsable(start)),
        };
        self.at += name.len();
        let arguments = self.arguments(&name, wanted)?;
        Ok(match name.as_str() {
            "defined" => self.environment.contains_key(&arguments[0]),
            "feature" => features::has(&arguments[0]),
            "version_atleast" => features::version_at_least(&arguments[0]),
            "version_before" => !features::version_at_least(&arguments[0]),
            "streq" => arguments[0] == arguments[1],
            _ => arguments[0] != arguments[1],
        })
    }

    /// `(a,b)`: spaces count, quotes and backslashes work once more at this level.
    fn arguments(&mut self, name: &str, wanted: usize) -> Result<Vec<String>, ConditionError> {
        let start = self.at;
        let missing = |got: usize| {
            format!("predicate '{name}' expects {wanted} argument(s) in parentheses, got {got}")
        };
        if !self.rest().starts_with('(') {
            return Err(self.error(start, missing(0)));
        }
        let mut arguments = vec![String::new()];
        let mut quote = None;
        let mut escaped = false;
        let mut end = None;
        for (offset, c) in self.rest().char_indices().skip(1) {
            let current = arguments.last_mut().expect("never empty");
            match (quote, c) {
                _ if escaped => {
                    match c {
                        'n' => current.push('\n'),
                        'r' => current.push('\r'),
                        't' => current.push('\t'),
                        '\\' | '\'' | '"' | ' ' | ',' | '(' | ')' => current.push(c),
                        _ => {
                            current.push('\\');
                            current.push(c);
                        }
                    }
                    escaped = false;
                }
                (None | Some('"'), '\\') => escaped = true,
                (None, '"' | '\'') => quote = Some(c),
                (Some(open), _) if open == c => quote = None,
                (None, ')') => {
                    end = Some(offset);
                    break;
                }
                (None, ',') => arguments.push(String::new()),
                _ => current.push(c),
            }
        }
        let Some(end) = end else {
            return Err(self.error(
                start,
                format!("missing closing ')' after arguments of predicate '{name}'"),
            ));
        };
        if arguments.len() != wanted {
            return Err(self.error(start + end, missing(arguments.len())));
        }
        self.at = start + end + 1;
        Ok(arguments)
    }
}

fn leading(text: &str, wanted: impl Fn(u8) -> bool) -> &str {
    let len = text.bytes().take_while(|&b| wanted(b)).count();
    &text[..len]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        Environment::from([("SET".to_owned(), String::new())])
    }

    #[test]
    fn values() {
        let table: &[(&str, bool)] = &[
            ("", false),
            ("0", false),
            ("00", false),
            ("1", true),
            ("-1", true),
            ("0x1", true),
            ("1 ", true),
            ("!0", true),
            ("! 0", true),
            ("!!1", true),
            ("( 1 )", true),
            ("!(0)", true),
            ("1&&1||0", true),
            ("0||0&&1", false),
            ("1 && 0 || 1 && !0", true),
            ("0 && 1 || 1", true),
            ("defined(SET)", true),
            ("defined(UNSET)", false),
            ("defined()", false),
            ("feature(EPOLL)", true),
            ("feature(OPENSSL)", true),
            ("feature(LUA)", false),
            ("streq(a,a)", true),
            ("streq(a, a)", false),
            ("streq(,)", true),
            ("streq(\"a,b\",\"a,b\")", true),
            ("streq(a\\,b,'a,b')", true),
            ("strneq(a,b) && version_atleast(2.4-dev19)", true),
            ("version_before(2.6)", false),
        ];
        for (text, expected) in table {
            assert_eq!(evaluate(text, &environment()), Ok(*expected), "{text}");
        }
    }

    #[test]
    fn errors_have_offsets() {
        let table: &[(&str, usize)] = &[
            (" ", 1),
            ("foo", 0),
            ("foo(a)", 0),
            ("1 2", 2),
            ("1x", 1),
            ("1 &&", 4),
            ("1 ||", 4),
            ("(1", 0),
            ("!", 1),
            ("1 & 1", 2),
            ("()", 1),
            ("streq(a)", 7),
            ("streq(a,b,c)", 11),
            ("streq", 5),
            ("defined(X", 7),
            ("0 && bogus(1)", 5),
        ];
        for (text, offset) in table {
            match evaluate(text, &environment()) {
                Err(error) => assert_eq!(error.offset, *offset, "{text}: {}", error.message),
                Ok(value) => panic!("{text} is {value}"),
            }
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        assert!(evaluate(&"(".repeat(100_000), &environment()).is_err());
        assert!(evaluate(&"!".repeat(100_000), &environment()).is_err());
    }
}
