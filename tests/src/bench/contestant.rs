//! Who takes part. A new path is one entry in [`ALL`]; a variation to try once
//! is `--add NAME=underpass:offload pipe;offload-after 1m` on the command line.

use std::{fmt::Write as _, net::SocketAddr, path::PathBuf};

use anyhow::{Context, Result, bail};

use crate::tls::CIPHER_SUITE;

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
    /// What its configuration adds to the common one, in `defaults`; behind a `+`, in each `listen`.
    /// `{networks}` stands for the file of networks that none of the clients is in, `{log}` for the address that
    /// counts log lines, `{server}` for that of the server.
    pub(crate) lines: Vec<String>,
    /// For one that terminates TLS: the contestant that does the same without, to be compared with.
    pub(crate) raw: Option<String>,
    /// Whether it runs without being asked for by name.
    pub(crate) by_default: bool,
}

/// A built-in contestant.
struct Entry {
    name: &'static str,
    kind: Kind,
    lines: &'static [&'static str],
    raw: Option<&'static str>,
    by_default: bool,
}

const ALL: &[Entry] = &[
    plain("direct", Kind::Direct, &[]),
    plain(HAPROXY_RAW, Kind::Haproxy, &[]),
    plain(
        "haproxy-splice",
        Kind::Haproxy,
        &["option splice-request", "option splice-response"],
    ),
    Entry {
        by_default: false,
        ..plain(
            "haproxy-splice-auto",
            Kind::Haproxy,
            &["option splice-auto"],
        )
    },
    tls("haproxy-tls", Kind::Haproxy, &[], HAPROXY_RAW),
    plain("underpass-buffer", Kind::Underpass, &["offload buffer"]),
    plain("underpass-pipe", Kind::Underpass, &["offload pipe"]),
    plain("underpass-redirect", Kind::Underpass, &["offload redirect"]),
    plain(
        "underpass-relay",
        Kind::Underpass,
        &["offload relay", "offload-after 0"],
    ),
    plain(UNDERPASS_RAW, Kind::Underpass, &["offload auto"]),
    tls(
        "underpass-tls",
        Kind::Underpass,
        &["offload auto"],
        UNDERPASS_RAW,
    ),
    named("haproxy-list", Kind::Haproxy, LISTED),
    named("underpass-list", Kind::Underpass, LISTED),
    named("haproxy-rate", Kind::Haproxy, RATED),
    named("underpass-rate", Kind::Underpass, RATED),
    named("haproxy-rr", Kind::Haproxy, ROUND_ROBIN),
    named("underpass-rr", Kind::Underpass, ROUND_ROBIN),
    named("haproxy-lc", Kind::Haproxy, LEAST_CONNECTIONS),
    named("underpass-lc", Kind::Underpass, LEAST_CONNECTIONS),
];

/// Two servers with checks and a limit each, and a line logged for every stream.
const ROUND_ROBIN: &[&str] = &streams("balance roundrobin");
const LEAST_CONNECTIONS: &[&str] = &streams("balance leastconn");

const fn streams(balance: &'static str) -> [&'static str; 6] {
    [
        "option tcplog",
        LOG_LINE,
        "timeout queue 10s",
        "default-server check inter 500ms maxconn 200",
        balance,
        "+server second {server}",
    ]
}

/// Sends the lines of streams to where they are counted.
const LOG_LINE: &str = "log {log} local0";

/// Rules that look every new connection up in a list of networks.
const LISTED: &[&str] = &["+tcp-request connection reject if { src -f {networks} }"];

/// Rules that count every source's connections and refuse those over a rate that none reaches.
const RATED: &[&str] = &[
    "+stick-table type ip size 100k expire 30s store conn_cur,conn_rate(10s)",
    "+tcp-request connection track-sc0 src",
    "+tcp-request connection reject if { sc0_conn_rate gt 100000000 }",
];

