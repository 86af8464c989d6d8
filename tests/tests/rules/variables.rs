//! Variables, and addresses that rules change.

use underpass_tests::cases;
use underpass_tests::compare::{Case, from};

cases! {
    from_connection_to_content: Case::frontend(
        "tcp-request connection set-var(sess.who) src
         tcp-request content reject if { var(sess.who) -m ip 127.0.0.2 }",
    )
    .script([from(2).refused(), from(3).served('a')]),

    without_a_value: Case::frontend("tcp-request content reject if !{ var(sess.who) -m found }")
        .script([from(2).refused()]),

    unset: Case::frontend(
        "tcp-request content set-var(txn.x) int(5)
         tcp-request content unset-var(txn.x) if { src 127.0.0.2 }
         tcp-request content reject unless { var(txn.x) -m found }",
    )
    .script([from(2).refused(), from(3).served('a')]),

    the_last_value_counts: Case::frontend(
        "tcp-request content set-var(txn.x) int(5)
         tcp-request content set-var(txn.x) str(five) if { src 127.0.0.2 }
         use_backend b if { var(txn.x) -m str five }
         use_backend c if { var(txn.x) -m int 5 }",
    )
    .script([from(2).served('b'), from(3).served('c')]),

    converters_on_the_way_in: Case::frontend(
        "tcp-request inspect-delay 10s
         tcp-request content set-var(txn.word) req.payload(0,5),lower if { req.payload(0,5) -m found }
         use_backend b if { var(txn.word) -m str hello }",
    )
    .script([from(2).says("HELLO").served('b'), from(2).says("other").served('a')]),

    arithmetic_with_a_variable: Case::frontend(
        "tcp-request content set-var(txn.n) int(40)
         tcp-request content set-var(txn.sum) int(2),add(txn.n)
         use_backend b if { var(txn.sum) -m int 42 }",
    )
    .script([from(2).served('b')]),

    one_connection_s_variables_are_its_own: Case::frontend(
        "tcp-request content reject if { var(sess.mark) -m found }
         tcp-request content set-var(sess.mark) int(1)",
    )
    .script([from(2).served('a'), from(2).served('a')]),

    the_process_s_variables_are_everybody_s: Case::frontend(
        "tcp-request content unset-var(proc.mark) if { src 127.0.0.3 }
         tcp-request content reject if { var(proc.mark) -m found }
         tcp-request content set-var(proc.mark) int(1) unless { src 127.0.0.3 }",
    )
    .script([
        from(2).served('a'),
        from(2).refused(),
        from(4).refused(),
        from(3).served('a'),
        from(4).served('a'),
        from(2).refused(),
    ]),

    the_process_counts: Case::frontend(
        "tcp-request connection set-var(proc.visits) int(1),add(proc.visits) if { var(proc.visits) -m found }
         tcp-request connection set-var(proc.visits) int(1) unless { var(proc.visits) -m found }
         use_backend b if { var(proc.visits) -m int 2 }
         use_backend c if { var(proc.visits) -m int ge 3 }",
    )
    .script([
        from(2).served('a'),
        from(3).served('b'),
        from(4).served('c'),
        from(2).served('c'),
    ]),

    set_src_in_session: Case::frontend(
        "tcp-request session reject if { src 192.0.2.1 }",
    )
    .bind("accept-proxy")
    .script([
        from(2).header("192.0.2.1:7").refused(),
        from(2).header("192.0.2.2:7").served('a'),
    ]),

    set_src_in_connection: Case::frontend(
        "tcp-request connection set-src src,ipmask(29) if { src 127.0.0.8/29 }
         tcp-request connection reject if { src 127.0.0.8 }",
    )
    .script([from(9).reset(), from(3).served('a')]),

    set_src_in_content: Case::frontend(
        "tcp-request content set-src str(192.0.2.55) if { src 127.0.0.2 }
         use_backend b if { src 192.0.2.55 }",
    )
    .script([from(2).served('b'), from(3).served('a')]),

    set_src_from_content: Case::frontend(
        "tcp-request inspect-delay 10s
         tcp-request content set-src req.payload(0,9),lower if { req.payload(0,9) -m found }
         use_backend b if { src 10.0.0.77 }",
    )
    .script([from(2).says("10.0.0.77").served('b'), from(2).says("10.0.0.78").served('a')]),

    set_src_port: Case::frontend(
        "tcp-request connection set-src-port int(4711) if { src 127.0.0.2 }
         tcp-request content reject if { src_port 4711 }",
    )
    .script([from(2).refused(), from(3).served('a')]),

    set_dst_and_port: Case::frontend(
        "tcp-request connection set-dst str(192.0.2.200) if { src 127.0.0.2 }
         tcp-request connection set-dst-port int(99) if { src 127.0.0.3 }
         use_backend b if { dst 192.0.2.200 }
         use_backend c if { dst_port 99 }",
    )
    .script([from(2).served('b'), from(3).served('c'), from(4).served('a')]),

    a_changed_source_in_the_header: Case::frontend(
        "tcp-request connection set-src str(192.0.2.99)
         tcp-request connection set-src-port int(1234)
         tcp-request connection set-dst str(192.0.2.100)
         tcp-request connection set-dst-port int(5678)",
    )
    .backend("server one 127.0.0.1:9001 send-proxy")
    .script([from(2)
        .says("x")
        .served_with('a', "PROXY TCP4 192.0.2.99 192.0.2.100 1234 5678\r\nx")]),

    nothing_that_shows: Case::frontend(
        "tcp-request connection set-tos 0x10
         tcp-request connection set-mark 7
         tcp-request content set-log-level info",
    )
    .script([from(2).says("x").served('a')]),

    not_logged: Case::frontend("tcp-request content set-log-level silent if { src 127.0.0.2 }")
        .script([from(2).served('a'), from(3).served('a')]),
}
