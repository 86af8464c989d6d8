//! A world to look at for the tests of this room.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use bumpalo::Bump;

use super::acl::{Acls, Condition};
use super::expr::Expr;
use super::names::{HostNames, Names, PatternFiles};
use super::sample::{Sample, Value};
use super::scene::{Census, ClientTcp, Millis, Needs, Payload, Place, Scene};
use super::table::Tables;
use super::vars::{ProcessVars, VarNames, Variables, Vars};
use crate::config::diagnostic::Fault;
use crate::config::lexer::{self, Word};
use crate::config::model::{Config, Environment};
use crate::config::{self, Source};
use crate::sys::tcp;

/// A proxy in which nothing happens.
#[derive(Debug)]
pub(crate) struct Idle;

impl Census for Idle {}

/// The configuration of one `listen` section, `p`, with these lines besides what it needs.
pub(crate) fn load(lines: &str) -> Config {
    let text = format!("listen p\n bind :80\n server s 192.0.2.1:80\n{lines}");
    let outcome = config::load(&[Source::new("t.cfg", text.clone())], &Environment::new());
    outcome
        .config
        .unwrap_or_else(|| panic!("{text}\n{:#?}", outcome.diagnostics))
}

/// Counts that tell by their value where they come from.
#[derive(Debug)]
struct Counts;

impl Census for Counts {
    fn frontend_connections(&self, frontend: usize) -> u64 {
        100 + frontend as u64
    }
    fn frontend_rate(&self, frontend: usize) -> u64 {
        200 + frontend as u64
    }
    fn backend_connections(&self, backend: usize) -> u64 {
        300 + backend as u64
    }
    fn backend_rate(&self, backend: usize) -> u64 {
        400 + backend as u64
    }
    fn queued(&self, backend: usize) -> u64 {
        500 + backend as u64
    }
    fn servers_up(&self, backend: usize) -> u64 {
        600 + backend as u64
    }
    fn free_places(&self, backend: usize) -> Option<u64> {
        (backend > 0).then_some(700)
    }
    fn free_slots(&self, backend: usize) -> Option<i64> {
        (backend > 0).then_some(800)
    }
    fn server_is_up(&self, _: usize, server: usize) -> bool {
        server == 1
    }
    fn server_connections(&self, backend: usize, server: usize) -> u64 {
        900 + 10 * backend as u64 + server as u64
    }
}

/// A connection to 198.51.100.1:443 with a known round trip time.
#[derive(Debug)]
struct Tcp;

impl ClientTcp for Tcp {
    fn info(&self) -> Option<tcp::Info> {
        Some(tcp::Info {
            rtt: 12_345,
            rtt_var: 6_789,
            ..tcp::Info::default()
        })
    }

    fn local_address(&self) -> Option<SocketAddr> {
        Some(([198, 51, 100, 1], 443).into())
    }
}

#[derive(Debug, Default)]
struct Files(HashMap<String, Arc<[u8]>>);

impl PatternFiles for Files {
    fn read(&self, path: &Path) -> Result<Arc<[u8]>, String> {
        let name = path.to_string_lossy();
        self.0
            .get(&*name)
            .cloned()
            .ok_or_else(|| "no such file".to_owned())
    }
}

/// Knows `client.example`, which is 192.0.2.7.
#[derive(Debug)]
pub(super) struct Hosts;

impl HostNames for Hosts {
    fn ipv4(&self, name: &str) -> Result<Ipv4Addr, String> {
        match name {
            "client.example" => Ok(Ipv4Addr::new(192, 0, 2, 7)),
            _ => Err("no such host".to_owned()),
        }
    }
}

/// Frontends `fe` and `fe2`, backends `be` and `be2` with servers `s1` and `s2` each, variables
/// `txn.t` (text `tee`) and `txn.n` (7), a client 192.0.2.7:40000 of 198.51.100.1:443.
pub(super) struct World {
    frontends: HashMap<Arc<str>, usize>,
    backends: HashMap<Arc<str>, (usize, Vec<Arc<str>>)>,
    files: Files,
    var_names: VarNames,
    pub(super) vars: RefCell<Vars>,
    pub(super) shared_vars: ProcessVars,
    pub(super) arena: Bump,
    tables: Tables,
}

