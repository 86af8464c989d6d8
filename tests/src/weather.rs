//! Links that lose, repeat, reorder, delay and damage packets, on kernels that have no netem.
//!
//! A classic BPF classifier takes packets at random where they leave a host, and a mirred action sends them elsewhere:
//! to a device that is down (lost), to the same device once more (repeated), or around through other devices with a slow
//! queue (late, and so behind packets that were sent after them; delayed, by as much as a sender waits before it sends
//! again). What changes the packets themselves is in [`damage`]; what keeps all of them out, for a while, in
//! [`blockade`].

pub mod blockade;
pub mod damage;

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::netns::{Netns, Topology};

use damage::{Damage, Damager, Mask};

/// How many packets of a thousand meet which fate, in each direction of each link.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Packets that are lost.
    pub lost: u32,
    /// Packets that come twice.
    pub repeated: u32,
    /// Packets that are overtaken.
    pub late: u32,
    /// Packets that are overtaken by so many that they may be taken for lost.
    pub delayed: u32,
    /// Packets that come with another content.
    pub damaged: u32,
}

/// A weather that has set in. It stays with the hosts.
#[derive(Debug)]
pub struct Climate {
    weather: Weather,
    damagers: Vec<Damager>,
}

/// A device by which packets leave a host or arrive at it.
struct Gate<'a> {
    host: &'a Netns,
    dev: &'static str,
    kind: Kind,
}

/// What can happen there. Nothing may have a packet pass a second time through the programs that the daemon has on its
/// host's devices, since on a real link nothing does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Packets leave an end: everything.
    Leaving,
    /// Packets arrive at an end: everything but damage.
    Arriving,
    /// Packets leave the daemon's host: damage, which wants to come before anybody has summed them up.
    LeavingDaemon,
    /// Loopback: packets are neither late nor delayed.
    Loopback,
}

impl Kind {
    fn way(self) -> &'static str {
        match self {
            Self::Arriving => "ingress",
            _ => "egress",
        }
    }
}

fn gates(net: &Topology) -> Vec<Gate<'_>> {
    let is_home = |host: &Netns| host.name() == net.proxy.name();
    let mut gates = Vec::new();
    let mut link = |host, dev| {
        for (host, dev, kind) in [
            (host, "eth0", Kind::Leaving),
            (host, "eth0", Kind::Arriving),
            (&net.proxy, dev, Kind::LeavingDaemon),
        ] {
            gates.push(Gate { host, dev, kind });
        }
    };
    if !is_home(&net.client) {
        link(&net.client, "eth0");
    }
    if !is_home(&net.server) && net.server.name() != net.client.name() {
        link(&net.server, "eth1");
    }
    if is_home(&net.client) || is_home(&net.server) {
        gates.push(Gate {
            host: &net.proxy,
            dev: "lo",
            kind: Kind::Loopback,
        });
    }
    gates
}

impl Weather {
    /// Nothing happens to any packet.
    pub const FINE: Self = Self {
        lost: 0,
        repeated: 0,
        late: 0,
        delayed: 0,
        damaged: 0,
    };

    /// Sets in on all links of `net`, and on the loopback of a host that is two of the three.
    ///
    /// # Errors
    /// When the kernel lacks veth, ifb, tbf, cls_bpf or act_mirred, or for damage eBPF.
    pub fn set_in(self, net: &Topology) -> Result<Climate> {
        let mut ready: Vec<&str> = Vec::new();
        let mut damagers = Vec::new();
        for Gate { host, dev, kind } in gates(net) {
            if !ready.contains(&host.name()) {
                if self.lost > 0 {
                    run(host, "ip", "link add lost type ifb")?;
                }
                ready.push(host.name());
            }
            if kind != Kind::Arriving {
                run(host, "tc", &format!("qdisc add dev {dev} clsact"))?;
            }
            if self.damaged > 0 && kind != Kind::Arriving {
                damagers.push(self.damage(host, dev, kind)?);
            }
            if kind == Kind::LeavingDaemon {
                continue;
            }
            let way = kind.way();
            let fates = [
                (2, self.lost, "egress redirect dev lost".to_owned()),
                (5, self.repeated, format!("{way} mirror dev {dev}")),
            ];
            for (order, share, action) in fates.into_iter().filter(|(_, share, _)| *share > 0) {
                let filter = format!("filter add dev {dev} {way} prio {order}");
                meet(host, &filter, &one_in_a_thousand(share), &action)?;
            }
            if kind != Kind::Loopback {
                self.lay_detours(host, dev, way)?;
            }
        }
        Ok(Climate {
            weather: self,
            damagers,
        })
    }

    fn damage(self, host: &Netns, dev: &str, kind: Kind) -> Result<Damager> {
        let damage = if kind == Kind::Loopback {
            Damage::Header
        } else {
            run(host, "ethtool", &format!("-K {dev} tx off"))?;
            Damage::Checksum(if kind == Kind::Leaving {
                Mask::In
            } else {
                Mask::Out
            })
        };
        let damager = Damager::new(damage, self.damaged)?;
        let pinned = damager.pin()?;
        let path = pinned.path().display();
        let classifier = format!("protocol all bpf da object-pinned {path}");
        // Behind the others: what comes by here twice is damaged once.
        let filter = format!("filter add dev {dev} egress prio 9");
        run(host, "tc", &format!("{filter} {classifier}"))?;
        Ok(damager)
    }

