//! A router on the way finds relayed packets too big, and the host that sent them hears of it.

use std::sync::atomic::{AtomicU32, Ordering};

use underpass_tests::netns::{Addresses, LinkOptions, Netns, Topology};
use underpass_tests::peer::{Buffers, Exchange};
use underpass_tests::rig::{Path, Rig};

const MB: u64 = 1 << 20;
/// What the far link takes once the flow is relayed, bytes. IPv6 does not go below 1280.
const SMALL: u32 = 1300;

/// Whose link becomes smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Far {
    Client,
    Server,
}

fn run(host: &Netns, line: &str) {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a program");
    let out = host.command(program).args(words).output().expect(program);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{line}: {said}");
}

/// The usual hosts, but that one of them is a router and its part is another's, behind it; with the router.
fn behind_a_router(far: Far) -> (Topology, Netns) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const AWAY: &str = "02:00:00:00:03:01";
    const HERE: &str = "02:00:00:00:03:02";
    let mut net = Topology::hosts(&LinkOptions::default()).unwrap();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let away = Netns::new(&format!("up-{}-{number}-far", std::process::id())).unwrap();
    let addresses = Addresses {
        v4: "10.0.3.1".parse().unwrap(),
        v6: "fd00:3::1".parse().unwrap(),
    };
    let (host, address) = match far {
        Far::Client => (&mut net.client, &mut net.client_addr),
        Far::Server => (&mut net.server, &mut net.server_addr),
    };
    let next = *address;
    *address = addresses;
    let router = std::mem::replace(host, away.clone());
    run(
        &router,
        &format!(
            "ip link add eth1 address {HERE} type veth peer name eth0 address {AWAY} netns {}",
            away.name()
        ),
    );
    for (host, dev, end, neighbour) in [
        (&router, "eth1", 2, (1, AWAY)),
        (&away, "eth0", 1, (2, HERE)),
    ] {
        run(host, &format!("ip addr add 10.0.3.{end}/24 dev {dev}"));
        run(
            host,
            &format!("ip addr add fd00:3::{end}/64 dev {dev} nodad"),
        );
        run(host, &format!("ip link set {dev} up"));
        let (other, at) = neighbour;
        let known = format!("fd00:3::{other} lladdr {at} dev {dev} nud permanent");
        run(host, &format!("ip neigh replace {known}"));
    }
    run(&away, "ip route add default via 10.0.3.2");
    run(&away, "ip -6 route add default via fd00:3::2");
    let Addresses { v4, v6 } = next;
    run(&net.proxy, &format!("ip route add 10.0.3.0/24 via {v4}"));
    run(&net.proxy, &format!("ip -6 route add fd00:3::/64 via {v6}"));
    router.sysctl("net/ipv4/ip_forward", "1").unwrap();
    router.sysctl("net/ipv6/conf/all/forwarding", "1").unwrap();
    (net, router)
}

/// How often a host has been told that a packet of its was too big.
fn told(host: &Netns, v6: bool) -> u64 {
    let path = if v6 {
        "/proc/thread-self/net/snmp6"
    } else {
        "/proc/thread-self/net/snmp"
    };
    let text = host.run(|| std::fs::read_to_string(path)).unwrap();
    let count = |word: &str| word.parse().unwrap();
    if v6 {
        let line = text
            .lines()
            .find(|line| line.starts_with("Icmp6InPktTooBigs"));
        return count(line.unwrap().split_whitespace().nth(1).unwrap());
    }
    let mut lines = text.lines().filter(|line| line.starts_with("Icmp: "));
    let names = lines.next().unwrap().split_whitespace();
    let values = lines.next().unwrap().split_whitespace();
    let found = names
        .zip(values)
        .find(|(name, _)| *name == "InDestUnreachs");
    count(found.unwrap().1)
}

fn a_smaller_link_is_discovered(far: Far, v6: bool) {
    let (net, router) = behind_a_router(far);
    let rig = Rig::on(net, Path::Relay, v6, Buffers::default(), |_| {});
    let exchange = Exchange::new(6, 8 * MB, 8 * MB);
    let (client, server, carried) = rig.warm_flow(exchange.up_pattern(), exchange.down_pattern());
    let (away, sender) = match far {
        Far::Client => (&rig.net.client, &rig.net.server),
        Far::Server => (&rig.net.server, &rig.net.client),
    };
    assert_eq!(told(sender, v6), 0);
    run(away, &format!("ip link set eth0 mtu {SMALL}"));
    run(&router, &format!("ip link set eth1 mtu {SMALL}"));
    exchange.from(carried).run(&client, &server);
    assert!(
        told(sender, v6) > 0,
        "nobody told the host that sent too long packets"
    );
    drop((client, server));
    let record = rig.record();
    let (up, down) = (carried + exchange.up, carried + exchange.down);
    rig.check(&record, up, down, "--");
    rig.check_path(&record, [MB, MB]);
    rig.stop();
}

#[test]
fn towards_the_server() {
    a_smaller_link_is_discovered(Far::Server, false);
}

#[test]
fn towards_the_server_v6() {
    a_smaller_link_is_discovered(Far::Server, true);
}

#[test]
fn towards_the_client() {
    a_smaller_link_is_discovered(Far::Client, false);
}

#[test]
fn towards_the_client_v6() {
    a_smaller_link_is_discovered(Far::Client, true);
}
