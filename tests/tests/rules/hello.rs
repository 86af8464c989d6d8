//! TLS hellos, looked at and passed on.

use underpass_tests::cases;
use underpass_tests::compare::{Case, Visit, from};

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|digit| u8::try_from(digit.to_digit(16)?).ok())
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

macro_rules! sample {
    ($name:literal) => {
        unhex(include_str!(concat!(
            "../../../proxy/src/rules/hello/samples/",
            $name,
            ".hex"
        )))
    };
}

/// `www.openssl.example`, ALPN h2 and http/1.1.
fn openssl() -> Vec<u8> {
    sample!("openssl")
}

/// `curl.example`, the same ALPN.
fn curl() -> Vec<u8> {
    sample!("curl")
}

/// `localhost`, no ALPN.
fn gnutls() -> Vec<u8> {
    sample!("gnutls")
}

/// No name.
fn nameless() -> Vec<u8> {
    sample!("openssl-no-sni")
}

/// A browser's, large: `grease.example`.
fn browser() -> Vec<u8> {
    sample!("grease")
}

/// The hello in records of at most this many bytes.
fn in_records(hello: &[u8], most: usize) -> Vec<u8> {
    hello[5..]
        .chunks(most)
        .flat_map(|part| {
            let length = u16::try_from(part.len()).expect("a short part");
            [&[22, 3, 1], &length.to_be_bytes()[..], part].concat()
        })
        .collect()
}

fn in_pieces(visit: Visit, bytes: &[u8], most: usize) -> Visit {
    bytes.chunks(most).fold(visit, Visit::says)
}

fn after_a_hello(lines: &str) -> Case {
    Case::frontend(&format!(
        "tcp-request inspect-delay 10s
         tcp-request content accept if {{ req.ssl_hello_type 1 }}
         {lines}"
    ))
}

cases! {
    route_by_name: after_a_hello(
        "use_backend b if { req.ssl_sni -i www.OPENSSL.example }
         use_backend c if { req.ssl_sni curl.example }",
    )
    .script([
        from(2).says(openssl()).served('b'),
        from(2).says(curl()).served('c'),
        from(2).says(gnutls()).served('a'),
        from(2).says(nameless()).served('a'),
    ]),

    in_many_pieces: after_a_hello("use_backend b if { req.ssl_sni -m end .example }").script([
        in_pieces(from(2), &openssl(), 50).served('b'),
        in_pieces(from(2), &gnutls(), 100).served('a'),
        in_pieces(from(2), &browser(), 600).served('b'),
    ]),

    names_from_a_file: after_a_hello("use_backend b if { req.ssl_sni -i -f FILES/names.lst }")
        .file("names.lst", "grease.example\nwww.openssl.example\n")
        .script([
            from(2).says(openssl()).served('b'),
            from(2).says(browser()).served('b'),
            from(2).says(curl()).served('a'),
        ]),

    a_domain: after_a_hello("use_backend b if { req.ssl_sni -m dom openssl.example }").script([
        from(2).says(openssl()).served('b'),
        from(2).says(curl()).served('a'),
    ]),

    what_is_not_tls: Case::frontend(
        "tcp-request inspect-delay 10s
         tcp-request content accept if { req.ssl_hello_type 1 }
         tcp-request content reject",
    )
    .script([
        from(2).says("GET / HTTP/1.0\r\n\r\n").refused(),
        from(2).says(openssl()).served('a'),
    ]),

    half_a_hello: Case::frontend(
        "tcp-request inspect-delay 200ms
         tcp-request content accept if { req.ssl_hello_type 1 }
         tcp-request content reject",
    )
    .script([from(2).says(&openssl()[..100]).refused()]),

    version: after_a_hello(
        "use_backend b if { req.ssl_ver 3.3 }
         use_backend c if { req.ssl_ver 3.1:3.2 }",
    )
    .script([
        from(2).says(openssl()).served('b'),
        from(2).says({
            let mut old = openssl();
            old[10] = 1;
            old
        })
        .served('c'),
    ]),

    version_of_ssl_2: Case::frontend(
        "tcp-request inspect-delay 10s
         tcp-request content accept if { req.ssl_ver gt 0 }
         use_backend b if { req.ssl_ver 2:3 }",
    )
    .script([from(2)
        .says([
            &[0x80, 31, 1, 3, 0, 0, 6, 0, 0, 0, 16, 1, 0, 0x80, 3, 0, 0x80][..],
            &[9; 16],
        ]
        .concat())
        .served('b')]),

    alpn: after_a_hello("use_backend b if { req.ssl_alpn h2 }").script([
        from(2).says(openssl()).served('b'),
        from(2).says(gnutls()).served('a'),
    ]),

    extensions: after_a_hello("use_backend b if { req.ssl_ec_ext 1 } { req.ssl_st_ext 1 }")
        .script([from(2).says(openssl()).served('b')]),

    old_names: Case::frontend(
        "tcp-request inspect-delay 10s
         tcp-request content accept if { req_ssl_hello_type 1 }
         tcp-request content reject
         use_backend b if { req_ssl_sni www.openssl.example } { req_ssl_ver 3.3 }",
    )
    .script([from(2).says(openssl()).served('b'), from(2).says("no").and_ends().refused()]),

    use_server: after_a_hello("")
        .backend(
            "use-server two if { req.ssl_sni curl.example }
             use-server three if { req.ssl_sni -m end .openssl.example }
             server one 127.0.0.1:9001
             server two 127.0.0.1:9002 weight 0
             server three 127.0.0.1:9003 weight 0",
        )
        .script([
            from(2).says(curl()).served('b'),
            from(2).says(openssl()).served('c'),
            from(2).says(gnutls()).served('a'),
        ]),

    map_of_names: after_a_hello("use_backend %[req.ssl_sni,lower,map(FILES/sites.map,c)]")
        .file("sites.map", "curl.example b\n")
        .script([
            from(2).says(curl()).served('b'),
            from(2).says(openssl()).served('c'),
        ]),

    inspect_then_reject_a_name: Case::frontend(
        "tcp-request inspect-delay 10s
         tcp-request content reject if { req.ssl_sni curl.example }",
    )
    .script([from(2).says(curl()).refused(), from(2).says(openssl()).served('a')]),

    in_several_records: after_a_hello("use_backend b if { req.ssl_sni www.openssl.example } { req.ssl_alpn h2 }")
        .not_haproxy("2.6 finds no name in a hello that is split over records")
        .script([
            from(2).says(in_records(&openssl(), 100)).served('b'),
            from(2).says(in_records(&openssl(), 3)).served('b'),
            in_pieces(from(2), &in_records(&openssl(), 40), 70).served('b'),
        ]),

    cipher_list: after_a_hello("use_backend b if { req.ssl_cipherlist,bytes(0,2),hex -m str 1302 }")
        .not_haproxy("2.6 does not have req.ssl_cipherlist")
        .script([from(2).says(openssl()).served('b')]),
}
