//! Fetches of counters, on real tables.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::rules::scene::Millis;
use crate::rules::table::tests::rig::{Rig, parts, text, word};
use crate::rules::table::{Periods, TableSettings};

fn settings(name: &str, kind: Kind, stores: StoreSet) -> TableSettings {
    TableSettings {
        name: Arc::from(name),
        kind,
        key_len: 32,
        size: 2,
        expire: Some(Duration::from_secs(10)),
        nopurge: true,
        stores,
        periods: Periods::default(),
    }
}

/// `own` and `other` store everything, `rates` only rates, `names` has keys of another type.
fn rig() -> Rig {
    Rig::new(vec![
        settings("own", Kind::Ipv4, StoreSet::all()),
        settings("other", Kind::Ipv4, StoreSet::all()),
        settings(
            "rates",
            Kind::Ipv4,
            StoreSet::GPC0_RATE | StoreSet::CONN_RATE,
        ),
        settings("names", Kind::Str, StoreSet::all()),
    ])
}

fn compiled(rig: &Rig, call: &str) -> Result<Box<dyn Fetch>, String> {
    let word = word(call);
    let (name, arguments) = parts(call);
    let call = Call {
        name,
        arguments: &arguments,
        word: &word,
    };
    let fetch = rig.names(|names| compile(call, names));
    let fetch = fetch.unwrap_or_else(|| panic!("{name} is of this family"));
    fetch.map_err(|fault| {
        assert_eq!(fault.position, word.position);
        fault.message
    })
}

fn look(rig: &Rig, call: &str, source: Option<&str>, tracked: [Option<&Tracked>; 3]) -> String {
    let fetch = compiled(rig, call).unwrap_or_else(|fault| panic!("{call}: {fault}"));
    rig.scene(1000, source, tracked, |scene| {
        let sample = fetch.look(scene);
        if let Some(value) = sample.value() {
            let is_bool = matches!(value, Value::Bool(_));
            assert_eq!(fetch.kind() == Kind::Bool, is_bool, "{call}");
        }
        text(sample)
    })
}

fn track(rig: &Rig, table: usize, value: Value<'_>) -> Tracked {
    let table = rig.tables.get(TableId(table));
    let key = table.key(value).expect("a key");
    table.track(&key, Millis(1000)).expect("there is room")
}

const SOURCE: &str = "10.0.0.1";

fn source() -> Value<'static> {
    Value::Ipv4(SOURCE.parse().expect("an address"))
}

#[test]
fn every_name_is_known() {
    let rig = rig();
    for name in NAMES {
        let arguments = if name.starts_with("sc_") { "(1)" } else { "" };
        if let Err(fault) = compiled(&rig, &format!("{name}{arguments}")) {
            panic!("{name}: {fault}");
        }
    }
    let word = word("x");
    for name in [
        "src",
        "src_port",
        "sc3_conn_cnt",
        "src_tracked",
        "table_conn_cnt",
        "sc0_updt_conn_cnt",
    ] {
        let call = Call {
            name,
            arguments: &[],
            word: &word,
        };
        assert!(rig.names(|names| compile(call, names)).is_none(), "{name}");
    }
}

