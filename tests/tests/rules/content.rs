//! `tcp-request content`: what is decided on a client's first bytes, and how long they are waited for.

use underpass_tests::cases;
use underpass_tests::compare::{Case, from};

cases! {
    destination_that_no_rule_has_asked_for_before: Case::frontend(
        "bind 127.0.0.1:8001
         tcp-request content reject if { dst_port 8001 }
         use_backend b if { dst 127.0.0.1 }",
    )
    .script([
        from(2).served('b'),
        from(2).to("127.0.0.1:8001").closed(),
    ]),

    reject_by_source: Case::frontend("tcp-request content reject if { src 127.0.0.2 }").script([
        from(2).refused(),
        from(3).says("x").served('a'),
    ]),

    reject_with_bytes_in_flight: Case::frontend(
        "tcp-request inspect-delay 10s
         tcp-request content reject if { req.payload(0,3) -m str bad }",
    )
    .script([
        from(2).says("bad news").refused(),
        from(2).says("good news").served('a'),
        from(2).says("b").says("ad").refused(),
        from(2).says("b").says("e").says("tter").served('a'),
    ]),

    without_a_delay_nothing_is_waited_for: Case::frontend(
        "tcp-request content reject if { req.len gt 0 }",
    )
    .script([from(2).served('a')]),

    wait_end: Case::frontend(
        "tcp-request inspect-delay 150ms
         tcp-request content reject if WAIT_END { src 127.0.0.2 }",
    )
    .script([from(2).says("x").refused(), from(3).says("x").served('a')]),

    wait_end_does_not_delay_an_earlier_accept: Case::frontend(
        "tcp-request inspect-delay 10s
         tcp-request content accept if { req.payload(0,2) -m str ok }
         tcp-request content reject if WAIT_END",
    )
    .script([from(2).says("o").says("k").served('a')]),

    a_delay_that_ends: Case::frontend(
        "tcp-request inspect-delay 150ms
         tcp-request content reject unless { req.len ge 4 }",
    )
    .script([from(2).says("abc").refused(), from(2).says("abcd").served('a')]),

    a_short_request_is_short_at_once: Case::frontend(
        "tcp-request inspect-delay 10s
         tcp-request content reject if { req.len lt 4 }",
    )
    .script([from(2).refused()]),

    a_delay_that_ends_with_too_little: Case::frontend(
        "tcp-request inspect-delay 150ms
         tcp-request content accept if { req.payload(0,4) -m found }
         tcp-request content reject",
    )
    .script([from(2).says("abc").refused(), from(2).says("abcd").served('a')]),

    the_end_of_the_request_ends_the_wait: Case::frontend(
        "tcp-request inspect-delay 10s
         tcp-request content accept if { req.payload(0,4) -m found }
         tcp-request content set-var(sess.short) req.len",
    )
    .script([from(2).says("abc").and_ends().served('a')]),

    content_is_needed: Case::frontend(
        "tcp-request inspect-delay 10s
         tcp-request content reject if !{ req.len gt 3 }",
    )
    .script([from(2).says("ab").says("cd").served('a')]),

    req_content: Case::frontend(
        "tcp-request inspect-delay 10s
         tcp-request content accept if REQ_CONTENT
         tcp-request content reject",
    )
    .script([from(2).says("x").served('a'), from(2).says("x").says("y").served('a')]),

    silent_drop: Case::frontend(
        "tcp-request inspect-delay 10s
         tcp-request content silent-drop if { req.payload(0,3) -m str bad }",
    )
    .script([from(2).says("bad").silent(), from(2).says("good").served('a')]),

    rules_of_the_backend: Case::frontend("use_backend b if { src 127.0.0.3 }")
        .backend(
            "tcp-request inspect-delay 10s
             tcp-request content reject if { req.payload(0,3) -m str bad }",
        )
        .script([
            from(2).says("bad").refused(),
            from(2).says("good").served('a'),
            from(3).says("bad").served('b'),
        ]),

    frontend_accepts_and_backend_rejects: Case::frontend(
        "tcp-request inspect-delay 10s
         tcp-request content accept if { req.len ge 1 }",
    )
    .backend("tcp-request content reject if { src 127.0.0.2 }")
    .script([from(2).says("x").refused(), from(3).says("x").served('a')]),

    the_backend_s_delay: Case::frontend("")
        .backend(
            "tcp-request inspect-delay 150ms
             tcp-request content reject unless { req.len ge 3 }",
        )
        .script([from(2).says("ab").refused(), from(2).says("abc").served('a')]),

    bytes_are_forwarded_untouched: Case::frontend(
        "tcp-request inspect-delay 10s
         tcp-request content accept if { req.len ge 4000 }",
    )
    .script([
        from(2).says([7; 1000]).says([8; 2000]).says([9; 5000]).served('a'),
    ]),

    a_full_buffer_ends_the_wait: Case::frontend(
        "tcp-request inspect-delay 10s
         tcp-request content reject if { req.len gt 100000 }
         tcp-request content accept",
    )
    .script([from(2).says([5; 40000]).served('a')]),

    header_then_content: Case::frontend(
        "tcp-request inspect-delay 10s
         tcp-request content reject if { req.payload(0,3) -m str bad } { src 192.0.2.7 }",
    )
    .bind("accept-proxy")
    .script([
        from(2).header("192.0.2.7:1000").says("bad").refused(),
        from(2).header("192.0.2.8:1000").says("bad").served('a'),
    ]),
}
