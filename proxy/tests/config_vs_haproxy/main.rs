//! Our verdict on configuration files beside Debian's HAProxy's.
//!
//! HAProxy is required: without it these tests fail.

mod cases;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use underpass::config::lexer::{self, Variables};
use underpass::config::model::Environment;
use underpass::config::{self, Source};

use cases::{INVALID, INVALID_TLS, STRICTER, STRICTER_TLS, VALID, VALID_TLS};

/// Where Debian puts it, and where others do.
const HAPROXY: [&str; 3] = [
    "/usr/sbin/haproxy",
    "/usr/local/sbin/haproxy",
    "/usr/bin/haproxy",
];

const VARIABLES: [(&str, &str); 3] = [("SET", "8080"), ("EMPTY", ""), ("LIST", "one two")];

fn haproxy(file: &Path) -> Output {
    let program = HAPROXY
        .into_iter()
        .find(|path| Path::new(path).exists())
        .expect("haproxy is not installed: this test compares with it (Debian package `haproxy`)");
    Command::new(program)
        .args(["-c", "-f"])
        .arg(file)
        .env_clear()
        .envs(VARIABLES)
        .output()
        .expect("haproxy does not start")
}

fn environment() -> Environment {
    VARIABLES
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// `@DEFAULTS` and `@SERVER` in a case stand for these.
const DEFAULTS: &str =
    "defaults\n mode tcp\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n";
const SERVER: &str = " server s 192.0.2.1:80\n";

#[test]
fn verdicts_agree() {
    let dir = tempfile::tempdir().unwrap();
    compare(dir.path(), VALID, INVALID, STRICTER);
}

#[test]
fn verdicts_on_tls_agree() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    compare(dir.path(), VALID_TLS, INVALID_TLS, STRICTER_TLS);
}

/// Makes the files that `@DIR` is said to have.
fn certificates(dir: &Path) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
        .args(["-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=a.test"])
        .args(["-keyout", "key.pem", "-out", "crt.pem"])
        .current_dir(dir)
        .output()
        .expect("openssl is not installed: this test makes a certificate with it");
    assert!(made.status.success(), "{made:?}");
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
    let bundle = read("crt.pem") + &read("key.pem");
    fs::write(dir.join("a.pem"), &bundle).unwrap();
    fs::create_dir(dir.join("certs")).unwrap();
    fs::write(dir.join("certs/b.pem"), &bundle).unwrap();
    let entry = format!(
        "{} [alpn h2] *.a.test !b.a.test\n",
        dir.join("a.pem").display()
    );
    fs::write(dir.join("list"), entry).unwrap();
    // Three keys of 48 bytes, in base64.
    let keys = ["A", "B", "C"].map(|letter| letter.repeat(64)).join("\n");
    fs::write(dir.join("keys"), keys + "\n").unwrap();
}

