//! A daemon, an agent and a server, and what is expected of them.

use std::fmt::Write as _;
use std::net::SocketAddr;

use underpass_tests::daemon::{Daemon, Launch};
use underpass_tests::netns::{Layout, Topology};
use underpass_tests::pattern::Pattern;
use underpass_tests::peer::{Buffers, End, Peer};
use underpass_tests::record::Record;
use underpass_tests::rig::{Path, Rig, SERVER_PORT};

pub(crate) const AGENT_PORT: u16 = 7000;

/// What is particular about a test's agent and the way to it.
pub(crate) struct Setup {
    pub(crate) layout: Layout,
    pub(crate) path: Path,
    /// What follows the address on the `server` line.
    pub(crate) server: String,
    /// Lines for the daemon's `defaults`.
    pub(crate) defaults: Vec<String>,
    /// Lines of the agent's section instead of the one that allows everything.
    pub(crate) agent: Vec<String>,
    /// The port of the target.
    pub(crate) port: u16,
    /// The agent listens on a UNIX socket.
    pub(crate) unix: bool,
}

impl Setup {
    pub(crate) fn new(layout: Layout, path: Path) -> Self {
        Self {
            layout,
            path,
            server: String::new(),
            defaults: Vec::new(),
            agent: vec!["allow 0.0.0.0/0".to_owned()],
            port: SERVER_PORT,
            unix: false,
        }
    }

    pub(crate) fn server(mut self, words: impl Into<String>) -> Self {
        self.server = words.into();
        self
    }

    pub(crate) fn defaults(mut self, line: &str) -> Self {
        self.defaults.push(line.to_owned());
        self
    }

    pub(crate) fn agent(mut self, line: impl Into<String>) -> Self {
        self.agent.push(line.into());
        self
    }

    /// The daemon and the agent's address, without an agent.
    pub(crate) fn without_agent(self) -> (Rig, SocketAddr) {
        let net = Topology::new(self.layout).expect("hosts");
        let host = net.server_addr.ipv4();
        let agent = SocketAddr::new(host, AGENT_PORT);
        let target = SocketAddr::new(host, self.port);
        let rig = Rig::on(net, self.path, false, Buffers::default(), |config| {
            config.server = format!("rtcp@{agent}/{target} {}", self.server);
            for line in &self.defaults {
                config.defaults(line.clone());
            }
        });
        (rig, agent)
    }

    pub(crate) fn start(self) -> Remote {
        let net = Topology::new(self.layout).expect("hosts");
        let dir = tempfile::tempdir().expect("a directory");
        let host = net.server_addr.ipv4();
        let agent = if self.unix {
            format!("unix@{}", dir.path().join("agent.sock").display())
        } else {
            SocketAddr::new(host, AGENT_PORT).to_string()
        };
        let target = SocketAddr::new(host, self.port);
        let mut text = format!(
            "global\n    log stdout format raw local0\n    offload-pins off\ndefaults\n    log global\n    option tcplog\n    \
             timeout connect 10s\n    timeout client 60s\n    timeout server 60s\n    offload {}\n    \
             offload-after 0\nagent ag\n    bind {agent}\n",
            self.path.word()
        );
        for line in &self.agent {
            let _ = writeln!(text, "    {line}");
        }
        let rig = Rig::on(net, self.path, false, Buffers::default(), |config| {
            config.server = format!("rtcp@{agent}/{target} {}", self.server);
            for line in &self.defaults {
                config.defaults(line.clone());
            }
        });
        let agent = Launch::new(text)
            .and_then(|launch| launch.start(&rig.net.server))
            .expect("a running agent");
        Remote {
            agent,
            rig,
            _dir: dir,
        }
    }
}

/// A daemon, an agent, and the server.
pub(crate) struct Remote {
    pub(crate) agent: Daemon,
    pub(crate) rig: Rig,
    _dir: tempfile::TempDir,
}

impl Remote {
    pub(crate) fn new(layout: Layout, path: Path) -> Self {
        Setup::new(layout, path).start()
    }

    /// The daemon's record and the agent's, both of this stream.
    pub(crate) fn check(&self, up: u64, down: u64, end: &str) -> [Record; 2] {
        let ours = self.rig.record();
        let theirs = self
            .agent
            .wait_records(1)
            .expect("the agent's record")
            .remove(0);
        for record in [&ours, &theirs] {
            self.rig.check(record, up, down, end);
        }
        [ours, theirs]
    }

    pub(crate) fn stop(self) {
        self.rig.stop();
        let status = self.agent.stop().expect("a stopped agent");
        assert!(status.success(), "the agent stopped with {status}");
    }
}

/// The client of a flow that never reached its server sees an end and no byte; the daemon's log has
/// these letters and these words on the server's side.
pub(crate) fn expect_no_server(rig: &Rig, client: &Peer, letters: &str, history: &str) {
    let got = client.receive(Pattern::new(2));
    assert!(
        got.bytes == 0 && matches!(got.end, End::Eof | End::Reset),
        "{got}"
    );
    expect_record(rig, letters, history);
}

pub(crate) fn expect_record(rig: &Rig, letters: &str, history: &str) {
    let record = rig.record();
    assert_eq!(record.end, letters, "{}", record.line);
    let said = record.history.as_deref().unwrap_or_default();
    assert!(said.contains(history), "{}", record.line);
}
