use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::rules::testing::Hosts;

/// As ACLs are read where no flag but `-i` may be.
fn reading(fold: bool) -> Reading<'static> {
    Reading {
        fold,
        hosts: Some(&Hosts),
    }
}

fn matcher(method: Method, patterns: &[&str], fold: bool) -> Matcher {
    let mut list = List::new(method);
    for pattern in patterns {
        if !list.comparison(pattern) {
            list.add(pattern.as_bytes(), reading(fold)).unwrap();
        }
    }
    list.compile().unwrap()
}

fn matches(method: Method, patterns: &[&str], fold: bool, value: Value<'_>) -> bool {
    matcher(method, patterns, fold).matches(value, &Bump::new())
}

#[test]
fn integers() {
    let table: &[(&[&str], i64, bool)] = &[
        (&["5"], 5, true),
        (&["5"], 6, false),
        (&["1", "5", "9"], 9, true),
        (&["3:7"], 5, true),
        (&["3-7"], 7, true),
        (&["3:7"], 8, false),
        (&[":5"], -9, true),
        (&["-5"], 5, true),
        (&["-5"], 6, false),
        (&["6:"], 5, false),
        (&["6:"], i64::MAX, true),
        (&["gt", "4"], 5, true),
        (&["gt", "5"], 5, false),
        (&["ge", "5"], 5, true),
        (&["lt", "5"], 5, false),
        (&["lt", "5"], 4, true),
        (&["le", "5"], 5, true),
        (&["lt", "-2"], -5, true),
        (&["lt", "-2"], -2, false),
        (&["eq", "-2"], -2, true),
        (&["eq", "-2"], -3, false),
        (&["gt", "9", "4"], 5, true),
        (&["gt", "9", "eq", "4"], 5, false),
        (&["eq", "3", "gt", "4"], 5, true),
        (&["eq", "4:9"], 5, true),
        (&["gt", "9223372036854775807"], i64::MAX, false),
        (&["gt", "9223372036854775806"], i64::MAX, true),
        (&[], 0, false),
    ];
    for (patterns, number, expected) in table {
        let got = matches(Method::Int, patterns, false, Value::Int(*number));
        assert_eq!(got, *expected, "{patterns:?} {number}");
    }
    assert!(matches(Method::Int, &["1"], false, Value::Bool(true)));
    assert!(matches(Method::Int, &["12"], false, Value::Str(b"12x")));
    assert!(!matches(
        Method::Int,
        &["0"],
        false,
        Value::Ipv6(Ipv6Addr::UNSPECIFIED)
    ));
    assert!(matches(
        Method::Len,
        &["gt", "2"],
        false,
        Value::Str(b"abc")
    ));
    assert!(matches(Method::Len, &["2"], false, Value::Bin(b"ab\0")));
}

#[test]
fn versions() {
    let number = |major: i64, minor: i64| Value::Int(major << 16 | minor);
    let table: &[(&[&str], i64, i64, bool)] = &[
        (&["3.1"], 3, 1, true),
        (&["3"], 3, 0, true),
        (&["3"], 3, 1, false),
        (&["3:3.1"], 3, 1, true),
        (&["3.1:3.3"], 3, 4, false),
        (&["gt", "3.1"], 3, 2, true),
        (&["lt", "3.1"], 3, 1, false),
    ];
    for (patterns, major, minor, expected) in table {
        let got = matches(Method::Version, patterns, false, number(*major, *minor));
        assert_eq!(got, *expected, "{patterns:?} {major}.{minor}");
    }
}

