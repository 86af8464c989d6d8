//! Our verdict on configuration files beside Debian's HAProxy's.
//!
//! HAProxy is required: without it these tests fail.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use underpass::config::lexer::{self, Variables};
use underpass::config::model::Environment;
use underpass::config::{self, Source};

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

/// Accepted by both.
const VALID: &[&str] = &[
    "@DEFAULTSbackend b\n server s 192.0.2.1:80 check inter 1s\n",
    "@DEFAULTSbackend b\n balance hash always_true\n",
    // Whole files.
    "@DEFAULTSlisten a\n bind :8001\n@SERVER",
    "@DEFAULTSfrontend f\n bind :8001\n default_backend b\nbackend b\n@SERVER",
    "listen a\n bind :8001\n@SERVER",
    "@DEFAULTSfrontend a\n default_backend x\nbackend x\n",
    "global\n maxconn 10\nglobal\n nbthread 1\n daemon\n@DEFAULTSlisten a\n bind :8001\n@SERVER",
    "@DEFAULTSfrontend a\n bind :8001\n default_backend a\nbackend a\n@SERVER",
    "defaults d\n mode tcp\ndefaults e from d\nbackend b from e\n",
    "@DEFAULTSfrontend a\n bind :8001\n default_backend nope\n disabled\n",
    // Bind.
    "@DEFAULTSlisten a\n bind *:8001\n bind :::8002\n bind [::1]:8003\n bind ::1:8004\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001-8005,127.0.0.1:9001,[::1]:9002\n@SERVER",
    "@DEFAULTSlisten a\n bind ipv4@:8001\n bind ipv6@:8002\n bind ip@:8003\n bind tcp4@:8004\n@SERVER",
    "@DEFAULTSlisten a\n bind /tmp/a.sock mode 600\n bind unix@b.sock\n bind abns@c\n@SERVER",
    "@DEFAULTSlisten a\n bind \":$SET\"\n bind \"127.0.0.1:${NOPE-8081}\"\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001,\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 name x id 3 backlog 10 maxconn 10 mss 1400 transparent\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 defer-accept tcp-ut 30s interface lo\n bind :::8002 v4v6\n bind :::8003 v6only\n@SERVER",
    "@DEFAULTSbackend a\n bind :8001\n@SERVER",
    // Server.
    "@DEFAULTSbackend a\n server a 192.0.2.1\n server b 192.0.2.1:+1\n server c 192.0.2.1:-1\n server d [::1]:80\n server e ::1:80\n",
    "@DEFAULTSbackend a\n server a /tmp/x\n server b abns@x\n server c *:80\n server d localhost:80\n",
    "@DEFAULTSbackend a\n default-server weight 3 maxconn 2 backup\n server a 192.0.2.1 no-backup weight 0 id 4 disabled enabled source 127.0.0.1\n",
    // Timeouts, options and settings.
    "@DEFAULTSbackend b\n server s 192.0.2.1:80 check inter 1s fastinter 500 downinter 3s rise 3 fall 1 port 81 addr 192.0.2.2\n",
    "@DEFAULTSbackend b\n server s 192.0.2.1:80 check observe layer4 error-limit 3 on-error mark-down on-marked-down shutdown-sessions slowstart 3s\n server t 192.0.2.1:80 backup track b/s\n",
    "@DEFAULTSbackend b\n option tcp-check\n tcp-check connect port 5 send-proxy linger comment x\n tcp-check send-binary 00ff\n tcp-check expect !string no\n tcp-check expect rbinary ^00 error-status L7STS\n server s 192.0.2.1:80 check\n",
    "@DEFAULTSbackend b\n option mysql-check user joe pre-41\n option log-health-checks\n server s 192.0.2.1:80 check agent-check agent-port 9 agent-send x agent-inter 1s\n",
    "defaults\n timeout client 100\n timeout server 3m\n timeout connect 500ms\n timeout queue 1h\n timeout tunnel 1d\n timeout client-fin 1s\n timeout server-fin 100us\n timeout check 0\nbackend b\n",
    "defaults\n option tcplog\n option dontlognull\n option dontlog-normal\n option logasap\n option tcpka\n option clitcpka\n option srvtcpka\n option nolinger\n option independent-streams\n option abortonclose\n option splice-auto\n option splice-request\n option splice-response\n option redispatch 2\n no option redispatch\n no option nolinger\nbackend b\n",
    "@DEFAULTSbackend b\n option dontlognull\n option tcplog\n maxconn 3\n backlog 3\n timeout client 3\n",
    "@DEFAULTSfrontend f\n bind :8001\n balance roundrobin\n retries 3\n option redispatch\n source 127.0.0.1\n timeout connect 3s\n",
    // Balance.
    "@DEFAULTSbackend b\n balance static-rr\nbackend c\n balance leastconn\nbackend d\n balance first\nbackend e\n balance source\n",
    "@DEFAULTSbackend b\n balance random\nbackend c\n balance random()\nbackend d\n balance random(3)\n hash-balance-factor 150\n",
    "@DEFAULTSbackend b\n balance hash src\nbackend c\n balance hash src,ipmask(24)\n hash-type consistent\n hash-balance-factor 0\n",
    "@DEFAULTSbackend b\n hash-type map-based\nbackend c\n hash-type consistent wt6\nbackend d\n hash-type map-based djb2 avalanche\nbackend e\n hash-type consistent crc32\n",
    "@DEFAULTSfrontend f\n bind :8001\n hash-type consistent\n hash-balance-factor 101\n",
    // Logs and global.
    "global\n log 127.0.0.1 local0\n log 127.0.0.1:5140 len 200 format rfc5424 local1 info notice\n log stdout format raw daemon\n log /dev/log user debug\n log-tag x\ndefaults\n log global\n log stderr local0\n no log\nbackend b\n",
    "global\n log-send-hostname\n log-send-hostname x\n log 127.0.0.1 sample 1,3-4:5 local0\n log tcp@127.0.0.1 format timed local0\n log abns@x format iso local0\n log uxst@/tmp/x format priority local0\nbackend b\n",
    "defaults\n log-format \"%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq\"\n option log-separate-errors\n option log-health-checks\nbackend b\n",
    "@DEFAULTSlisten a\n bind :8001\n log-format %{+Q,-E}o\\ %T%Tl%Td%Th%Ts%Tu%H%ID%U%bi%bp%f%fi%fp%lc%ms%pid%rt%si%sp%sslc%sslv%tsc\n log-format-sd \"[a@1 b=%[src,ipmask(8)]]\"\n error-log-format \"%{+E}[str(a]b)] %%\"\n unique-id-format %{+X}o\\ %ci\n log-tag t\n@SERVER",
    "@DEFAULTSbackend b\n log-format x\n error-log-format x\n log-format-sd x\n option log-health-checks\n log-tag x\n",
    "global\n nbthread 2\n ulimit-n 5000\n node a.b-c_1\n description a b c\n hard-stop-after 30s\n grace 10\n uid 0\n gid 0\n tune.bufsize 32768\n tune.pipesize 65536\n stats timeout 30s\n stats socket /tmp/x.sock mode 600 level admin\nbackend b\n",
    "global\n chroot /\nglobal\n chroot /tmp\nbackend b\n",
    "global\n user root\n group root\n chroot /\n pidfile /tmp/x.pid\nbackend b\n",
    "global\n setenv N 8001\n presetenv SET 1\n@DEFAULTSlisten a\n bind \":$N\"\n bind \":$SET\"\n@SERVER",
    // Conditions and words.
    ".if defined(SET) && streq(\"$SET\",8080)\nbackend a\n.else\nfoo\n.endif\n",
    ".if version_atleast(2.4) && (feature(EPOLL) || !feature(NOPE))\nbackend b\n.elif 1\nfoo\n.endif\n",
    ".if 0\nfoo\n.if foo(\n.endif\n.alert x\n.endif\n.notice hello\n.warning hi\n.diag x\n",
    ".if 1\n.endif\n.if 0\n.elif 0\n.else\n.notice x\n.endif\n",
    "backend a # comment\n",
    "'backend' \"a\"\n\tretries 3\n",
];

