//! Rules are evaluated without allocation, once the evaluation's scratch memory has its size.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use bumpalo::Bump;
use underpass::config::lexer::{self, Word, split};
use underpass::rules::acl::{Acls, Condition, Truth};
use underpass::rules::names::{Names, PatternFiles, SystemHosts};
use underpass::rules::sample::Value;
use underpass::rules::scene::{Census, Millis, Needs, Payload, Place, Scene};
use underpass::rules::table::Tables;
use underpass::rules::vars::{ProcessVars, VarNames, Variables, Vars};

#[derive(Debug)]
struct Quiet;

impl Census for Quiet {
    fn frontend_connections(&self, _: usize) -> u64 {
        1
    }
    fn frontend_rate(&self, _: usize) -> u64 {
        1
    }
    fn backend_connections(&self, _: usize) -> u64 {
        1
    }
    fn backend_rate(&self, _: usize) -> u64 {
        1
    }
    fn queued(&self, _: usize) -> u64 {
        1
    }
    fn servers_up(&self, _: usize) -> u64 {
        1
    }
    fn free_places(&self, _: usize) -> Option<u64> {
        None
    }
    fn free_slots(&self, _: usize) -> Option<i64> {
        None
    }
    fn server_is_up(&self, _: usize, _: usize) -> bool {
        true
    }
    fn server_connections(&self, _: usize, _: usize) -> u64 {
        1
    }
}

/// `nets`: a thousand networks; `names`: a thousand names, each with a number.
#[derive(Debug)]
struct Files;

impl PatternFiles for Files {
    fn read(&self, path: &Path) -> Result<Arc<[u8]>, String> {
        let line = |i: usize| match path.to_str() {
            Some("nets") => format!("10.{}.{}.0/24\n", i / 250, i % 250),
            _ => format!("name{i}.example.com {i}\n"),
        };
        let content: String = (0..1000).map(line).collect();
        Ok(content.into_bytes().into())
    }
}

const TRUE: &[&str] = &[
    "{ src 10.0.0.0/8 192.0.2.0/24 2001:db8::/32 }",
    "{ src -f nets } or { src_port 40000 }",
    "{ src,ipmask(24) 192.0.2.0 }",
    "{ src -m str 192.0.2.7 } { src -m end 7 } { src -m beg 192 }",
    "{ req.payload(0,0) -m sub -i HELLO WORLD }",
    "{ req.payload(0,0) -m reg ^h[aeiou]llo.*d$ }",
    "{ req.payload(0,5) -m bin 68656c6c6f }",
    "{ req.payload(0,0),lower,field(2,' ') world } or TRUE",
    "{ req.payload(0,5),hex,length 10 } { req.payload(0,5),base64,b64dec -m beg h }",
    "{ str(name7.example.com),map_str_int(names) 7 }",
    "{ str(Name7.Example.com) -m dom -i example }",
    "{ src,xxh32 gt 0 } { src,wt6(1),mod(10) lt 10 } { src,sha1,hex,length 40 }",
    "{ int(7),add(txn.n),mul(3),div(2) ge 1 } { rand(10) lt 10 }",
    "{ var(txn.t),concat(-,txn.n,!) tee-7! } { str(tee),strcmp(txn.t) eq 0 }",
    "{ str(foobar),regsub(\\\"(o+)b\\\",<\\\\1>,g) f<oo>ar }",
    "{ nbsrv(be) gt 0 } { fe_conn ge 1 } !{ srv_is_up(be/s9) -m found } or !FALSE",
    "{ int(3),set-var(txn.n) 3 } WAIT_END REQ_CONTENT",
];

fn words(line: &str) -> Vec<Word> {
    let environment = BTreeMap::new();
    let variables = lexer::Variables {
        environment: &environment,
        section: "",
    };
    let line = split(line.as_bytes(), &"x.cfg".into(), 1, variables);
    line.unwrap().words
}

#[test]
fn evaluation_allocates_nothing() {
    let servers = vec![Arc::from("s1"), Arc::from("s9")];
    let names = Names {
        frontends: &HashMap::from([("fe".into(), 0)]),
        backends: &HashMap::from([("be".into(), (0, servers))]),
        tables: &HashMap::new(),
        frontend: Some(0),
        backend: None,
        own: "fe",
        files: &Files,
        hosts: &SystemHosts,
        vars: &VarNames::default(),
    };
    let vars = RefCell::new(Vars::default());
    let (text, number) = (names.vars.id("txn.t"), names.vars.id("txn.n"));
    vars.borrow_mut().set(text.unwrap(), Value::Str(b"tee"));
    vars.borrow_mut().set(number.unwrap(), Value::Int(7));
    let keyword = &words("if")[0];
    let conditions: Vec<Condition> = TRUE
        .iter()
        .map(|text| {
            let words = words(text);
            Condition::compile(
                keyword,
                &words,
                &Acls::default(),
                &names,
                Needs::all(),
                "here",
            )
            .unwrap_or_else(|fault| panic!("{text}: {}", fault.message))
        })
        .collect();
    let tables = Tables::default();
    let shared = ProcessVars::default();
    let mut arena = Bump::new();
    let mut round = |random: u64| {
        for (text, condition) in TRUE.iter().zip(&conditions) {
            let scene = Scene {
                now: Millis(1),
                arena: &arena,
                random,
                last_look: true,
                source: Some(([192, 0, 2, 7], 40_000).into()),
                new_destination: Some(([198, 51, 100, 1], 443).into()),
                client_tcp: None,
                frontend: Place {
                    index: 0,
                    name: "fe",
                },
                listener: (1, ""),
                proxy: None,
                tls: None,
                backend: None,
                server: None,
                request: Some(Payload {
                    bytes: b"hello brave world",
                    complete: true,
                }),
                response: None,
                tracked: [None; 3],
                tables: &tables,
                vars: Variables::new(&vars, &shared),
                census: &Quiet,
            };
            assert_eq!(condition.holds(&scene), Truth::True, "{text}");
            arena.reset();
            // The one condition that changes it is to see the same again.
            vars.borrow_mut().set(number.unwrap(), Value::Int(7));
        }
    };
    let first = allocation_counter::measure(|| round(0));
    assert_ne!(first.count_total, 0, "nothing is counted");
    let later = allocation_counter::measure(|| (1..100).for_each(&mut round));
    assert_eq!(later.count_total, 0, "{later:?}");
}
