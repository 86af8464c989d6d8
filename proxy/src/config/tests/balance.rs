//! `balance`, `hash-type`, `hash-balance-factor`.

use super::*;
use crate::config::model::balance::{Algorithm, Balance, HashFunction, HashType, Key, Method};

fn balance(lines: &str) -> Balance {
    let config = valid(&format!("backend b\n{lines}\n server s 192.0.2.1:80\n"));
    config.backends[0].balance.clone()
}

fn faults(line: &str) -> Vec<String> {
    remarks(&format!("backend b\n {line}\n"), Severity::Alert)
}

#[test]
fn every_algorithm() {
    let algorithm = |line: &str| balance(line).algorithm;
    assert!(matches!(algorithm(""), Algorithm::RoundRobin));
    assert!(matches!(
        algorithm("balance roundrobin"),
        Algorithm::RoundRobin
    ));
    assert!(matches!(
        algorithm("balance static-rr"),
        Algorithm::StaticRr
    ));
    assert!(matches!(
        algorithm("balance leastconn"),
        Algorithm::LeastConn
    ));
    assert!(matches!(algorithm("balance first"), Algorithm::First));
    assert!(matches!(algorithm("balance source"), Algorithm::Source));
    for (line, draws) in [
        ("balance random", 2),
        ("balance random()", 2),
        ("balance random(1)", 1),
        ("balance random(17)", 17),
    ] {
        let found = algorithm(line);
        assert!(
            matches!(found, Algorithm::Random { draws: found } if found == draws),
            "{line}: {found:?}"
        );
    }
}

#[test]
fn what_a_stream_is_hashed_by() {
    assert!(matches!(balance("balance leastconn").key(), Key::None));
    assert!(matches!(balance("balance source").key(), Key::Source));
    let hash = balance("balance hash src,ipmask(24)");
    let Key::Expr(expr) = hash.key() else {
        panic!("{hash:?}");
    };
    assert_eq!(expr.name(), "src");
    assert!(!expr.is_plain());
}

#[test]
fn every_hash_type() {
    let table = [
        ("", Method::MapBased, HashFunction::Sdbm, false),
        (
            "hash-type map-based",
            Method::MapBased,
            HashFunction::Sdbm,
            false,
        ),
        // Nobody would want the circle without it.
        (
            "hash-type consistent",
            Method::Consistent,
            HashFunction::Sdbm,
            true,
        ),
        (
            "hash-type consistent sdbm",
            Method::Consistent,
            HashFunction::Sdbm,
            false,
        ),
        (
            "hash-type consistent wt6",
            Method::Consistent,
            HashFunction::Wt6,
            false,
        ),
        (
            "hash-type map-based djb2",
            Method::MapBased,
            HashFunction::Djb2,
            false,
        ),
        (
            "hash-type map-based crc32 avalanche",
            Method::MapBased,
            HashFunction::Crc32,
            true,
        ),
        (
            "hash-type consistent\n hash-type map-based",
            Method::MapBased,
            HashFunction::Sdbm,
            false,
        ),
    ];
    for (line, method, function, avalanche) in table {
        let expected = HashType {
            method,
            function,
            avalanche,
        };
        assert_eq!(balance(line).hash, expected, "{line}");
    }
}

#[test]
fn every_factor() {
    assert_eq!(balance("").factor, 0);
    assert_eq!(balance("hash-balance-factor 0").factor, 0);
    assert_eq!(balance("hash-balance-factor 101").factor, 101);
}

#[test]
fn static_algorithms() {
    let table = [
        ("balance roundrobin", false),
        ("balance static-rr", true),
        ("balance leastconn\n hash-type map-based", false),
        ("balance source", true),
        ("balance source\n hash-type consistent", false),
        ("balance hash src", true),
    ];
    for (lines, expected) in table {
        assert_eq!(balance(lines).is_static(), expected, "{lines}");
    }
}

#[test]
fn defaults_are_taken_over() {
    let text = "\
defaults
    balance hash src
    hash-type consistent
    hash-balance-factor 150
backend b
    server s 192.0.2.1:80
backend c
    balance random
listen d
    bind :80
    hash-type map-based wt6
";
    let config = valid(text);
    let [b, c, d] = [0, 1, 2].map(|at| &config.backends[at].balance);
    assert!(matches!(b.key(), Key::Expr(_)));
    assert_eq!((b.hash.method, b.factor), (Method::Consistent, 150));
    assert!(matches!(c.algorithm, Algorithm::Random { draws: 2 }));
    assert_eq!((c.hash.method, c.factor), (Method::Consistent, 150));
    assert!(matches!(d.key(), Key::Expr(_)));
    assert_eq!(
        (d.hash.method, d.hash.function),
        (Method::MapBased, HashFunction::Wt6)
    );
}

