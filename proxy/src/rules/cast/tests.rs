use super::*;

fn cast_to(value: Value<'_>, to: Kind) -> Option<String> {
    let arena = Bump::new();
    let value = cast(value, to, &arena)?;
    Some(match value {
        Value::Bin(bytes) => data_encoding::HEXLOWER.encode(bytes),
        _ => format!(
            "{value:?}={}",
            String::from_utf8_lossy(string(value, &arena))
        ),
    })
}

#[test]
fn values_become_others() {
    let v6 = |text: &str| Value::Ipv6(text.parse().unwrap());
    let v4 = Value::Ipv4(Ipv4Addr::new(127, 0, 0, 1));
    let table = [
        (Value::Bool(true), Kind::Int, "Int(1)=1"),
        (Value::Bool(true), Kind::Str, "Str([49])=1"),
        (Value::Int(0), Kind::Bool, "Bool(false)=0"),
        (Value::Int(-3), Kind::Bool, "Bool(true)=1"),
        (Value::Int(-12), Kind::Str, "Str([45, 49, 50])=-12"),
        (Value::Int(5), Kind::Bin, "0000000000000005"),
        (
            Value::Int(1 << 32 | 1),
            Kind::Address,
            "Ipv4(0.0.0.1)=0.0.0.1",
        ),
        (
            Value::Int(1),
            Kind::Ipv6,
            "Ipv6(::ffff:0.0.0.1)=::ffff:0.0.0.1",
        ),
        (v4, Kind::Int, "Int(2130706433)=2130706433"),
        (v4, Kind::Bin, "7f000001"),
        (v4, Kind::Ipv6, "Ipv6(::ffff:127.0.0.1)=::ffff:127.0.0.1"),
        (v4, Kind::Address, "Ipv4(127.0.0.1)=127.0.0.1"),
        (v6("::ffff:1.2.3.4"), Kind::Ipv4, "Ipv4(1.2.3.4)=1.2.3.4"),
        (v6("::1"), Kind::Address, "Ipv6(::1)=::1"),
        (v6("1::2"), Kind::Bin, "00010000000000000000000000000002"),
        (Value::Str(b"12abc"), Kind::Int, "Int(12)=12"),
        (Value::Str(b"+12"), Kind::Int, "Int(12)=12"),
        (Value::Str(b"abc"), Kind::Int, "Int(0)=0"),
        (
            Value::Str(b"99999999999999999999"),
            Kind::Int,
            "Int(9223372036854775807)=9223372036854775807",
        ),
        (
            Value::Str(b"-99999999999999999999"),
            Kind::Int,
            "Int(-9223372036854775808)=-9223372036854775808",
        ),
        (
            Value::Str(b"1.2.3.4"),
            Kind::Address,
            "Ipv4(1.2.3.4)=1.2.3.4",
        ),
        (Value::Str(b"::1"), Kind::Address, "Ipv6(::1)=::1"),
        (Value::Str(b"1.2.3.4x"), Kind::Ipv4, "Ipv4(1.2.3.4)=1.2.3.4"),
        (
            Value::Str(b"1.2.3.4:80"),
            Kind::Address,
            "Ipv4(1.2.3.4)=1.2.3.4",
        ),
        (
            Value::Str(b"1.2.3.4/8"),
            Kind::Ipv4,
            "Ipv4(1.2.3.4)=1.2.3.4",
        ),
        (
            Value::Str(b"1.2.3.4\xff"),
            Kind::Ipv4,
            "Ipv4(1.2.3.4)=1.2.3.4",
        ),
        (
            Value::Str(b"0001.02.3.4"),
            Kind::Ipv4,
            "Ipv4(1.2.3.4)=1.2.3.4",
        ),
        (
            Value::Str(b"::ffff:1.2.3.4"),
            Kind::Address,
            "Ipv6(::ffff:1.2.3.4)=::ffff:1.2.3.4",
        ),
        (Value::Bool(true), Kind::Bin, "0000000000000001"),
        (Value::Bool(false), Kind::Bin, "0000000000000000"),
        (Value::Str(b"a\0b"), Kind::Bin, "610062"),
        (Value::Bin(b"ab\0c"), Kind::Str, "Str([97, 98])=ab"),
    ];
    for (value, to, expected) in table {
        assert_eq!(
            cast_to(value, to).as_deref(),
            Some(expected),
            "{value:?} to {to:?}"
        );
    }
}

#[test]
fn some_values_have_no_counterpart() {
    let v6 = Value::Ipv6("2001:db8::1".parse().unwrap());
    for (value, to) in [
        (v6, Kind::Ipv4),
        (v6, Kind::Int),
        (Value::Str(b""), Kind::Int),
        (Value::Str(b"a"), Kind::Address),
        (Value::Str(b"1.2.3"), Kind::Ipv4),
        (Value::Str(b"1.2.3."), Kind::Ipv4),
        (Value::Str(b"1.2.3.4."), Kind::Ipv4),
        (Value::Str(b"1.2.3.4.5"), Kind::Ipv4),
        (Value::Str(b"1..2.3"), Kind::Ipv4),
        (Value::Str(b" 1.2.3.4"), Kind::Ipv4),
        (Value::Str(b"1.2.3.256"), Kind::Ipv4),
        (Value::Str(b"::1x"), Kind::Ipv6),
        (Value::Str(b""), Kind::Address),
        (Value::Bool(true), Kind::Address),
        (Value::Bin(b"1"), Kind::Int),
    ] {
        assert_eq!(cast_to(value, to), None, "{value:?} to {to:?}");
    }
}

#[test]
fn what_is_impossible_never_happens() {
    let kinds = [
        Kind::Bool,
        Kind::Int,
        Kind::Ipv4,
        Kind::Ipv6,
        Kind::Address,
        Kind::Str,
        Kind::Bin,
    ];
    let values = [
        (Kind::Bool, Value::Bool(true)),
        (Kind::Int, Value::Int(1)),
        (Kind::Ipv4, Value::Ipv4(Ipv4Addr::LOCALHOST)),
        (Kind::Ipv6, Value::Ipv6(Ipv6Addr::LOCALHOST)),
        (Kind::Str, Value::Str(b"::ffff:1.2.3.4")),
        (Kind::Str, Value::Str(b"1.2.3.4")),
        (Kind::Bin, Value::Bin(b"1")),
    ];
    let impossible: Vec<(Kind, Kind)> = kinds
        .into_iter()
        .flat_map(|from| kinds.map(|to| (from, to)))
        .filter(|&(from, to)| !is_possible(from, to))
        .collect();
    assert_eq!(impossible.len(), 9, "{impossible:?}");
    for (kind, value) in values {
        for to in kinds {
            if !is_possible(kind, to) {
                assert_eq!(cast_to(value, to), None, "{value:?} to {to:?}");
            }
        }
    }
}
