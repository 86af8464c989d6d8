//! What the tests of this room share.

use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use super::check;

/// Two ends of a connection over the loopback: who connected, who accepted.
pub(super) fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// Waits until `condition` holds; a test that waits for ten seconds has failed.
pub(super) fn wait(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

/// Runs `test` on a thread in a network namespace of its own, which has a loopback that is up and
/// ends with the thread. Without root's privileges nothing is run.
pub(super) fn in_namespace(test: impl FnOnce() + Send) {
    if super::process::effective_uid() != 0 {
        eprintln!("skipped: wants root, for a network namespace");
        return;
    }
    let run = || {
        // SAFETY: no memory is passed; only the calling thread changes its namespace.
        check(unsafe { libc::unshare(libc::CLONE_NEWNET) }).unwrap();
        ip("link set lo up");
        test();
    };
    if let Err(panic) = std::thread::scope(|scope| scope.spawn(run).join()) {
        std::panic::resume_unwind(panic);
    }
}

/// Runs `ip` in the calling thread's namespace.
pub(super) fn ip(arguments: &str) {
    let status = Command::new("ip")
        .args(arguments.split(' '))
        .status()
        .unwrap();
    assert!(status.success(), "ip {arguments}: {status}");
}
