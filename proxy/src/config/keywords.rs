//! Every keyword of HAProxy 2.6, and what to say about those that are not here.
//!
//! A keyword is one of: ours (the parser has it), HAProxy's but not yet here, only meaningful for
//! HTTP, part of HAProxy's own machinery, removed by HAProxy itself, or unknown to both.

use super::diagnostic::Fault;
use super::lexer::Word;

/// A set of keywords that may stand in one kind of place.
///
/// A trailing `=` marks a word that takes an argument, so that the parser can step over it.
#[derive(Debug)]
pub(crate) struct Scope {
    /// What the place is called in messages.
    pub(crate) place: &'static str,
    /// Those the parser has.
    pub(crate) ours: &'static [&'static str],
    not_yet: &'static [&'static str],
    http: &'static [&'static str],
    machinery: &'static [&'static str],
    removed: &'static [&'static str],
}

/// The words that start a section.
pub(crate) const SECTIONS: Scope = Scope {
    place: "out of section",
    ours: &["global", "defaults", "frontend", "backend", "listen"],
    not_yet: &["peers", "resolvers", "mailers", "ring", "log-forward"],
    http: &["userlist", "cache", "http-errors", "fcgi-app"],
    machinery: &["program"],
    removed: &[],
};

/// Keywords of the `global` section.
pub(crate) const GLOBAL: Scope = Scope {
    place: "in 'global' section",
    ours: &[
        "chroot",
        "daemon",
        "description",
        "gid",
        "grace",
        "group",
        "hard-stop-after",
        "log",
        "log-tag",
        "maxconn",
        "nbthread",
        "node",
        "pidfile",
        "presetenv",
        "resetenv",
        "setenv",
        "stats",
        "tune.bufsize",
        "tune.offload.cap",
        "tune.offload.flows",
        "tune.pipesize",
        "uid",
        "ulimit-n",
        "unsetenv",
        "user",
    ],
    not_yet: &[
        "ca-base",
        "close-spread-time",
        "cluster-secret",
        "cpu-map",
        "crt-base",
        "default-path",
        "external-check",
        "fd-hard-limit",
        "issuers-chain-path",
        "localpeer",
        "log-send-hostname",
        "max-spread-checks",
        "maxconnrate",
        "maxpipes",
        "maxsessrate",
        "maxsslconn",
        "maxsslrate",
        "noreuseport",
        "nosplice",
        "numa-cpu-mapping",
        "pp2-never-send-local",
        "quiet",
        "server-state-base",
        "server-state-file",
        "set-dumpable",
        "set-var",
        "set-var-fmt",
        "spread-checks",
        "ssl-default-bind-ciphers",
        "ssl-default-bind-ciphersuites",
        "ssl-default-bind-curves",
        "ssl-default-bind-options",
        "ssl-default-server-ciphers",
        "ssl-default-server-ciphersuites",
        "ssl-default-server-options",
        "ssl-dh-param-file",
        "ssl-load-extra-del-ext",
        "ssl-load-extra-files",
        "ssl-propquery",
        "ssl-provider",
        "ssl-provider-path",
        "ssl-server-verify",
        "ssl-skip-self-issued-ca",
        "strict-limits",
        "thread-group",
        "thread-groups",
        "tune.idletimer",
        "tune.maxaccept",
        "tune.pattern.cache-size",
        "tune.peers.max-updates-at-once",
        "tune.rcvbuf.client",
        "tune.rcvbuf.server",
        "tune.sndbuf.client",
        "tune.sndbuf.server",
        "tune.ssl.cachesize",
        "tune.ssl.capture-buffer-size",
        "tune.ssl.capture-cipherlist-size",
        "tune.ssl.default-dh-param",
        "tune.ssl.force-private-cache",
        "tune.ssl.hard-maxrecord",
        "tune.ssl.keylog",
        "tune.ssl.lifetime",
        "tune.ssl.maxrecord",
        "tune.ssl.ssl-ctx-cache-size",
        "tune.vars.check-max-size",
        "tune.vars.global-max-size",
        "tune.vars.proc-max-size",
        "tune.vars.reqres-max-size",
        "tune.vars.sess-max-size",
        "tune.vars.txn-max-size",
        "unix-bind",
        "zero-warning",
    ],
    http: &[
        "51degrees-cache-size",
        "51degrees-data-file",
        "51degrees-property-name-list",
        "51degrees-property-separator",
        "deviceatlas-json-file",
        "deviceatlas-log-level",
        "deviceatlas-properties-cookie",
        "deviceatlas-separator",
        "h1-accept-payload-with-any-method",
        "h1-case-adjust",
        "h1-case-adjust-file",
        "h2-workaround-bogus-websocket-clients",
        "httpclient.resolvers.id",
        "httpclient.resolvers.prefer",
        "httpclient.ssl.ca-file",
        "httpclient.ssl.verify",
        "maxcompcpuusage",
        "maxcomprate",
        "maxzlibmem",
        "tune.comp.maxlevel",
        "tune.h2.header-table-size",
        "tune.h2.initial-window-size",
        "tune.h2.max-concurrent-streams",
        "tune.h2.max-frame-size",
        "tune.http.cookielen",
        "tune.http.logurilen",
        "tune.http.maxhdr",
        "tune.idle-pool.shared",
        "tune.maxrewrite",
        "tune.pool-high-fd-ratio",
        "tune.pool-low-fd-ratio",
        "tune.quic.frontend.conn-tx-buffers.limit",
        "tune.quic.frontend.max-idle-timeout",
        "tune.quic.frontend.max-streams-bidi",
        "tune.quic.retry-threshold",
        "tune.zlib.memlevel",
        "tune.zlib.windowsize",
        "wurfl-cache-size",
        "wurfl-data-file",
        "wurfl-information-list",
        "wurfl-information-list-separator",
    ],
    machinery: &[
        "busy-polling",
        "expose-experimental-directives",
        "insecure-fork-wanted",
        "insecure-setuid-wanted",
        "lua-load",
        "lua-load-per-thread",
        "lua-prepend-path",
        "master-worker",
        "mworker-max-reloads",
        "no-memory-trimming",
        "noepoll",
        "noevports",
        "nogetaddrinfo",
        "nokqueue",
        "nopoll",
        "profiling.memory",
        "profiling.tasks",
        "ssl-engine",
        "ssl-mode-async",
        "tune.buffers.limit",
        "tune.buffers.reserve",
        "tune.fail-alloc",
        "tune.fd.edge-triggered",
        "tune.listener.multi-queue",
        "tune.lua.forced-yield",
        "tune.lua.maxmem",
        "tune.lua.service-timeout",
        "tune.lua.session-timeout",
        "tune.lua.task-timeout",
        "tune.maxpollevents",
        "tune.recv_enough",
        "tune.runqueue-depth",
        "tune.sched.low-latency",
    ],
    removed: &["debug", "nbproc", "tune.chksize"],
};

