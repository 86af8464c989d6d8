//! Lines to words: quotes, escapes, comments and `${VAR}`.
//!
//! The rules are HAProxy 2.6's, found by trying: variables expand inside double quotes only; an
//! escape that means nothing keeps its backslash; a line never continues on the next one, so that
//! a trailing backslash is an ordinary character (the caller warns about it).

use std::sync::Arc;

use super::diagnostic::Fault;
use super::model::{Environment, Position};

/// One word of a line, quotes and escapes resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Its text.
    pub text: String,
    /// Where it starts. The pieces of a `${LIST[*]}` all start where the first one does.
    pub position: Position,
}

impl Word {
    /// A fault that names this word's position.
    pub fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::new(&self.position, message)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// What variables resolve to.
#[derive(Debug, Clone, Copy)]
pub struct Variables<'a> {
    /// Named values.
    pub environment: &'a Environment,
    /// `.SECTION`: the name of the current section, or its kind when it has no name.
    pub section: &'a str,
}

/// A line cut into words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line {
    /// The words, in order; empty for a blank line or a comment.
    pub words: Vec<Word>,
    /// Position of an unescaped backslash that ends the line, where a user may have hoped for the
    /// next line to be joined.
    pub trailing_backslash: Option<Position>,
}

/// Cuts one line (without its line feed) into words.
///
/// # Errors
/// An unmatched quote or brace, a malformed variable name or hexadecimal escape, a NUL byte, a
/// word that is not UTF-8; the position is the offending byte's.
pub fn split(
    line: &[u8],
    file: &Arc<str>,
    number: u32,
    variables: Variables<'_>,
) -> Result<Line, Fault> {
    let mut lexer = Lexer {
        line,
        at: 0,
        file,
        number,
        variables,
        words: Vec::new(),
        word: None,
        trailing_backslash: None,
    };
    lexer.run()?;
    Ok(Line {
        words: lexer.words,
        trailing_backslash: lexer.trailing_backslash,
    })
}

