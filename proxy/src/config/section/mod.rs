//! Words to a draft: one file per section or keyword family.

mod agent;
mod balance;
mod bind;
mod bind_tls;
mod check_options;
mod global;
mod global_tls;
mod log;
mod log_format;
mod monitor;
mod offload;
mod options;
mod proxy;
mod resolvers;
mod rules;
mod server;
mod server_check;
mod server_limits;
mod server_names;
mod server_template;
mod server_tls;
mod source;
mod stick_table;
mod tcp_check;
mod timeouts;
mod tls;

pub(crate) use log::level as log_level;
pub(crate) use log_format::compile as compile_formats;
pub(crate) use resolvers::system_nameservers;
pub(crate) use server_names::check as check_host;

use std::sync::Arc;

use super::Source;
use super::diagnostic::{Diagnostics, Fault};
use super::draft::tls::TlsDefaults;
use super::draft::{Draft, Kind};
use super::keywords;
use super::lexer::{self, Variables, Word};
use super::lookups::Lookups;
use super::model::{Environment, Position};
use super::preprocess::Preprocessor;

/// What a keyword's parser may use beside its words.
pub(crate) struct Context<'a> {
    /// Named values; `setenv` and its kin change them for the lines that follow.
    pub(crate) environment: Environment,
    /// What `resetenv` goes back to.
    initial_environment: &'a Environment,
    pub(crate) lookups: &'a dyn Lookups,
    /// What `global` has said of TLS so far.
    pub(crate) tls: TlsDefaults,
    /// `log` lines so far.
    pub(crate) logs: usize,
    pub(crate) diagnostics: Diagnostics,
}

/// The words of one line: the keyword and its arguments.
#[derive(Clone, Copy)]
pub(crate) struct Args<'a> {
    words: &'a [Word],
}

impl<'a> Args<'a> {
    /// The keyword. A line that reaches a parser has one.
    pub(crate) fn keyword(self) -> &'a Word {
        &self.words[0]
    }

    /// An argument, from 1.
    pub(crate) fn get(self, index: usize) -> Option<&'a Word> {
        self.words.get(index)
    }

    /// The arguments from `index` on.
    pub(crate) fn from(self, index: usize) -> &'a [Word] {
        self.words.get(index..).unwrap_or_default()
    }

    /// The first argument, which may be neither absent nor empty.
    pub(crate) fn first(self, expected: &str) -> Result<&'a Word, Fault> {
        match self.get(1) {
            Some(word) if !word.text.is_empty() => Ok(word),
            _ => {
                let keyword = self.keyword();
                Err(keyword.fault(format!("'{}' expects {expected}.", keyword.text)))
            }
        }
    }

    /// Refuses more than `count` arguments.
    pub(crate) fn at_most(self, count: usize) -> Result<(), Fault> {
        match self.get(count + 1) {
            None => Ok(()),
            Some(extra) => {
                let name: Vec<&str> = self.words[..=count.min(1)]
                    .iter()
                    .map(Word::as_str)
                    .collect();
                // `option x y` names the option; other keywords are named alone.
                let name = if self.keyword().text == "option" {
                    name.join(" ")
                } else {
                    name[0].to_owned()
                };
                Err(extra.fault(format!(
                    "'{name}' cannot handle unexpected argument '{}'.",
                    extra.text
                )))
            }
        }
    }

    /// The arguments joined with spaces.
    pub(crate) fn text(self) -> String {
        let words: Vec<&str> = self.from(1).iter().map(Word::as_str).collect();
        words.join(" ")
    }
}

/// What stands before a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Modifier {
    Standard,
    /// `no`
    No,
    /// `default`
    Default,
}

/// Where lines go.
#[derive(Debug, Clone, Copy)]
enum Section {
    /// Before the first section of a file.
    Outside,
    Global,
    /// The last element of [`Draft::defaults`].
    Defaults,
    /// The last element of [`Draft::proxies`].
    Proxy,
    /// The last element of [`Draft::resolvers`].
    Resolvers,
    /// A section that was refused as a whole: its lines would only repeat that.
    Refused,
}

/// Reads every source; what is wrong with one line does not keep the next from being read.
pub(crate) fn parse(
    sources: &[Source],
    environment: &Environment,
    lookups: &dyn Lookups,
) -> (Draft, Diagnostics) {
    let mut parser = Parser {
        context: Context {
            environment: environment.clone(),
            initial_environment: environment,
            lookups,
            tls: TlsDefaults::default(),
            logs: 0,
            diagnostics: Diagnostics::default(),
        },
        draft: Draft::default(),
        section: Section::Outside,
        section_name: String::new(),
    };
    for source in sources {
        parser.source(source);
    }
    parser.draft.tls = parser.context.tls;
    (parser.draft, parser.context.diagnostics)
}

struct Parser<'a> {
    context: Context<'a>,
    draft: Draft,
    section: Section,
    /// What `.SECTION` stands for.
    section_name: String,
}

