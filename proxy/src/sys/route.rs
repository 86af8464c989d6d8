//! Where packets go: one question to the kernel's routing, over netlink.

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteMetric, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use socket2::SockRef;

/// How packets get to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The number of the interface that they leave by; that of the loopback if they stay here.
    pub interface: u32,
    /// Whether the address is one of this host.
    pub local: bool,
    /// The path MTU that was configured for the route or learnt for the address, bytes; `None`
    /// where the interface's own MTU is all that is known.
    pub mtu: Option<u32>,
}

/// Which the loopback is in every network namespace (`LOOPBACK_IFINDEX`).
const LOOPBACK: u32 = 1;

/// The kernel answers while it takes the question, so this is not waited in practice.
const PATIENCE: Duration = Duration::from_millis(100);

/// Enough for an answer: some attributes of a few bytes each, and an error quotes the question.
const ANSWER: usize = 4096;

thread_local! {
    static ASKER: RefCell<Option<Asker>> = const { RefCell::new(None) };
}

/// The route of packets from `local` to `remote`, as the routing table of the calling thread's
/// network namespace has it now. Where rules choose by mark, port or protocol, those of a flow may
/// go elsewhere; of several next hops the kernel names one. An IPv4-mapped address counts as IPv4.
///
/// A thread keeps its socket for later calls, so a thread that has asked must not change its network
/// namespace.
///
/// # Errors
/// Each names both addresses: no route, `local` not an address of this host, different families,
/// and whatever fails on the way to the kernel.
pub fn towards(local: IpAddr, remote: IpAddr) -> io::Result<Route> {
    let (local, remote) = (local.to_canonical(), remote.to_canonical());
    let named = |error: io::Error| {
        io::Error::new(
            error.kind(),
            format!("no route from {local} to {remote}: {error}"),
        )
    };
    if local.is_ipv4() != remote.is_ipv4() {
        return Err(named(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not of one family",
        )));
    }
    ASKER.with_borrow_mut(|kept| {
        let mut asker = match kept.take() {
            Some(asker) => asker,
            None => Asker::new().map_err(named)?,
        };
        match asker.ask(local, remote) {
            Ok(answer) => {
                *kept = Some(asker);
                answer.and_then(|answer| read(&answer)).map_err(named)
            }
            // The socket is not kept: an answer may still be on its way.
            Err(broken) => Err(named(broken)),
        }
    })
}

/// A netlink socket, and the number of the last question.
struct Asker {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Asker {
    fn new() -> io::Result<Asker> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        SockRef::from(&socket).set_read_timeout(Some(PATIENCE))?;
        Ok(Asker {
            socket,
            sequence: 0,
            buffer: Vec::with_capacity(ANSWER),
        })
    }

    /// Outside: whether the socket still works. Inside: what the kernel said.
    fn ask(&mut self, local: IpAddr, remote: IpAddr) -> io::Result<io::Result<RouteMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::new(
            NetlinkHeader::default(),
            NetlinkPayload::from(RouteNetlinkMessage::GetRoute(question(local, remote))),
        );
        message.header.flags = NLM_F_REQUEST;
        message.header.sequence_number = self.sequence;
        message.finalize();
        self.buffer.resize(message.buffer_len(), 0);
        message.serialize(&mut self.buffer);
        self.socket.send(&self.buffer, 0)?;
        loop {
            self.buffer.clear();
            self.socket.recv(&mut self.buffer, 0)?;
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&self.buffer)
                .map_err(io::Error::other)?;
            if message.header.sequence_number != self.sequence {
                continue;
            }
            return Ok(match message.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) => Ok(route),
                NetlinkPayload::Error(error) => Err(error.to_io()),
                other => Err(io::Error::other(format!(
                    "an answer of type {}",
                    other.message_type()
                ))),
            });
        }
    }
}

fn question(local: IpAddr, remote: IpAddr) -> RouteMessage {
    let bits = |address| match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    };
    let mut message = RouteMessage::default();
    message.header.address_family = match remote {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.source_prefix_length = bits(local);
    message.header.destination_prefix_length = bits(remote);
    message.attributes = vec![
        RouteAttribute::Source(local.into()),
        RouteAttribute::Destination(remote.into()),
    ];
    message
}

