//! The same commands to both programs.

use crate::site::{FILE, with_both};

/// Replaces words of lines of at least so many words.
fn mask_words(text: &str, words: usize, masked: &[usize]) -> String {
    let line = |line: &str| -> String {
        let parts: Vec<&str> = line.split(' ').collect();
        if parts.len() < words || line.starts_with('#') {
            return line.to_owned();
        }
        let word =
            |(at, word): (usize, &&str)| if masked.contains(&at) { "_" } else { *word }.to_owned();
        let parts: Vec<String> = parts.iter().enumerate().map(word).collect();
        parts.join(" ")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Masks where an entry of a table is, and how long it stays.
fn mask_entries(text: &str) -> String {
    let word = |word: &str| {
        let mask = word.starts_with("0x") || word.starts_with("exp=");
        if mask { "_" } else { word }.to_owned()
    };
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ");
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Commands whose answers must be the same to the letter.
const SAME: &[&str] = &[
    "show backend",
    "show servers state",
    "show servers state be",
    "show servers state none",
    "show servers conn li",
    "show servers conn none",
    "show cli level",
    "show table",
    "get weight be/b",
    "get weight be",
    "get weight be/none",
    "get weight none/b",
    "set weight be/b 5",
    "get weight be/b",
    "set server be/b weight 200%",
    "get weight be/b",
    "set server be/b weight 50%",
    "set server be/b weight",
    "set server be/b weight abc",
    "set server be/b weight 300",
    "set server be/b weight -1",
    "set server be/b weight -5%",
    "set server be/b weight 1x",
    "set server",
    "set server be/b",
    "set server be/b none",
    "set server be/b state",
    "set server be/b state none",
    "set server be/b state drain",
    "show servers state be",
    "set server be/b state maint",
    "show servers state be",
    "set server be/b state ready",
    "set server be/c state ready",
    "set server be/c state drain",
    "show servers state be",
    "enable server",
    "enable server be/none",
    "enable server be/c",
    "show servers state be",
    "disable server be/c",
    "set server be/b addr",
    "set server be/b addr none",
    "set server be/b addr 127.0.0.1",
    "set server be/b addr 127.0.0.2",
    "set server be/b addr 127.0.0.2 port 9003",
    "set server be/b addr 127.0.0.1 port 9002",
    "set server be/b addr 127.0.0.1 port 9002 more",
    "set server be/b addr 127.0.0.1 port abc",
    "set server be/b addr ::1 port 9002",
    "show servers state be",
    "set server be/b agent up",
    "set server be/b check-port 12",
    "set maxconn server be/b",
    "set maxconn server be/b abc",
    "set maxconn server be/b 5",
    "set maxconn server be/none 5",
    "shutdown session",
    "shutdown session none",
    "shutdown session 0xfffffffffff",
    "show sess 0xfffffffffff",
    "shutdown sessions server",
    "shutdown sessions server be/none",
    "shutdown sessions server be/b",
    "show stat none 4 -1",
    "show stat domain none",
    "show errors none",
    "set timeout cli",
    "set timeout cli 5",
    "set timeout cli abc",
    "set timeout none",
    "set severity-output none",
    "set severity-output other",
    "clear counters",
    "clear counters all",
    "set table li key 192.0.2.1 data.gpc0 5 data.conn_cnt 7",
    "set table li key 192.0.2.2 data.gpc0 6",
    "show table li key 192.0.2.1",
    "show table li key 192.0.2.9",
    "show table li data.gpc0 gt 5",
    "show table li data.gpc1 gt 5",
    "show table li data.none gt 5",
    "show table li data.gpc0 none 5",
    "show table li none",
    "show table none",
    "set table",
    "set table none key 192.0.2.1",
    "set table li key 192.0.2.1 data.gpc1 1",
    "clear table li key 192.0.2.1",
    "show table li key 192.0.2.1",
    "clear table li data.gpc0 eq 6",
    "show table",
    "clear table",
    "clear table none",
    "set table spare key some\\ words data.gpt0 1",
    "show table spare key some\\ words",
    "clear table spare",
    "show table",
    "set server be/b fqdn",
    "set server be/b fqdn host.example",
    "enable frontend",
    "enable frontend none",
    "enable frontend be",
    "enable frontend fe",
    "disable frontend",
    "disable frontend none",
    "disable frontend li",
    "disable frontend li",
    "enable frontend li",
    "shutdown frontend",
    "shutdown frontend none",
    "shutdown frontend li",
    "shutdown frontend li",
    "enable frontend li",
    "disable frontend li",
    "set maxconn frontend",
    "set maxconn frontend none 5",
    "set maxconn frontend be 5",
    "set maxconn frontend fe",
    "set maxconn frontend fe -5",
    "set maxconn frontend fe 5",
    "set maxconn global",
    "set maxconn global 100000",
    "set maxconn global 400",
    "set maxconn global -1",
    "set maxconn global 0",
    "set severity-output number; enable frontend fe",
    "set server be/c health down",
    "set server be/c health stopping",
    "set server be/c health up",
    "set server be/c health none",
];

#[test]
fn answers_are_haproxys() {
    let answers = with_both(FILE, |site| {
        let answer = |command: &&str| {
            let answer = site.ask(command);
            if command.starts_with("show servers state") {
                // Seconds since the last change, and the health of what nobody checks: there it remembers that a server
                // was maintained once.
                return mask_words(&answer, 20, &[9, 12]);
            }
            if command.starts_with("show table") {
                // The entry's place in memory, and the time that it has left.
                return mask_entries(&answer);
            }
            answer
        };
        SAME.iter().map(answer).collect::<Vec<_>>()
    });
    let [theirs, ours] = &answers;
    let mut complaints = String::new();
    for (command, (theirs, ours)) in SAME.iter().zip(theirs.iter().zip(ours)) {
        if theirs != ours {
            complaints.push_str(&format!(
                "{command}\n  theirs: {theirs:?}\n  ours:   {ours:?}\n"
            ));
        }
    }
    assert!(complaints.is_empty(), "{complaints}");
}

#[test]
fn facts_have_haproxys_names_and_types() {
    let texts = with_both(FILE, |site| {
        drop(site.visit(8000));
        ["show info typed", "show info"].map(|command| site.ask(command))
    });
    let [theirs, ours] = &texts;
    let names = |text: &str| -> Vec<String> {
        text.lines()
            .filter_map(|line| line.rsplit_once(':'))
            .map(|(name, _)| name.to_owned())
            .collect()
    };
    for at in 0..2 {
        let known = names(&theirs[at]);
        for name in names(&ours[at]) {
            assert!(known.contains(&name), "{name} is none of {known:?}");
        }
    }
    for line in [
        "Nbthread: 2",
        "Maxconn: 500",
        "node: here",
        "description: \"a test, of course\"",
        "Listeners: 5",
    ] {
        assert!(
            ours[1].lines().any(|other| other == line),
            "{line} in {}",
            ours[1]
        );
        assert!(
            theirs[1].lines().any(|other| other == line),
            "{line} in {}",
            theirs[1]
        );
    }
}

#[test]
fn levels_allow_what_haproxys_do() {
    let commands = [
        "show cli level",
        "show sess",
        "show errors",
        "show backend",
        "get weight be/a",
        "clear counters",
        "clear counters all",
        "set table li key 192.0.2.1 data.gpc0 1",
        "set weight be/a 3",
        "disable server be/a",
        "enable server be/a",
        "set server be/a state ready",
        "shutdown session 0xffffffffffff",
        "shutdown sessions server be/a",
        "set maxconn server be/a 9",
        "set maxconn frontend fe 9",
        "set maxconn global 9",
        "disable frontend fe",
        "enable frontend fe",
        "operator",
    ];
    let answers = with_both(FILE, |site| {
        let mut denied = Vec::new();
        for level in ["user", "operator", "admin"] {
            for command in commands {
                let answer = site.send(level, format!("{command}\n").as_bytes());
                denied.push((level, command, answer == "Permission denied\n\n"));
            }
        }
        denied
    });
    assert_eq!(answers[0], answers[1]);
    assert!(answers[1].iter().any(|(.., denied)| *denied));
}
