//! Links that lose, repeat, reorder, delay and damage packets, on kernels that have no netem.
//!
//! A classic BPF classifier takes packets at random where they leave a host, and a mirred action sends them elsewhere:
//! to a device that is down (lost), to the same device once more (repeated), or around through an intermediate device
//! with a slow queue (late, and so behind packets that were sent after them; delayed, by as much as a sender waits before
//! it sends again). What changes the packets themselves is in [`damage`]; what keeps all of them out, for a while, in
//! [`blockade`].

pub mod blockade;
pub mod damage;

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::netns::{Netns, Topology};

use damage::{Damage, Damager};

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

/// A device that packets leave a host by.
struct Exit<'a> {
    host: &'a Netns,
    dev: &'static str,
    repeats: Repeats<'a>,
}

/// Where packets are repeated: never where they would pass a second time through the programs that the daemon has where
/// packets leave its host, which on a real link they do not.
enum Repeats<'a> {
    /// Where they leave.
    Leaving,
    /// Where they arrive.
    ArrivingAt(&'a Netns),
    /// Between leaving and arriving, on loopback.
    Between,
}

fn exits(net: &Topology) -> Vec<Exit<'_>> {
    let is_home = |host: &Netns| host.name() == net.proxy.name();
    let mut exits = Vec::new();
    let mut link = |host, dev| {
        for (host, dev, repeats) in [
            (host, "eth0", Repeats::Leaving),
            (&net.proxy, dev, Repeats::ArrivingAt(host)),
        ] {
            exits.push(Exit { host, dev, repeats });
        }
    };
    if !is_home(&net.client) {
        link(&net.client, "eth0");
    }
    if !is_home(&net.server) && net.server.name() != net.client.name() {
        link(&net.server, "eth1");
    }
    if is_home(&net.client) || is_home(&net.server) {
        exits.push(Exit {
            host: &net.proxy,
            dev: "lo",
            repeats: Repeats::Between,
        });
    }
    exits
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
    /// When the kernel lacks ifb, cls_bpf or act_mirred, or for damage eBPF.
    pub fn set_in(self, net: &Topology) -> Result<Climate> {
        let exits = exits(net);
        let mut ready: Vec<&str> = Vec::new();
        for Exit { host, dev, .. } in &exits {
            if !ready.contains(&host.name()) {
                self.lay_detours(host)?;
                ready.push(host.name());
            }
            run(host, "tc", &format!("qdisc add dev {dev} clsact"))?;
        }
        let mut damagers = Vec::new();
        for Exit { host, dev, repeats } in exits {
            let filter = |order: u32| format!("filter add dev {dev} egress prio {order}");
            if self.damaged > 0 {
                let damage = if dev == "lo" {
                    Damage::Header
                } else {
                    run(host, "ethtool", &format!("-K {dev} tx off"))?;
                    Damage::Checksum
                };
                let damager = Damager::new(damage, self.damaged)?;
                let pinned = damager.pin()?;
                let path = pinned.path().display();
                let classifier = format!("protocol all bpf da object-pinned {path}");
                run(host, "tc", &format!("{} {classifier}", filter(1)))?;
                damagers.push(damager);
            }
            let fates = [
                (2, self.lost, "lost"),
                (3, self.late, "late"),
                (4, self.delayed, "delayed"),
            ];
            for (order, share, to) in fates {
                let action = format!("egress redirect dev {to}");
                meet(host, &filter(order), share, &action)?;
            }
            let (host, filter, action) = match repeats {
                Repeats::Leaving => (host, filter(5), format!("egress mirror dev {dev}")),
                Repeats::Between => (host, filter(5), format!("ingress mirror dev {dev}")),
                Repeats::ArrivingAt(host) => (
                    host,
                    "filter add dev eth0 ingress prio 5".to_owned(),
                    "ingress mirror dev eth0".to_owned(),
                ),
            };
            meet(host, &filter, self.repeated, &action)?;
        }
        Ok(Climate {
            weather: self,
            damagers,
        })
    }

    /// The devices by which packets of `host` are lost or come late.
    fn lay_detours(self, host: &Netns) -> Result<()> {
        if self.lost > 0 {
            run(host, "ip", "link add lost type ifb")?;
        }
        let detours = [
            // Slow enough that what goes this way is overtaken, fast enough that it does not count as lost.
            ("late", self.late, "50mbit", "200ms"),
            // Slow enough that some of it is sent again before it arrives.
            ("delayed", self.delayed, "4mbit", "400ms"),
        ];
        for (name, _, rate, latency) in detours.into_iter().filter(|(_, share, ..)| *share > 0) {
            run(host, "ip", &format!("link add {name} type ifb"))?;
            run(host, "ip", &format!("link set {name} up"))?;
            // The largest packet must fit into a burst, or it does not pass at all.
            let burst = largest_packet(host)?.max(4000);
            let queue = format!("tbf rate {rate} burst {burst} latency {latency}");
            run(
                host,
                "tc",
                &format!("qdisc add dev {name} root handle 1: {queue}"),
            )?;
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
        for Exit { host, dev, .. } in exits(net) {
            for way in ["egress", "ingress"] {
                for packets in met(host, dev, way)? {
                    least = least.min(packets);
                }
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

/// Has a `filter` of `host` do an `action` of mirred to `share` packets of a thousand.
fn meet(host: &Netns, filter: &str, share: u32, action: &str) -> Result<()> {
    if share == 0 {
        return Ok(());
    }
    let some = one_in_a_thousand(share);
    let filter = format!("{filter} protocol all bpf bytecode");
    let action = format!("action mirred {action}");
    let words = filter.split(' ').chain([some.as_str()]);
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

/// Bytes of the largest frame that a device of `host` sends.
fn largest_packet(host: &Netns) -> Result<u32> {
    const FRAME: u32 = 64;
    let shown = run(host, "ip", "-o link show up")?;
    let mtus = shown.lines().filter_map(|line| {
        let (_, rest) = line.split_once(" mtu ")?;
        rest.split(' ').next()?.parse::<u32>().ok()
    });
    Ok(mtus.max().context("a device that is up")? + FRAME)
}

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