#[test]
fn texts() {
    let table: &[(Method, &[&str], bool, &str, bool)] = &[
        (Method::Str, &["abc"], false, "abc", true),
        (Method::Str, &["ABC"], false, "abc", false),
        (Method::Str, &["ABC"], true, "aBc", true),
        (Method::Str, &["ab"], false, "abc", false),
        (Method::Beg, &["x", "ab"], false, "abc", true),
        (Method::Beg, &["abcd"], false, "abc", false),
        (Method::Beg, &["AB"], true, "abc", true),
        (Method::End, &["x", "bc"], false, "abc", true),
        (Method::End, &["BC"], true, "abc", true),
        (Method::End, &["ab"], false, "abc", false),
        (Method::Sub, &["zz", "b"], false, "abc", true),
        (Method::Sub, &["B"], true, "abc", true),
        (Method::Sub, &["B"], false, "abc", false),
        (Method::Dom, &["abc"], false, "abc", true),
        (Method::Dom, &[".abc."], false, "a.abc.b", true),
        (Method::Dom, &["abc.b"], false, "a.abc.b", true),
        (Method::Dom, &["bc.b"], false, "a.abc.b", false),
        (
            Method::Dom,
            &["example:80"],
            true,
            "http://www.EXAMPLE:80/x",
            true,
        ),
        (Method::Dom, &["."], false, "a.b", false),
        (Method::Dir, &["b/c"], false, "/a/b/c", true),
        (Method::Dir, &["/c"], false, "/a/b/c?x", true),
        (Method::Dir, &["c"], false, "/a/b/c?x", true),
        (Method::Dir, &["/"], false, "/a/b/c", false),
        (Method::Dir, &["a.b"], false, "/x/a.b", true),
        (Method::Dir, &["a"], false, "/x/a.b", false),
        (Method::Reg, &["^a.c$"], false, "abc", true),
        (Method::Reg, &["^A"], true, "abc", true),
        (Method::Reg, &["^A", "c$"], false, "abc", true),
        (Method::Reg, &["x"], false, "abc", false),
        (Method::Bin, &["616263"], false, "abc", true),
        (Method::Bin, &["616243"], true, "abc", false),
        (Method::Bool, &[], false, "2", true),
        (Method::Bool, &["0"], false, "0", false),
        (Method::Found, &["x"], false, "", true),
        (Method::Ip, &["1.2.0.0/16"], false, "1.2.3.4", true),
        (Method::Ip, &["1.2.0.0/16"], false, "x", false),
    ];
    for (method, patterns, fold, text, expected) in table {
        let got = matches(*method, patterns, *fold, Value::Str(text.as_bytes()));
        assert_eq!(got, *expected, "{method:?} {patterns:?} {text}");
    }
    // Bytes that are no text.
    assert!(matches(
        Method::Reg,
        &[r"\xff\x00?$"],
        false,
        Value::Str(b"\xff")
    ));
    assert!(matches(Method::Str, &["ab"], false, Value::Bin(b"ab\0c")));
}

