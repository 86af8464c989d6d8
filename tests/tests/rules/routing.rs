//! `use_backend`, `use-server`, and what sections leave to each other.

use underpass_tests::cases;
use underpass_tests::compare::{Case, from};

const THREE: &str = "server one 127.0.0.1:9001
     server two 127.0.0.1:9002 weight 0
     server three 127.0.0.1:9003 weight 0";

cases! {
    the_first_that_holds: Case::frontend(
        "use_backend b if { src 127.0.0.2 127.0.0.3 }
         use_backend c if { src 127.0.0.3 127.0.0.4 }",
    )
    .script([
        from(2).served('b'),
        from(3).served('b'),
        from(4).served('c'),
        from(5).served('a'),
    ]),

    unless: Case::frontend("use_backend b unless { src 127.0.0.2 }")
        .script([from(2).served('a'), from(3).served('b')]),

    without_a_condition: Case::frontend("use_backend b").script([from(2).served('b')]),

    by_frontend: Case::frontend("")
        .sections(
            "frontend second
             bind 127.0.0.1:8001
             use_backend %[fe_name]
             default_backend c
             frontend b
             bind 127.0.0.1:8002
             use_backend %[fe_name]
             default_backend c",
        )
        .script([
            from(2).served('a'),
            from(2).to("127.0.0.1:8001").served('c'),
            from(2).to("127.0.0.1:8002").served('b'),
        ]),

    no_backend_at_all: Case::frontend("")
        .sections(
            "frontend second
             bind 127.0.0.1:8001
             use_backend b if { src 127.0.0.2 }",
        )
        .script([
            from(2).to("127.0.0.1:8001").served('b'),
            from(3).to("127.0.0.1:8001").refused(),
        ]),

    use_server_by_source: Case::frontend("")
        .backend(&format!(
            "use-server two if {{ src 127.0.0.2 }}
             use-server three if {{ src 127.0.0.3 }}
             use-server two if {{ src 127.0.0.3 }}
             {THREE}"
        ))
        .script([
            from(2).served('b'),
            from(3).served('c'),
            from(4).served('a'),
        ]),

    use_server_by_an_expression: Case::frontend("tcp-request content set-var(txn.server) str(three) if { src 127.0.0.3 }")
        .backend(&format!("use-server %[var(txn.server)] if TRUE\n{THREE}"))
        .script([from(3).served('c'), from(4).served('a')]),

    by_content: Case::frontend(
        "tcp-request inspect-delay 10s
         tcp-request content accept if { req.payload(0,3) -m found }
         use_backend b if { req.payload(0,3) -m str SSH }
         use_backend c if { req.payload(0,3) -m str GET }",
    )
    .script([
        from(2).says("SSH-2.0-x\r\n").served('b'),
        from(2).says("G").says("ET / HTTP/1.0\r\n\r\n").served('c'),
        from(2).says("other").served('a'),
    ]),

    routing_does_not_wait: Case::frontend("use_backend b if { req.payload(0,3) -m str SSH }")
        .script([from(2).served('a')]),

    by_a_variable: Case::frontend(
        "tcp-request connection set-var(sess.zone) str(b) if { src 127.0.0.2 }
         tcp-request connection set-var(sess.zone) str(nowhere) if { src 127.0.0.3 }
         use_backend %[var(sess.zone)]",
    )
    .script([
        from(2).served('b'),
        from(3).served('a'),
        from(4).served('a'),
    ]),

    listen_sections_have_both: Case::frontend("")
        .sections(
            "listen both
             bind 127.0.0.1:8001
             tcp-request connection reject if { src 127.0.0.2 }
             tcp-request content reject if { src 127.0.0.3 }
             use-server second if { src 127.0.0.4 }
             server first 127.0.0.1:9002
             server second 127.0.0.1:9003 weight 0",
        )
        .script([
            from(2).to("127.0.0.1:8001").reset(),
            from(3).to("127.0.0.1:8001").refused(),
            from(4).to("127.0.0.1:8001").served('c'),
            from(5).to("127.0.0.1:8001").served('b'),
            from(2).served('a'),
        ]),

    acls_belong_to_their_section: Case::frontend(
        "acl who src 127.0.0.2
         use_backend b if who",
    )
    .backend(
        "acl who src 127.0.0.3
         tcp-request content reject if who",
    )
    .script([from(2).served('b'), from(3).refused(), from(4).served('a')]),

    rules_of_named_defaults: Case::frontend("")
        .sections(
            "defaults strict
             mode tcp
             timeout client 10s
             timeout connect 10s
             timeout server 10s
             tcp-request connection reject if { src 127.0.0.2 }
             tcp-request content reject if { src 127.0.0.3 }
             frontend second from strict
             bind 127.0.0.1:8001
             tcp-request connection accept
             tcp-request content accept
             default_backend b",
        )
        .script([
            from(2).served('a'),
            from(2).to("127.0.0.1:8001").reset(),
            from(3).to("127.0.0.1:8001").refused(),
            from(4).to("127.0.0.1:8001").served('b'),
        ]),

    a_delay_from_defaults: Case::frontend(
        "tcp-request content accept if { req.payload(0,3) -m found }
         tcp-request content reject",
    )
    .defaults("tcp-request inspect-delay 10s")
    .script([from(2).says("a").says("bc").served('a')])
    .not_haproxy("2.6 wants a name for defaults with rules"),

    the_header_goes_to_the_server: Case::frontend("tcp-request content set-src str(192.0.2.99) if { src 127.0.0.3 }")
        .backend("server one 127.0.0.1:9001 send-proxy")
        .bind("accept-proxy")
        .script([from(2)
            .header("192.0.2.7:1000")
            .says("x")
            .served_with('a', "PROXY TCP4 192.0.2.7 198.51.100.1 1000 443\r\nx")]),
}
