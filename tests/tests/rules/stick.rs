//! `stick on`, `stick match`, `stick store-request`, `stick store-response`: who is sent to the same server again.

use underpass_tests::cases;
use underpass_tests::compare::{Case, after, from, release};

const THREE: &str = "server one 127.0.0.1:9001
     server two 127.0.0.1:9002
     server three 127.0.0.1:9003";

cases! {
    on_the_source: Case::frontend("")
        .backend(&format!("stick-table type ip size 100 expire 1h\nstick on src\n{THREE}"))
        .script([
            from(2).served('a'),
            from(3).served('b'),
            from(2).served('a'),
            from(3).served('b'),
            from(4).served('c'),
            from(2).served('a'),
            from(4).served('c'),
        ]),

    on_a_network: Case::frontend("")
        .backend(&format!(
            "stick-table type ip size 100 expire 1h\nstick on src,ipmask(30)\n{THREE}"
        ))
        .script([
            from(4).served('a'),
            from(7).served('a'),
            from(8).served('b'),
            from(5).served('a'),
            from(11).served('b'),
        ]),

    on_content: Case::frontend(
        "tcp-request inspect-delay 10s
         tcp-request content accept if { req.payload(0,4) -m found }",
    )
    .backend(&format!(
        "stick-table type string len 16 size 100 expire 1h\nstick on req.payload(0,4)\n{THREE}"
    ))
    .script([
        from(2).says("anna").served('a'),
        from(2).says("beth").served('b'),
        from(3).says("anna").served('a'),
        from(3).says("carl").served('c'),
        from(4).says("beth").served('b'),
    ]),

    what_the_server_said: Case::frontend(
        "tcp-request inspect-delay 10s
         tcp-request content accept if { req.payload(0,4) -m found }",
    )
    .backend(&format!(
        "tcp-response inspect-delay 10s
         tcp-response content accept if {{ res.len ge 5 }}
         stick-table type string len 16 size 100 expire 1h
         stick match req.payload(0,4)
         stick store-response payload(1,4)
         {THREE}"
    ))
    .script([
        from(2).says("anna").served('a'),
        from(2).says("beth").served('b'),
        from(3).says("anna").served('a'),
        from(3).says("carl").served('c'),
        from(4).says("beth").served('b'),
    ]),

    only_some_answers: Case::frontend("")
        .backend(&format!(
            "tcp-response inspect-delay 10s
             tcp-response content accept if {{ res.len ge 1 }}
             stick-table type ip size 100 expire 1h
             stick match src
             stick store-response src if {{ res.payload(0,1) -m str b }}
             {THREE}"
        ))
        .script([
            from(2).served('a'),
            from(2).served('b'),
            from(3).served('c'),
            from(2).served('b'),
            from(3).served('a'),
        ]),

    nothing_is_waited_for: Case::frontend("")
        .backend(&format!(
            "stick-table type ip size 100 expire 1h
             stick match src
             stick store-response src
             {THREE}"
        ))
        .script([
            from(2).served('a'),
            from(3).served('b'),
            from(2).served('a'),
            from(3).served('b'),
        ]),

    // One of the request, one of the response.
    two_stores_per_table: Case::frontend("")
        .backend(&format!(
            "stick-table type ip size 100 expire 1h
             stick match src,ipmask(24)
             stick store-request src
             stick store-response src,ipmask(24)
             {THREE}"
        ))
        .script([
            from(2).served('a'),
            from(3).served('a'),
        ]),

    a_second_store_of_a_response_is_none: Case::frontend("")
        .backend(&format!(
            "stick-table type ip size 100 expire 1h
             stick match src,ipmask(24)
             stick store-response src
             stick store-response src,ipmask(24)
             {THREE}"
        ))
        .script([
            from(2).served('a'),
            from(3).served('b'),
            from(2).served('c'),
        ]),

    only_some: Case::frontend("")
        .backend(&format!(
            "stick-table type ip size 100 expire 1h\nstick on src if {{ src 127.0.0.2 }}\n{THREE}"
        ))
        .script([
            from(2).served('a'),
            from(3).served('b'),
            from(3).served('c'),
            from(2).served('a'),
            from(3).served('a'),
        ]),

    matched_and_stored_apart: Case::frontend("")
        .backend(&format!(
            "stick-table type ip size 100 expire 1h
             stick match src
             stick store-request src if {{ src 127.0.0.2 }}
             {THREE}"
        ))
        .script([
            from(2).served('a'),
            from(3).served('b'),
            from(2).served('a'),
            from(3).served('c'),
            from(3).served('a'),
        ]),

    in_a_table_of_another_section: Case::frontend("use_backend second if { src 127.0.0.9 } || { dst_port 8001 }
             bind 127.0.0.1:8001")
        .backend(&format!("stick on src table t\n{THREE}"))
        .sections(&format!(
            "backend t
             stick-table type ip size 100 expire 1h
             backend second
             stick match src table t
             {THREE}"
        ))
        .script([
            from(2).served('a'),
            from(3).served('b'),
            from(3).to("127.0.0.1:8001").served('b'),
            from(3).to("127.0.0.1:8001").served('b'),
        ]),

    forgotten: Case::frontend("")
        .backend(&format!("stick-table type ip size 100 expire 300ms\nstick on src\n{THREE}"))
        .script([from(2).served('a'), after(900), from(2).served('b')]),

    use_server_before_stickiness: Case::frontend("")
        .backend(&format!(
            "stick-table type ip size 100 expire 1h
             stick on src
             use-server three if {{ dst_port 8001 }}
             {THREE}"
        ))
        .sections("frontend other\nbind 127.0.0.1:8001\ndefault_backend a")
        .script([
            from(2).served('a'),
            from(2).to("127.0.0.1:8001").served('c'),
            from(2).served('c'),
            from(3).to("127.0.0.1:8001").served('c'),
            from(3).served('c'),
        ]),

    while_others_are_held: Case::frontend("")
        .backend(&format!("stick-table type ip size 100 expire 1h\nstick on src\n{THREE}"))
        .script([
            from(2).held().served('a'),
            from(2).held().served('a'),
            from(3).held().served('b'),
            release(),
            from(2).served('a'),
        ]),
}
