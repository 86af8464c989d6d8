//! `tcp-response content`: what is decided on a server's first bytes. Servers greet with their letter.
//!
//! Where an answer is refused, haproxy's line counts the bytes that it received and did not pass on, and ours does not;
//! haproxy's letters of a silent drop are those of a request (`PR`).

use underpass_tests::cases;
use underpass_tests::compare::{Case, from};

/// These rules in the backend, and servers of which each visitor gets the one of its address.
fn backend(lines: &str) -> Case {
    Case::frontend("").backend(&format!(
        "tcp-response inspect-delay 10s
         {lines}
         use-server two if {{ src 127.0.0.3 }}
         use-server three if {{ src 127.0.0.4 }}
         server one 127.0.0.1:9001
         server two 127.0.0.1:9002 weight 0
         server three 127.0.0.1:9003 weight 0"
    ))
}

cases! {
    reject: backend("tcp-response content reject if { res.payload(0,1) -m str b }").script([
        from(2).says("x").served('a'),
        from(3).says("x").refused(),
        from(3).refused(),
    ])
        .logs_differ(),

    accept_ends_the_list: backend(
        "tcp-response content accept if { res.payload(0,1) -m str a b }
         tcp-response content reject",
    )
    .script([from(2).served('a'), from(3).served('b'), from(4).refused()])
        .logs_differ(),

    wait_for_more: backend(
        "tcp-response content reject if { res.payload(0,4) -m str abad bbad }",
    )
    .script([
        from(2).says("bad").refused(),
        from(2).says("b").says("ad").refused(),
        from(3).says("good").served('b'),
    ])
        .logs_differ(),

    a_delay_that_ends: backend(
        "tcp-response inspect-delay 150ms
         tcp-response content reject unless { res.len ge 3 }",
    )
    .script([from(2).says("x").refused(), from(2).says("xyz").served('a')])
        .logs_differ(),

    close: backend("tcp-response content close if { res.payload(0,1) -m str b }").script([
        from(2).says("x").served('a'),
        // What the server has sent is passed on.
        from(3).served('b'),
    ]),

    by_server_name: backend("tcp-response content reject if { srv_name two }").script([
        from(2).says("x").served('a'),
        from(3).refused(),
        from(4).says("x").served('c'),
    ]),

    silent_drop: backend("tcp-response content silent-drop if { res.payload(0,1) -m str b }").script([
        from(2).served('a'),
        from(3).silent(),
    ])
        .logs_differ(),

    variables_of_the_request: Case::frontend("tcp-request content set-var(txn.who) src")
        .backend("tcp-response content reject if { var(txn.who) -m ip 127.0.0.2 }")
        .script([from(2).refused(), from(3).served('a')]),

    hello_type_of_the_answer: backend("tcp-response content reject if { res.ssl_hello_type 2 }")
        .script([from(2).says("x").served('a')]),

    without_a_delay_nothing_is_waited_for: Case::frontend("")
        .backend("tcp-response content reject if { res.len gt 0 }")
        .script([from(2).says("x").served('a')]),
}