fn read(answer: &RouteMessage) -> io::Result<Route> {
    let local = match answer.header.kind {
        RouteType::Unicast => false,
        RouteType::Local => true,
        other => {
            return Err(io::Error::new(
                io::ErrorKind::NetworkUnreachable,
                format!("the route is {other:?}"),
            ));
        }
    };
    let (mut interface, mut mtu) = (None, None);
    for attribute in &answer.attributes {
        match attribute {
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::Metrics(metrics) => {
                mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(bytes) => Some(*bytes),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    // Said here so that it does not hang on what the kernel names for an address of this host.
    let interface = if local { Some(LOOPBACK) } else { interface };
    Ok(Route {
        interface: interface.ok_or_else(|| io::Error::other("the route has no interface"))?,
        local,
        mtu,
    })
}

#[cfg(test)]
mod tests {
    use super::super::interface;
    use super::super::testing::{in_namespace, ip};
    use super::*;

    fn route(local: &str, remote: &str) -> io::Result<Route> {
        towards(local.parse().unwrap(), remote.parse().unwrap())
    }

    /// Two interfaces, each with a peer, and routes behind them.
    fn two_networks() -> [u32; 2] {
        for line in [
            "link add name left type veth peer name left-peer",
            "link add name right type veth peer name right-peer",
            "link set left up",
            "link set left-peer up",
            "link set right up",
            "link set right-peer up",
            "addr add 10.1.0.1/24 dev left",
            "addr add 10.2.0.1/24 dev right",
            "addr add fd01::1/64 dev left nodad",
            "addr add fd02::1/64 dev right nodad",
            "route add default via 10.1.0.254",
            "route add 192.0.2.0/24 via 10.2.0.254 mtu 1400",
            "route add unreachable 198.51.100.0/24",
            "-6 route add 2001:db8::/32 via fd02::ff mtu 1300",
            "-6 route add blackhole 2001:db8:1::/48",
        ] {
            ip(line);
        }
        ["left", "right"].map(|name| interface::find(name).unwrap().index)
    }

    #[test]
    fn packets_leave_by_the_interface_that_the_table_says() {
        in_namespace(|| {
            let [a, b] = two_networks();
            let leaves = |interface, mtu| Route {
                interface,
                local: false,
                mtu,
            };
            let stays = Route {
                interface: interface::find("lo").unwrap().index,
                local: true,
                mtu: None,
            };
            for (local, remote, expected) in [
                ("10.1.0.1", "10.1.0.9", leaves(a, None)),
                ("10.2.0.1", "10.2.0.9", leaves(b, None)),
                ("10.2.0.1", "8.8.8.8", leaves(a, None)),
                ("10.1.0.1", "192.0.2.7", leaves(b, Some(1400))),
                ("::ffff:10.1.0.1", "::ffff:192.0.2.7", leaves(b, Some(1400))),
                ("fd01::1", "fd01::9", leaves(a, None)),
                ("fd01::1", "2001:db8::9", leaves(b, Some(1300))),
                ("127.0.0.1", "127.0.0.2", stays),
                ("10.1.0.1", "10.2.0.1", stays),
                ("::1", "::1", stays),
                ("fd01::1", "fd02::1", stays),
            ] {
                let found = route(local, remote).unwrap();
                assert_eq!(found, expected, "{local} -> {remote}");
            }
        });
    }

    #[test]
    fn what_has_no_route_is_an_error_with_both_addresses() {
        in_namespace(|| {
            two_networks();
            for (local, remote) in [
                ("10.1.0.1", "198.51.100.1"),
                ("fd01::1", "2001:db9::1"),
                ("fd01::1", "2001:db8:1::1"),
                ("10.99.0.1", "10.1.0.9"),
                ("10.1.0.1", "fd01::9"),
                ("fd01::1", "10.1.0.9"),
            ] {
                let error = route(local, remote).unwrap_err().to_string();
                assert!(
                    error.contains(local) && error.contains(remote),
                    "{local} -> {remote}: {error}"
                );
            }
            // And the thread's socket serves on.
            assert!(route("10.1.0.1", "10.1.0.9").is_ok());
        });
    }

    #[test]
    fn an_answer_is_of_the_table_as_it_is() {
        in_namespace(|| {
            let [a, b] = two_networks();
            assert_eq!(route("10.1.0.1", "8.8.8.8").unwrap().interface, a);
            ip("route replace default via 10.2.0.254");
            assert_eq!(route("10.1.0.1", "8.8.8.8").unwrap().interface, b);
        });
    }
}
