//! Servers by host name, `server-template` and `resolvers`.

use super::super::model::names::{AddressFamily, Hold, HostName, Nameserver};
use super::*;

const DNS: &str = "resolvers dns\n nameserver ns1 127.0.0.1:53\n";

/// A backend of these lines, on lines 3 and following.
fn backend(lines: &str) -> String {
    format!("{DNS}backend be\n timeout connect 1s\n timeout server 1s\n{lines}")
}

fn servers(lines: &str) -> Vec<Server> {
    valid(&backend(lines)).backends.remove(0).servers
}

fn alerts(lines: &str) -> Vec<String> {
    remarks(&backend(lines), Severity::Alert)
}

fn inet(text: &str) -> ServerAddress {
    ServerAddress::Inet(text.parse().unwrap())
}

#[test]
fn what_a_server_starts_with() {
    // The words, its address, whether it is in maintenance.
    let table = [
        ("web:80", "[fd00::1]:80", false),
        ("ipv4@web:80", "192.0.2.1:80", false),
        ("web.:80", "[fd00::1]:80", false),
        ("web:80 init-addr libc", "[fd00::1]:80", false),
        ("web:80 init-addr last,libc,none", "[fd00::1]:80", false),
        ("web:80 init-addr none", "0.0.0.0:80", true),
        ("web:80 init-addr none,libc", "0.0.0.0:80", true),
        ("web:80 init-addr 192.0.2.7", "192.0.2.7:80", false),
        ("nix:80 init-addr libc,192.0.2.7", "192.0.2.7:80", false),
        ("nix:80 init-addr libc,fd00::7", "[fd00::7]:80", false),
        ("nix:80 init-addr libc,none", "0.0.0.0:80", true),
        ("nix:80 resolvers dns", "0.0.0.0:80", true),
        ("web:80 resolvers dns", "[fd00::1]:80", false),
        ("_http._tcp.web resolvers dns", "0.0.0.0:0", true),
        (
            "_http._tcp.web:80 init-addr libc,none resolvers dns",
            "0.0.0.0:80",
            true,
        ),
    ];
    for (words, address, unresolved) in table {
        let [server] = &servers(&format!(" server s {words}\n"))[..] else {
            panic!("{words}");
        };
        assert_eq!(server.address, inet(address), "{words}");
        assert_eq!(server.naming.unresolved, unresolved, "{words}");
        assert!(server.naming.host.is_some(), "{words}");
    }
    let [server] = &servers(" server s 192.0.2.1:80 resolvers dns init-addr none\n")[..] else {
        panic!("one server");
    };
    assert_eq!(server.address, inet("192.0.2.1:80"));
    assert!(!server.naming.unresolved && server.naming.host.is_none());
}

#[test]
fn names_and_wishes() {
    let lines =
        " default-server resolvers dns init-addr none resolve-opts allow-dup-ip,ignore-weight
 server a Web.test:80 resolve-prefer ipv4 resolve-net 10.1.2.3/8,fd00::/8,192.0.2.1
 server b _http._tcp.web.test resolve-opts prevent-dup-ip
 server c x.test:+10
";
    let [a, b, c] = &servers(lines)[..] else {
        panic!("three servers");
    };
    assert_eq!(a.naming.host, Some(HostName::Host("Web.test".into())));
    assert_eq!(a.naming.resolvers, Some(0));
    assert_eq!(a.naming.wish.family, AddressFamily::V4);
    let networks: Vec<String> = a
        .naming
        .wish
        .networks
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(networks, ["10.0.0.0/8", "fd00::/8", "192.0.2.1/32"]);
    assert!(a.naming.wish.allow_duplicates && a.naming.ignore_weight);
    let service = HostName::Service("_http._tcp.web.test".into());
    assert_eq!(b.naming.host, Some(service));
    assert_eq!(b.port, ServerPort::Fixed);
    assert!(!b.naming.wish.allow_duplicates && b.naming.ignore_weight);
    assert_eq!(b.naming.wish.family, AddressFamily::V6);
    assert_eq!(c.port, ServerPort::Offset(10));
}

