//! What is refused, or warned about, and where.

use super::*;

#[test]
fn every_mistake_is_reported_where_it_stands() {
    let text = "\
foo bar
global
    nbthred 2
    maxconn many
defaults
    mode http
    timeuot client 3s
    timeout client 3x
listen a
    bind :80 foo nmae x :81
    bind :0,:70000,:82
    server s 192.0.2.1:80 wieght 3 weight 999
    server s 192.0.2.2:80
    cookie x
    dispatch 127.0.0.1:20
    opton tcplog
    option tcplgo
    balance leastcon
    offload rediret
    default_backend nope
fronted b
peers c
    peer x 192.0.2.1:80
";
    let expected = [
        "1:1 unknown keyword 'foo' out of section",
        "3:5 unknown keyword 'nbthred' in 'global' section; did you mean 'nbthread' maybe ?",
        "4:13 'maxconn' expects an integer between 0",
        "6:10 'mode http' is not supported",
        "7:5 unknown keyword 'timeuot' in 'defaults' section; did you mean 'timeout' maybe ?",
        "8:20 'timeout client' has an unknown time unit 'x'",
        "10:14 unknown keyword 'foo' among the parameters of 'bind'",
        "10:18 unknown keyword 'nmae' among the parameters of 'bind'; did you mean 'name' maybe ?",
        "10:25 unknown keyword ':81' among the parameters of 'bind'",
        "11:10 'bind' : invalid port '0'",
        "11:13 'bind' : invalid port '70000'",
        "12:27 unknown keyword 'wieght' among the parameters of 'server'; did you mean 'weight' maybe ?",
        "12:43 'weight' expects an integer between 0 and 256 (got '999')",
        "13:12 proxy 'a', another server named 's' was already defined at line 12",
        "14:5 'cookie' in 'listen' section only makes sense for HTTP",
        "15:5 'dispatch' in 'listen' section is known to HAProxy but not available in this version.",
        "16:5 unknown keyword 'opton' in 'listen' section; did you mean 'option' maybe ?",
        "17:12 unknown keyword 'tcplgo' after 'option'; did you mean 'tcplog' maybe ?",
        "18:13 unknown keyword 'leastcon' after 'balance'; did you mean 'leastconn' maybe ?",
        "19:13 'offload' supports",
        "21:1 unknown keyword 'fronted' in 'listen' section; did you mean 'frontend' maybe ?",
        "22:1 'peers' section is known to HAProxy but not available in this version.",
        "20:21 Proxy 'a': unable to find required default_backend: 'nope'.",
    ];
    let found = remarks(text, Severity::Alert);
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    assert!(outcome(text).config.is_none());
}

#[test]
fn keywords_of_haproxy_say_why_they_are_refused() {
    let table = [
        ("global", "lua-load x", "HAProxy's own machinery"),
        ("global", "nbproc 2", "removed from HAProxy"),
        (
            "global",
            "tune.h2.max-frame-size 3",
            "only makes sense for HTTP",
        ),
        ("global", "maxsslconn 10", "not available in this version"),
        ("listen", "http-request deny", "only makes sense for HTTP"),
        (
            "listen",
            "email-alert level notice",
            "not available in this version",
        ),
        ("listen", "option httplog", "only makes sense for HTTP"),
        (
            "listen",
            "option external-check",
            "not available in this version",
        ),
        (
            "listen",
            "timeout http-request 3s",
            "only makes sense for HTTP",
        ),
        ("listen", "clitimeout 3", "removed from HAProxy"),
        ("listen", "balance hdr(x)", "only makes sense for HTTP"),
        (
            "listen",
            "bind :80 crl-file /x",
            "not available in this version",
        ),
        ("listen", "option httpchk", "only makes sense for HTTP"),
        (
            "listen",
            "server s 192.0.2.1 check-via-socks4",
            "not available in this version",
        ),
        (
            "listen",
            "source 192.0.2.1 usesrc client",
            "not available in this version",
        ),
        (
            "listen",
            "log ring@x local0",
            "not available in this version",
        ),
    ];
    for (kind, text, why) in table {
        let found = remarks(&within(kind, text), Severity::Alert);
        assert!(!found.is_empty(), "{text}");
        assert!(
            found.iter().all(|found| found.contains(why)),
            "{text} {found:?}"
        );
    }
}

#[test]
fn keywords_that_are_ours_are_never_unknown() {
    let scopes = [
        ("global", "", &keywords::GLOBAL),
        ("listen", "", &keywords::PROXY),
        ("listen", "option ", &keywords::OPTION),
        ("listen", "timeout ", &keywords::TIMEOUT),
        ("listen", "balance ", &keywords::BALANCE),
        ("listen", "bind :80 ", &keywords::BIND),
        ("listen", "server s 192.0.2.1 ", &keywords::SERVER),
        ("global", "stats socket /x ", &keywords::STATS_SOCKET),
        (
            "global",
            "ssl-default-bind-options ",
            &keywords::BIND_OPTIONS,
        ),
        (
            "global",
            "ssl-default-server-options ",
            &keywords::SERVER_OPTIONS,
        ),
    ];
    for (kind, before, scope) in scopes {
        for keyword in scope.ours {
            let keyword = keyword.trim_end_matches('=');
            for found in remarks(
                &within(kind, &format!("{before}{keyword} 1")),
                Severity::Alert,
            ) {
                let unknown = found.contains(&format!("unknown keyword '{keyword}'"));
                let refused = found.contains(&format!("'{keyword}' {}", scope.place));
                assert!(!unknown && !refused, "{before}{keyword}: {found}");
            }
        }
    }
}

#[test]
fn keywords_for_the_other_half_are_warned_about() {
    let table = [
        ("backend", "bind :80"),
        ("backend", "maxconn 3"),
        ("backend", "backlog 3"),
        ("backend", "default_backend x"),
        ("backend", "option dontlognull"),
        ("backend", "option clitcpka"),
        ("backend", "option tcplog"),
        ("backend", "timeout client 3s"),
        ("backend", "monitor-net 192.0.2.1"),
        ("backend", "mode health"),
        ("frontend", "balance roundrobin"),
        ("frontend", "hash-type consistent"),
        ("frontend", "hash-balance-factor 150"),
        ("frontend", "retries 3"),
        ("frontend", "option redispatch"),
        ("frontend", "source 192.0.2.1"),
        ("frontend", "timeout connect 3s"),
    ];
    for (kind, text) in table {
        let text = within(kind, text);
        let found = remarks(&text, Severity::Warning);
        assert!(
            found.iter().any(|found| found.contains("ignored")),
            "{text} {found:?}"
        );
        assert!(outcome(&text).config.is_some(), "{text}");
    }
}