/// Writes `word` so that [`split`] gives it back as one word.
///
/// Every word has such a form except one with a NUL byte.
pub fn quote(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'\\' | b'#');
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    let mut out = String::with_capacity(word.len() + 2);
    out.push('"');
    for c in word.chars() {
        match c {
            '"' | '\\' | '$' => {
                out.push('\\');
                out.push(c);
            }
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A word being built: where it started, and its bytes so far.
struct Pending {
    start: usize,
    bytes: Vec<u8>,
}

struct Lexer<'a> {
    line: &'a [u8],
    at: usize,
    file: &'a Arc<str>,
    number: u32,
    variables: Variables<'a>,
    words: Vec<Word>,
    word: Option<Pending>,
    trailing_backslash: Option<Position>,
}

/// The variables that the lexer itself resolves.
const PSEUDO_VARIABLES: [&str; 3] = [".FILE", ".LINE", ".SECTION"];

/// C's `isspace` in the "C" locale.
fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

fn is_name_start(b: u8) -> bool {
    b.is_ascii_alphabetic() || b == b'_'
}

fn is_name(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

impl Lexer<'_> {
    fn run(&mut self) -> Result<(), Fault> {
        // The opening double quote, while inside one.
        let mut quote: Option<usize> = None;
        while let Some(&b) = self.line.get(self.at) {
            match b {
                0 => return Err(self.fault(self.at, "a line may not contain a NUL byte")),
                b'"' => {
                    quote = match quote {
                        Some(_) => None,
                        None => Some(self.at),
                    };
                    self.open();
                    self.at += 1;
                }
                b'\\' => self.escape(quote.is_some())?,
                b'$' if quote.is_some() => self.variable()?,
                b'\'' if quote.is_none() => self.strong_quote()?,
                b'#' if quote.is_none() => break,
                _ if is_space(b) && quote.is_none() => {
                    self.close()?;
                    self.at += 1;
                }
                _ => {
                    self.emit(b);
                    self.at += 1;
                }
            }
        }
        if let Some(start) = quote {
            return Err(self.fault(start, "unmatched quote"));
        }
        self.close()
    }

    fn position(&self, at: usize) -> Position {
        Position {
            file: Arc::clone(self.file),
            line: self.number,
            column: u32::try_from(at + 1).unwrap_or(u32::MAX),
        }
    }

    fn fault(&self, at: usize, message: &str) -> Fault {
        Fault::new(
            &self.position(at),
            format!("{message} at position {}", at + 1),
        )
    }

    /// The word being built; a new one starts at the current byte.
    fn open(&mut self) -> &mut Pending {
        let start = self.at;
        self.word.get_or_insert_with(|| Pending {
            start,
            bytes: Vec::new(),
        })
    }

    fn emit(&mut self, b: u8) {
        self.open().bytes.push(b);
    }

    fn close(&mut self) -> Result<(), Fault> {
        let Some(Pending { start, bytes }) = self.word.take() else {
            return Ok(());
        };
        let text =
            String::from_utf8(bytes).map_err(|_| self.fault(start, "word is not valid UTF-8"))?;
        let position = self.position(start);
        self.words.push(Word { text, position });
        Ok(())
    }

    fn strong_quote(&mut self) -> Result<(), Fault> {
        let start = self.at;
        let rest = &self.line[start + 1..];
        let Some(len) = rest.iter().position(|&b| b == b'\'') else {
            return Err(self.fault(start, "unmatched quote"));
        };
        let text = &rest[..len];
        if let Some(nul) = text.iter().position(|&b| b == 0) {
            return Err(self.fault(start + 1 + nul, "a line may not contain a NUL byte"));
        }
        self.open().bytes.extend_from_slice(text);
        self.at = start + len + 2;
        Ok(())
    }

    fn escape(&mut self, quoted: bool) -> Result<(), Fault> {
        let start = self.at;
        let (byte, len) = match self.line.get(start + 1).copied() {
            Some(b @ (b'\\' | b' ' | b'#' | b'\'' | b'"')) => (b, 2),
            Some(b'$') if quoted => (b'$', 2),
            Some(b'n') => (b'\n', 2),
            Some(b'r') => (b'\r', 2),
            Some(b't') => (b'\t', 2),
            Some(b'x') => (self.hexadecimal(start)?, 4),
            next => {
                // Anything else is taken as it is, backslash included.
                if next.is_none() {
                    self.trailing_backslash = Some(self.position(start));
                }
                (b'\\', 1)
            }
        };
        self.emit(byte);
        self.at = start + len;
        Ok(())
    }

    fn hexadecimal(&self, start: usize) -> Result<u8, Fault> {
        let digit = |at: usize| {
            let b = self.line.get(at).copied()?;
            char::from(b).to_digit(16)
        };
        match (digit(start + 2), digit(start + 3)) {
            (Some(0), Some(0)) => Err(self.fault(start, "a word may not contain a NUL byte")),
            (Some(high), Some(low)) => Ok(u8::try_from(high * 16 + low).unwrap_or_default()),
            _ => Err(self.fault(start, "truncated or invalid hexadecimal sequence")),
        }
    }

    /// `$NAME`, `${NAME}`, `${NAME-default}`, `${NAME[*]}`, and `.FILE`, `.LINE`, `.SECTION`.
    fn variable(&mut self) -> Result<(), Fault> {
        let start = self.at;
        let braces = self.line.get(start + 1) == Some(&b'{');
        let name_start = start + 1 + usize::from(braces);
        let first = self.line.get(name_start).copied().unwrap_or_default();
        if !is_name_start(first) && first != b'.' {
            return Err(self.fault(
                name_start,
                "forbidden first char in environment variable name",
            ));
        }
        let mut end = name_start + 1;
        while self.line.get(end).copied().is_some_and(is_name) {
            end += 1;
        }
        let name = String::from_utf8_lossy(&self.line[name_start..end]).into_owned();
        if first == b'.' && !PSEUDO_VARIABLES.contains(&name.as_str()) {
            return Err(self.fault(name_start, "unknown pseudo-variable"));
        }
        let mut default = None;
        let mut list = false;
        let mut next = end;
        if braces {
            if self.line[next..].starts_with(b"[*]") {
                list = true;
                next += 3;
            }
            if self.line.get(next) == Some(&b'-') {
                let from = next + 1;
                next = self.line[from..]
                    .iter()
                    .position(|&b| b == b'}')
                    .map_or(self.line.len(), |len| from + len);
                default = Some(&self.line[from..next]);
            }
            if self.line.get(next) != Some(&b'}') {
                return Err(self.fault(start + 1, "unmatched brace in environment variable name"));
            }
            next += 1;
        }
        let value = match name.as_str() {
            ".FILE" => Some(self.file.as_bytes().to_vec()),
            ".LINE" => Some(self.number.to_string().into_bytes()),
            ".SECTION" => Some(self.variables.section.as_bytes().to_vec()),
            _ => self
                .variables
                .environment
                .get(&name)
                .map(|value| value.as_bytes().to_vec())
                .or_else(|| default.map(<[u8]>::to_vec)),
        };
        self.expand(&value.unwrap_or_default(), list)?;
        self.at = next;
        Ok(())
    }

    fn expand(&mut self, value: &[u8], list: bool) -> Result<(), Fault> {
        if !list {
            self.open().bytes.extend_from_slice(value);
            return Ok(());
        }
        let pieces = value
            .split(|&b| is_space(b))
            .filter(|piece| !piece.is_empty());
        for (index, piece) in pieces.enumerate() {
            if index > 0 {
                self.close()?;
            }
            self.open().bytes.extend_from_slice(piece);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
