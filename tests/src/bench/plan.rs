//! The order in which contestants are measured.

/// Order of `count` contestants in `round`: each round starts one further on,
/// so that nobody always follows the same state of caches, clock frequency and
/// leftover sockets, and over `count` rounds everybody was at every place.
pub(crate) fn order(count: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |place| (place + round) % count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_has_everybody_once() {
        for round in 0..9 {
            let mut seen: Vec<_> = order(4, round).collect();
            seen.sort_unstable();
            assert_eq!(seen, [0, 1, 2, 3]);
        }
    }

    #[test]
    fn every_place_goes_round() {
        let mut firsts: Vec<_> = (0..4).filter_map(|r| order(4, r).next()).collect();
        firsts.sort_unstable();
        assert_eq!(firsts, [0, 1, 2, 3]);
        assert_eq!(order(0, 3).count(), 0);
    }
}
