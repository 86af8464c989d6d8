//! What compiling and evaluating rules on tables takes, for tests of fetches and converters.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use bumpalo::Bump;

use crate::config::lexer::Word;
use crate::config::model::Position;
use crate::rules::names::{Names, PatternFiles, SystemHosts, TableFacts};
use crate::rules::sample::Sample;
use crate::rules::scene::{Census, Millis, Place, Scene};
use crate::rules::table::{Table, TableId, TableSettings, Tables, Tracked};
use crate::rules::vars::{ProcessVars, VarNames, Variables};

/// Some tables, by their names.
#[derive(Debug)]
pub(in crate::rules) struct Rig {
    pub(in crate::rules) tables: Tables,
    facts: HashMap<Arc<str>, TableFacts>,
}

/// No files and no proxy.
#[derive(Debug)]
struct Nothing;

impl PatternFiles for Nothing {
    fn read(&self, path: &Path) -> Result<Arc<[u8]>, String> {
        Err(format!("{} is not there", path.display()))
    }
}

impl Census for Nothing {}

/// A word of a configuration.
pub(in crate::rules) fn word(text: &str) -> Word {
    Word {
        text: text.to_owned(),
        position: Position {
            file: Arc::from("test.cfg"),
            line: 7,
            column: 3,
        },
    }
}

/// `name(a,b)` in its parts.
pub(in crate::rules) fn parts(text: &str) -> (&str, Vec<String>) {
    match text.split_once('(') {
        None => (text, Vec::new()),
        Some((name, rest)) => {
            let arguments = rest.trim_end_matches(')').split(',');
            (name, arguments.map(str::to_owned).collect())
        }
    }
}

impl Rig {
    pub(in crate::rules) fn new(tables: Vec<TableSettings>) -> Self {
        let facts = tables.iter().enumerate().map(|(place, settings)| {
            let facts = TableFacts {
                id: TableId(place),
                kind: settings.kind,
                stores: settings.stores,
            };
            (Arc::clone(&settings.name), facts)
        });
        Self {
            facts: facts.collect(),
            tables: Tables::new(tables.into_iter().map(Table::new).collect()),
        }
    }

    /// Calls `with` with what names mean in a proxy called `own`.
    pub(in crate::rules) fn names<R>(&self, with: impl FnOnce(&Names<'_>) -> R) -> R {
        with(&Names {
            frontends: &HashMap::new(),
            backends: &HashMap::new(),
            tables: &self.facts,
            frontend: Some(0),
            backend: None,
            own: "own",
            files: &Nothing,
            hosts: &SystemHosts,
            vars: &VarNames::default(),
        })
    }

    /// Calls `with` with a scene in which a source comes and these are tracked.
    pub(in crate::rules) fn scene<R>(
        &self,
        now: u64,
        source: Option<&str>,
        tracked: [Option<&Tracked>; 3],
        with: impl FnOnce(&Scene<'_>) -> R,
    ) -> R {
        with(&Scene {
            now: Millis(now),
            arena: &Bump::new(),
            random: 4,
            last_look: false,
            source: source
                .map(|source| (source.parse::<std::net::IpAddr>().expect("an address"), 9).into()),
            new_destination: None,
            client_tcp: None,
            frontend: Place {
                index: 0,
                name: "own",
            },
            listener: (1, "own"),
            proxy: None,
            tls: None,
            backend: None,
            server: None,
            request: None,
            response: None,
            tracked,
            tables: &self.tables,
            vars: Variables::new(&RefCell::default(), &ProcessVars::default()),
            census: &Nothing,
        })
    }
}

/// A sample in short: its value, or that there is none.
pub(in crate::rules) fn text(sample: Sample<'_>) -> String {
    format!("{sample:?}")
        .replace("Is(Int(", "")
        .replace("Is(Bool(", "")
        .replace("))", "")
}