impl Parser<'_> {
    fn source(&mut self, source: &Source) {
        self.section = Section::Outside;
        self.section_name.clear();
        let mut preprocessor = Preprocessor::default();
        let mut number = 0;
        for line in source.text.split_inclusive(|&b| b == b'\n') {
            number += 1;
            match line.strip_suffix(b"\n") {
                Some(line) => self.line(line, &source.name, number, &mut preprocessor),
                None => {
                    self.line(line, &source.name, number, &mut preprocessor);
                    let position = Position {
                        file: Arc::clone(&source.name),
                        line: number,
                        column: u32::try_from(line.len() + 1).unwrap_or(u32::MAX),
                    };
                    self.context.diagnostics.alert(
                        &position,
                        "missing line feed on the last line, the file might have been truncated.",
                    );
                }
            }
        }
        preprocessor.finish(&mut self.context.diagnostics);
    }

    fn line(&mut self, line: &[u8], file: &Arc<str>, number: u32, preprocessor: &mut Preprocessor) {
        let variables = Variables {
            environment: &self.context.environment,
            section: &self.section_name,
        };
        let line = match lexer::split(line, file, number, variables) {
            Ok(line) => line,
            Err(fault) => return self.context.diagnostics.fault(fault),
        };
        let Context {
            environment,
            diagnostics,
            ..
        } = &mut self.context;
        if !preprocessor.accept(&line.words, environment, diagnostics) {
            return;
        }
        if let Some(position) = line.trailing_backslash {
            diagnostics.warning(
                &position,
                "a backslash at the end of a line does not join the next line to it.",
            );
        }
        if let Err(fault) = self.dispatch(&line.words) {
            self.context.diagnostics.fault(fault);
        }
    }

    fn dispatch(&mut self, words: &[Word]) -> Result<(), Fault> {
        if keywords::SECTIONS.knows(words[0].as_str()) {
            return self.open(Args { words });
        }
        if matches!(self.section, Section::Refused) {
            return Ok(());
        }
        let (modifier, words) = match (words[0].as_str(), words.len()) {
            ("no", 2..) => (Modifier::No, &words[1..]),
            ("default", 2..) => (Modifier::Default, &words[1..]),
            _ => (Modifier::Standard, words),
        };
        let args = Args { words };
        check_modifier(modifier, args.keyword())?;
        let context = &mut self.context;
        match self.section {
            Section::Refused => Ok(()),
            Section::Outside => Err(self.outside(args.keyword())),
            Section::Global => global::line(args, modifier, &mut self.draft.global, context),
            Section::Defaults => match self.draft.defaults.last_mut() {
                Some(defaults) => proxy::line(args, modifier, defaults, context),
                None => Ok(()),
            },
            Section::Resolvers => match self.draft.resolvers.last_mut() {
                Some(section) => resolvers::line(args, section, context),
                None => Ok(()),
            },
            Section::Proxy => match self.draft.proxies.last_mut() {
                Some(proxy) if proxy.kind == Kind::Agent => {
                    agent::line(args, modifier, proxy, context)
                }
                Some(proxy) => proxy::line(args, modifier, proxy, context),
                None => Ok(()),
            },
        }
    }

    fn outside(&self, word: &Word) -> Fault {
        let name = word.as_str();
        let belongs: Vec<&str> = [
            ("global", &keywords::GLOBAL),
            ("defaults", &keywords::PROXY),
            ("resolvers", &keywords::RESOLVERS),
        ]
        .iter()
        .filter(|(_, scope)| scope.knows(name))
        .map(|(section, _)| *section)
        .collect();
        if belongs.is_empty() {
            return keywords::SECTIONS.refuse(word);
        }
        word.fault(format!(
            "unknown keyword '{name}' out of section; it needs a section such as '{}' above it",
            belongs.join("' or '")
        ))
    }

    /// A section's first line.
    fn open(&mut self, args: Args<'_>) -> Result<(), Fault> {
        let keyword = args.keyword();
        self.section_name = args.get(1).unwrap_or(keyword).text.clone();
        let kind = match keyword.as_str() {
            "global" => {
                self.section = Section::Global;
                return args.at_most(0);
            }
            "defaults" => Kind::Defaults,
            "frontend" => Kind::Frontend,
            "backend" => Kind::Backend,
            "listen" => Kind::Listen,
            "resolvers" => {
                self.section = Section::Resolvers;
                return resolvers::open(args, &mut self.draft);
            }
            "agent" => {
                self.section = Section::Proxy;
                return agent::open(args, &mut self.draft, &mut self.context);
            }
            _ => {
                self.section = Section::Refused;
                return Err(keywords::SECTIONS.refuse_in(keyword, "section", &[]));
            }
        };
        self.section = if kind == Kind::Defaults {
            Section::Defaults
        } else {
            Section::Proxy
        };
        proxy::open(args, kind, &mut self.draft)
    }
}

/// `no` and `default` work with few keywords.
fn check_modifier(modifier: Modifier, keyword: &Word) -> Result<(), Fault> {
    let allowed = match keyword.as_str() {
        "option" => true,
        "log" => modifier != Modifier::Default,
        _ => modifier == Modifier::Standard,
    };
    if allowed {
        return Ok(());
    }
    Err(keyword.fault(format!(
        "negation/default is supported only for 'option' and 'log', not for '{}'.",
        keyword.text
    )))
}
