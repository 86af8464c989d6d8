//! What commands do to servers and streams.

use underpass_tests::daemon::BOUND;
use underpass_tests::process::eventually;

use crate::site::{FILE, Site};

#[test]
fn servers_are_taken_out_and_brought_back() {
    let site = Site::ours(FILE);
    let kept = site.visit(8000);
    assert_eq!(kept.server, 'a');
    assert_eq!(site.ask("disable server be/a"), "");
    assert_eq!(site.visit(8000).server, 'b', "only the backup is left");
    assert_eq!(site.ask("enable server be/c"), "");
    assert_eq!(site.visit(8000).server, 'c', "no backup serves any more");
    assert_eq!(site.ask("set server be/c state drain"), "");
    assert_eq!(site.visit(8000).server, 'b');
    assert_eq!(site.ask("set server be/a state ready"), "");
    assert_eq!(site.visit(8000).server, 'a');
    // Weights: none, then all of it.
    assert_eq!(site.ask("set server be/c state ready"), "");
    assert_eq!(site.ask("set server be/a weight 0"), "");
    for _ in 0..4 {
        assert_eq!(site.visit(8000).server, 'c');
    }
    // Another place.
    assert_eq!(site.ask("set server be/a weight 100%"), "");
    assert_eq!(site.ask("disable server be/c"), "");
    let said = site.ask("set server be/a addr 127.0.0.1 port 9002");
    assert_eq!(
        said,
        "no need to change the addr, port changed from '9001' to '9002' by 'stats socket command'\n"
    );
    assert_eq!(site.visit(8000).server, 'b');
    // Who was there stayed there.
    kept.leave();
}

/// The first word of each line of `show sess`.
fn sessions(site: &Site) -> Vec<String> {
    let text = site.ask("show sess");
    text.lines()
        .map(|line| line.split(':').next().expect("an id").to_owned())
        .collect()
}

#[test]
fn streams_are_shown_and_ended() {
    let site = Site::ours(FILE);
    let mut one = site.visit(8000);
    one.talk(b"12345");
    let text = site.ask("show sess");
    for word in [
        "proto=tcpv4",
        "fe=fe",
        "be=be",
        "srv=a",
        "up=5",
        "down=6",
        "scb=[8]",
    ] {
        let mut words = text.split_whitespace();
        assert!(words.any(|other| other == word), "{word} in {text}");
    }
    let ids = sessions(&site);
    assert_eq!(ids.len(), 1, "{text}");
    let full = site.ask(&format!("show sess {}", ids[0]));
    assert!(full.contains("backend=be (id=3 mode=tcp)"), "{full}");
    assert!(
        full.contains("server=a (id=1) addr=127.0.0.1:9001"),
        "{full}"
    );
    assert_eq!(site.ask(&format!("shutdown session {}", ids[0])), "");
    assert!(one.is_ended());
    let record = site.daemon.wait_records(1).expect("a record").remove(0);
    assert_eq!(record.end, "K-", "{}", record.line);
    let gone = eventually(BOUND, || sessions(&site).is_empty());
    assert!(gone, "{}", site.ask("show sess"));
    assert_eq!(
        site.ask(&format!("shutdown session {}", ids[0])),
        "No such session (use 'show sess').\n"
    );

    // All of one server, and none of another.
    let mut ended = [site.visit(8000), site.visit(8000)];
    let mut other = site.visit(8001);
    while other.server != 'b' {
        other = site.visit(8001);
    }
    assert_eq!(site.ask("shutdown sessions server be/a"), "");
    for visitor in &mut ended {
        assert!(visitor.is_ended());
    }
    other.talk(b"still here");
}