impl World {
    pub(super) fn new() -> Self {
        let servers = || vec![Arc::from("s1"), Arc::from("s2")];
        let world = Self {
            frontends: HashMap::from([("fe".into(), 0), ("fe2".into(), 1)]),
            backends: HashMap::from([
                ("be".into(), (0, servers())),
                ("be2".into(), (1, servers())),
            ]),
            files: Files::default(),
            var_names: VarNames::default(),
            vars: RefCell::default(),
            shared_vars: ProcessVars::default(),
            arena: Bump::new(),
            tables: Tables::default(),
        };
        let id = |name| world.var_names.id(name).unwrap();
        world.vars.borrow_mut().set(id("txn.t"), Value::Str(b"tee"));
        world.vars.borrow_mut().set(id("txn.n"), Value::Int(7));
        world
    }

    pub(super) fn with_file(mut self, name: &str, content: &[u8]) -> Self {
        self.files.0.insert(name.to_owned(), content.into());
        self
    }

    pub(super) fn names(&self) -> Names<'_> {
        static NO_TABLES: std::sync::LazyLock<HashMap<Arc<str>, super::names::TableFacts>> =
            std::sync::LazyLock::new(HashMap::new);
        Names {
            frontends: &self.frontends,
            backends: &self.backends,
            tables: &NO_TABLES,
            frontend: Some(0),
            backend: None,
            own: "fe",
            files: &self.files,
            hosts: &Hosts,
            vars: &self.var_names,
        }
    }

    pub(super) fn scene(&self) -> Scene<'_> {
        Scene {
            now: Millis(1000),
            arena: &self.arena,
            random: 0x0123_4567_89ab_cdef,
            last_look: true,
            source: Some(([192, 0, 2, 7], 40_000).into()),
            new_destination: None,
            client_tcp: Some(&Tcp),
            frontend: Place {
                index: 0,
                name: "fe",
            },
            listener: (3, "door"),
            proxy: None,
            tls: None,
            backend: None,
            server: None,
            request: None,
            response: None,
            tracked: [None; 3],
            tables: &self.tables,
            vars: Variables::new(&self.vars, &self.shared_vars),
            census: &Counts,
        }
    }

    pub(super) fn expr(&self, text: &str) -> Result<Expr, String> {
        let words = words(text);
        assert_eq!(words.len(), 1, "{text}");
        Expr::compile(&words[0], &self.names()).map_err(message)
    }

    /// What an expression gives, as text; `None`: nothing.
    pub(super) fn show(&self, text: &str) -> Result<Option<String>, String> {
        let expr = self.expr(text)?;
        let scene = self.scene();
        Ok(expr.evaluate(&scene).value().map(|value| {
            let text = super::cast::string(value, &self.arena);
            String::from_utf8_lossy(text).into_owned()
        }))
    }

    pub(super) fn look(&self, text: &str) -> Sample<'_> {
        self.expr(text).unwrap().evaluate(&self.scene())
    }

    pub(super) fn condition(&self, acls: &Acls, text: &str) -> Result<Condition, String> {
        self.condition_at(acls, text, Needs::all())
    }

    pub(super) fn condition_at(
        &self,
        acls: &Acls,
        text: &str,
        available: Needs,
    ) -> Result<Condition, String> {
        let words = words(&format!("if {text}"));
        Condition::compile(
            &words[0],
            &words[1..],
            acls,
            &self.names(),
            available,
            "this place",
        )
        .map_err(message)
    }

    pub(super) fn acls(&self, lines: &[&str]) -> Result<Acls, String> {
        let mut acls = Acls::default();
        for line in lines {
            let words = words(&format!("acl {line}"));
            acls.add(&words[1..], &words[0], &self.names())
                .map_err(message)?;
        }
        Ok(acls)
    }
}

/// All that the client has sent so far.
pub(super) fn payload(bytes: &[u8]) -> Option<Payload<'_>> {
    Some(Payload {
        bytes,
        complete: false,
    })
}

/// A fault with its column, which must be in the line that was given.
fn message(fault: Fault) -> String {
    assert_eq!((&*fault.position.file, fault.position.line), ("x.cfg", 3));
    assert_ne!(fault.position.column, 0);
    fault.message
}

/// A line's words, as the configuration's reader cuts them.
pub(super) fn words(line: &str) -> Vec<Word> {
    let environment = BTreeMap::new();
    let variables = lexer::Variables {
        environment: &environment,
        section: "",
    };
    lexer::split(line.as_bytes(), &"x.cfg".into(), 3, variables)
        .unwrap()
        .words
}
