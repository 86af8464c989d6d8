//! From "the first network that contains the source decides" to "the longest one decides".
//!
//! Two networks are disjoint, or one contains the other. So a network can only decide where no
//! earlier one contains it, and once those that cannot are left out, of two that contain the same
//! source the longer one is always the earlier.

use std::collections::HashSet;

use ipnet::IpNet;

/// Leaves out the networks that an earlier one contains.
#[must_use]
pub fn flatten<T: Copy>(networks: &[(IpNet, T)]) -> Vec<(IpNet, T)> {
    let mut kept = Seen::default();
    networks
        .iter()
        .map(|(network, value)| (network.trunc(), *value))
        .filter(|(network, _)| kept.insert(*network))
        .collect()
}

/// The networks so far.
#[derive(Default)]
struct Seen {
    networks: HashSet<IpNet>,
    /// Which prefix lengths occur, by family: a bit per length, and few of them are ever set.
    lengths: [u128; 2],
    /// Whether the networks of 128 bits, for which there is no bit left, occur.
    hosts: bool,
}

impl Seen {
    /// False if one of them contains `network`.
    fn insert(&mut self, network: IpNet) -> bool {
        let family = usize::from(matches!(network, IpNet::V6(_)));
        let own = network.prefix_len();
        let contained = (0..=own)
            .filter(|&length| match length {
                128 => self.hosts,
                _ => self.lengths[family] >> length & 1 == 1,
            })
            .any(|length| {
                IpNet::new(network.addr(), length)
                    .is_ok_and(|around| self.networks.contains(&around.trunc()))
            });
        if contained {
            return false;
        }
        match own {
            128 => self.hosts = true,
            _ => self.lengths[family] |= 1 << own,
        }
        self.networks.insert(network);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    /// Networks that nest and collide often: few distinct bits.
    fn network() -> impl Strategy<Value = IpNet> {
        let bits = prop::sample::select(vec![0_u8, 1, 2, 3, 128, 192, 255]);
        let v4 = (prop::array::uniform4(bits.clone()), 0..=32_u8).prop_map(|(octets, length)| {
            IpNet::new(Ipv4Addr::from(octets).into(), length).expect("a length of IPv4")
        });
        let v6 = (prop::array::uniform4(bits), 0..=128_u8).prop_map(|([a, b, c, d], length)| {
            let address = Ipv6Addr::from([a, 0, 0, 0, b, 0, 0, 0, 0, 0, 0, c, 0, 0, 0, d]);
            IpNet::new(address.into(), length).expect("a length of IPv6")
        });
        prop_oneof![v4, v6]
    }

    fn first<'a>(networks: &'a [(IpNet, usize)], source: &IpAddr) -> Option<&'a usize> {
        let found = networks
            .iter()
            .find(|(network, _)| network.contains(source));
        found.map(|(_, value)| value)
    }

    fn longest<'a>(networks: &'a [(IpNet, usize)], source: &IpAddr) -> Option<&'a usize> {
        let around = networks
            .iter()
            .filter(|(network, _)| network.contains(source));
        around
            .max_by_key(|(network, _)| network.prefix_len())
            .map(|(_, value)| value)
    }

    proptest! {
        #[test]
        fn the_longest_of_the_kept_is_the_first_of_all(
            networks in prop::collection::vec(network(), 0..40),
            sources in prop::collection::vec(network(), 0..40),
        ) {
            let numbered: Vec<_> = networks.into_iter().zip(0..).collect();
            let flat = flatten(&numbered);
            let distinct: HashSet<_> = flat.iter().map(|(network, _)| *network).collect();
            prop_assert_eq!(distinct.len(), flat.len());
            // The networks' own ends are where the answers change.
            let ends = numbered.iter().flat_map(|(network, _)| [network.network(), network.broadcast()]);
            for source in sources.iter().map(IpNet::addr).chain(ends) {
                prop_assert_eq!(longest(&flat, &source), first(&numbered, &source));
            }
        }
    }
}