/// Keywords of `defaults`, `frontend`, `listen` and `backend`.
pub(crate) const PROXY: Scope = Scope {
    place: "in this section",
    ours: &[
        "backlog",
        "balance",
        "bind",
        "default-server",
        "default_backend",
        "description",
        "disabled",
        "enabled",
        "id",
        "log",
        "log-tag",
        "maxconn",
        "mode",
        "offload",
        "offload-after",
        "option",
        "retries",
        "server",
        "source",
        "timeout",
    ],
    not_yet: &[
        "acl",
        "clitcpka-cnt",
        "clitcpka-idle",
        "clitcpka-intvl",
        "declare",
        "dispatch",
        "email-alert",
        "error-log-format",
        "external-check",
        "filter",
        "force-persist",
        "fullconn",
        "hash-balance-factor",
        "hash-type",
        "ignore-persist",
        "load-server-state-from-file",
        "log-format",
        "log-format-sd",
        "monitor-net",
        "persist",
        "rate-limit",
        "retry-on",
        "server-state-file-name",
        "server-template",
        "srvtcpka-cnt",
        "srvtcpka-idle",
        "srvtcpka-intvl",
        "stick",
        "stick-table",
        "tcp-check",
        "tcp-request",
        "tcp-response",
        "transparent",
        "unique-id-format",
        "use-server",
        "use_backend",
    ],
    http: &[
        "capture",
        "compression",
        "cookie",
        "errorfile",
        "errorfiles",
        "errorloc",
        "errorloc302",
        "errorloc303",
        "http-after-response",
        "http-check",
        "http-error",
        "http-request",
        "http-response",
        "http-reuse",
        "http-send-name-header",
        "max-keep-alive-queue",
        "monitor",
        "monitor-uri",
        "redirect",
        "stats",
        "unique-id-header",
        "use-fcgi-app",
    ],
    machinery: &[],
    removed: &[
        "appsession",
        "bind-process",
        "block",
        "clitimeout",
        "contimeout",
        "grace",
        "redisp",
        "redispatch",
        "reqadd",
        "reqallow",
        "reqdel",
        "reqdeny",
        "reqrep",
        "rspadd",
        "rspdel",
        "rspdeny",
        "rsprep",
        "srvtimeout",
    ],
};

