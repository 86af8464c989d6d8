//! IP networks, and which of them an address lies in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::segments::Segments;

/// A pattern for addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AddressPattern {
    /// A network.
    Net(IpNet),
    /// An IPv4 address of which the bits of a mask count that is no prefix.
    Masked {
        /// Bits that do not count are zero.
        address: u32,
        /// Which bits count.
        mask: u32,
    },
}

/// Networks that addresses are looked up in. The longest prefix wins, as in HAProxy.
#[derive(Debug)]
pub(super) struct Networks {
    v4: Segments<u32>,
    v6: Segments<u128>,
    masked: Vec<(u32, u32, u32)>,
    patterns: Vec<AddressPattern>,
}

impl Networks {
    pub(super) fn new(patterns: Vec<AddressPattern>) -> Self {
        let mut v4 = Vec::new();
        let mut v6 = Vec::new();
        let mut masked = Vec::new();
        for (index, pattern) in (0_u32..).zip(&patterns) {
            match *pattern {
                AddressPattern::Net(IpNet::V4(net)) => {
                    v4.push((net.network().to_bits(), net.broadcast().to_bits(), index));
                }
                AddressPattern::Net(IpNet::V6(net)) => {
                    v6.push((net.network().to_bits(), net.broadcast().to_bits(), index));
                }
                AddressPattern::Masked { address, mask } => masked.push((address, mask, index)),
            }
        }
        Self {
            v4: Segments::nested(v4, |last| last.checked_add(1)),
            v6: Segments::nested(v6, |last| last.checked_add(1)),
            masked,
            patterns,
        }
    }

    /// Which pattern an address matches. IPv4 networks are also tried against IPv6 addresses that
    /// contain an IPv4 one, and IPv6 networks against IPv4 addresses as mapped ones.
    pub(super) fn find(&self, address: IpAddr) -> Option<u32> {
        let embedded = match address {
            IpAddr::V4(address) => {
                let found = self
                    .v4
                    .owner(address.to_bits())
                    .or_else(|| self.v6.owner(address.to_ipv6_mapped().to_bits()));
                if found.is_some() {
                    return found;
                }
                address
            }
            IpAddr::V6(address) => {
                if let Some(found) = self.v6.owner(address.to_bits()) {
                    return Some(found);
                }
                let embedded = embedded(address)?;
                if let Some(found) = self.v4.owner(embedded.to_bits()) {
                    return Some(found);
                }
                embedded
            }
        };
        self.masked
            .iter()
            .find(|(address, mask, _)| embedded.to_bits() & mask == *address)
            .map(|(_, _, index)| *index)
    }

    /// The same set of addresses as plain networks, each of which holds addresses of its own family
    /// only. `None`: it cannot be said so.
    pub(super) fn plain(&self) -> Option<Vec<IpNet>> {
        let mut nets = Vec::new();
        for pattern in &self.patterns {
            let AddressPattern::Net(net) = *pattern else {
                return None;
            };
            nets.push(net);
            match net {
                IpNet::V4(net) => nets.extend(embeddings(net).map(IpNet::V6)),
                IpNet::V6(net) => nets.extend(unmapped(net).map(IpNet::V4)),
            }
        }
        Some(nets)
    }
}

/// The IPv4 address in an IPv6 one: `::ffff:a.b.c.d`, `::a.b.c.d`, or 6to4 (`2002:…`).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = address.to_bits();
    let low = Ipv4Addr::from_bits(bits as u32);
    match bits >> 32 {
        0 | 0xffff => Some(low),
        _ if bits >> 112 == 0x2002 => Some(Ipv4Addr::from_bits((bits >> 80) as u32)),
        _ => None,
    }
}

/// The IPv6 networks whose addresses contain one of `net`.
fn embeddings(net: Ipv4Net) -> impl Iterator<Item = Ipv6Net> {
    let bits = u128::from(net.network().to_bits());
    let length = net.prefix_len();
    [
        (bits, 96),
        (bits | 0xffff << 32, 96),
        (0x2002 << 112 | bits << 80, 16),
    ]
    .into_iter()
    .filter_map(move |(bits, before)| Ipv6Net::new(Ipv6Addr::from_bits(bits), before + length).ok())
}

/// The IPv4 network whose addresses, mapped, are in `net`.
fn unmapped(net: Ipv6Net) -> Option<Ipv4Net> {
    let mapped = Ipv6Net::new(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped(), 96).ok()?;
    if net.contains(&mapped) {
        return Ipv4Net::new(Ipv4Addr::UNSPECIFIED, 0).ok();
    }
    let first = net.network().to_ipv4_mapped()?;
    Ipv4Net::new(first, net.prefix_len().checked_sub(96)?).ok()
}
