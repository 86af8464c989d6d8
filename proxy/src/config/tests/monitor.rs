//! `mode health`, `monitor-net`, `option httpchk`.

use super::*;

fn nets(frontend: &Frontend) -> Vec<String> {
    frontend
        .monitor_net
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn networks_of_monitors() {
    let (front, _) = proxy(
        "monitor-net 192.0.2.1\n monitor-net 192.0.2.77/24\n monitor-net 198.51.100.0/255.255.255.128\n monitor-net 2001:db8::1/32\n monitor-net 192.0.2.1/32\n monitor-net web/32",
    );
    assert_eq!(
        nets(&front),
        [
            "192.0.2.1/32",
            "192.0.2.0/24",
            "198.51.100.0/25",
            "2001:db8::/32",
            "fd00::/32",
        ]
    );
    let config =
        valid("defaults\n monitor-net 192.0.2.1\nfrontend a\n monitor-net 192.0.2.2\nfrontend b\n");
    assert_eq!(nets(&config.frontends[0]), ["192.0.2.1/32", "192.0.2.2/32"]);
    assert_eq!(nets(&config.frontends[1]), ["192.0.2.1/32"]);

    for text in [
        "monitor-net",
        "monitor-net nope.test",
        "monitor-net 192.0.2.1/33",
        "monitor-net 192.0.2.1/255.0.255.0",
        "monitor-net 192.0.2.1/ffff::",
        "monitor-net 192.0.2.1/",
        "monitor-net 192.0.2.1 x",
    ] {
        let found = remarks(&within("frontend", text), Severity::Alert);
        assert_eq!(found.len(), 1, "{text} {found:?}");
    }
}

#[test]
fn health_needs_neither_backend_nor_timeouts() {
    let text = "frontend f\n mode health\n bind :80\n";
    assert_eq!(valid(text).frontends[0].mode, Mode::Health);
    assert_eq!(remarks(text, Severity::Warning).len(), 0);

    let text = "listen l\n mode health\n bind :80\n server s 192.0.2.1\n";
    let found = remarks(text, Severity::Warning);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("1:1 the servers of proxy 'l' are not used"));

    let config = valid("defaults\n mode health\nfrontend a\nfrontend b\n mode tcp\n");
    let modes: Vec<Mode> = config.frontends.iter().map(|front| front.mode).collect();
    assert_eq!(modes, [Mode::Health, Mode::Tcp]);
}

#[test]
fn httpchk_is_for_monitors_only() {
    let table = [
        ("frontend f\n mode health\n option httpchk\n", true),
        (
            "frontend f\n option httpchk GET / HTTP/1.0\n mode health\n",
            true,
        ),
        (
            "frontend f\n option httpchk\n monitor-net 192.0.2.1\n",
            true,
        ),
        (
            "defaults\n option httpchk\nfrontend f\n mode health\n",
            true,
        ),
        ("frontend f\n option httpchk\n no option httpchk\n", true),
        ("frontend f\n option httpchk\n", false),
        ("backend f\n mode health\n option httpchk\n", false),
        ("backend f\n option httpchk\n", false),
        ("defaults\n option httpchk\n", false),
        ("defaults\n option httpchk\nbackend f\nbackend g\n", false),
        (
            "defaults\n mode health\n option httpchk\nfrontend f\n mode tcp\n",
            false,
        ),
    ];
    for (text, accepted) in table {
        let found = remarks(text, Severity::Alert);
        assert_eq!(found.len(), usize::from(!accepted), "{text} {found:?}");
        if let [found] = &found[..] {
            assert!(found.contains("'httpchk' after 'option' only makes sense for HTTP"));
        }
    }
    let check = |text: &str| valid(text).frontends[0].http_check;
    assert!(check(table[0].0) && check(table[3].0));
    assert!(!check(table[4].0));
}