/// What may follow `option`.
pub(crate) const OPTION: Scope = Scope {
    place: "after 'option'",
    ours: &[
        "abortonclose",
        "clitcpka",
        "dontlog-normal",
        "dontlognull",
        "independent-streams",
        "logasap",
        "nolinger",
        "redispatch",
        "splice-auto",
        "splice-request",
        "splice-response",
        "srvtcpka",
        "tcpka",
        "tcplog",
    ],
    not_yet: &[
        "allbackups",
        "contstats",
        "external-check",
        "ldap-check",
        "log-health-checks",
        "log-separate-errors",
        "mysql-check",
        "persist",
        "pgsql-check",
        "redis-check",
        "smtpchk",
        "socket-stats",
        "ssl-hello-chk",
        "tcp-check",
        "tcp-smart-accept",
        "tcp-smart-connect",
        "transparent",
    ],
    http: &[
        "accept-invalid-http-request",
        "accept-invalid-http-response",
        "checkcache",
        "disable-h2-upgrade",
        "forwardfor",
        "h1-case-adjust-bogus-client",
        "h1-case-adjust-bogus-server",
        "http-buffer-request",
        "http-ignore-probes",
        "http-keep-alive",
        "http-no-delay",
        "http-pretend-keepalive",
        "http-restrict-req-hdr-names",
        "http-server-close",
        "http-use-htx",
        "http-use-proxy-header",
        "httpchk",
        "httpclose",
        "httplog",
        "httpslog",
        "idle-close-on-response",
        "originalto",
        "prefer-last-server",
    ],
    machinery: &["spop-check"],
    removed: &["forceclose", "http-tunnel", "tcpsplice"],
};

/// What may follow `timeout`.
pub(crate) const TIMEOUT: Scope = Scope {
    place: "after 'timeout'",
    ours: &[
        "check",
        "client",
        "client-fin",
        "connect",
        "queue",
        "server",
        "server-fin",
        "tunnel",
    ],
    not_yet: &[],
    http: &["http-keep-alive", "http-request", "tarpit"],
    machinery: &[],
    removed: &["clitimeout", "contimeout", "srvtimeout"],
};

/// What may follow `balance`.
pub(crate) const BALANCE: Scope = Scope {
    place: "after 'balance'",
    ours: &["roundrobin"],
    not_yet: &[
        "first",
        "hash",
        "leastconn",
        "random",
        "source",
        "static-rr",
    ],
    http: &["hdr", "uri", "url_param"],
    machinery: &["rdp-cookie"],
    removed: &[],
};

