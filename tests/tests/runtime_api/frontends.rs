//! Frontends that are paused, resumed, limited and closed while the daemon runs.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};

use underpass_tests::daemon::BOUND;
use underpass_tests::process::{Output, eventually};

use crate::site::{FILE, Site, with_both};

/// What a client of this port gets who says nothing.
fn connect(site: &Site, port: u16) -> Result<(), ErrorKind> {
    let to = SocketAddr::from(([127, 0, 0, 1], port));
    let connected = site.net.client.run(|| TcpStream::connect(to));
    connected.map(drop).map_err(|error| error.kind())
}

/// The column of the row of this frontend.
fn column(site: &Site, frontend: &str, column: &str) -> String {
    let text = site.ask("show stat");
    let mut lines = text.lines();
    let header = lines.next().expect("a header").trim_start_matches("# ");
    let at = header.split(',').position(|name| name == column);
    let row = lines.find(|line| line.starts_with(&format!("{frontend},FRONTEND,")));
    let row = row.unwrap_or_else(|| panic!("{frontend} in {text}"));
    let value = row.split(',').nth(at.expect("a column"));
    value.expect("a value").to_owned()
}

fn wait_for_line(site: &mut Site, line: &str) {
    let process = site.daemon.process();
    process
        .wait_lines(Output::Stdout, BOUND, line, |lines| {
            lines.iter().any(|known| known == line).then_some(())
        })
        .expect("the line");
}

#[test]
fn a_frontend_is_paused_and_resumed_and_closed() {
    let refused = Err(ErrorKind::ConnectionRefused);
    let mut site = Site::ours(FILE);
    let mut living = site.visit(8000);
    for _ in 0..3 {
        assert_eq!(site.ask("disable frontend fe"), "");
        assert_eq!(column(&site, "fe", "status"), "PAUSED");
        assert_eq!(connect(&site, 8000), refused);
        // Who is there stays, and nobody else is concerned.
        living.talk(b"still here");
        drop(site.visit(8001));
        assert_eq!(site.ask("enable frontend fe"), "");
        assert_eq!(column(&site, "fe", "status"), "OPEN");
        drop(site.visit(8000));
    }
    wait_for_line(&mut site, "Paused frontend fe.");
    wait_for_line(&mut site, "Resumed frontend fe.");
    assert_eq!(site.ask("shutdown frontend fe"), "");
    assert_eq!(column(&site, "fe", "status"), "STOP");
    assert_eq!(connect(&site, 8000), refused);
    living.talk(b"still here");
    wait_for_line(
        &mut site,
        "Proxy fe stopped (cumulated conns: FE: 4, BE: 0).",
    );
    drop(living);
    site.daemon.signal(libc::SIGUSR1).expect("a drain");
    wait_for_line(
        &mut site,
        "Proxy li stopped (cumulated conns: FE: 3, BE: 3).",
    );
    wait_for_line(
        &mut site,
        "Proxy be stopped (cumulated conns: FE: 0, BE: 4).",
    );
}

/// A limit that changes under those who are there.
#[test]
fn the_number_of_streams_is_limited_anew() {
    for command in ["set maxconn frontend li", "set maxconn global"] {
        let site = Site::ours(FILE);
        let held = [site.visit(8001), site.visit(8001)];
        assert_eq!(site.ask(&format!("{command} 2")), "");
        // The kernel takes the connection; the daemon does not.
        let to = SocketAddr::from(([127, 0, 0, 1], 8001));
        let waiting = site.net.client.run(|| TcpStream::connect(to));
        let waiting = waiting.expect("a place in the backlog");
        assert_eq!(column(&site, "li", "scur"), "2", "{command}");
        waiting.set_nonblocking(true).expect("a socket");
        let is_served = || waiting.peek(&mut [0]).is_ok_and(|count| count == 1);
        assert!(!is_served());
        assert_eq!(site.ask(&format!("{command} 3")), "");
        assert!(eventually(BOUND, is_served), "{command}: room for one more");
        drop(held);
    }
    let site = Site::ours(FILE);
    assert_eq!(site.ask("set maxconn frontend fe 17"), "");
    assert_eq!(column(&site, "fe", "slim"), "17");
    assert_eq!(site.ask("set maxconn global 50"), "");
    let facts = site.ask("show info");
    for fact in ["Maxconn: 50", "Hard_maxconn: 500"] {
        assert!(facts.lines().any(|line| line == fact), "{fact} in {facts}");
    }
}

/// What stands before and behind each value is the same in both programs.
#[test]
fn json_is_haproxys() {
    let texts = with_both(FILE, |site| {
        (site.ask("show stat json"), site.ask("show info json"))
    });
    // Values, and where there are none of ours, the whole field.
    let shape = |text: &str| -> Vec<String> {
        let fields = text.split("\"field\":").skip(1);
        let shape = |field: &str| {
            let end = field.find("\"value\":{\"type\":").expect("a value");
            let kind = field[end..].split('"').nth(5).expect("a type");
            format!("{}{kind}", &field[..end])
        };
        fields.map(shape).collect()
    };
    let [theirs, ours] = &texts;
    assert_eq!(shape(&theirs.0), shape(&ours.0));
    assert_eq!(theirs.0.matches("\"objType\":\"Server\"").count(), {
        ours.0.matches("\"objType\":\"Server\"").count()
    });
    let known = shape(&theirs.1);
    for field in shape(&ours.1) {
        assert!(known.contains(&field), "{field} is none of {known:?}");
    }
}
