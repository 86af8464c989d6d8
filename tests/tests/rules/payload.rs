//! Blocks of a client's first bytes.

use underpass_tests::cases;
use underpass_tests::compare::{Case, from};

cases! {
    from_an_offset: Case::frontend(
        "tcp-request inspect-delay 10s
         tcp-request content reject if { req.payload(3,2) -m str no }",
    )
    .script([from(2).says("abcno").refused(), from(2).says("noabc").served('a')]),

    hexadecimal_without_a_method: Case::frontend(
        "tcp-request inspect-delay 10s
         tcp-request content reject if { payload(0,3) 626164 }",
    )
    .script([from(2).says("bad").refused(), from(2).says("626164").served('a')]),

    the_whole_buffer: Case::frontend(
        "tcp-request inspect-delay 10s
         tcp-request content accept if { req.payload(0,0) -m sub needle }
         tcp-request content reject",
    )
    .script([
        from(2).says("hay hay ").says("nee").says("dle hay").served('a'),
        from(2).says("hay hay").and_ends().refused(),
    ]),

    the_whole_buffer_to_the_end_of_the_delay: Case::frontend(
        "tcp-request inspect-delay 200ms
         tcp-request content accept if { req.payload(0,0) -m sub needle }
         tcp-request content reject",
    )
    .script([from(2).says("hay hay").refused()]),

    a_length_before_the_block: Case::frontend(
        "tcp-request inspect-delay 10s
         tcp-request content reject if { req.payload_lv(0,2) -m str bad }",
    )
    .script([
        from(2).says(b"\0\x03bad").refused(),
        from(2).says(b"\0").says(b"\x03b").says(b"ad").refused(),
        from(2).says(b"\0\x04good").served('a'),
        from(2).says(b"\0\x02bad").served('a'),
    ]),

    a_block_somewhere_behind_its_length: Case::frontend(
        "tcp-request inspect-delay 10s
         tcp-request content reject if { req.payload_lv(0,1,+2) -m str bad }
         tcp-request content reject if { req.payload_lv(0,1,-1),hex -m beg 0378 }",
    )
    .script([
        from(2).says(b"\x03xxbadxxx").refused(),
        from(2).says(b"\x03xxbetter").refused(),
        from(2).says(b"\x03yxxxxxxxx").served('a'),
    ]),

    a_block_at_an_absolute_offset: Case::frontend(
        "tcp-request inspect-delay 10s
         tcp-request content reject if { req.payload_lv(0,1,6) -m str end }",
    )
    .not_haproxy("2.6 takes half of the offset")
    .script([
        from(2).says(b"\x03xxxxxend").refused(),
        from(2).says(b"\x03xxendxxx").served('a'),
    ]),

    a_block_of_length_zero: Case::frontend(
        "tcp-request inspect-delay 10s
         tcp-request content reject if { req.payload_lv(0,1) -m found }",
    )
    .script([from(2).says(b"\0abc").served('a'), from(2).says(b"\x01a").refused()]),

    more_than_a_buffer: Case::frontend(
        "tcp-request inspect-delay 200ms
         tcp-request content reject if { req.payload(0,20000) -m found }",
    )
    .script([from(2).says([1; 30000]).served('a')]),

    old_names: Case::frontend(
        "tcp-request inspect-delay 10s
         tcp-request content reject if { payload(0,3) -m str bad }
         tcp-request content reject if { payload_lv(0,1) -m str A } { req_len gt 1 }",
    )
    .script([
        from(2).says("bad").refused(),
        from(2).says(b"\x01A.").refused(),
        from(2).says(b"\x01B.").served('a'),
    ]),
}
