use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use bumpalo::Bump;

use super::*;
use crate::config::lexer::Word;
use crate::config::model::Position;
use crate::rules::names::{SystemFiles, SystemHosts};
use crate::rules::scene::{Census, Millis, Place};
use crate::rules::table::Tables;
use crate::rules::vars::{ProcessVars, VarNames, Variables};

/// A proxy with nothing in it.
#[derive(Debug)]
struct Nobody;

impl Census for Nobody {}

fn compiled(name: &str, arguments: &[&str]) -> Result<Box<dyn Fetch>, String> {
    let word = Word {
        text: name.to_owned(),
        position: Position {
            file: "x.cfg".into(),
            line: 3,
            column: 7,
        },
    };
    let arguments: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
    let call = Call {
        name,
        arguments: &arguments,
        word: &word,
    };
    let (frontends, backends): (HashMap<Arc<str>, usize>, HashMap<_, _>) = Default::default();
    let names = Names {
        frontends: &frontends,
        backends: &backends,
        tables: &HashMap::new(),
        frontend: None,
        backend: None,
        own: "fe",
        files: &SystemFiles,
        hosts: &SystemHosts,
        vars: &VarNames::default(),
    };
    compile(call, &names)
        .expect("a name of this family")
        .map_err(|fault| {
            assert_eq!((fault.position.line, fault.position.column), (3, 7));
            fault.message
        })
}

/// What a fetch finds in the bytes of one side.
fn found(name: &str, arguments: &[&str], bytes: &[u8], complete: bool) -> Sample<'static> {
    let fetch = compiled(name, arguments).unwrap();
    let (arena, tables) = (Bump::new(), Tables::default());
    let (vars, shared) = (RefCell::default(), ProcessVars::default());
    let payload = Some(Payload { bytes, complete });
    let of_server = fetch.needs() == Needs::RESPONSE;
    let scene = Scene {
        now: Millis(0),
        arena: &arena,
        random: 0,
        last_look: false,
        source: None,
        new_destination: None,
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
        request: payload.filter(|_| !of_server),
        response: payload.filter(|_| of_server),
        tracked: [None; 3],
        tables: &tables,
        vars: Variables::new(&vars, &shared),
        census: &Nobody,
    };
    let leak = |bytes: &[u8]| -> &'static [u8] { bytes.to_vec().leak() };
    fetch.look(&scene).map(|value| {
        Some(match value {
            Value::Str(text) => Value::Str(leak(text)),
            Value::Bin(bytes) => Value::Bin(leak(bytes)),
            Value::Int(number) => Value::Int(number),
            Value::Bool(is) => Value::Bool(is),
            other => panic!("{other:?}"),
        })
    })
}

#[test]
fn lengths_may_grow() {
    for name in ["req.len", "req_len", "res.len"] {
        assert_eq!(
            found(name, &[], b"abc", false),
            Sample::SoFar(Value::Int(3))
        );
        assert_eq!(found(name, &[], b"", true), Sample::Is(Value::Int(0)));
    }
}

#[test]
fn blocks() {
    let block = |arguments: &[&str], complete| found("req.payload", arguments, b"hello", complete);
    let bin = |bytes| Value::Bin(bytes);
    assert_eq!(block(&["1", "3"], false), Sample::Is(bin(b"ell")));
    assert_eq!(block(&["0", "5"], false), Sample::Is(bin(b"hello")));
    assert_eq!(block(&["0", "6"], false), Sample::NotYet);
    assert_eq!(block(&["0", "6"], true), Sample::Absent);
    assert_eq!(block(&["6", "0"], false), Sample::NotYet);
    assert_eq!(block(&["2", "0"], false), Sample::SoFar(bin(b"llo")));
    assert_eq!(block(&["2", "0"], true), Sample::Is(bin(b"llo")));
    assert_eq!(block(&["5", "0"], false), Sample::SoFar(bin(b"")));
    assert_eq!(
        found("res.payload", &["0", "2"], b"hello", false),
        Sample::Is(bin(b"he"))
    );
}

