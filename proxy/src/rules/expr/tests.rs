use super::*;
use crate::rules::sample::Value;
use crate::rules::testing::{World, words};

#[test]
fn arguments_have_quotes_and_escapes_of_their_own() {
    let cut = |text: &str| -> Result<Vec<(String, Vec<String>)>, String> {
        let word = Word {
            text: text.to_owned(),
            position: words("x")[0].position.clone(),
        };
        split(&word)
            .map(|calls| {
                calls
                    .into_iter()
                    .map(|call| (call.name, call.arguments))
                    .collect()
            })
            .map_err(|fault| fault.message)
    };
    let one = |text: &str| cut(&format!("f({text})")).unwrap().remove(0).1;
    assert_eq!(one(""), Vec::<String>::new());
    assert_eq!(one("a"), ["a"]);
    assert_eq!(one(","), ["", ""]);
    assert_eq!(one("a,b"), ["a", "b"]);
    assert_eq!(one("'a,b',c"), ["a,b", "c"]);
    assert_eq!(one(r#""a)b""#), ["a)b"]);
    assert_eq!(one(r#""""#), [""]);
    assert_eq!(one(r#"'a"b'"#), ["a\"b"]);
    assert_eq!(one(r#""a'b""#), ["a'b"]);
    assert_eq!(one(r"\n\t\r\\\'\x41\$"), ["\n\t\r\\'\\x41\\$"]);
    assert_eq!(one(r"'\n'"), ["\\n"]);
    assert_eq!(one(r#""\n""#), ["\n"]);
    assert_eq!(
        cut("a(1),b,c-d.e_f()").unwrap(),
        [
            ("a".to_owned(), vec!["1".to_owned()]),
            ("b".to_owned(), vec![]),
            ("c-d.e_f".to_owned(), vec![]),
        ]
    );
    assert_eq!(cut("a,").unwrap().len(), 1);
    for (text, expected) in [
        ("a(", "'a': expected ')'."),
        ("a('b)", "'a': expected ')'."),
        ("a)", "missing comma after 'a', before ')'."),
        ("a(1)b", "missing comma after 'a', before 'b'."),
        ("(1)", "missing fetch method before '(1)'."),
        ("a,,b", "missing converter before ',b'."),
    ] {
        assert_eq!(cut(text).unwrap_err(), expected, "{text}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let world = World::new();
    for (text, expected) in [
        (
            "srcx",
            "unknown fetch method 'srcx'; did you mean 'src' maybe ?",
        ),
        (
            "src_por",
            "unknown fetch method 'src_por'; did you mean 'src_port' maybe ?",
        ),
        ("quite_unknown", "unknown fetch method 'quite_unknown'"),
        (
            "src,lowwer",
            "unknown converter 'lowwer'; did you mean 'lower' maybe ?",
        ),
        (
            "req.hdr(host)",
            "fetch method 'req.hdr' only makes sense for HTTP; this is a TCP proxy.",
        ),
        (
            "path_beg",
            "fetch method 'path_beg' only makes sense for HTTP; this is a TCP proxy.",
        ),
        (
            "sc0_http_req_rate",
            "fetch method 'sc0_http_req_rate' only makes sense for HTTP; this is a TCP proxy.",
        ),
        (
            "avg_queue",
            "fetch method 'avg_queue' is known to HAProxy but not available in this version.",
        ),
        (
            "str(a),url_dec",
            "converter 'url_dec' only makes sense for HTTP; this is a TCP proxy.",
        ),
        (
            "str(a),json",
            "converter 'json' is known to HAProxy but not available in this version.",
        ),
        (
            "ipv6(::1),add(1)",
            "converter 'add' cannot be applied to an IPv6 address.",
        ),
        (
            "bin(00),neg",
            "converter 'neg' cannot be applied to binary data.",
        ),
        (
            "always_true(1)",
            "'always_true' expects no argument, got 1.",
        ),
        ("str(a,b)", "'str' expects one argument, got 2."),
        ("src,ipmask()", "'ipmask' expects 1 to 2 arguments, got 0."),
        (
            "src,ipmask(40)",
            "invalid arg 1 in 'ipmask': '40' is not an IPv4 mask.",
        ),
        (
            "src,field(a,b)",
            "invalid arg 1 in 'field': 'a' is not an integer.",
        ),
        (
            "int(0x10)",
            "invalid arg 1 in 'int': '0x10' is not an integer.",
        ),
        (
            "bool(yes)",
            "invalid arg 1 in 'bool': 'yes' is not one of 'true', 'false', '0', '1'.",
        ),
        (
            "fc_rtt(s)",
            "invalid arg 1 in 'fc_rtt': 's' is neither 'us' nor 'ms'.",
        ),
        (
            "be_conn(ebe2)",
            "unable to find backend 'ebe2' referenced in arg 1 of 'be_conn'; did you mean 'be2' \
             maybe ?.",
        ),
        (
            "srv_is_up(be/x9)",
            "unable to find server 'x9' referenced in arg 1 of 'srv_is_up'.",
        ),
        (
            "srv_conn(s1)",
            "unable to find proxy 'fe' referenced in arg 1 of 'srv_conn'; did you mean 'be' maybe ?.",
        ),
        (
            "str(a),regsub((,b)",
            "invalid arg 1 in 'regsub': '(' regex '(' is invalid (unclosed group).",
        ),
        (
            "str(a),regsub(a,b,z)",
            "invalid arg 3 in 'regsub': 'z' has the flag 'z'; there are only 'i' and 'g'.",
        ),
        (
            "str(a),map(nowhere)",
            "invalid arg 1 in 'map': 'nowhere' cannot be read: no such file.",
        ),
        (
            "str(a),sha2(100)",
            "invalid arg 1 in 'sha2': '100' is not one of 224, 256, 384, 512.",
        ),
    ] {
        assert_eq!(world.show(text).unwrap_err(), expected, "{text}");
    }
    for text in [
        "var(x.y)",
        "var(txn.)",
        "var(txn)",
        "int(1),add(txn.a-b)",
        "str(a),set-var(a)",
    ] {
        let message = world.show(text).unwrap_err();
        assert!(message.contains("is not a variable"), "{text}: {message}");
    }
}

#[test]
fn fetches_look_at_the_scene() {
    let world = World::new();
    let table = [
        ("src", Some("192.0.2.7")),
        ("dst", Some("198.51.100.1")),
        ("src_port", Some("40000")),
        ("dst_port", Some("443")),
        ("so_id", Some("3")),
        ("so_name", Some("door")),
        ("fc_rcvd_proxy", Some("0")),
        ("fc_pp_authority", None),
        ("fc_pp_unique_id", None),
        ("fc_pp_tlv(0xe0)", None),
        ("fc_rtt", Some("12")),
        ("fc_rtt(us)", Some("12345")),
        ("fc_rttvar(ms)", Some("6")),
        ("fe_name", Some("fe")),
        ("fe_id", Some("1")),
        ("be_name", Some("fe")),
        ("srv_name", None),
        ("srv_id", None),
        ("fe_conn", Some("100")),
        ("fe_conn(fe2)", Some("101")),
        ("fe_sess_rate(fe2)", Some("201")),
        ("be_conn(be)", Some("300")),
        ("be_sess_rate(be2)", Some("401")),
        ("queue(be2)", Some("501")),
        ("nbsrv(be2)", Some("601")),
        ("be_conn_free(be)", Some("-1")),
        ("be_conn_free(be2)", Some("700")),
        ("connslots(be)", Some("-1")),
        ("connslots(be2)", Some("800")),
        ("srv_conn(be2/s2)", Some("911")),
        ("srv_is_up(be/s1)", Some("0")),
        ("srv_is_up(be/s2)", Some("1")),
        ("always_true", Some("1")),
        ("always_false()", Some("0")),
        ("var(txn.t)", Some("tee")),
        ("var(txn.n)", Some("7")),
        ("var(txn.none)", None),
        ("var(txn.none,hey)", Some("hey")),
        ("bool(false)", Some("0")),
        ("ipv6(::1)", Some("::1")),
        ("rand(1)", Some("0")),
        ("env(THERE_IS_NO_SUCH_VARIABLE)", None),
        ("env(CARGO_PKG_NAME)", Some("underpass")),
    ];
    for (text, expected) in table {
        assert_eq!(
            world.show(text).as_ref().map(Option::as_deref),
            Ok(expected),
            "{text}"
        );
    }
    let date = |text| match world.look(text) {
        Sample::Is(Value::Int(number)) => number,
        other => panic!("{other:?}"),
    };
    let seconds = date("date");
    assert!(seconds > 1_700_000_000);
    assert!(date("date(-3600)") <= date("date") - 3600);
    assert!(date("date(0,ms)") / 1000 >= seconds);
    assert!(date("date(0,us)") / 1_000_000 >= seconds);
}

#[test]
fn chance_stays_in_its_range_and_differs_from_use_to_use() {
    let world = World::new();
    let line = words("rand(10) rand(10)");
    let draws = |word: &Word| -> Vec<i64> {
        let expr = Expr::compile(word, &world.names()).unwrap();
        (0..200)
            .map(|random| {
                let scene = Scene {
                    random,
                    ..world.scene()
                };
                match expr.evaluate(&scene) {
                    Sample::Is(Value::Int(number)) => number,
                    other => panic!("{other:?}"),
                }
            })
            .collect()
    };
    let (first, second) = (draws(&line[0]), draws(&line[1]));
    for number in 0..10 {
        assert!(first.contains(&number), "{number} never comes");
    }
    assert!(first.iter().all(|number| (0..10).contains(number)));
    assert_ne!(first, second);
}

#[test]
fn waiting_ends_with_the_last_look() {
    let world = World::new();
    let expr = world.expr("wait_end").unwrap();
    let mut scene = world.scene();
    assert_eq!(expr.evaluate(&scene), Sample::Is(Value::Bool(true)));
    scene.last_look = false;
    assert_eq!(expr.evaluate(&scene), Sample::NotYet);
}

#[test]
fn addresses_that_are_not_there_are_absent() {
    let world = World::new();
    let scene = Scene {
        source: None,
        client_tcp: None,
        ..world.scene()
    };
    for text in ["src", "src_port", "src_is_local", "fc_rtt", "src,ipmask(8)"] {
        let expr = world.expr(text).unwrap();
        assert_eq!(expr.evaluate(&scene), Sample::Absent, "{text}");
    }
}

#[test]
fn own_addresses_are_local() {
    let world = World::new();
    let expr = world.expr("src_is_local").unwrap();
    let at = |source: &str| {
        let scene = Scene {
            source: Some(source.parse().unwrap()),
            ..world.scene()
        };
        expr.evaluate(&scene)
    };
    assert_eq!(at("127.0.0.9:1"), Sample::Is(Value::Bool(true)));
    assert_eq!(at("[::1]:1"), Sample::Is(Value::Bool(true)));
    // A documentation network.
    assert_eq!(at("192.0.2.7:1"), Sample::Is(Value::Bool(false)));
}
