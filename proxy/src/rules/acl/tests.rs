use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::rules::testing::{World, payload};

fn holds(world: &World, acls: &Acls, text: &str) -> Truth {
    world
        .condition(acls, text)
        .unwrap_or_else(|why| panic!("{text}: {why}"))
        .holds(&world.scene())
}

/// Conditions and what HAProxy 2.6 said to them.
const ANSWERS: &[(&str, bool)] = &[
    ("{ int(-5) -- -5 }", true),
    ("{ int(-9) -- -5 }", true),
    ("{ int(5) -- -5 }", true),
    ("{ int(5) -m int -- 3-7 }", true),
    ("{ int(5) 3-7 }", true),
    ("{ int(5) 3:7 }", true),
    ("{ int(5) :5 }", true),
    ("{ int(5) 6: }", false),
    ("{ int(5) gt 4 }", true),
    ("{ int(5) eq 4:9 }", true),
    ("{ int(5) eq 3 gt 4 }", true),
    ("{ int(5) gt 9 4 }", true),
    ("{ int(-5) lt 0 }", true),
    ("{ int(-5) lt -2 }", true),
    ("{ int(-5) eq -5 }", true),
    ("{ int(-5) -m str -- -5 }", true),
    ("{ int(5) eq }", false),
    ("{ int(5) }", false),
    ("{ str(a) }", false),
    ("{ str(a) -- }", false),
    ("{ bool(1) 0 }", true),
    ("{ bool(1) -m int 1 }", true),
    ("{ int(2) -m bool }", true),
    ("{ str(2) -m bool }", true),
    ("{ src -m int 2130706433 }", true),
    ("{ src -m bool }", true),
    ("{ src -m str 127.0.0.1 }", true),
    ("{ src -m len 9 }", true),
    ("{ src -m bin 7f000001 }", true),
    ("{ str(abc) -m bin 616263 }", true),
    ("{ bin(616263) -m str abc }", true),
    ("{ bin(616200) -m str ab }", true),
    ("{ bin(616200) -m len 3 }", false),
    ("{ bin(616200) -m len 2 }", true),
    ("{ str(1.2.3.4) -m ip 1.2.0.0/16 }", true),
    ("{ str(abc) -m found }", true),
    ("{ str(abc) -m found x }", true),
    ("{ str(abc) -m str -i ABC }", true),
    ("{ str(abc) -i ABC }", true),
    ("{ str(abc) ABC -i }", false),
    ("{ str(-i) -- -i }", true),
    ("{ str(abc) -m sub b }", true),
    ("{ str(abc) -u 5 abc }", true),
    ("{ str(abc) -m dom abc }", true),
    ("{ str(a.abc.b) -m dom .abc. }", true),
    ("{ str(a.abc.b) -m dom abc.b }", true),
    ("{ str(a.abc.b) -m dom bc.b }", false),
    ("{ str(/a/b/c) -m dir b/c }", true),
    ("{ str(/a/b/c?x) -m dir /c }", true),
    ("{ str(/a/b/c?x) -m dir c }", true),
    ("{ str(/a/b/c) -m dir / }", false),
    ("{ str(abc) -m reg ^a.c$ }", true),
    ("{ str(abc) -m reg -i ^A }", true),
    ("{ str(lead) -f pf }", false),
    (r#"{ str("lead ") -f pf }"#, true),
    (r##"{ str("#d") -f pf }"##, true),
    ("{ str(/x) -f pf }", true),
    ("{ str(zz) -f pf zz }", true),
    ("{ src 127/8 }", false),
    ("{ bool(1) -m bin 0000000000000001 }", true),
    ("{ bool(1) -m bin 31 }", false),
    ("{ bool(1) -m bin 01 }", false),
    ("{ bool(1),hex -m str 0000000000000001 }", true),
    ("{ str(1.2.3.4x) -m ip 1.2.3.4 }", true),
    ("{ str(01.2.3.4) -m ip 1.2.3.4 }", true),
    ("{ str(1.2.3.4::) -m ip 1.2.3.4 }", true),
    ("{ str(1.2.3.4.5) -m ip 1.2.3.4 }", false),
    ("{ src -M -f mp }", true),
    ("{ str(one) -M -f mk }", false),
    ("{ str(k) -f pf -M -f mk }", true),
    ("{ str(K) -M -f mk -i k }", true),
    ("{ str(K) -i -M -f mk }", true),
    ("{ src -M 127.0.0.1 }", true),
    ("{ src 127.1 }", true),
    ("{ src 127.1/8 }", true),
    ("{ src 127.0.0.1/255.0.0.255 }", true),
    ("{ src 127.9.9.1/255.0.0.255 }", true),
    ("{ src ::ffff:127.0.0.0/104 }", true),
    ("{ ipv6(2002:7f00:0001::) 127.0.0.1 }", true),
    ("{ ipv6(::127.0.0.1) 127.0.0.1 }", true),
    ("{ ipv6(::ffff:127.0.0.1) 127.0.0.1 }", true),
    ("{ var(txn.t) -m str tee }", true),
    ("{ var(txn.n) -m int 7 }", true),
    ("{ var(txn.n),add(0) 7 }", true),
    ("{ var(txn.t) -m found }", true),
    ("{ var(txn.n) -m bool }", true),
    ("{ var(txn.zip) -m found }", false),
    ("{ var(txn.zip,hey) -m str hey }", true),
    ("! TRUE", false),
    ("!! TRUE", true),
    ("! ! TRUE", true),
    ("!!FALSE", false),
    ("TRUE FALSE or TRUE", true),
    ("TRUE or", true),
    ("or TRUE", true),
    ("|| TRUE", true),
    ("TRUE || || TRUE", true),
    ("TRUE !", true),
    ("LOCALHOST", true),
    ("{ always_false -m found }", true),
    ("{ int(5),lower 5 }", true),
    ("{ str(abc),length 3 }", true),
    ("{ str(abc) -i -m str ABC }", true),
    ("TRUE FALSE", false),
    ("{ bin(41424344),bytes(9) -m found }", true),
    ("{ bin(41424344),bytes(4) -m found }", true),
    ("{ bin(41424344),bytes(-2) -m found }", true),
    ("{ str(abc),bytes(-2,1) -m found }", true),
    ("{ bin(41424344),bytes(0,0) -m found }", true),
    ("{ str(a_b),field(9,_) -m found }", false),
    ("{ str(a_b),word(9,_) -m found }", true),
    ("{ str(a_b),word(-9,_) -m found }", true),
    ("{ str(__),word(1,_) -m found }", true),
    ("{ str(fg),hex2i -m found }", false),
    ("{ str(Zm9),b64dec -m found }", false),
    ("{ str(teeee),strcmp(txn.t) 2 }", false),
    ("{ str(teeee),strcmp(txn.t) 1 }", true),
    ("{ str(teeee),strcmp(txn.t) -m found }", true),
    ("{ ipv6(::ffff:1.2.3.4),ipmask(24,64) 1.2.3.0 }", true),
    ("{ ipv6(::ffff:1.2.3.4),ipmask(24,64) -m str :: }", false),
    ("{ str(a),set-var(txn.k) -m found }", true),
    ("{ str(secret),secure_memcmp(txn.t) -m found }", true),
    ("{ str(tee),secure_memcmp(txn.t) -m bool }", true),
    ("{ str(xyz) -m beg x -i Y }", true),
    ("{ env(NOPE) -m found }", false),
    ("{ var(txn.n) -m str 7 }", true),
    ("{ var(txn.n) -m found }", true),
    ("{ str(x) -m int 0 }", true),
    ("{ str() -m int 0 }", false),
    ("{ str(a/b) -m dir a/b }", true),
    ("{ int(5) -m found }", true),
    ("{ int(9223372036854775807) gt 9223372036854775806 }", true),
    ("{ date(-3600) gt 0 }", true),
    ("{ date(0,ms) gt 1000000000000 }", true),
    ("{ rand(10) ge 0 }", true),
    ("{ str(a),crc32(2) -m found }", true),
    ("{ always_true }", true),
];

#[test]
fn verdicts_are_those_of_haproxy() {
    let world = World::new()
        .with_file("pf", b"# c\n  #d\n\n \t lead \n/x\r\n")
        .with_file("mp", b"127.0.0.0/8 one\n")
        .with_file("mk", b"# c\nk\tone two\n");
    let acls = Acls::default();
    let scene = Scene {
        source: Some("127.0.0.1:40000".parse().unwrap()),
        ..world.scene()
    };
    for (text, expected) in ANSWERS {
        let condition = world
            .condition(&acls, text)
            .unwrap_or_else(|why| panic!("{text}: {why}"));
        assert_eq!(condition.holds(&scene), Truth::from(*expected), "{text}");
    }
}

#[test]
fn named_acls_add_up() {
    let world = World::new();
    let acls = world
        .acls(&[
            "near src 10.0.0.0/8",
            "near src 192.0.2.0/24",
            "far src 10.0.0.0/8",
            "door so_name -m beg do",
            "TRUE src 10.0.0.0/8",
        ])
        .unwrap();
    for (text, expected) in [
        ("near", true),
        ("far", false),
        ("!far near", true),
        ("far near", false),
        ("far or near", true),
        ("far OR near door", true),
        ("far || door !near", false),
        ("near { src_port 40000 } !{ dst_port 80 }", true),
        // A name of one's own goes before the predefined one.
        ("TRUE", false),
        ("LOCALHOST", false),
    ] {
        assert_eq!(holds(&world, &acls, text), Truth::from(expected), "{text}");
    }
    let scene = Scene {
        source: Some("127.3.2.1:1".parse().unwrap()),
        ..world.scene()
    };
    let localhost = world.condition(&acls, "LOCALHOST").unwrap();
    assert_eq!(localhost.holds(&scene), Truth::True);
}

#[test]
fn what_is_wrong_is_named() {
    let world = World::new();
    let acls = world.acls(&["near src 10.0.0.0/8"]).unwrap();
    for (text, expected) in [
        ("", "'if' expects a condition after it."),
        ("or", "'if' expects a condition after it."),
        ("!", "'if' expects a condition after it."),
        (
            "nears",
            "no such ACL : 'nears'; did you mean 'near' maybe ?.",
        ),
        ("True", "no such ACL : 'True'."),
        ("near }", "no such ACL : '}'."),
        ("{ src 1.2.3.4", "missing closing '}' in condition."),
        ("{ }", "missing fetch method in ACL expression."),
        (
            "METH_GET",
            "acl 'METH_GET' only makes sense for HTTP; this is a TCP proxy.",
        ),
        (
            "RDP_COOKIE",
            "acl 'RDP_COOKIE' is known to HAProxy but not available in this version.",
        ),
        (
            "{ src -n localhost }",
            "'localhost' is not a valid IPv4 or IPv6 address (host names are not looked up here).",
        ),
        (
            "{ src -n 127.1 }",
            "'127.1' is not a valid IPv4 or IPv6 address.",
        ),
        (
            "{ src nobody.example }",
            "'nobody.example' is not a valid IPv4 or IPv6 address, nor is there such a host: no \
             such host.",
        ),
        ("{ src -m }", "'-m' expects an argument."),
        (
            "{ bin(61) 61 }",
            "matching method must be specified first (using '-m') when using a sample fetch of this \
             type ('bin').",
        ),
        (
            "{ var(txn.t) tee }",
            "matching method must be specified first (using '-m') when using a sample fetch of this \
             type ('var').",
        ),
        (
            "{ bin(61) -m int 3 }",
            "matching method 'int' cannot be used with 'bin', which is binary data.",
        ),
        (
            "{ str(a) -m bogus x }",
            "unknown matching method 'bogus' when parsing ACL expression.",
        ),
        (
            "{ str(a) -u x abc }",
            "the argument of -u must be an integer.",
        ),
        (
            "{ str(a) -z }",
            "'-z' is not a valid ACL option. Please use '--' before any pattern beginning with a '-'.",
        ),
        (
            "{ str(a) -f nowhere }",
            "failed to open pattern file <nowhere>: no such file.",
        ),
        (
            "{ int(1) 1 ne 2 }",
            "there is no 'ne': negate the ACL ('!') and use 'eq'.",
        ),
        ("{ int(1) x }", "'x' is not a number."),
        ("{ str(a) \"\" }", "a pattern cannot be empty."),
    ] {
        assert_eq!(
            world.condition(&acls, text).unwrap_err(),
            expected,
            "{text}"
        );
    }
    let world = world
        .with_file("bad", b"1.2.3.4\nx\n")
        .with_file("map", b"1.2.3.4 one\n");
    for (line, expected) in [
        ("", "'acl' expects a name and an expression."),
        ("x", "missing fetch method in ACL expression."),
        (
            "a/b src 1.2.3.4",
            "character '/' is not permitted in acl name 'a/b'.",
        ),
        (
            "or src 1.2.3.4",
            "an acl cannot be named 'or': the word stands for a disjunction in conditions.",
        ),
        (
            "x src -f bad",
            "pattern file <bad>: line 2: 'x' is not a valid IPv4 or IPv6 address, nor is there such \
             a host: no such host.",
        ),
        (
            "x src -n -f bad",
            "pattern file <bad>: line 2: 'x' is not a valid IPv4 or IPv6 address (host names are not \
             looked up here).",
        ),
        (
            "x src -f map -M",
            "pattern file <map>: line 1: '1.2.3.4 one' is not a valid IPv4 or IPv6 address.",
        ),
        (
            "x src -f good -m str",
            "failed to open pattern file <good>: no such file.",
        ),
        (
            "x so_name -f bad -m beg",
            "'-m' must only be specified before patterns and files in parsing ACL expression.",
        ),
        ("x src -f", "'-f' expects an argument."),
    ] {
        assert_eq!(world.acls(&[line]).unwrap_err(), expected, "{line}");
    }
}

#[test]
fn a_fetch_must_have_what_it_looks_at() {
    let world = World::new();
    let acls = world
        .acls(&[
            "named so_name door",
            "named srv_name s1",
            "proxied fc_rcvd_proxy",
        ])
        .unwrap();
    let connection = Needs::CONNECTION;
    let session = connection | Needs::SESSION;
    for (text, available, expected) in [
        (
            "proxied",
            connection,
            "acl 'proxied' uses 'fc_rcvd_proxy', which needs finished handshakes: not available in \
             this place.",
        ),
        (
            "TRUE named",
            session | Needs::STREAM | Needs::REQUEST,
            "acl 'named' uses 'srv_name', which needs a server and its bytes: not available in this \
             place.",
        ),
        (
            "{ be_name x }",
            session,
            "acl '{ }' uses 'be_name', which needs a stream: not available in this place.",
        ),
    ] {
        let refused = world.condition_at(&acls, text, available).unwrap_err();
        assert_eq!(refused, expected);
    }
    let condition = world
        .condition_at(&acls, "proxied { src ::1 }", session)
        .unwrap();
    assert_eq!(condition.needs(), session);
    let everywhere = world.condition_at(&acls, "{ nbsrv(be) gt 0 }", Needs::empty());
    assert!(everywhere.unwrap().needs().is_empty());
}

#[test]
fn what_may_change_is_waited_for() {
    let world = World::new();
    let acls = Acls::default();
    let first = Scene {
        last_look: false,
        request: payload(b"abc"),
        ..world.scene()
    };
    let last = Scene {
        last_look: true,
        ..first
    };
    for (text, now, then) in [
        // As HAProxy: what matches counts at once, what does not match may still come.
        ("{ req.len gt 10 }", Truth::Unknown, Truth::False),
        ("{ req.len gt 2 }", Truth::True, Truth::True),
        ("!{ req.len gt 2 }", Truth::False, Truth::False),
        ("!{ req.len gt 10 }", Truth::Unknown, Truth::True),
        ("WAIT_END", Truth::Unknown, Truth::True),
        ("!WAIT_END", Truth::Unknown, Truth::False),
        ("FALSE WAIT_END", Truth::False, Truth::False),
        ("WAIT_END FALSE", Truth::Unknown, Truth::False),
        ("WAIT_END or TRUE", Truth::True, Truth::True),
        ("WAIT_END FALSE or FALSE", Truth::Unknown, Truth::False),
        ("REQ_CONTENT", Truth::True, Truth::True),
    ] {
        let condition = world.condition(&acls, text).unwrap();
        assert_eq!(condition.holds(&first), now, "{text}, at first");
        assert_eq!(condition.holds(&last), then, "{text}, at last");
    }
}

/// What an ACL says in the generated conditions.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Leaf {
    True,
    False,
    Waits,
}

impl Leaf {
    fn text(self, named: bool) -> &'static str {
        match (self, named) {
            (Self::True, true) => "TRUE",
            (Self::True, false) => "{ always_true }",
            (Self::False, true) => "FALSE",
            (Self::False, false) => "{ src 10.0.0.0/8 }",
            (Self::Waits, true) => "WAIT_END",
            (Self::Waits, false) => "{ wait_end }",
        }
    }
}

