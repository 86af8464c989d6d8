//! `tcp-request session`: what is decided when the addresses of a PROXY header are known.

use underpass_tests::cases;
use underpass_tests::compare::{Case, from};

cases! {
    reject_the_header_s_source: Case::frontend("tcp-request session reject if { src 192.0.2.0/24 }")
        .bind("accept-proxy")
        .script([
            from(2).header("192.0.2.7:1000").says("x").refused(),
            from(2).header("198.51.100.7:1000").says("x").served('a'),
        ]),

    ipv6_through_the_header: Case::frontend(
        "tcp-request session reject if { src 2001:db8:1::/48 }
         use_backend b if { src 2001:db8::/32 }
         use_backend c if { src -m found } { dst_port 443 }",
    )
    .bind("accept-proxy")
    .script([
        from(2).header("[2001:db8:1::7]:1000").says("x").refused(),
        from(2).header("[2001:db8:2::7]:1000").says("x").served('b'),
        from(2).header("[2001:db9::7]:1000").says("x").served('c'),
        from(2).header("192.0.2.1:1000").says("x").served('c'),
    ]),

    accept_ends_the_list: Case::frontend(
        "tcp-request session accept if { src 192.0.2.7 }
         tcp-request session reject",
    )
    .bind("accept-proxy")
    .script([
        from(2).header("192.0.2.7:1000").served('a'),
        from(2).header("192.0.2.8:1000").refused(),
    ]),

    header_was_received: Case::frontend(
        "tcp-request connection expect-proxy layer4 if { src 127.0.0.2 }
         tcp-request session reject unless { fc_rcvd_proxy }",
    )
    .script([
        from(2).header("192.0.2.7:1000").says("x").served('a'),
        from(3).says("x").refused(),
    ]),

    destination_of_the_header: Case::frontend(
        "tcp-request session reject if { dst 198.51.100.1 } { dst_port 443 } { src_port 2000 }",
    )
    .bind("accept-proxy")
    .script([
        from(2).header("192.0.2.7:2000").refused(),
        from(2).header("192.0.2.7:2001").served('a'),
    ]),

    silent_drop: Case::frontend("tcp-request session silent-drop if { src 192.0.2.7 }")
        .bind("accept-proxy")
        .script([
            from(2).header("192.0.2.7:1000").silent(),
            from(2).header("192.0.2.8:1000").served('a'),
        ]),

    all_three_lists: Case::frontend(
        "tcp-request connection reject if { src 127.0.0.2 }
         tcp-request session reject if { src 127.0.0.3 }
         tcp-request content reject if { src 127.0.0.4 }",
    )
    .script([
        from(2).reset(),
        from(3).refused(),
        from(4).refused(),
        from(5).served('a'),
    ]),

    lists_run_in_their_own_order: Case::frontend(
        "tcp-request content accept if { var(sess.seen) -m found }
         tcp-request content reject
         tcp-request session set-var(sess.seen) src if { src 127.0.0.2 }",
    )
    .script([from(2).served('a'), from(3).refused()]),
}