const fn named(name: &'static str, kind: Kind, lines: &'static [&'static str]) -> Entry {
    Entry {
        by_default: false,
        ..plain(name, kind, lines)
    }
}

/// What haproxy's TLS is compared with: it copies too.
const HAPROXY_RAW: &str = "haproxy-copy";

/// What the daemon's TLS is compared with: the default.
const UNDERPASS_RAW: &str = "underpass-auto";

const fn plain(name: &'static str, kind: Kind, lines: &'static [&'static str]) -> Entry {
    Entry {
        name,
        kind,
        lines,
        raw: None,
        by_default: true,
    }
}

const fn tls(
    name: &'static str,
    kind: Kind,
    lines: &'static [&'static str],
    raw: &'static str,
) -> Entry {
    Entry {
        name,
        kind,
        lines,
        raw: Some(raw),
        by_default: false,
    }
}

/// Every built-in contestant, in the order of the tables.
pub(crate) fn all() -> Vec<Contestant> {
    ALL.iter()
        .map(|entry| Contestant {
            name: entry.name.to_owned(),
            kind: entry.kind,
            lines: entry.lines.iter().map(|&line| line.to_owned()).collect(),
            raw: entry.raw.map(str::to_owned),
            by_default: entry.by_default,
        })
        .collect()
}

/// The contestants of the comparison of TLS with raw: each program once without TLS and once with.
pub(crate) fn with_tls() -> Vec<String> {
    ALL.iter()
        .filter_map(|entry| Some([entry.raw?, entry.name]))
        .flatten()
        .map(str::to_owned)
        .collect()
}

/// The contestants of the comparison of rules: each program without any, and with each kind.
pub(crate) const WITH_RULES: &[&str] = &[
    HAPROXY_RAW,
    UNDERPASS_RAW,
    "haproxy-list",
    "underpass-list",
    "haproxy-rate",
    "underpass-rate",
];

/// The contestants of the comparison of streams with servers, limits, checks and log lines.
pub(crate) const WITH_STREAMS: &[&str] =
    &["haproxy-rr", "underpass-rr", "haproxy-lc", "underpass-lc"];

/// Reads `NAME=PROGRAM:LINE;LINE`, where PROGRAM is `haproxy` or `underpass`, with `-tls` behind it to terminate TLS.
///
/// # Errors
/// When the form or the program's name is another.
pub(crate) fn parse_added(text: &str) -> Result<Contestant> {
    let (name, rest) = text
        .split_once('=')
        .context("expected NAME=PROGRAM:LINE;LINE")?;
    let (program, lines) = rest.split_once(':').unwrap_or((rest, ""));
    let (kind, raw) = match program {
        "haproxy" => (Kind::Haproxy, None),
        "haproxy-tls" => (Kind::Haproxy, Some(HAPROXY_RAW)),
        "underpass" => (Kind::Underpass, None),
        "underpass-tls" => (Kind::Underpass, Some(UNDERPASS_RAW)),
        other => bail!("{other:?} is none of haproxy, haproxy-tls, underpass, underpass-tls"),
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
        raw: raw.map(str::to_owned),
        by_default: true,
    })
}

/// Where a proxy listens and whom it serves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    /// Address clients connect to.
    pub(crate) listen: SocketAddr,
    /// Address of the server behind.
    pub(crate) server: SocketAddr,
}

/// What the configurations of all proxies of a run have in common.
#[derive(Debug, Clone)]
pub(crate) struct Common {
    /// `nbthread`.
    pub(crate) threads: usize,
    /// `maxconn`, of the process and of each listener.
    pub(crate) maxconn: usize,
    /// `timeout client` and `timeout server`.
    pub(crate) timeout: &'static str,
    /// Certificate and key of those who terminate TLS.
    pub(crate) certificate: PathBuf,
    /// A file of networks that no client is in.
    pub(crate) networks: PathBuf,
    /// Where log lines are counted, in the proxies' namespace.
    pub(crate) log: SocketAddr,
}

impl Contestant {
    /// Whether it terminates TLS.
    pub(crate) const fn tls(&self) -> bool {
        self.raw.is_some()
    }

    /// Whether every stream has a line that is counted.
    pub(crate) fn logs_streams(&self) -> bool {
        self.lines.iter().any(|line| line == LOG_LINE)
    }

