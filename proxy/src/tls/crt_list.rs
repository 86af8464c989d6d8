//! The text of a `crt-list` file: `<certificate> [<options>] [[!]<name> ...]`, one per line.
//!
//! Empty lines, and lines whose first word starts with `#`, say nothing. Words are separated by
//! blanks; `"..."`, `'...'` and `\` keep blanks, brackets and quotes within a word.

use std::path::PathBuf;

use crate::config::model::tls::{ClientVerify, TlsParameters, TlsVersion};
use crate::config::tls::{Choice, ciphers, groups};

/// One line that names a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its line, from 1.
    pub line: usize,
    /// The certificate, as written.
    pub certificate: PathBuf,
    /// What stood in brackets.
    pub options: Options,
    /// SNI filters, as written.
    pub filters: Vec<String>,
}

/// What a line says differently from its `bind` line; `None` and empty: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// `alpn`.
    pub alpn: Option<Vec<Vec<u8>>>,
    /// `verify`.
    pub verify: Option<ClientVerify>,
    /// `ca-file`, as written.
    pub ca_file: Option<PathBuf>,
    /// `ssl-min-ver`; the inner `None` is a version below those that there are.
    pub min: Option<Option<TlsVersion>>,
    /// `ssl-max-ver`.
    pub max: Option<TlsVersion>,
    /// `ciphers`: names of suites, as in [`TlsParameters`].
    pub ciphers: Option<Vec<String>>,
    /// `ciphersuites`.
    pub ciphersuites: Option<Vec<String>>,
    /// `curves`, `ecdhe`.
    pub curves: Option<Vec<String>>,
    /// What to say of options that are understood, and do nothing or not all of it.
    pub remarks: Vec<String>,
}

impl Options {
    /// The parameters of the `bind` line with these on top.
    pub fn apply(&self, bind: &TlsParameters) -> TlsParameters {
        let mut result = bind.clone();
        replace(&mut result.alpn, self.alpn.as_ref());
        replace(&mut result.min, self.min.as_ref());
        replace(&mut result.max, self.max.map(Some).as_ref());
        replace(&mut result.ciphers, self.ciphers.as_ref());
        replace(&mut result.ciphersuites, self.ciphersuites.as_ref());
        replace(&mut result.curves, self.curves.as_ref());
        result
    }

    /// What there is of the wish of the option `name`; what there is not is remarked.
    fn chosen(
        &mut self,
        name: &str,
        choice: Result<Choice, String>,
    ) -> Result<Vec<String>, String> {
        let choice = choice.map_err(|why| format!("{name}: {why}"))?;
        if !choice.missing.is_empty() {
            let missing = choice.missing.join(", ");
            self.remarks.push(format!(
                "{name}: not available in this version and left out: {missing}"
            ));
        }
        Ok(choice.chosen)
    }
}

fn replace<T: Clone>(target: &mut T, with: Option<&T>) {
    if let Some(value) = with {
        target.clone_from(value);
    }
}

impl Entry {
    /// Puts relative paths under `crt-base` and `ca-base`.
    pub fn complete(&mut self, crt_base: &Option<PathBuf>, ca_base: &Option<PathBuf>) {
        if let Some(base) = crt_base {
            self.certificate = base.join(&self.certificate);
        }
        if let (Some(base), Some(file)) = (ca_base, &mut self.options.ca_file) {
            *file = base.join(&*file);
        }
    }
}

/// A line that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ParseError {
    /// Its line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// Reads the whole text; all lines that are wrong, if any is.
