//! Health checks: the same servers, checked by our daemon and by Debian's haproxy, and what both log of them.

mod stories;
mod verdicts;
mod wire;

use std::path::{Path, PathBuf};

use underpass_tests::daemon::{self, BOUND, Daemon};
use underpass_tests::process::Output;

const HAPROXY: &str = "/usr/sbin/haproxy";

/// Nobody listens there.
const CLOSED: u16 = 9999;

/// Both programs, haproxy first.
fn programs() -> [PathBuf; 2] {
    [
        HAPROXY.into(),
        daemon::binary().expect("the binary under test"),
    ]
}

/// A file around these sections.
fn config(program: &Path, sections: &str) -> String {
    // There has to be somebody who listens.
    let ours = if daemon::is_haproxy(program) {
        ""
    } else {
        "    offload off\n"
    };
    format!(
        "global\n    nbthread 1\n    log stdout format short daemon\n\
         defaults\n    mode tcp\n    log global\n    timeout connect 5s\n    timeout client 60s\n    \
         timeout server 60s\n    retries 0\n{ours}\
         frontend idle\n    bind 127.0.0.1:7999\n{sections}"
    )
}

/// Lines about servers, with what differs from run to run masked.
fn told(lines: &[String]) -> Vec<String> {
    let about = |line: &&String| {
        ["Server ", "check for ", "no server available"]
            .iter()
            .any(|words| line.contains(words))
    };
    lines.iter().filter(about).map(|line| mask(line)).collect()
}

fn mask(line: &str) -> String {
    let mark = "check duration: ";
    let Some(at) = line.find(mark) else {
        return line.to_owned();
    };
    let (before, rest) = line.split_at(at + mark.len());
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    assert!(digits > 0 && rest[digits..].starts_with("ms"), "{line}");
    format!("{before}N{}", &rest[digits..])
}

/// Waits for lines about servers.
fn wait<T>(daemon: &mut Daemon, what: &str, enough: impl Fn(&[String]) -> Option<T>) -> T {
    daemon
        .process()
        .wait_lines(Output::Stdout, BOUND, what, |lines| enough(&told(lines)))
        .expect("lines about servers")
}
