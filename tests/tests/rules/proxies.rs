//! Rules on how busy proxies and servers are.

use underpass_tests::cases;
use underpass_tests::compare::{Case, from, release};

cases! {
    connections_of_the_frontend: Case::frontend("tcp-request connection reject if { fe_conn gt 2 }").script([
        from(2).held().served('a'),
        from(3).held().served('a'),
        from(4).reset(),
        release(),
        from(4).served('a'),
    ]),

    connections_of_another_backend: Case::frontend(
        "use_backend b if { src 127.0.0.2 }
         use_backend c if { be_conn(b) ge 1 }",
    )
    .script([
        from(3).served('a'),
        from(2).held().served('b'),
        from(3).served('c'),
        release(),
        from(3).served('a'),
    ]),

    servers_that_are_up: Case::frontend(
        "use_backend b if { nbsrv(a) eq 1 } { nbsrv(nobody) eq 0 } { nbsrv(three) eq 3 }",
    )
    .sections(
        "backend nobody
         backend three
         server one 127.0.0.1:9001
         server two 127.0.0.1:9002
         server three 127.0.0.1:9003",
    )
    .script([from(2).served('b')]),

    a_backend_without_servers: Case::frontend("use_backend nobody if { src 127.0.0.2 }")
        .sections("backend nobody")
        .script([from(2).refused(), from(3).served('a')]),

    a_server_by_name: Case::frontend(
        "use_backend b if { srv_is_up(a/a) } { srv_conn(a/a) eq 0 } { src 127.0.0.2 }
         use_backend c if { srv_conn(a/a) ge 1 }",
    )
    .script([
        from(2).served('b'),
        from(3).held().served('a'),
        from(3).served('c'),
        release(),
        from(3).served('a'),
    ]),

    rate_of_the_frontend: Case::frontend("tcp-request connection reject if { fe_sess_rate gt 1 }").script([
        from(2).served('a'),
        from(2).served('a'),
        from(2).reset(),
    ]),

    rate_of_a_backend: Case::frontend(
        "use_backend c if { be_sess_rate(b) ge 2 }
         use_backend b if { src 127.0.0.2 }",
    )
    .script([
        from(2).served('b'),
        from(2).served('b'),
        from(2).served('c'),
        from(3).served('c'),
    ]),

    queue_and_places: Case::frontend(
        "use_backend b if { queue(a) eq 0 } { be_conn_free(limited) eq 7 } { be_conn_free(a) eq -1 }",
    )
    .sections(
        "backend limited
         server one 127.0.0.1:9001 maxconn 3
         server two 127.0.0.1:9002 maxconn 4",
    )
    .script([from(2).served('b')]),

    names: Case::frontend("use_backend b if { fe_name fe } { dst_conn ge 1 }")
        .sections(
            "frontend second
             bind 127.0.0.1:8001
             use_backend b if { fe_name fe }
             default_backend second
             backend second
             tcp-request content reject if { be_name second } { src 127.0.0.2 }
             server c 127.0.0.1:9003",
        )
        .script([
            from(2).served('b'),
            from(3).to("127.0.0.1:8001").served('c'),
            from(2).to("127.0.0.1:8001").refused(),
        ]),

    chance: Case::frontend(
        "use_backend b if { rand(1) eq 0 }
         use_backend c if { rand(5) ge 5 }",
    )
    .script([from(2).served('b')]),
}
