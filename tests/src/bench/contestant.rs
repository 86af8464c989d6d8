//! Who takes part. A new path is one entry in [`ALL`]; a variation to try once
//! is `--add NAME=underpass:offload pipe;offload-after 1m` on the command line.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};

/// How bytes get from the client to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No proxy: routed between hosts, or straight over loopback.
    Direct,
    /// The distribution's haproxy, the reference of the ratios.
    Haproxy,
    /// This project's daemon.
    Underpass,
}

/// One way to serve the workloads.
#[derive(Debug, Clone)]
pub(crate) struct Contestant {
    /// Name on the command line and in the results.
    pub(crate) name: String,
    /// What serves it.
    pub(crate) kind: Kind,
    /// What its configuration adds to the common one, in `defaults`.
    pub(crate) lines: Vec<String>,
    /// Whether it runs without being asked for by name.
    pub(crate) by_default: bool,
}

/// Name, kind, lines in `defaults`, whether it runs by default.
type Entry = (&'static str, Kind, &'static [&'static str], bool);

const ALL: &[Entry] = &[
    ("direct", Kind::Direct, &[], true),
    ("haproxy-copy", Kind::Haproxy, &[], true),
    (
        "haproxy-splice",
        Kind::Haproxy,
        &["option splice-request", "option splice-response"],
        true,
    ),
    (
        "haproxy-splice-auto",
        Kind::Haproxy,
        &["option splice-auto"],
        false,
    ),
    (
        "underpass-buffer",
        Kind::Underpass,
        &["offload buffer"],
        true,
    ),
    ("underpass-pipe", Kind::Underpass, &["offload pipe"], true),
    (
        "underpass-redirect",
        Kind::Underpass,
        &["offload redirect"],
        true,
    ),
    ("underpass-auto", Kind::Underpass, &["offload auto"], true),
];

/// Every built-in contestant, in the order of the tables.
pub(crate) fn all() -> Vec<Contestant> {
    ALL.iter()
        .map(|(name, kind, lines, by_default)| Contestant {
            name: (*name).to_owned(),
            kind: *kind,
            lines: lines.iter().map(|&line| line.to_owned()).collect(),
            by_default: *by_default,
        })
        .collect()
}

/// Reads `NAME=haproxy:LINE;LINE` or `NAME=underpass:LINE;LINE`.
///
/// # Errors
/// When the form or the program's name is another.
pub(crate) fn parse_added(text: &str) -> Result<Contestant> {
    let (name, rest) = text
        .split_once('=')
        .context("expected NAME=PROGRAM:LINE;LINE")?;
    let (program, lines) = rest.split_once(':').unwrap_or((rest, ""));
    let kind = match program {
        "haproxy" => Kind::Haproxy,
        "underpass" => Kind::Underpass,
        other => bail!("{other:?} is neither haproxy nor underpass"),
    };
    Ok(Contestant {
        name: name.to_owned(),
        kind,
        lines: lines
            .split(';')
            .map(str::trim)
            .filter(|l| !l.is_empty())
            .map(str::to_owned)
            .collect(),
        by_default: true,
    })
}

/// Where a proxy listens and whom it serves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    /// Address clients connect to.
    pub(crate) listen: std::net::SocketAddr,
    /// Address of the server behind.
    pub(crate) server: std::net::SocketAddr,
}

impl Contestant {
    /// The configuration file: the same for every proxy but for `lines`. It
    /// logs in trials only: formatting and writing lines is not what is compared.
    pub(crate) fn config(&self, threads: usize, routes: &[Route], log: bool) -> String {
        let mut text = format!(
            "global\n    nbthread {threads}\n    maxconn 4096\n\n\
             defaults\n    mode tcp\n    maxconn 4096\n    timeout connect 5s\n    \
             timeout client 1m\n    timeout server 1m\n"
        );
        if log {
            text.push_str("    log stdout format raw local0\n    option tcplog\n");
        }
        for line in &self.lines {
            let _ = writeln!(text, "    {line}");
        }
        for (number, route) in routes.iter().enumerate() {
            let _ = write!(
                text,
                "\nlisten bench{number}\n    bind {}\n    server s{number} {}\n",
                route.listen, route.server
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(name: &str) -> Contestant {
        all().into_iter().find(|c| c.name == name).unwrap()
    }

    fn route() -> Route {
        Route {
            listen: "10.0.0.1:8080".parse().unwrap(),
            server: "10.0.1.2:8000".parse().unwrap(),
        }
    }

    #[test]
    fn names_are_unique() {
        let all = all();
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| b.name != a.name));
        }
    }

    #[test]
    fn configurations_differ_in_the_contestants_lines_only() {
        let ours = find("underpass-pipe").config(2, &[route()], false);
        let theirs = find("haproxy-copy").config(2, &[route()], false);
        assert_eq!(ours.replace("    offload pipe\n", ""), theirs);
        assert!(theirs.contains("    bind 10.0.0.1:8080\n    server s0 10.0.1.2:8000\n"));
    }

    #[test]
    fn lines_stand_in_defaults() {
        let text = find("haproxy-splice").config(2, &[route()], false);
        let defaults = text.find("defaults").unwrap();
        let listen = text.find("listen").unwrap();
        let option = text.find("option splice-response").unwrap();
        assert!(defaults < option && option < listen);
    }

    #[test]
    fn added_contestants() {
        let c = parse_added("late=underpass:offload redirect; offload-after 1m").unwrap();
        assert_eq!(c.name, "late");
        assert_eq!(c.kind, Kind::Underpass);
        assert_eq!(c.lines, ["offload redirect", "offload-after 1m"]);
        assert_eq!(parse_added("plain=haproxy").unwrap().lines.len(), 0);
        assert!(parse_added("late").is_err());
        assert!(parse_added("late=nginx:x").is_err());
    }
}