#[test]
fn what_is_wrong_with_a_server_by_name() {
    let table = [
        (
            "nix:80",
            "6:11 'server be/s' : could not resolve address 'nix'.",
        ),
        (
            "nix:80 init-addr last",
            "6:11 'server be/s' : no method found to resolve address 'nix'.",
        ),
        (
            "_http._tcp.web",
            "6:11 'server be/s' : no method found to resolve address '_http._tcp.web'.",
        ),
        (
            "web:80 init-addr lib",
            "6:28 'init-addr' : unknown init-addr method 'lib'",
        ),
        (
            "web:80 resolvers nix",
            "6:28 backend 'be', server 's': unable to find required resolvers 'nix'",
        ),
        (
            "web:80 resolve-prefer ipv5",
            "'resolve-prefer' expects either ipv4 or ipv6",
        ),
        (
            "web:80 resolve-net 10.0.0.0/8,x",
            "'resolve-net' invalid network 'x'.",
        ),
        (
            "web:80 resolve-opts all",
            "unknown resolve-opts option 'all'",
        ),
        (
            "a..b:80 init-addr none",
            "'a..b' is no host name: it has an empty part.",
        ),
        (
            "a!b:80 init-addr none",
            "'a!b' is no host name: it has the character '!'.",
        ),
        ("web:80-81", "port range not permitted here in 'web:80-81'"),
    ];
    for (words, expected) in table {
        let found = alerts(&format!(" server s {words}\n"));
        let hit = found.len() == 1 && found[0].contains(expected);
        assert!(hit, "{words} {found:?}");
    }
    let none = alerts(" server s nix:80 init-addr\n");
    assert!(!none.is_empty(), "a list is missing");
}

#[test]
fn what_is_said_of_names_that_are_not_known_yet() {
    let text = |words: &str| backend(&format!(" server s {words}\n"));
    for (words, expected) in [
        (
            "nix:80 resolvers dns",
            "could not resolve address 'nix', disabling server.",
        ),
        (
            "nix:80 init-addr libc,192.0.2.1",
            "could not resolve address 'nix', falling back to configured address.",
        ),
    ] {
        let found = remarks(&text(words), Severity::Warning);
        assert!(
            found.iter().any(|found| found.contains(expected)),
            "{found:?}"
        );
    }
    for quiet in ["nix:80 init-addr none", "nix:80 init-addr 192.0.2.1"] {
        let found = remarks(&text(quiet), Severity::Warning);
        assert!(found.is_empty(), "{quiet} {found:?}");
    }
}

#[test]
fn templates() {
    let names = |lines: &str| -> Vec<String> {
        let servers = servers(lines);
        servers
            .iter()
            .map(|server| server.name.to_string())
            .collect()
    };
    let line = |words: &str| names(&format!(" server-template {words} web:80 weight 7\n"));
    assert_eq!(line("s 3"), ["s1", "s2", "s3"]);
    assert_eq!(line("web- 8-10"), ["web-8", "web-9", "web-10"]);
    assert_eq!(line("s 5-5"), ["s5"]);
    let all = servers(" server-template s 2 web:80 weight 7 id 9 resolvers dns\n server x web:1\n");
    let [first, second, other] = &all[..] else {
        panic!("{all:?}");
    };
    assert_eq!((first.weight, second.weight, other.weight), (7, 7, 1));
    assert_eq!((first.id, second.id), (Some(9), None));
    assert_eq!(second.address, inet("[fd00::1]:80"));
    assert_eq!(second.naming.resolvers, Some(0));
}

