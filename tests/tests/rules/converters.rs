//! What is made of values before they are compared.

use underpass_tests::cases;
use underpass_tests::compare::{Case, from};

/// Goes to `b` if the expression on the first bytes satisfies the condition.
fn first(length: usize, converters_and_matches: &str) -> Case {
    Case::frontend(&format!(
        "tcp-request inspect-delay 10s
         tcp-request content accept if {{ req.payload(0,{length}) -m found }}
         use_backend b if {{ req.payload(0,{length}),{converters_and_matches} }}"
    ))
}

cases! {
    text_that_begins_with_an_address: Case::frontend(
        "tcp-request inspect-delay 10s
         tcp-request content accept if { req.payload(0,9) -m found }
         use_backend b if { req.payload(0,9),lower -m ip 1.2.3.4 }
         use_backend c if { req.payload(0,9),lower,ipmask(32) -m found }",
    )
    .script([
        from(2).says("1.2.3.4xy").served('b'),
        from(2).says("001.2.3.4").served('b'),
        from(2).says("1.2.3.4:8").served('b'),
        from(2).says("1.2.3.5/8").served('c'),
        from(2).says("1.2.3.4.5").served('a'),
        from(2).says(" 1.2.3.4 ").served('a'),
        from(2).says("1.2.3.256").served('a'),
    ]),

    true_and_false_as_bytes: Case::frontend(
        "tcp-request connection reject unless { bool(1),hex -m str 0000000000000001 }
         use_backend b if { src_is_local -m bin 0000000000000001 }",
    )
    .script([from(2).served('b')]),

    lower: first(5, "lower -m str hello").script([
        from(2).says("HeLLo").served('b'),
        from(2).says("HeLLa").served('a'),
    ]),

    upper: first(5, "upper -m str HELLO").script([
        from(2).says("HeLLo").served('b'),
        from(2).says("HeLLa").served('a'),
    ]),

    hex: first(3, "hex -m str 00FF0A").script([
        from(2).says([0, 255, 10]).served('b'),
        from(2).says([0, 255, 11]).served('a'),
    ]),

    bytes: first(5, "bytes(1,3) -m str ell").script([
        from(2).says("hello").served('b'),
        from(2).says("ellhe").served('a'),
    ]),

    field: first(9, "field(2,/) -m str two").script([
        from(2).says("one/two/x").served('b'),
        from(2).says("two/one/x").served('a'),
    ]),

    word: first(9, "word(2,/) -m str two").script([
        from(2).says("one//two/").served('b'),
        from(2).says("one/x/two").served('a'),
    ]),

    length: first(4, "length eq 4").script([from(2).says("four").served('b')]),

    ipmask: Case::frontend("use_backend b if { src,ipmask(29) 127.0.0.8 }").script([
        from(9).served('b'),
        from(15).served('b'),
        from(16).served('a'),
    ]),

    ipmask_of_ipv6: Case::frontend("use_backend b if { src,ipmask(24,32) 2001:db8:: }")
        .bind("accept-proxy")
        .script([
            from(2).header("[2001:db8:5::7]:1000").served('b'),
            from(2).header("[2001:db9:5::7]:1000").served('a'),
        ]),

    arithmetic: Case::frontend(
        "tcp-request inspect-delay 150ms
         tcp-request content accept if WAIT_END
         use_backend b if { req.len,mul(3),add(1),mod(10) eq 3 }
         use_backend c if { req.len,sub(10),neg,div(2) eq 3 }",
    )
    .script([
        // 4: 13 mod 10; 3: 7 / 2; 8: 25 mod 10 and 2 / 2.
        from(2).says("abcd").served('b'),
        from(2).says("abc").served('c'),
        from(2).says("abcdefgh").served('a'),
    ]),

    bits: Case::frontend(
        "use_backend b if { src_port,and(0) eq 0 } { dst_port,xor(8000) eq 0 } { dst_port,or(1) eq 8001 }
         use_backend c if { dst_port,cpl,cpl eq 8000 }",
    )
    .script([from(2).served('b')]),

    even_and_odd: Case::frontend(
        "bind 127.0.0.1:8001
         use_backend b if { dst_port,odd }
         use_backend c if { dst_port,even }",
    )
    .script([from(2).served('c'), from(2).to("127.0.0.1:8001").served('b')]),

    hashes: first(4, "crc32 eq 2018365746")
        .script([from(2).says("abcd").served('a'), from(2).says("four").served('a')]),

    crc32_of_a_known_text: first(9, "crc32 eq 3421780262").script([
        from(2).says("123456789").served('b'),
        from(2).says("123456788").served('a'),
    ]),

    xxh32_of_a_known_text: first(3, "xxh32 eq 852579327").script([
        from(2).says("abc").served('b'),
        from(2).says("abd").served('a'),
    ]),

    map_of_addresses: Case::frontend(
        "use_backend b if { src,map_ip(FILES/zones.map,none) -m str blue }
         use_backend c if { src,map_ip(FILES/zones.map,none) -m str none }",
    )
    .file("zones.map", "127.0.0.2 blue\n127.0.0.8/29 red\n# comment\n127.0.0.9 blue\n")
    .script([
        from(2).served('b'),
        from(8).served('a'),
        from(9).served('b'),
        from(3).served('c'),
    ]),

    map_of_strings: first(3, "lower,map(FILES/words.map) -m str yes")
        .file("words.map", "one yes\ntwo no\nthree\n")
        .script([
            from(2).says("ONE").served('b'),
            from(2).says("two").served('a'),
            from(2).says("six").served('a'),
        ]),

    a_route_from_a_map: Case::frontend("use_backend %[src,map_ip(FILES/routes.map,c)]")
        .file("routes.map", "127.0.0.2 b\n127.0.0.3 nowhere\n")
        .script([from(2).served('b'), from(4).served('c'), from(3).served('a')]),

    several_in_a_row: first(11, "lower,field(2,.),bytes(0,3),length eq 3").script([
        from(2).says("www.EXA.com").served('b'),
        from(2).says("www.ex.comm").served('a'),
    ]),
}
