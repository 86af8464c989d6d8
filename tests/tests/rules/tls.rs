//! Rules on TLS sessions that end in the proxy.

use underpass_tests::cases;
use underpass_tests::certs::Versions;
use underpass_tests::compare::{Case, Visit, from};

const NAME: &str = "front.example";

fn terminated(rules: &str) -> Case {
    Case::frontend(rules)
        .bind("ssl crt CERTS/front.pem ca-file CERTS/ca.pem verify optional alpn h2,http/1.1")
}

fn visitor() -> Visit {
    from(2).tls(NAME, Versions::Both, &["h2"]).says("x")
}

cases! {
    by_name: terminated("use_backend b if { ssl_fc_has_sni } { ssl_fc_sni -i FRONT.example }")
        .script([visitor().served('b')]),

    by_protocol: terminated(
        "use_backend b if { ssl_fc_protocol TLSv1.3 } { ssl_fc_alpn h2 }
         use_backend c if { ssl_fc_protocol TLSv1.2 } !{ ssl_fc_alpn -m found }",
    )
    .script([
        visitor().served('b'),
        from(2).tls(NAME, Versions::V12, &[]).says("x").served('c'),
        from(2).tls(NAME, Versions::V13, &["http/1.1"]).says("x").served('a'),
    ]),

    by_cipher: terminated(
        "use_backend b if { ssl_fc_cipher -m beg TLS_AES_ TLS_CHACHA20_ } { ssl_fc_use_keysize ge 128 }
         use_backend c if { ssl_fc_cipher -m beg ECDHE-ECDSA- } { ssl_fc_alg_keysize ge 128 }",
    )
    .script([
        visitor().served('b'),
        from(2).tls(NAME, Versions::V12, &[]).says("x").served('c'),
    ]),

    whether_it_is_tls: terminated(
        "bind 127.0.0.1:8001
         tcp-request session reject if !{ ssl_fc } { src 127.0.0.3 }
         use_backend b if { ssl_fc }
         use_backend c if !{ ssl_fc_has_sni } !{ ssl_fc_is_resumed } !{ ssl_c_used } !{ ssl_c_verify 0 }",
    )
    .script([
        visitor().served('b'),
        from(2).to("127.0.0.1:8001").says("x").served('c'),
        from(3).to("127.0.0.1:8001").says("x").refused(),
    ]),

    a_certificate_is_shown: terminated(
        "use_backend b if { ssl_c_used } { ssl_fc_has_crt } { ssl_c_verify 0 }
         use_backend c if !{ ssl_c_used } !{ ssl_fc_has_crt } { ssl_c_verify 0 }",
    )
    .script([
        visitor().with_certificate().served('b'),
        visitor().served('c'),
    ]),

    whose_certificate: terminated(
        "use_backend b if { ssl_c_s_dn(CN) client.example } { ssl_c_s_dn(cn,-1) client.example }
         use_backend c if { ssl_c_s_dn(CN) -m found }",
    )
    .script([
        visitor().with_certificate().served('b'),
        visitor().served('a'),
    ]),

    names_in_full: terminated(
        "use_backend b if { ssl_c_s_dn /CN=client.example } { ssl_c_s_dn(,0,rfc2253) CN=client.example } { ssl_c_i_dn -m sub CN= } !{ ssl_c_s_dn(CN,2) -m found } !{ ssl_c_s_dn(OU) -m found }",
    )
    .script([visitor().with_certificate().served('b')]),

    what_the_certificate_says: terminated(
        "use_backend b if { ssl_c_version 3 } { ssl_c_key_alg id-ecPublicKey } { ssl_c_sig_alg ecdsa-with-SHA256 } { ssl_c_notbefore -m reg ^[0-9]{12}Z$ } { ssl_c_notafter -m reg ^[0-9]{12}Z$ } { ssl_c_sha1,length eq 20 } { ssl_c_serial -m found } { ssl_c_der,bytes(0,1),hex -m str 30 }",
    )
    .script([visitor().with_certificate().served('b')]),

    content_under_tls: terminated(
        "tcp-request inspect-delay 10s
         tcp-request content reject if { req.payload(0,3) -m str bad }
         tcp-request content reject if { req.ssl_hello_type 1 }",
    )
    .script([
        from(2).tls(NAME, Versions::Both, &[]).says("bad").refused(),
        from(2).tls(NAME, Versions::Both, &[]).says("good").served('a'),
    ]),
}