#[test]
fn what_is_wrong_with_a_template() {
    let table = [
        (
            "s 0 web:80",
            "Wrong server-template number or range arg '0'.",
        ),
        (
            "s 3-1 web:80",
            "Wrong server-template number or range arg '3-1'.",
        ),
        (
            "s x web:80",
            "Wrong server-template number or range arg 'x'.",
        ),
        (
            "s 1- web:80",
            "Wrong server-template number or range arg '1-'.",
        ),
        (
            "s +3 web:80",
            "Wrong server-template number or range arg '+3'.",
        ),
        (
            "s 1-2-3 web:80",
            "Wrong server-template number or range arg '1-2-3'.",
        ),
        ("s 0-65536 web:80", "makes more than 65536 servers"),
        (
            "s 3",
            "'server-template' expects <prefix> <nb | range> <addr>[:<port>] as arguments.",
        ),
        (
            "s! 3 web:80",
            "character '!' is not permitted in 'server-template' name 's!'.",
        ),
        (
            "s 3 nix:80",
            "'server be/s1' : could not resolve address 'nix'.",
        ),
        (
            "s 3 web:80 resolvers nix",
            "server 's1': unable to find required resolvers 'nix'",
        ),
        ("s 3 web:80 wieght 3", "did you mean 'weight' maybe ?"),
    ];
    for (words, expected) in table {
        let found = alerts(&format!(" server-template {words}\n"));
        let hit = found.len() == 1 && found[0].contains(expected);
        assert!(hit, "{words} {found:?}");
    }
    let twice = "another server named 's2' was already defined at line 6";
    for lines in [
        " server-template s 3 web:80\n server s2 web:80\n",
        " server s2 web:80\n server-template s 3 web:80\n",
    ] {
        let found = alerts(lines);
        assert!(found.len() == 1 && found[0].contains(twice), "{found:?}");
    }
    let found = remarks("defaults\n server-template s 3 web:80\n", Severity::Alert);
    let expected = "2:2 'server-template' not allowed in 'defaults' section.";
    assert_eq!(found, [expected]);
}

#[test]
fn resolvers() {
    let text = "resolvers dns
 nameserver a 192.0.2.1:53
 nameserver b udp@[fd00::1]:5353
 nameserver c tcp@ipv4@web:54
 parse-resolv-conf
 resolve_retries 5
 timeout resolve 10s
 timeout retry 20
 accepted_payload_size 8192
 hold valid 1
 hold nx 2
 hold refused 3
 hold timeout 4
 hold other 5
 hold obsolete 6
resolvers plain
 nameserver a 192.0.2.1:53
";
    let text = text.replace("tcp@ipv4@web", "tcp4@web");
    let config = valid(&text);
    let [dns, plain] = &config.resolvers[..] else {
        panic!("{:?}", config.resolvers);
    };
    let seen: Vec<_> = dns
        .nameservers
        .iter()
        .map(
            |Nameserver {
                 name, address, tcp, ..
             }| (&**name, address.to_string(), *tcp),
        )
        .collect();
    assert_eq!(
        seen,
        [
            ("a", "192.0.2.1:53".to_owned(), false),
            ("b", "[fd00::1]:5353".to_owned(), false),
            ("c", "192.0.2.1:54".to_owned(), true),
            ("192.0.2.53", "192.0.2.53:53".to_owned(), false),
            ("fd00::53", "[fd00::53]:53".to_owned(), false),
        ]
    );
    let ms = Duration::from_millis;
    assert_eq!(
        (dns.retries, dns.resolve, dns.retry),
        (5, ms(10_000), ms(20))
    );
    assert_eq!(dns.payload, 8192);
    let hold = Hold {
        valid: ms(1),
        nx: ms(2),
        refused: ms(3),
        timeout: ms(4),
        other: ms(5),
        obsolete: ms(6),
    };
    assert_eq!(dns.hold, hold);
    assert_eq!(
        (plain.retries, plain.resolve, plain.retry),
        (3, ms(1000), ms(1000))
    );
    assert_eq!((plain.payload, plain.hold), (512, Hold::default()));
}

