//! Links that lose, repeat and reorder packets, on kernels that have no netem.
//!
//! A classic BPF classifier takes packets at random where they leave a host, and a mirred action sends them elsewhere:
//! to a device that is down (lost), to the same device once more (repeated), or around through an intermediate device
//! with a slow queue (late, and so behind packets that were sent after them).

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::netns::{Layout, Netns, Topology};

/// How many packets of a thousand meet which fate, in each direction of each link.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Packets that are lost.
    pub lost: u32,
    /// Packets that come twice.
    pub repeated: u32,
    /// Packets that are overtaken.
    pub late: u32,
}

/// The devices that packets leave hosts by.
fn exits(net: &Topology) -> [(&Netns, &'static str); 4] {
    [
        (&net.client, "eth0"),
        (&net.proxy, "eth0"),
        (&net.proxy, "eth1"),
        (&net.server, "eth0"),
    ]
}

impl Weather {
    /// Sets in on all links of `net`.
    ///
    /// # Errors
    /// When the kernel lacks ifb, cls_bpf or act_mirred, or on loopback, which has no links.
    pub fn set_in(self, net: &Topology) -> Result<()> {
        ensure!(net.layout == Layout::Hosts, "loopback has no links");
        for host in [&net.client, &net.proxy, &net.server] {
            run(host, "ip", "link add lost type ifb")?;
            run(host, "ip", "link add late type ifb")?;
            run(host, "ip", "link set late up")?;
            // Slow enough that what goes this way is overtaken, fast enough that it does not count as lost.
            run(
                host,
                "tc",
                "qdisc add dev late root tbf rate 50mbit burst 4000 latency 200ms",
            )?;
        }
        for (host, dev) in exits(net) {
            run(host, "tc", &format!("qdisc add dev {dev} clsact"))?;
            let fates = [
                (1, self.lost, "redirect dev lost".to_owned()),
                (2, self.late, "redirect dev late".to_owned()),
                (3, self.repeated, format!("mirror dev {dev}")),
            ];
            for (order, share, fate) in fates.into_iter().filter(|(_, share, _)| *share > 0) {
                let some = one_in_a_thousand(share);
                let filter =
                    format!("filter add dev {dev} egress prio {order} protocol all bpf bytecode");
                let words = filter.split(' ').chain([some.as_str()]);
                let action = format!("action mirred egress {fate}");
                tool(host, "tc", words.chain(action.split(' ')))?;
            }
        }
        Ok(())
    }

    /// How many packets have met one of the fates so far, fewest over all links and fates: 0 means that some filter has
    /// had no effect yet.
    ///
    /// # Errors
    /// When tc does not tell.
    pub fn least_met(self, net: &Topology) -> Result<u64> {
        let mut least = u64::MAX;
        for (host, dev) in exits(net) {
            let shown = run(host, "tc", &format!("-s filter show dev {dev} egress"))?;
            // "Sent 1234 bytes 5 pkt (dropped 0, …"
            let sent = shown
                .lines()
                .filter_map(|line| line.trim().strip_prefix("Sent "));
            for line in sent {
                let packets = line.split(' ').nth(2).context("packets")?;
                least = least.min(packets.parse().with_context(|| line.to_owned())?);
            }
        }
        Ok(least)
    }
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
        .with_context(|| format!("run {program} (package iproute2)"))?;
    let said = String::from_utf8_lossy(&out.stderr);
    ensure!(
        out.status.success(),
        "{program} {}: {}",
        words.join(" "),
        said.trim()
    );
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}
