//! What values are compared with: match methods, flags, ranges, files.

use underpass_tests::cases;
use underpass_tests::compare::{Case, from};

/// Goes to `b` if the first line's letters satisfy the condition.
fn first(length: usize, matches: &str) -> Case {
    Case::frontend(&format!(
        "tcp-request inspect-delay 10s
         tcp-request content accept if {{ req.payload(0,{length}) -m found }}
         use_backend b if {{ req.payload(0,{length}){matches} }}"
    ))
}

cases! {
    exact_string: first(5, " -m str hello -m str -- world").script([
        from(2).says("hello").served('b'),
        from(2).says("Hello").served('a'),
    ]),

    several_strings_and_case: first(5, " -m str -i hello WORLD").script([
        from(2).says("HELLO").served('b'),
        from(2).says("world").served('b'),
        from(2).says("other").served('a'),
    ]),

    beginning: first(5, " -m beg he wo").script([
        from(2).says("hello").served('b'),
        from(2).says("world").served('b'),
        from(2).says("ohell").served('a'),
    ]),

    ending: first(5, " -m end lo").script([
        from(2).says("hello").served('b'),
        from(2).says("lohel").served('a'),
    ]),

    substring: first(5, " -m sub ell").script([
        from(2).says("hello").served('b'),
        from(2).says("elxll").served('a'),
    ]),

    substring_without_case: first(5, " -m sub -i ELL").script([
        from(2).says("hEllo").served('b'),
        from(2).says("eLxll").served('a'),
    ]),

    directory: first(9, " -m dir img").script([
        from(2).says("/img/pics").served('b'),
        from(2).says("/imgs/pic").served('a'),
        from(2).says("a/b/c/img").served('b'),
    ]),

    domain: first(11, " -m dom example").script([
        from(2).says("www.example").served('b'),
        from(2).says("example.com").served('b'),
        from(2).says("wwwexample.").served('a'),
    ]),

    regular_expression: first(6, " -m reg ^[a-c]+[0-9]{2,3}$").script([
        from(2).says("abc123").served('b'),
        from(2).says("abcc12").served('b'),
        from(2).says("abcd12").served('a'),
    ]),

    regular_expression_without_case: first(5, " -m reg -i ^h.*O$").script([
        from(2).says("HELLo").served('b'),
        from(2).says("HELLa").served('a'),
    ]),

    binary: first(3, " -m bin 00ff0a 474554").script([
        from(2).says([0, 0xff, 10]).served('b'),
        from(2).says("GET").served('b'),
        from(2).says([0, 0xff, 11]).served('a'),
    ]),

    length_of_a_value: Case::frontend(
        "tcp-request inspect-delay 150ms
         tcp-request content reject if { req.payload(0,0) -m len gt 4 }
         tcp-request content reject if { req.payload(0,0) -m len 1:2 }",
    )
    .script([
        from(2).says("abcde").refused(),
        from(2).says("abcd").served('a'),
        from(2).says("ab").refused(),
    ]),

    found: Case::frontend(
        "use_backend b if { fc_pp_authority -m found }
         use_backend c if !{ src -m found }",
    )
    .script([from(2).served('a')]),

    boolean: Case::frontend(
        "use_backend b if !{ src_is_local -m bool }
         use_backend c if { always_false } || !{ always_true }
         use_backend a if { src_is_local }",
    )
    .script([from(2).served('a')]),

    integer_ranges: Case::frontend(
        "tcp-request inspect-delay 150ms
         tcp-request content accept if { req.len 3:4 9: }
         tcp-request content reject if WAIT_END",
    )
    .script([
        from(2).says("abc").served('a'),
        from(2).says("ab").refused(),
        from(2).says("abcde").refused(),
        from(2).says("abcdefghi").served('a'),
    ]),

    integer_operators: Case::frontend(
        "tcp-request inspect-delay 150ms
         acl enough req.len ge 3
         acl much req.len gt 6
         acl seven req.len eq 7
         acl little req.len le 4
         tcp-request content reject if enough little
         tcp-request content accept if seven
         tcp-request content reject if much",
    )
    .script([
        from(2).says("abc").refused(),
        from(2).says("abcdef").served('a'),
        from(2).says("abcdefg").served('a'),
        from(2).says("abcdefgh").refused(),
    ]),

    addresses_from_a_file: Case::frontend("tcp-request connection reject if { src -f FILES/bad.lst }")
        .file("bad.lst", "# bad people\n127.0.0.2\n\n  127.0.0.8/30\n2001:db8::/32\n")
        .script([
            from(2).reset(),
            from(3).served('a'),
            from(9).reset(),
            from(12).served('a'),
        ]),

    two_files_and_a_word: Case::frontend(
        "tcp-request connection reject if { src -f FILES/one.lst -f FILES/two.lst 127.0.0.4 }",
    )
    .file("one.lst", "127.0.0.2\n")
    .file("two.lst", "127.0.0.3\n")
    .script([
        from(2).reset(),
        from(3).reset(),
        from(4).reset(),
        from(5).served('a'),
    ]),

    strings_from_a_file_without_case: first(5, " -m str -i -f FILES/words.lst")
        .file("words.lst", "hello\nWORLD\n")
        .script([
            from(2).says("HELLO").served('b'),
            from(2).says("wORLD").served('b'),
            from(2).says("other").served('a'),
        ]),

    addresses_from_the_keys_of_a_map: Case::frontend(
        "tcp-request connection reject if { src -M -f FILES/bad.map }",
    )
    .file("bad.map", "# bad people\n127.0.0.2 first one\n  127.0.0.8/30\tsome\n127.0.0.20\n")
    .script([
        from(2).reset(),
        from(3).served('a'),
        from(9).reset(),
        from(12).served('a'),
        from(20).reset(),
    ]),

    // What is before the flag is a plain file.
    a_file_and_then_a_map: first(5, " -m str -f FILES/words.lst -i -M -f FILES/words.map other")
        .file("words.lst", "hello\n")
        .file("words.map", "WORLD greeted\n")
        .script([
            from(2).says("hello").served('b'),
            from(2).says("Hello").served('a'),
            from(2).says("world").served('b'),
            from(2).says("OTHER").served('b'),
            from(2).says("greet").served('a'),
        ]),

    host_names: Case::frontend(
        "tcp-request connection reject if { src localhost }
         use_backend b if { src -f FILES/hosts.lst }",
    )
    .file("hosts.lst", "localhost/29\n")
    .script([
        from(1).reset(),
        from(2).served('b'),
        from(8).served('a'),
    ]),

    // The keys of maps are never looked up, and a word after `-n` is not.
    addresses_where_nothing_is_looked_up: Case::frontend(
        "tcp-request connection reject if { src -n 127.0.0.2 ::1 }
         use_backend b if { src,map_ip(FILES/where.map) b }",
    )
    .file("where.map", "127.0.0.3 b\n")
    .script([
        from(2).reset(),
        from(3).served('b'),
        from(4).served('a'),
    ]),

    integers_from_a_file: Case::frontend(
        "bind 127.0.0.1:8001
         bind 127.0.0.1:8002
         tcp-request connection reject if { dst_port -f FILES/ports.lst }",
    )
    .file("ports.lst", "8001\n9000:9010\n")
    .script([
        from(2).served('a'),
        from(2).to("127.0.0.1:8001").reset(),
        from(2).to("127.0.0.1:8002").served('a'),
    ]),

    network_masks_with_dots: Case::frontend("tcp-request connection reject if { src 127.0.0.8/255.255.255.252 }").script([
        from(7).served('a'),
        from(8).reset(),
        from(11).reset(),
        from(12).served('a'),
    ]),

    an_address_as_a_string: Case::frontend(
        "use_backend b if { src -m str 127.0.0.2 }
         use_backend c if { src -m beg 127.0.0.1 }",
    )
    .script([from(2).served('b'), from(11).served('c'), from(3).served('a')]),

    a_string_as_an_address: first(8, ",lower -m ip 10.0.0.0/8").script([
        from(2).says("10.1.2.3").served('b'),
        from(2).says("11.1.2.3").served('a'),
        from(2).says("10.1.2.x").served('a'),
    ]),

    a_string_as_a_number: first(3, ",lower -m int 100:200").script([
        from(2).says("150").served('b'),
        from(2).says("250").served('a'),
        from(2).says("15x").served('a'),
    ]),
}
