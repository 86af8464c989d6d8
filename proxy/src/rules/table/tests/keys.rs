//! What values become as keys. The expected texts are what HAProxy 2.6's `show table` says after
//! `track-sc` on the same sample.

use std::sync::Arc;

use super::settings;
use crate::rules::sample::{Kind, Value};
use crate::rules::scene::Millis;
use crate::rules::table::{Column, Table, TableSettings, can_be_key};

fn of(kind: Kind, key_len: usize) -> Table {
    Table::new(TableSettings {
        kind,
        key_len,
        ..settings(10)
    })
}

fn v4(text: &str) -> Value<'static> {
    Value::Ipv4(text.parse().expect("an address"))
}

fn v6(text: &str) -> Value<'static> {
    Value::Ipv6(text.parse().expect("an address"))
}

#[test]
fn values_become_keys_as_in_haproxy() {
    let (ip, ip6, int) = (of(Kind::Ipv4, 0), of(Kind::Ipv6, 0), of(Kind::Int, 0));
    let (str5, str20) = (of(Kind::Str, 5), of(Kind::Str, 20));
    let (bin6, bin10) = (of(Kind::Bin, 6), of(Kind::Bin, 10));
    let cases: &[(&Table, Value<'_>, Option<&str>)] = &[
        (&ip, v4("127.0.0.1"), Some("127.0.0.1")),
        (&ip, v6("::ffff:9.8.7.6"), Some("9.8.7.6")),
        (&ip, v6("::6.6.6.6"), None),
        (&ip, v6("2002:909:909::1"), None),
        (&ip, v6("64:ff9b::7.7.7.7"), None),
        (&ip, v6("2001:db8::1"), None),
        (&ip, Value::Int(16_909_060), Some("1.2.3.4")),
        (&ip, Value::Str(b"4.4.4.4"), Some("4.4.4.4")),
        (&ip, Value::Int(-1), Some("255.255.255.255")),
        (&ip, Value::Str(b"1.2.3.4 "), Some("1.2.3.4")),
        (&ip, Value::Str(b"1.2.3.4x"), Some("1.2.3.4")),
        (&ip, Value::Str(b"1.2.3.4:80"), Some("1.2.3.4")),
        (&ip, Value::Str(b"0000001.02.3.0004"), Some("1.2.3.4")),
        (&ip, Value::Str(b"0.0.0.0"), Some("0.0.0.0")),
        (&ip, Value::Str(b" 1.2.3.4"), None),
        (&ip, Value::Str(b"256.1.1.1"), None),
        (&ip, Value::Str(b"1.2.3.4.5"), None),
        (&ip, Value::Str(b"1.2.3.4."), None),
        (&ip, Value::Str(b"1.2.3."), None),
        (&ip, Value::Str(b"1..2.3"), None),
        (&ip, Value::Str(b"1.2.3"), None),
        (&ip, Value::Str(b"1"), None),
        (&ip, Value::Str(b"localhost"), None),
        (&ip, Value::Str(b"::ffff:1.2.3.4"), None),
        (&ip, Value::Bin(&[0]), None),
        (&ip6, v4("127.0.0.1"), Some("::ffff:127.0.0.1")),
        (&ip6, Value::Int(5), Some("::ffff:0.0.0.5")),
        (&ip6, Value::Str(b"notanaddress"), None),
        (&ip6, Value::Str(b"1.2.3.9"), None),
        (&ip6, Value::Str(b"2001:db8::9"), Some("2001:db8::9")),
        (&ip6, Value::Str(b"::ffff:1.2.3.4"), Some("::ffff:1.2.3.4")),
        (&ip6, Value::Str(b"::1 "), None),
        (&ip6, Value::Str(b"[::1]"), None),
        (&ip6, Value::Str(b"2001:db8::1%lo"), None),
        (&int, v4("1.2.3.4"), Some("16909060")),
        (&int, v6("::1"), None),
        (&int, Value::Int(-2), Some("4294967294")),
        (&int, Value::Int(4_294_967_299), Some("3")),
        (&int, Value::Bool(true), Some("1")),
        (&int, Value::Str(b"12abc"), Some("12")),
        (&int, Value::Str(b"abc"), Some("0")),
        (&int, Value::Str(b"-"), Some("0")),
        (&int, Value::Str(b""), None),
        (&int, Value::Str(b"+5"), Some("5")),
        (&int, Value::Str(b" 5"), Some("0")),
        (&int, Value::Str(b"0x10"), Some("0")),
        (
            &int,
            Value::Str(b"99999999999999999999"),
            Some("4294967295"),
        ),
        (&int, Value::Str(b"-99999999999999999999"), Some("0")),
        (&str5, v4("1.2.3.4"), Some("1.2.3")),
        (&str5, v6("2001:db8::1"), Some("2001:")),
        (&str5, Value::Bool(true), Some("1")),
        (&str20, Value::Str(b"-5"), Some("-5")),
        (&str20, Value::Bin(&[10, 11, 12]), Some("\\n\\x0B\\x0C")),
        (
            &str20,
            Value::Str(b"longer-than-20-characters-yes"),
            Some("longer-than-20-chara"),
        ),
        (&str20, Value::Bin(b"a\0bc"), Some("a")),
        (&str20, Value::Str(b"a b=c"), Some("a\\ b\\=c")),
        (
            &str20,
            Value::Bin(b"\\\x1b\r\t\xff\x80\x7f~!\""),
            Some("\\\\\\e\\r\\t\\xFF\\x80\\x7F~!\""),
        ),
        (&str20, Value::Str(b""), Some("")),
        (&bin6, Value::Str(b""), Some("000000000000")),
        (&bin6, Value::Bool(true), Some("000000000000")),
        (&bin6, Value::Int(-1), Some("FFFFFFFFFFFF")),
        (&bin6, v4("5.5.5.5"), Some("050505050000")),
        (&bin6, Value::Str(b"abc"), Some("616263000000")),
        (
            &bin6,
            Value::Bin(&[10, 11, 12, 13, 14, 15, 16, 17]),
            Some("0A0B0C0D0E0F"),
        ),
        (&bin10, Value::Int(258), Some("00000000000001020000")),
        (&bin10, v6("2001:db8::1"), Some("20010DB8000000000000")),
    ];
    for (table, value, expected) in cases {
        let key = table.key(*value).map(|key| key.to_string());
        let kind = table.settings().kind;
        assert_eq!(key.as_deref(), *expected, "{value:?} in {kind:?}");
        let from = match value {
            Value::Bool(_) => Kind::Bool,
            Value::Int(_) => Kind::Int,
            Value::Ipv4(_) => Kind::Ipv4,
            Value::Ipv6(_) => Kind::Ipv6,
            Value::Str(_) => Kind::Str,
            Value::Bin(_) => Kind::Bin,
        };
        assert!(key.is_none() || can_be_key(from, kind), "{value:?}");
    }
    for (from, kind) in [
        (Kind::Bin, Kind::Ipv4),
        (Kind::Bool, Kind::Ipv4),
        (Kind::Ipv6, Kind::Int),
        (Kind::Bin, Kind::Int),
        (Kind::Bool, Kind::Ipv6),
        (Kind::Bin, Kind::Ipv6),
    ] {
        assert!(!can_be_key(from, kind), "{from:?} in {kind:?}");
    }
}

#[test]
fn a_key_finds_what_it_was_stored_as() {
    for (table, one, other) in [
        (of(Kind::Str, 5), &b"abcdef"[..], &b"abcdX"[..]),
        (of(Kind::Str, 7), b"abc", b"abcd"),
        (of(Kind::Str, 40), &[b'a'; 40], &[b'a'; 39]),
        (of(Kind::Bin, 7), b"abcdefgh", b"abcdef"),
        (of(Kind::Bin, 40), b"abcdef", b"abcdefg"),
    ] {
        let one = table.key(Value::Bin(one)).expect("bytes are a key");
        let other = table.key(Value::Bin(other)).expect("bytes are a key");
        table.update(&one, Millis(1), |entry| entry.set(Column::Gpc0, 5));
        assert!(table.lookup(&one, Millis(1)).is_some());
        assert!(table.lookup(&other, Millis(1)).is_none());
        let (listed, _) = table
            .batch(0, Millis(1))
            .and_then(|batch| batch.into_iter().next())
            .expect("one entry");
        assert_eq!(listed, one);
    }
}

#[test]
fn a_key_of_another_table_is_fitted_or_refused() {
    let (short, long) = (of(Kind::Str, 3), of(Kind::Str, 9));
    let name = long.key(Value::Str(b"abcdef")).expect("text");
    assert!(short.lookup(&name, Millis(1)).is_none());
    assert!(short.update(&name, Millis(1), |_| ()).is_none());
    let fitted = short.adopt(&name).expect("text too");
    assert_eq!(fitted.to_string(), "abc");
    assert_eq!(long.adopt(&fitted).expect("text too").to_string(), "abc");
    let (bin4, bin6) = (of(Kind::Bin, 4), of(Kind::Bin, 6));
    let block = bin4.key(Value::Bin(&[1, 2, 3, 4])).expect("a block");
    let fitted = bin6.adopt(&block).expect("a block too");
    assert_eq!(fitted.to_string(), "010203040000");
    let number = of(Kind::Int, 0).key(Value::Int(1)).expect("a number");
    assert_eq!(of(Kind::Ipv4, 0).adopt(&number), None);
    let table = Arc::new(of(Kind::Ipv4, 0));
    assert!(table.track(&number, Millis(1)).is_none());
}
