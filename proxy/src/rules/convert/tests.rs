use crate::rules::sample::{Sample, Value};
use crate::rules::testing::World;

/// Expressions and what HAProxy 2.6 gave for them; `None`: nothing.
const ANSWERS: &[(&str, Option<&str>)] = &[
    ("bool(true),length", Some("1")),
    ("int(5),hex", Some("0000000000000005")),
    ("int(12345),length", Some("5")),
    ("int(1),ipmask(24)", Some("0.0.0.0")),
    ("ipv6(::ffff:1.2.3.4),ipmask(24)", Some("1.2.3.0")),
    ("ipv6(2002:0102:0304::),ipmask(24)", None),
    ("ipv6(::1.2.3.4),ipmask(24)", None),
    ("ipv6(2001:db8::1),ipmask(24,32)", Some("2001:db8::")),
    ("ipv6(2001:db8::1),ipmask(24)", None),
    ("str(1.2.3.4),ipmask(255.255.0.0)", Some("1.2.0.0")),
    ("str(12abc),add(1)", Some("13")),
    ("str(abc),add(1)", Some("1")),
    ("str(-12),add(1)", Some("-11")),
    ("str(+12),add(1)", Some("13")),
    ("str(),add(1)", None),
    ("str(),length", Some("0")),
    ("bin(00ff41),length", Some("0")),
    ("bin(00ff41),lower", Some("")),
    ("str(zz),base64,b64dec", Some("zz")),
    ("str(a),crc32", Some("3904355907")),
    ("str(123456789),crc32", Some("3421780262")),
    ("str(123456789),crc32(1)", Some("1130417534")),
    ("str(123456789),crc32c", Some("3808858755")),
    ("str(123456789),crc32c(1)", Some("1236241323")),
    ("str(123456789),djb2", Some("902675330")),
    ("str(123456789),djb2(1)", Some("2717138294")),
    ("str(123456789),sdbm", Some("1755344949")),
    ("str(123456789),sdbm(1)", Some("3400502718")),
    ("str(123456789),wt6", Some("2225171485")),
    ("str(123456789),wt6(1)", Some("4053691039")),
    ("bin(f0e1d2c3b4a59687ffee),wt6", Some("1452870110")),
    ("bin(f0e1d2c3b4a59687ffee),djb2", Some("2171675886")),
    ("bin(f0e1d2c3b4a59687ffee),sdbm", Some("2536697203")),
    ("str(123456789),xxh32", Some("2474356071")),
    ("str(123456789),xxh32(5)", Some("1115374551")),
    ("str(123456789),xxh64", Some("-8306817102742376829")),
    ("str(123456789),xxh64(5)", Some("-5027740688034843839")),
    ("str(123456789),xxh3", Some("8276685427497336319")),
    ("str(123456789),xxh3(5)", Some("-1311596666391250624")),
    ("str(),crc32", Some("0")),
    (
        "str(abcdef),sha1,hex",
        Some("1F8AC10F23C5B5BC1167BDA84B833E5C057A77D2"),
    ),
    (
        "str(abcdef),sha2,hex",
        Some("BEF57EC7F53A6D40BEB640A780A639C83BC29AC8A9816F1FC6C5C6DCD93C4721"),
    ),
    (
        "str(abcdef),sha2(512),hex",
        Some(
            "E32EF19623E8ED9D267F657A81944B3D07ADBB768518068E88435745564E8D4150A0A703BE2A7D88B61E3D390C2BB97E2D4C311FDC69D6B1267F05F59AA920E7",
        ),
    ),
    (
        "str(abcdef),digest(sha256),hex",
        Some("BEF57EC7F53A6D40BEB640A780A639C83BC29AC8A9816F1FC6C5C6DCD93C4721"),
    ),
    (
        "int(9223372036854775807),add(1)",
        Some("9223372036854775807"),
    ),
    (
        "int(-9223372036854775808),sub(1)",
        Some("-9223372036854775808"),
    ),
    ("int(-9223372036854775808),neg", Some("9223372036854775807")),
    (
        "int(-9223372036854775808),div(-1)",
        Some("9223372036854775807"),
    ),
    ("int(-9223372036854775808),mod(-1)", Some("0")),
    (
        "int(9223372036854775807),mul(-2)",
        Some("-9223372036854775808"),
    ),
    (
        "int(-9223372036854775808),mul(-1)",
        Some("9223372036854775807"),
    ),
    ("int(5),div(0)", Some("9223372036854775807")),
    ("int(-5),div(0)", Some("9223372036854775807")),
    ("int(5),mod(0)", Some("0")),
    ("int(-7),mod(3)", Some("-1")),
    ("int(-7),div(2)", Some("-3")),
    ("int(5),add(txn.n)", Some("12")),
    ("int(5),add(txn.none)", None),
    ("int(5),cpl", Some("-6")),
    ("int(5),and(4)", Some("4")),
    ("int(5),odd", Some("1")),
    ("int(5),even", Some("0")),
    ("int(0),not", Some("1")),
    ("int(0),bool", Some("0")),
    ("int(3),not", Some("0")),
    ("int(5),neg", Some("-5")),
    ("int(5),xor(txn.n)", Some("2")),
    ("bin(41ff00),length", Some("2")),
    ("bin(41424344),lower", Some("abcd")),
    ("bin(41424344),field(1,B)", Some("A")),
    ("bin(41),bytes(0,1),hex", Some("41")),
    ("bin(41424344),bytes(1,2),hex", Some("4243")),
    ("bin(41424344),bytes(1),hex", Some("424344")),
    ("bin(41424344),bytes(9),hex", Some("")),
    ("bin(41424344),bytes(4),length", Some("0")),
    ("bin(41424344),bytes(2,9),hex", Some("4344")),
    ("bin(41424344),bytes(-2),hex", Some("")),
    ("str(abc),hex", Some("616263")),
    ("str(ff),hex2i", Some("255")),
    ("str(fg),hex2i", None),
    ("str(),hex2i", Some("0")),
    ("str(-f),hex2i", None),
    ("str(ffffffffffffffff),hex2i", Some("-1")),
    ("str(f1_f2_f3__f5),field(5,_)", Some("f5")),
    ("str(f1_f2_f3__f5),field(4,_)", Some("")),
    ("str(f1_f2_f3__f5),field(9,_)", None),
    ("str(f1_f2_f3__f5),field(2,_,0)", Some("f2_f3__f5")),
    ("str(f1_f2_f3__f5),field(-2,_,3)", Some("f2_f3_")),
    ("str(f1_f2_f3__f5),field(-3,_,0)", Some("f1_f2_f3")),
    ("str(f1_f2_f3__f5),field(4,_,9)", Some("_f5")),
    ("str(f1_f2_f3__f5),field(-1,_,9)", Some("f1_f2_f3__f5")),
    ("str(f1_f2_f3__f5),word(4,_)", Some("f5")),
    ("str(f1_f2_f3__f5),word(3,_,2)", Some("f3__f5")),
    ("str(f1_f2_f3__f5),word(-2,_,3)", Some("f1_f2_f3")),
    ("str(f1_f2_f3__f5),word(-3,_,0)", Some("f1_f2")),
    ("str(f1_f2_f3__f5),word(5,_)", Some("")),
    ("str(f1_f2_f3__f5),word(-1,_,9)", Some("f1_f2_f3__f5")),
    ("str(/f1/f2/f3/f4/),word(2,/,0)", Some("f2/f3/f4/")),
    ("str(/f1/f2/f3/f4/),word(-2,/,0)", Some("/f1/f2/f3")),
    ("str(/f1/f2/f3/f4/),word(2,/,9)", Some("f2/f3/f4/")),
    (r#"str(a\nb),length"#, Some("3")),
    (r#"str("a\\b")"#, Some(r#"a\b"#)),
    (r#"str("a\qb")"#, Some(r#"a\qb"#)),
    (r#"str(a"b c"d)"#, Some("ab cd")),
    ("str(xxaxx),ltrim(x)", Some("axx")),
    ("str(xxaxx),rtrim(xa)", Some("")),
    ("str(abc),concat(1,txn.t,2)", Some("abc1tee2")),
    ("str(abc),concat(1)", Some("abc1")),
    ("str(abc),concat(,txn.n)", Some("abc7")),
    ("str(abc),concat(,txn.none,z)", Some("abcz")),
    ("str(abc),concat(,,z)", Some("abcz")),
    ("str(abc),concat()", Some("abc")),
    ("str(tea),strcmp(txn.t)", Some("-4")),
    ("str(tee),strcmp(txn.t)", Some("0")),
    ("str(teee),strcmp(txn.t)", Some("1")),
    ("str(te),strcmp(txn.t)", Some("-1")),
    ("str(te),strcmp(txn.none)", None),
    ("int(7),strcmp(txn.n)", Some("0")),
    ("bool(1),iif(a,b)", Some("a")),
    ("int(0),iif(a,b)", Some("b")),
    ("str(x),iif(a,b)", Some("b")),
    ("str(3),iif(a,b)", Some("a")),
    ("str(foobar),regsub(o,0)", Some("f0obar")),
    ("str(foobar),regsub(o,0,g)", Some("f00bar")),
    ("str(fOobar),regsub(o,0,gi)", Some("f00bar")),
    (r#"str(foobar),regsub("x*","-",g)"#, Some("-f-o-o-b-a-r-")),
    ("bin(01020304050607),be2hex", Some("01020304050607")),
    ("bin(01020304050607),be2hex(:,2)", Some("0102:0304:0506:07")),
    (
        "bin(01020304050607),be2hex(--,2,1)",
        Some("0102--0304--0506"),
    ),
    ("bin(0102030405060708),be2hex(,3,1)", Some("010203040506")),
    ("int(258),htonl,hex", Some("00000102")),
    ("str(foo),base64", Some("Zm9v")),
    ("str(Zm9v),b64dec", Some("foo")),
    ("str(Zm9),b64dec", None),
    ("str(Zg==),b64dec", Some("f")),
    ("str(foo),set-var(txn.q),concat(-,txn.q)", Some("foo-foo")),
    (r#"str(),add_item(",",txn.t)"#, Some("txn.t")),
    ("bool(false)", Some("0")),
    ("int(-5)", Some("-5")),
    ("ipv4(1.2.3.4),add(1)", Some("16909061")),
    ("int(4),even", Some("1")),
    ("str(aa),secure_memcmp(txn.t)", Some("0")),
    ("str(tee),secure_memcmp(txn.t)", Some("1")),
    ("str(a),ipmask(24)", None),
    ("always_true()", Some("1")),
    (r#"str(ab\tc),length"#, Some("4")),
    ("int(1),lower,length", Some("1")),
    ("str(1.2.3.4),ipmask(24),length", Some("7")),
    ("str(a),map(mf)", Some("1")),
    ("str(b),map(mf),concat(|)", Some("two words|")),
    ("str(bb),map(mf),concat(|)", Some("|")),
    ("str(c),map(mf),concat(|)", Some("4|")),
    ("str(bbb),map_beg(mf),concat(|)", Some("|")),
    ("str(zz),map(mf,def)", Some("def")),
    ("str(zz),map(mf)", None),
    ("str(a),map_reg(mf)", Some("1")),
    ("str(ac),map_sub(mf)", Some("1")),
    ("ipv6(::ffff:1.2.3.4),ipmask(24,64)", Some("1.2.3.0")),
    ("ipv6(1::ffff),ipmask(24,ffff::)", Some("1::")),
    (r#"str(foo),regsub("o","a\\\\b")"#, Some("fabo")),
    ("str(foo),regsub(o,,g)", Some("f")),
    (
        r#"'str(foobar),regsub("(o+)(b)","<\1\2\0>")'"#,
        Some("f<ooboob>ar"),
    ),
    (r#"'str(foobar),regsub("^","-",g)'"#, Some("-foobar")),
    (r#"'str(foobar),regsub("o*","-",g)'"#, Some("-f--b-a-r-")),
    ("str(teeee),strcmp(txn.t)", Some("1")),
    ("str(x),add_item(-,txn.t,s)", Some("x-tees")),
    ("str(),add_item(-,txn.t,s)", Some("tees")),
    ("'str(),add_item(-,txn.none,)'", Some("")),
    ("'str(q),add_item(-,,z)'", Some("q-z")),
    ("'str(q),add_item(-,txn.none,z)'", Some("q-z")),
    ("str(abc),ltrim()", Some("abc")),
    ("'str(Zg=),b64dec'", None),
    ("'str(Zh==),b64dec'", Some("f")),
    ("bool(true),not", Some("0")),
    ("bool(true),add(1)", Some("2")),
    ("ipv4(1.2.3.4),odd", Some("0")),
    ("int(1),concat(a)", Some("1a")),
    ("str(abc),bytes(1),length", Some("2")),
    ("int(5),bytes(7),hex", Some("05")),
    ("str(a_b),field(9,_)", None),
    ("str(a_b),word(-9,_)", Some("")),
    ("str(__),word(1,_)", Some("")),
    ("str(abc),bytes(-2,1)", Some("")),
    ("bin(41424344),bytes(0,0)", Some("")),
    ("str(),hex", Some("")),
    ("str(),xxh64", Some("-1205034819632174695")),
    ("str(abc),regsub(b,)", Some("ac")),
    (r#"'str(a  b c),word(2," ")'"#, Some("b")),
    (r#"'str(a b  c d),word(2," ",2)'"#, Some("b  c")),
    ("str(..a..b..),word(1,.,0)", Some("a..b..")),
    ("str(..a..b..),word(-1,.,0)", Some("..a..b")),
    ("str(..a..b..),field(-1,.,0)", Some("..a..b..")),
    ("str(..a..b..),field(3,.)", Some("a")),
    ("str(..a..b..),field(-3,.,2)", Some(".b")),
    ("'str(aXbxc),regsub(x,-,gi)'", Some("a-b-c")),
    (r#"'str(aaa),regsub("a","b\0",g)'"#, Some("bababa")),
    ("str(),word(1,x)", Some("")),
    ("str(),field(1,x)", Some("")),
    ("str(x),field(1,x)", Some("")),
    ("str(x),field(2,x)", Some("")),
    ("str(x),field(-1,x)", Some("")),
    ("str(ab),rtrim(b),ltrim(a)", Some("")),
    ("str(0),bool", Some("0")),
    ("str(-1),not", Some("0")),
    ("int(-5),odd", Some("1")),
    ("int(-5),xor(3)", Some("-8")),
    ("int(6),or(9)", Some("15")),
    (
        "int(-9223372036854775807),sub(5)",
        Some("-9223372036854775808"),
    ),
    (
        "int(1),sub(-9223372036854775808)",
        Some("9223372036854775807"),
    ),
    ("str(%C3),upper", Some("%C3")),
    ("str(1),and(txn.t)", Some("0")),
    ("int(4294967297),htonl,hex", Some("00000001")),
    ("str(YQ),b64dec", None),
    ("str(YWI=),b64dec", Some("ab")),
    ("str(ab),map(mf,dd),upper", Some("DD")),
    ("str(a),iif(x,y),upper", Some("Y")),
    (
        "int(3),sha1,hex",
        Some("461D6580E38CCB6DC72699B6C945E53831DCDF03"),
    ),
    ("str(é),length", Some("2")),
];

fn world() -> World {
    World::new()
        .with_file("mf", b"a 1\nb  two words  \nbb\n# c 3\nc\t4 \n")
        .with_file("mi", b"7 6\n5:9 77\n")
        .with_file(
            "mn",
            b"10.0.0.0/8 ten\n10.1.0.0/16 1.2.3.4\n2001:db8::/32 ::1\n",
        )
        .with_file("ma", b"10.0.0.0/8 1.2.3.4\n")
        .with_file("mo", b"b 1\nab 2\nx 3\nabc 4\n")
}

#[test]
fn results_are_those_of_haproxy() {
    for (text, expected) in ANSWERS {
        // Each in a world of its own, as some of them set variables.
        let answer = world().show(text);
        assert_eq!(
            answer.as_ref().map(Option::as_deref),
            Ok(*expected),
            "{text}"
        );
    }
}

#[test]
fn maps_prefer_as_their_method_does() {
    for (text, expected) in [
        ("str(abcd),map_beg(mo)", Some("4")),
        ("str(abx),map_beg(mo)", Some("2")),
        ("str(xab),map_end(mo)", Some("1")),
        ("str(xabx),map_sub(mo)", Some("1")),
        ("str(cax),map_sub(mo)", Some("3")),
        ("str(abc),map_reg(mo)", Some("1")),
        ("str(x.abc),map_dom(mo)", Some("3")),
        ("str(/abc/q),map_dir(mo)", Some("4")),
        ("int(7),map_int(mi)", Some("6")),
        ("int(8),map_int_int(mi),add(1)", Some("78")),
        ("int(4),map_int_int(mi,-1)", Some("-1")),
        ("ipv4(10.2.3.4),map_ip(mn)", Some("ten")),
        ("ipv4(10.1.3.4),map_ip(mn)", Some("1.2.3.4")),
        ("ipv6(2001:db8::5),map_ip(mn)", Some("::1")),
        ("ipv4(11.1.3.4),map_ip(mn,none)", Some("none")),
        ("ipv4(10.1.3.4),map_ip_ip(ma),ipmask(16)", Some("1.2.0.0")),
    ] {
        let answer = world().show(text);
        assert_eq!(
            answer.as_ref().map(Option::as_deref),
            Ok(expected),
            "{text}"
        );
    }
}

#[test]
fn maps_name_the_line_that_is_wrong() {
    for (text, expected) in [
        (
            "str(a),map_str_int(mf)",
            "invalid arg 1 in 'map_str_int': 'mf' line 2: 'two words' is not an integer.",
        ),
        (
            "src,map_ip(mf)",
            "invalid arg 1 in 'map_ip': 'mf' line 1: 'a' is not a valid IPv4 or IPv6 address \
             (host names are not looked up here).",
        ),
        (
            "int(1),map_int_int(mi,zz)",
            "invalid arg 2 in 'map_int_int': 'zz' is not an integer.",
        ),
    ] {
        assert_eq!(world().show(text).unwrap_err(), expected, "{text}");
    }
}

#[test]
fn variables_are_set_and_forgotten() {
    let world = world();
    let id = |name| world.names().vars.id(name).unwrap();
    assert_eq!(
        world.look("int(5),set-var(txn.a)"),
        Sample::Is(Value::Int(5))
    );
    assert_eq!(world.vars.borrow().get(id("txn.a")), Some(Value::Int(5)));
    // The type is kept, also that of another variable.
    world.look("var(txn.a),set-var(txn.b)");
    assert_eq!(world.vars.borrow().get(id("txn.b")), Some(Value::Int(5)));
    world.look("int(9),set-var(txn.a,ifnotset)");
    world.look("int(9),set-var(txn.a,ifgt)");
    world.look("str(x),set-var(txn.c,ifset)");
    world.look("str(),set-var(txn.c,ifnotempty)");
    assert_eq!(world.vars.borrow().get(id("txn.a")), Some(Value::Int(5)));
    assert_eq!(world.vars.borrow().get(id("txn.c")), None);
    world.look("int(9),set-var(txn.a,iflt,ifset)");
    assert_eq!(world.vars.borrow().get(id("txn.a")), Some(Value::Int(9)));
    world.look("src,unset-var(txn.a)");
    assert_eq!(world.vars.borrow().get(id("txn.a")), None);
}
