use std::net::{TcpListener, TcpStream};

use super::*;
use crate::conn::Ctrl;
use crate::rules::run::{Scratch, Setting};
use crate::rules::scene::{Millis, Place};
use crate::rules::table::Tables;
use crate::rules::testing::{Idle, load};
use crate::rules::vars::ProcessVars;

/// What becomes of a connection from 127.0.0.1 at once, and what it still owes.
async fn begun(lines: &str, accept_proxy: bool) -> Result<Handlers, String> {
    let config = load(lines);
    let frontend = &config.frontends[0];
    let (scratch, tables, vars) = (Scratch::new(1), Tables::default(), ProcessVars::default());
    let rules = tcp_rules::Rules {
        front: &frontend.rules,
        setting: Setting {
            scratch: &scratch,
            now: Millis(0),
            frontend: Place {
                index: 0,
                name: "p",
            },
            listener: (1, "1"),
            tables: &tables,
            vars: &vars,
            census: &Idle,
        },
    };
    let (pool, turns) = (Rc::new(Pool::new(1 << 16)), Turns::default());
    let entrance = Entrance::new(
        frontend,
        Some(rules),
        accept_proxy,
        None,
        &pool,
        1 << 14,
        &turns,
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    socket.set_nonblocking(true).unwrap();
    let connection = Connection::accepted(socket.into(), Ctrl::Tcp).unwrap();
    let source = Endpoint::Inet(client.local_addr().unwrap());
    match begin(&entrance, Box::new(Incoming::new(connection, source))) {
        Begun::Over(Ok(_)) => Ok(Handlers::empty()),
        Begun::Over(Err(ended)) => Err(format!("{ended:?}")),
        Begun::Owes(_, owed) => Ok(owed),
    }
}

#[tokio::test]
async fn what_need_not_wait_is_done_at_once() {
    let proxy = Handlers::ACCEPT_PROXY | Handlers::ACCEPT_SESSION;
    let last_words = Handlers::SEND_LAST_CHUNK | Handlers::ACCEPT_SESSION;
    let reject = " tcp-request connection reject if { src 127.0.0.1 }\n";
    let reject_session = " tcp-request session reject if { src 127.0.0.1 }\n";
    let denied = || Err("Denied(TcpRules)".to_owned());
    let denied_later = || Err("Denied(AcceptSession)".to_owned());
    for (lines, accept_proxy, expected) in [
        ("", false, Ok(Handlers::empty())),
        ("", true, Ok(proxy)),
        (
            " tcp-request connection accept\n",
            false,
            Ok(Handlers::empty()),
        ),
        (reject, false, denied()),
        (reject, true, denied()),
        (" tcp-request connection silent-drop\n", false, denied()),
        (reject_session, false, denied_later()),
        // Session rules see the address of the header.
        (reject_session, true, Ok(proxy)),
        (
            " tcp-request connection expect-proxy layer4 if { dst 127.0.0.1 }\n",
            false,
            Ok(proxy),
        ),
        (
            " tcp-request connection expect-proxy layer4 if { dst 127.0.0.2 }\n",
            false,
            Ok(Handlers::empty()),
        ),
        // Monitors come before rules.
        (
            " monitor-net 127.0.0.0/8\n tcp-request connection reject\n",
            false,
            Ok(last_words | Handlers::TCP_RULES),
        ),
        (" monitor-net 192.0.2.0/24\n", false, Ok(Handlers::empty())),
    ] {
        assert_eq!(begun(lines, accept_proxy).await, expected, "{lines}");
    }
}
