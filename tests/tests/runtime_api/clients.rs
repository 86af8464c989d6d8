//! What clients of the API may do: chains, prompts, ends, and what they should not.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use crate::site::{FILE, Site, read_to_end, with_both};

/// What a client sends and gets, to the letter, but for lists of commands and versions.
#[test]
fn clients_are_answered_as_haproxy_does() {
    let scripts: &[&[u8]] = &[
        b"",
        b"show cli level",
        b"show cli level\n",
        b"show cli level\r\n",
        b"  show\t cli   level  more \n",
        b"show cli level;show backend\n",
        b"show cli level\nshow backend\n",
        b"show cli level \\; show backend\n",
        b"show cli level <<\nshow backend\n\n",
        b"show cli level <<\nno end\n",
        b";show cli level\n",
        b"nothing\n",
        b"show cli\n",
        b"prompt\n",
        b"prompt\nshow cli level\nquit\nshow backend\n",
        b"prompt;show cli level\nprompt\nshow backend\n",
        b"prompt\nshow cli level <<\nx\ny\n\nshow backend\n",
        b"operator;show cli level;disable server be/a;user;show cli level;show sess;operator\n",
        b"set severity-output number;enable server be/none;show cli level;get weight be/a\n",
        b"set severity-output string;enable server be/none;show backend;set server be/a addr 127.0.0.1\n",
        b"quit;show backend\n",
        b"\x00\xff\xfe\n",
        b"show cli level\x00 x\n",
    ];
    let answers = with_both(FILE, |site| {
        let answer = |script: &&[u8]| {
            let text = site.send("admin", script);
            // The commands themselves differ: HAProxy has others.
            let lines = text.lines().filter(|line| !line.starts_with("  "));
            lines.collect::<Vec<_>>().join("\n")
        };
        scripts.iter().map(answer).collect::<Vec<_>>()
    });
    let [theirs, ours] = &answers;
    let mut complaints = String::new();
    for (script, (theirs, ours)) in scripts.iter().zip(theirs.iter().zip(ours)) {
        if theirs != ours {
            let script = String::from_utf8_lossy(script);
            complaints.push_str(&format!(
                "{script:?}\n  theirs: {theirs:?}\n  ours:   {ours:?}\n"
            ));
        }
    }
    assert!(complaints.is_empty(), "{complaints}");
}

#[test]
fn a_client_that_does_not_end_is_closed_after_its_answer() {
    let site = Site::ours(FILE);
    let mut stream = site.client("admin");
    stream.write_all(b"show cli level\n").unwrap();
    assert_eq!(read_to_end(&mut stream), "admin\n\n");
}

/// What a command's client does is nothing to others, and its time is limited.
#[test]
fn slow_and_silent_clients_lose_their_place() {
    let file = FILE.replace("stats timeout 5s", "stats timeout 1s\n    stats maxconn 2");
    let site = Site::ours(&file);
    // It asks for more than any buffer takes, and reads nothing.
    let mut slow = site.client("admin");
    let _ = slow.write_all(&b"help;".repeat(3000));
    let _silent = site.client("admin");
    // Both places are taken: the next one waits until they are given back.
    assert_eq!(site.ask("show cli level"), "admin\n");
    assert!(!read_to_end(&mut slow).is_empty());
}

#[test]
fn a_prompted_client_may_take_its_time() {
    let file = FILE.replace("stats timeout 5s", "stats timeout 20s");
    let site = Site::ours(&file);
    let mut stream = site.client("operator");
    let said = |stream: &mut UnixStream, text: &str, expected: &str| {
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = vec![0; expected.len()];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), expected);
    };
    said(&mut stream, "prompt\n", "\n> ");
    said(&mut stream, "show cli", "");
    said(&mut stream, " level\n", "operator\n\n> ");
    // Another client in between.
    assert_eq!(site.ask("show cli level"), "admin\n");
    said(&mut stream, "show backend\n", "# name\nbe\nli\nspare\n\n> ");
    said(&mut stream, "quit\n", "");
    assert_eq!(read_to_end(&mut stream), "");
}

#[test]
fn a_command_without_end_is_refused() {
    let site = Site::ours(FILE);
    let mut stream = site.client("admin");
    // The rest of it may meet a closed socket.
    let _ = stream.write_all(&[b'x'; 40_000]);
    assert_eq!(read_to_end(&mut stream), "");
    assert_eq!(site.ask("show cli level"), "admin\n");
}
