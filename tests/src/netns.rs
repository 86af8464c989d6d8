//! Hosts as network namespaces, joined by veth pairs.
//!
//! A namespace is named `up-<pid>-<n>-<host>` after the process that made it, and is removed when its last handle is
//! dropped, also when a test panics. What a killed process left behind is swept by the next one.

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use anyhow::{Context, Result, bail, ensure};

use crate::sys;

/// Where `ip netns` keeps its names.
const NAMES: &str = "/run/netns";

/// One network namespace. Clones share it; the last one removes it.
#[derive(Clone)]
pub struct Netns {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    handle: File,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Nothing to do about a failure here; the next process sweeps.
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .stderr(Stdio::null())
            .status();
    }
}

impl Netns {
    /// Makes a namespace with its loopback up.
    ///
    /// # Errors
    /// When `ip netns add` fails: mostly for want of root.
    pub fn new(name: &str) -> Result<Self> {
        ip(&["netns", "add", name])?;
        let handle = File::open(Path::new(NAMES).join(name))
            .with_context(|| format!("open namespace {name}"))?;
        let ns = Self {
            inner: Arc::new(Inner {
                name: name.to_owned(),
                handle,
            }),
        };
        ip(&["-n", name, "link", "set", "lo", "up"])?;
        Ok(ns)
    }

    /// The name, as `ip netns` lists it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Runs `f` on a thread inside the namespace. Sockets that it makes stay in the namespace wherever they are used.
    ///
    /// # Panics
    /// When the namespace cannot be entered, or with the panic of `f`.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            sys::enter_netns(self.inner.handle.as_fd()).expect("enter the namespace");
            f()
        };
        match thread::scope(|scope| scope.spawn(inside).join()) {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// A command that will start inside the namespace, and that dies with the thread that starts it.
    ///
    /// # Panics
    /// When no descriptor is left for the handle of the namespace.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let ns: OwnedFd = self
            .inner
            .handle
            .as_fd()
            .try_clone_to_owned()
            .expect("a free descriptor");
        sys::spawn_in_netns(&mut command, ns);
        sys::die_with_parent(&mut command);
        command
    }

    /// Sets a sysctl of the namespace, named by its path below `/proc/sys`.
    ///
    /// # Errors
    /// When the kernel has no such knob or refuses the value.
    pub fn sysctl(&self, knob: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys").join(knob);
        self.run(|| std::fs::write(&path, value))
            .with_context(|| format!("{knob} = {value} in {}", self.name()))
    }
}

/// How the hosts are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Client, proxy and server are three hosts: client and server each have a veth to the proxy.
    Hosts,
    /// All three are one host and talk over its loopback.
    Loopback,
}

/// What may differ from the default links.
#[derive(Clone, Debug, Default)]
pub struct LinkOptions {
    /// The MTU of the veth devices, in bytes; the kernel's default (1500) when absent.
    pub mtu: Option<u32>,
    /// The MTU of the link to the server, when it is another.
    pub server_mtu: Option<u32>,
    /// `ethtool -K` settings for every veth device, for example `[("gro", "on"), ("tso", "off")]`.
    pub features: Vec<(&'static str, &'static str)>,
    /// Forward between client and server through the proxy's host, so that they can also talk without a proxy.
    pub routed: bool,
}

/// A client, a proxy and a server, and how to address them.
pub struct Topology {
    /// Where clients run.
    pub client: Netns,
    /// Where the daemon runs.
    pub proxy: Netns,
    /// Where servers run.
    pub server: Netns,
    /// How they are joined.
    pub layout: Layout,
    /// The client's addresses.
    pub client_addr: Addresses,
    /// The proxy's addresses as clients reach it.
    pub proxy_addr: Addresses,
    /// The server's addresses.
    pub server_addr: Addresses,
}

/// The two addresses of a host.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// IPv4.
    pub v4: Ipv4Addr,
    /// IPv6.
    pub v6: Ipv6Addr,
}

impl Addresses {
    /// The IPv4 address as an [`IpAddr`].
    #[must_use]
    pub fn ipv4(&self) -> IpAddr {
        self.v4.into()
    }

    /// The IPv6 address as an [`IpAddr`].
    #[must_use]
    pub fn ipv6(&self) -> IpAddr {
        self.v6.into()
    }
}

/// Addresses of the proxy's side towards the server, which the server sees as its client.
pub const PROXY_TO_SERVER: Addresses = Addresses {
    v4: Ipv4Addr::new(10, 0, 2, 2),
    v6: Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 2),
};

impl Topology {
    /// Builds the layout with default links.
    ///
    /// # Errors
    /// When a namespace or a link cannot be made.
    pub fn new(layout: Layout) -> Result<Self> {
        match layout {
            Layout::Hosts => Self::hosts(&LinkOptions::default()),
            Layout::Loopback => Self::loopback(),
        }
    }