#[test]
fn what_is_wrong_with_resolvers() {
    let table = [
        (
            "nameserver",
            "'nameserver' expects <name> and <addr>[:<port>] as arguments.",
        ),
        (
            "nameserver m",
            "'nameserver' expects <name> and <addr>[:<port>] as arguments.",
        ),
        (
            "nameserver n 192.0.2.1:53",
            "nameserver 'n' has same name as another nameserver (declared at t.cfg:2).",
        ),
        (
            "nameserver m! 192.0.2.1:53",
            "character '!' is not permitted in 'nameserver' name 'm!'.",
        ),
        (
            "nameserver m 192.0.2.1",
            "'nameserver m' : missing port specification in '192.0.2.1'",
        ),
        (
            "nameserver m 192.0.2.1:0",
            "'nameserver m' : invalid port '0'",
        ),
        (
            "nameserver m 192.0.2.1:5-6",
            "'nameserver m' : port range not permitted here in '192.0.2.1:5-6'",
        ),
        (
            "nameserver m /run/x",
            "'nameserver m' : an IP address is expected, got '/run/x'",
        ),
        (
            "nameserver m 192.0.2.1:53 x",
            "'nameserver' cannot handle unexpected argument 'x'.",
        ),
        (
            "parse-resolv-conf x",
            "'parse-resolv-conf' cannot handle unexpected argument 'x'.",
        ),
        (
            "resolve_retries",
            "'resolve_retries' expects <nb> as argument.",
        ),
        ("resolve_retries x", "'resolve_retries' expects an integer"),
        (
            "accepted_payload_size 11",
            "'accepted_payload_size' expects an integer between 12 and 65535 (got '11')",
        ),
        ("accepted_payload_size 65536", "(got '65536')"),
        (
            "timeout",
            "'timeout' expects 'retry' or 'resolve' and <time> as arguments",
        ),
        (
            "timeout resolve",
            "'timeout resolve' expects <time> as argument.",
        ),
        (
            "timeout retyr 3s",
            "'timeout' expects 'retry' or 'resolve' and <time> as arguments got 'retyr'.",
        ),
        ("timeout retry x", "'timeout retry' expects a time"),
        (
            "hold nx",
            "'hold' expects an <event> and a <time> as arguments",
        ),
        (
            "hold valdi 3s",
            "'hold' unknown <event>: 'valdi', expects either 'nx', 'timeout', 'refused', 'valid', 'obsolete', 'other'; did you mean 'valid' maybe ?",
        ),
        ("hold nx x", "'hold nx' expects a time"),
        (
            "hold nx 3s 4s",
            "'hold' cannot handle unexpected argument '4s'.",
        ),
        (
            "nameservre m 192.0.2.1:53",
            "unknown keyword 'nameservre' in 'resolvers' section; did you mean 'nameserver' maybe ?",
        ),
    ];
    for (line, expected) in table {
        let text = format!("resolvers d\n nameserver n 192.0.2.9:53\n {line}\n");
        let found = remarks(&text, Severity::Alert);
        let hit = found.len() == 1 && found[0].starts_with("3:") && found[0].contains(expected);
        assert!(hit, "{line} {found:?}");
    }
    for (text, expected) in [
        (
            "resolvers\n nameserver n 192.0.2.9:53\n",
            "1:1 missing name for resolvers section.",
        ),
        (
            "resolvers d!\n nameserver n 192.0.2.9:53\n",
            "1:11 character '!' is not permitted in 'resolvers' name 'd!'.",
        ),
        (
            "resolvers d\n nameserver n 192.0.2.9:53\nresolvers d\n nameserver n 192.0.2.9:53\n",
            "3:11 resolvers 'd' has same name as another resolvers (declared at t.cfg:1).",
        ),
    ] {
        assert_eq!(remarks(text, Severity::Alert), [expected]);
    }
    let empty = remarks("resolvers d\n", Severity::Warning);
    assert_eq!(empty, ["1:1 resolvers 'd' has no nameservers configured!"]);
    let text = "resolvers d\n nameserver n 192.0.2.9:53\n timeout retry 0\n";
    let found = remarks(text, Severity::Warning);
    assert!(found.len() == 1 && found[0].starts_with("3:16 'timeout retry' : without a pause"));
    assert_eq!(valid(text).resolvers[0].retry, Duration::from_secs(1));
}

#[test]
fn the_system_is_asked_where_nobody_wrote_a_section() {
    let config = valid(&backend(" server s web:80 resolvers default\n"));
    assert_eq!(config.resolvers.len(), 2);
    let server = &config.backends[0].servers[0];
    let section = &config.resolvers[server.naming.resolvers.unwrap()];
    assert_eq!((&*section.name, section.nameservers.len()), ("default", 2));
    let config = valid(&backend(" server s web:80\n"));
    assert_eq!(config.resolvers.len(), 1, "nobody asks for it");
    let text = format!(
        "resolvers default\n nameserver own 192.0.2.9:53\n{}",
        backend(" server s web:80 resolvers default\n")
    );
    let config = valid(&text);
    assert_eq!(config.resolvers[0].nameservers.len(), 1, "it is written");
    assert_eq!(config.resolvers.len(), 2);
}