/// Each reading fetch gives the value of its column, by the source and by what is tracked.
#[test]
fn each_reads_its_column() {
    let rig = rig();
    let tracked = track(&rig, 0, source());
    tracked.update(Millis(1000), |entry| {
        for (column, value) in Column::ALL.into_iter().zip(1..) {
            entry.set(column, 10_000 * value);
        }
    });
    for (name, column) in [
        ("get_gpt0", Column::Gpt0),
        ("get_gpc0", Column::Gpc0),
        ("gpc0_rate", Column::Gpc0Rate),
        ("get_gpc1", Column::Gpc1),
        ("gpc1_rate", Column::Gpc1Rate),
        ("conn_cnt", Column::ConnCnt),
        ("conn_cur", Column::ConnCur),
        ("conn_rate", Column::ConnRate),
        ("sess_cnt", Column::SessCnt),
        ("sess_rate", Column::SessRate),
        ("bytes_in_rate", Column::BytesInRate),
        ("bytes_out_rate", Column::BytesOutRate),
        ("kbytes_in", Column::BytesInCnt),
        ("kbytes_out", Column::BytesOutCnt),
    ] {
        let place = Column::ALL.iter().position(|other| *other == column);
        let value = 10_000 * (1 + place.expect("every column is in the list"));
        let value = if name.starts_with("kbytes") {
            value / 1024
        } else {
            value
        };
        let held = [None, Some(&tracked), None];
        for call in [format!("src_{name}"), format!("src_{name}(own)")] {
            assert_eq!(
                look(&rig, &call, Some(SOURCE), [None; 3]),
                value.to_string(),
                "{call}"
            );
        }
        for call in [
            format!("sc1_{name}"),
            format!("sc_{name}(1)"),
            format!("sc1_{name}(own)"),
            format!("sc_{name}(1,own)"),
        ] {
            assert_eq!(look(&rig, &call, None, held), value.to_string(), "{call}");
        }
        // Another source, and the same key in another table.
        assert_eq!(
            look(&rig, &format!("src_{name}"), Some("10.0.0.2"), held),
            "0"
        );
        assert_eq!(
            look(&rig, &format!("src_{name}(other)"), Some(SOURCE), held),
            "0"
        );
        assert_eq!(look(&rig, &format!("sc1_{name}(other)"), None, held), "0");
        assert_eq!(look(&rig, &format!("sc1_{name}(names)"), None, held), "0");
        // Nothing is tracked there; there is no source.
        assert_eq!(
            look(&rig, &format!("sc0_{name}"), Some(SOURCE), held),
            "Absent"
        );
        assert_eq!(
            look(&rig, &format!("sc0_{name}(other)"), Some(SOURCE), held),
            "Absent"
        );
        assert_eq!(look(&rig, &format!("src_{name}"), None, held), "Absent");
        assert_eq!(
            look(&rig, &format!("src_{name}"), Some("2001:db8::1"), held),
            "Absent"
        );
    }
}

#[test]
fn what_the_tracked_entry_does_not_store_is_absent() {
    let rig = rig();
    let tracked = track(&rig, 2, source());
    let held = [Some(&tracked), None, None];
    assert_eq!(look(&rig, "sc0_conn_cur", None, held), "Absent");
    assert_eq!(look(&rig, "sc0_clr_gpc0", None, held), "Absent");
    assert_eq!(look(&rig, "sc0_conn_rate", None, held), "1");
    assert_eq!(look(&rig, "sc0_inc_gpc1", None, held), "0");
    assert_eq!(look(&rig, "sc0_inc_gpc0", None, held), "1", "of the rate");
    assert_eq!(look(&rig, "sc0_inc_gpc0", None, held), "2");
}

#[test]
fn counters_of_the_source_create_its_entry() {
    let rig = rig();
    for call in ["src_inc_gpc0", "src_inc_gpc1", "src_updt_conn_cnt"] {
        assert_eq!(look(&rig, call, Some(SOURCE), [None; 3]), "1", "{call}");
        assert_eq!(look(&rig, call, Some(SOURCE), [None; 3]), "2", "{call}");
    }
    assert_eq!(look(&rig, "src_clr_gpc0", Some(SOURCE), [None; 3]), "2");
    assert_eq!(look(&rig, "src_get_gpc0", Some(SOURCE), [None; 3]), "0");
    assert_eq!(look(&rig, "src_clr_gpc1", Some("10.0.0.2"), [None; 3]), "0");
    assert_eq!(look(&rig, "table_cnt", None, [None; 3]), "2");
    assert_eq!(look(&rig, "table_avl", None, [None; 3]), "0");
    // The table is full and purges nothing.
    assert_eq!(look(&rig, "src_inc_gpc0", Some("10.0.0.3"), [None; 3]), "0");
    assert_eq!(look(&rig, "src_clr_gpc0", Some("10.0.0.3"), [None; 3]), "0");
    assert_eq!(
        look(&rig, "src_updt_conn_cnt", Some("10.0.0.3"), [None; 3]),
        "Absent"
    );
    assert_eq!(
        look(&rig, "src_inc_gpc0(names)", Some("2001:db8::1"), [None; 3]),
        "1"
    );
    assert_eq!(look(&rig, "table_avl(names)", None, [None; 3]), "1");
}

