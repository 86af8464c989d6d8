//! Command lines to invocations.

use super::*;

fn parsed(line: &str) -> Result<Invocation, UsageError> {
    let argv = std::iter::once("underpass").chain(line.split_whitespace());
    parse(argv.map(OsString::from))
}

fn run(line: &str) -> Run {
    match parsed(line) {
        Ok(Invocation::Run(run)) => *run,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn flags_as_haproxy_has_them() {
    let all = run(
        "-f a.cfg -f dir -c -C /tmp -D -db -dD -dS -dW -V -q -L me -n 10 -N 5 -p /run/x -sf 1 2 -st 3 -- b c",
    );
    let expected = Run {
        files: ["a.cfg", "dir", "b", "c"].map(PathBuf::from).to_vec(),
        check: true,
        chdir: Some("/tmp".into()),
        foreground: true,
        daemon: true,
        debug: false,
        diagnostic: true,
        no_splice: true,
        warnings_are_errors: true,
        verbose: true,
        quiet: true,
        local_peer: Some("me".into()),
        maxconn: Some(10),
        default_maxconn: Some(5),
        pidfile: Some("/run/x".into()),
        finish: vec![1, 2],
        terminate: vec![3],
        ignored: Vec::new(),
    };
    assert_eq!(all, expected);
}

#[test]
fn debug_stays_in_the_foreground() {
    let run = run("-d -f a");
    assert!(run.debug && run.foreground);
    let mut global = Global {
        daemon: true,
        ..Global::default()
    };
    run.apply(&mut global);
    assert!(!global.daemon);
}

#[test]
fn flags_override_the_global_section() {
    let mut global = Global {
        maxconn: Some(1),
        ..Global::default()
    };
    run("-f a -D -p /p").apply(&mut global);
    assert_eq!((global.maxconn, global.daemon), (Some(1), true));
    assert_eq!(global.pidfile, Some("/p".into()));
    run("-f a -n 7").apply(&mut global);
    assert_eq!(global.maxconn, Some(7));
}

#[test]
fn flags_without_meaning_are_noted() {
    let run = run("-dI -dM -dM50 -dZ -dr -dV -m 100 -s -S /s -W -Ws -x /x -sf -f a");
    assert_eq!(
        run.ignored,
        [
            "-dI", "-dM", "-dM50", "-dZ", "-dr", "-dV", "-m", "-s", "-S", "-W", "-Ws", "-x"
        ]
    );
    assert!(run.finish.is_empty());
    assert_eq!(run.ignored_notes().len(), run.ignored.len());
}

#[test]
fn other_invocations() {
    let table = [
        ("-v", Invocation::Version { verbose: false }),
        ("-vv", Invocation::Version { verbose: true }),
        ("-cc streq(a,b)", Invocation::Condition("streq(a,b)".into())),
        (
            "check -f a -f b",
            Invocation::Check(CheckArgs {
                files: ["a", "b"].map(PathBuf::from).to_vec(),
                deny_warnings: false,
            }),
        ),
        ("probe", Invocation::Probe(ProbeArgs { json: false })),
    ];
    for (line, expected) in table {
        assert_eq!(parsed(line).unwrap(), expected, "{line}");
    }
}

#[test]
fn mistakes() {
    for line in [
        "",
        "-c",
        "-f",
        "-f a -n",
        "-f a -n x",
        "-f a b",
        "-f a -Q",
        "-sf x -f a",
        "-cc",
        "check",
        "bogus",
        "--bogus",
    ] {
        let error = parsed(line).expect_err(line);
        assert!(error.to_stderr && error.code != 0, "{line}");
        assert!(error.message.ends_with('\n'), "{line}");
    }
}

#[test]
fn help_is_no_mistake() {
    for line in ["-h", "--help", "--version", "check --help"] {
        let help = parsed(line).expect_err(line);
        assert!(!help.to_stderr && help.code == 0, "{line}");
    }
    assert!(parsed("--help").unwrap_err().message.contains("-sf PID"));
}

#[test]
fn the_definitions_are_consistent() {
    command().debug_assert();
}

#[test]
fn the_environment_carries_the_local_peer() {
    let variables = [("A".into(), "1".into())];
    let environment = run("-f a -L me").environment(variables);
    assert_eq!(environment["A"], "1");
    assert_eq!(environment["HAPROXY_LOCALPEER"], "me");
}
