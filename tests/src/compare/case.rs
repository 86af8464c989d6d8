//! A rule set, who visits it, and what is expected to become of each.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::servers::SERVERS;
use crate::certs::Versions;
use crate::proxy_header;

/// Where the frontend listens.
const FRONTEND: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8000);

/// Where visitors with a PROXY header say that they went.
const WANTED_V4: &str = "198.51.100.1:443";
const WANTED_V6: &str = "[2001:db8:ffff::1]:443";

/// What is expected of a visit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// This server answers, and sends back what it received: these bytes, or else what the visitor sent.
    Served(char, Option<Vec<u8>>),
    /// The stream ends without a byte.
    Closed,
    /// It is reset.
    Reset,
    /// Either of the two: which one depends on what was in flight.
    Refused,
    /// The proxy forgets it, and its client is not told.
    Silent,
}

/// A visit.
#[derive(Clone, Debug)]
pub struct Visit {
    pub(super) from: IpAddr,
    pub(super) to: SocketAddr,
    pub(super) header: Option<Vec<u8>>,
    pub(super) pieces: Vec<Vec<u8>>,
    pub(super) ends_first: bool,
    pub(super) held: bool,
    pub(super) tls: Option<Tls>,
    pub(super) expected: Expected,
}

/// How a visitor speaks TLS.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    /// The name that it asks for.
    pub(super) name: &'static str,
    /// Which versions it knows.
    pub(super) versions: Versions,
    /// It shows the certificate `client`.
    pub(super) shows: bool,
    /// What it offers by ALPN.
    pub(super) alpn: &'static [&'static str],
}

/// What a script does next.
#[derive(Clone, Debug)]
pub enum Step {
    /// Somebody comes.
    Visit(Visit),
    /// Everybody who was held leaves.
    Release,
    /// Time passes.
    After(Duration),
}

/// A visit from 127.0.0.`last`.
#[must_use]
pub fn from(last: u8) -> Visit {
    Visit {
        from: Ipv4Addr::new(127, 0, 0, last).into(),
        to: FRONTEND,
        header: None,
        pieces: Vec::new(),
        ends_first: false,
        held: false,
        tls: None,
        expected: Expected::Closed,
    }
}

/// Everybody who was held leaves.
#[must_use]
pub fn release() -> Step {
    Step::Release
}

/// Time passes.
#[must_use]
pub fn after(milliseconds: u64) -> Step {
    Step::After(Duration::from_millis(milliseconds))
}

impl Visit {
    /// Goes to another address; from `::1` where that is IPv6.
    ///
    /// # Panics
    /// When it is no address and port.
    #[must_use]
    pub fn to(mut self, address: &str) -> Self {
        self.to = address.parse().expect("an address and port");
        if self.to.is_ipv6() {
            self.from = Ipv6Addr::LOCALHOST.into();
        }
        self
    }

    /// Sends a PROXY header of version 1 that names this source.
    ///
    /// # Panics
    /// When it is no address and port.
    #[must_use]
    pub fn header(mut self, source: &str) -> Self {
        let source: SocketAddr = source.parse().expect("an address and port");
        let wanted = if source.is_ipv6() {
            WANTED_V6
        } else {
            WANTED_V4
        };
        self.header = Some(proxy_header::v1(
            source,
            wanted.parse().expect("an address"),
        ));
        self
    }

    /// Sends bytes; called again, more of them once the proxy has read the first.
    #[must_use]
    pub fn says(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.pieces.push(bytes.as_ref().to_vec());
        self
    }

    /// Ends its direction before it waits for an answer.
    #[must_use]
    pub fn and_ends(mut self) -> Self {
        self.ends_first = true;
        self
    }

    /// Speaks TLS with the proxy, and asks for this name. What it says must come back before it leaves.
    #[must_use]
    pub fn tls(
        mut self,
        name: &'static str,
        versions: Versions,
        alpn: &'static [&'static str],
    ) -> Self {
        self.tls = Some(Tls {
            name,
            versions,
            shows: false,
            alpn,
        });
        self
    }

    /// Shows the certificate of `client.example`.
    #[must_use]
    pub fn with_certificate(mut self) -> Self {
        if let Some(tls) = &mut self.tls {
            tls.shows = true;
        }
        self
    }

    /// Stays when it is served.
    #[must_use]
    pub fn held(mut self) -> Self {
        self.held = true;
        self
    }

    /// A server answers and gets what the visitor sent.
    #[must_use]
    pub fn served(self, by: char) -> Step {
        self.expecting(Expected::Served(by, None))
    }

    /// A server answers and gets these bytes.
    #[must_use]
    pub fn served_with(self, by: char, received: impl AsRef<[u8]>) -> Step {
        self.expecting(Expected::Served(by, Some(received.as_ref().to_vec())))
    }

    /// The stream ends without a byte.
    #[must_use]
    pub fn closed(self) -> Step {
        self.expecting(Expected::Closed)
    }

    /// It is reset.
    #[must_use]
    pub fn reset(self) -> Step {
        self.expecting(Expected::Reset)
    }

    /// It ends without a byte, or is reset.
    #[must_use]
    pub fn refused(self) -> Step {
        self.expecting(Expected::Refused)
    }

    /// The proxy forgets it.
    #[must_use]
    pub fn silent(self) -> Step {
        self.expecting(Expected::Silent)
    }

    fn expecting(mut self, expected: Expected) -> Step {
        self.expected = expected;
        Step::Visit(self)
    }

    /// What it sends besides a PROXY header.
    pub(super) fn payload(&self) -> Vec<u8> {
        self.pieces.concat()
    }
}