/// Accepted by both. `@DIR` stands for a directory with `a.pem` (certificate and key, and its own
/// authority), `list` (a `crt-list` of it), `certs/` and `keys`; `@SSL` for `ssl crt @DIR/a.pem`.
const VALID_TLS: &[&str] = &[
    "@DEFAULTSlisten a\n bind :8001 @SSL\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 accept-proxy\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 @SSL crt @DIR/certs crt-list @DIR/list strict-sni alpn h2,http/1.1\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 ssl strict-sni\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 crt @DIR/a.pem alpn h2 no-tlsv12\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 @SSL verify required ca-file @DIR/a.pem\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 @SSL verify optional ca-verify-file @DIR/a.pem\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 @SSL ssl-min-ver TLSv1.0\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 @SSL ssl-min-ver TLSv1.2 ssl-max-ver TLSv1.3 no-sslv3 no-tlsv10\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 @SSL force-tlsv12 no-tls-tickets prefer-client-ciphers\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 @SSL no-tlsv12\n bind :8002 @SSL no-tlsv13\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 @SSL tls-ticket-keys @DIR/keys\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 @SSL ciphers ECDHE+AESGCM:!aNULL:@SECLEVEL=1 ciphersuites TLS_AES_128_GCM_SHA256:FOO\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 @SSL ciphers FOO:ECDHE-ECDSA-AES128-GCM-SHA256\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 @SSL curves X25519:P-256:P-384\n bind :8002 @SSL ecdhe prime256v1\n@SERVER",
    "global\n crt-base @DIR\n ca-base @DIR\n@DEFAULTSlisten a\n bind :8001 ssl crt a.pem crt-list @DIR/list ca-file a.pem verify optional\n server s 192.0.2.1 ssl ca-file a.pem crt a.pem\n",
    "@DEFAULTSbackend b\n server s 192.0.2.1 ssl verify none sni str(a.test) alpn h2 no-ssl-reuse ssl-reuse no-tls-tickets tls-tickets\n",
    "@DEFAULTSbackend b\n server s 192.0.2.1 ssl ca-file @DIR/a.pem verifyhost a.test crt @DIR/a.pem\n server t 192.0.2.1 ssl ca-file @system-ca sni ssl_fc_sni\n server u 192.0.2.1 ssl verify none sni fc_pp_authority\n",
    "@DEFAULTSbackend b\n server s 192.0.2.1 ssl verify none ciphers ECDHE+AES ciphersuites TLS_AES_128_GCM_SHA256 ssl-min-ver TLSv1.2 ssl-max-ver TLSv1.3\n",
    "@DEFAULTSbackend b\n server s 192.0.2.1 verify required\n server t 192.0.2.1 ssl no-ssl\n",
    "@DEFAULTSbackend b\n default-server ssl verify none send-proxy-v2 force-tlsv12\n server s 192.0.2.1\n server t 192.0.2.1 no-ssl no-send-proxy-v2\n",
    "@DEFAULTSbackend b\n server s 192.0.2.1 send-proxy no-send-proxy send-proxy-v2-ssl no-send-proxy-v2-ssl send-proxy-v2-ssl-cn no-send-proxy-v2-ssl-cn\n",
    "@DEFAULTSbackend b\n server s 192.0.2.1 send-proxy-v2 proxy-v2-options ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority,crc32c,unique-id\n",
    "@DEFAULTSbackend b\n server s 192.0.2.1 proxy-v2-options ssl\n",
    "global\n ssl-server-verify none\n@DEFAULTSbackend b\n server s 192.0.2.1 ssl\n",
    "@DEFAULTSbackend b\n server s 192.0.2.1 ssl\nglobal\n ssl-server-verify none\n",
    "global\n ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets prefer-client-ciphers\n ssl-default-bind-options no-sslv3\n ssl-default-server-options force-tlsv13 no-tls-tickets\nbackend b\n",
    "global\n ssl-default-bind-ciphers ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES128-GCM-SHA256\n ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256\n ssl-default-bind-curves X25519\n ssl-default-server-ciphers ECDHE+AES\n ssl-default-server-ciphersuites TLS_AES_128_GCM_SHA256\nbackend b\n",
    "global\n tune.ssl.cachesize 100\n tune.ssl.lifetime 5m\n tune.ssl.maxrecord 1400\n tune.ssl.default-dh-param 2048\nbackend b\n",
    ".if feature(OPENSSL)\nbackend b\n.else\nfoo\n.endif\n",
];