/// A term: what it says, how many exclamation marks, whether it is a name.
type Written = (Leaf, usize, bool);

fn conditions() -> impl Strategy<Value = Vec<Vec<Written>>> {
    let leaf = prop_oneof![Just(Leaf::True), Just(Leaf::False), Just(Leaf::Waits)];
    let term = (leaf, 0_usize..4, any::<bool>());
    prop::collection::vec(prop::collection::vec(term, 1..5), 1..5)
}

/// Three-valued logic: 0, 1 (unknown), 2, a conjunction being the least and a disjunction the
/// greatest. A conjunction ends at its first term that does not hold.
fn naive(suites: &[Vec<Written>], last_look: bool) -> Truth {
    let value = |(leaf, marks, _): &Written| {
        let value = match leaf {
            Leaf::True => 2,
            Leaf::False => 0,
            Leaf::Waits => 1 + u8::from(last_look),
        };
        if marks % 2 == 1 { 2 - value } else { value }
    };
    let suite = |terms: &Vec<Written>| {
        let mut result = 2;
        for term in terms {
            result = value(term);
            if result != 2 {
                break;
            }
        }
        result
    };
    match suites.iter().map(suite).max() {
        Some(2) => Truth::True,
        Some(1) => Truth::Unknown,
        _ => Truth::False,
    }
}