    /// The configuration file: the same for every proxy but for `lines` and the words for TLS. It
    /// logs in trials only, unless `lines` say so: else formatting and writing lines is not what is compared.
    pub(crate) fn config(&self, common: &Common, routes: &[Route], log: bool) -> String {
        let Common {
            threads,
            maxconn,
            timeout,
            certificate,
            networks,
            log: sink,
        } = common;
        let mut text = format!(
            "global\n    nbthread {threads}\n    maxconn {maxconn}\n\n\
             defaults\n    mode tcp\n    maxconn {maxconn}\n    timeout connect 5s\n    \
             timeout client {timeout}\n    timeout server {timeout}\n"
        );
        if log {
            text.push_str("    log stdout format raw local0\n    option tcplog\n");
        }
        let networks = networks.display().to_string();
        let sink = sink.to_string();
        let lines = |text: &mut String, route: Option<&Route>| {
            for line in &self.lines {
                let bare = line.strip_prefix('+');
                if bare.is_some() == route.is_some() {
                    let mut line = bare
                        .unwrap_or(line)
                        .replace("{networks}", &networks)
                        .replace("{log}", &sink);
                    if let Some(route) = route {
                        line = line.replace("{server}", &route.server.to_string());
                    }
                    let _ = writeln!(text, "    {line}");
                }
            }
        };
        lines(&mut text, None);
        let tls = if self.tls() {
            format!(
                " ssl crt {} ssl-min-ver TLSv1.3 ssl-max-ver TLSv1.3 ciphersuites {CIPHER_SUITE}",
                certificate.display()
            )
        } else {
            String::new()
        };
        for (number, route) in routes.iter().enumerate() {
            let _ = write!(
                text,
                "\nlisten bench{number}\n    bind {}{tls}\n    server s{number} {}\n",
                route.listen, route.server
            );
            lines(&mut text, Some(route));
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

    fn common() -> Common {
        Common {
            threads: 2,
            maxconn: 4096,
            timeout: "1m",
            certificate: "/run/x.pem".into(),
            networks: "/run/x.lst".into(),
            log: "127.0.0.1:9514".parse().unwrap(),
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
        let ours = find("underpass-pipe").config(&common(), &[route()], false);
        let theirs = find("haproxy-copy").config(&common(), &[route()], false);
        assert_eq!(ours.replace("    offload pipe\n", ""), theirs);
        assert!(theirs.contains("    bind 10.0.0.1:8080\n    server s0 10.0.1.2:8000\n"));
    }

    #[test]
    fn streams_have_two_servers_and_a_counted_line() {
        for names in WITH_STREAMS.chunks(2) {
            let [theirs, ours] = [names[0], names[1]].map(find);
            assert_ne!(ours.kind, theirs.kind);
            let text = ours.config(&common(), &[route()], false);
            assert_eq!(text, theirs.config(&common(), &[route()], false));
            assert_eq!(text.matches(" 10.0.1.2:8000\n").count(), 2);
            assert!(text.contains("    log 127.0.0.1:9514 local0\n"));
            assert!(ours.logs_streams() && !text.contains('{'));
        }
        assert!(!find("haproxy-copy").logs_streams());
    }

    #[test]
    fn lines_stand_in_defaults() {
        let text = find("haproxy-splice").config(&common(), &[route()], false);
        let defaults = text.find("defaults").unwrap();
        let listen = text.find("listen").unwrap();
        let option = text.find("option splice-response").unwrap();
        assert!(defaults < option && option < listen);
    }

    #[test]
    fn tls_adds_words_to_the_bind_line_only() {
        let ours = find("underpass-tls").config(&common(), &[route()], false);
        let raw = find("underpass-auto").config(&common(), &[route()], false);
        let words = " ssl crt /run/x.pem ssl-min-ver TLSv1.3 ssl-max-ver TLSv1.3 \
                     ciphersuites TLS_AES_128_GCM_SHA256";
        assert!(ours.contains(&format!("    bind 10.0.0.1:8080{words}\n")));
        assert_eq!(ours.replace(words, ""), raw);
        let theirs = find("haproxy-tls").config(&common(), &[route()], false);
        assert_eq!(ours.replace("    offload auto\n", ""), theirs);
    }

    #[test]
    fn every_tls_contestant_has_a_raw_one_of_the_same_program() {
        for c in all() {
            if let Some(raw) = &c.raw {
                let raw = find(raw);
                assert_eq!((raw.kind, raw.tls()), (c.kind, false));
            }
        }
        assert_eq!(
            with_tls(),
            [
                "haproxy-copy",
                "haproxy-tls",
                "underpass-auto",
                "underpass-tls"
            ]
        );
    }

    #[test]
    fn added_contestants() {
        let c = parse_added("late=underpass:offload redirect; offload-after 1m").unwrap();
        assert_eq!(c.name, "late");
        assert_eq!(c.kind, Kind::Underpass);
        assert_eq!(c.lines, ["offload redirect", "offload-after 1m"]);
        assert_eq!(parse_added("plain=haproxy").unwrap().lines.len(), 0);
        let tls = parse_added("t=underpass-tls").unwrap();
        assert_eq!((tls.kind, tls.tls()), (Kind::Underpass, true));
        assert!(parse_added("late").is_err());
        assert!(parse_added("late=nginx:x").is_err());
    }
}
