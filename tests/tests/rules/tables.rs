//! Stick tables: what is counted, and what is decided by the counts.

use underpass_tests::cases;
use underpass_tests::compare::{Case, after, from, release};

/// A frontend with these rules and a table `t` in a section of its own.
fn with_table(table: &str, rules: &str) -> Case {
    Case::frontend(rules).sections(&format!("backend t\nstick-table {table}"))
}

cases! {
    connection_rate: with_table(
        "type ip size 100 expire 1h store conn_rate(1h)",
        "tcp-request connection track-sc0 src table t
         tcp-request connection reject if { sc0_conn_rate(t) gt 3 }",
    )
    .script([
        from(2).served('a'),
        from(2).served('a'),
        from(3).served('a'),
        from(2).served('a'),
        from(2).reset(),
        from(2).reset(),
        from(3).served('a'),
    ]),

    connection_count_before_tracking: with_table(
        "type ip size 100 expire 1h store conn_cnt",
        "tcp-request connection reject if { src_conn_cnt(t) ge 2 }
         tcp-request connection track-sc0 src table t",
    )
    .script([
        from(2).served('a'),
        from(2).served('a'),
        from(2).reset(),
        from(3).served('a'),
    ]),

    connections_at_once: with_table(
        "type ip size 100 expire 1h store conn_cur",
        "tcp-request connection track-sc0 src table t
         tcp-request connection reject if { sc0_conn_cur gt 2 }",
    )
    .script([
        from(2).held().served('a'),
        from(2).held().served('a'),
        from(2).reset(),
        from(2).reset(),
        from(3).served('a'),
        release(),
        from(2).held().served('a'),
        from(2).held().served('a'),
        from(2).reset(),
    ]),

    a_rejected_connection_is_not_held: with_table(
        "type ip size 100 expire 1h store conn_cur",
        "tcp-request connection track-sc0 src table t
         tcp-request content reject if { sc0_conn_cur gt 1 }",
    )
    .script([
        from(2).served('a'),
        from(2).held().served('a'),
        from(2).refused(),
        from(2).refused(),
        release(),
        from(2).served('a'),
    ]),

    sessions_and_connections: with_table(
        "type ip size 100 expire 1h store conn_cnt,sess_cnt",
        "tcp-request connection track-sc0 src table t
         tcp-request connection reject if { sc0_conn_cnt gt 4 }
         tcp-request session reject if { sc0_sess_cnt(t) ge 2 }",
    )
    .script([
        from(2).served('a'),
        from(2).served('a'),
        from(2).refused(),
        from(2).refused(),
        from(2).reset(),
    ]),

    general_purpose_counter: with_table(
        "type ip size 100 expire 1h store gpc0",
        "tcp-request connection track-sc0 src table t
         tcp-request connection reject if { sc0_get_gpc0 gt 1 }
         tcp-request inspect-delay 10s
         tcp-request content sc-inc-gpc0(0) if { req.payload(0,3) -m str bad }",
    )
    .script([
        from(2).says("bad").served('a'),
        from(2).says("good").served('a'),
        from(2).says("bad").served('a'),
        from(2).says("good").reset(),
        from(3).says("good").served('a'),
    ]),

    counters_one_and_two: with_table(
        "type ip size 100 expire 1h store gpc0,gpc1,gpc1_rate(1h)",
        "tcp-request connection track-sc1 src table t
         tcp-request connection sc-inc-gpc1(1)
         tcp-request connection reject if { sc1_gpc1_rate(t) gt 2 }
         tcp-request content reject if { sc_get_gpc1(1) eq 2 } { sc1_get_gpc0 eq 0 }",
    )
    .script([from(2).served('a'), from(2).refused(), from(2).reset()]),

    a_counter_that_counts_itself: with_table(
        "type ip size 100 expire 1h store gpc0",
        "tcp-request connection track-sc0 src table t
         tcp-request connection reject if { src_inc_gpc0(t) gt 2 }",
    )
    .script([
        from(2).served('a'),
        from(2).served('a'),
        from(2).reset(),
        from(3).served('a'),
    ]),

    clear_a_counter: with_table(
        "type ip size 100 expire 1h store gpc0",
        "tcp-request connection track-sc0 src table t
         tcp-request connection sc-inc-gpc0(0)
         tcp-request connection reject if { sc0_get_gpc0 eq 3 } { sc0_clr_gpc0 ge 0 }",
    )
    .script([
        from(2).served('a'),
        from(2).served('a'),
        from(2).reset(),
        from(2).served('a'),
        from(2).served('a'),
        from(2).reset(),
    ]),

    a_tag: with_table(
        "type ip size 100 expire 1h store gpt0",
        "tcp-request connection track-sc0 src table t
         tcp-request connection reject if { sc0_get_gpt0 eq 7 }
         tcp-request inspect-delay 10s
         tcp-request content sc-set-gpt0(0) 7 if { req.payload(0,3) -m str bad }",
    )
    .script([
        from(2).says("good").served('a'),
        from(2).says("bad").served('a'),
        from(2).says("good").reset(),
        from(3).says("good").served('a'),
    ]),

    a_tag_from_an_expression: with_table(
        "type ip size 100 expire 1h store gpt0",
        "tcp-request connection track-sc0 src table t
         tcp-request connection reject if { sc_get_gpt0(0) ge 4 }
         tcp-request inspect-delay 10s
         tcp-request content sc-set-gpt0(0) req.len if { req.len gt 2 }",
    )
    .script([
        from(2).says("abc").served('a'),
        from(2).says("abcd").served('a'),
        from(2).says("abc").reset(),
    ]),

    a_table_of_strings: with_table(
        "type string len 32 size 100 expire 1h store conn_cnt",
        "tcp-request inspect-delay 10s
         tcp-request content track-sc0 req.payload(0,4),lower table t if { req.payload(0,4) -m found }
         tcp-request content reject if { sc0_conn_cnt gt 2 }",
    )
    .script([
        from(2).says("user").served('a'),
        from(3).says("USER").served('a'),
        from(4).says("User").refused(),
        from(4).says("else").served('a'),
    ]),

    a_table_of_numbers: with_table(
        "type integer size 100 expire 1h store conn_cnt",
        "bind 127.0.0.1:8001
         tcp-request connection track-sc0 dst_port table t
         tcp-request connection reject if { sc0_conn_cnt gt 2 }",
    )
    .script([
        from(2).served('a'),
        from(3).served('a'),
        from(4).reset(),
        from(4).to("127.0.0.1:8001").served('a'),
    ]),

    a_table_of_ipv6: Case::frontend(
        "tcp-request session track-sc0 src,ipmask(32,64) table t
         tcp-request session reject if { sc0_sess_cnt gt 1 }",
    )
    .sections("backend t\nstick-table type ipv6 size 100 expire 1h store sess_cnt,conn_cnt")
    .bind("accept-proxy")
    .script([
        from(2).header("[2001:db8::1]:1").served('a'),
        from(2).header("[2001:db8::2]:1").served('a'),
        from(2).header("[2001:db8::3]:1").refused(),
        from(2).header("[2001:db8:0:1::1]:1").served('a'),
        from(2).header("192.0.2.1:1").served('a'),
    ]),

    a_table_of_bytes: with_table(
        "type binary len 4 size 100 expire 1h store conn_cnt",
        "tcp-request inspect-delay 10s
         tcp-request content track-sc0 req.payload(0,6) table t if { req.payload(0,6) -m found }
         tcp-request content reject if { sc0_conn_cnt gt 1 }",
    )
    .script([
        from(2).says([0, 1, 2, 3, 4, 5]).served('a'),
        from(2).says([0, 1, 2, 3, 9, 9]).refused(),
        from(2).says([0, 1, 2, 4, 4, 5]).served('a'),
    ]),

    two_trackers: Case::frontend(
        "tcp-request connection track-sc0 src table t
         tcp-request connection track-sc1 dst_port table u
         tcp-request connection reject if { sc0_conn_cnt gt 2 } || { sc1_conn_cnt gt 4 }",
    )
    .sections(
        "backend t
         stick-table type ip size 100 expire 1h store conn_cnt
         backend u
         stick-table type integer size 100 expire 1h store conn_cnt",
    )
    .script([
        from(2).served('a'),
        from(2).served('a'),
        from(2).reset(),
        from(3).served('a'),
        from(3).reset(),
    ]),

    the_first_track_of_a_slot_counts: Case::frontend(
        "tcp-request connection track-sc0 src table t
         tcp-request connection track-sc0 src table u
         tcp-request connection reject if { src_conn_cnt(u) gt 0 }
         tcp-request connection reject if { src_conn_cnt(t) gt 1 }",
    )
    .sections(
        "backend t
         stick-table type ip size 100 expire 1h store conn_cnt
         backend u
         stick-table type ip size 100 expire 1h store conn_cnt",
    )
    .script([from(2).served('a'), from(2).reset()]),

    the_frontend_s_own_table: Case::frontend(
        "stick-table type ip size 100 expire 1h store conn_cnt
         tcp-request connection track-sc0 src
         tcp-request connection reject if { src_conn_cnt gt 1 }",
    )
    .script([from(2).served('a'), from(2).reset()]),

    track_if: with_table(
        "type ip size 100 expire 1h store conn_cnt",
        "tcp-request connection track-sc0 src table t if { src 127.0.0.2 }
         tcp-request connection reject if { sc0_tracked } { sc0_conn_cnt gt 1 }",
    )
    .script([
        from(2).served('a'),
        from(2).reset(),
        from(3).served('a'),
        from(3).served('a'),
    ]),

    in_table: with_table(
        "type ip size 100 expire 1h store conn_cnt",
        "tcp-request connection reject if { src,in_table(t) }
         tcp-request connection track-sc0 src table t if { src 127.0.0.2 }",
    )
    .script([
        from(2).served('a'),
        from(2).reset(),
        from(3).served('a'),
        from(3).served('a'),
    ]),

    counts_by_converter: with_table(
        "type ip size 100 expire 1h store conn_cnt,gpc0",
        "tcp-request connection track-sc0 src table t
         tcp-request connection sc-inc-gpc0(0)
         tcp-request connection reject if { src,table_conn_cnt(t) gt 2 }
         tcp-request connection reject if { src,table_gpc0(t) eq 2 } { src 127.0.0.3 }",
    )
    .script([
        from(2).served('a'),
        from(2).served('a'),
        from(2).reset(),
        from(3).served('a'),
        from(3).reset(),
    ]),

    bytes_in: with_table(
        "type ip size 100 expire 1h store bytes_in_cnt,bytes_out_rate(1h)",
        "tcp-request connection track-sc0 src table t
         tcp-request connection reject if { sc0_kbytes_in(t) ge 2 }
         tcp-request connection reject if { src_bytes_out_rate(t) gt 1000000 }",
    )
    .script([
        from(2).says([1; 1500]).served('a'),
        from(2).says([1; 1500]).served('a'),
        from(2).reset(),
        from(3).says([1; 2048]).served('a'),
        from(3).reset(),
    ]),

    entries_expire: with_table(
        "type ip size 100 expire 300ms store conn_cnt",
        "tcp-request connection track-sc0 src table t
         tcp-request connection reject if { sc0_conn_cnt gt 1 }",
    )
    .script([
        from(2).served('a'),
        from(2).reset(),
        after(900),
        from(2).served('a'),
    ]),

    rates_fade: with_table(
        "type ip size 100 expire 1h store conn_rate(300ms)",
        "tcp-request connection track-sc0 src table t
         tcp-request connection reject if { sc0_conn_rate gt 30 }
         tcp-request connection reject if { sc0_conn_rate gt 1 } { src 127.0.0.2 }",
    )
    .script([from(2).served('a'), after(900), from(2).served('a')]),

    a_full_table_forgets_the_oldest: with_table(
        "type ip size 2 store conn_cnt",
        "tcp-request connection track-sc0 src table t
         tcp-request connection reject if { sc0_conn_cnt gt 1 }",
    )
    .script([
        from(2).served('a'),
        from(3).served('a'),
        from(4).served('a'),
        from(2).served('a'),
        from(2).reset(),
    ]),

    a_full_table_that_keeps: with_table(
        "type ip size 2 nopurge store conn_cnt",
        "tcp-request connection track-sc0 src table t
         tcp-request connection reject if { sc0_conn_cnt gt 1 }",
    )
    .script([
        from(2).served('a'),
        from(3).served('a'),
        from(4).served('a'),
        from(4).served('a'),
        from(2).reset(),
    ]),

    tracked_in_the_backend: Case::frontend("")
        .backend(
            "stick-table type ip size 100 expire 1h store conn_cnt,sess_cnt
             tcp-request content track-sc2 src
             tcp-request content reject if { sc2_conn_cnt gt 2 }",
        )
        .script([from(2).served('a'), from(2).served('a'), from(2).refused()]),
}
