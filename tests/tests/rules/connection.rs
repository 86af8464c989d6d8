//! `tcp-request connection`: what is decided when a connection is accepted.

use underpass_tests::cases;
use underpass_tests::compare::{Case, from};

cases! {
    no_rules: Case::frontend("").script([
        from(2).served('a'),
        from(2).says("one").says("two").served('a'),
    ]),

    reject_a_source: Case::frontend("tcp-request connection reject if { src 127.0.0.2 }").script([
        from(2).reset(),
        from(2).says("hello").reset(),
        from(3).says("hello").served('a'),
    ]),

    reject_everybody: Case::frontend("tcp-request connection reject").script([
        from(2).reset(),
        from(3).says("hello").reset(),
    ]),

    reject_unless: Case::frontend("tcp-request connection reject unless { src 127.0.0.2 127.0.0.4 }").script([
        from(2).served('a'),
        from(3).reset(),
        from(4).served('a'),
    ]),

    accept_ends_the_list: Case::frontend(
        "tcp-request connection accept if { src 127.0.0.2 }
         tcp-request connection reject",
    )
    .script([from(2).served('a'), from(3).reset()]),

    reject_before_accept: Case::frontend(
        "tcp-request connection reject if { src 127.0.0.0/29 }
         tcp-request connection accept if { src 127.0.0.2 }",
    )
    .script([from(2).reset(), from(8).served('a')]),

    silent_drop: Case::frontend("tcp-request connection silent-drop if { src 127.0.0.2 }").script([
        from(2).silent(),
        from(3).served('a'),
    ]),

    named_acl_with_or: Case::frontend(
        "acl two src 127.0.0.2
         acl three src 127.0.0.3
         tcp-request connection reject if two or three",
    )
    .script([from(2).reset(), from(3).reset(), from(4).served('a')]),

    named_acl_over_two_lines: Case::frontend(
        "acl bad src 127.0.0.2
         acl bad src 127.0.0.3
         tcp-request connection reject if bad",
    )
    .script([from(2).reset(), from(3).reset(), from(4).served('a')]),

    negation_and_two_terms: Case::frontend(
        "acl low src 127.0.0.0/29
         acl four src 127.0.0.4
         tcp-request connection reject if low !four || { src 127.0.0.9 }",
    )
    .script([
        from(2).reset(),
        from(4).served('a'),
        from(9).reset(),
        from(10).served('a'),
    ]),

    predefined_acls: Case::frontend(
        "tcp-request connection reject if LOCALHOST { src 127.0.0.2 }
         tcp-request connection reject if FALSE
         tcp-request connection accept if TRUE
         tcp-request connection reject",
    )
    .script([from(2).reset(), from(3).served('a')]),

    destination_port: Case::frontend(
        "bind 127.0.0.1:8001
         bind 127.0.0.5:8000
         tcp-request connection reject if { dst_port 8001 }
         tcp-request connection reject if { dst 127.0.0.5 }",
    )
    .script([
        from(2).served('a'),
        from(2).to("127.0.0.1:8001").reset(),
        from(2).to("127.0.0.5:8000").reset(),
    ]),

    source_port: Case::frontend(
        "tcp-request connection reject if { src_port lt 1024 }
         tcp-request connection accept if { src_port 1024:65535 }
         tcp-request connection reject",
    )
    .script([from(2).served('a')]),

    ipv6_source: Case::frontend(
        "bind [::1]:8006
         tcp-request connection reject if { src ::1 }",
    )
    .script([from(2).served('a'), from(2).to("[::1]:8006").reset()]),

    ipv6_network: Case::frontend(
        "bind [::1]:8006
         tcp-request connection reject unless { src ::/64 127.0.0.0/8 }",
    )
    .script([from(2).served('a'), from(2).to("[::1]:8006").served('a')]),

    listener_by_id_and_name: Case::frontend(
        "bind 127.0.0.1:8001 id 77
         bind 127.0.0.1:8002 name admin
         tcp-request connection reject if { so_id 77 }
         tcp-request connection reject if { so_name admin }",
    )
    .script([
        from(2).served('a'),
        from(2).to("127.0.0.1:8001").reset(),
        from(2).to("127.0.0.1:8002").reset(),
    ]),

    local_addresses: Case::frontend(
        "tcp-request connection reject unless { src_is_local } { dst_is_local }",
    )
    .script([from(2).served('a')]),

    rejected_are_not_logged_as_streams: Case::frontend(
        "tcp-request connection reject if { src 127.0.0.2 }
         tcp-request session reject if { src 127.0.0.3 }",
    )
    .script([from(2).reset(), from(3).refused(), from(4).says("x").served('a')]),

    expect_proxy: Case::frontend(
        "tcp-request connection expect-proxy layer4 if { src 127.0.0.2 }
         tcp-request session reject if { src 192.0.2.7 }",
    )
    .script([
        from(2).header("192.0.2.6:1000").says("hello").served('a'),
        from(2).header("192.0.2.7:1000").says("hello").refused(),
        from(3).says("hello").served('a'),
        from(2).says("GET / HTTP/1.0\r\n\r\n").refused(),
    ]),

    the_socket_s_source_before_the_header: Case::frontend(
        "tcp-request connection reject if { src 192.0.2.7 }
         tcp-request connection reject if { src 127.0.0.9 }",
    )
    .bind("accept-proxy")
    .script([
        from(2).header("192.0.2.7:1000").says("x").served('a'),
        from(9).header("192.0.2.8:1000").says("x").refused(),
    ]),
}
