//! Converters that look into tables, on real tables.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::rules::sample::Sample;
use crate::rules::scene::Millis;
use crate::rules::table::tests::rig::{Rig, parts, text, word};
use crate::rules::table::{Periods, StoreSet, TableSettings};

fn settings(name: &str, kind: Kind, stores: StoreSet) -> TableSettings {
    TableSettings {
        name: Arc::from(name),
        kind,
        key_len: 8,
        size: 10,
        expire: Some(Duration::from_secs(10)),
        nopurge: false,
        stores,
        periods: Periods::default(),
    }
}

fn rig() -> Rig {
    Rig::new(vec![
        settings("own", Kind::Str, StoreSet::all()),
        settings("addresses", Kind::Ipv4, StoreSet::CONN_CUR),
    ])
}

fn compiled(rig: &Rig, call: &str, input: Kind) -> Result<Box<dyn Convert>, String> {
    let word = word(call);
    let (name, arguments) = parts(call);
    let call = Call {
        name,
        arguments: &arguments,
        word: &word,
    };
    let converter = rig.names(|names| compile(call, input, names));
    let converter = converter.unwrap_or_else(|| panic!("{name} is of this family"));
    converter.map_err(|fault| {
        assert_eq!(fault.position, word.position);
        fault.message
    })
}

fn convert(rig: &Rig, call: &str, value: Value<'static>) -> String {
    let kind = match value {
        Value::Ipv6(_) => Kind::Ipv6,
        Value::Ipv4(_) => Kind::Ipv4,
        Value::Int(_) => Kind::Int,
        _ => Kind::Str,
    };
    let converter = compiled(rig, call, kind).unwrap_or_else(|fault| panic!("{call}: {fault}"));
    assert_eq!(converter.input(), kind);
    rig.scene(1500, None, [None; 3], |scene| {
        let value = converter.convert(value, scene);
        let is_bool = matches!(value, Some(Value::Bool(_)));
        assert!(value.is_none() || is_bool == (converter.output() == Kind::Bool));
        text(value.map_or(Sample::Absent, Sample::Is))
    })
}

#[test]
fn each_reads_its_column() {
    let rig = rig();
    let table = rig.tables.get(TableId(0));
    let key = table.key(Value::Str(b"name")).expect("text");
    let tracked = table.track(&key, Millis(1000)).expect("room");
    tracked.update(Millis(1000), |entry| {
        for (column, value) in Column::ALL.into_iter().zip(1..) {
            entry.set(column, 10_000 * value);
        }
    });
    for (column, value) in Column::ALL.into_iter().zip(1..) {
        let (name, value) = match column {
            Column::BytesInCnt => ("kbytes_in", 10_000 * value / 1024),
            Column::BytesOutCnt => ("kbytes_out", 10_000 * value / 1024),
            column => (column.name(), 10_000 * value),
        };
        for call in [format!("table_{name}"), format!("table_{name}(own)")] {
            assert_eq!(
                convert(&rig, &call, Value::Str(b"name")),
                value.to_string(),
                "{call}"
            );
            assert_eq!(convert(&rig, &call, Value::Str(b"nobody")), "0", "{call}");
        }
    }
    for (call, expected, other) in [
        ("in_table(own)", "true", "false"),
        ("table_trackers(own)", "1", "0"),
        ("table_expire(own)", "9500", "Absent"),
        ("table_expire(own,-3)", "9500", "-3"),
        ("table_idle(own)", "500", "Absent"),
        ("table_idle(own,77)", "500", "77"),
    ] {
        assert_eq!(convert(&rig, call, Value::Str(b"name")), expected, "{call}");
        assert_eq!(convert(&rig, call, Value::Str(b"nobody")), other, "{call}");
    }
}

#[test]
fn values_are_cast_to_keys() {
    let rig = rig();
    let table = rig.tables.get(TableId(1));
    let key = table.key(Value::Int(16_909_060)).expect("a number");
    table.update(&key, Millis(1000), |_| ());
    let v6 = |text: &str| Value::Ipv6(text.parse().expect("an address"));
    for (value, expected) in [
        (Value::Str(b"1.2.3.4"), "true"),
        (Value::Str(b"1.2.3.5"), "false"),
        (v6("::ffff:1.2.3.4"), "true"),
        (v6("2001:db8::1"), "Absent"),
        (Value::Str(b"no address"), "Absent"),
    ] {
        assert_eq!(
            convert(&rig, "in_table(addresses)", value),
            expected,
            "{value:?}"
        );
    }
}

#[test]
fn what_could_never_be_is_refused() {
    let rig = rig();
    for (call, input, part) in [
        (
            "table_gpc0(addresses)",
            Kind::Ipv4,
            "'addresses' does not store 'gpc0'",
        ),
        ("table_kbytes_in(addresses)", Kind::Ipv4, "'bytes_in_cnt'"),
        (
            "in_table(addresses)",
            Kind::Bin,
            "can never be a key of stick-table 'addresses'",
        ),
        ("in_table(nothing)", Kind::Ipv4, "'nothing'"),
        ("in_table(own,own)", Kind::Ipv4, "'own' is one too many"),
        ("table_idle(own,5,6)", Kind::Ipv4, "'6' is one too many"),
        (
            "table_idle(own,x)",
            Kind::Ipv4,
            "failed to parse 'x' as type 'integer' at position 2",
        ),
    ] {
        let fault = compiled(&rig, call, input).expect_err(call);
        assert!(fault.contains(part), "{call}: {fault}");
    }
    let word = word("x");
    for name in ["table_bytes_in_cnt", "table_nothing", "table_avl", "lower"] {
        let call = Call {
            name,
            arguments: &[],
            word: &word,
        };
        assert!(
            rig.names(|names| compile(call, Kind::Str, names)).is_none(),
            "{name}"
        );
    }
}