#[test]
fn addresses() {
    let table: &[(&[&str], &str, bool)] = &[
        (&["127.1"], "127.0.0.1", true),
        (&["127.1/8"], "127.9.9.9", true),
        (&["127/8"], "127.0.0.1", false),
        (&["192.168.1/22"], "192.168.4.9", false),
        (&["192.168.1/22"], "192.168.0.9", true),
        (&["10.0.0.0/255.0.0.0"], "10.9.9.9", true),
        (&["127.0.0.1/255.0.0.255"], "127.9.9.1", true),
        (&["127.0.0.1/255.0.0.255"], "127.9.9.2", false),
        (&["127.0.0.1/255.0.0.255"], "::ffff:127.9.9.1", true),
        (&["0.0.0.0/0"], "255.255.255.255", true),
        (&["0.0.0.0/0"], "2001:db8::1", false),
        (&["0.0.0.0/0"], "::1", true),
        (&["::/0"], "1.2.3.4", true),
        (&["::/0"], "2001:db8::1", true),
        (&["::ffff:127.0.0.0/104"], "127.3.2.1", true),
        (&["127.0.0.1"], "2002:7f00:1::", true),
        (&["127.0.0.1"], "2002:7f00:1:ffff::9", true),
        (&["127.0.0.1"], "::127.0.0.1", true),
        (&["127.0.0.1"], "::ffff:127.0.0.1", true),
        (&["127.0.0.1"], "64:ff9b::127.0.0.1", false),
        (&["2001:db8::/32", "10.0.0.0/8"], "2001:db8:1::1", true),
        (&["2001:db8::/32", "10.0.0.0/8"], "2001:db9::1", false),
        (&["255.255.255.255"], "255.255.255.255", true),
        (
            &["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
            "255.255.255.255",
            false,
        ),
    ];
    for (patterns, address, expected) in table {
        let value = Value::from(address.parse::<IpAddr>().unwrap());
        let got = matches(Method::Ip, patterns, false, value);
        assert_eq!(got, *expected, "{patterns:?} {address}");
    }
}

#[test]
fn what_is_no_pattern_is_refused() {
    for (method, pattern, expected) in [
        (Method::Int, "foo", "'foo' is not a number"),
        (Method::Int, "+5", "'+5' is not a number"),
        (Method::Int, "", "'' is not a number"),
        (Method::Int, ":", "':' is not a valid number range"),
        (Method::Int, "7:3", "'7:3' is not a valid number range"),
        (Method::Version, "3.x", "'3.x' is not a version number"),
        (
            Method::Bin,
            "616",
            "'616': an even number of hex digits is expected",
        ),
        (Method::Bin, "zz", "'zz' is not made of hex digits"),
        (Method::Reg, "(a", "regex '(a' is invalid (unclosed group)"),
        (
            Method::Reg,
            r"(a)\1",
            r"regex '(a)\1' is invalid (backreferences are not supported)",
        ),
    ] {
        let mut list = List::new(method);
        assert_eq!(
            list.add(pattern.as_bytes(), reading(false)).unwrap_err(),
            expected
        );
    }
    for pattern in [
        "1.2.3.4/33",
        "1.2.3.4/",
        "nobody.example",
        "client.example/33",
        "client.example/",
        "client.example:80",
        "0x7f.1",
        "-client.example.7",
        "1.2.3.256",
        "1.2.3.4.5",
        "1.2.3.",
        "01.2.3.4",
        "::1/129",
        "::g",
        "1.2.3.4/255.x",
        "",
        "300.1",
    ] {
        let mut list = List::new(Method::Ip);
        let why = list.add(pattern.as_bytes(), reading(false)).unwrap_err();
        assert!(
            why.contains("is not a valid IPv4 or IPv6 address"),
            "{pattern}"
        );
    }
}

#[test]
fn hosts_stand_for_their_addresses() {
    let table: &[(&str, &str, bool)] = &[
        ("client.example", "192.0.2.7", true),
        ("client.example", "192.0.2.8", false),
        ("client.example/24", "192.0.2.8", true),
        ("client.example/255.0.0.255", "192.1.2.7", true),
        ("client.example/24", "192.0.3.7", false),
    ];
    for (pattern, address, expected) in table {
        let got = matches(
            Method::Ip,
            &[pattern],
            false,
            Value::Str(address.as_bytes()),
        );
        assert_eq!(got, *expected, "{pattern} {address}");
    }
    let why = List::new(Method::Ip).add(b"nobody.example", reading(false));
    assert_eq!(
        why.unwrap_err(),
        "'nobody.example' is not a valid IPv4 or IPv6 address, nor is there such a host: no such \
         host"
    );
}

/// HAProxy leaves abbreviations to its resolver, so that they go where host names go.
#[test]
fn without_hosts_addresses_are_written_in_full() {
    for (pattern, expected) in [
        (
            "client.example",
            "'client.example' is not a valid IPv4 or IPv6 address (host names are not looked up here)",
        ),
        ("127.1", "'127.1' is not a valid IPv4 or IPv6 address"),
        ("1", "'1' is not a valid IPv4 or IPv6 address"),
    ] {
        let why = List::new(Method::Ip).add(pattern.as_bytes(), Reading::default());
        assert_eq!(why.unwrap_err(), expected);
    }
    for pattern in ["127.0.0.1", "127.0.0.0/8", "::1", "2001:db8::/32"] {
        let added = List::new(Method::Ip).add(pattern.as_bytes(), Reading::default());
        assert_eq!(added, Ok(()), "{pattern}");
    }
}

#[test]
fn of_a_map_the_keys_are_patterns() {
    let content = b"# c\nk one\n  lead\t two words \r\nbare\n";
    let mut list = List::new(Method::Str);
    list.add_map(content, reading(false)).unwrap();
    let matcher = list.compile().unwrap();
    let arena = Bump::new();
    let found = |text: &str| matcher.find(Value::Str(text.as_bytes()), &arena);
    assert_eq!(found("k"), Some(0));
    assert_eq!(found("lead"), Some(1));
    assert_eq!(found("bare"), Some(2));
    for other in ["k one", "one", "two", "#", ""] {
        assert_eq!(found(other), None, "{other}");
    }
    let mut list = List::new(Method::Ip);
    assert_eq!(
        list.add_map(b"1.2.3.4 x\n1.2.3.400 x\n", reading(false))
            .unwrap_err(),
        "line 2: '1.2.3.400' is not a valid IPv4 or IPv6 address"
    );
}

#[test]
fn files_have_comments_and_blank_lines() {
    let content = b"# c\n  #d\n\n \t lead \n/x\r\nlast";
    let mut list = List::new(Method::Str);
    list.add_file(content, reading(false)).unwrap();
    let matcher = list.compile().unwrap();
    let arena = Bump::new();
    let found = |text: &str| matcher.find(Value::Str(text.as_bytes()), &arena);
    assert_eq!(found("#d"), Some(0));
    assert_eq!(found("lead "), Some(1));
    assert_eq!(found("/x"), Some(2));
    assert_eq!(found("last"), Some(3));
    assert_eq!(found("lead"), None);
    assert_eq!(found(""), None);
    assert_eq!(found("# c"), None);
    let mut list = List::new(Method::Int);
    assert_eq!(
        list.add_file(b"1\n\n#\nx\n", reading(false)).unwrap_err(),
        "line 4: 'x' is not a number"
    );
}

#[test]
fn comparisons_do_not_hold_in_files() {
    let mut list = List::new(Method::Int);
    assert!(list.comparison("gt"));
    list.add_file(b"100\n", reading(false)).unwrap();
    list.add(b"200", reading(false)).unwrap();
    let matcher = list.compile().unwrap();
    let arena = Bump::new();
    for (number, expected) in [(99, false), (100, true), (101, false), (201, true)] {
        assert_eq!(matcher.matches(Value::Int(number), &arena), expected);
    }
}

/// A letter in either case, or a delimiter: few enough for texts to meet.
fn texts_of(length: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    proptest::string::string_regex(&format!(
        "[abAB./?:]{{{},{}}}",
        length.start,
        length.end - 1
    ))
    .unwrap()
}

/// What a method means, read from the manual.
fn naive(method: Method, pattern: &str, fold: bool, text: &str) -> bool {
    let (pattern, text) = if fold {
        (pattern.to_ascii_lowercase(), text.to_ascii_lowercase())
    } else {
        (pattern.to_owned(), text.to_owned())
    };
    let portion = |delimiters: &[char]| {
        let pattern = pattern.trim_matches(delimiters);
        let delimits = |c: Option<char>| c.is_none_or(|c| delimiters.contains(&c));
        !pattern.is_empty()
            && (0..text.len()).any(|at| {
                text[at..].starts_with(pattern)
                    && delimits(text[..at].chars().next_back())
                    && delimits(text[at + pattern.len()..].chars().next())
            })
    };
    match method {
        Method::Str => text == pattern,
        Method::Beg => text.starts_with(&pattern),
        Method::End => text.ends_with(&pattern),
        Method::Sub => text.contains(&pattern),
        Method::Dir => portion(&['/', '?']),
        Method::Dom => portion(&['/', '?', '.', ':']),
        Method::Bin => text == pattern,
        _ => unreachable!(),
    }
}

const TEXT_METHODS: [Method; 6] = [
    Method::Str,
    Method::Beg,
    Method::End,
    Method::Sub,
    Method::Dir,
    Method::Dom,
];

/// Whether the IPv4 address in an address, or the address itself, is in a network.
fn naive_network(net: IpNet, address: IpAddr) -> bool {
    match (net, address) {
        (IpNet::V4(net), IpAddr::V4(address)) => net.contains(&address),
        (IpNet::V6(net), IpAddr::V6(address)) => net.contains(&address),
        (IpNet::V6(net), IpAddr::V4(address)) => net.contains(&address.to_ipv6_mapped()),
        (IpNet::V4(net), IpAddr::V6(address)) => {
            let o = address.octets();
            let zeros = o[..10].iter().all(|b| *b == 0);
            let low = Ipv4Addr::new(o[12], o[13], o[14], o[15]);
            let mapped = zeros && (o[10..12] == [0, 0] || o[10..12] == [0xff, 0xff]);
            let six_to_four = o[..2] == [0x20, 0x02];
            (mapped && net.contains(&low))
                || (six_to_four && net.contains(&Ipv4Addr::new(o[2], o[3], o[4], o[5])))
        }
    }
}

/// Addresses that are near to one another, so that networks meet and nest.
fn near_addresses() -> impl Strategy<Value = IpAddr> {
    let octet = prop_oneof![Just(0_u8), Just(1), Just(127), Just(128), Just(255)];
    let v4 = [octet.clone(), octet.clone(), octet.clone(), octet].prop_map(Ipv4Addr::from);
    prop_oneof![
        v4.clone().prop_map(IpAddr::V4),
        v4.clone().prop_map(|a| IpAddr::V6(a.to_ipv6_mapped())),
        v4.clone()
            .prop_map(|a| IpAddr::V6(Ipv6Addr::from_bits(a.to_bits().into()))),
        v4.clone().prop_map(|a| IpAddr::V6(Ipv6Addr::from_bits(
            0x2002 << 112 | u128::from(a.to_bits()) << 80
        ))),
        v4.prop_map(|a| IpAddr::V6(Ipv6Addr::from_bits(
            0x2001_0db8 << 96 | u128::from(a.to_bits()) << 64
        ))),
    ]
}

fn near_networks() -> impl Strategy<Value = IpNet> {
    (near_addresses(), 0_u8..=128).prop_map(|(address, length)| match address {
        IpAddr::V4(address) => IpNet::new(address.into(), length % 33).unwrap().trunc(),
        IpAddr::V6(address) => IpNet::new(address.into(), length).unwrap().trunc(),
    })
}

proptest! {
    #[test]
    fn texts_match_as_one_by_one(
        patterns in prop::collection::vec((texts_of(1..6), any::<bool>()), 0..12),
        values in prop::collection::vec(texts_of(0..12), 1..20),
    ) {
        let arena = Bump::new();
        for method in TEXT_METHODS {
            let mut list = List::new(method);
            for (pattern, fold) in &patterns {
                list.add(pattern.as_bytes(), reading(*fold)).unwrap();
            }
            let matcher = list.compile().unwrap();
            for text in &values {
                let value = Value::Str(text.as_bytes());
                let hits: Vec<usize> = (0..patterns.len())
                    .filter(|&i| naive(method, &patterns[i].0, patterns[i].1, text))
                    .collect();
                prop_assert_eq!(
                    matcher.matches(value, &arena),
                    !hits.is_empty(),
                    "{:?} {:?} {:?}", method, patterns, text
                );
                let found = matcher.find(value, &arena);
                match method {
                    // Of several prefixes the longest counts, within one letter-case rule.
                    Method::Beg => prop_assert!(found.is_none_or(|found| hits.contains(&found))),
                    _ => prop_assert_eq!(found, hits.first().copied()),
                }
            }
        }
    }

    #[test]
    fn blocks_match_as_one_by_one(
        patterns in prop::collection::vec(prop::collection::vec(0_u8..3, 1..4), 0..8),
        values in prop::collection::vec(prop::collection::vec(0_u8..3, 0..4), 1..20),
    ) {
        let arena = Bump::new();
        let mut list = List::new(Method::Bin);
        for pattern in &patterns {
            let text = data_encoding::HEXUPPER.encode(pattern);
            list.add(text.as_bytes(), reading(false)).unwrap();
        }
        let matcher = list.compile().unwrap();
        for value in &values {
            prop_assert_eq!(
                matcher.find(Value::Bin(value), &arena),
                patterns.iter().position(|pattern| pattern == value)
            );
        }
    }

    #[test]
    fn ranges_match_as_one_by_one(
        ranges in prop::collection::vec((-20_i64..20, 0_i64..15), 0..12),
        open in any::<bool>(),
    ) {
        let mut ranges: Vec<(i64, i64)> =
            ranges.into_iter().map(|(low, more)| (low, low + more)).collect();
        if open {
            ranges.push((15, i64::MAX));
            ranges.push((i64::MIN, -15));
        }
        let segments = Segments::overlapping(&ranges);
        for number in (-40..40).chain([i64::MIN, i64::MAX]) {
            let first = ranges.iter().position(|(low, high)| (*low..=*high).contains(&number));
            prop_assert_eq!(segments.owner(number).map(|owner| owner as usize), first);
        }
    }

    #[test]
    fn networks_match_as_one_by_one(
        nets in prop::collection::vec(near_networks(), 0..20),
        addresses in prop::collection::vec(near_addresses(), 1..40),
    ) {
        let arena = Bump::new();
        let mut list = List::new(Method::Ip);
        for net in &nets {
            list.add(net.to_string().as_bytes(), reading(false)).unwrap();
        }
        let matcher = list.compile().unwrap();
        let plain = matcher.networks().unwrap();
        // The edges of the networks besides.
        let edges = nets.iter().flat_map(|net| [net.network(), net.broadcast()]);
        for address in addresses.into_iter().chain(edges) {
            let expected = nets.iter().any(|net| naive_network(*net, address));
            prop_assert_eq!(
                matcher.matches(Value::from(address), &arena),
                expected,
                "{:?} {}", nets, address
            );
            // The longest one of the address's own family is found first.
            let longest = nets
                .iter()
                .enumerate()
                .filter(|(_, net)| net.contains(&address))
                .max_by_key(|(index, net)| (net.prefix_len(), std::cmp::Reverse(*index)));
            if let Some((index, _)) = longest {
                prop_assert_eq!(matcher.find(Value::from(address), &arena), Some(index));
            }
            let in_plain = plain.iter().any(|net| net.contains(&address));
            prop_assert_eq!(in_plain, expected, "as plain networks: {:?} {}", nets, address);
        }
    }
}
