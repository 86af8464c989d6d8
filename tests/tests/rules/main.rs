//! Rule sets, each tried on our daemon and on Debian's haproxy: one file per topic, one test per rule set.
//!
//! Every rule set is compared with haproxy but those with `not_haproxy`, which say why.

mod connection;
mod content;
mod converters;
mod hello;
mod patterns;
mod payload;
mod proxies;
mod response;
mod routing;
mod session;
mod stick;
mod tables;
mod tls;
mod variables;

/// How many rule sets there are, and how many are compared with haproxy.
#[test]
fn enough_are_compared() {
    let all = [
        connection::all(),
        content::all(),
        converters::all(),
        hello::all(),
        patterns::all(),
        payload::all(),
        proxies::all(),
        response::all(),
        routing::all(),
        session::all(),
        stick::all(),
        tables::all(),
        tls::all(),
        variables::all(),
    ]
    .concat();
    let compared = all.iter().filter(|(_, case)| case.is_compared()).count();
    println!("{} rule sets, {compared} compared with haproxy", all.len());
    assert!(
        all.len() >= 90 && compared >= 80,
        "{compared} of {}",
        all.len()
    );
}