#[test]
fn mistakes_are_reported_where_they_stand() {
    let table = [
        ("balance", "2:2 'balance' expects the name of an algorithm"),
        (
            "balance lastconn",
            "2:10 unknown keyword 'lastconn' after 'balance'; did you mean 'leastconn' maybe ?",
        ),
        (
            "balance randm(3)",
            "2:10 unknown keyword 'randm' after 'balance'; did you mean 'random' maybe ?",
        ),
        (
            "balance zzzz",
            "2:10 unknown keyword 'zzzz' after 'balance'",
        ),
        (
            "balance rdp-cookie(x)",
            "2:10 'rdp-cookie' after 'balance' is about HAProxy's own machinery",
        ),
        (
            "balance uri",
            "2:10 'uri' after 'balance' only makes sense for HTTP",
        ),
        (
            "balance url_param x",
            "2:10 'url_param' after 'balance' only makes sense for HTTP",
        ),
        (
            "balance hdr(x)",
            "2:10 'hdr' after 'balance' only makes sense for HTTP",
        ),
        (
            "balance leastconn 3",
            "2:20 'balance' cannot handle unexpected argument '3'.",
        ),
        (
            "balance source(3)",
            "2:10 'balance source' takes no argument in brackets (got 'source(3)').",
        ),
        (
            "balance hash(src)",
            "2:10 'balance hash' takes no argument in brackets (got 'hash(src)').",
        ),
        (
            "balance random 3",
            "2:17 'balance random' takes its number of draws in brackets: 'random(3)'.",
        ),
        (
            "balance random(0)",
            "2:10 'balance random' expects a number of draws of at least 1 (got '0').",
        ),
        (
            "balance random(-1)",
            "2:10 'balance random' expects a number of draws of at least 1 (got '-1').",
        ),
        (
            "balance random(x)",
            "2:10 'balance random' expects a number of draws of at least 1 (got 'x').",
        ),
        (
            "balance random(3",
            "2:10 'balance random' : missing closing bracket in 'random(3'.",
        ),
        (
            "balance hash",
            "2:10 'balance hash' requires a sample expression.",
        ),
        (
            "balance hash \"\"",
            "2:10 'balance hash' requires a sample expression.",
        ),
        (
            "balance hash src ipmask(24)",
            "2:19 'balance hash' takes no other argument (got 'ipmask(24)')",
        ),
        ("balance hash scr", "2:15 unknown fetch method 'scr'"),
        (
            "balance hash src,ipmsk(24)",
            "2:15 unknown converter 'ipmsk'",
        ),
        (
            "balance hash srv_id",
            "2:15 'srv_id' looks at something that is not there yet where 'balance hash' chooses a server.",
        ),
        (
            "balance hash res.len",
            "2:15 'res.len' looks at something that is not there yet",
        ),
        (
            "hash-type",
            "2:2 'hash-type' expects 'consistent' or 'map-based'.",
        ),
        (
            "hash-type consistant",
            "2:12 'hash-type' only supports 'consistent' and 'map-based' (got 'consistant'); did you mean 'consistent' maybe ?",
        ),
        (
            "hash-type avalanche",
            "2:12 'hash-type avalanche' is not supported anymore",
        ),
        (
            "hash-type map-based sdmb",
            "2:22 'hash-type' only supports 'sdbm', 'djb2', 'crc32', or 'wt6' hash functions (got 'sdmb'); did you mean 'sdbm' maybe ?",
        ),
        (
            "hash-type consistent wt6 avalance",
            "2:27 'hash-type' only supports 'avalanche' as a modifier for hash functions (got 'avalance'); did you mean 'avalanche' maybe ?",
        ),
        (
            "hash-type consistent wt6 avalanche x",
            "2:37 'hash-type' cannot handle unexpected argument 'x'.",
        ),
        (
            "hash-balance-factor",
            "2:2 'hash-balance-factor' expects an integer argument.",
        ),
        (
            "hash-balance-factor many",
            "2:22 'hash-balance-factor' expects an integer between 0 and 2147483647 (got 'many')",
        ),
        (
            "hash-balance-factor 100",
            "2:22 'hash-balance-factor' must be 0 or greater than 100 (got '100').",
        ),
        (
            "hash-balance-factor 150 x",
            "2:26 'hash-balance-factor' cannot handle unexpected argument 'x'.",
        ),
        (
            "hash-balance-facto 150",
            "2:2 unknown keyword 'hash-balance-facto' in 'backend' section; did you mean 'hash-balance-factor' maybe ?",
        ),
        (
            "hash-tpye consistent",
            "2:2 unknown keyword 'hash-tpye' in 'backend' section; did you mean 'hash-type' maybe ?",
        ),
    ];
    for (line, expected) in table {
        let found = faults(line);
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert!(
            found[0].starts_with(expected),
            "{line}\n{}\n{expected}",
            found[0]
        );
    }
}