/// Parameters of `bind`.
pub(crate) const BIND: Scope = Scope {
    place: "among the parameters of 'bind'",
    ours: &[
        "backlog=",
        "defer-accept",
        "gid=",
        "group=",
        "id=",
        "interface=",
        "maxconn=",
        "mode=",
        "mss=",
        "name=",
        "tcp-ut=",
        "tfo",
        "transparent",
        "uid=",
        "user=",
        "v4v6",
        "v6only",
    ],
    not_yet: &[
        "accept-proxy",
        "alpn=",
        "ca-file=",
        "ca-ignore-err=",
        "ca-sign-file=",
        "ca-sign-pass=",
        "ca-verify-file=",
        "ciphers=",
        "ciphersuites=",
        "crl-file=",
        "crt-ignore-err=",
        "crt-list=",
        "crt=",
        "curves=",
        "ecdhe=",
        "expose-fd=",
        "force-sslv3",
        "force-tlsv10",
        "force-tlsv11",
        "force-tlsv12",
        "force-tlsv13",
        "generate-certificates",
        "level=",
        "namespace=",
        "nice=",
        "no-ca-names",
        "no-sslv3",
        "no-tls-tickets",
        "no-tlsv10",
        "no-tlsv11",
        "no-tlsv12",
        "no-tlsv13",
        "npn=",
        "prefer-client-ciphers",
        "severity-output=",
        "shards=",
        "ssl",
        "ssl-max-ver=",
        "ssl-min-ver=",
        "strict-sni",
        "thread=",
        "tls-ticket-keys=",
        "verify=",
    ],
    http: &["allow-0rtt", "proto=", "quic-cc-algo=", "quic-force-retry"],
    machinery: &["accept-netscaler-cip="],
    removed: &["process="],
};

/// Parameters of `stats socket`.
pub(crate) const STATS_SOCKET: Scope = Scope {
    place: "among the parameters of 'stats socket'",
    ours: &[
        "gid=", "group=", "level=", "mode=", "name=", "uid=", "user=",
    ],
    not_yet: &[
        "accept-proxy",
        "backlog=",
        "expose-fd=",
        "id=",
        "interface=",
        "maxconn=",
        "namespace=",
        "severity-output=",
        "ssl",
        "crt=",
        "tcp-ut=",
        "thread=",
        "transparent",
        "v4v6",
        "v6only",
    ],
    http: &[],
    machinery: &[],
    removed: &["process="],
};

/// Parameters of `server` and `default-server`.
pub(crate) const SERVER: Scope = Scope {
    place: "among the parameters of 'server'",
    ours: &[
        "backup",
        "disabled",
        "enabled",
        "id=",
        "maxconn=",
        "no-backup",
        "source=",
        "weight=",
    ],
    not_yet: &[
        "addr=",
        "agent-addr=",
        "agent-check",
        "agent-inter=",
        "agent-port=",
        "agent-send=",
        "alpn=",
        "ca-file=",
        "check",
        "check-alpn=",
        "check-proto=",
        "check-send-proxy",
        "check-sni=",
        "check-ssl",
        "check-via-socks4",
        "ciphers=",
        "ciphersuites=",
        "crl-file=",
        "crt=",
        "downinter=",
        "error-limit=",
        "fall=",
        "fastinter=",
        "force-sslv3",
        "force-tlsv10",
        "force-tlsv11",
        "force-tlsv12",
        "force-tlsv13",
        "init-addr=",
        "inter=",
        "interface=",
        "log-proto=",
        "maxqueue=",
        "minconn=",
        "namespace=",
        "no-agent-check",
        "no-check",
        "no-check-send-proxy",
        "no-check-ssl",
        "no-send-proxy",
        "no-send-proxy-v2",
        "no-send-proxy-v2-ssl",
        "no-send-proxy-v2-ssl-cn",
        "no-ssl",
        "no-ssl-reuse",
        "no-sslv3",
        "no-tfo",
        "no-tls-tickets",
        "no-tlsv10",
        "no-tlsv11",
        "no-tlsv12",
        "no-tlsv13",
        "no-verifyhost",
        "non-stick",
        "npn=",
        "observe=",
        "on-error=",
        "on-marked-down=",
        "on-marked-up=",
        "port=",
        "proxy-v2-options=",
        "resolve-net=",
        "resolve-opts=",
        "resolve-prefer=",
        "resolvers=",
        "rise=",
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2-ssl",
        "send-proxy-v2-ssl-cn",
        "slowstart=",
        "sni=",
        "socks4=",
        "ssl",
        "ssl-max-ver=",
        "ssl-min-ver=",
        "ssl-reuse",
        "stick",
        "tcp-ut=",
        "tfo",
        "tls-tickets",
        "track=",
        "usesrc=",
        "verify=",
        "verifyhost=",
    ],
    http: &[
        "allow-0rtt",
        "cookie=",
        "max-reuse=",
        "pool-low-conn=",
        "pool-max-conn=",
        "pool-purge-delay=",
        "proto=",
        "redir=",
        "ws=",
    ],
    machinery: &[],
    removed: &[],
};