    /// One host for all three.
    ///
    /// # Errors
    /// When the namespace cannot be made.
    pub fn loopback() -> Result<Self> {
        sweep();
        let ns = Netns::new(&format!("{}-l", prefix()))?;
        let addr = Addresses {
            v4: Ipv4Addr::LOCALHOST,
            v6: Ipv6Addr::LOCALHOST,
        };
        Ok(Self {
            client: ns.clone(),
            proxy: ns.clone(),
            server: ns,
            layout: Layout::Loopback,
            client_addr: addr,
            proxy_addr: addr,
            server_addr: addr,
        })
    }

    /// Three hosts: `client eth0 <-> eth0 proxy eth1 <-> eth0 server`.
    ///
    /// # Errors
    /// When a namespace or a link cannot be made, or an option is refused.
    pub fn hosts(options: &LinkOptions) -> Result<Self> {
        sweep();
        let prefix = prefix();
        let client = Netns::new(&format!("{prefix}-c"))?;
        let proxy = Netns::new(&format!("{prefix}-p"))?;
        let server = Netns::new(&format!("{prefix}-s"))?;
        let (c, p, s) = (client.name(), proxy.name(), server.name());

        let words = |mtu: Option<u32>| mtu.map(|mtu| format!("mtu {mtu}")).unwrap_or_default();
        let client_mtu = words(options.mtu);
        let server_mtu = words(options.server_mtu.or(options.mtu));
        let veth = |mtu: &str, ends: [[&str; 3]; 2]| {
            let [[dev, address, ns], [peer, its_address, its_ns]] = ends;
            format!(
                "link add {dev} {mtu} address {address} netns {ns} type veth \
                 peer name {peer} {mtu} address {its_address} netns {its_ns}\n"
            )
        };
        ip_batch(
            &[
                veth(&client_mtu, [["eth0", C0, c], ["eth0", P0, p]]),
                veth(&server_mtu, [["eth1", P1, p], ["eth0", S0, s]]),
            ]
            .concat(),
        )?;
        for link in LINKS {
            let ns = [&client, &proxy, &server][link.host];
            link.configure(ns, &options.features)?;
        }
        ip_batch_in(
            c,
            "route add default via 10.0.1.2\n-6 route add default via fd00:1::2\n",
        )?;
        ip_batch_in(
            s,
            "route add default via 10.0.2.2\n-6 route add default via fd00:2::2\n",
        )?;
        if options.routed {
            proxy.sysctl("net/ipv4/ip_forward", "1")?;
            proxy.sysctl("net/ipv6/conf/all/forwarding", "1")?;
        }

        Ok(Self {
            client,
            proxy,
            server,
            layout: Layout::Hosts,
            client_addr: Addresses {
                v4: Ipv4Addr::new(10, 0, 1, 1),
                v6: Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 1),
            },
            proxy_addr: Addresses {
                v4: Ipv4Addr::new(10, 0, 1, 2),
                v6: Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 2),
            },
            server_addr: Addresses {
                v4: Ipv4Addr::new(10, 0, 2, 1),
                v6: Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 1),
            },
        })
    }
}

impl Topology {
    /// The client becomes a program on the proxy's host, which it reaches by the host's own address.
    #[must_use]
    pub fn with_client_at_home(mut self) -> Self {
        self.client = self.proxy.clone();
        // The link to the client's host goes with that host.
        self.proxy_addr = PROXY_TO_SERVER;
        self.client_addr = PROXY_TO_SERVER;
        self
    }

    /// The server becomes a program on the proxy's host, which reaches it by the host's own address.
    #[must_use]
    pub fn with_server_at_home(mut self) -> Self {
        self.server = self.proxy.clone();
        self.server_addr = self.proxy_addr;
        self
    }

    /// The server becomes a program on the client's host, with an address of its own: the proxy reaches both by the same
    /// interface.
    ///
    /// # Errors
    /// When the address cannot be added.
    pub fn with_server_beside_client(mut self) -> Result<Self> {
        let Addresses { v4, v6 } = BESIDE_CLIENT;
        ip_batch_in(
            self.client.name(),
            &format!("addr add {v4}/24 dev eth0\naddr add {v6}/64 dev eth0 nodad\n"),
        )?;
        ip_batch_in(
            self.proxy.name(),
            &format!("-6 neigh replace {v6} lladdr {C0} dev eth0 nud permanent\n"),
        )?;
        self.server = self.client.clone();
        self.server_addr = BESIDE_CLIENT;
        Ok(self)
    }
}

/// A second address of the client's host.
const BESIDE_CLIENT: Addresses = Addresses {
    v4: Ipv4Addr::new(10, 0, 1, 3),
    v6: Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 3),
};

/// An address of the server's network that no host has.
const SILENT: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 77);

impl Topology {
    /// An address from which the daemon gets no answer at all, not even that there is no such host. Only between hosts.
    ///
    /// # Errors
    /// When the neighbour cannot be entered.
    pub fn silent_address(&self) -> Result<IpAddr> {
        ensure!(
            self.layout == Layout::Hosts,
            "loopback has no silent addresses"
        );
        ip_batch_in(
            self.proxy.name(),
            &format!("neigh replace {SILENT} lladdr {S0} dev eth1 nud permanent\n"),
        )?;
        Ok(SILENT.into())
    }

