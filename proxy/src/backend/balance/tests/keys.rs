//! What streams are hashed by.

use std::cell::RefCell;
use std::net::SocketAddr;

use bumpalo::Bump;

use super::*;
use crate::rules::scene::{Census, Millis, Place, Scene};
use crate::rules::table::Tables;
use crate::rules::vars::{ProcessVars, Variables, Vars};

#[derive(Debug)]
struct Nothing;

impl Census for Nothing {}

/// The key of a client from this address.
fn key_of(lines: &str, source: Option<&str>) -> Option<Vec<u8>> {
    let (arena, tables, vars) = (Bump::new(), Tables::default(), RefCell::<Vars>::default());
    let shared = ProcessVars::default();
    let scene = Scene {
        now: Millis(0),
        arena: &arena,
        random: 0,
        last_look: true,
        source: source.map(|source| source.parse::<SocketAddr>().unwrap()),
        new_destination: None,
        client_tcp: None,
        frontend: Place {
            index: 0,
            name: "front",
        },
        listener: (1, "ear"),
        proxy: None,
        tls: None,
        backend: None,
        server: None,
        request: None,
        response: None,
        tracked: [None; 3],
        tables: &tables,
        vars: Variables::new(&vars, &shared),
        census: &Nothing,
    };
    key::key(&settings(lines), &scene).map(<[u8]>::to_vec)
}

/// The lines, where the client comes from, and its key.
type Row<'a> = (&'a str, Option<&'a str>, Option<&'a [u8]>);

#[test]
fn keys_are_octets() {
    let four = Some("192.0.2.7:1000");
    let six = "2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap();
    let table: [Row<'_>; 9] = [
        ("balance leastconn", four, None),
        ("balance source", four, Some(&[192, 0, 2, 7])),
        (
            "balance source",
            Some("[2001:db8::7]:1000"),
            Some(&six.octets()),
        ),
        ("balance source", None, None),
        ("balance hash src,ipmask(24)", four, Some(&[192, 0, 2, 0])),
        ("balance hash src", None, None),
        (
            "balance hash src_port",
            four,
            Some(&[0, 0, 0, 0, 0, 0, 3, 232]),
        ),
        ("balance hash str(ab)", four, Some(b"ab")),
        ("balance hash req.payload(0,2)", four, None),
    ];
    for (lines, source, expected) in table {
        assert_eq!(key_of(lines, source).as_deref(), expected, "{lines}");
    }
}