/// A rule set and its visitors.
#[derive(Clone, Debug)]
pub struct Case {
    frontend: String,
    bind: String,
    defaults: String,
    backend: String,
    sections: String,
    pub(super) files: Vec<(&'static str, String)>,
    pub(super) steps: Vec<Step>,
    pub(super) lacking: Option<&'static str>,
    pub(super) logs_differ: bool,
}

impl Case {
    /// These lines in the frontend `fe`, whose default backend is `a`. There are backends `a`, `b` and `c`, each with its
    /// one server.
    #[must_use]
    pub fn frontend(lines: &str) -> Self {
        Self {
            frontend: lines.to_owned(),
            bind: String::new(),
            defaults: String::new(),
            backend: String::new(),
            sections: String::new(),
            files: Vec::new(),
            steps: Vec::new(),
            lacking: None,
            logs_differ: false,
        }
    }

    /// Words on the `bind` line.
    #[must_use]
    pub fn bind(mut self, words: &str) -> Self {
        words.clone_into(&mut self.bind);
        self
    }

    /// Lines in `defaults`.
    #[must_use]
    pub fn defaults(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.defaults);
        self
    }

    /// Lines in the backend `a`, before its server's.
    #[must_use]
    pub fn backend(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.backend);
        self
    }

    /// More sections. `A`, `B` and `C` at the end of a `server` line's address stand for the servers.
    #[must_use]
    pub fn sections(mut self, text: &str) -> Self {
        text.clone_into(&mut self.sections);
        self
    }

    /// A file that the configuration calls `FILES/<name>`.
    #[must_use]
    pub fn file(mut self, name: &'static str, text: impl Into<String>) -> Self {
        self.files.push((name, text.into()));
        self
    }

    /// Whether anybody speaks TLS. The configuration finds `front.pem`, for `front.example`, and `ca.pem` in `CERTS`.
    pub(super) fn is_tls(&self) -> bool {
        self.visits().any(|visit| visit.tls.is_some())
    }

    /// The script.
    #[must_use]
    pub fn script(mut self, steps: impl IntoIterator<Item = Step>) -> Self {
        self.steps = steps.into_iter().collect();
        self
    }

    /// Haproxy 2.6 cannot run it: why.
    #[must_use]
    pub fn not_haproxy(mut self, why: &'static str) -> Self {
        self.lacking = Some(why);
        self
    }

    /// The two programs' lines differ for a reason that the case tells.
    #[must_use]
    pub fn logs_differ(mut self) -> Self {
        self.logs_differ = true;
        self
    }

    /// Whether it is compared with haproxy.
    #[must_use]
    pub fn is_compared(&self) -> bool {
        self.lacking.is_none()
    }

    /// The visits in order.
    pub(super) fn visits(&self) -> impl Iterator<Item = &Visit> {
        self.steps.iter().filter_map(|step| match step {
            Step::Visit(visit) => Some(visit),
            _ => None,
        })
    }

    /// The configuration, with files and certificates in these directories. Ours says besides that flows stay in user
    /// space: nothing of the kernel has to be loaded then, which takes longer than a whole script.
    pub(super) fn text(&self, files: &str, certs: &str, for_haproxy: bool) -> String {
        // One thread: what one connection did to a table is done before the next is looked at.
        let mut text = String::from(
            "global\n    nbthread 1\n    log stdout format raw local0\n    maxconn 200\n\
             defaults\n    mode tcp\n    log global\n    option tcplog\n    timeout connect 10s\n    \
             timeout client 60s\n    timeout server 60s\n",
        );
        let indent = |text: &mut String, lines: &str| {
            for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
                let _ = writeln!(text, "    {line}");
            }
        };
        if !for_haproxy {
            indent(&mut text, "offload off");
        }
        indent(&mut text, &self.defaults);
        let _ = writeln!(text, "frontend fe\n    bind {FRONTEND} {}", self.bind);
        indent(&mut text, &self.frontend);
        text.push_str("    default_backend a\n");
        for (name, port) in SERVERS {
            let _ = writeln!(text, "backend {name}");
            if name == 'a' {
                indent(&mut text, &self.backend);
            }
            if name != 'a' || !self.backend.contains("server ") {
                let _ = writeln!(text, "    server {name} 127.0.0.1:{port}");
            }
        }
        for line in self.sections.lines().map(str::trim) {
            let is_section = ["frontend ", "backend ", "listen ", "defaults "]
                .iter()
                .any(|word| line.starts_with(word));
            let indent = if is_section { "" } else { "    " };
            let _ = writeln!(text, "{indent}{line}");
        }
        text.replace("FILES", files).replace("CERTS", certs)
    }
}