    /// Gives the silent address to the server, which answers from then on.
    ///
    /// # Errors
    /// When the address cannot be added.
    pub fn add_silent_address(&self) -> Result<()> {
        ip_batch_in(
            self.server.name(),
            &format!("addr add {SILENT}/24 dev eth0\n"),
        )
    }
}

/// Link addresses of the proxy towards the client and towards the server.
pub const PROXY_LINKS: [&str; 2] = [P0, P1];

// Fixed link addresses, so that neighbours can be entered beforehand.
const C0: &str = "02:00:00:00:01:01";
const P0: &str = "02:00:00:00:01:02";
const P1: &str = "02:00:00:00:02:02";
const S0: &str = "02:00:00:00:02:01";

/// One end of a veth pair: its host (index into client, proxy, server), its addresses and its neighbour's.
struct Link {
    host: usize,
    dev: &'static str,
    v4: &'static str,
    v6: &'static str,
    neighbour: (&'static str, &'static str),
}

const LINKS: [Link; 4] = [
    Link {
        host: 0,
        dev: "eth0",
        v4: "10.0.1.1",
        v6: "fd00:1::1",
        neighbour: ("fd00:1::2", P0),
    },
    Link {
        host: 1,
        dev: "eth0",
        v4: "10.0.1.2",
        v6: "fd00:1::2",
        neighbour: ("fd00:1::1", C0),
    },
    Link {
        host: 1,
        dev: "eth1",
        v4: "10.0.2.2",
        v6: "fd00:2::2",
        neighbour: ("fd00:2::1", S0),
    },
    Link {
        host: 2,
        dev: "eth0",
        v4: "10.0.2.1",
        v6: "fd00:2::1",
        neighbour: ("fd00:2::2", P1),
    },
];

impl Link {
    fn configure(&self, ns: &Netns, features: &[(&str, &str)]) -> Result<()> {
        let Self {
            dev,
            v4,
            v6,
            neighbour: (next, lladdr),
            ..
        } = self;
        for (feature, value) in features {
            let out = ns
                .command("ethtool")
                .args(["-K", dev, feature, value])
                .output();
            let out = out.context("run ethtool (package ethtool)")?;
            ensure!(
                out.status.success(),
                "ethtool -K {dev} {feature} {value}: {}",
                String::from_utf8_lossy(&out.stderr).trim()
            );
        }
        // The first neighbour solicitation of a new link goes unanswered and costs a second; enter the answer.
        ip_batch_in(
            ns.name(),
            &format!(
                "addr add {v4}/24 dev {dev}\naddr add {v6}/64 dev {dev} nodad\nlink set {dev} up\n\
                 -6 neigh replace {next} lladdr {lladdr} dev {dev} nud permanent\n"
            ),
        )
    }
}

/// A name prefix that no other live process and no other topology of this process uses.
fn prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(
        "up-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// Removes namespaces whose maker is dead. Failures are left to the next sweep.
pub fn sweep() {
    let Ok(names) = std::fs::read_dir(NAMES) else {
        return;
    };
    for name in names.flatten() {
        let name = name.file_name();
        let Some(name) = name.to_str() else { continue };
        let Some(pid) = name
            .strip_prefix("up-")
            .and_then(|rest| rest.split('-').next())
        else {
            continue;
        };
        if pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists() {
            let _ = Command::new("ip")
                .args(["netns", "del", name])
                .stderr(Stdio::null())
                .status();
        }
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    let out = Command::new("ip")
        .args(arguments)
        .output()
        .context("run ip (package iproute2)")?;
    ensure!(
        out.status.success(),
        "ip {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&out.stderr).trim()
    );
    Ok(())
}

fn ip_batch(lines: &str) -> Result<()> {
    batch(&["-batch", "-"], lines)
}

fn ip_batch_in(ns: &str, lines: &str) -> Result<()> {
    // A batch line takes no options, so the family is chosen by the option before -batch.
    let (v6, v4): (Vec<&str>, Vec<&str>) = lines.lines().partition(|line| line.starts_with("-6 "));
    batch(&["-n", ns, "-batch", "-"], &(v4.join("\n") + "\n"))?;
    if v6.is_empty() {
        return Ok(());
    }
    let v6: Vec<&str> = v6.iter().map(|line| &line[3..]).collect();
    batch(&["-6", "-n", ns, "-batch", "-"], &(v6.join("\n") + "\n"))
}

fn batch(arguments: &[&str], lines: &str) -> Result<()> {
    let mut child = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("run ip (package iproute2)")?;
    child
        .stdin
        .take()
        .context("stdin of ip")?
        .write_all(lines.as_bytes())?;
    let out = child.wait_with_output()?;
    if !out.status.success() {
        bail!(
            "ip {}: {}\n{lines}",
            arguments.join(" "),
            String::from_utf8_lossy(&out.stderr).trim()
        );
    }
    Ok(())
}