/// Refused by both; stands for the same files.
const INVALID_TLS: &[&str] = &[
    "@DEFAULTSlisten a\n bind :8001 ssl\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 ssl crt\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 @SSL verify required\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 @SSL verify some\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 @SSL ssl-min-ver TLSv1.4\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 @SSL ssl-min-ver TLSv1.3 ssl-max-ver TLSv1.2\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 @SSL force-tlsv12 ssl-min-ver TLSv1.3\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 @SSL no-tlsv12 no-tlsv13\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 @SSL force-sslv3\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 @SSL ciphers FOO\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 @SSL ciphers \"\"\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 @SSL ciphersuites FOO\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 @SSL curves X25519:FOO\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 @SSL ecdhe FOO\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 @SSL alpn \"\"\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 @SSL alpn verify none\n@SERVER",
    "@DEFAULTSbackend b\n server s 192.0.2.1 ssl\n",
    "@DEFAULTSbackend b\n server s 192.0.2.1 ssl verify required\n",
    "@DEFAULTSbackend b\n server s 192.0.2.1 ssl verify optional\n",
    "global\n ssl-server-verify none\n@DEFAULTSbackend b\n server s 192.0.2.1 ssl verify required\n",
    "@DEFAULTSbackend b\n server s 192.0.2.1 ssl verify none sni a.test\n",
    "@DEFAULTSbackend b\n server s 192.0.2.1 ssl verify none sni\n",
    "@DEFAULTSbackend b\n server s 192.0.2.1 ssl verify none ssl-min-ver TLSv1.3 ssl-max-ver TLSv1.2\n",
    "@DEFAULTSbackend b\n server s 192.0.2.1 ssl verify none curves X25519\n",
    "@DEFAULTSbackend b\n server s 192.0.2.1 ssl verify none strict-sni\n",
    "@DEFAULTSbackend b\n server s 192.0.2.1 send-proxy-v2 proxy-v2-options foo\n",
    "@DEFAULTSbackend b\n server s 192.0.2.1 send-proxy-v2 proxy-v2-options ssl,,authority\n",
    "@DEFAULTSbackend b\n default-server ssl verify none no-sslv3\nbackend c\n foo\n",
    "global\n crt-base\nbackend b\n",
    "global\n ca-base /a\n ca-base /b\nbackend b\n",
    "global\n ssl-server-verify some\nbackend b\n",
    "global\n ssl-default-bind-options\nbackend b\n",
    "global\n ssl-default-bind-options strict-sni\nbackend b\n",
    "global\n ssl-default-server-options no-ssl-reuse\nbackend b\n",
    "global\n ssl-default-bind-ciphers\nbackend b\n",
    "global\n ssl-default-server-curves X25519\nbackend b\n",
    "global\n tune.ssl.cachesize -1\nbackend b\n",
    "global\n tune.ssl.lifetime 5x\nbackend b\n",
    "global\n tune.ssl.default-dh-param 512\nbackend b\n",
];