#[test]
fn blocks_behind_their_length() {
    let bytes = b"\0\x03abcdef\x02xy";
    let block = |arguments: &[&str], complete| found("payload_lv", arguments, bytes, complete);
    let is = |bytes| Sample::Is(Value::Bin(bytes));
    assert_eq!(block(&["0", "2"], false), is(b"abc"));
    assert_eq!(block(&["0", "2", "+1"], false), is(b"bcd"));
    assert_eq!(block(&["0", "2", "-1"], false), is(b"\x03ab"));
    assert_eq!(block(&["0", "2", "4"], false), is(b"cde"));
    assert_eq!(block(&["8", "1"], false), is(b"xy"));
    assert_eq!(block(&["8", "1", "10"], false), Sample::NotYet);
    assert_eq!(block(&["8", "1", "10"], true), Sample::Absent);
    assert_eq!(block(&["10", "2"], false), Sample::NotYet);
    assert_eq!(block(&["0", "1"], false), Sample::Absent, "a length of 0");
}

#[test]
fn wrong_arguments() {
    for (name, arguments, message) in [
        (
            "req.payload",
            &["a", "1"][..],
            "payload offset is not a number: 'a'",
        ),
        ("req.payload", &["1"], "missing payload length"),
        ("req.payload", &[], "missing payload offset"),
        ("req.payload", &["0", "1", "2"], "unexpected argument '2'"),
        (
            "req.payload",
            &["-1", "1"],
            "payload offset must be positive: '-1'",
        ),
        ("req.payload_lv", &["0", "0"], "payload length must be > 0"),
        (
            "req.payload_lv",
            &["0", "1", "-9"],
            "payload offset2 too negative",
        ),
        (
            "req.payload_lv",
            &["0", "1", "x"],
            "payload offset2 is not a number",
        ),
        ("req.len", &["3"], "unexpected argument '3'"),
    ] {
        let expected = format!("invalid args in fetch method '{name}' : {message}");
        assert_eq!(compiled(name, arguments).unwrap_err(), expected);
    }
    assert!(compiled("req.ssl_sni", &[""]).is_ok());
}

#[test]
fn hellos() {
    let hex: Vec<u32> = include_str!("../../hello/samples/openssl.hex")
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .collect();
    let hello: Vec<u8> = hex
        .chunks(2)
        .map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap())
        .collect();
    for (name, value) in [
        ("req.ssl_hello_type", Value::Int(1)),
        ("req_ssl_hello_type", Value::Int(1)),
        ("res.ssl_hello_type", Value::Int(1)),
        ("req.ssl_ver", Value::Int(0x0003_0003)),
        ("req_ssl_ver", Value::Int(0x0003_0003)),
        ("req.ssl_sni", Value::Str(b"www.openssl.example")),
        ("req_ssl_sni", Value::Str(b"www.openssl.example")),
        ("req.ssl_alpn", Value::Str(b"h2")),
        ("req.ssl_st_ext", Value::Int(1)),
        ("req.ssl_ec_ext", Value::Bool(true)),
    ] {
        assert_eq!(found(name, &[], &hello, false), Sample::Is(value), "{name}");
        let cut = &hello[..hello.len() - 1];
        assert_eq!(found(name, &[], cut, false), Sample::NotYet, "{name}");
        assert_eq!(found(name, &[], cut, true), Sample::Absent, "{name}");
        assert_eq!(found(name, &[], b"GET /", false), Sample::Absent, "{name}");
    }
    let Sample::Is(Value::Bin(ciphers)) = found("req.ssl_cipherlist", &[], &hello, false) else {
        panic!("no ciphers");
    };
    assert_eq!(ciphers[..2], [0x13, 0x02]);
}

#[test]
fn kinds_and_needs() {
    for &name in NAMES {
        let arguments: &[&str] = if name.contains("payload") {
            &["0", "1"]
        } else {
            &[]
        };
        let fetch = compiled(name, arguments).unwrap();
        let server = name.starts_with("re") && name.as_bytes()[2] != b'q';
        let needs = if server {
            Needs::RESPONSE
        } else {
            Needs::REQUEST
        };
        assert_eq!(fetch.needs(), needs, "{name}");
    }
}