    /// The ways round by which packets that pass `dev` of `host` on their `way` come late.
    fn lay_detours(self, host: &Netns, dev: &str, way: &str) -> Result<()> {
        let detours = [
            // Slow enough that what goes this way is overtaken, fast enough that it does not count as lost.
            (3, "late", self.late, "50mbit", "200ms"),
            // Slow enough that some of it is sent again before it arrives.
            (4, "slow", self.delayed, "4mbit", "400ms"),
        ];
        for (order, name, share, rate, latency) in detours {
            if share == 0 {
                continue;
            }
            // The largest packet must fit into the devices and into a burst, or it does not pass at all.
            let largest = largest_packet(host)?;
            let name = if way == "egress" {
                // What an ifb sends skips the next classifier that it meets, in whatever namespace of this kernel: the
                // daemon's programs would not see it.
                lay_passage(host, name, largest, dev)?
            } else {
                run(host, "ip", &format!("link add {name} type ifb"))?;
                name.to_owned()
            };
            run(host, "ip", &format!("link set {name} up"))?;
            let burst = (largest + FRAME).max(4000);
            let queue = format!("tbf rate {rate} burst {burst} latency {latency}");
            run(host, "tc", &format!("qdisc add dev {name} root {queue}"))?;
            let filter = format!("filter add dev {dev} {way} prio {order}");
            let action = format!("egress redirect dev {name}");
            meet(host, &filter, &one_in_a_thousand(share), &action)?;
        }
        Ok(())
    }
}

impl Climate {
    /// How many packets have met one of the fates so far, fewest over all links and fates: 0 means that some filter has
    /// had no effect yet.
    ///
    /// # Errors
    /// When tc does not tell.
    pub fn least_met(&self, net: &Topology) -> Result<u64> {
        let mut least = u64::MAX;
        for Gate { host, dev, kind } in gates(net) {
            for packets in met(host, dev, kind.way())? {
                least = least.min(packets);
            }
        }
        for damager in &self.damagers {
            least = least.min(damager.met()?);
        }
        Ok(least)
    }

    /// What was set in.
    #[must_use]
    pub fn weather(&self) -> Weather {
        self.weather
    }
}

/// Lays a pair of devices: what leaves by the first, whose name is returned, leaves by `dev`.
fn lay_passage(host: &Netns, name: &str, mtu: u32, dev: &str) -> Result<String> {
    let (start, end) = (format!("{name}-out"), format!("{name}-end"));
    let mtu = mtu.min(MOST_MTU);
    let pair = format!("link add {start} mtu {mtu} type veth peer name {end} mtu {mtu}");
    run(host, "ip", &pair)?;
    for part in [&start, &end] {
        // They say nothing by themselves.
        run(host, "ip", &format!("link set {part} addrgenmode none"))?;
        run(host, "ip", &format!("link set {part} arp off up"))?;
    }
    run(host, "tc", &format!("qdisc add dev {end} clsact"))?;
    let back = format!("filter add dev {end} ingress prio 1");
    meet(host, &back, ALL, &format!("egress redirect dev {dev}"))?;
    Ok(start)
}

/// Has a `filter` of `host` do an `action` of mirred to the packets that a classic BPF program takes.
fn meet(host: &Netns, filter: &str, program: &str, action: &str) -> Result<()> {
    let filter = format!("{filter} protocol all bpf bytecode");
    let action = format!("action mirred {action}");
    let words = filter.split(' ').chain([program]);
    tool(host, "tc", words.chain(action.split(' '))).map(drop)
}

/// How many packets each filter of `dev` has taken that go the `way`.
fn met(host: &Netns, dev: &str, way: &str) -> Result<Vec<u64>> {
    let shown = run(host, "tc", &format!("-s filter show dev {dev} {way}"))?;
    // "Sent 1234 bytes 5 pkt (dropped 0, …"
    let sent = shown
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Sent "));
    sent.map(|line| {
        let packets = line.split(' ').nth(2).context("packets")?;
        packets.parse().with_context(|| line.to_owned())
    })
    .collect()
}

/// Bytes of a frame's headers, with room to spare.
const FRAME: u32 = 64;

/// Largest MTU of a veth.
const MOST_MTU: u32 = 65_535;

/// Bytes of the largest packet that a device of `host` sends.
fn largest_packet(host: &Netns) -> Result<u32> {
    let shown = run(host, "ip", "-o link show up")?;
    let mtus = shown.lines().filter_map(|line| {
        let (_, rest) = line.split_once(" mtu ")?;
        rest.split(' ').next()?.parse::<u32>().ok()
    });
    mtus.max().context("a device that is up")
}

/// A classic BPF program, as tc takes it, that matches every packet.
const ALL: &str = "1,6 0 0 4294967295";

/// A classic BPF program, as tc takes it, that matches `share` packets of a thousand: load a random number, compare.
fn one_in_a_thousand(share: u32) -> String {
    /// `SKF_AD_OFF + SKF_AD_RANDOM`: the offset at which a load gives a random number.
    const RANDOM: u32 = 0xffff_f000 + 56;
    let over = u32::MAX - u32::MAX / 1000 * share;
    format!("4,32 0 0 {RANDOM},37 0 1 {over},6 0 0 {},6 0 0 0", u32::MAX)
}

fn run(host: &Netns, program: &str, line: &str) -> Result<String> {
    tool(host, program, line.split(' '))
}

fn tool<'a>(host: &Netns, program: &str, words: impl Iterator<Item = &'a str>) -> Result<String> {
    let words: Vec<&str> = words.collect();
    let mut command: Command = host.command(program);
    let out = command
        .args(&words)
        .output()
        .with_context(|| format!("run {program} (packages iproute2, ethtool)"))?;
    let said = String::from_utf8_lossy(&out.stderr);
    ensure!(
        out.status.success(),
        "{program} {}: {}",
        words.join(" "),
        said.trim()
    );
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}