/// Accepted by HAProxy alone.
const STRICTER_TLS: &[&str] = &[
    // Versions, suites and groups that are not here.
    "@DEFAULTSlisten a\n bind :8001 @SSL ssl-max-ver TLSv1.1\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 @SSL ciphers AES128-SHA\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 @SSL curves P-521\n@SERVER",
    "@DEFAULTSbackend b\n server s 192.0.2.1 ssl verify none no-tlsv12 no-tlsv13\n",
    // Wrong even where HAProxy does not look.
    "@DEFAULTSbackend b\n server s 192.0.2.1 ciphers FOO\n",
    "@DEFAULTSlisten a\n bind :8001 @SSL alpn h2,,x\n@SERVER",
    "@DEFAULTSbackend b\n server s 192.0.2.1 ssl verify none sni str()\n",
    // Known to HAProxy, not here.
    "@DEFAULTSlisten a\n bind :8001 @SSL verify required ca-file @system-ca\n@SERVER",
    "@DEFAULTSbackend b\n server s 192.0.2.1 ssl verify none sni req.ssl_sni\n",
    "global\n maxsslconn 10\nbackend b\n",
];

/// Refused by both.
const INVALID: &[&str] = &[
    // Whole files.
    "@DEFAULTSlisten a\n bind :8001\n server s 192.0.2.1:80",
    "foo bar\n",
    "mode tcp\n",
    // Names.
    "@DEFAULTSlisten a\n bind :8001\nlisten a\n bind :8002\n",
    "@DEFAULTSfrontend a\n bind :8001\nfrontend a\n bind :8002\n",
    "@DEFAULTSlisten a\n bind :8001\nbackend a\n",
    "@DEFAULTSbackend\n",
    "@DEFAULTSbackend b$\n",
    "backend b from nope\n",
    "defaults d\ndefaults d\nbackend b from d\n",
    "@DEFAULTSfrontend a\n bind :8001\n default_backend nope\n",
    "@DEFAULTSlisten a\n bind :8001\n default_backend a\n",
    "@DEFAULTSbackend a\n id 7\nbackend b\n id 7\n",
    "@DEFAULTSbackend a\n id 0\n",
    "defaults\n id 7\n",
    "defaults\n description x\n",
    "defaults\n bind :8001\n",
    "defaults\n@SERVER",
    // Bind.
    "@DEFAULTSlisten a\n bind\n@SERVER",
    "@DEFAULTSlisten a\n bind 127.0.0.1\n@SERVER",
    "@DEFAULTSlisten a\n bind 8001\n@SERVER",
    "@DEFAULTSlisten a\n bind :8005-8001\n@SERVER",
    "@DEFAULTSlisten a\n bind :8005-\n@SERVER",
    "@DEFAULTSlisten a\n bind :0\n@SERVER",
    "@DEFAULTSlisten a\n bind :+80\n@SERVER",
    "@DEFAULTSlisten a\n bind :70000\n@SERVER",
    "@DEFAULTSlisten a\n bind :abc\n@SERVER",
    "@DEFAULTSlisten a\n bind 300.1.1.1:80\n@SERVER",
    "@DEFAULTSlisten a\n bind ipv6@192.0.2.1:80\n@SERVER",
    "@DEFAULTSlisten a\n bind udp@:80\n@SERVER",
    "@DEFAULTSlisten a\n bind fd@x\n@SERVER",
    "@DEFAULTSlisten a\n bind \"fd@${NOPE}\"\n@SERVER",
    "@DEFAULTSlisten a\n bind ,:8001\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 foo\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 name\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 mss 70000\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001 id 3\n bind :8002 id 3\n@SERVER",
    "@DEFAULTSlisten a\n bind /tmp/a.sock mode 999\n@SERVER",
    "@DEFAULTSlisten a\n bind /tmp/a.sock user nosuchuser\n@SERVER",
    // Server.
    "@DEFAULTSbackend a\n@SERVER@SERVER",
    "@DEFAULTSbackend a\n server s\n",
    "@DEFAULTSbackend a\n server a,b 192.0.2.1\n",
    "@DEFAULTSbackend a\n server s 192.0.2.1:80-90\n",
    "@DEFAULTSbackend a\n server s 192.0.2.1:99999\n",
    "@DEFAULTSbackend a\n server s fd@3\n",
    "@DEFAULTSbackend a\n server s 192.0.2.1 weight 257\n",
    "@DEFAULTSbackend a\n server s 192.0.2.1 wieght 3\n",
    "@DEFAULTSbackend a\n server s 192.0.2.1 id 3\n server t 192.0.2.1 id 3\n",
    "@DEFAULTSfrontend a\n bind :8001\n@SERVER",
    "@DEFAULTSfrontend a\n bind :8001\n default-server weight 2\n",
    // Timeouts, options and settings.
    "defaults\n timeout client 3x\n",
    "defaults\n timeout client\n",
    "defaults\n timeout clinet 3s\n",
    "defaults\n timeout client 99999999999\n",
    "defaults\n timeout\n",
    "defaults\n option\n",
    "defaults\n option nosuch\n",
    "defaults\n option nolinger x\n",
    "defaults\n no option tcpka\n",
    "defaults\n no maxconn 3\n",
    "defaults\n maxconn\n",
    "defaults\n retries\n",
    "defaults\n mode foo\n",
    "defaults\n mode tcp x\n",
    "defaults\n balance foo\n",
    "defaults\n balance source(3)\n",
    "defaults\n balance random(0)\n",
    "defaults\n balance random(-1)\n",
    "defaults\n balance random(x)\n",
    "defaults\n balance random(\n",
    "defaults\n balance hash\n",
    "@DEFAULTSbackend b\n balance hash src ipmask(24)\n",
    "@DEFAULTSbackend b\n balance hash nope\n",
    "@DEFAULTSbackend b\n balance hash src,nope\n",
    "@DEFAULTSbackend b\n balance hash srv_id\n",
    "@DEFAULTSbackend b\n balance hash res.len\n",
    "defaults\n hash-type\n",
    "defaults\n hash-type foo\n",
    "defaults\n hash-type avalanche\n",
    "defaults\n hash-type map-based foo\n",
    "defaults\n hash-type consistent avalanche\n",
    "defaults\n hash-type consistent sdbm foo\n",
    "defaults\n hash-balance-factor\n",
    "defaults\n hash-balance-factor 50\n",
    "defaults\n hash-balance-factor 100\n",
    "defaults\n hash-balance-factor -5\n",
    "defaults\n disabled x\n",
    "defaults\n timeuot client 3s\n",
    // Logs.
    "global\n log global\n",
    "global\n log\n",
    "global\n log 127.0.0.1\n",
    "global\n log 127.0.0.1 local8\n",
    "global\n log 127.0.0.1 local0 loud\n",
    "global\n log 127.0.0.1 len 3 local0\n",
    "global\n log 127.0.0.1 format x local0\n",
    "global\n log 127.0.0.1 local0 info debug x\n",
    "global\n log 127.0.0.1:x local0\n",
    "global\n log 127.0.0.1 sample 1 local0\n",
    "global\n log 127.0.0.1 sample 2-1:2 local0\n",
    "global\n log 127.0.0.1 sample 1,1:2 local0\n",
    "global\n log 127.0.0.1 sample 1-3:2 local0\n",
    "@DEFAULTSlisten a\n bind :8001\n log-format\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001\n log-format a b\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001\n log-format %\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001\n log-format %nosuch\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001\n log-format %r\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001\n log-format %{+Q\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001\n log-format %[src\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001\n log-format %[nosuch]\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001\n log-format %[req.len]\n@SERVER",
    "defaults\n no log x\n",
    // Global.
    "global\n setenv N 8001\n unsetenv N\n@DEFAULTSlisten a\n bind \":$N\"\n@SERVER",
    "global\n nosuch\n",
    "global\n nbthread x\n",
    "global\n nbthread 0\n",
    "global\n daemon x\n",
    "global\n node a,b\n",
    "global\n user nosuchuser\n",
    "global\n stats socket\n",
    "global\n stats socket /tmp/x level foo\n",
    "global\n stats foo\n",
    "global\n hard-stop-after 3x\n",
    "global\n tune.bufsize x\n",
    "global\n no daemon\n",
    // Conditions and words.
    ".if 0\n.else\nfoo\n.endif\n",
    ".if 1\n",
    ".endif\n",
    ".else\n",
    ".if 1\n.else\n.else\n.endif\n",
    ".if foo(a)\n.endif\n",
    ".if streq(a)\n.endif\n",
    ".if 1 2\n.endif\n",
    ".if (1\n.endif\n",
    ".alert no\n",
    ".foo\n",
    ".notice a b\n",
    "backend \"a\n",
    "backend 'a\n",
    "backend \"${A\"\n",
    "backend \"$1\"\n",
    "backend a\\x4\n",
];

/// Accepted by HAProxy, which reads something else than what was written; refused here.
const STRICTER: &[&str] = &[
    "@DEFAULTSbackend b c\n",
    "@DEFAULTSbackend b\n default-server id 3\n",
    "@DEFAULTSbackend b\n server s 192.0.2.1 weight heavy\n",
    "@DEFAULTSbackend b\n retries -1\n",
    "@DEFAULTSbackend b\n option redispatch often\n",
    "@DEFAULTSlisten a\n bind :8001 backlog long\n@SERVER",
    "@DEFAULTSlisten a\n bind :8001x\n@SERVER",
    "global\n maxconn many\nbackend b\n",
    // Known to HAProxy, not here.
    "@DEFAULTSbackend b\n balance roundrobin x\n",
    "@DEFAULTSbackend b\n balance random 3\n",
    "@DEFAULTSbackend b\n balance\n",
    "@DEFAULTSbackend b\n hash-type consistent sdbm avalanche x\n",
    "@DEFAULTSbackend b\n hash-balance-factor x\n",
    "defaults\n mode http\n timeout client 1s\nbackend b\n",
    "userlist u\n user a password b\nbackend b\n",
];

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