/// Asks both about every case; the verdicts are HAProxy's and ours.
fn compare(dir: &Path, valid: &[&str], invalid: &[&str], stricter: &[&str]) {
    let file = dir.join("case.cfg");
    let mut wrong = Vec::new();
    let valid = valid.iter().map(|case| ((true, true), case));
    let invalid = invalid.iter().map(|case| ((false, false), case));
    let stricter = stricter.iter().map(|case| ((true, false), case));
    for (expected, case) in valid.chain(invalid).chain(stricter) {
        let text = case
            .replace("@DEFAULTS", DEFAULTS)
            .replace("@SERVER", SERVER)
            .replace("@SSL", "ssl crt @DIR/a.pem")
            .replace("@DIR", dir.to_str().unwrap());
        fs::write(&file, &text).unwrap();
        let theirs = haproxy(&file);
        // 2: no mistake, but nothing would listen.
        let accepted = matches!(theirs.status.code(), Some(0 | 2));
        let ours = config::load(&[Source::new("case.cfg", text)], &environment());
        let verdicts = (accepted, ours.config.is_some());
        if verdicts != expected {
            wrong.push(format!(
                "{case:?}\n  expected {expected:?}, haproxy {}, ours {}\n{}{:#?}",
                verdicts.0,
                verdicts.1,
                String::from_utf8_lossy(&theirs.stderr),
                ours.diagnostics
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} cases:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Cipher strings: what OpenSSL makes of each, of the suites that are here, is what we make of it.
#[test]
fn cipher_strings_agree() {
    const STRINGS: [&str; 24] = [
        "ALL",
        "HIGH:!aNULL",
        "DEFAULT",
        "DEFAULT:!aECDSA",
        "CHACHA20:ALL",
        "AES128:ALL:@STRENGTH",
        "ALL:-AESGCM:ALL",
        "ALL:-ECDSA:AES128",
        "ALL:-AES128:-ECDSA:ALL",
        "ALL:+ECDSA:+AES256",
        "ALL:!AES256:AES256",
        "FIPS:CHACHA20+aRSA",
        "ECDHE+RSA:ECDHE+ECDSA",
        "EECDH+AESGCM:EDH+AESGCM",
        "kECDHE+aRSA,kEECDH;AES",
        "AESGCM CHACHA20",
        "TLSv1.2:!ECDHE+AES128",
        "ALL:@SECLEVEL=1:!MD5",
        "SHA384:AES128",
        "ecdhe:AES256",
        "AES128+DEFAULT:aRSA",
        "NOPE:AES128:+NOPE:-NOPE:!NOPE",
        "ECDHE-RSA-AES128-GCM-SHA256:AES128-SHA:ECDHE-ECDSA-CHACHA20-POLY1305",
        "COMPLEMENTOFDEFAULT:AES",
    ];
    let here = |name: &&str| {
        let kind = ["AES128-GCM", "AES256-GCM", "CHACHA20"];
        let auth = ["ECDHE-RSA-", "ECDHE-ECDSA-"];
        let rest = auth.iter().find_map(|auth| name.strip_prefix(auth));
        rest.is_some_and(|rest| kind.iter().any(|kind| rest.starts_with(kind)))
    };
    for string in STRINGS {
        let output = Command::new("openssl")
            .args(["ciphers", "-s", "-tls1_2", string])
            .output()
            .expect("openssl is not installed: this test compares with it");
        let output = String::from_utf8(output.stdout).unwrap();
        let theirs: Vec<&str> = output.trim().split(':').filter(here).collect();
        assert!(!theirs.is_empty(), "{string}: {output}");
        let text = format!("frontend f\n mode health\n bind :1 ssl crt /x ciphers \"{string}\"\n");
        let config = config::load(&[Source::new("c.cfg", text)], &environment()).config;
        let config = config.unwrap_or_else(|| panic!("{string} was refused"));
        let tls = config.frontends[0].binds[0].tls.as_ref().unwrap();
        assert_eq!(tls.parameters.ciphers, theirs, "{string}");
    }
}

/// What a lexer makes of a `.notice` line.
#[derive(Debug, PartialEq, Eq)]
enum Words {
    /// At most one word: its text.
    One(String),
    /// The second of several.
    Extra(String),
    /// A mistake, at this column.
    Wrong(u32),
}

/// HAProxy stops reading after this many mistakes.
const HAPROXY_GIVES_UP: usize = 50;

/// A small generator with a fixed seed: the lines are the same every time.
fn random_lines(count: usize) -> Vec<String> {
    const PIECES: [&str; 36] = [
        "a",
        "b",
        "n",
        "x",
        "4",
        "1",
        "0",
        " ",
        " ",
        "\t",
        "\\",
        "\\",
        "\"",
        "\"",
        "\"",
        "'",
        "'",
        "#",
        "$",
        "${",
        "}",
        "-",
        "_",
        ".",
        "$SET",
        "${SET}",
        "${NOPE-d}",
        "${LIST[*]}",
        "\\x41",
        "\\n",
        "\\\"",
        "${EMPTY-e}",
        "${EMPTY}",
        "$.LINE",
        "[*]",
        "é",
    ];
    let mut state: u64 = 0x5eed;
    let mut next = |bound: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % bound
    };
    let mut line = || -> String {
        let length = next(12);
        (0..length).map(|_| PIECES[next(PIECES.len())]).collect()
    };
    (0..count).map(|_| line()).collect()
}

#[test]
fn words_agree() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("w.cfg");
    let lines = random_lines(4000);
    let mut wrong = Vec::new();
    let name: Arc<str> = Arc::from(file.to_str().unwrap());
    let environment = environment();
    for lines in lines.chunks(HAPROXY_GIVES_UP - 1) {
        // HAProxy misreads a default value on a line for which its buffer has to grow: a long
        // first line makes it grow before.
        let mut text = format!(".notice {}\n", "x".repeat(1000));
        text.extend(lines.iter().map(|line| format!(".notice {line}\n")));
        fs::write(&file, &text).unwrap();
        let output = haproxy(&file);
        let theirs = said(&String::from_utf8_lossy(&output.stderr), &name);
        for (index, line) in text.lines().enumerate() {
            let number = u32::try_from(index + 1).unwrap();
            let variables = Variables {
                environment: &environment,
                section: "",
            };
            let ours = match lexer::split(line.as_bytes(), &name, number, variables) {
                Ok(line) => match &line.words[1..] {
                    [] => Words::One(String::new()),
                    [word] => Words::One(word.text.clone()),
                    [_, extra, ..] => Words::Extra(extra.text.clone()),
                },
                Err(fault) => Words::Wrong(fault.position.column),
            };
            let theirs = theirs.iter().find(|(at, _)| *at == number);
            if theirs.map(|(_, words)| words) != Some(&ours) {
                wrong.push(format!("{line}\n  ours {ours:?}, theirs {theirs:?}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} lines:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// What HAProxy said about each line of `name`.
fn said(output: &str, name: &str) -> Vec<(u32, Words)> {
    let marker = format!("config : parsing [{name}:");
    let mut found = Vec::new();
    for part in output.split(&marker).skip(1) {
        let (number, rest) = part.split_once("]: ").expect("a line number");
        let number = number.parse().expect("a line number");
        let words = if let Some(rest) = rest.strip_prefix("Unexpected argument '") {
            Words::Extra(rest[..rest.find("' for '.notice'").unwrap()].to_owned())
        } else if let Some(rest) = rest.strip_prefix('\'') {
            Words::One(rest[..rest.rfind("'.\n").unwrap()].to_owned())
        } else {
            let (_, rest) = rest
                .split_once("at position ")
                .unwrap_or_else(|| panic!("a position in {rest:?}"));
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            Words::Wrong(digits.parse().expect("a position"))
        };
        found.push((number, words));
    }
    found
}
