//! Hosts, links and a daemon with many frontends, each of which promotes flows at another moment.

use std::fmt::Write as _;

use crate::netns::{LinkOptions, Netns, Topology};
use crate::peer::Buffers;
use crate::rig::{PROXY_PORT, Path, Rig};
use crate::weather::{Climate, Weather};

/// Where the two ends of the flows are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// Each on a host of its own.
    #[default]
    Apart,
    /// Both on one other host.
    Together,
    /// Both on the daemon's host, over loopback.
    OneHost,
    /// The client on the daemon's host, the server on another.
    ClientAtHome,
    /// The server on the daemon's host, the client on another.
    ServerAtHome,
}

/// Everything about a test set-up that may be out of the ordinary.
#[derive(Clone, Debug, Default)]
pub struct Site {
    /// Where the ends are.
    pub placement: Placement,
    /// IPv6 instead of IPv4.
    pub v6: bool,
    /// The links.
    pub links: LinkOptions,
    /// Settings of the kernel, below `net/ipv4`, of client, proxy and server.
    pub settings: [Vec<(&'static str, String)>; 3],
    /// What happens to packets.
    pub weather: Weather,
    /// Programs on one host send one another segments as long as loopback takes also where the other end is on another
    /// host.
    pub long_loopback: bool,
    /// The senders cut their packets themselves, so that it is single packets that meet their fates.
    pub single_packets: bool,
    /// Buffers of the server's sockets.
    pub server_buffers: Buffers,
    /// `offload-after` of the frontends, one each; a few of all kinds when empty.
    pub after: Vec<String>,
    /// More lines for `global`.
    pub global: Vec<String>,
}

/// A set-up that stands.
pub struct Standing {
    /// The daemon and its surroundings.
    pub rig: Rig,
    /// The ports of the frontends.
    pub ports: Vec<u16>,
    /// What happens to packets.
    pub climate: Climate,
}

/// Moments of promotion: with the first byte, within the first segments, later, and after a while.
const MOMENTS: [&str; 8] = ["0", "1", "100", "3000", "40000", "1ms", "10ms", "60ms"];

/// What every host gets: losses are made good quickly, and ports come round.
const COMMON: [(&str, &str); 5] = [
    ("tcp_rto_max_ms", "1000"),
    // Else the kernel gives up what is closed when its pauses cannot become longer: after three seconds.
    ("tcp_orphan_retries", "15"),
    ("ip_local_port_range", "1024 64999"),
    ("ip_local_reserved_ports", "7900-9100"),
    ("tcp_tw_reuse", "1"),
];

impl Site {
    /// A setting of the kernel on hosts `on` (of client, proxy and server).
    #[must_use]
    pub fn setting(mut self, on: [bool; 3], knob: &'static str, value: &str) -> Self {
        for (settings, wanted) in self.settings.iter_mut().zip(on) {
            if wanted {
                settings.push((knob, value.to_owned()));
            }
        }
        self
    }

    /// The hosts and their links, in their weather.
    ///
    /// # Panics
    /// When any of it cannot be set up.
    #[must_use]
    pub fn hosts(&self) -> (Topology, Climate) {
        let net = match self.placement {
            Placement::OneHost => Topology::loopback().expect("a host"),
            Placement::Apart => Topology::hosts(&self.links).expect("hosts"),
            Placement::Together => Topology::hosts(&self.links)
                .expect("hosts")
                .with_server_beside_client()
                .expect("another address"),
            Placement::ClientAtHome => Topology::hosts(&self.links)
                .expect("hosts")
                .with_client_at_home(),
            Placement::ServerAtHome => Topology::hosts(&self.links)
                .expect("hosts")
                .with_server_at_home(),
        };
        let set = |host: &Netns, knob: &str, value: &str| {
            host.sysctl(&format!("net/ipv4/{knob}"), value)
                .expect("a setting of the kernel");
        };
        for (host, settings) in [&net.client, &net.proxy, &net.server]
            .into_iter()
            .zip(&self.settings)
        {
            for (knob, value) in COMMON {
                set(host, knob, value);
            }
            for (knob, value) in settings {
                set(host, knob, value);
            }
        }
        let is_mixed = matches!(
            self.placement,
            Placement::ClientAtHome | Placement::ServerAtHome
        );
        if is_mixed && !self.long_loopback {
            self.shorten_loopback(&net.proxy);
        }
        let climate = self.weather.set_in(&net).expect("weather");
        if self.single_packets {
            self.cut(&net);
        }
        (net, climate)
    }

    /// Lets programs on `host` send one another no longer segments than another host takes.
    fn shorten_loopback(&self, host: &Netns) {
        let mtu = self.links.mtu.unwrap_or(1500).to_string();
        let out = host
            .command("ip")
            .args(["link", "set", "lo", "mtu", &mtu])
            .output()
            .expect("ip");
        assert!(out.status.success(), "{out:?}");
    }

    /// Has the devices refuse packets that are to be cut later.
    fn cut(&self, net: &Topology) {
        for host in [&net.client, &net.proxy, &net.server] {
            for dev in ["lo", "eth0", "eth1"] {
                // Not every host has every device.
                let _ = host
                    .command("ip")
                    .args(["link", "set", dev, "gso_max_segs", "1"])
                    .output();
            }
        }
    }

    /// All of it, with a daemon on `path`.
    ///
    /// # Panics
    /// When any of it cannot be set up.
    #[must_use]
    pub fn stand(&self, path: Path) -> Standing {
        let (net, climate) = self.hosts();
        let mut ports = vec![PROXY_PORT];
        let moments: Vec<&str> = if self.after.is_empty() {
            MOMENTS.to_vec()
        } else {
            self.after.iter().map(String::as_str).collect()
        };
        let rig = Rig::on(net, path, self.v6, self.server_buffers, |config| {
            for line in &self.global {
                config.global(line);
            }
            config.offload(path.word(), moments[0]);
            let address = config
                .bind
                .rsplit_once(':')
                .expect("an address")
                .0
                .to_owned();
            for (port, after) in (PROXY_PORT + 1..).zip(&moments[1..]) {
                let _ = write!(
                    config.sections,
                    "\nfrontend fe{port}\n    bind {address}:{port}\n    offload-after {after}\n    \
                     default_backend be\n"
                );
                ports.push(port);
            }
        });
        Standing {
            rig,
            ports,
            climate,
        }
    }
}