proptest! {
    #[test]
    fn conditions_hold_as_written(suites in conditions(), word in any::<bool>()) {
        let text: Vec<String> = suites
            .iter()
            .map(|terms| {
                let terms: Vec<String> = terms
                    .iter()
                    .map(|(leaf, marks, named)| {
                        // Marks may stand before the word or by themselves.
                        let gap = if *marks > 2 { " " } else { "" };
                        format!("{}{gap}{}", "!".repeat(*marks), leaf.text(*named))
                    })
                    .collect();
                terms.join(" ")
            })
            .collect();
        let text = text.join(if word { " or " } else { " || " });
        let world = World::new();
        let condition = world.condition(&Acls::default(), &text).unwrap();
        for last_look in [false, true] {
            let scene = Scene { last_look, ..world.scene() };
            prop_assert_eq!(condition.holds(&scene), naive(&suites, last_look), "{}", text);
        }
    }

    #[test]
    fn source_tests_say_what_the_condition_says(
        suites in prop::collection::vec(
            prop::collection::vec((0_usize..6, any::<bool>()), 1..4),
            1..4,
        ),
        sources in prop::collection::vec(
            prop_oneof![
                Just("10.1.2.3"), Just("10.200.2.3"), Just("11.0.0.1"), Just("127.0.0.1"),
                Just("2001:db8::1"), Just("2001:db9::1"), Just("2002:a01:203::1"), Just("::1"),
            ],
            1..8,
        ),
    ) {
        let tests = [
            "{ src 10.0.0.0/8 }",
            "{ src 10.0.0.0/9 2001:db8::/32 }",
            "both",
            "TRUE",
            "FALSE",
            "LOCALHOST",
        ];
        let text: Vec<String> = suites
            .iter()
            .map(|terms| {
                let terms: Vec<String> = terms
                    .iter()
                    .map(|(test, not)| format!("{}{}", if *not { "!" } else { "" }, tests[*test]))
                    .collect();
                terms.join(" ")
            })
            .collect();
        let text = text.join(" or ");
        let world = World::new();
        let acls = world.acls(&["both src 11.0.0.0/8", "both src 2001:db9::/32"]).unwrap();
        let condition = world.condition(&acls, &text).unwrap();
        let test = condition.as_networks().unwrap();
        for source in sources {
            let source: IpAddr = source.parse().unwrap();
            let scene = Scene {
                source: Some((source, 1).into()),
                ..world.scene()
            };
            let says = test.any.iter().any(|all| {
                all.iter().all(|term| {
                    term.negated != term.networks.iter().any(|net| net.contains(&source))
                })
            });
            prop_assert_eq!(Truth::from(says), condition.holds(&scene), "{} {}", text, source);
        }
    }
}

#[test]
fn other_conditions_are_no_source_tests() {
    let world = World::new();
    let acls = Acls::default();
    for text in [
        "{ src_port 1 }",
        "{ src,ipmask(8) 10.0.0.0 }",
        "{ dst 10.0.0.0/8 }",
        "{ src -m str 10.0.0.1 }",
        "{ src -m found }",
        "{ src 10.0.0.1/255.0.0.255 }",
        "WAIT_END",
        "{ src 10.0.0.0/8 } or { dst_port 1 }",
        "FALSE { dst_port 1 }",
    ] {
        let condition = world.condition(&acls, text).unwrap();
        assert_eq!(condition.as_networks(), None, "{text}");
    }
    let constant = |text| world.condition(&acls, text).unwrap().as_networks().unwrap();
    assert_eq!(constant("TRUE").any, [vec![]]);
    assert_eq!(constant("FALSE").any, Vec::<Vec<_>>::new());
    assert_eq!(constant("{ src 10.0.0.0/8 } or !FALSE").any, [vec![]]);
}
