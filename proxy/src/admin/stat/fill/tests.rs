use super::super::columns::NAMES;
use super::super::text::csv;
use super::*;

fn columns(row: Row) -> Vec<(&'static str, String)> {
    let text = csv(&[row]);
    let line = text.lines().nth(1).unwrap().to_owned();
    let values = line.split(',').map(str::to_owned);
    let names = NAMES.iter().copied();
    // The dash between the two kinds of columns has no name.
    let values = values.enumerate().filter(|(at, _)| *at != 103);
    names.zip(values.map(|(_, value)| value)).collect()
}

fn filled(row: Row) -> usize {
    let columns = columns(row);
    columns
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .count()
}

fn get(row: Row, column: &str) -> String {
    let columns = columns(row);
    let found = columns.iter().find(|(name, _)| *name == column);
    found.unwrap().1.clone()
}

#[test]
fn a_server_shows_what_it_has() {
    let counters = Counters::default();
    counters.sessions.add(7);
    counters.bytes_out.add(9);
    counters.retries.one();
    counters.time(crate::observe::counters::Taken {
        queue: 1,
        connect: 2,
        total: 30,
    });
    counters.time(crate::observe::counters::Taken {
        queue: 3,
        connect: 4,
        total: 40,
    });
    let facts = |address: Option<&str>, most| ServerFacts {
        backend: "be",
        backend_number: 3,
        name: "s",
        number: 9,
        counters: &counters,
        queued: 1,
        active: 2,
        most,
        most_queued: None,
        status: "no check".into(),
        maintained: false,
        down: false,
        weight: 10,
        backup: true,
        since_change: 5,
        rate: 0,
        since_session: None,
        address: address.map(str::to_owned),
        warm: None,
        tracked: None,
        observed: false,
        downtime: None,
        probes: [None, None],
    };
    let row = || server(&facts(Some("192.0.2.1:80"), Some(4)));
    let table = [
        ("pxname", "be"),
        ("svname", "s"),
        ("qcur", "1"),
        ("slim", "4"),
        ("stot", "7"),
        ("bout", "9"),
        ("dreq", ""),
        ("wretr", "1"),
        ("act", "0"),
        ("bck", "1"),
        ("qlimit", ""),
        ("iid", "3"),
        ("sid", "9"),
        ("lastsess", "-1"),
        ("qtime", "2"),
        ("ttime", "35"),
        ("ttime_max", "40"),
        ("addr", "192.0.2.1:80"),
        ("algo", ""),
        ("uweight", "10"),
        ("ssl_sess", "0"),
        ("h1_bytes_in", ""),
    ];
    for (column, expected) in table {
        assert_eq!(get(row(), column), expected, "{column}");
    }
    assert_eq!(filled(row()), filled(server(&facts(None, None))) + 2);
}

#[test]
fn proxies_fill_the_columns_of_their_kind() {
    let counters = Counters::default();
    let front = frontend(&FrontendFacts {
        name: "fe",
        number: 2,
        counters: &counters,
        active: 0,
        most: 500,
        rate: 0,
        rate_limit: 3,
        mode: "tcp",
        status: "OPEN",
    });
    let back = backend(&BackendFacts {
        name: "be",
        number: 3,
        counters: &counters,
        queued: 0,
        active: 0,
        full: 50,
        status: "UP".into(),
        weight: 1,
        servers: 1,
        main_servers: 1,
        backup_servers: 0,
        downs: 0,
        downtime: 0,
        since_change: 0,
        rate: 0,
        since_session: Some(4),
        balance: Some("roundrobin"),
    });
    for (row, column, expected) in [
        (&front, "status", "OPEN"),
        (&front, "rate_lim", "3"),
        (&front, "econ", ""),
        (&front, "dcon", "0"),
        (&front, "algo", ""),
        (&back, "slim", "50"),
        (&back, "econ", "0"),
        (&back, "dcon", ""),
        (&back, "lastsess", "4"),
        (&back, "algo", "roundrobin"),
    ] {
        assert_eq!(get(row.clone(), column), expected, "{column}");
    }
}