fn bare(entry: &str) -> &str {
    entry.strip_suffix('=').unwrap_or(entry)
}

impl Scope {
    fn all(&self) -> impl Iterator<Item = &'static str> {
        [
            self.ours,
            self.not_yet,
            self.http,
            self.machinery,
            self.removed,
        ]
        .into_iter()
        .flatten()
        .copied()
    }

    /// Whether `name` takes an argument, here or in HAProxy.
    pub(crate) fn takes_argument(&self, name: &str) -> bool {
        self.all()
            .any(|entry| entry.strip_suffix('=') == Some(name))
    }

    /// Whether the parser has `name`.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.ours.iter().any(|entry| bare(entry) == name)
    }

    /// Whether the parser or HAProxy has `name`.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.all().any(|entry| bare(entry) == name)
    }

    /// Why `word` cannot stand here.
    pub(crate) fn refuse(&self, word: &Word) -> Fault {
        self.refuse_in(word, self.place, &[])
    }

    /// [`Scope::refuse`] with another name for the place, and more words to be near to.
    pub(crate) fn refuse_in(&self, word: &Word, place: &str, more: &[&'static str]) -> Fault {
        let name = word.as_str();
        let within = |list: &[&str]| list.iter().any(|entry| bare(entry) == name);
        let why = if within(self.not_yet) {
            "is known to HAProxy but not available in this version"
        } else if within(self.http) {
            "only makes sense for HTTP; this is a TCP proxy"
        } else if within(self.machinery) {
            "is about HAProxy's own machinery and has no counterpart here"
        } else if within(self.removed) {
            "was removed from HAProxy and is not supported"
        } else {
            // One word or the other: what HAProxy has and we have not is still what was meant.
            let known = self.all().map(bare).chain(more.iter().copied());
            let hint = nearest(name, known)
                .map(|near| format!("; did you mean '{near}' maybe ?"))
                .unwrap_or_default();
            return word.fault(format!("unknown keyword '{name}' {place}{hint}"));
        };
        word.fault(format!("'{name}' {place} {why}."))
    }
}

/// The candidate that takes the fewest edits to become, if few enough to be what was meant.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let most = (word.chars().count() / 3).clamp(1, 4);
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|&(edits, _)| edits <= most)
        .min_by_key(|&(edits, _)| edits)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap neighbours) between two words.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    // A word this long is no typing mistake, and the table below is quadratic.
    if a.len().abs_diff(b.len()) > 4 {
        return usize::MAX;
    }
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replace.min(last[j] + 1).min(row[j - 1] + 1);
            let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if swapped {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        let table = [
            ("", "", 0),
            ("a", "", 1),
            ("timeout", "timeuot", 1),
            ("weight", "wieght", 1),
            ("kitten", "sitting", 3),
            ("bind", "server", 6),
        ];
        for (a, b, expected) in table {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn a_keyword_stands_in_one_list_only() {
        for scope in [
            SECTIONS,
            GLOBAL,
            PROXY,
            OPTION,
            TIMEOUT,
            BALANCE,
            BIND,
            STATS_SOCKET,
            SERVER,
        ] {
            let mut names: Vec<&str> = scope.all().map(bare).collect();
            names.sort_unstable();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count, "{}", scope.place);
        }
    }

    #[test]
    fn near_words() {
        let near = |word| nearest(word, PROXY.all().map(bare));
        assert_eq!(near("timeuot"), Some("timeout"));
        assert_eq!(near("sever"), Some("server"));
        assert_eq!(near("defaultbackend"), Some("default_backend"));
        assert_eq!(near("zzzzzz"), None);
        assert_eq!(near(""), None);
    }
}