#[test]
fn counters_of_what_is_tracked_do_not_create_entries_elsewhere() {
    let rig = rig();
    let tracked = track(&rig, 0, source());
    let held = [None, None, Some(&tracked)];
    assert_eq!(look(&rig, "sc2_inc_gpc0", None, held), "1");
    assert_eq!(look(&rig, "sc_inc_gpc0(2)", None, held), "2");
    assert_eq!(look(&rig, "sc2_inc_gpc0(other)", None, held), "0");
    assert_eq!(look(&rig, "table_cnt(other)", None, held), "0");
    assert_eq!(look(&rig, "src_inc_gpc0(other)", Some(SOURCE), held), "1");
    assert_eq!(look(&rig, "sc2_inc_gpc0(other)", None, held), "2");
    assert_eq!(look(&rig, "sc2_clr_gpc0(other)", None, held), "2");
    assert_eq!(look(&rig, "sc2_clr_gpc0", None, held), "2");
    assert_eq!(look(&rig, "sc2_get_gpc0", None, held), "0");
}

#[test]
fn whether_and_how_often_something_is_tracked() {
    let rig = rig();
    let first = track(&rig, 0, source());
    let second = track(&rig, 0, source());
    let held = [Some(&first), None, Some(&second)];
    for (call, expected) in [
        ("sc0_tracked", "true"),
        ("sc1_tracked", "false"),
        ("sc_tracked(2)", "true"),
        ("sc_tracked(2,own)", "true"),
        ("sc_tracked(2,other)", "false"),
        ("sc0_trackers", "2"),
        ("sc1_trackers", "Absent"),
        ("sc_trackers(2,own)", "2"),
        ("sc_trackers(2,other)", "0"),
    ] {
        assert_eq!(look(&rig, call, None, held), expected, "{call}");
    }
}

#[test]
fn what_could_never_be_is_refused() {
    let rig = rig();
    for (call, part) in [
        (
            "src_conn_cur(rates)",
            "stick-table 'rates' does not store 'conn_cur'",
        ),
        (
            "sc0_clr_gpc0(rates)",
            "stick-table 'rates' does not store 'gpc0'",
        ),
        (
            "src_inc_gpc1(rates)",
            "does not store 'gpc1' or 'gpc1_rate'",
        ),
        ("src_updt_conn_cnt(rates)", "does not store 'conn_cnt'"),
        ("src_kbytes_in(rates)", "does not store 'bytes_in_cnt'"),
        ("src_conn_cnt(nothing)", "'nothing'"),
        ("sc0_conn_cnt(nothing)", "'nothing'"),
        ("table_cnt(nothing)", "'nothing'"),
        ("src_conn_cnt(own,other)", "'other' is one too many"),
        ("sc1_conn_cnt(own,other)", "'other' is one too many"),
        ("sc_conn_cnt(1,own,other)", "'other' is one too many"),
        ("table_avl(own,other)", "'other' is one too many"),
        ("sc_conn_cnt", "expected type 'integer' at position 1"),
        (
            "sc_conn_cnt(own)",
            "failed to parse 'own' as type 'integer'",
        ),
        ("sc_conn_cnt(-1)", "failed to parse '-1' as type 'integer'"),
        ("sc_conn_cnt(3)", "no counter 3"),
    ] {
        let fault = compiled(&rig, call).expect_err(call);
        assert!(fault.contains(part), "{call}: {fault}");
    }
    assert!(compiled(&rig, "src_inc_gpc0(rates)").is_ok());
}
