//! Which of the addresses of a name a server takes.

use std::net::IpAddr;

use crate::config::model::names::{AddressFamily, Wish};

/// The best address, if there is one. In this order count: the family wished for, a network wished
/// for, that no other server has it, and that it is the `current` one; then the first.
///
/// `taken`: another server of this name has the address.
#[must_use]
pub fn choose(
    addresses: impl IntoIterator<Item = IpAddr>,
    wish: &Wish,
    current: Option<IpAddr>,
    taken: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    let mut best = None;
    for ip in addresses {
        let taken = taken(ip);
        if taken && !wish.allow_duplicates {
            continue;
        }
        let family = ip.is_ipv4() == (wish.family == AddressFamily::V4);
        let network = wish.networks.iter().any(|network| network.contains(&ip));
        let score = (family, network, !taken, current == Some(ip));
        if best.is_none_or(|(most, _)| score > most) {
            best = Some((score, ip));
        }
    }
    best.map(|(_, ip)| ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn wish(family: AddressFamily, network: Option<&str>, allow_duplicates: bool) -> Wish {
        Wish {
            family,
            networks: network
                .map(|text| text.parse().unwrap())
                .into_iter()
                .collect(),
            allow_duplicates,
        }
    }

    #[test]
    fn what_counts() {
        use AddressFamily::{V4, V6};
        let (a, b, c, six) = ("10.0.0.1", "10.0.0.2", "172.16.0.1", "fd00::1");
        // Addresses, wish, current, taken, chosen.
        let table = [
            (vec![a, b], wish(V4, None, false), None, vec![], Some(a)),
            (vec![a, b], wish(V4, None, false), Some(b), vec![], Some(b)),
            (vec![a, b], wish(V4, None, false), None, vec![a], Some(b)),
            (vec![a], wish(V4, None, false), None, vec![a], None),
            (vec![a], wish(V4, None, true), None, vec![a], Some(a)),
            (vec![a, b], wish(V4, None, true), None, vec![a], Some(b)),
            (vec![a, b], wish(V4, None, true), Some(a), vec![a], Some(b)),
            (
                vec![a, six],
                wish(V6, None, false),
                Some(a),
                vec![],
                Some(six),
            ),
            (
                vec![a, six],
                wish(V4, None, false),
                Some(six),
                vec![],
                Some(a),
            ),
            (
                vec![a, c],
                wish(V4, Some("172.16.0.0/12"), false),
                Some(a),
                vec![],
                Some(c),
            ),
            (
                vec![a, c],
                wish(V4, Some("172.16.0.0/12"), false),
                Some(a),
                vec![c],
                Some(a),
            ),
            (
                vec![six, c],
                wish(V6, Some("172.16.0.0/12"), false),
                None,
                vec![],
                Some(six),
            ),
            (vec![], wish(V4, None, true), Some(a), vec![], None),
        ];
        for (addresses, wish, current, taken, expected) in table {
            let found = choose(
                addresses.iter().map(|text| ip(text)),
                &wish,
                current.map(ip),
                |at| taken.iter().any(|text| ip(text) == at),
            );
            assert_eq!(
                found,
                expected.map(ip),
                "{addresses:?} {wish:?} {current:?} {taken:?}"
            );
        }
    }
}