pub fn parse(text: &str) -> Result<Vec<Entry>, Vec<ParseError>> {
    let mut entries = Vec::new();
    let mut errors = Vec::new();
    for (index, text) in text.lines().enumerate() {
        let line = index + 1;
        match parse_line(text) {
            Ok(None) => {}
            Ok(Some((certificate, options, filters))) => entries.push(Entry {
                line,
                certificate,
                options,
                filters,
            }),
            Err(reason) => errors.push(ParseError { line, reason }),
        }
    }
    if errors.is_empty() {
        Ok(entries)
    } else {
        Err(errors)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Open,
    Close,
}

type Line = (PathBuf, Options, Vec<String>);

fn parse_line(text: &str) -> Result<Option<Line>, String> {
    if text.trim_start().starts_with('#') {
        return Ok(None);
    }
    let mut tokens = tokens(text)?.into_iter().peekable();
    let certificate = match tokens.next() {
        None => return Ok(None),
        Some(Token::Word(word)) => PathBuf::from(word),
        Some(Token::Open | Token::Close) => {
            return Err("a line starts with the name of a certificate".to_owned());
        }
    };
    let mut options = Options::default();
    if tokens.peek() == Some(&Token::Open) {
        tokens.next();
        let mut words = Vec::new();
        loop {
            match tokens.next() {
                Some(Token::Word(word)) => words.push(word),
                Some(Token::Close) => break,
                Some(Token::Open) => return Err("a second '[' within brackets".to_owned()),
                None => return Err("'[' without ']'".to_owned()),
            }
        }
        options = parse_options(words)?;
    }
    let filters = tokens
        .map(|token| match token {
            Token::Word(word) if word == "!" => Err("'!' without a name".to_owned()),
            Token::Word(word) => Ok(word),
            Token::Open => Err("options stand between the certificate and the names".to_owned()),
            Token::Close => Err("']' without '['".to_owned()),
        })
        .collect::<Result<_, _>>()?;
    Ok(Some((certificate, options, filters)))
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (None | Some('"'), '\\') => {
                let next = characters.next().ok_or("a '\\' ends the line")?;
                word.get_or_insert_default().push(next);
            }
            (Some(_), character) => word.get_or_insert_default().push(character),
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, '[' | ']') => {
                tokens.extend(word.take().map(Token::Word));
                tokens.push(if character == '[' {
                    Token::Open
                } else {
                    Token::Close
                });
            }
            (None, blank) if blank.is_whitespace() => tokens.extend(word.take().map(Token::Word)),
            (None, character) => word.get_or_insert_default().push(character),
        }
    }
    if let Some(quote) = quote {
        return Err(format!("no closing {quote}"));
    }
    tokens.extend(word.map(Token::Word));
    Ok(tokens)
}

fn parse_options(words: Vec<String>) -> Result<Options, String> {
    let mut options = Options::default();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let mut argument = || {
            words
                .next()
                .ok_or_else(|| format!("option '{word}' without a value"))
        };
        match word.as_str() {
            "alpn" => options.alpn = Some(parse_alpn(&argument()?)?),
            "verify" => options.verify = Some(parse_verify(&argument()?)?),
            "ca-file" => options.ca_file = Some(argument()?.into()),
            "ciphers" => {
                let choice = ciphers::tls12(&argument()?);
                options.ciphers = Some(options.chosen(&word, choice)?);
            }
            "ciphersuites" => {
                let choice = ciphers::tls13(&argument()?);
                options.ciphersuites = Some(options.chosen(&word, choice)?);
            }
            "curves" | "ecdhe" => {
                let choice = groups::read(&argument()?);
                options.curves = Some(options.chosen(&word, choice)?);
            }
            "ssl-min-ver" => {
                let version = parse_version(&argument()?)?;
                if version.is_none() {
                    options
                        .remarks
                        .push("ssl-min-ver below TLSv1.2: TLSv1.2 is the lowest here".to_owned());
                }
                options.min = Some(version);
            }
            "ssl-max-ver" => {
                let text = argument()?;
                options.max = Some(parse_version(&text)?.ok_or_else(|| {
                    format!("ssl-max-ver {text}: TLSv1.2 is the lowest version here")
                })?);
            }
            "allow-0rtt" | "no-ca-names" => {
                options.remarks.push(format!("{word} has no effect"));
            }
            "npn" => {
                argument()?;
                options
                    .remarks
                    .push("npn has no effect: alpn has taken its place".to_owned());
            }
            "crl-file" | "ca-verify-file" => {
                return Err(format!("option '{word}' is not available in this version"));
            }
            _ => return Err(format!("unknown option '{word}'")),
        }
    }
    Ok(options)
}

fn parse_alpn(text: &str) -> Result<Vec<Vec<u8>>, String> {
    text.split(',')
        .map(|protocol| match protocol.len() {
            0 => Err(format!("alpn '{text}' has an empty name")),
            1..=255 => Ok(protocol.as_bytes().to_vec()),
            _ => Err(format!("alpn '{protocol}' is longer than 255 bytes")),
        })
        .collect()
}

fn parse_verify(text: &str) -> Result<ClientVerify, String> {
    match text {
        "none" => Ok(ClientVerify::None),
        "optional" => Ok(ClientVerify::Optional),
        "required" => Ok(ClientVerify::Required),
        _ => Err(format!(
            "verify '{text}' is none of none, optional, required"
        )),
    }
}

/// `None`: a version below those that there are.
fn parse_version(text: &str) -> Result<Option<TlsVersion>, String> {
    match text {
        "SSLv3" | "TLSv1.0" | "TLSv1.1" => Ok(None),
        "TLSv1.2" => Ok(Some(TlsVersion::V1_2)),
        "TLSv1.3" => Ok(Some(TlsVersion::V1_3)),
        _ => Err(format!(
            "version '{text}' is none of SSLv3, TLSv1.0, TLSv1.1, TLSv1.2, TLSv1.3"
        )),
    }
}
